"""What a container tells of its streams and pixels is honoured, or said; and each fault has a remedy that fits."""

from __future__ import annotations

import io
import wave
import zipfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from data.films import film, number_of, numbered

from eosvos.data.video.open import open_video
from eosvos.errors import UserError

av = pytest.importorskip("av")


def written(path: Path, frames: list[object], *, codec: str = "ffv1", pixels: str = "bgr0", **settings: object) -> Path:
    """A film of PyAV's frames; settings of the codec's context."""
    container_options = settings.pop("container", {})
    with av.open(str(path), "w", options=container_options) as container:
        stream = container.add_stream(codec, rate=25, options=settings.pop("options", {}))
        stream.height, stream.width, stream.pix_fmt = frames[0].height, frames[0].width, pixels
        if "rotation" in settings:
            stream.set_display_rotation(settings.pop("rotation"))
        for name, value in settings.items():
            setattr(stream.codec_context, name, value)
        for k, frame in enumerate(frames):
            frame.pts = k
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def frames_of(count: int = 4, size: tuple[int, int] = (64, 96)) -> list[object]:
    return [av.VideoFrame.from_ndarray(numbered(k, size), format="rgb24") for k in range(count)]


def test_an_ordinary_film_has_nothing_told(tmp_path, caplog):
    open_video(film(tmp_path / "a.mp4"))
    assert caplog.text == ""


def test_pixels_that_are_not_square_are_told(tmp_path, caplog):
    path = film(tmp_path / "a.mp4", sample_aspect_ratio=Fraction(16, 11))
    assert open_video(path).size == (64, 96)
    assert "not square" in caplog.text and "players show 96x64 as 140x64" in caplog.text


def test_of_several_streams_the_players_choice_is_read(tmp_path, caplog):
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        streams = [container.add_stream("ffv1", rate=25) for _ in range(2)]
        for stream in streams:
            stream.height, stream.width, stream.pix_fmt = 64, 96, "bgr0"
        for k in range(4):
            for number, stream in enumerate(streams):
                frame = av.VideoFrame.from_ndarray(numbered(k + 100 * number), format="rgb24")
                frame.pts = k
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode())
    video = open_video(tmp_path / "a.mkv")
    assert [number_of(video.read_frame(k)) for k in range(4)] in ([0, 1, 2, 3], [100, 101, 102, 103])
    assert "1 other video streams" in caplog.text


def test_interlaced_fields_and_varying_intervals_are_told(tmp_path, caplog):
    open_video(film(tmp_path / "a.mp4", options={"x264-params": "tff=1"}))
    assert "is interlaced" in caplog.text and "bwdif" in caplog.text
    caplog.clear()
    open_video(film(tmp_path / "b.mkv", times=lambda k: 40 * k + (500 if k > 9 else 0)))
    assert "varying intervals" in caplog.text


def test_a_turn_that_is_no_quarter_is_told(tmp_path, caplog):
    for angle in (90, 45):
        open_video(written(tmp_path / f"{angle}.mp4", frames_of(), codec="libx264", pixels="yuv420p", rotation=angle))
        assert "masks are expected, and written, for turned ones" in caplog.text
        assert ("by the nearest quarter" in caplog.text) == (angle == 45)


@pytest.mark.parametrize("size", [(480, 640), (720, 1280)])
@pytest.mark.parametrize("matrix", [1, 5, 2])  # BT.709, BT.601, not told
@pytest.mark.parametrize("scale", [1, 2])  # limited, full
def test_colours_are_those_of_the_matrix_and_range(tmp_path, size, matrix, scale):
    """Where no matrix is told, HD video has that of HD."""
    colour = np.full((*size, 3), (200, 30, 60), np.uint8)
    used = matrix if matrix != 2 else 1 if size[0] > 576 else 5
    frame = av.VideoFrame.from_ndarray(colour, format="rgb24")
    frame = frame.reformat(format="yuv444p", dst_colorspace=used, dst_color_range=scale)
    frame.colorspace, frame.color_range = matrix, scale
    path = written(tmp_path / "a.mkv", [frame], pixels="yuv444p", colorspace=matrix, color_range=scale)
    assert np.abs(open_video(path).read_frame(0).astype(int) - colour).max() <= 3


