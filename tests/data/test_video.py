"""Video files: every frame is found, at its place, however it is asked for; and written files are read back."""

from __future__ import annotations

import gc
import json
import logging
import pickle
import random
import sys
import threading
import wave
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from data.films import film, number_of, numbered, remuxed
from PIL import Image

from eosvos.data.mask_files.json_files import write_json
from eosvos.data.masks import write_mask
from eosvos.data.video import frame_index, frames
from eosvos.data.video.open import open_video
from eosvos.data.video.write import write_video
from eosvos.errors import UserError

av = pytest.importorskip("av")

BARS = ((200, 30, 30), (30, 180, 60), (40, 60, 220))
OPEN = "open-gop=1:b-adapt=0:scenecut=0:keyint=12:min-keyint=12:bframes=3"
HEVC = {"x265-params": "open-gop=1:keyint=12:min-keyint=12:bframes=3:log-level=0"}
QUICK = {"cpu-used": "8", "deadline": "realtime"}
KINDS = {
    "h264.mp4": {"options": {"bf": "3"}},
    "h264.mov": {},
    "open.mp4": {"options": {"x264-params": OPEN}},
    "open.mkv": {"options": {"x264-params": OPEN}},
    "open.ts": {"options": {"x264-params": OPEN}},
    "hevc.mp4": {"codec": "libx265", "options": HEVC},
    "hevc.mkv": {"codec": "libx265", "options": HEVC},
    "uneven.mp4": {"times": lambda k: 40 * k + 7 * (k % 5)},
    "uneven.mkv": {"times": lambda k: 40 * k + 7 * (k % 5)},
    "fragments.mp4": {"movflags": "frag_keyframe+empty_moov", "options": {"bf": "2"}},
    "vp8.webm": {"codec": "libvpx", "options": QUICK, "bit_rate": 300000},
    "vp9.webm": {"codec": "libvpx-vp9", "options": QUICK, "bit_rate": 300000},
    "h264.avi": {"options": {"bf": "2"}},  # no times of showing in .avi
    "mpeg4.avi": {"codec": "mpeg4", "options": {"bf": "2"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "options": {"bf": "2"}, "bit_rate": 1000000},
    "bare.h264": {"options": {"bf": "2"}},
    "h264.flv": {"options": {"bf": "2"}},
    "moving.gif": {"codec": "gif", "pixels": "rgb8"},
    "still.mkv": {"codec": "ffv1", "pixels": "bgr0"},  # every frame a key frame
}


def bars(height: int = 48, width: int = 66) -> np.ndarray:
    """Three upright bars of colours that a wrong colour matrix or range would change."""
    picture = np.zeros((height, width, 3), np.uint8)
    for k, colour in enumerate(BARS):
        picture[:, k * width // 3 : (k + 1) * width // 3] = colour
    return picture


@pytest.mark.parametrize("name", KINDS)
def test_every_frame_is_at_its_place_however_it_is_asked_for(tmp_path, monkeypatch, name):
    """In a row, at random, backwards; with next to nothing kept."""
    settings = KINDS[name]
    if settings.get("codec", "libx264") not in av.codecs_available:
        pytest.skip(f"this build of FFmpeg has no {settings['codec']}")
    path = film(tmp_path / name, **settings)
    monkeypatch.setattr(frames, "_KEPT", 0)
    video = open_video(path)
    assert (len(video), video.size, video.name) == (40, (64, 96), path.stem)
    assert video.frame_names[0] == "00000" and video.frame_names[-1] == "00039"
    assert [number_of(video.read_frame(k)) for k in range(40)] == list(range(40))
    order = list(range(40))
    random.Random(name).shuffle(order)
    again = pickle.loads(pickle.dumps(video))
    for k in [*order, *range(39, 25, -1)]:
        assert number_of(again.read_frame(k)) == k
    assert video.first_frame == {} and video.mask(0) is None


def waits_for(leave: threading.Event, work: Callable[..., object], *given: object) -> None:
    asked = threading.Thread(target=work, args=given)
    asked.start()
    asked.join(0.1)
    assert asked.is_alive()
    leave.set()
    asked.join()


PICTURES = {"moving.gif"}  # read as pictures, which are counted at once
WAITING = {"h264.avi", "mpeg4.avi", "bare.h264"}  # the first frame alone does not tell what the others will be like


@pytest.mark.parametrize("name", sorted(KINDS.keys() - WAITING - PICTURES))
def test_the_first_frame_is_there_before_the_others_are_counted(tmp_path, counting, name):
    """With its mask, in a folder or not; and then it is the same film."""
    settings = KINDS[name]
    if settings.get("codec", "libx264") not in av.codecs_available:
        pytest.skip(f"this build of FFmpeg has no {settings['codec']}")
    path = film(tmp_path / name, **settings)
    write_mask(tmp_path / "masks" / "00000.png", mask_of(2))
    for masks in (None, tmp_path / "masks", tmp_path / "masks" / "00000.png"):
        video = open_video(path, masks, every=True)
        first = video.read_frame(0)
        assert not video.counted and (video.size, number_of(first)) == ((64, 96), 0)
        assert video.frame_names[0] == "00000" and "first" not in video.frame_names
    assert video.first_frame == {2: 0} and video.prompt_frames == () and (video.mask(0) == mask_of(2)).all()
    waits_for(counting, len, video)
    assert video.counted and len(video) == len(video.frame_names) == 40
    assert [number_of(video.read_frame(k)) for k in range(1, 40)] == list(range(1, 40))
    assert (video.read_frame(0) == first).all()


@pytest.mark.parametrize("name", sorted(WAITING))
def test_files_that_do_not_tell_times_of_showing_are_counted_first(tmp_path, counting, name):
    path = film(tmp_path / name, **KINDS[name])
    waits_for(counting, open_video, path)


def test_what_is_wrong_with_a_large_file_is_told_when_its_count_is_asked_for(tmp_path, counting):
    path = film(tmp_path / "a.mp4", movflags="faststart")
    video = open_video(path)
    path.write_bytes(path.read_bytes()[:-9])
    counting.set()
    for _ in range(2):
        with pytest.raises(UserError, match="a.mp4: is cut off"):
            len(video)
    assert video.counted


@pytest.mark.parametrize(
    ("name", "single"),
    [
        ("first.png", True),
        ("00000.png", True),
        ("3.png", True),
        ("20240105.png", True),
        ("cam1_00000.png", True),
        ("0.png", False),
        ("cam1_00000.png", False),
        ("00000_00001.png", False),
        ("00000_1.png", False),
        ("1/00000.png", False),
    ],
)
def test_masks_of_the_first_frame_do_not_wait_however_they_are_named(tmp_path, counting, name, single):
    path, mask = film(tmp_path / "a.mkv"), tmp_path / "masks" / name
    write_mask(mask, mask_of(1))
    video = open_video(path, mask if single else tmp_path / "masks", every=True)
    assert not video.counted and video.first_frame == {1: 0} and video.prompt_frames == ()
    assert (video.mask(0) == mask_of(1)).all()


def test_a_file_that_does_not_tell_how_long_it_is(tmp_path, counting):
    path = tmp_path / "live.webm"
    with av.open(str(path), "w", options={"live": "1"}) as container:
        stream = container.add_stream("libvpx", rate=25, options=QUICK)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        for k in range(40):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(numbered(k), format="rgb24")))
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        assert container.duration is None
    video = open_video(path)
    assert not video.counted and number_of(video.read_frame(0)) == 0
    counting.set()
    assert len(video) == 40 and video.frame_names[39] == "00039"


