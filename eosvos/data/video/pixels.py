"""Decoded video frames as 8-bit RGB, and warnings for properties of a file that change what is seen.

The colour matrix and range are those that the frame names. Without a matrix it is that of HD video (BT.709) from
1280x577 pixels on, else that of SD (BT.601), as in players. Grey and RGB of more than 8 bits hold sensor values and are
scaled (levels.py); YUV of 10 and 12 bits is shown as players show it.
"""

from __future__ import annotations

import logging
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from eosvos.data.levels import Levels, Span, choose_span, measure_span, to_8_bits

log = logging.getLogger(__name__)

_HDR = {16: "PQ", 18: "HLG"}  # transfer curves, as FFmpeg numbers them
_UNKNOWN, _BT709 = 2, 1  # colour matrices, likewise
_NARROW = 0.25  # of what YUV can hold


def rgb(frame: Any, span: Span | None) -> np.ndarray:
    """Convert a decoded frame to uint8 (H, W, 3), RGB, with transparent parts on black.

    Args:
        frame: the frame.
        span: pixel values that become 0 and 255; None: as players show them.
    """
    if span is not None:
        pixels = to_8_bits(raw_values(frame), span)
        return np.repeat(pixels[..., None], 3, -1) if pixels.ndim == 2 else pixels
    if not has_alpha(frame):
        return _converted(frame, "rgb24")
    pixels = _converted(frame, "rgba")
    alpha = pixels[..., 3:]
    if alpha.min() == 255:
        return np.ascontiguousarray(pixels[..., :3])
    return ((pixels[..., :3].astype(np.uint16) * alpha + 127) // 255).astype(np.uint8)


def raw_values(frame: Any) -> np.ndarray:
    """Return pixels in the units of the file: (H, W) of grey, else (H, W, 3) RGB."""
    name, bits = frame.format.name, _bits(frame)
    if _is_grey(frame):
        if not name.startswith("gray"):
            return _converted(frame, "gray16le" if bits > 8 else "gray")
        return frame.to_ndarray()
    if name in ("gbrpf32le", "gbrpf32be"):
        return frame.to_ndarray()
    if bits <= 8:
        return _converted(frame, "rgb24")
    return _converted(frame, "rgb48le") * np.float32((2**bits - 1) / 65535)


def has_alpha(frame: Any) -> bool:
    """Return whether a frame may have transparent pixels."""
    return any(part.is_alpha for part in frame.format.components) or frame.format.has_palette


def span_of_video(path: Path, frames: list[Any], levels: Levels) -> Span | None:
    """Choose the pixel values that become 0 and 255 in a video, and log them.

    Args:
        path: the file, for the message.
        frames: decoded frames, from the first one on.
        levels: the setting, see levels.py.

    Returns:
        The two values, or None if pixels are read as players show them.
    """
    frame = frames[0]
    bits, grey = _bits(frame), _is_grey(frame)
    if isinstance(levels, tuple):
        return levels
    if bits <= 8 or "bayer" in frame.format.name:
        return None
    full = (0.0, 1.0) if bits == 32 else (0.0, 2.0**bits - 1)
    if grey or (frame.format.is_rgb and not frame.format.name.startswith("xyz")):
        return choose_span(path, levels, map(raw_values, frames), full)
    measured = measure_span(map(raw_values, frames), full, margin=0)
    if measured is not None and measured[1] - measured[0] < _NARROW * full[1] and levels == "auto":
        log.warning(
            "%s: a video of %d bits, which is read as players show it; but the first frames have values of %g to %g"
            " alone, of 0 to %g: if these are a sensor's, say levels=[%g,%g]",
            path,
            bits,
            *measured,
            full[1],
            *measured,
        )
    return None


def log_conversions(
    path: Path, stream: Any, frames: list[Any], turn: tuple[int, int, int, int], seconds: list[float]
) -> None:
    """Log how pixels and times are read differently from what the file or players say.

    Args:
        path: the file.
        stream: its video stream.
        frames: the first decoded frames.
        turn: the display matrix, see `frame_index.Head`.
        seconds: presentation times of the first frames.
    """
    context, frame = stream.codec_context, frames[0]
    width, height = frame.width, frame.height
    others = [s for s in stream.container.streams.video if s.index != stream.index]
    if others:
        log.warning("%s: has %d other video streams or pictures; stream %d is read", path, len(others), stream.index)
    if turn != (1, 0, 0, 1) and turn[:1] + turn[3:] != (65536, 65536):
        a, b, c, d = turn
        straight = (a == d == 0) or (b == c == 0)
        log.warning(
            "%s: frames are turned or mirrored as the file says%s; masks are expected, and written, for turned ones",
            path,
            "" if straight else ", by the nearest quarter",
        )
    ratio = frame_ratio(stream)
    if ratio != 1:
        log.warning(
            "%s: pixels are not square (%g:1), players show %dx%d as %dx%d; frames and masks are taken, and masks"
            " written, in the file's own %dx%d pixels. For square ones: ffmpeg -i OLD -vf scale=iw*sar:ih,setsar=1 NEW",
            path,
            ratio,
            width,
            height,
            round(width * ratio),
            height,
            width,
            height,
        )
    if any(f.interlaced_frame for f in frames):
        log.warning(
            "%s: is interlaced: a frame holds two moments, and what moves has combed edges, in frames and masks; better"
            " before: ffmpeg -i OLD -vf bwdif NEW",
            path,
        )
    curve = _HDR.get(int(context.color_trc)) or _HDR.get(int(frame.color_trc))
    if curve is not None:
        log.warning(
            "%s: a video of high dynamic range (%s), whose colours are not converted: frames look pale, as perhaps they"
            " did not where masks were made; better convert it to BT.709 before",
            path,
            curve,
        )
    if has_alpha(frame) and _converted(frame, "rgba")[..., 3].min() < 255:
        log.warning("%s: transparent parts are read as shown on black", path)
    if str(stream.metadata.get("alpha_mode", stream.metadata.get("ALPHA_MODE", ""))) == "1" and not has_alpha(frame):
        log.warning("%s: has transparency, which is not decoded: colours below it are read", path)
    steps = [b - a for a, b in pairwise(sorted(seconds))]
    if steps and max(steps) > 1.5 * max(min(steps), 1e-6):
        log.warning(
            "%s: frames come at varying intervals (%.3g to %.3g s); each gets its mask, and an overlay shows them at"
            " the mean rate",
            path,
            min(steps),
            max(steps),
        )


def frame_ratio(stream: Any) -> float:
    """Return width by height of a pixel; 1 if the file does not say."""
    ratio = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    return float(ratio) if ratio and 0.1 < ratio < 10 else 1.0


def _converted(frame: Any, form: str) -> np.ndarray:
    large = frame.width >= 1280 or frame.height > 576
    unknown = int(frame.colorspace) == _UNKNOWN and not frame.format.is_rgb
    how = {"src_colorspace": _BT709} if unknown and large else {}
    return frame.reformat(format=form, **how).to_ndarray()


def _bits(frame: Any) -> int:
    return max(part.bits for part in frame.format.components)


def _is_grey(frame: Any) -> bool:
    return sum(not part.is_alpha for part in frame.format.components) == 1 and not frame.format.has_palette