@pytest.mark.parametrize(("codec", "pixels"), [("ffv1", "yuva420p"), ("png", "rgba"), ("png", "ya8")])
def test_transparent_parts_are_on_black_and_told(tmp_path, caplog, codec, pixels):
    content = np.full((64, 96, 4), (200, 200, 200, 255), np.uint8)
    content[:32, :, 3] = 0
    frame = av.VideoFrame.from_ndarray(content, format="rgba").reformat(format=pixels)
    path = written(tmp_path / ("a.mov" if codec == "png" else "a.mkv"), [frame], codec=codec, pixels=pixels)
    read = open_video(path).read_frame(0)
    assert read[:30].max() <= 2 and abs(int(read[34:].min()) - 200) <= 3
    assert "transparent parts are read as shown on black" in caplog.text


def test_palettes_and_one_bit_pixels_are_read(tmp_path):
    black = np.zeros((64, 96), np.uint8)
    black[:, 40:] = 255
    for pixels in ("monob", "gray", "rgb24"):
        frame = av.VideoFrame.from_ndarray(black, format="gray").reformat(format=pixels)
        path = written(tmp_path / f"{pixels}.mov", [frame], codec="png", pixels=pixels)
        read = open_video(path).read_frame(0)
        assert np.abs(read.astype(int) - black[..., None]).max() <= 2


def test_encrypted_files_are_told(tmp_path):
    options = {
        "encryption_scheme": "cenc-aes-ctr",
        "encryption_key": "76a6c65c5ea762046bd749a2e632ccbb",
        "encryption_kid": "a7e61c373e219033c21091fa607bf3b8",
    }
    path = written(tmp_path / "a.mp4", frames_of(), codec="libx264", pixels="yuv420p", container=options)
    with pytest.raises(UserError, match=r"a.mp4: is encrypted .*without protection"):
        open_video(path)


def _sound(path: Path) -> None:
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(4000))


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.png", b"x")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("sound.wav", _sound, "no video in this file, only audio; give a video file"),
        ("packed.mp4", _zip, "it is a zip file; unpack it"),
        ("page.mp4", b"<!DOCTYPE html><html>not found</html>", "a web page"),
        ("pointer.mp4", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "it is text"),
        ("hole.mp4", bytes(4096), "begins with zeros"),
        ("empty.mp4", b"", "empty, a file of 0 bytes"),
        ("noise.mp4", bytes(range(7, 250)) * 40, "cannot be read as a video"),
        ("photo.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), "it is a picture"),
    ],
)
def test_what_a_file_is_instead_is_told(tmp_path, name, content, message):
    path = tmp_path / name
    if callable(content):
        content(path)
    else:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        open_video(path)
    assert name in str(caught.value)
    assert ("ffmpeg" in str(caught.value)) == (name == "noise.mp4")


def test_an_attached_picture_is_no_video(tmp_path):
    """An mp3's cover, as ID3v2 keeps it."""
    cover = io.BytesIO()
    from PIL import Image

    Image.fromarray(numbered(3)).save(cover, format="PNG")
    body = b"\0image/png\0\3\0" + cover.getvalue()
    tag = b"APIC" + len(body).to_bytes(4, "big") + b"\0\0" + body
    size = len(tag)
    head = b"ID3\3\0\0" + bytes((size >> 7 * k) & 127 for k in (3, 2, 1, 0))
    with av.open(str(tmp_path / "plain.mp3"), "w") as container:
        stream = container.add_stream("mp3", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4410), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    (tmp_path / "song.mp3").write_bytes(head + tag + (tmp_path / "plain.mp3").read_bytes())
    with pytest.raises(UserError, match="only audio, a cover picture; give a video file"):
        open_video(tmp_path / "song.mp3")
