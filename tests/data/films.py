"""Small video files whose frames show their own numbers."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

BITS = 8  # squares of a frame's number, black or white; frames are 64 x 96 or larger


def numbered(number: int, size: tuple[int, int] = (64, 96)) -> np.ndarray:
    """Frame `number`: a gradient that moves, and the number's bits in squares of 12 pixels."""
    y, x = np.mgrid[: size[0], : size[1]]
    picture = np.stack([60 + 0 * x, 40 + (x + 3 * number) % 128, 40 + (y + number) % 128], -1).astype(np.uint8)
    for bit in range(BITS):
        picture[8:20, 12 * bit : 12 * bit + 12] = 255 * (number >> bit & 1)
    return picture


def number_of(pixels: np.ndarray) -> int:
    """What `numbered` wrote into a frame."""
    return sum(int(pixels[14, 12 * bit + 6].mean() > 127) << bit for bit in range(BITS))


def film(
    path: Path,
    *,
    count: int = 40,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    size: tuple[int, int] = (64, 96),
    pixels: str = "yuv420p",
    times: Callable[[int], int] | None = None,
    movflags: str | None = None,
    **stream_settings: Any,
) -> Path:
    """Write a film. times: when frame k is shown, in ms (25 frames per second without)."""
    import av

    with av.open(str(path), "w", options={"movflags": movflags} if movflags else {}) as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = *size, pixels
        stream.options = {"g": "12", **(options or {})}
        stream.codec_context.time_base = Fraction(1, 1000) if times else Fraction(1, 25)
        for name, value in stream_settings.items():
            setattr(stream.codec_context, name, value)
        for k in range(count):
            frame = av.VideoFrame.from_ndarray(numbered(k, size), format="rgb24")
            frame.pts, frame.time_base = times(k) if times else k, stream.codec_context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def remuxed(source: Path, target: Path, change: Callable[[int, Any], bytes | None], shift: int = 0) -> Path:
    """Copy the packets of a film: `change(k, packet)` gives the content of packet k, None to leave it out."""
    import av

    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        for k, packet in enumerate(p for p in old.demux(stream) if p.size):
            content = change(k, packet)
            if content is None:
                continue
            made = av.Packet(content)
            made.stream, made.time_base, made.is_keyframe = copy, packet.time_base, packet.is_keyframe
            made.pts, made.dts, made.duration = packet.pts + shift, packet.dts + shift, packet.duration
            new.mux(made)
    return target
