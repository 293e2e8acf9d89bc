"""Trainings that start from published weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torchvision.models import resnet18

from eosvos import meta_train
from eosvos.cli import build_training, find_learner, schema
from eosvos.errors import UserError
from eosvos.meta.distributed import World
from eosvos.meta.learner import Learner
from eosvos.models.mask_rcnn import build
from eosvos.models.pretrained.convert import Published

SMALL = [
    *"model=resnet18 model.short=64 model.long=96 model.fpn=32 model.hidden=32 model.mask_roi=7".split(),
    *"model.mask_layers=1 model.rpn_pre=20 model.rpn_post=10 model.rpn_batch=16 model.roi_batch=8".split(),
    *"taskset.render=[64,112] taskset.length=6 device=cpu meta.iterations=1 meta.tasks=1".split(),
    *"meta.steps=1 meta.validation_tasks=1 meta.validation_steps=[1]".split(),
]


@pytest.fixture
def weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    torch.save(resnet18().state_dict(), "resnet.pth")
    return tmp_path / "resnet.pth"


def test_a_meta_training_starts_from_a_file_and_knows_it_again(weights, capsys):
    assert meta_train.main([*SMALL, "init=resnet.pth", "out=run"]) == 0
    said = capsys.readouterr().out
    assert said.count("weights: an ImageNet ResNet, resnet.pth") == 1 and "20 batch norms" in said
    full = Path("run/weights.txt").read_text(encoding="utf-8")
    assert "  fc.weight: the network has no such part" in full and "backbone.body.layer4.1.conv2.weight: from" in full
    learner = Learner.load("run/last.safetensors")
    state = torch.load(weights, weights_only=True)
    distance = (learner.theta["backbone.body.conv1.weight"] - state["conv1.weight"]).abs().max()
    assert distance < 0.01  # after one small step
    again = [*SMALL, "init=resnet.pth", "out=run", "resume=true"]
    assert meta_train.main(again) == 0
    assert meta_train.main([*again, "init_norm=copy"]) == 2
    state["layer1.0.bn1.running_var"] *= 2
    torch.save(state, weights)
    assert meta_train.main(again) == 2
    assert capsys.readouterr().err.count("holds a run with other settings: init was") == 2
    assert Path("run/weights.txt").read_text(encoding="utf-8") == full


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["init=torchvision:resnet34"], "expected one of torchvision:maskrcnn_resnet50_fpn,"),
        (["init=resnet.pth", "model=tiny"], "weights of a resnet18, and model=tiny is asked for; use model=resnet18"),
        (["init=resnet.pth", "meta.rate=null"], "has no learning rates of backbone.body.bn1.bias"),
        (["init=resnet.pth", "init_images=no"], "init_images=no: no such folder"),
        (["init=resnet.pth", "init_images=."], "0 images given"),
        (["init=resnet.pth", "init_norm=best"], "expected one of match, copy"),
    ],
)
def test_mistakes(weights, capsys, arguments, said):
    assert meta_train.main([*SMALL, *arguments, "out=run"]) == 2
    assert said in capsys.readouterr().err
    assert not Path("run").exists()


def test_published_rates_become_the_learners():
    model = build("tiny", widths=(8, 8, 8, 8), fpn=8, hidden=8)
    rates = {n: torch.rand(p.shape[:1] + (1,) * (p.dim() - 1)) for n, p in model.named_parameters()}
    init = Published("file", "kind", rates=rates)
    meta = schema.MetaSection(rate=None, level="neuron")
    learner = build_training.first_learner(model, init, meta, {})
    assert learner.level == "neuron" and all(torch.equal(learner.rates[n], r) for n, r in rates.items())
    assert all(torch.equal(learner.theta[n], p) for n, p in model.named_parameters())
    with pytest.raises(UserError, match=r"level neuron, and meta.level=tensor"):
        build_training.first_learner(model, init, schema.MetaSection(rate=None, level="tensor"), {})


def test_learners_of_before_a_setting_came_are_of_its_default():
    model = build("tiny", widths=(8, 8, 8, 8), fpn=8, hidden=8)
    spec = {key: value for key, value in model.spec.items() if key not in ("stride_first", "box_convs", "rpn_convs")}
    learner = Learner.create(model, 0.1, spec={"model": spec})
    find_learner.check_learner(learner, Path("x"))
    other = build("tiny", widths=(8, 8, 8, 8), fpn=8, hidden=8, box_convs=4)
    with pytest.raises(UserError, match="learner x is of another network"):  # the default is none
        find_learner.check_learner(Learner.create(other, 0.1, spec={"model": spec}), Path("x"))


def test_all_processes_start_from_the_first_ones_weights(weights):
    settings = schema.MetaTrainConfig(init="resnet.pth", init_norm="copy", out="run", seed=0)

    class Second(World):
        def all_reduce(self, tensor):
            return tensor.add_(7)

        def gather(self, value):
            return [value, value]

    settings.model = schema.ModelSection(size="resnet18", short=64, long=96)
    settings.meta.rate = 0.05  # an ImageNet network has no learning rates
    world = Second(rank=1, size=2)
    model, init = build_training.network(settings, torch.device("cpu"), world)

    class Pictures:
        def image(self, *path):
            return type("Sample", (), {"image": torch.rand(3, 64, 96)})

    build_training.fill(model, init, settings, Pictures(), world)
    assert all(bool((p == 7).all()) for p in model.parameters()) and not Path("run").exists()
