"""The papers' experiments from end to end: their networks at reduced size, on a DAVIS-2017-like tree of two objects."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from eosvos import eval
from eosvos.data.masks import read_mask
from eosvos.evaluation.run_folder import read_run
from eosvos.meta.learner import Learner
from eosvos.models import mask_rcnn, osmn, osvos

SIDES = {"short": 64, "long": 96}
FRAMES, HEIGHT, WIDTH = 3, 64, 96


@pytest.fixture(scope="module")
def davis(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("DAVIS-2017")
    images, masks = root / "JPEGImages/480p/two", root / "Annotations/480p/two"
    images.mkdir(parents=True)
    masks.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(60, 120, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    for t in range(FRAMES):
        frame, ids = noise.copy(), np.zeros((HEIGHT, WIDTH), np.uint8)
        frame[8:40, 6 + t : 38 + t], ids[8:40, 6 + t : 38 + t] = (230, 40, 40), 1
        frame[20:60, 50 : 90 - t], ids[20:60, 50 : 90 - t] = (40, 60, 230), 2
        Image.fromarray(frame).save(images / f"{t:05d}.jpg", quality=95)
        image = Image.fromarray(ids, "P")
        image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
        image.save(masks / f"{t:05d}.png")
    return root


def run(davis: Path, experiment: str, learner: Path, *more: str) -> tuple[dict, list[np.ndarray]]:
    """The settings of the run, and the masks."""
    out = learner.parent / experiment
    words = [f"experiment={experiment}", f"learner={learner}", "dataset=davis17", f"data_root={davis}", f"out={out}"]
    assert eval.main([*words, "processes=1", "device=cpu", "sequences=[two]", *more]) == 0
    found = [read_mask(path) for path in sorted((out / "masks").rglob("*.png"))]
    assert len(found) == FRAMES and all(mask.shape == (HEIGHT, WIDTH) for mask in found)
    assert set(np.unique(found[0])) == {0, 1, 2} and all(set(np.unique(mask)) <= {0, 1, 2} for mask in found)
    figures = json.loads((out / "per_frame.json").read_text())["two"]["objects"]
    assert set(figures) == {"1", "2"}
    return read_run(out)["fingerprint"], found


@pytest.fixture(scope="module")
def resnet50(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    model = mask_rcnn.build("resnet50", **SIDES, mask_loss="lovasz_softmax", score=0.0)
    path = tmp_path_factory.mktemp("resnet50") / "learner.safetensors"
    Learner.create(model, 1e-4, "neuron", {"model": model.spec, "rules": {"clip": None, "window": 0.0}}).save(path)
    return path


@pytest.mark.parametrize("experiment", ["paper_eosvos", "reference_eosvos"])
def test_eosvos(experiment, davis, resnet50):
    """Fine-tuned on both objects and adapted online (before frame 2), with ResNet-50."""
    settings, _ = run(davis, experiment, resnet50, "iters=1", "ona=true", "online.steps=1", "online.every=1", "score=0")
    reference = experiment == "reference_eosvos"
    assert settings["propagation"]["boxes"] == (500 if reference else 50) and settings["propagation"]["voting"] == 0
    assert settings["fine_tuning"]["batch"] == (3 if reference else 1) and settings["fine_tuning"]["clip"] is None
    assert settings["detection"]["rpn_post_test"] == (500 if reference else None)
    assert settings["snapping"]["band"] == 0 and settings["window"]["size"] == 0 and settings["iters"] == 1


def test_osvos(davis, tmp_path):
    pytest.importorskip("higra")
    torch.manual_seed(0)
    model = osvos.build("vgg16", **SIDES)
    for branch in ("foreground", "contours"):
        spec = {"network": "osvos", "branch": branch, "model": model.spec, "rules": {"clip": None}}
        Learner.create(model, 1e-9, "single", spec).save(tmp_path / f"{branch}.safetensors")
    contours = f"osvos.contours={tmp_path}/contours.safetensors"
    settings, _ = run(davis, "paper_osvos", tmp_path / "foreground.safetensors", contours, "iters=1")
    assert settings["osvos"]["snapping"] == "contours" and settings["osvos"]["clip"] is None


def test_osmn(davis, tmp_path):
    torch.manual_seed(0)
    model = osmn.build("vgg16", **SIDES, hidden=64)
    spec = {"network": "osmn", "model": model.spec, "rules": {"clip": None, "balance": 0.0}}
    Learner.create(model, 1e-4, "single", spec).save(tmp_path / "learner.safetensors")
    settings, _ = run(davis, "paper_osmn", tmp_path / "learner.safetensors")
    assert settings["osmn"]["balance"] == 0 and settings["iters"] == 0
