"""learner= takes published Mask R-CNNs, with the masks that the same weights give by way of init= or a conversion."""

from __future__ import annotations

import logging
import pickle
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from published_files import authors, coco_v1, coco_v2, constants, detectron2_gn, shapes_of
from torchvision.models import detection, resnet18

from eosvos import Segmenter, convert, eval
from eosvos.app import Make
from eosvos.cli import build_method, build_training, hydra_app, schema, validate
from eosvos.errors import UserError
from eosvos.learners.published import REFERENCE_NETWORK, REFERENCE_RULES, open_learner
from eosvos.meta.adapt import adapt
from eosvos.meta.distributed import World
from eosvos.meta.learner import Learner
from eosvos.methods.eosvos.method import EOSVOS
from eosvos.models import mask_rcnn

RESNET50 = mask_rcnn.SIZES["resnet50"]
CONV5 = "roi_heads.mask_predictor.conv5_mask.weight"


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """Without the handlers that a command of an earlier test has left, which write to that test's closed output."""
    kept = [handler for handler in logging.root.handlers if type(handler) is not logging.StreamHandler]
    monkeypatch.setattr(logging.root, "handlers", kept)


@pytest.fixture(scope="module")
def small():
    """Every parameter of ResNet-50, on small images."""
    few = replace(RESNET50, short=48, long=64, rpn_pre=40, rpn_post=20, rpn_batch=16, roi_batch=8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(mask_rcnn.SIZES, "resnet50", few)
        for name, count in {"rpn_pre": 40, "rpn_post": 20, "rpn_pre_test": 30, "rpn_post_test": 15}.items():
            patch.setitem(REFERENCE_NETWORK, name, count)
        yield few


@pytest.fixture(scope="module")
def checkpoint(small, tmp_path_factory) -> Path:
    """Of the authors' keys and shapes, with weights that find something and rates that all differ."""
    torch.manual_seed(0)
    model, content = mask_rcnn.build("resnet50"), authors()
    with torch.no_grad():
        model.roi_heads.box_predictor.cls_score.bias.copy_(torch.tensor([-1.0, 1.0]))
    state = content["meta_optim_state_dict"]
    names = [key.removeprefix("model_init_") for key in state if key.startswith("model_init_")]
    for name, p in zip(names, model.parameters(), strict=True):
        state[f"model_init_{name}"] = p.detach()
        state[f"log_init_lr_{name}"] = 1e-4 * torch.rand(state[f"log_init_lr_{name}"].shape)
    path = tmp_path_factory.mktemp("authors") / "best_val_meta_iter.model"
    torch.save(content, path, _use_new_zipfile_serialization=False)
    return path


def saved(tmp_path, state) -> Path:
    path = tmp_path / "any.pth"
    torch.save(state, path)
    return path


def same(one: Learner, other: Learner) -> bool:
    theta = all(torch.equal(p, other.theta[name]) for name, p in one.theta.items())
    rates = all(torch.equal(rate, other.rates[name]) for name, rate in one.rates.items())
    return theta and rates and one.theta.keys() == other.theta.keys() and one.rates.keys() == other.rates.keys()


def probabilities(segmenter: Segmenter) -> list[torch.Tensor]:
    """Of the second frame, before and after which nothing is drawn at random but what the seed draws."""
    frames = np.random.default_rng(0).integers(0, 255, (2, 40, 60, 3), np.uint8)
    mask = np.zeros((40, 60), np.uint8)
    mask[8:30, 10:40] = 1
    segmenter.start(frames[0], mask)
    segmenter.step(frames[1])
    return segmenter.probabilities


def by_init(path: Path, rate: float | None = None, **more) -> tuple[mask_rcnn.MaskRCNN, object]:
    """What a training with init=path begins with."""
    settings = schema.MetaTrainConfig(init=str(path), init_norm="copy", seed=0, out=str(path.parent / "run"))
    settings.model = schema.ModelSection(size="resnet50", **more)
    settings.meta.rate = rate
    model, init = build_training.network(settings, torch.device("cpu"), World())

    class Pictures:
        def image(self, *path):
            return type("Sample", (), {"image": torch.rand(3, 48, 64)})

    build_training.fill(model, init, settings, Pictures(), World())
    return model, init


def refusal(capsys, status: int) -> str:
    assert status == hydra_app.MISTAKE
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    return captured.err


def test_the_authors_checkpoint_gives_the_same_masks_every_way(checkpoint, tmp_path, capsys):
    out = tmp_path / "converted.safetensors"
    assert convert.main([str(checkpoint), f"out={out}"]) == 0
    assert "43,975,515 parameters, 90,998 learning rates, 5e-05 in the mean" in capsys.readouterr().out
    direct, converted = open_learner(checkpoint), Learner.load(out)
    meta = schema.MetaSection(rate=None, level="neuron")
    model, init = by_init(checkpoint, **REFERENCE_NETWORK)
    trained = build_training.first_learner(model, init, meta, {"model": model.spec, "rules": REFERENCE_RULES})
    assert same(direct, converted) and same(direct, trained)
    settings = schema.AppConfig(method="eosvos", learner=str(checkpoint), iters=1, ona=False, seed=0, device="cpu")
    assert same(direct, build_method.evaluation_learner(settings)[1])
    page = Make(settings)(1, lambda *step: None)
    expected = probabilities(Segmenter(learner=checkpoint, iters=1, device="cpu"))
    assert 0 < float((expected > 0.5).float().mean()) < 1
    for other in (
        Segmenter(learner=str(out), iters=1, device="cpu"),
        Segmenter(EOSVOS(trained, iters=1)),
        Segmenter(page),
    ):
        assert torch.equal(probabilities(other), expected)
    assert not torch.equal(probabilities(Segmenter(learner=direct, iters=0, device="cpu")), expected)


def test_the_authors_rates_and_rules_arrive(checkpoint, small):
    learner = open_learner(checkpoint)
    stored = torch.load(checkpoint, weights_only=True)["meta_optim_state_dict"]
    assert learner.level == "neuron" and len(learner.rates) == 201
    taken = {
        "rpn.head.conv.0.0.weight": "rpn-head-conv-weight",
        CONV5: CONV5.replace(".", "-"),
        "backbone.fpn.inner_blocks.2.0.bias": "backbone-fpn-inner_blocks-2-bias",
        "roi_heads.mask_head.0.0.weight": "roi_heads-mask_head-mask_fcn1-weight",
        "backbone.body.layer1.0.bn1.weight": "backbone-body-layer1-0-bn1-weight",
    }
    for name, key in taken.items():
        assert torch.equal(learner.rates[name], stored[f"log_init_lr_{key}"])
        assert torch.equal(learner.theta[name], stored[f"model_init_{key}"])
    # A step along a gradient of ones goes by the rates themselves: of the transposed convolution (in, out, 2, 2) these
    # are one for each of its inputs.
    weight = {CONV5: torch.zeros_like(learner.theta[CONV5])}
    step = -adapt(weight, {CONV5: learner.rates[CONV5]}, [lambda phi: phi[CONV5].sum()]).phi[CONV5].detach()
    rates = stored["log_init_lr_roi_heads-mask_predictor-conv5_mask-weight"]
    assert rates.shape == (256, 1, 1, 1) and torch.equal(step, rates.expand(256, 256, 2, 2))
    assert learner.spec["rules"] == REFERENCE_RULES == {"clip": None, "window": 0.0}
    assert learner.spec["model"] == asdict(replace(small, **REFERENCE_NETWORK))


@pytest.fixture(scope="module")
def coco(small, tmp_path_factory) -> tuple[Path, torch.nn.Module]:
    """torchvision's network, of random values and statistics, and its file under the names of its first version."""
    torch.manual_seed(1)
    network = detection.maskrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.eps = 0.0  # as torchvision sets it for this file
            torch.nn.init.uniform_(layer.running_var, 0.5, 2)
            torch.nn.init.normal_(layer.running_mean)
            torch.nn.init.uniform_(layer.weight, 0.2, 1)
            torch.nn.init.normal_(layer.bias, 0, 0.2)
    values = [v for key, v in network.state_dict().items() if not key.endswith("num_batches_tracked")]
    path = tmp_path_factory.mktemp("coco") / "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth"
    torch.save(dict(zip(coco_v1(), values, strict=True)), path)
    return path, network.eval()


@torch.no_grad()
def test_torchvisions_network_is_kept_and_its_classes_are_as_init_draws_them(coco, caplog):
    path, network = coco
    with caplog.at_level(logging.WARNING):
        learner = open_learner(path)
    assert "its layers of classes are left out" in caplog.text
    image = torch.rand(1, 3, 64, 96)
    found, expected = learner.network(mask_rcnn.build).backbone(image), network.backbone(image)
    assert all(torch.allclose(found[level], expected[level], rtol=1e-4, atol=1e-4) for level in expected)
    model, _ = by_init(path, 0.1, norm="frozen_batch")
    assert same(learner, replace(learner, theta=dict(model.named_parameters())))


def test_weights_without_rates_want_one_or_no_fine_tuning(coco, tmp_path, monkeypatch, capsys):
    path, _ = coco
    monkeypatch.chdir(tmp_path)
    said = f"T=5: learner {path} has no learning rates, and one above 0 is expected to fine-tune; give learner_rate="
    search = f"eosvos.parent_train parent.iterations=0 model=resnet50 model.norm=frozen_batch init={path}"
    with pytest.raises(UserError) as caught:
        Segmenter(learner=path, iters=5)
    assert said in str(caught.value) and search in str(caught.value)
    videos = ["dataset.count=1", "dataset.length=3", "dataset.size=[40,60]", "processes=1", "device=cpu"]
    assert said in refusal(capsys, eval.main([*videos, f"learner={path}", "iters=5"])) and not Path("runs").exists()
    assert eval.main([*videos, f"learner={path}", "iters=0", "out=none"]) == 0
    settings = schema.SegmentConfig(method="eosvos", learner=str(path), learner_rate=1e-3, iters=1, ona=False)
    prints = [
        build_method.method_fingerprint(replace(settings, learner_rate=rate), path, torch.device("cpu"))
        for rate in (1e-3, 2e-3)
    ]
    assert prints[0] != prints[1]
    _, rated = build_method.evaluation_learner(settings)
    build_method.with_steps(settings, rated)
    assert rated.level == "single" and float(rated.distinct_rates()[0]) == pytest.approx(1e-3)

    capsys.readouterr()
    assert convert.main([f"weights={path}", "out=bare.safetensors"]) == 0
    assert "no learning rates: learner_rate= gives one" in capsys.readouterr().out
    bare = Learner.load("bare.safetensors")
    with pytest.raises(UserError, match=r"T=50: learner bare\.safetensors has no learning rates"):
        Segmenter(learner="bare.safetensors")
    with pytest.raises(UserError, match="T=1: learner in use has no learning rates"):
        EOSVOS(bare, iters=1)
    with pytest.raises(UserError, match="T=1: learner in use has no learning rates"):
        EOSVOS(bare, iters=0, ona=True)
    expected = probabilities(Segmenter(learner=path, learner_rate=1e-3, iters=1, score=0.0, device="cpu"))
    other = Segmenter(learner="bare.safetensors", learner_rate=1e-3, iters=1, score=0.0, device="cpu")
    assert torch.equal(probabilities(other), expected) and expected.any()
    assert same(Segmenter(learner=bare, learner_rate=1e-3, iters=1, device="cpu").method.learner, rated)


def test_a_rate_beside_rates_is_refused(checkpoint):
    with pytest.raises(UserError, match=f"learner_rate=0.1: learner {checkpoint} has learning rates of its own"):
        Segmenter(learner=checkpoint, learner_rate=0.1)
    with pytest.raises(UserError, match="learner_rate=0.1: learner that ships has learning rates of its own"):
        Segmenter(learner_rate=0.1)
    with pytest.raises(UserError, match="learner_rate=-1: expected above 0"):
        Segmenter(learner_rate=-1)
    with pytest.raises(UserError, match="learner=osvos: is of osvos; expected one of e-OSVOS"):
        Segmenter(learner="osvos", iters=0)


def fewer(key: str | None = None, **changed) -> dict[str, object]:
    """An authors' checkpoint without a tensor, or with others."""
    state = {**authors()["meta_optim_state_dict"], **{k.replace("__", "-"): v for k, v in changed.items()}}
    return {"meta_optim_state_dict": {k: v for k, v in state.items() if k != key}}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: resnet18().state_dict(), "an ImageNet ResNet, which finds and masks no objects yet; trainings"),
        (coco_v2, "torchvision's COCO Mask R-CNN v2, whose heads have batch norms"),
        (
            lambda: constants(shapes_of(detection.fasterrcnn_resnet50_fpn, weights=None, weights_backbone=None)),
            "but for roi_heads.mask_head.0.0.weight: not in the file; expected all parts of a Mask R-CNN",
        ),
        (lambda: {"weight": torch.ones(3)}, "no known network; its keys begin with weight; expected one of: a learner"),
        (lambda: fewer("log_init_lr_rpn-head-conv-bias"), "model_init_rpn-head-conv-bias has no log_init_lr_ beside"),
        (
            lambda: fewer(
                model_init_rpn__head__conv__bias=torch.ones(3), log_init_lr_rpn__head__conv__bias=torch.ones(3)
            ),
            r"but for rpn.head.conv.0.0.bias: shape \(3,\) in the file, \(256,\) in the network",
        ),
        (lambda: fewer(log_init_lr_rpn__head__conv__bias=torch.full((256,), -7.0)), "and learning rates of 0 or more"),
        (lambda: fewer(log_init_lr_rpn__head__conv__bias=torch.ones(1)), r"has shape \(1,\) and .* expected \(256,\)"),
        (lambda: fewer(model_init_more=torch.ones(1)), "no such part; expected all parts"),
    ],
)
def test_other_files_are_refused_by_what_they_are(tmp_path, make, said):
    path = saved(tmp_path, make())
    with pytest.raises(UserError, match=said) as caught:
        open_learner(path)
    assert str(caught.value).startswith(f"learner={path}: ") and "header" not in str(caught.value)


