"""One's own frames and masks: what is given otherwise than expected is read, told, or refused with its remedy."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eosvos.data.masks import write_mask
from eosvos.data.readers.user_video import annotated_frames, open_own
from eosvos.errors import UserError

SIZE = (24, 40)


def shapes(*ids: int) -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    for k, number in enumerate(ids):
        mask[3 : 3 + 9, 2 + 12 * k : 10 + 12 * k] = number
    return mask


def frame(index: int) -> Image.Image:
    return Image.new("RGB", SIZE[::-1], (40 * index, 9, 200))


@pytest.fixture
def clip(tmp_path) -> Path:
    """A folder of four frames, 00000.png to 00003.png."""
    (tmp_path / "clip").mkdir()
    for k in range(4):
        frame(k).save(tmp_path / "clip" / f"{k:05d}.png")
    return tmp_path / "clip"


@pytest.fixture
def said(caplog) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING)
    return caplog


def given(folder: Path, **masks: np.ndarray) -> Path:
    for name, mask in masks.items():
        write_mask(folder / f"{name.removeprefix('m')}.png", mask)
    return folder


@pytest.mark.parametrize("kind", ["folder", "frames and masks", "video"])
def test_empty_masks_before_the_first_object_say_that_it_is_not_here_yet(clip, tmp_path, kind):
    masks = given(tmp_path / "masks", m00000=shapes(), m00001=shapes(), m00002=shapes(1, 5), m00003=shapes(1, 5, 7))
    if kind == "video":
        from eosvos.data.video.write import write_video

        pytest.importorskip("av")
        write_video(tmp_path / "clip.mp4", (np.asarray(frame(k)) for k in range(4)))
        video, _ = open_own(tmp_path / "clip.mp4", masks=masks)
    elif kind == "folder":
        video, _ = open_own(clip, masks=masks)
    else:
        clip.rename(tmp_path / "frames")
        video, _ = open_own(tmp_path)
    assert (
        video.first_frame == {1: 2, 5: 2, 7: 3}
        and video.prompt_frames == (0, 1, 3)
        and annotated_frames(video) == [0, 1, 2, 3]
    )
    early = video.prompt_masks(0)
    assert list(early) == [1, 5] and not any(mask.any() for mask in early.values())  # 7 comes later
    assert list(video.prompt_masks(3)) == [1, 5] and video.prompt_masks(2) == {}
    assert not video.mask(1).any() and list(video.new_objects(2)) == [1, 5]


def test_some_mask_shows_an_object(clip, tmp_path):
    with pytest.raises(UserError, match="0.png: the first mask is empty.*give a mask in which it can be seen"):
        open_own(clip, masks=given(tmp_path / "none", m0=shapes(), m2=shapes()))
    with pytest.raises(UserError, match="0.png: the first mask holds only 0 and 255.*binary=true"):
        open_own(clip, masks=given(tmp_path / "void", m0=shapes(255), m2=shapes(1)))


def test_the_frame_of_frame_object_may_be_a_number(clip, tmp_path, said):
    video, _ = open_own(clip, masks=given(tmp_path / "a", m2_1=shapes(1), m2_2=shapes(0, 1), m03_1=shapes(1)))
    assert video.first_frame == {1: 2, 2: 2} and annotated_frames(video) == [2, 3]
    assert (video.mask(2) == shapes(1, 2)).all() and (video.mask(3) == shapes(1)).all()
    assert [m for m in said.messages if "2_1.png: taken for a mask of object 1 on frame 00002" in m] == said.messages
    said.clear()
    assert open_own(clip, masks=given(tmp_path / "b", m00002_1=shapes(1), m00002_2=shapes(0, 1)))[0].first_frame[2] == 2
    assert not said.messages
    with pytest.raises(UserError, match="2_1.png: two masks of one object and frame, the other is 00002_1.png"):
        open_own(clip, masks=given(tmp_path / "b", m2_1=shapes(1)))


@pytest.mark.parametrize("names", [["0", "2_1"], ["4_1"], ["1_00002"]])
def test_a_mask_named_by_two_numbers_is_refused_where_they_may_be_anything(clip, tmp_path, names):
    masks = given(tmp_path / "masks", **dict.fromkeys(names, shapes(1)))
    with pytest.raises(UserError, match=f"{names[-1]}.png: which number is the frame's.*say 00000_1"):
        open_own(clip, masks=masks)


def test_a_last_number_that_may_be_an_objects_is_told(clip, tmp_path, said):
    assert annotated_frames(open_own(clip, masks=given(tmp_path / "a", clip2_0003=shapes(1)))[0]) == [3]
    assert len(said.messages) == 1 and "clip2_0003.png: taken for the mask of frame 00003" in said.text
    said.clear()
    for k in range(4):
        (clip / f"{k:05d}.png").rename(clip / f"take 2_{k:05d}.png")
    masks = {"take 2_1": shapes(1), "take 2_3": shapes(1)}
    assert annotated_frames(open_own(clip, masks=given(tmp_path / "b", **masks))[0]) == [1, 3]
    for k in range(4):
        (clip / f"take 2_{k:05d}.png").rename(clip / f"1_{k:05d}.png")
    assert annotated_frames(open_own(clip, masks=given(tmp_path / "c", m1_2=shapes(1)))[0]) == [2]
    assert not said.messages
    given(tmp_path / "c", frame_3=shapes(1))  # other words than in the frames' names
    assert annotated_frames(open_own(clip, masks=tmp_path / "c")[0]) == [2, 3]
    assert "frame_3.png: taken for the mask of frame 1_00003, by the number at its end" in said.text


@pytest.mark.parametrize("name", ["first.png", "00000.bmp"])
def test_a_mask_among_the_frames_is_none_of_them(clip, said, name):
    Image.fromarray(shapes(1)).save(clip / name)
    video, _ = open_own(clip, mask=clip / name)
    assert len(video) == 4 and video.first_frame == {1: 0} and (video.mask(0) == shapes(1)).all()
    assert len(said.messages) == 1 and f"{name}: left out of the frames" in said.text


@pytest.mark.parametrize("name", ["00002", "2"])
def test_a_first_mask_with_the_name_of_another_frame_is_told(clip, tmp_path, said, name):
    given(tmp_path, **{name: shapes(1), "first": shapes(1), "00000": shapes(1)})
    assert open_own(clip, mask=tmp_path / f"{name}.png")[0].first_frame == {1: 0}
    assert len(said.messages) == 1 and f"{name}.png: taken for the mask of the first frame, 00000" in said.text
    said.clear()
    for right in ("first", "00000"):
        open_own(clip, mask=tmp_path / f"{right}.png")
    assert not said.messages


def test_frames_that_are_missing_or_left_out_are_told(clip, tmp_path, said):
    mask = given(tmp_path, first=shapes(1)) / "first.png"
    for k in range(4, 12):
        frame(1).save(clip / f"{k:05d}.png")
    open_own(clip, mask=mask)
    assert not said.messages
    for k in (2, 5, 6, 7, 8):
        (clip / f"{k:05d}.png").unlink()
    (clip / "00002.heic").write_bytes(b"")
    (clip / "notes.txt").write_text("")
    assert len(open_own(clip, mask=mask)[0]) == 7
    missing, left = said.messages
    assert "clip: 00002.png, ... (5 in all) are missing, between 00001 and 00003" in missing
    assert left.endswith("not read: 00002.heic")
    with pytest.raises(UserError, match="no frames; .jpg, .png or .bmp .* are expected; there is a.heic"):
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "a.heic").write_bytes(b"")
        open_own(tmp_path / "other", mask=mask)


@pytest.mark.parametrize("ending", ["webp", "tif", "TIFF", "bmp"])
def test_frames_of_other_kinds(tmp_path, ending):
    (tmp_path / "clip").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    for k in range(3):
        picture = frame(k) if ending == "bmp" else frame(k).transpose(Image.Transpose.ROTATE_90)
        picture.save(tmp_path / "clip" / f"{k}.{ending}", exif=None if ending == "bmp" else exif)
    mask = given(tmp_path, first=shapes(1)) / "first.png"
    video, _ = open_own(tmp_path / "clip", mask=mask)
    assert video.size == SIZE and abs(video.read_frame(2).astype(int) - (80, 9, 200)).max() < 6
    cut = tmp_path / "clip" / f"1.{ending}"
    cut.write_bytes(cut.read_bytes()[:-10])
    with pytest.raises(UserError, match=f"1.{ending}: this frame cannot be read"):
        open_own(tmp_path / "clip", mask=mask)


def test_a_frame_of_several_pictures_is_told(clip, tmp_path, said):
    mask = given(tmp_path, first=shapes(1)) / "first.png"
    frame(1).save(clip / "00001.png", save_all=True, append_images=[frame(2)])
    assert open_own(clip, mask=mask)[0].read_frame(1)[0, 0, 0] == 40
    assert len(said.messages) == 1 and "several pictures the first is read: 00001.png" in said.text


def test_frames_without_masks_ask_for_them(clip, tmp_path):
    with pytest.raises(UserError, match="clip: what to follow in it is not known; give the mask of its first frame"):
        open_own(clip)
    (tmp_path / "other" / "a").mkdir(parents=True)
    with pytest.raises(UserError, match="other: no frames; .*give the folder with the frames of one as video="):
        open_own(tmp_path / "other")


def test_remedies_are_of_this_command(clip, tmp_path):
    with pytest.raises(UserError, match="nix.png: this mask is missing; put it there, or give another path"):
        open_own(clip, mask=tmp_path / "nix.png")
    masks = given(tmp_path, turned=shapes(1).T, small=shapes(1)[:12, :20])
    with pytest.raises(UserError, match="is 24x40 pixels, .* 40x24; .* width and height are swapped: turn it"):
        open_own(clip, mask=masks / "turned.png")
    with pytest.raises(UserError, match="is 20x12 pixels, .* 40x24; .* scale it"):
        open_own(clip, mask=masks / "small.png")


@pytest.mark.parametrize("binary", [None, True, False])
def test_black_on_nothing_is_told_by_alpha(clip, tmp_path, caplog, binary):
    caplog.set_level(logging.INFO)
    (tmp_path / "masks").mkdir()
    for k, mask in ((0, shapes()), (1, shapes(1)), (3, shapes(0, 1))):
        pixels = np.zeros((*SIZE, 4), np.uint8)
        pixels[..., 3] = 255 * mask
        Image.fromarray(pixels).save(tmp_path / "masks" / f"{k}.png")
    video, _ = open_own(clip, masks=tmp_path / "masks", binary=binary)
    assert video.first_frame == {1: 1} and (video.mask(3) == shapes(0, 1)).all() and not video.mask(0).any()
    told, empty = caplog.messages
    assert told == "masks: black and transparent only: the alpha channel is the mask (clip)"
    assert "taken to tell that no object is there: of 00000" in empty
    pixels[..., 3] = np.minimum(np.arange(40) * 6, 255) * (np.arange(40) > 2)
    Image.fromarray(pixels).save(tmp_path / "masks" / "3.png")
    if binary is None:
        with pytest.raises(UserError, match="3.png: 38 values .* soft .anti-aliased. edges"):
            open_own(clip, masks=tmp_path / "masks")


@pytest.mark.parametrize(("number", "curve"), [(16, "PQ"), (18, "HLG"), (1, None)])
def test_a_video_of_high_dynamic_range_is_told(tmp_path, said, number, curve):
    pytest.importorskip("av")
    from data.films import film

    path = film(tmp_path / "a.mp4", count=3, pixels="yuv420p10le", color_trc=number, color_primaries=9, colorspace=9)
    mask = given(tmp_path, first=np.eye(64, 96, dtype=np.uint8)) / "first.png"
    open_own(path, mask=mask)
    assert [f"dynamic range ({curve})" in message for message in said.messages] == [True] * (curve is not None)
