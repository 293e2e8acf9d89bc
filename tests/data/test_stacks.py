"""Pictures that hold several, read as videos."""

from __future__ import annotations

import pickle
import random
from pathlib import Path

import numpy as np
import pytest
from data.films import number_of, numbered
from PIL import Image, TiffImagePlugin

from eosvos.data.masks import write_mask
from eosvos.data.readers.user_video import open_own
from eosvos.data.video.open import frame_rate, open_video
from eosvos.data.video.stacks import open_stack
from eosvos.errors import UserError
from eosvos.page.uploads import open_upload, video_in

FRAMES = [Image.fromarray(numbered(k)) for k in range(12)]


def saved(path: Path, images: list[Image.Image], **settings: object) -> Path:
    images[0].save(path, save_all=True, append_images=images[1:], **settings)
    return path


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("a.tif", {}),
        ("lzw.tiff", {"compression": "tiff_lzw"}),
        ("big.tif", {"big_tiff": True}),
        ("a.webp", {"duration": 50, "lossless": True}),
        ("a.gif", {"duration": 50, "disposal": 2}),
        ("kept.gif", {"duration": 50, "disposal": 1}),
        ("a.png", {"duration": 50, "disposal": 1, "blend": 1}),
        ("default.png", {"duration": 50, "default_image": True}),
        ("wrongly_named.mp4", {"format": "TIFF"}),
    ],
)
def test_every_frame_is_at_its_place_however_it_is_asked_for(tmp_path, name, settings):
    images = [Image.new("RGB", FRAMES[0].size), *FRAMES] if "default_image" in settings else FRAMES
    path = saved(tmp_path / name, images, **settings)
    video = open_video(path)
    assert (len(video), video.size, video.counted) == (12, (64, 96), True)
    assert [number_of(video.read_frame(k)) for k in range(12)] == list(range(12))
    order = [*range(12), *range(12)]
    random.Random(name).shuffle(order)
    again = pickle.loads(pickle.dumps(video))
    assert [number_of(again.read_frame(k)) for k in order] == order
    assert frame_rate(path) == (20 if "duration" in settings else 24)
    with pytest.raises(IndexError):
        video.read_frame(12)


def test_masks_of_a_stack_and_the_page(tmp_path):
    saved(tmp_path / "a.tif", FRAMES)
    write_mask(tmp_path / "masks" / "00003.png", np.eye(64, 96, dtype=np.uint8))
    sequence, rate = open_own(tmp_path / "a.tif", masks=tmp_path / "masks")
    assert sequence.first_frame == {1: 3} and rate == 24
    (tmp_path / "upload").mkdir()
    (tmp_path / "a.tif").rename(tmp_path / "upload" / "a.tif")
    assert len(open_upload(video_in(tmp_path / "upload"))[0]) == 12
    with pytest.raises(UserError, match="to read them as frames give the file"):
        open_own(tmp_path / "upload", masks=tmp_path / "masks")


@pytest.mark.parametrize("kind", ["gif", "webp", "png"])
def test_what_is_cleared_and_what_is_transparent_is_as_viewers_show_it(tmp_path, kind):
    """A square that moves over nothing leaves no trail, and what is half transparent is half as bright."""
    images = []
    for k in range(4):
        pixels = np.zeros((16, 24, 4), np.uint8)
        pixels[4:10, 5 * k : 5 * k + 6] = (200, 100, 40, 255 if kind == "gif" else 128)
        pixels[pixels[..., 3] == 0] = (255, 255, 255, 0)  # a hidden colour
        images.append(Image.fromarray(pixels))
    settings = {"gif": {"disposal": 2}, "png": {"disposal": 1}, "webp": {"lossless": True}}[kind]
    stack = open_stack(saved(tmp_path / f"a.{kind}", images, duration=100, **settings))
    for k in (3, 0, 2, 1):
        pixels = stack(k).astype(int)
        inside = np.zeros((16, 24), bool)
        inside[4:10, 5 * k : 5 * k + 6] = True
        assert (pixels[~inside] == 0).all()
        assert np.abs(pixels[inside] - np.array((200, 100, 40)) / (1 if kind == "gif" else 2)).max() < 9


def test_thumbnails_are_left_out_and_pages_of_several_sizes_refused(tmp_path, caplog):
    small = FRAMES[0].resize((24, 16))
    path = tmp_path / "a.tif"
    with TiffImagePlugin.AppendingTiffWriter(str(path), new=True) as writer:
        for image in (FRAMES[0], small, FRAMES[1], FRAMES[2]):
            image.save(writer, format="TIFF", tiffinfo={254: int(image is small)})
            writer.newFrame()
    stack = open_stack(path)
    assert [number_of(stack(k)) for k in range(len(stack))] == [0, 1, 2]
    assert "1 pages are marked as thumbnails" in caplog.text
    with pytest.raises(UserError, match="page 0 is 96x64, page 2 24x16, of another size"):
        open_stack(saved(tmp_path / "b.tif", [FRAMES[0], FRAMES[1], small]))
    with pytest.raises(UserError, match="of another kind"):
        open_stack(saved(tmp_path / "c.tif", [FRAMES[0], Image.fromarray(np.zeros((64, 96), np.uint16))]))


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ("ImageJ=1.53t\nimages=12\nchannels=2\nframes=6\n", "2 channels, 6 frames"),
        ("ImageJ=1.53t\nimages=12\nslices=3\nframes=4\n", "3 slices, 4 frames"),
        ("ImageJ=1.53t\nimages=9000\nframes=9000\n", "9000 pictures beyond 4 GiB"),
        ('<?xml?><OME><Pixels SizeC="2" SizeZ="1" SizeT="6"/></OME>', "2 channels, 6 frames"),
        ("ImageJ=1.53t\nimages=12\nslices=12\n", None),
        ('<OME><Pixels SizeC="3" SizeZ="1" SizeT="12"><Channel SamplesPerPixel="3"/></Pixels></OME>', None),
    ],
)
def test_stacks_of_more_than_time_are_refused(tmp_path, description, message):
    path = saved(tmp_path / "a.tif", FRAMES, tiffinfo={270: description})
    if message is None:
        assert len(open_stack(path)) == 12
    else:
        with pytest.raises(UserError, match=message):
            open_stack(path)


@pytest.mark.parametrize("name", ["a.tif", "a.webp", "a.gif", "a.png"])
def test_damaged_and_single_pictures_are_told(tmp_path, name):
    path = saved(tmp_path / name, FRAMES)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 5])
    with pytest.raises(UserError, match=f"{name}: .*(cut off|cannot be decoded|cannot be read)") as caught:
        video = open_video(path)
        for k in range(12):
            video.read_frame(k)
    assert "ffmpeg" not in str(caught.value)
    FRAMES[0].save(tmp_path / f"one{path.suffix}")
    with pytest.raises(UserError, match="a single picture"):
        open_video(tmp_path / f"one{path.suffix}")
