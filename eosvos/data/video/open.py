"""Video files by PyAV, an extra (pip install 'eosvos[video]'): as a sequence, and written."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from eosvos.data.levels import Levels
from eosvos.data.mask_files.appearances import appearances
from eosvos.data.mask_files.formats import read_named, tell
from eosvos.data.mask_files.match_frames import place
from eosvos.data.sequence import Numbered, Sequence
from eosvos.data.video import container
from eosvos.data.video.container import pyav
from eosvos.data.video.frames import opened
from eosvos.data.video.stacks import is_picture, open_stack
from eosvos.errors import UserError
from eosvos.files import atomic

_CODECS = ("libx264", "h264", "mpeg4")  # best first: what a build of FFmpeg has


def open_video(
    path: str | Path,
    masks: str | Path | None = None,
    *,
    name: str | None = None,
    binary: bool | None = None,
    every: bool = False,
    levels: Levels = "auto",
    absent: str | None = None,
) -> Sequence:
    """Open a video file, or one of several pictures (stacks.py), as a sequence; frames are named by their numbers,
    00000, 00001, ...

    `masks`: an image, the mask of the first frame; or a folder or JSON file of masks in any form of
    mask_files/formats.py or mask_files/json_files.py, each named by its frame's number; None: there are no objects.
    `binary`: all that is not 0 in a mask is one object; None takes it so where there is nothing but 0 and 255. What
    masks were taken for is logged. `every`: a method is given all masks (`Sequence.given`), and those before the first
    object may be empty, to say that it is not there yet. `levels`: of frames of more than 8 bits, see levels.py.
    `absent`: what masks tell of objects that they do not show, see `open_own`.

    The first frame, and its mask, are there at once however long the video is: see `Numbered` and frames.py.

    Raises UserError where PyAV is missing; for a file that is missing, no video, only sound, cut off, too large or
    damaged in its first frame; for masks as open_masks does, of another size, without an object or without a frame.
    """
    path = Path(path).expanduser()
    if not path.is_file() or not is_picture(path):
        film = opened(path, levels)
        height, width, _ = film(0).shape
        size, count = (height, width), film.count
        frames: Callable[[int], np.ndarray] = film
        names = Numbered(max(5, len(str(count.about - 1))), lambda: count.layout.count, lambda: count.known)
    else:
        frames = stack = open_stack(path, levels)
        size = stack.size
        names = Numbered(max(5, len(str(len(stack) - 1))), lambda: len(stack), lambda: True)
    if masks is None:
        return Sequence(name or path.stem, names, size, {}, frames, _no_mask, (path,))
    given = place(Path(masks).expanduser(), names, size, binary=binary, absent=absent)
    tell({name or path.stem: given})
    order = sorted((int(frame), frame) for frame in given.files)
    found = appearances(given, order, every=every, absent=absent)
    return Sequence(
        name=name or path.stem,
        frame_names=names,
        size=size,
        objects=found.objects,
        read_frame=frames,
        read_mask=partial(read_named, given, names, size),
        shared=given.shared,
        files=(path, *dict.fromkeys(file for files in given.files.values() for file in files)),
        truth=len(given.files) > 1,
        given=found.given,
        told_of=found.told_of,
    )


def frame_rate(path: Path) -> float:
    """Frames per second of a file that `open_video` opens, the mean where they vary; 24 where it does not say."""
    return open_stack(path).rate if is_picture(path) else container.frame_rate(path)


def _no_mask(index: int) -> None:
    return None


def write_video(path: str | Path, frames: Iterable[np.ndarray], fps: float = 24.0, *, quality: int = 20) -> None:
    """Write frames, uint8 (H, W, 3) RGB of one size, as a video of `fps` frames per second, atomically.

    H.264 where FFmpeg can write it, else MPEG-4; 4:2:0 in the colours of BT.709. These have even sizes only: an odd
    last row or column is repeated. `quality` is H.264's constant rate factor, 0 (lossless) to 51. The ending of `path`
    chooses the container. Frames are taken one by one, so they may come from a generator.

    Raises UserError where PyAV is missing, the ending is unknown or the file cannot be written; ValueError for frames
    of another kind, of several sizes, or none at all.
    """
    av = pyav()
    path = Path(path)
    if path.suffix.lower() not in (".mp4", ".mkv", ".mov", ".avi"):
        raise UserError(f"{path}: a video is written as .mp4, .mkv, .mov or .avi; give it one of these endings")
    codec = next(name for name in _CODECS if name in av.codecs_available and av.Codec(name, "w").is_encoder)
    rate = Fraction(fps).limit_denominator(1001)
    size: tuple[int, ...] | None = None
    with atomic(path) as temporary:
        with av.open(str(temporary), "w") as container:
            stream = container.add_stream(codec, rate=rate)
            for pixels in frames:
                if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape != (*(size or pixels.shape[:2]), 3):
                    raise ValueError(f"a frame is uint8 (H, W, 3), all of one size, not {pixels.dtype} {pixels.shape}")
                if size is None:
                    size = pixels.shape[:2]
                    _describe(stream, size, quality if codec == "libx264" else None)
                even = np.pad(pixels, ((0, size[0] % 2), (0, size[1] % 2), (0, 0)), mode="edge")
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
                # from_ndarray says full range, and the planes of a video are of the limited one
                container.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace=1, dst_color_range=1)))
            if size is None:
                raise ValueError("no frames to write")
            container.mux(stream.encode())


def _describe(stream: Any, size: tuple[int, ...], quality: int | None) -> None:
    stream.height, stream.width = size[0] + size[0] % 2, size[1] + size[1] % 2
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.colorspace, context.color_primaries, context.color_trc, context.color_range = 1, 1, 1, 1
    if quality is None:
        stream.bit_rate = 8 * stream.height * stream.width
    else:
        stream.options = {"crf": str(quality)}
