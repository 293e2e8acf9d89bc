"""Any folder of frames and masks."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from PIL import Image

from eosvos.data.masks import write_mask
from eosvos.data.readers.folder import open_folder
from eosvos.errors import UserError

SIZE = (20, 30)


def square(*ids: int) -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    for k, i in enumerate(ids):
        mask[2:8, 1 + 8 * k : 7 + 8 * k] = i
    return mask


def video(frames, masks, names, annotated, suffix=".jpg"):
    frames.mkdir(parents=True)
    masks.mkdir(parents=True)
    for k, name in enumerate(names):
        Image.new("RGB", SIZE[::-1], (k, 2 * k, 3 * k)).save(frames / f"{name}{suffix}")
    for name, mask in annotated.items():
        write_mask(masks / f"{name}.png", mask)


@pytest.mark.parametrize(
    "layout",
    [
        ("JPEGImages/480p/v", "Annotations/480p/v"),
        ("JPEGImages/v", "Annotations/v"),
        ("frames/v", "masks/v"),
        ("frames", "masks"),
        ("JPEGImages", "Annotations"),
    ],
)
def test_layouts(tmp_path, layout):
    root = tmp_path / "v"
    video(root / layout[0], root / layout[1], ["00000", "00001"], {"00000": square(1)})
    (found,) = open_folder(root)
    assert found.name == "v" and len(found) == 2 and found.first_frame == {1: 0}
    assert (found.mask(0) == square(1)).all() and found.mask(1) is None


@pytest.mark.parametrize("suffix", [".png", ".jpeg", ".JPG", ".bmp"])
def test_frames_of_any_kind_in_natural_order(tmp_path, suffix):
    names = [f"frame_{i}" for i in range(12)]
    video(tmp_path / "frames", tmp_path / "masks", names, {"frame_2": square(5, 9), "frame_10": square(9)}, suffix)
    (tmp_path / "frames" / ".hidden.jpg").write_text("")
    (tmp_path / "frames" / "notes.txt").write_text("")
    (found,) = open_folder(tmp_path)
    assert list(found.frame_names) == names
    assert found.first_frame == {5: 2, 9: 2}
    assert [found.mask(i) is not None for i in (0, 2, 9, 10)] == [False, True, False, True]
    if suffix in (".png", ".bmp"):
        assert [int(found.read_frame(i)[0, 0, 2]) for i in range(12)] == [3 * i for i in range(12)]


def test_objects_may_come_later(tmp_path):
    masks = {"1": square(4), "3": square(4, 2), "4": square(2, 7)}
    video(tmp_path / "frames", tmp_path / "masks", list("01234"), masks)
    (found,) = open_folder(tmp_path)
    assert found.first_frame == {4: 1, 2: 3, 7: 4}
    assert list(found.new_objects(3)) == [2] and (found.new_objects(3)[2] == (masks["3"] == 2)).all()


def test_several_videos_and_a_choice(tmp_path):
    for name in ("b10", "b2", "a"):
        video(tmp_path / "frames" / name, tmp_path / "masks" / name, ["0"], {"0": square(1)})
    assert [s.name for s in open_folder(tmp_path)] == ["a", "b2", "b10"]
    assert [s.name for s in open_folder(tmp_path, sequences=["b10", "a"])] == ["b10", "a"]
    with pytest.raises(UserError, match="sequences=c: not in .*holds a, b2, b10"):
        open_folder(tmp_path, sequences=["a", "c"])


def test_black_and_white_masks_are_taken_as_one_object_and_said(tmp_path, caplog):
    void = square(3)
    void[-1] = 255
    for name, mask in (("two", square(255)), ("three", square(255, 1)), ("four", void)):
        video(tmp_path / "frames" / name, tmp_path / "masks" / name, "01", {"0": mask, "1": mask})
    with caplog.at_level(logging.INFO):
        found = {s.name: s for s in open_folder(tmp_path)}
    assert found["two"].first_frame == {1: 0} and (found["two"].mask(1) == square(1)).all()
    assert (
        found["three"].first_frame == {1: 0}
        and found["four"].first_frame == {3: 0}
        and found["four"].mask(0).max() == 255
    )
    (said,) = caplog.messages
    assert "palette images, the index is the id (four, three)" in said
    assert "0 and 255 only, read as one object, 255 being the object (two)" in said
    assert (open_folder(tmp_path, sequences=["three"], binary=True)[0].mask(0) == (square(1, 1))).all()
    with pytest.raises(UserError, match="binary=true"):
        open_folder(tmp_path, sequences=["two"], binary=False)


def test_turned_photographs_have_the_size_one_sees(tmp_path):
    video(tmp_path / "frames", tmp_path / "masks", ["0"], {"0": square(1)})
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", SIZE).save(tmp_path / "frames" / "0.jpg", exif=exif)  # stored lying
    (found,) = open_folder(tmp_path)
    assert found.size == SIZE and found.read_frame(0).shape == (*SIZE, 3)


def _spoil(root, what):
    frames, masks = root / "frames", root / "masks"
    if what == "root":
        return root / "nowhere", root / "nowhere"
    if what == "layout":
        frames.rename(root / "pictures")
        return root, root
    if what == "no mask folder":
        masks.rename(root / "maskes")
        return root, masks
    if what == "no frames":
        for path in frames.iterdir():
            path.unlink()
        return root, frames
    if what == "no masks":
        for path in masks.iterdir():
            path.unlink()
        return root, masks
    if what == "mask without frame":
        write_mask(masks / "7.png", square(1))
        return root, masks / "7.png"
    if what == "size":
        write_mask(masks / "1.png", np.ones((5, 5), np.uint8))
        return root, masks / "1.png"
    if what == "frame size":
        Image.new("RGB", (5, 5)).save(frames / "2.jpg")
        return root, frames / "2.jpg"
    if what == "empty":
        write_mask(masks / "0.png", square())
        return root, masks / "0.png"
    if what == "two frames":
        Image.new("RGB", SIZE[::-1]).save(frames / "1.png")
        return root, frames / "1.png"
    if what == "broken":
        (masks / "1.png").write_bytes((masks / "1.png").read_bytes()[:60])
        return root, masks / "1.png"
    Image.fromarray(square(1)).save(masks / "1.jpg")
    (masks / "1.png").unlink()
    return root, masks / "1.jpg"


@pytest.mark.parametrize(
    ("what", "remedy"),
    [
        ("root", "does not exist.*data_root="),
        ("layout", "there is masks, pictures"),
        ("no mask folder", "masks of .* are expected there"),
        ("no frames", "no frames; .jpg, .png or .bmp"),
        ("no masks", "at least one .png"),
        ("mask without frame", "add the frame, or remove the mask"),
        ("size", "is 5x5 pixels, but its sequence is 30x20"),
        ("frame size", "is 5x5 pixels, but its sequence is 30x20"),
        ("empty", "first mask is empty"),
        ("two frames", "keep one file of each frame"),
        ("broken", "fetch it again"),
        ("jpeg", "palette or grey PNG"),
    ],
)
def test_bad_folders(tmp_path, what, remedy):
    video(tmp_path / "frames", tmp_path / "masks", "012", {"0": square(1), "1": square(1)})
    root, path = _spoil(tmp_path, what)
    with pytest.raises(UserError, match=remedy) as caught:
        open_folder(root)
    assert str(path) in str(caught.value)


def test_a_root_too_low_or_too_high_names_the_right_one(tmp_path):
    root = tmp_path / "my videos"
    video(root / "frames" / "v", root / "masks" / "v", "01", {"0": square(1)})
    for low in (root / "masks", root / "frames", root / "masks" / "v"):
        with pytest.raises(UserError, match=f"give the folder above: data_root={root};"):
            open_folder(low)
    with pytest.raises(UserError, match=f"one folder lower, give data_root={root};"):
        open_folder(tmp_path)