def test_detectron2s_is_taken_too(tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"model": detectron2_gn()}))
    learner = open_learner(path, 1e-3)
    assert learner.spec["model"]["box_convs"] == 4 and learner.spec["model"]["norm"] == "group"
    assert learner.level == "single" and "rules" not in learner.spec


def test_the_402_tensors_may_stand_alone(tmp_path):
    assert len(open_learner(saved(tmp_path, authors()["meta_optim_state_dict"])).rates) == 201


def test_mistakes_of_a_conversion(checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("there.safetensors").write_text("mine")
    good = schema.ConvertConfig(str(checkpoint), "x.safetensors")
    validate.check(good)
    for changed, said in (
        ({"weights": None}, "weights=null: give the file"),
        ({"weights": "no.pth"}, "weights=no.pth: no such file"),
        ({"weights": "torchvision:resnet51"}, "weights=torchvision:resnet51: expected one of torchvision:mask"),
        ({"out": None}, "out=null: give the learner's name"),
        ({"out": "x.pth"}, "out=x.pth: give the learner's name"),
        ({"out": "there.safetensors"}, "out=there.safetensors: is there already"),
        ({"learner_rate": 0.0}, "learner_rate=0.0: expected above 0"),
    ):
        with pytest.raises(UserError, match=said):
            validate.check(replace(good, **changed))
    given = [str(checkpoint), "out=x.safetensors", "learner_rate=0.1"]
    assert "has learning rates of its own" in refusal(capsys, convert.main(given))
    with pytest.raises(UserError, match="is there already, and nothing is overwritten"):  # as of two at once
        Learner.shipped().save("there.safetensors", replace=False)
    assert Path("there.safetensors").read_text() == "mine" and len(list(Path().iterdir())) == 1
