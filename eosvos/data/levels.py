"""Pixels of more than 8 bits: which of their values become 0 and 255.

Sensors fill a small part of what 16 bits can hold, so that taking the whole for 0 to 255 leaves two or three levels.
`levels`, one setting for pictures and videos:

    auto          of 8 bits as they are. More: from the darkest to the brightest value of the first `LOOKED_AT` frames,
                  and `_MARGIN` of that more at both ends; the same for all frames, so that brightness does not flicker
    full          all that the file's pixels can hold
    [low, high]   in the file's own units; also of 8 bits

It depends on the first frames alone, whichever frame is read first. Values outside become 0 or 255.
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
    """`value` as a setting. Raises UserError for any other than auto, full and [low, high]."""
    if value in ("auto", "full"):
        return str(value)
    numbers = [float(v) for v in value if _is_number(v)] if isinstance(value, list | tuple) else []
    if len(numbers) != 2 or not isinstance(value, list | tuple) or len(value) != 2 or not numbers[0] < numbers[1]:
        raise UserError(
            f"levels={value}: expected auto, full or two values of pixels, the one that becomes black and the one that"
            " becomes white, say levels=[7000,9000]"
        )
    return numbers[0], numbers[1]


def span_of(path: Path, levels: Levels, frames: Iterable[np.ndarray], full: Span) -> Span:
    """The range of values of a video of more than 8 bits, told in the log.

    frames: its pixels as they are stored, from the first one on; those that are not needed are not asked for.
    full: what pixels can hold.
    """
    if isinstance(levels, tuple):
        return levels
    if levels == "full":
        log.info("%s: pixels of more than 8 bits: %g becomes 0 and %g becomes 255 (levels=full)", path, *full)
        return full
    span = measured(frames, full)
    if span is None:
        log.warning(
            "%s: pixels of more than 8 bits, the first %d frames of one value: %g becomes 0 and %g becomes 255, all"
            " that they can hold; say otherwise with levels=[low,high]", path, LOOKED_AT, *full,
        )  # fmt: skip
        return full
    log.warning(
        "%s: pixels of more than 8 bits: %g becomes 0 and %g becomes 255, by the first frames (levels=auto); say"
        " otherwise with levels=[low,high], in these values, or levels=full", path, *span,
    )  # fmt: skip
    return span


def measured(frames: Iterable[np.ndarray], full: Span, margin: float = _MARGIN) -> Span | None:
    """From the lowest to the highest value of the first frames, and `margin` of that more; None of a single value."""
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


def scaled(pixels: np.ndarray, span: Span) -> np.ndarray:
    """uint8 of pixels of any type: the span's ends become 0 and 255; what is no number becomes 0."""
    low, high = span
    values = (pixels.astype(np.float32) - low) * (255 / (high - low))
    return np.nan_to_num(values, nan=0, posinf=255, neginf=0).clip(0, 255).round().astype(np.uint8)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))
