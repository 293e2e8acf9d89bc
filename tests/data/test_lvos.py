"""LVOS: late objects by the meta data, unseen classes of both versions, attributes, and what contradicts the files."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from trees import lvos, mask_of

from eosvos.data.readers.lvos import open_lvos
from eosvos.errors import UserError
from eosvos.evaluation.metrics import region_contour
from eosvos.evaluation.metrics.region_contour import statistics
from eosvos.evaluation.score_sequence import score_one
from eosvos.files import shipped_list


def test_late_objects_and_unseen_videos(tmp_path):
    root = lvos(tmp_path, videos=["aFytsETk", "9NA8c5C3", "0tCWPOrc"]).root
    for version, unseen in ((1, {"aFytsETk"}), (2, {"9NA8c5C3"})):
        opened = {s.name: s for s in open_lvos(root, version=version)}
        assert {name for name, s in opened.items() if s.unseen == {1, 2}} == unseen
        assert all(s.unseen in ({1, 2}, set()) and s.has_ground_truth for s in opened.values())
    video = opened["0tCWPOrc"]
    assert video.first_frame == {1: 0, 2: 3} and video.frame_names[:2] == ("00000001", "00000006")
    assert video.last_frame == {1: 4, 2: 6}  # frames 21 and 31, before the ends 26 and 36
    assert (video.mask(3) == mask_of((1, 2))).all() and video.attributes == ()


def test_an_object_is_measured_between_its_own_first_and_last_frame(tmp_path):
    """As lvos-evaluation: every fifth frame from `start` to before `end`, the first and the last of these left out."""
    tree = lvos(tmp_path)
    video = tree.open(tree.root)[0]
    wrong = {k: np.where(video.mask(k) == 1, 0, video.mask(k)) for k in range(len(video))}  # 1 is never found
    wrong[5][:5] = 1  # no longer measured, and thus nobody's loss
    name, scores = score_one({"protocol": "lvos"}, (video, wrong.__getitem__))
    numbers = {1: range(1, 26, 5)[1:-1], 2: range(16, 36, 5)[1:-1]}
    for i, values in scores.region.items():
        counted = [int(video.frame_names[k]) for k, v in zip(scores.frames, values, strict=True) if not math.isnan(v)]
        assert counted == list(numbers[i])
    assert statistics(scores.region[1]).mean == 0 and statistics(scores.region[2]).mean == 1
    fewer = region_contour.counts(video, range(len(video)), region_contour.ScoringRules("lvos"))
    assert [int(video.frame_names[k]) for k in fewer] == [6, 11, 16, 21, 26]


@pytest.mark.parametrize(("version", "count"), [("lvos", 27), ("lvos-v2", 51)])
def test_the_lists_of_unseen_videos(version, count):
    names = shipped_list(f"{version}-unseen.txt")
    assert len(set(names)) == len(names) == count and all(len(name) == 8 for name in names)


def test_test_gives_objects_only(tmp_path):
    tree = lvos(tmp_path, "test")
    video = tree.open(tree.root)[0]
    assert video.first_frame == {1: 0, 2: 3} and not video.has_ground_truth and set(video.new_objects(3)) == {2}
    assert [k for k in range(len(video)) if video.mask(k) is not None] == [0, 3]


def test_folders_and_files_of_other_names(tmp_path):
    tree = lvos(tmp_path)
    (tree.root / "val").rename(tree.root / "valid")
    (tree.root / "valid/val_meta.json").rename(tree.root / "valid/valid_meta.json")
    assert len(open_lvos(tree.root)) == len(open_lvos(tree.root, split="valid")) == len(open_lvos(tree.root / "valid"))


def test_attributes_of_version_2(tmp_path):
    tree = lvos(tmp_path)
    path = tree.root / "val/val_meta_attribute.json"
    path.write_text(json.dumps({"attributes": ["BC", "OCC"], "videos": {"a video": {"attributes": ["OCC", "BC"]}}}))
    assert [s.attributes for s in tree.open(tree.root)] == [("OCC", "BC"), ()]
    path.write_text("{}")
    with pytest.raises(UserError, match="val_meta_attribute.json: not the attributes of LVOS"):
        tree.open(tree.root)


def _edit(root, change):
    path = root / "val/val_meta.json"
    meta = json.loads(path.read_text())
    change(meta["videos"]["a video"]["objects"])
    path.write_text(json.dumps(meta))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda tree: (tree.root / "val/val_meta.json").unlink(), "val_meta.json: this file is missing"),
        (lambda tree: (tree.root / "val/val_meta.json").write_text('{"videos": 3}'), "not the meta data of LVOS"),
        (lambda tree: _edit(tree.root, lambda o: o.clear()), "not the meta data of LVOS"),
        (
            lambda tree: _edit(tree.root, lambda o: o["2"]["frame_range"].update(end=60)),
            "frames are missing between which val_meta.json has object 2: 00000036, 00000041",
        ),
        (lambda tree: (tree.masks / "00000016.png").unlink(), "no 00000016.png, where object 2 appears"),
        (lambda tree: (tree.masks / "00000021.png").unlink(), "no masks of 00000021, where val_meta.json has objects"),
        (lambda tree: (tree.images / "00000031.jpg").rename(tree.images / "last.jpg"), "a mask without its frame"),
    ],
)
def test_what_contradicts_is_named(tmp_path, harm, said):
    tree = lvos(tmp_path)
    harm(tree)
    with pytest.raises(UserError, match=said):
        tree.open(tree.root)


def test_frames_without_numbers_and_versions_that_are_none(tmp_path):
    tree = lvos(tmp_path)
    for path in (tree.images / "00000031.jpg", tree.masks / "00000031.png"):
        path.rename(path.with_stem("last"))
    with pytest.raises(UserError, match="last.jpg: frames are named by numbers"):
        tree.open(tree.root)
    with pytest.raises(UserError, match="version=3: there are LVOS 1 and 2"):
        open_lvos(tree.root, version=3)
