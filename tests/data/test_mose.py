"""MOSE: both orders of its folders, first masks alone in valid, and what its meta file decides."""

from __future__ import annotations

import json

import numpy as np
import pytest
from trees import VIDEOS, mask_of, mose

from eosvos.data.masks import write_mask
from eosvos.data.readers.mose import open_mose
from eosvos.errors import UserError


def test_objects_are_looked_for_until_all_of_the_meta_file_are_found(tmp_path):
    tree = mose(tmp_path)
    video = tree.open(tree.root)[0]
    assert (
        video.first_frame == {1: 0, 3: 0, 2: 2}
        and video.has_ground_truth
        and (video.mask(4) == mask_of((1, 2, 3))).all()
    )
    plain = mose(tmp_path / "plain", meta=False)
    assert plain.open(plain.root)[0].first_frame == {1: 0, 3: 0}  # those of the first frame, as MOSE measures


def test_valid_has_the_first_masks_and_no_truth(tmp_path):
    tree = mose(tmp_path, "valid")
    video = tree.open(tree.root)[0]
    assert video.first_frame == {1: 0, 3: 0} and len(video) == 5 and not video.has_ground_truth
    assert [video.mask(k) is None for k in range(5)] == [False, True, True, True, True]
    assert [s.name for s in open_mose(tree.root, split="val")] == list(VIDEOS)


def test_the_folders_the_other_way_round(tmp_path):
    tree = mose(tmp_path)
    for kind in ("JPEGImages", "Annotations"):
        (tree.root / kind).mkdir()
        (tree.root / "train" / kind).rename(tree.root / kind / "train")
    assert [s.name for s in tree.open(tree.root)] == list(VIDEOS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda videos: videos[VIDEOS[0]].update(length=9), "5 frames, and by .*meta_train.json the video has 9"),
        (lambda videos: videos[VIDEOS[0]].update(objects=["1", "7"]), "no mask shows object 7"),
        (lambda videos: videos[VIDEOS[0]].update(length="many"), "not the meta file of MOSE"),
    ],
)
def test_a_meta_file_that_contradicts_the_files(tmp_path, change, said):
    tree = mose(tmp_path)
    path = tree.root / "meta_train.json"
    meta = json.loads(path.read_text())
    change(meta["videos"])
    path.write_text(json.dumps(meta))
    with pytest.raises(UserError, match=said):
        tree.open(tree.root)


def test_masks_that_train_lacks_and_a_first_one_that_is_empty(tmp_path):
    tree = mose(tmp_path, meta=False)
    write_mask(tree.masks / "00000.png", np.zeros((36, 64), np.uint8))
    with pytest.raises(UserError, match="00000.png: the first mask is empty"):
        tree.open(tree.root)
    (tree.masks / "00003.png").unlink()
    with pytest.raises(UserError, match="no masks of 00003"):
        tree.open(tree.root)
