"""The Segmenter is the method behind it: same masks, the user's ids, and states that continue as if never saved."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from eosvos.cli import build_method, schema
from eosvos.errors import UserError
from eosvos.inference.segmenter import Segmenter, image_of, masks_of
from eosvos.meta.learner import Learner
from eosvos.methods.baselines import CopyFirst, Flow
from eosvos.methods.eosvos.method import EOSVOS
from eosvos.methods.eosvos.settings import Online
from eosvos.models import mask_rcnn

HEIGHT, WIDTH = 40, 64


def image(index):
    """uint8 (H, W, 3): two squares before a pattern."""
    pixels = np.random.default_rng(0).integers(60, 160, (HEIGHT, WIDTH, 3), np.uint8)
    pixels[5:20, 5 + index : 25 + index] = (250, 220, 30)
    pixels[25:38, 40:60] = (10, 20, 90)
    return pixels


def ids(one, two, kind=np.int64):
    mask = np.zeros((HEIGHT, WIDTH), kind)
    mask[5:20, 5:25], mask[25:38, 40:60] = one, two
    return mask


def test_every_kind_of_image_is_the_same_frame():
    pixels = image(0)
    tensor = torch.from_numpy(pixels.transpose(2, 0, 1).copy())
    expected = tensor.float() / 255
    for given in (pixels, tensor, expected, expected.double(), expected.numpy().transpose(1, 2, 0), pixels[:, ::1]):
        assert torch.allclose(image_of(given), expected, atol=1e-7) and image_of(given).dtype == torch.float32
    grey = pixels[..., 0]
    assert torch.equal(image_of(grey), image_of(np.stack([grey] * 3, -1)))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (np.zeros((4, 4, 4), np.uint8), "array frame is"),
        (np.zeros((4, 4, 3), np.uint16), "uint8, or floating"),
        (np.full((4, 4, 3), 255.0), "values in \\[0, 1\\], found 255"),
        (np.full((4, 4, 3), np.nan), "values in \\[0, 1\\], found nan"),
        (torch.zeros(4, 4, 3), "tensor frame is \\(3, H, W\\)"),
        (torch.zeros(3, 4, 4, dtype=torch.int32), "uint8, or floating"),
    ],
)
def test_frames_that_cannot_be_meant_are_refused(wrong, told):
    with pytest.raises(ValueError, match=told):
        image_of(wrong)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (np.zeros((4, 5), np.uint8), "id mask is \\(4, 5\\), the frame \\(4, 4\\)"),
        ({1: np.zeros((4, 5), bool)}, "object 1: the mask is \\(4, 5\\)"),
        ({0: np.zeros((4, 4), bool)}, "from 1 to 2\\*\\*31 - 1, found 0"),
        ({"dog": np.zeros((4, 4), bool)}, "found 'dog'"),
        (np.full((4, 4), -3), "found -3"),
        (np.full((4, 4), 2**40), "found 1099511627776"),
        (np.zeros((4, 4)), "of integers, not float64"),
        (np.zeros((4, 4), np.uint8), "no object, only background"),
        (np.full((4, 4), 0), "no object, only background"),
    ],
)
def test_masks_that_cannot_be_meant_are_refused(wrong, told):
    with pytest.raises(ValueError, match=told):
        masks_of(wrong, (4, 4))


def test_masks_of_all_kinds_are_the_same_objects():
    mask = ids(3, 9, np.uint8)
    mask[0, 0] = 255  # unknown
    for given in (mask, torch.from_numpy(mask), {3: mask == 3, 9: torch.from_numpy(mask == 9)}):
        found = masks_of(given, mask.shape)
        assert list(found) == [3, 9] and all(np.array_equal(found[i], mask == i) for i in found)
    assert list(masks_of(ids(255, 256), mask.shape)) == [255, 256]  # unknown only in uint8
    plain = np.where(mask == 3, 255, 0).astype(np.uint8)
    assert list(masks_of(plain, mask.shape)) == [1] and np.array_equal(masks_of(plain, mask.shape)[1], mask == 3)
    assert masks_of({}, mask.shape) == {} and not masks_of({4: mask * 0}, mask.shape)[4].any()


def test_ids_come_back_as_given_however_large():
    segmenter = Segmenter(CopyFirst())
    large = ids(1_000_000, 7)
    found = segmenter.start(image(0), large)
    assert found.dtype == np.int32 and np.array_equal(found, large)
    added = segmenter.add(image(0), {1: ids(0, 0) == 0})
    assert segmenter.object_ids == [7, 1_000_000, 1] and set(np.unique(added)) == {1}
    assert np.array_equal(segmenter.correct(image(0), {1: ids(1, 0) == 1, 7: ids(0, 1) == 1}), ids(1, 7))
    segmenter.remove(1_000_000)
    small = segmenter.step(image(1))
    assert small.dtype == np.uint8 and set(np.unique(small)) == {0, 1, 7}


def test_a_refused_call_changes_nothing():
    segmenter = Segmenter(CopyFirst())
    segmenter.start(image(0), ids(1, 2))
    before = segmenter.step(image(1))
    tries = [
        lambda: segmenter.start(image(0), {4: np.zeros((HEIGHT, WIDTH), bool)}),
        lambda: segmenter.add(image(1), ids(1, 5)),  # 1 is known
        lambda: segmenter.add(image(1)[:-1], {5: np.ones((HEIGHT - 1, WIDTH), bool)}),
        lambda: segmenter.correct(image(1), ids(6, 2)),
        lambda: segmenter.remove([1, 6]),
        lambda: segmenter.step(image(1)[:, :-1]),
        lambda: segmenter.add(image(1), {k: np.ones((HEIGHT, WIDTH), bool) for k in range(10, 310)}),
        lambda: segmenter.learn(image(1), ids(1, 2)),
    ]
    for attempt in tries:
        with pytest.raises(ValueError):
            attempt()
        assert segmenter.object_ids == [1, 2] and np.array_equal(segmenter.step(image(1)), before)


def test_more_than_254_objects_are_refused_with_their_number():
    masks = {k: np.ones((HEIGHT, WIDTH), bool) for k in range(1, 301)}
    with pytest.raises(ValueError, match="300 objects: at most 254"):
        Segmenter(CopyFirst()).start(image(0), masks)


def test_online_adaptation_goes_on_after_loading(tmp_path, learner):
    """What it remembers of the past frames is in the file, too; a GPU's or CPU's choice and settings are the user's."""
    settings = {"iters": 2, "ona": True, "online": Online(every=2, steps=1, min_area=0.0), "seed": 4}
    segmenter = Segmenter(EOSVOS(learner, **settings))
    segmenter.start(image(0), ids(1, 2))
    segmenter.step(image(1))
    segmenter.step(image(2))
    segmenter.save(tmp_path / "state")
    loaded, other = Segmenter.load(tmp_path / "state"), Segmenter.load(tmp_path / "state", ona=False)
    for index in range(3, 7):
        expected = segmenter.step(image(index))
        assert np.array_equal(loaded.step(image(index)), expected)
        assert torch.equal(loaded.probabilities, segmenter.probabilities)
        other.step(image(index))
    assert not torch.equal(other.probabilities, segmenter.probabilities)