def test_a_stream_that_appears_in_the_middle_is_told(tmp_path, monkeypatch):
    """PyAV 18.1 raises IndexError where a packet is of none of the streams at the beginning."""
    path = film(tmp_path / "a.ts")
    video, open_file = open_video(path), frame_index.open_file

    class Container:
        def __init__(self, path):
            self.container = open_file(path)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.container.close()

        def __getattr__(self, name):
            return getattr(self.container, name)

        def demux(self, stream):
            yield from islice(self.container.demux(stream), 35)
            raise IndexError("list index out of range")

    monkeypatch.setattr(frame_index, "open_file", Container)
    with pytest.raises(UserError, match="a.ts: cannot be read as a video .*another stream"):
        frame_index.find_layout(path, video.read_frame.head)


def test_names_of_frames_are_their_numbers(tmp_path):
    names = open_video(film(tmp_path / "a.mp4")).frame_names
    plain = tuple(f"{k:05d}" for k in range(40))
    assert tuple(names) == plain and names[:] == plain and names[3:7:2] == plain[3:7:2] and names[-1] == plain[-1]
    assert all(name in names and names.index(name) == k for k, name in enumerate(plain))
    for name in ("00040", "0", "-0001", "000000", "bear", "²", "", 0):
        assert name not in names
        with pytest.raises(ValueError, match="no frame is named"):
            names.index(name)
    for k in (40, -41):
        with pytest.raises(IndexError):
            names[k]


