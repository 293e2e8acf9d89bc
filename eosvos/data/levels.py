"""Conversion of pixels of more than 8 bits to 8 bits: which values become 0 and 255.

Sensors fill a small part of what 16 bits can hold, so mapping the full range to 0 to 255 would leave two or three grey
levels. The setting `levels`, for images and videos:

    auto          8-bit pixels are kept. Others: the range of values of the first `LOOKED_AT` frames, extended by
                  `_MARGIN` of it at both ends; the same for all frames, so that brightness does not
                  flicker
    full          the full range of the file's data type
    [low, high]   in the file's own units; also applied to 8-bit pixels

The range depends on the first frames alone, whichever frame is read first. Values outside become 0 or 255.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from eosvos.errors import UserError

log = logging.getLogger(__name__)

LOOKED_AT = 8  # frames
_MARGIN = 0.1  # of the span of values
_OUTER = 0.01  # percent of the pixels at each end that do not count, as hot ones do not

Levels = str | tuple[float, float]
Span = tuple[float, float]  # what becomes 0, what becomes 255


def parse_levels(value: Any) -> Levels:
    """Check a value of the setting `levels`.

    Returns:
        "auto", "full", or the two values as floats.

    Raises:
        UserError: for any other value.
    """
    if value in ("auto", "full"):
        return str(value)
    numbers = [float(v) for v in value if _is_number(v)] if isinstance(value, list | tuple) else []
    if len(numbers) != 2 or not isinstance(value, list | tuple) or len(value) != 2 or not numbers[0] < numbers[1]:
        raise UserError(
            f"levels={value}: expected auto, full or two values of pixels, the one that becomes black and the one that"
            " becomes white, say levels=[7000,9000]"
        )
    return numbers[0], numbers[1]


def choose_span(path: Path, levels: Levels, frames: Iterable[np.ndarray], full: Span) -> Span:
    """Choose the pixel values that become 0 and 255 in a video of more than 8 bits, and log them.

    Args:
        path: the video, for the message.
        levels: the setting.
        frames: stored pixels of the frames, from the first one on; only as many are taken as needed.
        full: smallest and largest value that a pixel can hold.
    """
    if isinstance(levels, tuple):
        return levels
    if levels == "full":
        log.info("%s: pixels of more than 8 bits: %g becomes 0 and %g becomes 255 (levels=full)", path, *full)
        return full
    span = measure_span(frames, full)
    if span is None:
        log.warning(
            "%s: pixels of more than 8 bits, the first %d frames of one value: %g becomes 0 and %g becomes 255, all"
            " that they can hold; say otherwise with levels=[low,high]",
            path,
            LOOKED_AT,
            *full,
        )
        return full
    log.warning(
        "%s: pixels of more than 8 bits: %g becomes 0 and %g becomes 255, by the first frames (levels=auto); say"
        " otherwise with levels=[low,high], in these values, or levels=full",
        path,
        *span,
    )
    return span


def measure_span(frames: Iterable[np.ndarray], full: Span, margin: float = _MARGIN) -> Span | None:
    """Measure the range of values of the first `LOOKED_AT` frames.

    Args:
        frames: stored pixels, (H, W) or (H, W, 3) each.
        full: smallest and largest value that a pixel can hold.
        margin: share of the range by which it is extended at both ends.

    Returns:
        The two ends of the extended range, or None if all pixels have one value.
    """
    low, high, whole = np.inf, -np.inf, True
    for pixels in islice(frames, LOOKED_AT):
        values: np.ndarray = np.asarray(pixels, np.float32)
        whole = whole and pixels.dtype.kind in "iu"
        finite = np.isfinite(values)
        if finite.any():
            if not finite.all():
                values = np.where(finite, values, np.median(values[finite]))
            if min(values.shape[:2]) >= 3:
                values = cv2.medianBlur(values, 3)  # single hot or dead pixels are none of the scene
            ends = np.percentile(values, (_OUTER, 100 - _OUTER), method="nearest")
            low, high = min(low, float(ends[0])), max(high, float(ends[1]))
    if not low < high:
        return None
    wide = margin * (high - low)
    low, high = low - wide, high + wide
    if whole:
        low, high = max(low, full[0]), min(high, full[1])
    return float(f"{low:.6g}"), float(f"{high:.6g}")


def to_8_bits(pixels: np.ndarray, span: Span) -> np.ndarray:
    """Convert pixels of any type to uint8, so that the ends of `span` become 0 and 255, and NaN becomes 0."""
    low, high = span
    values = (pixels.astype(np.float32) - low) * (255 / (high - low))
    return np.nan_to_num(values, nan=0, posinf=255, neginf=0).clip(0, 255).round().astype(np.uint8)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))
