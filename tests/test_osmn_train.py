"""OSMN's training and its pictures from end to end in miniature, and what they say to a user's mistakes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from PIL import Image
from published_vgg import vgg16_file

from eosvos import eval, osmn_show, osmn_train
from eosvos.cli import hydra_app
from eosvos.evaluation.run_folder import read_run
from eosvos.meta.learner import Learner
from eosvos.models import osmn, osvos

TASKS = ["taskset.render=[32,56]", "taskset.length=4"]
SMALL = [
    *"model.short=32 model.long=56 model.widths=[4,4,6,6,8] model.groups=0 model.path=4".split(),
    *"model.guide=32 model.guide_widths=[4,4,6,6,8] model.pooled=1 model.hidden=8 device=cpu".split(),
    *"outer.iterations=3 outer.tasks=2 outer.validation_objects=2 outer.warmup=0".split(),
    *"search.rates=[1e-3,1e-2] search.steps=2 search.tasks=2 guidance.min_area=0 guidance.squares=[]".split(),
    *TASKS,
]
OUT = Path("runs/osmn/tiny")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder, before = tmp_path_factory.mktemp("osmn"), Path.cwd()
    os.chdir(folder)
    try:
        assert osmn_train.main(SMALL) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def there(trained, monkeypatch):
    monkeypatch.chdir(trained)
    return trained


VIDEO = ["dataset.count=1", "dataset.length=3", "dataset.size=[32,56]", "processes=1", "device=cpu", "method=osmn"]


def told(status, capsys):
    captured = capsys.readouterr()
    assert status == hydra_app.MISTAKE and "Traceback" not in captured.err
    return captured.err


def test_it_makes_a_learner_of_osmn_with_the_best_rate(there):
    learner = Learner.load(OUT / "learner.safetensors")
    assert learner.level == "single" and learner.spec["network"] == "osmn" and learner.spec["made_by"] == "osmn_train"
    learner.check_fits(osmn.build(**learner.spec["model"]), OUT)
    assert set(learner.spec["J"]) == {"0.001", "0.01"} and learner.spec["rules"] == {"clip": 0.25, "balance": 0.3}
    best = max(learner.spec["J"], key=learner.spec["J"].get)
    assert float(learner.distinct_rates()[0]) == pytest.approx(float(best))
    lines = [json.loads(line) for line in (OUT / "training" / "log.jsonl").read_text().splitlines()]
    assert {"J", "validation_loss"} <= lines[-1].keys() and "loss" in lines[-1]
    last = Learner.load(OUT / "training" / "last.safetensors").theta
    assert bool(last["visual.last.weight"].any())  # zero at first


def test_it_resumes_and_finds_all_done(there, capsys):
    before = (OUT / "learner.safetensors").read_bytes()
    assert osmn_train.main(SMALL) == hydra_app.MISTAKE
    assert osmn_train.main([*SMALL, "resume=true"]) == 0
    assert (OUT / "learner.safetensors").read_bytes() == before
    assert "searching" not in capsys.readouterr().err


def test_other_guidance_is_another_training(there, capsys):
    said = told(osmn_train.main([*SMALL, "resume=true", "guidance.prior_shift=0.1"]), capsys)
    assert "guidance" in said


def test_an_ablation_is_a_network_without_that_modulator(there):
    assert osmn_train.main([*SMALL, "osmn.visual=false", "out=bare"]) == 0
    learner = Learner.load("bare/learner.safetensors")
    assert not learner.spec["model"]["visual"] and learner.spec["model"]["spatial"]
    assert not any(name.startswith("visual") for name in learner.theta)


def test_modulators_learn_to_make_use_of_osvos(there):
    """OSVOS-M of Table 2: its network as it is, a visual modulator alone."""
    torch.manual_seed(0)
    base = osvos.build("tiny", short=32, long=56, widths=(4, 4, 6, 6, 8), groups=0, path=4)
    spec = {"network": "osvos", "model": base.spec}
    Learner.create(base, 0.0, "single", spec).save("osvos.safetensors")
    given = ["init=osvos.safetensors", "outer.segmentation=false", "osmn.spatial=false", "out=modulated"]
    assert osmn_train.main([*SMALL, *given]) == 0
    theta = Learner.load("modulated/training/last.safetensors").theta
    for name, p in base.named_parameters():
        assert torch.equal(theta[f"segmentation.{name}"], p)
    assert bool(theta["visual.last.weight"].any()) and not any(name.startswith("spatial") for name in theta)


def test_imagenets_vgg16_begins_both_networks(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    vgg16_file(tmp_path / "vgg16.pth", (4, 4, 6, 6, 8))
    given = ["model=vgg16", "init=vgg16.pth", "outer.iterations=0", "out=run"]
    assert osmn_train.main([*SMALL, *given]) == 0
    theta, raw = Learner.load("run/learner.safetensors").theta, torch.load("vgg16.pth")
    for name in ("segmentation.trunk.convs.12.weight", "visual.convs.12.weight"):
        assert torch.equal(theta[name], raw["features.28.weight"])
    assert "visual" in capsys.readouterr().out and "features.0.weight" in Path("run/weights.txt").read_text()


def test_eval_takes_a_learner_without_fine_tuning_unless_asked(there, capsys):
    """Nothing that decides the masks is left out of the fingerprint."""
    assert eval.main([*VIDEO, f"learner={OUT}/learner.safetensors", "out=plain"]) == 0
    assert f"{OUT}/learner.safetensors" in capsys.readouterr().err
    run = read_run(Path("plain"))["fingerprint"]
    assert run["method"] == "osmn" and run["iters"] == 0 and run["osmn"]["visual"] and "score" not in run
    assert eval.main([*VIDEO, f"learner={OUT}/learner.safetensors", "iters=1", "osmn.visual=false"]) == 0
    assert next(Path("runs/eval/synthetic-test").glob("osmn-T1-no-visual-s0-*"))
    assert eval.main([*VIDEO, f"learner={OUT}/learner.safetensors", "osmn.snapping=grabcut", "snapping.side=160"]) == 0
    found = read_run(next(Path("runs/eval/synthetic-test").glob("osmn-T0-grabcut-s0-*")))["fingerprint"]
    assert found["osmn"]["snapping"] == "grabcut" and found["snapping"]["side"] == 160 and "snapping" not in run
    Learner.shipped().save("e.safetensors")
    said = told(eval.main([*VIDEO, "learner=e.safetensors"]), capsys)
    assert "which method=eosvos takes; one of OSMN is expected, as python -m eosvos.osmn_train trains it" in said


def test_the_pictures(there, capsys):
    assert osmn_show.main([f"learner={OUT}/learner.safetensors", "objects=6", "out=shown", *TASKS]) == 0
    said = capsys.readouterr().out
    assert "nearest of 6 objects" in said
    for name in ("embedding", "visual", "spatial"):
        assert f"shown/{name}.png" in said
        with Image.open(f"shown/{name}.png") as image:
            assert image.format == "PNG"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["model=resnet18"], "model size 'resnet18' is unknown; expected one of tiny, vgg16"),
        (["osmn.zoom=[1.2,0.8]"], "osmn.zoom=[1.2, 0.8]: expected the smaller one first"),
        (["osmn.widen=0.5"], "osmn.widen=0.5: expected 1 or more"),
        (["guidance.squares=[8]"], "guidance.squares=[8]: expected 32 or more"),
        (["outer.segmentation=false", "osmn.visual=false", "osmn.spatial=false"], "nothing is left to train"),
        (["branch=contours"], "branch: no such setting"),
    ],
)
def test_mistakes_are_said(given, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert said in told(osmn_train.main([*SMALL, *given]), capsys)


def test_a_learner_of_another_network_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Learner.shipped().save("e.safetensors")
    said = told(osmn_train.main([*SMALL, "init=e.safetensors"]), capsys)
    assert "is of e-OSVOS (Mask R-CNN), which method=eosvos takes; one of OSMN is expected" in said
    said = told(osmn_show.main(["learner=e.safetensors", *TASKS]), capsys)
    assert "one of OSMN is expected" in said
