"""A window around an object: the part of a frame that the network sees, so that objects of any size fill it alike.

Training and testing place the window by the same function. The paper has none: its network sees whole frames (e-OSVOS,
section 4.2), in which a small object covers only a few pixels of the feature maps.
"""

from __future__ import annotations

from collections.abc import Sequence

Rectangle = tuple[int, int, int, int]  # x0, y0, x1, y1 in pixels, exclusive maximum

SMALLEST = 1 / 3
"""Least side of a window as a share of the network's: a smaller one would show interpolated pixels alone."""


def window_about(box: Sequence[float], frame: tuple[int, int], network: tuple[int, int], factor: float) -> Rectangle:
    """Place a window around a box.

    Args:
        box: x0, y0, x1, y1 of the object in pixels of the frame; it may extend beyond the frame.
        frame: height and width of the frame in pixels.
        network: short and long side of the network's images in pixels; the long one lies along the frame's long side.
        factor: sides of the window in sides of the box. 0: the whole frame.

    Returns:
        x0, y0, x1, y1 of the window in whole pixels, within the frame. Its sides are at least `factor` times those of
        the box, and larger where the network's aspect ratio needs it and the frame allows it.
    """
    height, width = frame
    if factor <= 0:
        return 0, 0, width, height
    short, long = network
    rows, columns = (short, long) if width >= height else (long, short)
    wide = min(max(factor * (box[2] - box[0]), SMALLEST * columns), width)
    high = min(max(factor * (box[3] - box[1]), SMALLEST * rows), height)
    wide, high = min(max(wide, high * columns / rows), width), min(max(high, wide * rows / columns), height)
    x0, x1 = _span((box[0] + box[2]) / 2, wide, width)
    y0, y1 = _span((box[1] + box[3]) / 2, high, height)
    return x0, y0, x1, y1


def widened(window: Rectangle, frame: tuple[int, int], factor: float) -> Rectangle:
    """Enlarge a window by `factor` about its centre and clip it to the frame.

    Args:
        window: x0, y0, x1, y1 in pixels, exclusive maximum.
        frame: height and width of the frame in pixels.
        factor: new sides in old sides.
    """
    x0, y0, x1, y1 = window
    right, down = (x1 - x0) * (factor - 1) / 2, (y1 - y0) * (factor - 1) / 2
    left, top = max(0, round(x0 - right)), max(0, round(y0 - down))
    return left, top, min(frame[1], round(x1 + right)), min(frame[0], round(y1 + down))


def _span(middle: float, length: float, limit: int) -> tuple[int, int]:
    """Start and end of `length` pixels about `middle`, moved so that they lie within 0 to `limit`."""
    pixels = min(max(1, round(length)), limit)
    start = min(max(round(middle - pixels / 2), 0), limit - pixels)
    return start, start + pixels
