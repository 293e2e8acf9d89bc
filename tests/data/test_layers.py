"""Masks with a file per object: SegTrack v2, SA-V and YouTube-Objects, as id masks."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from PIL import Image
from trees import SIZE, VIDEOS, frames, layer, mask_of, sav, segtrack, youtube_objects

from eosvos.data.masks import write_mask
from eosvos.data.readers.per_object_masks import per_object_sequence, read_object_mask
from eosvos.data.readers.sav import open_sav
from eosvos.errors import UserError


def test_segtrack_has_objects_in_folders_and_mixed_kinds_of_files(tmp_path):
    tree = segtrack(tmp_path)
    two, one = tree.open(tree.root)
    assert two.first_frame == {1: 0, 2: 0} and one.first_frame == {1: 0}
    for k in range(5):
        assert (two.mask(k) == mask_of((1, 2), k)).all() and (one.mask(k) == mask_of((1,), k)).all()
    assert two.frame_names[4] == "a video_00004" and int(one.read_frame(3)[0, 0, 0]) == 30
    tree.root.rename(tmp_path / "SegTrackv2")
    assert len(tree.open(tmp_path)) == 2


def test_segtrack_of_missing_masks_and_odd_folders(tmp_path):
    tree = segtrack(tmp_path)
    (tree.masks.parent / "2" / "a video_00001.png").unlink()
    with pytest.raises(UserError, match="no masks of a video_00001; every frame has one"):
        tree.open(tree.root)
    tree.masks.rename(tree.masks.with_name("first"))
    with pytest.raises(UserError, match="first: the folders of objects are named 1, 2"):
        tree.open(tree.root)


def test_sav_measures_every_fourth_frame_and_counts_ids_from_one(tmp_path):
    tree = sav(tmp_path)
    video = tree.open(tree.root)[0]
    assert (
        len(video) == 14
        and video.first_frame == {1: 0, 2: 8}
        and video.submission_frames == {0, 4, 8, 12}
        and video.has_ground_truth
    )
    assert (video.mask(8) == mask_of((1, 2))).all() and video.mask(9) is None and set(video.new_objects(8)) == {2}
    assert len(open_sav(tree.root / "sav_val")) == 2
    with pytest.raises(UserError, match="is the folder of split=val, and split=test is asked for"):
        open_sav(tree.root / "sav_val", split="test")
    (tree.root / "sav_val/sav_val.txt").unlink()
    assert [s.name for s in open_sav(tree.root)] == list(VIDEOS)


def test_sav_of_missing_files(tmp_path):
    tree = sav(tmp_path)
    (tree.images / "00003.jpg").unlink()
    with pytest.raises(UserError, match="00003.jpg is missing, between 00002 and 00004"):
        tree.open(tree.root)
    frames(tree.images, ["00003.jpg"])
    (tree.masks / "00004.png").unlink()
    with pytest.raises(UserError, match="000: no masks of 00004, which other objects of the video have"):
        tree.open(tree.root)
    (tree.masks.parent / "001" / "00004.png").unlink()
    with pytest.raises(UserError, match="00004.jpg is missing, between 00000 and 00008; annotated frames"):
        tree.open(tree.root)
    for k in range(0, 14, 4):
        write_mask(tree.masks.parent / f"001/{k:05d}.png", np.zeros(SIZE, np.uint8))
    write_mask(tree.masks / "00004.png", mask_of((1,)))
    with pytest.raises(UserError, match="001: none of the 4 masks shows object 2"):
        tree.open(tree.root)
    tree.masks.rename(tree.masks.with_name("cat"))
    with pytest.raises(UserError, match="a folder for each object, named 000, 001.*there is cat"):
        tree.open(tree.root)


def test_youtube_objects_of_annotated_frames(tmp_path):
    tree = youtube_objects(tmp_path)
    shot = tree.open(tree.root)[0]
    assert shot.name == "dog_a video_001" and shot.categories == {1: "dog"} and shot.first_frame == {1: 0}
    assert len(shot) == 6 and shot.submission_frames is None
    for k in range(6):
        assert (shot.mask(k) == mask_of((1,), k)).all()  # though JPEGs blur their edges
    assert set(np.unique(np.array(Image.open(tree.masks / "00011.jpg")))) > {0, 255}
    assert len(tree.open(tree.root)) == 2


def test_youtube_objects_with_all_frames_twice_as_large_as_the_masks(tmp_path):
    tree = youtube_objects(tmp_path)
    for path in tree.images.iterdir():
        path.unlink()
    frames(tree.images, [f"frame{k:04d}.jpg" for k in range(1, 54)], (72, 128))
    shot = tree.open(tree.root)[0]
    assert len(shot) == 53 and shot.size == SIZE and shot.read_frame(20).shape == (*SIZE, 3)
    assert shot.submission_frames == {0, 10, 20, 30, 40, 50} and shot.mask(1) is None and shot.mask(10).any()
    assert shot.frame_names[10] == "frame0011"
    frames(tree.images, [f"frame{k:04d}.jpg" for k in range(1, 54)], (72, 72))
    with pytest.raises(UserError, match="00001.jpg: is 64x36 pixels, but its sequence is 72x72"):
        tree.open(tree.root)
    (tree.images / "title.jpg").write_bytes((tree.images / "frame0001.jpg").read_bytes())
    with pytest.raises(UserError, match="title.jpg: named without a number"):
        tree.open(tree.root)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA"])
@pytest.mark.parametrize("above", [None, 127])
def test_black_and_white_of_all_modes(tmp_path, mode, above):
    mask = mask_of((1,)) > 0
    layer(tmp_path / "mask.png", mask, "RGB")
    with Image.open(tmp_path / "mask.png") as image:
        image.convert(mode).save(tmp_path / "mask.png")
    assert (read_object_mask(tmp_path / "mask.png", SIZE, above) == mask).all()


def test_of_overlapping_objects_the_smaller_is_in_front(tmp_path):
    frames(tmp_path / "frames", ["0.png", "1.png"])
    person, hand = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
    person[4:30, 4:40], hand[10:14, 10:16] = True, True
    files = {}
    for i, masks in {1: (person, hand), 2: (hand, person)}.items():
        for k, mask in enumerate(masks):
            layer(tmp_path / f"masks/{i}/{k}.png", mask, "L")
        files[i] = {k: tmp_path / f"masks/{i}/{k}.png" for k in range(2)}
    opened = per_object_sequence("v", sorted((tmp_path / "frames").iterdir()), files)
    for k, (large, small) in enumerate([(1, 2), (2, 1)]):
        mask = opened.mask(k)
        assert ((mask == small) == hand).all() and ((mask == large) == (person & ~hand)).all()
    layer(tmp_path / "masks/2/0.png", person, "L")
    assert set(np.unique(opened.mask(0))) == {0, 1}  # of equal ones the lower id
    again = per_object_sequence("v", sorted((tmp_path / "frames").iterdir()), files)
    assert again.first_frame == {1: 0, 2: 1}  # it is given where it can be seen


def test_overlaps_are_counted_as_masks_are_read(tmp_path):
    tree = sav(tmp_path)
    for k in (4, 12):
        write_mask(tree.masks.parent / f"001/{k:05d}.png", mask_of((1,), 1) > 0)  # 9 of 10 columns are the other's, too
    video = tree.open(tree.root)[0]
    assert video.overlap_pixels == {"00004": 9 * 12}  # found while looking for the second object
    for twin in (pickle.loads(pickle.dumps(video)), video):  # as another process has it
        assert [(twin.mask(k) > 0).sum() for k in (4, 8)] == [11 * 12, 20 * 12]
        twin.mask(12), twin.mask(12)
        assert twin.overlap_pixels == {"00004": 9 * 12, "00012": 9 * 12}
    assert tree.open(tree.root)[1].overlap_pixels == {}


def test_masks_of_16_bits_are_refused(tmp_path):
    tree = sav(tmp_path)
    Image.fromarray(np.zeros(SIZE, np.uint16)).save(tree.masks / "00004.png")
    with pytest.raises(UserError, match="00004.png: a mask holds object ids, but this one holds I;16"):
        tree.open(tree.root)
