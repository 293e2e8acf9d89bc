"""The DAVIS reader: the real folder, a small tree, and all that can be wrong with one."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from PIL import Image

from eosvos.data.images import read_image
from eosvos.data.masks import read_mask, write_mask
from eosvos.data.readers.davis import open_davis, read_split
from eosvos.errors import UserError
from eosvos.files import shipped_list


def mask_of(ids, shift: int = 0, size: tuple[int, int] = (24, 40)) -> np.ndarray:
    mask = np.zeros(size, np.uint8)
    for k, i in enumerate(ids):
        mask[4:12, 2 + 10 * k + shift : 9 + 10 * k + shift] = i
    return mask


def tree(root, sequences, length=4, ids=(1, 3), resolution="480p", first_only=False, size=(24, 40)):
    """A DAVIS tree of noise frames in `root`."""
    rng = np.random.default_rng(0)
    for name in sequences:
        for i in range(length):
            frame = root / "JPEGImages" / resolution / name / f"{i:05d}.jpg"
            frame.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(frame)
            if i == 0 or not first_only:
                mask = mask_of(ids, i, size)
                mask[-1] = 255 if max(ids) < 255 else 0
                write_mask(root / "Annotations" / resolution / name / f"{i:05d}.png", mask)
    return root


@pytest.fixture
def davis17(tmp_path):
    return tree(tmp_path / "DAVIS", ["india", "judo"])


@pytest.mark.parametrize(
    "year,split,count",
    [
        (2016, "train", 30),
        (2016, "val", 20),
        (2016, "trainval", 50),
        (2017, "train", 60),
        (2017, "val", 30),
        (2017, "trainval", 90),
        (2017, "test-dev", 30),
        (2017, "test-challenge", 30),
    ],
)
def test_split_lists(year, split, count):
    names = read_split(year, split)
    assert len(set(names)) == len(names) == count
    assert names == sorted(names)


def test_splits_belong_together():
    names = {(y, s): set(read_split(y, s)) for y in (2016, 2017) for s in ("train", "val", "trainval")}
    for year in (2016, 2017):
        assert not names[year, "train"] & names[year, "val"]
        assert names[year, "train"] | names[year, "val"] == names[year, "trainval"]
    assert names[2016, "train"] < names[2017, "train"] and names[2016, "val"] < names[2017, "val"]
    tests = [set(read_split(2017, s)) for s in ("test-dev", "test-challenge")]
    assert not tests[0] & tests[1] and not (tests[0] | tests[1]) & names[2017, "trainval"]


def test_the_real_2016_folder_as_it_stands(shared_data):
    root = shared_data / "DAVIS-2016"
    if not root.is_dir():
        pytest.skip(f"{root} is absent")
    opened = open_davis(root, year=2016, split="train")
    assert [s.name for s in opened] == read_split(2016, "train")
    assert sum(map(len, opened)) == 2079
    assert all(s.size == (480, 854) and s.first_frame == {1: 0} and s.attributes for s in opened)
    bumps = next(s for s in opened if s.name == "bmx-bumps")
    empty = [i for i in range(len(bumps)) if not bumps.mask(i).any()]
    assert len(empty) == 14 and 0 not in empty
    assert set(np.unique(bumps.mask(0))) == {0, 1}
    assert bumps.read_frame(0).shape == (480, 854, 3) and bumps.frame(0).max() <= 1
    same = open_davis(shared_data, year=2016, sequences=["surf", "bear"])  # the folder above, a choice by name
    assert [s.name for s in same] == ["surf", "bear"]
    with pytest.raises(UserError, match="holds the 30 sequences of split=train: use split=train"):
        open_davis(root, year=2016)


def test_the_real_test_dev_first_frames(shared_data):
    root = shared_data / "DAVIS-2017-testdev-first-frames"
    if not root.is_dir():
        pytest.skip(f"{root} is absent")
    opened = open_davis(root, year=2017, split="test-dev")
    assert len(opened) == 30 and sum(len(s.first_frame) for s in opened) == 92
    assert all(len(s) == 1 for s in opened)


def test_a_2017_tree(davis17):
    first, second = open_davis(davis17, year=2017, sequences=["judo", "india"])
    assert (first.name, second.name) == ("judo", "india")
    assert first.frame_names == ("00000", "00001", "00002", "00003") and first.size == (24, 40)
    assert first.first_frame == {1: 0, 3: 0}
    for i in range(4):
        expected = mask_of((1, 3), i)
        expected[-1] = 255
        assert (first.mask(i) == expected).all()
        assert (first.read_frame(i) == read_image(davis17 / f"JPEGImages/480p/judo/0000{i}.jpg")).all()
    new = first.new_objects(0)
    assert list(new) == [1, 3] and (new[3] == (mask_of((1, 3)) == 3)).all() and first.new_objects(1) == {}
    assert (pickle.loads(pickle.dumps(first)).mask(2) == first.mask(2)).all()  # data workers may need it


def test_2016_masks_are_one_object_with_alpha_too(tmp_path):
    root = tree(tmp_path, ["cows"], ids=(255,))
    path = root / "Annotations/480p/cows/00002.png"
    grey = Image.fromarray(mask_of((255,), 2))
    Image.merge("LA", [grey, Image.new("L", grey.size, 7)]).save(path)
    path = root / "Annotations/480p/cows/00003.png"
    Image.merge("RGBA", [grey, grey, grey, Image.new("L", grey.size, 0)]).save(path)
    (cows,) = open_davis(root, year=2016, sequences=["cows"])
    assert cows.first_frame == {1: 0}
    assert (cows.mask(2) == (mask_of((255,), 2) > 0)).all() and (cows.mask(3) == cows.mask(2)).all()


def test_an_empty_later_mask_is_legal(tmp_path):
    root = tree(tmp_path, ["cows"], ids=(255,))
    write_mask(root / "Annotations/480p/cows/00001.png", np.zeros((24, 40), np.uint8))
    (cows,) = open_davis(root, year=2016, sequences=["cows"])
    assert not cows.mask(1).any() and cows.mask(2).any()


@pytest.mark.parametrize("level", ["DAVIS-2017", "DAVIS", "DAVIS/trainval", "DAVIS-2017/trainval", "DAVIS2017", ""])
def test_roots_are_found_below(tmp_path, level):
    tree(tmp_path / level, ["judo"])
    assert open_davis(tmp_path, year=2017, sequences=["judo"])[0].name == "judo"


def test_trainval_and_test_dev_side_by_side(tmp_path):
    tree(tmp_path / "DAVIS-2017/trainval", ["judo"])
    tree(tmp_path / "DAVIS-2017/test-dev", ["lions"], first_only=True)
    assert open_davis(tmp_path, year=2017, sequences=["judo"])[0].mask(3) is not None
    (lions,) = open_davis(tmp_path, year=2017, sequences=["lions"], split="test-dev")
    assert len(lions) == 4 and lions.mask(0) is not None and lions.mask(1) is None


def test_full_resolution_and_own_splits(tmp_path):
    root = tree(tmp_path, ["judo", "my-own"], resolution="Full-Resolution")
    (root / "ImageSets/2017").mkdir(parents=True)
    (root / "ImageSets/2017/mine.txt").write_text("my-own\n\n")
    assert [s.name for s in open_davis(root, year=2017, split="mine", resolution="full")] == ["my-own"]
    with pytest.raises(UserError, match="resolution=480p needs.* holds Full-Resolution"):
        open_davis(root, year=2017, split="mine")
    with pytest.raises(UserError, match="use one of 480p, full"):
        open_davis(root, year=2017, split="mine", resolution="720p")


def test_attributes_of_2016(tmp_path):
    root = tree(tmp_path, ["bmx-trees", "blackswan", "mine"], ids=(255,))
    names = ["bmx-trees", "blackswan", "mine"]

    def attributes(year=2016):
        return [s.attributes for s in open_davis(root, year=year, sequences=names)]

    assert attributes() == [tuple("LR SV SC FM CS IO MB DEF OCC HO EA BC".split()), (), ()]
    rows = [line.split(":") for line in shipped_list("attributes-davis16.txt")]
    assert [name for name, _ in rows] == read_split(2016, "trainval")
    assert set().union(*(codes.split() for _, codes in rows)) == set(
        "LR SV SC FM CS IO DB MB DEF OCC HO EA OV AC BC".split()
    )
    info = root / "Annotations" / "db_info.yml"
    info.write_text(
        "attributes: [AC, BC]\nsequences:\n- attributes: [AC, BC]\n  eval_t: true\n  name: mine\n  num_frames: 4\n"
        "  set: train\n- {name: blackswan, attributes: [], num_frames: 4, set: test}\n"
    )
    assert attributes() == [(), (), ("AC", "BC")]
    for broken in ("sequences: 3", "[]", "sequences: [{name: [}", ""):
        info.write_text(broken)
        with pytest.raises(UserError, match="db_info.yml: not the db_info of DAVIS"):
            attributes()


def test_test_dev_is_no_truth_and_2017_has_no_attributes_of_its_own(tmp_path):
    tree(tmp_path, ["bmx-trees"])
    tree(tmp_path / "test-dev", ["lions"], first_only=True)
    (lions,) = open_davis(tmp_path / "test-dev", year=2017, sequences=["lions"])
    (trees,) = open_davis(tmp_path, year=2017, sequences=["bmx-trees"])
    assert not lions.has_ground_truth and trees.has_ground_truth and trees.attributes == ()


def test_a_frame_and_a_mask_that_are_both_missing(davis17):
    for path in (davis17 / "JPEGImages/480p/judo/00002.jpg", davis17 / "Annotations/480p/judo/00002.png"):
        path.unlink()
    with pytest.raises(UserError, match="judo: 00002.jpg is missing, between 00001 and 00003"):
        open_davis(davis17, year=2017, sequences=["judo"])


@pytest.mark.parametrize("low", ["JPEGImages", "JPEGImages/480p", "Annotations", "JPEGImages/480p/judo"])
def test_a_root_too_low_names_the_right_one(davis17, low):
    with pytest.raises(UserError) as caught:
        open_davis(davis17 / low, year=2017)
    assert f"data_root={davis17}" in str(caught.value).split("give")[1]


def test_wrong_roots_splits_and_names(davis17, tmp_path):
    with pytest.raises(UserError, match="does not exist.*EOSVOS_DATA"):
        open_davis(tmp_path / "no", year=2017)
    with pytest.raises(UserError, match="is a file"):
        open_davis(davis17 / "JPEGImages/480p/judo/00000.jpg", year=2017)
    (tmp_path / "else" / "things").mkdir(parents=True)
    with pytest.raises(UserError, match="neither JPEGImages nor.*there is things"):
        open_davis(tmp_path / "else", year=2017)
    with pytest.raises(UserError, match="split=vall: not a split.*train, trainval, val"):
        open_davis(davis17, year=2017, split="vall")
    with pytest.raises(UserError, match="28 of the 30 sequences of split=val are missing: bike-.*there is india, judo"):
        open_davis(davis17, year=2017)
    with pytest.raises(UserError, match="1 of the 2 given in sequences= are missing: jodo"):
        open_davis(davis17, year=2017, sequences=["judo", "jodo"])
    with pytest.raises(UserError, match="sequences=bear: not in split=val"):
        open_davis(davis17, year=2017, split="val", sequences=["judo", "bear"])
    with pytest.raises(UserError, match="year=2018"):
        open_davis(davis17, year=2018)


def _spoil(root, what):
    """Break sequence judo; return the path that the message must name."""
    frames, masks = root / "JPEGImages/480p/judo", root / "Annotations/480p/judo"
    third, frame = masks / "00002.png", frames / "00002.jpg"
    if what == "no masks":
        for path in masks.iterdir():
            path.unlink()
        return masks
    if what == "mask missing":
        third.unlink()
        return masks
    if what == "first mask missing":
        (masks / "00000.png").unlink()
        return masks
    if what == "frame missing":
        frame.unlink()
        return third
    if what == "no frames":
        for path in frames.iterdir():
            path.unlink()
        return frames
    if what == "mask size":
        write_mask(third, mask_of((1,), size=(48, 80)))
    elif what == "mask truncated":
        third.write_bytes(third.read_bytes()[:-60])
    elif what == "mask of nothing":
        third.write_bytes(b"")
    elif what == "RGB mask":
        Image.fromarray(np.zeros((24, 40, 3), np.uint8)).save(third)
    elif what == "JPEG mask":
        Image.fromarray(mask_of((1,))).save(third, format="JPEG")
    elif what == "first mask empty":
        write_mask(masks / "00000.png", np.zeros((24, 40), np.uint8))
        return masks / "00000.png"
    elif what == "binary":
        write_mask(masks / "00000.png", mask_of((255,)))
        return masks / "00000.png"
    elif what == "frame size":
        Image.new("RGB", (80, 48)).save(frame)
        return frame
    elif what == "frame truncated":
        frame.write_bytes(frame.read_bytes()[:-300])
        return frame
    return third


@pytest.mark.parametrize(
    ("what", "remedy"),
    [
        ("no masks", "files named as the frames are expected"),
        ("mask missing", "missing: 00002"),
        ("first mask missing", "no mask for the first frame"),
        ("frame missing", "add the frame, or remove the mask"),
        ("no frames", ".jpg files are expected"),
        ("mask size", "is 80x48 pixels, but its sequence is 40x24"),
        ("frame size", "is 80x48 pixels, but its sequence is 40x24"),
        ("mask truncated", "fetch it again"),
        ("frame truncated", "fetch it again"),
        ("mask of nothing", "fetch it again"),
        ("RGB mask", "palette or grey PNG"),
        ("JPEG mask", "palette or grey PNG"),
        ("first mask empty", "empty, so there is no object.*give a mask"),
        ("binary", "year=2016"),
    ],
)
def test_broken_data_is_told_on_opening(davis17, what, remedy):
    path = _spoil(davis17, what)
    assert len(open_davis(davis17, year=2017, sequences=["india"])) == 1  # the sound one is not touched
    with pytest.raises(UserError, match=remedy) as caught:
        open_davis(davis17, year=2017, sequences=["india", "judo"])
    assert str(path) in str(caught.value)


def test_an_empty_first_mask_of_2016(tmp_path):
    root = tree(tmp_path, ["cows"], ids=(255,))
    write_mask(root / "Annotations/480p/cows/00000.png", np.zeros((24, 40), np.uint8))
    with pytest.raises(UserError, match="00000.png: the first mask is empty"):
        open_davis(root, year=2016, sequences=["cows"])


def test_files_that_change_after_opening_are_told(davis17):
    (judo,) = open_davis(davis17, year=2017, sequences=["judo"])
    write_mask(davis17 / "Annotations/480p/judo/00002.png", mask_of((1,), size=(48, 80)))
    (davis17 / "JPEGImages/480p/judo/00001.jpg").unlink()
    with pytest.raises(UserError, match="is 80x48"):
        judo.mask(2)
    with pytest.raises(UserError, match="00001.jpg: this frame is missing"):
        judo.read_frame(1)


def test_trailing_bytes_of_a_sound_file_are_no_error(davis17):
    path = davis17 / "Annotations/480p/judo/00002.png"
    path.write_bytes(path.read_bytes() + b"x" * 500)
    (judo,) = open_davis(davis17, year=2017, sequences=["judo"])
    assert (judo.mask(2) == read_mask(path)).all()
