"""Still images with masks: layouts, objects, one-frame tasks, and what is said about a broken folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from eosvos.data.readers.stills import open_stills
from eosvos.data.tasks import VideoTaskset
from eosvos.errors import UserError


def write(root: Path, masks: dict[str, np.ndarray], folders=("images", "masks"), ending: str = "") -> Path:
    for folder in folders:
        (root / folder).mkdir(parents=True)
    for k, (name, mask) in enumerate(masks.items()):
        noise = np.random.default_rng(k).integers(0, 256, (*mask.shape, 3), np.uint8)
        Image.fromarray(noise).save(root / folders[0] / f"{name}.jpg")
        Image.fromarray(mask).save(root / folders[1] / f"{name}{ending}.png")
    return root


def squares(*ids: int) -> np.ndarray:
    mask = np.zeros((40, 70), np.uint8)
    for place, number in enumerate(ids):
        mask[10:25, 5 + 20 * place : 20 + 20 * place] = number
    return mask


def test_the_pixel_value_is_the_object(tmp_path):
    """Penn-Fudan, in its own layout."""
    masks = {"b10": squares(1, 2, 3), "b2": squares(7)}
    one, two = open_stills(write(tmp_path, masks, ("PNGImages", "PedMasks"), "_mask"))
    assert (one.name, two.name) == ("b2", "b10") and len(one) == 1 and one.frame_names == ("b2",)
    assert one.first_frame == {7: 0} and two.first_frame == {1: 0, 2: 0, 3: 0}
    assert (two.mask(0) == masks["b10"]).all() and two.frame(0).shape == (3, 40, 70)


def test_binary_masks_show_one_object(tmp_path):
    """ECSSD, in its own layout."""
    root = write(tmp_path, {"0001": squares(255), "0002": squares(3, 255)}, ("images", "ground_truth_mask"))
    found = open_stills(root, binary=True)
    assert [s.first_frame for s in found] == [{1: 0}, {1: 0}]
    assert set(np.unique(found[1].mask(0))) == {0, 1}
    assert [s.name for s in open_stills(root, binary=True, sequences=["0002"])] == ["0002"]
    with pytest.raises(UserError, match="255 means void"):
        open_stills(root)


def test_each_object_of_a_picture_is_a_task_on_two_transforms_of_it(tmp_path):
    (still,) = open_stills(write(tmp_path, {"a": squares(1, 2, 3)}))
    tasks = [VideoTaskset([still], size=(40, 70)).task(0, i, 0) for i in range(30)]
    assert {task.object_id for task in tasks} == {1, 2, 3}
    for task in tasks:
        assert task.train[0].masks.any() and task.meta.masks.any()
        assert not torch.equal(task.train[0].image, task.meta.image)
    assert len(VideoTaskset([still], size=(40, 70)).image(0, 0, 0).masks) > 1


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda root: (root / "masks" / "b.png").unlink(), ["no mask for b"]),
        (lambda root: (root / "images" / "a.jpg").unlink(), ["no picture for a"]),
        (lambda root: (root / "masks").rename(root / "other"), ["images/ and masks/", "there is images, other"]),
        (lambda root: (root / "masks" / "a.png").write_bytes(b"no image"), ["masks/a.png", "fetch it again"]),
        (lambda root: Image.fromarray(squares()).save(root / "masks" / "a.png"), ["masks/a.png", "empty"]),
        (lambda root: Image.fromarray(squares(1)[:20]).save(root / "masks" / "a.png"), ["masks/a.png", "70x20"]),
    ],
)
def test_what_is_wrong_is_named(tmp_path, harm, said):
    root = write(tmp_path, {"a": squares(1), "b": squares(1)})
    harm(root)
    with pytest.raises(UserError) as caught:
        open_stills(root)
    assert all(part in str(caught.value) for part in said), caught.value


def test_the_real_ones(shared_data):
    saliency = open_stills(shared_data / "ECSSD", binary=True, sequences=["0001", "0512", "1000"])
    assert [s.first_frame for s in saliency] == [{1: 0}] * 3 and saliency[0].frame(0).shape[1:] == saliency[0].size
    people = open_stills(shared_data / "PennFudanPed")
    assert len(people) == 170 and sum(len(s.first_frame) for s in people) == 423