def test_what_a_container_says_of_the_number_of_frames_is_not_believed(tmp_path):
    path = film(tmp_path / "a.avi", codec="mpeg4")
    content = bytearray(path.read_bytes())
    assert int.from_bytes(content[48:52], "little") == 40  # of the main header
    for place in (48, content.index(b"vids") + 32):
        content[place : place + 4] = (7777).to_bytes(4, "little")
    path.write_bytes(content)
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 7777
    assert len(open_video(path)) == 40
    uneven = film(tmp_path / "b.mp4", times=lambda k: 10 * k if k < 30 else 300 + 500 * (k - 29))
    with av.open(str(uneven)) as container:
        stream = container.streams.video[0]
        assert abs(float(stream.duration * stream.time_base * stream.guessed_rate) - 40) > 5
    assert len(open_video(uneven)) == 40


def test_frames_that_an_edit_leaves_out_do_not_count(tmp_path):
    """An .mp4 cut without coding it anew begins before the cut, at a key frame."""
    whole = film(tmp_path / "whole.mp4", options={"bf": "2"})
    cut = remuxed(whole, tmp_path / "cut.mp4", lambda k, packet: bytes(packet), shift=-5 * 512)
    with av.open(str(cut)) as container:
        shown = [number_of(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    assert 30 < len(shown) < 40
    video = open_video(cut)
    assert video.read_frame.layout.by == "pts"  # that is, without decoding
    assert [number_of(video.read_frame(k)) for k in range(len(video))] == shown
    assert number_of(video.read_frame(20)) == shown[20]


def test_hidden_frames_of_vp8_do_not_count(tmp_path):
    whole = film(tmp_path / "whole.webm", codec="libvpx", options=QUICK, bit_rate=300000)

    def hide(k: int, packet) -> bytes:
        content = bytearray(bytes(packet))
        content[0] &= 0xFF if k != 7 else ~16
        return bytes(content)

    video = open_video(remuxed(whole, tmp_path / "hidden.webm", hide))
    shown = [k for k in range(40) if k != 7]
    assert video.read_frame.layout.by == "pts"
    assert [number_of(video.read_frame(k)) for k in range(len(video))] == shown
    assert number_of(video.read_frame(20)) == shown[20]


@pytest.mark.parametrize("angle", [0, 90, 180, -90])
@pytest.mark.parametrize("flip", [False, True])
def test_frames_are_turned_as_the_display_matrix_says(tmp_path, angle, flip):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        stream.set_display_rotation(angle, vflip=flip)
        for k in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(numbered(k), format="rgb24")))
        container.mux(stream.encode())
    video = open_video(path)
    expected = np.rot90(numbered(2), angle // 90)
    expected = expected[::-1] if flip else expected
    assert video.size == expected.shape[:2]
    assert abs(video.read_frame(2).astype(int) - expected).mean() < 12


def test_odd_sizes_and_exact_pixels(tmp_path):
    path = film(tmp_path / "odd.mkv", codec="ffv1", pixels="bgr0", size=(65, 97), count=5)
    video = open_video(path)
    assert video.size == (65, 97)
    assert all((video.read_frame(k) == numbered(k, (65, 97))).all() for k in (3, 0, 4))


def test_a_film_of_two_frames_a_day_and_one_of_one_frame(tmp_path):
    slow = film(tmp_path / "slow.mkv", count=4, times=lambda k: 43_200_000 * k)
    assert [number_of(open_video(slow).read_frame(k)) for k in (3, 0)] == [3, 0]
    assert open_video(slow).frame_names[:] == ("00000", "00001", "00002", "00003")
    assert len(open_video(film(tmp_path / "one.mp4", count=1))) == 1


def test_memory_does_not_grow_with_the_film(tmp_path, monkeypatch):
    monkeypatch.setattr(frames, "_KEPT", 10 * 2 * 64 * 96)
    video = open_video(film(tmp_path / "a.mp4", count=200, options={"bf": "3", "g": "100"}))
    gc.collect()
    gc.disable()  # frames go when nothing refers to them, not only when cycles are looked for
    try:
        for k in [*range(200), 5, 150]:
            video.read_frame(k)
            assert len(video.read_frame._kept) <= 10
        alive = [thing for thing in gc.get_objects() if type(thing) is av.VideoFrame]  # isinstance asks proxies
        assert len(alive) <= 12
    finally:
        gc.enable()


def test_threads_and_forks_get_their_own_frames(tmp_path):
    video = open_video(film(tmp_path / "a.mp4"))
    found: dict[int, list[int]] = {}

    def read(seed: int) -> None:
        order = random.Random(seed).sample(range(40), 25)
        found[seed] = [number_of(video.read_frame(k)) - k for k in order]

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(map(tuple, found.values())) == {(0,) * 25} and len(found) == 3
    before = video.read_frame._container
    video.read_frame._process = -1  # as after a fork
    assert number_of(video.read_frame(9)) == 9 and video.read_frame._container is not before


def test_a_damaged_frame_is_told_when_it_is_asked_for_and_the_others_are_read(tmp_path):
    whole = film(tmp_path / "whole.mkv", count=60, codec="ffv1", pixels="bgr0", options={"g": "1"})
    spoilt = remuxed(whole, tmp_path / "spoilt.mkv", lambda k, p: bytes(p) if k != 45 else b"\0" * 9)
    video = open_video(spoilt)
    assert len(video) == 60
    assert [number_of(video.read_frame(k)) for k in (44, 46, 59, 0)] == [44, 46, 59, 0]
    with pytest.raises(UserError, match="spoilt.mkv: frame 45 of 60 cannot be decoded; fetch it again, or write it"):
        video.read_frame(45)
    assert number_of(video.read_frame(50)) == 50


def test_packets_that_give_no_frame_at_the_beginning_make_it_count_by_decoding(tmp_path, caplog):
    whole = film(tmp_path / "whole.mkv", codec="ffv1", pixels="bgr0", options={"g": "1"})
    spoilt = remuxed(whole, tmp_path / "spoilt.mkv", lambda k, p: bytes(p) if k != 5 else b"\0" * 9)
    with caplog.at_level(logging.WARNING):
        video = open_video(spoilt)
    assert "39 frames could be decoded" in caplog.text
    assert [number_of(video.read_frame(k)) for k in (38, 4, 5)] == [39, 4, 6]


def _spoil(folder: Path, what: str) -> Path:
    path = folder / "clip.mp4"
    if what == "folder":
        path.mkdir()
    elif what == "empty":
        path.write_bytes(b"")
    elif what == "text":
        path.write_text("no video\n" * 99)
    elif what == "picture":
        Image.new("RGB", (96, 64)).save(path, format="PNG")
    elif what == "playlist":  # would open another file
        film(folder / "a.ts")
        path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\na.ts\n#EXT-X-ENDLIST\n")
    elif what == "list":
        film(folder / "a.mp4")
        path.write_text("ffconcat version 1.0\nfile a.mp4\n")
    elif what == "sound":
        with wave.open(str(path), "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(8000)
            sound.writeframes(bytes(4000))
    elif what == "no frames":
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
            container.start_encoding()
    elif what == "huge":
        film(path, codec="ffv1", pixels="gray", size=(64, 96), count=1)
        content = bytearray(path.read_bytes())
        at = content.index(b"FFV1") + 28  # width and height in the sample description
        content[at : at + 4] = (10**4).to_bytes(2, "big") * 2
        path.write_bytes(content)
    elif what != "missing":
        ending, flags = what.split()[1], "faststart" if "front" in what else None
        path = film(folder / f"clip{ending}", movflags=flags)
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 5])
    return path


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("missing", "does not exist; give the path of a video file"),
        ("folder", "is a folder; give the path"),
        ("empty", "cannot be read as a video"),
        ("text", "cannot be read as a video"),
        ("picture", "cannot be read as a video"),
        ("playlist", "cannot be read as a video"),
        ("list", "cannot be read as a video"),
        ("sound", "no video in this file, only audio"),
        ("no frames", "cannot be read as a video|without a frame|no video"),
        ("huge", "more than 64 megapixels"),
        ("cut .mp4", "is cut off: [0-9]+ bytes of at least"),
        ("cut .mp4 front", "is cut off"),
        ("cut .mkv", "is cut off"),
        ("cut .avi", "is cut off"),
    ],
)
def test_what_is_no_whole_video_is_told(tmp_path, what, message):
    path = _spoil(tmp_path, what)
    with pytest.raises(UserError, match=message) as caught:
        open_video(path)
    assert str(path) in str(caught.value)


