"""More than 8 bits: scaled by the data's range, in pictures and videos alike, whichever frame is read first."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from eosvos.data.images import read_image
from eosvos.data.levels import parse_levels
from eosvos.data.masks import write_mask
from eosvos.data.readers.folder import open_folder, open_frames
from eosvos.data.readers.user_video import open_own
from eosvos.data.video.open import open_video
from eosvos.errors import UserError
from eosvos.inference.segmenter import image_of

SIZE = (48, 64)
LOW, HIGH = 7200, 7455  # counts of a 14-bit sensor, of which a scene fills 256


def scene(number: int, grey: bool = True) -> np.ndarray:
    """uint8 frame `number`, from 0 to 255: a ramp and a square that moves."""
    pixels = np.tile(np.linspace(0, 220, SIZE[1]), (SIZE[0], 1)).astype(np.uint8)
    pixels[20:30, 4 * number : 4 * number + 10] = 255
    return pixels if grey else np.stack([pixels, pixels[:, ::-1], 255 - pixels], -1)


def stored(path: Path, kind: str, count: int = 3) -> tuple[Path, list[np.ndarray]]:
    """Frames of counts as files of a kind, and the scenes in them."""
    colour = kind in ("rgb48.png", "rgb48.tif", "rgb48le.mkv", "gbrp12le.mkv", "stack48.tif")
    scenes = [scene(k, grey=not colour) for k in range(count)]
    low = 100 if "12" in kind or "10" in kind else LOW
    frames = [s.astype(np.uint16) + low for s in scenes]
    if kind.endswith(".mkv"):
        av = pytest.importorskip("av")
        name = kind.removesuffix(".mkv")
        ending = "mov" if name.endswith("be") else "mkv"
        with av.open(str(path / f"clip.{ending}"), "w") as container:
            stream = container.add_stream("png" if name.endswith("be") else "ffv1", rate=25)
            stream.height, stream.width, stream.pix_fmt = *SIZE, name
            for pixels in frames:
                frame = av.VideoFrame.from_ndarray(pixels, format=name)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path / f"clip.{ending}", scenes
    if kind.startswith("stack"):
        cv2.imwritemulti(str(path / "stack.tif"), [f[..., ::-1] if colour else f for f in frames])
        return path / "stack.tif", scenes
    (path / "clip").mkdir()
    for k, pixels in enumerate(frames):
        name = path / "clip" / f"{k}.{kind[-3:]}"
        if kind == "float.tif":
            Image.fromarray(pixels.astype(np.float32) / 25).save(name)
        elif kind == "signed.tif":
            Image.fromarray(pixels.astype(np.int32) - 7300).save(name)
        else:
            cv2.imwrite(str(name), pixels[..., ::-1] if colour else pixels)
    return path / "clip", scenes


KINDS = [
    *"gray16le.mkv gray12le.mkv gray10le.mkv gray16be.mkv gbrp12le.mkv rgb48le.mkv grey.png grey.tif".split(),
    *"rgb48.png rgb48.tif float.tif signed.tif stack16.tif stack48.tif".split(),
]


@pytest.mark.parametrize("kind", KINDS)
def test_counts_are_scaled_by_the_first_frames_whichever_is_read_first(tmp_path, caplog, kind):
    """Order and contrast stay: a linear map of the scene, the same of all frames."""
    path, scenes = stored(tmp_path, kind)
    mask = np.zeros(SIZE, np.uint8)
    mask[20:30, 0:10] = 1
    write_mask(tmp_path / "first.png", mask)
    sequence, _ = open_own(path, mask=tmp_path / "first.png")
    assert "more than 8 bits" in caplog.text and "levels=[low,high]" in caplog.text
    again = pickle.loads(pickle.dumps(open_own(path, mask=tmp_path / "first.png")[0]))
    last = again.read_frame(2)
    for k, expected in enumerate(scenes):
        pixels = sequence.read_frame(k).astype(int)
        expected = expected if expected.ndim == 3 else np.repeat(expected[..., None], 3, -1)
        assert pixels.max() - pixels.min() > 200
        slope, start = np.polyfit(expected.ravel(), pixels.ravel(), 1)
        assert np.abs(slope * expected + start - pixels).max() <= 1.5 and slope > 0.75
    assert (last == sequence.read_frame(2)).all()


def test_video_for_people_is_shown_as_players_do_and_a_narrow_one_told(tmp_path, caplog):
    av = pytest.importorskip("av")

    def film(name: str, pixels: np.ndarray) -> Path:
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream("ffv1", rate=25)
            stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p10le"
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p10le")
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return tmp_path / name

    whole = np.repeat(scene(0)[..., None], 3, -1)
    assert np.abs(open_video(film("whole.mkv", whole)).read_frame(0).astype(int) - whole).max() <= 3
    assert "bits" not in caplog.text
    narrow = film("narrow.mkv", whole // 8 + 60)
    open_video(narrow)
    assert "video of 10 bits" in caplog.text and "levels=[" in caplog.text
    stretched = open_video(narrow, levels=(4 * 60, 4 * 92)).read_frame(0)
    assert stretched.max() > 240 and stretched.min() < 15


def test_levels_are_a_setting(tmp_path, caplog):
    path, scenes = stored(tmp_path, "grey.png")
    frames, size, span = open_frames(path, levels=parse_levels([LOW, HIGH]))
    assert span == (LOW, HIGH) and size == SIZE
    assert (read_image(frames[1], size, span)[..., 0] == scenes[1]).all()
    assert open_frames(path, levels="full")[2] == (0, 65535)
    for wrong in ("most", [1], [3, 2], [1, 2, 3], ["a", "b"], True, None, [0, float("nan")]):
        with pytest.raises(UserError, match="expected auto, full or two values"):
            parse_levels(wrong)
    eight, _ = tmp_path / "eight", (tmp_path / "eight").mkdir()
    Image.fromarray(np.array([[100, 150, 200]], np.uint8)).save(eight / "0.png")
    assert open_frames(eight)[2] is None  # of 8 bits: as they are
    assert read_image(eight / "0.png", span=(100, 200))[0, :, 0].tolist() == [0, 128, 255]


def test_hot_pixels_and_what_is_no_number_do_not_count(tmp_path):
    (tmp_path / "clip").mkdir()
    pixels = scene(0).astype(np.float32)
    pixels[5, 7], pixels[40, 3], pixels[9, 9] = 60000, np.nan, np.inf
    Image.fromarray(pixels).save(tmp_path / "clip" / "0.tif")
    frames, size, (low, high) = open_frames(tmp_path / "clip")
    assert low > -60 and high < 320
    read = read_image(frames[0], size, (low, high))
    assert read[9, 9].tolist() == [255] * 3 and read[40, 3].tolist() == [0] * 3


def test_frames_of_one_value_are_told_and_mixed_ones_refused(tmp_path, caplog):
    for k in range(2):
        (tmp_path / "flat").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "flat" / f"{k}.png"), np.full(SIZE, 7, np.uint16))
    assert open_frames(tmp_path / "flat")[2] == (0, 65535) and "of one value" in caplog.text
    cv2.imwrite(str(tmp_path / "flat" / "2.png"), np.zeros(SIZE, np.uint8))
    with pytest.raises(UserError, match="more than 8 bits per channel, the other has not"):
        open_frames(tmp_path / "flat")


def test_data_sets_and_arrays_of_more_bits_say_what_to_do(tmp_path):
    path, _ = stored(tmp_path, "rgb48.png")
    with pytest.raises(UserError, match="more than 8 bits per channel; save it with 8 bits"):
        read_image(path / "0.png")
    with pytest.raises(ValueError, match=r"one low and high for the whole video"):
        image_of(np.zeros(SIZE, np.uint16))
    with pytest.raises(ValueError, match=r"one low and high for the whole video"):
        image_of(np.full(SIZE, 300, np.float32))


def test_a_data_set_of_ones_own_has_the_setting(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    path, scenes = stored(tmp_path, "grey.png")
    (tmp_path / "d" / "JPEGImages").mkdir(parents=True)
    path.rename(tmp_path / "d" / "JPEGImages" / "clip")
    write_mask(tmp_path / "d" / "Annotations" / "clip" / "0.png", (scenes[0] == 255).astype(np.uint8))
    (sequence,) = open_folder(tmp_path / "d", levels=(LOW, HIGH))
    assert (sequence.read_frame(2)[..., 0] == scenes[2]).all()
