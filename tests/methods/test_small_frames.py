"""Frames of any size, down to a single pixel: every method gives masks of that size, and every output is written."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from eosvos import segment
from eosvos.data.masks import read_mask, write_mask
from eosvos.inference.export import OUTPUTS
from eosvos.inference.segmenter import Segmenter
from eosvos.meta.learner import LEARNERS, Learner
from eosvos.methods.baselines import CopyFirst, Flow
from eosvos.methods.eosvos.method import EOSVOS
from eosvos.methods.osmn.method import OSMN
from eosvos.methods.osvos.method import OSVOS
from eosvos.methods.protocol import Method

SIZES = [(1, 1), (1, 40), (40, 1), (5, 7), (11, 11), (3, 200), (12, 40)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["copy_first", "flow", "eosvos", "osvos", "osmn"])
def test_masks_have_the_size_of_the_frames(size, kind):
    method: Method
    if kind in ("copy_first", "flow"):
        method = CopyFirst() if kind == "copy_first" else Flow()
    elif kind == "eosvos":
        method = EOSVOS(Learner.shipped(), iters=1)
    else:
        made = OSVOS if kind == "osvos" else OSMN
        method = made(Learner.load(LEARNERS / f"{kind}.safetensors"), iters=1)
    generator = np.random.default_rng(0)
    frames = [generator.integers(0, 256, (*size, 3)).astype(np.uint8) for _ in range(3)]
    mask = np.zeros(size, np.uint8)
    mask[: (size[0] + 1) // 2, : (size[1] + 1) // 2] = 1
    segmenter = Segmenter(method)
    assert (segmenter.start(frames[0], mask) == mask).all()
    for frame in frames[1:]:
        assert segmenter.step(frame).shape == size
    segmenter.correct(frames[-1], {1: np.zeros(size, bool)})


def test_flow_of_a_small_frame_follows_the_object():
    """As in a larger one: the edge that is added moves nothing."""
    frames = np.zeros((3, 11, 40, 3), np.uint8)
    for k in range(3):
        frames[k, 3:8, 10 + 2 * k : 20 + 2 * k] = 255
    segmenter = Segmenter(Flow())
    segmenter.start(frames[0], (frames[0, ..., 0] > 0).astype(np.uint8))
    segmenter.step(frames[1])
    found, expected = segmenter.step(frames[2]) > 0, frames[2, ..., 0] > 0
    assert (found & expected).sum() / (found | expected).sum() > 0.7


@pytest.mark.parametrize("size", [(1, 1), (5, 7)])
def test_all_outputs_of_the_command(tmp_path, monkeypatch, size):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clip").mkdir()
    for k in range(2):
        Image.fromarray(np.full((*size, 3), 90, np.uint8)).save(tmp_path / "clip" / f"{k}.png")
    write_mask(tmp_path / "first.png", np.ones(size, np.uint8))
    given = ["video=clip", "mask=first.png", "out=o", "method=flow", f"outputs=[{','.join(OUTPUTS)}]"]
    assert segment.main(given) == 0
    assert (read_mask(tmp_path / "o" / "masks" / "1.png") == 1).all()
