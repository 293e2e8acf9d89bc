"""YouTube-VOS in its published layout, written small: ids as given, objects that come later, no mask read to open."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eosvos.data import stored
from eosvos.data.masks import write_mask
from eosvos.data.tasks import VideoTaskset
from eosvos.data.youtube_vos import open_youtube_vos
from eosvos.errors import UserError

SIZE = (36, 64)
# video -> frame -> ids; JPEGImages of train hold the annotated frames, every fifth of the video
VIDEOS = {
    "003234408d": {0: (1, 4), 5: (1, 4), 10: (1, 2, 4), 15: (2,)},
    "0043f083b5": {0: (1,), 5: (1,)},
}


def mask_of(ids: tuple[int, ...]) -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    for number in ids:
        mask[8:20, 12 * number : 12 * number + 10] = number
    return mask


@pytest.fixture
def root(tmp_path) -> Path:
    meta: dict = {"videos": {}}
    for video, frames in VIDEOS.items():
        images, annotations = (tmp_path / "train" / kind / video for kind in ("JPEGImages", "Annotations"))
        images.mkdir(parents=True)
        entries: dict = {}
        for frame, ids in frames.items():
            images.joinpath(f"{frame:05d}.jpg")
            Image.fromarray(np.full((*SIZE, 3), 10 * frame, np.uint8)).save(images / f"{frame:05d}.jpg")
            write_mask(annotations / f"{frame:05d}.png", mask_of(ids))
            for number in ids:
                entries.setdefault(str(number), {"category": "fish", "frames": []})["frames"].append(f"{frame:05d}")
        meta["videos"][video] = {"objects": entries}
    (tmp_path / "train" / "meta.json").write_text(json.dumps(meta))
    return tmp_path


def test_videos_objects_and_where_they_first_appear(root, monkeypatch):
    with monkeypatch.context() as patch:  # thousands of videos are opened by what meta.json says
        patch.setattr(stored, "read_mask", None)
        one, two = open_youtube_vos(root)
    assert (one.name, two.name) == tuple(VIDEOS)
    assert one.objects == {1: 0, 2: 2, 4: 0} and two.objects == {1: 0}
    assert one.frame_names == ("00000", "00005", "00010", "00015") and one.size == SIZE
    assert (one.mask(2) == mask_of((1, 2, 4))).all() and set(one.new_objects(2)) == {2}
    assert [s.name for s in open_youtube_vos(root / "train", sequences=["0043f083b5"])] == ["0043f083b5"]


def test_objects_of_a_video_are_tasks_of_their_own(root):
    taskset = VideoTaskset(open_youtube_vos(root), size=SIZE)
    tasks = [taskset.task(0, i, 0) for i in range(60)]
    expected = {("003234408d", 1), ("003234408d", 2), ("003234408d", 4), ("0043f083b5", 1)}
    assert {(t.name, t.object_id) for t in tasks} == expected
    assert all(t.train[0].masks.shape[0] == 1 and t.train[0].masks.any() and t.meta.masks.any() for t in tasks)


def test_frames_between_the_annotated_ones_have_no_mask(root):
    images = root / "train" / "JPEGImages" / "0043f083b5"
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(images / "00003.jpg")
    video = open_youtube_vos(root, sequences=["0043f083b5"])[0]
    assert len(video) == 3 and video.mask(1) is None and video.objects == {1: 0}


def edit(root: Path, change) -> None:
    path = root / "train" / "meta.json"
    meta = json.loads(path.read_text())
    change(meta)
    path.write_text(json.dumps(meta))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda root: (root / "train").rename(root / "valid"), ["train/JPEGImages is expected", "there is valid"]),
        (lambda root: (root / "train/meta.json").unlink(), ["meta.json: this file is missing"]),
        (lambda root: (root / "train/meta.json").write_text("[]"), ["meta.json: not the meta.json"]),
        (lambda root: edit(root, lambda m: m["videos"]["0043f083b5"]["objects"]["1"].update(frames=["00002"])),
         ["0043f083b5: no 00002.png", "object 1"]),
        (lambda root: edit(root, lambda m: m["videos"].update(extra={"objects": {}})),
         ["extra: this folder is missing"]),
        (lambda root: (root / "train/Annotations/0043f083b5/00005.png").write_bytes(b"\x89PNG"), ["00005.png"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(root, harm, said):
    harm(root)
    with pytest.raises(UserError) as caught:
        open_youtube_vos(root)
    assert all(part in str(caught.value) for part in said), caught.value
