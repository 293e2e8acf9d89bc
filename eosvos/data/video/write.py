"""Writes frames as a video file, by PyAV (pip install 'eosvos[video]')."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from eosvos.data.video.container import pyav
from eosvos.errors import UserError
from eosvos.files import atomic

_CODECS = ("libx264", "h264", "mpeg4")  # best first: what a build of FFmpeg has


def write_video(path: str | Path, frames: Iterable[np.ndarray], fps: float = 24.0, *, quality: int = 20) -> None:
    """Write frames as a video, atomically.

    H.264 if FFmpeg can write it, else MPEG-4; 4:2:0 in the colours of BT.709. These have even sizes only, so an odd
    last row or column is repeated.

    Args:
        path: the file; its extension chooses the container.
        frames: uint8 (H, W, 3), RGB, of one size; taken one by one, so they may come from a generator.
        fps: frames per second.
        quality: constant rate factor of H.264, 0 (lossless) to 51.

    Raises:
        UserError: if PyAV is missing, the extension is unknown or the file cannot be written.
        ValueError: if a frame has another dtype or shape, or there are none.
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
