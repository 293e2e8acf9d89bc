"""OSVOS's training from end to end in miniature, and what it says to a user's mistakes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from published_vgg import vgg16_file

from eosvos import eval, osvos_train
from eosvos.cli import hydra_app
from eosvos.evaluation.run_folder import read_run
from eosvos.meta.learner import Learner
from eosvos.methods import snapping
from eosvos.models.osvos import build

SMALL = [
    *"model.short=32 model.long=56 model.widths=[4,4,6,6,8] model.groups=2 model.path=4".split(),
    *"taskset.render=[32,56] taskset.length=4 device=cpu parent.iterations=3 parent.tasks=2".split(),
    *"parent.validation_pictures=2 search.rates=[1e-9,1e-6] search.steps=2 search.tasks=2".split(),
]
VIDEO = ["dataset.count=1", "dataset.length=3", "dataset.size=[32,56]", "processes=1", "device=cpu", "method=osvos"]
OUT = Path("runs/osvos/tiny-foreground")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder in which both branches are trained."""
    folder, before = tmp_path_factory.mktemp("osvos"), Path.cwd()
    os.chdir(folder)
    try:
        assert osvos_train.main(SMALL) == 0
        assert osvos_train.main([*SMALL, "branch=contours"]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def there(trained, monkeypatch):
    monkeypatch.chdir(trained)
    return trained


def told(status, capsys):
    captured = capsys.readouterr()
    assert status == hydra_app.MISTAKE and "Traceback" not in captured.err
    return captured.err


def test_the_parent_is_a_learner_of_osvos_with_the_best_rate(there):
    learner = Learner.load(OUT / "learner.safetensors")
    assert learner.level == "single" and learner.spec["network"] == "osvos" and learner.spec["branch"] == "foreground"
    learner.check_fits(build(**learner.spec["model"]), OUT)
    assert set(learner.spec["J"]) == {"1e-09", "1e-06"} and learner.spec["rules"] == {"clip": 1e5}
    best = max(learner.spec["J"], key=learner.spec["J"].get)
    assert float(learner.distinct_rates()[0]) == pytest.approx(float(best))
    lines = [json.loads(line) for line in (OUT / "training" / "log.jsonl").read_text().splitlines()]
    assert all(line["fused"] > 0 for line in lines if "loss" in line) and {"J", "validation_loss"} <= lines[-1].keys()
    assert lines[1]["loss"] > lines[1]["fused"]  # the side outputs are trained


def test_the_contour_branch_is_the_same_network_trained_for_something_else(there):
    contours = Learner.load("runs/osvos/tiny-contours/learner.safetensors")
    foreground = Learner.load(OUT / "learner.safetensors")
    assert contours.spec["branch"] == "contours" and contours.spec["model"] == foreground.spec["model"]
    assert "J" not in contours.spec and float(contours.distinct_rates()[0]) == 0
    last = [
        Learner.load(f"runs/osvos/tiny-{branch}/training/last.safetensors") for branch in ("contours", "foreground")
    ]
    assert any(not torch.equal(p, last[1].theta[name]) for name, p in last[0].theta.items())


def test_it_resumes_and_finds_all_done(there, capsys):
    before = (OUT / "learner.safetensors").read_bytes()
    assert osvos_train.main(SMALL) == hydra_app.MISTAKE
    assert osvos_train.main([*SMALL, "resume=true"]) == 0
    assert (OUT / "learner.safetensors").read_bytes() == before
    assert "searching" not in capsys.readouterr().err
    assert osvos_train.main([*SMALL, "resume=true", "search.steps=1"]) == 0
    assert "searching" in capsys.readouterr().err


def test_without_a_parent_the_rate_is_sought_for_what_it_starts_from(there, capsys):
    """-PN of Table 1."""
    start = OUT / "training" / "learner.safetensors"
    assert osvos_train.main([*SMALL, f"init={start}", "parent.iterations=0", "out=base"]) == 0
    base, theta = Learner.load("base/learner.safetensors"), Learner.load(start).theta
    assert all(torch.equal(base.theta[name], p) for name, p in theta.items()) and "J" in base.spec


def test_imagenets_vgg16_is_the_base_network(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    vgg16_file(tmp_path / "vgg16.pth", (4, 4, 6, 6, 8))
    more = ["init=vgg16.pth", "parent.iterations=0", "branch=contours", "out=run"]
    assert osvos_train.main([*SMALL, "model=vgg16", *more]) == 0
    learner, raw = Learner.load("run/learner.safetensors"), torch.load("vgg16.pth")
    assert torch.equal(learner.theta["trunk.convs.12.weight"], raw["features.28.weight"])
    assert "of its authors" in capsys.readouterr().out and "features.0.weight" in Path("run/weights.txt").read_text()
    said = told(osvos_train.main([*SMALL, "init=vgg16.pth", "out=other"]), capsys)
    assert "model=tiny is asked for; expected a VGG16 and model=vgg16" in said


@pytest.mark.parametrize("kind", ["none", "bilateral", "contours"])
def test_eval_takes_a_parent_and_contours(there, capsys, kind):
    """Nothing that decides the masks is left out of the fingerprint."""
    pytest.importorskip({"bilateral": "scipy", "contours": "higra"}.get(kind, "torch"))
    given = [f"learner={OUT}/learner.safetensors"]
    if kind == "contours":
        given.append("osvos.contours=runs/osvos/tiny-contours/learner.safetensors")
    assert eval.main([*VIDEO, *given, "iters=1", f"osvos.snapping={kind}", f"out={kind}"]) == 0
    assert f"{OUT}/learner.safetensors" in capsys.readouterr().err
    run = read_run(Path(kind))["fingerprint"]
    assert run["method"] == "osvos" and run["iters"] == 1 and run["osvos"]["snapping"] == kind
    assert ("contours_hash" in run) == (kind == "contours") and "score" not in run
    assert len(list(Path(kind, "masks").rglob("*.png"))) == 3


def test_eval_says_what_a_learner_is_of(there, capsys, monkeypatch):
    Learner.shipped().save("e.safetensors")
    said = told(eval.main([*VIDEO, "learner=e.safetensors"]), capsys)
    assert "is of e-OSVOS (Mask R-CNN), which method=eosvos takes; one of OSVOS is expected" in said
    parent, contours = OUT / "learner.safetensors", "runs/osvos/tiny-contours/learner.safetensors"
    said = told(eval.main([*VIDEO[:-1], f"learner={parent}"]), capsys)
    assert "is of OSVOS, which method=osvos takes" in said and "eosvos.meta_train trains it" in said
    said = told(eval.main([*VIDEO, f"learner={contours}"]), capsys)
    assert "OSVOS's branch for contours; the one for foreground is expected" in said
    said = told(eval.main([*VIDEO, "osvos.snapping=contours", f"osvos.contours={parent}"]), capsys)
    assert "OSVOS's branch for foreground; the one for contours is expected" in said
    monkeypatch.setattr(snapping, "find_spec", lambda name: None)
    said = told(eval.main([*VIDEO, "osvos.snapping=bilateral"]), capsys)
    assert "pip install 'eosvos[snapping]'" in said


def test_eval_without_contours_says_how_to_train_them(tmp_path, monkeypatch, capsys):
    pytest.importorskip("higra")
    monkeypatch.chdir(tmp_path)
    said = told(eval.main([*VIDEO, "osvos.snapping=contours"]), capsys)
    assert "no contours ship; train them with python -m eosvos.osvos_train branch=contours, and give the path" in said
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["branch=edges"], "branch=edges: expected one of foreground, contours"),
        (["osvos.momentum=1"], "osvos.momentum=1.0: expected 0 or more"),
        (["model=resnet18"], "model size 'resnet18' is unknown; expected one of tiny, vgg16"),
        (["model.first=6"], "model.first=6: expected 1 or more, at most 5"),
        (["osvos.zoom=[1.2,0.8]"], "osvos.zoom=[1.2, 0.8]: expected the smaller one first"),
        (["init_norm=match"], "init_norm: no such setting"),
    ],
)
def test_mistakes_are_said(given, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert said in told(osvos_train.main([*SMALL, *given]), capsys)


def test_a_learner_of_another_network_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Learner.shipped().save("e.safetensors")
    said = told(osvos_train.main([*SMALL, "init=e.safetensors"]), capsys)
    assert "is of e-OSVOS (Mask R-CNN), which method=eosvos takes; one of OSVOS is expected" in said