def test_without_pyav_it_is_said_what_to_install(tmp_path, monkeypatch):
    path = film(tmp_path / "a.mp4", count=2)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"pip install 'eosvos\[video\]'"):
        open_video(path)


def mask_of(*ids: int, size: tuple[int, int] = (64, 96)) -> np.ndarray:
    mask = np.zeros(size, np.uint8)
    for k, number in enumerate(ids):
        mask[4:30, 4 + 20 * k : 20 + 20 * k] = number
    return mask


def test_masks_of_a_video(tmp_path, caplog):
    path = film(tmp_path / "clip.mp4")
    write_mask(tmp_path / "first.png", mask_of(1, 3))
    with caplog.at_level(logging.INFO):
        video = open_video(path, tmp_path / "first.png")
    assert caplog.messages == ["masks: palette images, the index is the id (clip)"]
    assert video.first_frame == {1: 0, 3: 0} and not video.has_ground_truth and len(video.files) == 2
    assert (video.mask(0) == mask_of(1, 3)).all() and video.mask(1) is None
    masks = {"0": mask_of(2), "frame_0012": mask_of(2, 4), "39": mask_of(4)}
    for stem, mask in masks.items():
        write_mask(tmp_path / "masks" / f"{stem}.png", mask)
    write_json(tmp_path / "masks.json", masks.items())
    for given in ("masks", "masks.json"):
        video = pickle.loads(pickle.dumps(open_video(path, tmp_path / given, name="v")))
        assert video.first_frame == {2: 0, 4: 12} and video.has_ground_truth and video.name == "v"
        assert (video.mask(12) == masks["frame_0012"]).all() and (video.mask(39) == mask_of(4)).all()
        assert video.mask(13) is None and list(video.new_objects(12)) == [4]


