"""What version 0.1.0 stored is read: a learner, a Segmenter's state in the middle of a video, a session of the page."""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from eosvos import Learner, Segmenter

STORED = Path(__file__).parent / "stored"


def frame(t: int) -> np.ndarray:
    """Of the video that the state is of: a yellow rectangle on noise, moving right."""
    draws = torch.Generator().manual_seed(0)
    picture = (torch.rand(60, 100, 3, generator=draws) * 80 + 70).to(torch.uint8).numpy()
    picture[10:30, 10 + 3 * t : 35 + 3 * t] = (250, 230, 20)
    return picture


def test_a_learner():
    learner = Learner.load(STORED / "learner.safetensors")
    assert learner.level == "neuron" and learner.spec["model"]["short"] == 32
    assert all(p.dtype == torch.float32 for p in learner.theta.values())


def test_a_segmenter_in_the_middle_of_a_video_goes_on_as_it_would_have():
    segmenter = Segmenter.load(STORED / "state.safetensors")
    found = segmenter.step(frame(2))
    with Image.open(STORED / "third.png") as image:
        expected = np.array(image)
    assert segmenter.object_ids == [3] and expected.any()
    # Convolutions in another memory format round otherwise, and so may processors: the masks are alike, not equal.
    assert ((found == 3) & (expected == 3)).sum() >= 0.9 * ((found == 3) | (expected == 3)).sum()
    segmenter.correct(frame(2), {3: expected == 3})  # fine-tuned again from what was stored
    assert segmenter.step(frame(3)).shape == (60, 100)


def test_a_session_of_the_page(tmp_path):
    from eosvos.page.sessions import Sessions

    video = tmp_path / "0123456789abcdef0123456789abcdef" / "video"
    video.mkdir(parents=True)
    for t in range(3):
        Image.fromarray(frame(t)).save(video / f"{t:05d}.png")
    annotations = video.parent / "annotations"
    annotations.mkdir()
    mask = np.zeros((60, 100), np.uint8)
    mask[10:30, 10:35] = 3
    Image.fromarray(mask).save(annotations / "00000.png")
    names = [f"{t:05d}" for t in range(3)]
    content = {"name": "clip", "names": names, "size": [60, 100], "rate": 25, "made": 1.7e9}
    (video.parent / "session.json").write_text(json.dumps(content))
    (session,) = Sessions(tmp_path).all()[0]
    assert session.name == "clip" and session.names == names and session.annotated() == [0]
    sequence, _ = session.annotated_video(annotations)
    assert np.array_equal(sequence.mask(0), mask) and sequence.mask(1) is None
