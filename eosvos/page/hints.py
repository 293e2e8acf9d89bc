"""A first mask for the page: hints as they come from a browser, checked, and the mask made of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from eosvos.errors import UserError
from eosvos.inference.first_mask import Points, draw_strokes, mask_from_hints
from eosvos.page.answers import parse_object

LARGEST_HINTS = 1 << 20  # bytes of JSON
_MOST_POINTS = 20_000


def mask_of_request(image: np.ndarray, body: bytes) -> np.ndarray:
    """Make a mask from a request: JSON, and behind a line end, if there is one, a mask to correct.

    Args:
        image: uint8 (H, W, 3), RGB.
        body: {"box": [x0, y0, x1, y1] or null, "inside": STROKES, "outside": STROKES, "radius": R} in pixels of the
            frame, STROKES being lists of points [x, y]; then a byte per pixel, not 0 where the mask is.

    Returns:
        uint8 (H, W), 1 where the object is.

    Raises:
        UserError: if the request is not of this form.
    """
    text, _, plane = body.partition(b"\n")
    words, (height, width) = parse_object(text), image.shape[:2]
    if plane and len(plane) != height * width:
        raise UserError(f"a mask of {len(plane)} bytes; expected {width}x{height}")
    start = np.frombuffer(plane, np.uint8).reshape(height, width) > 0 if plane else None
    box, radius = words.get("box"), words.get("radius", 3)
    if box is not None and (not _numbers(box, 4) or box[0] >= box[2] or box[1] >= box[3]):
        raise UserError(f"box={str(box)[:60]}: expected [x0, y0, x1, y1] with x0 < x1 and y0 < y1")
    if box is not None and (box[0] >= width or box[1] >= height or box[2] <= 0 or box[3] <= 0):
        raise UserError(f"box={str(box)[:60]}: expected one on the frame, {width}x{height}")
    if not _numbers([radius], 1) or not 0 <= radius <= max(height, width):
        raise UserError(f"radius={str(radius)[:60]}: expected pixels, at most {max(height, width)}")
    inside, outside = (
        draw_strokes(_strokes(words.get(name, []), name), radius, (height, width)) for name in ("inside", "outside")
    )
    try:
        found = mask_from_hints(
            image,
            box=None if box is None else (box[0], box[1], box[2], box[3]),
            inside=inside,
            outside=outside,
            start=start,
        )
    except ValueError as error:
        raise UserError(str(error)) from error
    return found.astype(np.uint8)


def _strokes(strokes: Any, name: str) -> list[Points]:
    good = isinstance(strokes, list) and all(
        isinstance(stroke, list) and stroke and all(_numbers(point, 2) for point in stroke) for stroke in strokes
    )
    if not good or sum(map(len, strokes)) > _MOST_POINTS:
        raise UserError(f"{name}={str(strokes)[:60]}: expected strokes, lists of at most {_MOST_POINTS} points [x, y]")
    return strokes


def _numbers(values: Any, count: int) -> bool:
    """Return whether these are so many finite numbers, of a size that pixels can have."""
    return (
        isinstance(values, list)
        and len(values) == count
        and all(type(v) in (int, float) and math.isfinite(v) and abs(v) < 1e6 for v in values)
    )