def test_states_that_are_none_are_refused(tmp_path, learner):
    segmenter = Segmenter(Flow())
    segmenter.start(image(0), ids(1, 2))
    segmenter.save(tmp_path / "state")
    content = (tmp_path / "state").read_bytes()
    (tmp_path / "cut").write_bytes(content[:-40])
    (tmp_path / "text").write_text("no state")
    learner.save(tmp_path / "learner")
    (tmp_path / "other").write_bytes(content.replace(b"Flow", b"Slow"))
    for name, told in [
        ("none", "no such file"),
        ("cut", "truncated"),
        ("text", "not a readable file"),
        ("learner", "format 'eosvos-learner-1' found"),
        ("other", "not of this version"),
    ]:
        with pytest.raises(UserError, match=told):
            Segmenter.load(tmp_path / name)
    with pytest.raises(ValueError, match="Own cannot be saved"):
        Segmenter(type("Own", (CopyFirst,), {})()).save(tmp_path / "own")
    assert not (tmp_path / "own").exists()


def test_the_example_of_the_readme_runs_as_it_stands(tmp_path, monkeypatch):
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    code = text.split("```python\n")[1].split("```")[0]
    assert "Segmenter()" in code and len(code.splitlines()) <= 18
    (tmp_path / "clip").mkdir()
    for index in range(4):
        Image.fromarray(image(index)).save(tmp_path / "clip" / f"{index:05d}.jpg")
    Image.fromarray(ids(1, 2, np.uint8)).save(tmp_path / "first.png")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(code, names)
    assert names["ids"].shape == (HEIGHT, WIDTH) and set(np.unique(names["ids"])) <= {0, 1, 2}
    assert not (names["segmenter"].step(image(3)) == 1).all()
    assert Segmenter.load("clip.safetensors").object_ids == [1, 2]


