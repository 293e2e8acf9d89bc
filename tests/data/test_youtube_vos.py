"""YouTube-VOS: ids as given, objects that come later, every frame, classes that training lacks, masks kept back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from trees import SIZE, VIDEOS, frames, mask_of, youtube_vos

from eosvos.data.masks import write_mask
from eosvos.data.readers.youtube_vos import open_youtube_vos
from eosvos.data.tasks import VideoTaskset
from eosvos.errors import UserError
from eosvos.files import shipped_list


def test_videos_objects_and_where_they_first_appear(tmp_path):
    root = youtube_vos(tmp_path).root
    one, two = open_youtube_vos(root)
    assert (one.name, two.name) == VIDEOS
    assert one.first_frame == {1: 0, 2: 2, 4: 0} and one.categories == {1: "fish", 2: "fish", 4: "fish"}
    assert one.unseen is None and one.has_ground_truth and one.submission_frames is None
    assert one.frame_names == ("00000", "00005", "00010", "00015")
    assert (one.mask(2) == mask_of((1, 2, 4))).all() and set(one.new_objects(2)) == {2}
    assert [s.name for s in open_youtube_vos(root / "train", sequences=[VIDEOS[1]])] == [VIDEOS[1]]


def test_objects_of_a_video_are_tasks_of_their_own(tmp_path):
    taskset = VideoTaskset(youtube_vos(tmp_path).open(tmp_path / "my data"), size=SIZE)
    tasks = [taskset.task(0, i, 0) for i in range(60)]
    assert {(t.name, t.object_id) for t in tasks} == {(name, i) for name in VIDEOS for i in (1, 2, 4)}
    assert all(t.train[0].masks.shape[0] == 1 and t.train[0].masks.any() and t.meta.masks.any() for t in tasks)


def test_frames_between_the_annotated_ones_have_no_mask(tmp_path):
    tree = youtube_vos(tmp_path)
    frames(tree.images, ["00003.jpg"])
    video = tree.open(tree.root)[0]
    assert len(video) == 5 and video.mask(1) is None and video.first_frame == {1: 0, 2: 3, 4: 0}
    assert video.submission_frames == {0, 2, 3, 4}


def test_valid_gives_objects_only_and_truth_comes_from_a_folder(tmp_path):
    tree = youtube_vos(tmp_path, "valid")
    video = tree.open(tree.root)[0]
    assert video.first_frame == {1: 0, 2: 2, 4: 0} and not video.has_ground_truth and video.unseen == frozenset()
    assert [video.mask(k) is None for k in range(4)] == [False, True, False, True]
    assert [s.name for s in open_youtube_vos(tree.root, split="val")] == list(VIDEOS)  # the word of DAVIS
    masks = tmp_path / "masks of valid"
    for name in VIDEOS:
        for k, ids in {0: (1, 4), 5: (1, 4), 10: (1, 2, 4), 15: (2,)}.items():
            write_mask(masks / name / f"{k:05d}.png", mask_of(ids))
    video = open_youtube_vos(tree.root, split="valid", truth=masks)[0]
    assert (
        video.has_ground_truth and video.first_frame == {1: 0, 2: 2, 4: 0} and (video.mask(1) == mask_of((1, 4))).all()
    )
    (masks / VIDEOS[0] / "00005.png").unlink()
    with pytest.raises(UserError, match="no masks of 00005"):
        open_youtube_vos(tree.root, split="valid", truth=masks)
    with pytest.raises(UserError, match="truth=.*no masks of this data set.*there is a video, über"):
        open_youtube_vos(youtube_vos(tmp_path / "b", "valid", ["other"]).root, split="valid", truth=masks)


@pytest.mark.parametrize("place", ["valid_all_frames", "all_frames/valid_all_frames"])
def test_every_frame_with_masks_on_every_fifth(tmp_path, place):
    tree = youtube_vos(tmp_path, "valid")
    with pytest.raises(UserError, match="valid_all_frames: JPEGImages with all frames"):
        open_youtube_vos(tree.root, split="valid", every_frame=True)
    for name in VIDEOS:
        frames(tree.root / place / "JPEGImages" / name, [f"{k:05d}.jpg" for k in range(19)])
    video = open_youtube_vos(tree.root, split="valid", every_frame=True)[0]
    assert len(video) == 19 and video.first_frame == {1: 0, 2: 10, 4: 0} and video.submission_frames == {0, 5, 10, 15}
    assert [k for k in range(19) if video.mask(k) is not None] == [0, 10]


def test_unseen_classes_are_those_that_train_lacks(tmp_path):
    tree = youtube_vos(tmp_path, "valid", category="ant")
    assert tree.open(tree.root)[0].unseen == {1, 2, 4}  # by the list that ships
    youtube_vos(tmp_path, "train", category="ant")
    assert tree.open(tree.root)[0].unseen == frozenset()
    youtube_vos(tmp_path, "train", category="bee")
    assert tree.open(tree.root)[0].unseen == {1, 2, 4}
    without = youtube_vos(tmp_path / "without", "test", category=None)
    assert without.open(without.root)[0].unseen is None and without.open(without.root)[0].categories == {}
    seen = shipped_list("youtube-vos-seen.txt")
    assert len(set(seen)) == len(seen) == 65 and {"person", "others"} < set(seen)


def test_a_first_frame_that_meta_has_too_early_is_corrected(tmp_path):
    tree = youtube_vos(tmp_path, videos=["5937b08d69"])
    path = tree.root / "train/meta.json"
    meta = json.loads(path.read_text())
    assert open_youtube_vos(tree.root)[0].first_frame[4] == 0 + 1  # 00005, the published correction
    meta["videos"]["5937b08d69"]["objects"]["4"]["frames"] = ["00010"]  # a mended meta.json is believed
    path.write_text(json.dumps(meta))
    assert open_youtube_vos(tree.root)[0].first_frame[4] == 2


def test_another_year_or_split_is_told(tmp_path):
    videos = [f"{k:04d}" for k in range(474)]
    tree = youtube_vos(tmp_path, "valid", videos[:1])
    path = tree.root / "valid/meta.json"
    entry = json.loads(path.read_text())["videos"]["0000"]
    path.write_text(json.dumps({"videos": dict.fromkeys(videos, entry)}))
    with pytest.raises(UserError, match="holds the 474 videos of YouTube-VOS 2018.*dataset=youtube-vos-2018"):
        open_youtube_vos(tree.root, split="valid", year=2019)
    assert len(open_youtube_vos(tree.root, split="valid", year=2018, sequences=["0000"])) == 1
    with pytest.raises(UserError, match="year=2020"):
        open_youtube_vos(tree.root, split="valid", year=2020)
    with pytest.raises(UserError, match="is the folder of split=valid, and split=train is asked for"):
        open_youtube_vos(tree.root / "valid", split="train")
    with pytest.raises(UserError, match="split=validation: not a split of YouTube-VOS; use one of train, valid, test"):
        open_youtube_vos(tree.root, split="validation")


def edit(root: Path, change) -> None:
    path = root / "train" / "meta.json"
    meta = json.loads(path.read_text())
    change(meta["videos"])
    path.write_text(json.dumps(meta))


FIRST, SECOND = VIDEOS


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda root: (root / "train").rename(root / "valid"), ["has no train/JPEGImages, but split=valid"]),
        (lambda root: (root / "train/meta.json").unlink(), ["meta.json: this file is missing"]),
        (lambda root: (root / "train/meta.json").write_text("[]"), ["meta.json: not the meta.json"]),
        (lambda root: edit(root, lambda m: m[FIRST]["objects"].update({"300": {"frames": ["00000"]}})), ["object 300"]),
        (
            lambda root: edit(root, lambda m: m[SECOND]["objects"]["1"].update(frames=["00002"])),
            [f"{SECOND}: frames that meta.json names are missing: 00002"],
        ),
        (lambda root: edit(root, lambda m: m.update(extra={"objects": {}})), ["extra: this folder is missing"]),
        (lambda root: (root / f"train/Annotations/{FIRST}/00010.png").unlink(), [f"{FIRST}: no masks of 00010"]),
        (
            lambda root: (root / f"train/JPEGImages/{FIRST}/00010.jpg").rename(
                root / f"train/JPEGImages/{FIRST}/11.jpg"
            ),
            ["00010.png: a mask without its frame"],
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path, harm, said):
    tree = youtube_vos(tmp_path)
    harm(tree.root)
    with pytest.raises(UserError) as caught:
        tree.open(tree.root)
    assert all(part in str(caught.value) for part in said), caught.value


def test_a_missing_first_mask_of_valid_is_named(tmp_path):
    tree = youtube_vos(tmp_path, "valid")
    (tree.masks / "00010.png").unlink()
    with pytest.raises(UserError, match="no 00010.png, where object 2 appears by meta.json"):
        tree.open(tree.root)
    assert np.count_nonzero(tree.open(tree.root, sequences=[VIDEOS[1]])[0].mask(2)) > 0


def test_classes_that_nobody_tells(tmp_path, caplog):
    tree = youtube_vos(tmp_path, "valid", category=None)
    video = tree.open(tree.root)[0]
    assert video.unseen is None and video.categories == {} and video.first_frame == {1: 0, 2: 2, 4: 0}
    assert "classes of 2 of 2 videos, a video, über: no figures over seen and unseen classes are rep" in caplog.text
    path = tree.root / "valid/meta.json"
    meta = json.loads(path.read_text())
    for entry in meta["videos"]["a video"]["objects"].values():
        entry["category"] = "fish"
    path.write_text(json.dumps(meta))
    caplog.clear()
    assert [one.unseen for one in tree.open(tree.root)] == [frozenset(), None]
    assert "classes of 1 of 2 videos, über: no figures over seen and unseen classes have these" in caplog.text
    caplog.clear()
    youtube_vos(tmp_path / "b", category=None).open(tmp_path / "b/my data")  # training measures no such thing
    assert not caplog.records
