"""What masks of one's own tell of objects that they do not show: by default nothing."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from eosvos.data.mask_files.formats import write_objects
from eosvos.data.mask_files.rle import rle_encode
from eosvos.data.masks import read_absent, write_mask
from eosvos.data.readers.user_video import annotated_frames, open_own
from eosvos.errors import UserError

SIZE = (24, 40)


def shapes(*ids: int) -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    for number in ids:
        mask[3:12, 12 * number - 10 : 12 * number - 2] = number
    return mask


@pytest.fixture
def clip(tmp_path):
    (tmp_path / "clip").mkdir()
    for k in range(4):
        Image.new("RGB", SIZE[::-1], (40 * k, 9, 200)).save(tmp_path / "clip" / f"{k:05d}.png")
    return tmp_path / "clip"


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.WARNING)
    return caplog


def told(video, index):
    return {i: bool(mask.any()) for i, mask in video.prompt_masks(index).items()}


def test_a_mask_tells_of_the_objects_that_it_shows(clip, tmp_path, said):
    for k, ids in enumerate([(1, 2), (1,), (), (2,)]):
        write_mask(tmp_path / "masks" / f"{k:05d}.png", shapes(*ids))
    video, _ = open_own(clip, masks=tmp_path / "masks")
    assert [told(video, k) for k in range(4)] == [{}, {1: True}, {1: False, 2: False}, {2: True}]
    (message,) = said.messages
    assert "masks that show nothing, taken to tell that no object is there: of 00002; leave a mask out" in message
    said.clear()
    video, _ = open_own(clip, masks=tmp_path / "masks", absent="all")
    assert [told(video, k) for k in (1, 3)] == [{1: True, 2: False}, {1: False, 2: True}] and not said.messages
    write_mask(tmp_path / "masks" / "00003.png", shapes(3) // 3 * 255)
    with pytest.raises(UserError, match="00003.png: this mask holds only 0 and 255.*binary=true"):
        open_own(clip, masks=tmp_path / "masks")


def test_a_file_may_say_which_objects_are_absent(clip, tmp_path, said):
    """Then these and no others are, also where it shows nothing; of a later object before its first mask, too."""
    for k, (ids, absent) in enumerate([((1,), ()), ((), (2,)), ((2,), (1,)), ((), ())]):
        write_mask(tmp_path / "masks" / f"{k:05d}.png", shapes(*ids), absent)
        assert read_absent(tmp_path / "masks" / f"{k:05d}.png") == absent
    video, _ = open_own(clip, masks=tmp_path / "masks")
    assert [told(video, k) for k in range(4)] == [{}, {2: False}, {1: False}, {}] and not said.messages
    assert video.first_frame == {1: 0, 2: 2}
    text = PngImagePlugin.PngInfo()
    text.add_text("Absent objects", "1 300")
    Image.fromarray(shapes(1)).save(tmp_path / "masks" / "00000.png", pnginfo=text)
    with pytest.raises(UserError, match="00000.png: its text 'Absent objects' is '1 300'; expected object ids"):
        open_own(clip, masks=tmp_path / "masks")


def test_an_empty_file_of_an_object_tells_of_that_object(clip, tmp_path, said):
    write_objects(tmp_path / "masks", "00000", shapes(1, 2), [1, 2])
    write_objects(tmp_path / "masks", "00001", shapes(1), [2])
    write_objects(tmp_path / "masks", "00002", shapes(1), [1])
    video, _ = open_own(clip, masks=tmp_path / "masks")
    assert [told(video, k) for k in (1, 2)] == [{2: False}, {1: True}]
    assert [m for m in said.messages if "their object is not there: of 00001" in m] == said.messages != []


def test_a_hidden_object_is_not_absent(clip, tmp_path):
    """Of objects that overlap the smaller has the pixels: the other one's mask is not empty for that."""
    for number in (1, 2):
        (tmp_path / "masks" / str(number)).mkdir(parents=True)
        Image.fromarray(shapes(number) > 0).save(tmp_path / "masks" / str(number) / "00000.png")
        Image.fromarray(shapes(1) > 0).save(tmp_path / "masks" / str(number) / "00001.png")
    video, _ = open_own(clip, masks=tmp_path / "masks")
    assert told(video, 1) == {1: True}


@pytest.mark.parametrize("absent", ["told", "all"])
def test_an_image_that_is_listed_tells_nothing(clip, tmp_path, said, absent):
    images = [{"id": k, "file_name": f"{k:05d}.png", "height": 24, "width": 40} for k in range(4)]
    left = {"image_id": 1, "track_id": 1, "segmentation": rle_encode(shapes(2) > 9)}  # told to be absent, by a code
    annotations = [{"image_id": 0, "track_id": i, "segmentation": rle_encode(shapes(i) == i)} for i in (1, 2)]
    (tmp_path / "m.json").write_text(json.dumps({"images": images, "annotations": [*annotations, left]}))
    video, _ = open_own(clip, masks=tmp_path / "m.json", absent=absent)
    if absent == "told":
        assert annotated_frames(video) == [0, 1] and told(video, 1) == {1: False}
        assert "2 of 4 images are listed without annotation, which tells nothing of them: 00002, 00003" in said.text
        assert "with absent=all no object is there" in said.text
    else:
        assert annotated_frames(video) == [0, 1, 2, 3] and told(video, 3) == {1: False, 2: False} and not said.messages