def test_masks_that_do_not_fit_the_video_are_told(tmp_path):
    path = film(tmp_path / "clip.mp4")

    def refused(message: str, masks: Path) -> None:
        with pytest.raises(UserError, match=message) as caught:
            open_video(path, masks)
        assert str(masks) in str(caught.value)

    refused("no mask there; give an image", tmp_path / "nothing")
    refused("missing", tmp_path / "nothing.png")
    write_mask(tmp_path / "size.png", mask_of(1, size=(96, 64)))
    refused("is 64x96 pixels, but its sequence is 96x64", tmp_path / "size.png")
    write_mask(tmp_path / "none.png", mask_of())
    refused("first mask is empty", tmp_path / "none.png")
    write_mask(tmp_path / "late" / "00040.png", mask_of(1))
    refused("00040 has no frame: the 40 frames are numbered from 0", tmp_path / "late")
    write_mask(tmp_path / "named" / "bear.png", mask_of(1))
    refused("bear has no frame", tmp_path / "named")
    for stem in ("7", "007"):
        write_mask(tmp_path / "twice" / f"{stem}.png", mask_of(1))
    refused("two masks for frame 00007", tmp_path / "twice")
    videos = [{"id": k, "height": 64, "width": 96, "file_names": [f"{k}/0.jpg"]} for k in range(2)]
    annotations = [{"id": 1, "video_id": k, "segmentations": [None]} for k in range(2)]
    (tmp_path / "m.json").write_text(json.dumps({"videos": videos, "annotations": annotations}))
    refused("several videos", tmp_path / "m.json")


@pytest.mark.parametrize("name", ["a.mp4", "new folder/ü b.mkv", "c.mov", "d.avi"])
@pytest.mark.parametrize("size", [(48, 66), (47, 65)])
def test_written_videos_have_the_frames_the_colours_and_the_rate(tmp_path, name, size):
    path = tmp_path / name
    write_video(path, (np.roll(bars(*size), k, 0) for k in range(7)), 12.5)
    video = open_video(path)
    assert len(video) == 7 and video.size == (48, 66)
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == 12.5
    for k, colour in enumerate(BARS):
        assert abs(video.read_frame(3)[20, 11 + 22 * k].astype(int) - colour).max() <= 4
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_nothing_half_written_is_left(tmp_path):
    def broken():
        yield bars()
        raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        write_video(tmp_path / "a.mp4", broken())
    with pytest.raises(ValueError, match="no frames"):
        write_video(tmp_path / "a.mp4", [])
    for wrong in ([bars(), bars(50)], [bars().astype(np.float32)], [bars()[..., 0]]):
        with pytest.raises(ValueError, match="uint8"):
            write_video(tmp_path / "a.mp4", wrong)
    assert not list(tmp_path.iterdir())


def test_where_a_video_cannot_be_written_is_told(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="a.gif.*as .mp4"):
        write_video(tmp_path / "a.gif", [bars()])
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write_video(tmp_path / "file" / "a.mp4", [bars()])
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"pip install 'eosvos\[video\]'"):
        write_video(tmp_path / "a.mp4", [bars()])