@pytest.fixture(scope="module")
def learner():
    torch.manual_seed(0)
    model = mask_rcnn.build("tiny", short=64, long=112, score=0.0)
    return Learner.create(model, 0.02, "neuron", {"model": model.spec})


def test_without_a_method_settings_are_those_of_the_shipped_one():
    assert Segmenter(iters=7, ona=True).method.settings()["iters"] == 7
    with pytest.raises(TypeError, match="settings iters beside a method"):
        Segmenter(CopyFirst(), iters=7)
    with pytest.raises(TypeError, match="Segmenter has no setting 'iter'; did you mean iters\\?"):
        Segmenter(iter=7)


def test_its_settings_are_those_of_the_method():
    own, methods = (inspect.signature(kind).parameters for kind in (Segmenter, EOSVOS))
    assert set(own) - {"method", "unknown", "learner_rate"} == set(methods)


def test_by_default_it_does_what_the_command_does(monkeypatch):
    """The steps that the learner recommends, on a GPU where there is one."""
    method = Segmenter().method
    assert method.settings() == EOSVOS(Learner.shipped(), iters=50).settings()
    assert method.device == torch.device("cuda" if torch.cuda.is_available() else "cpu")
    shipped = Learner.shipped()
    shipped.spec["recommended_iters"] = 30
    monkeypatch.setattr(Learner, "shipped", lambda: shipped)
    assert Segmenter().method.settings()["iters"] == 30
    for given, steps in ((None, 30), (7, 7)):
        assert build_method.with_steps(schema.SegmentConfig(iters=given), shipped).iters == steps


def test_settings_of_a_saved_one_are_checked_too(tmp_path, learner):
    for segmenter in (Segmenter(EOSVOS(learner, iters=0)), Segmenter(CopyFirst())):
        segmenter.start(image(0), ids(1, 2))
        segmenter.save(tmp_path / "state")
        with pytest.raises(TypeError, match="has no setting 'itres'"):
            Segmenter.load(tmp_path / "state", itres=3)


def test_objects_may_join_on_the_first_frame_of_a_new_video(tmp_path, learner):
    segmenter = Segmenter(EOSVOS(learner, iters=1))
    segmenter.start(image(0), ids(1, 2))
    segmenter.save(tmp_path / "state")
    loaded = Segmenter.load(tmp_path / "state", new_video=True)
    other = np.zeros((HEIGHT // 2, WIDTH, 3), np.uint8)
    mask = np.zeros((HEIGHT // 2, WIDTH), bool)
    mask[2:9, 3:12] = True
    found = loaded.add(other, {5: mask})
    assert np.array_equal(found, np.where(mask, 5, 0)) and loaded.object_ids == [1, 2, 5]
    assert loaded.step(other).shape == mask.shape
    loaded.remove(np.int64(5))
    assert loaded.object_ids == [1, 2]
