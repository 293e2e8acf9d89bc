"""J and F of up to four objects at once, with one bit of an image for each of their masks.

An image "planes" is uint8 (H, W): bit k is set where the prediction has object k, bit k + 4 where the truth has it.
An operation on a pixel then acts on eight masks, and a dilation by a disk is a few dozen shifts of the whole image
(docs/results/metrics.md has the speed). NumPy and OpenCV only.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

GROUP = 4  # objects in an image
_BITS = np.arange(256)[:, None] >> np.arange(8) & 1  # (256, 8): which bits a value has


def compare(planes: np.ndarray, radius: int) -> list[tuple[float, float]]:
    """Compute J and F of the four objects of an image.

    Args:
        planes: uint8 (H, W), see the module. A crop must keep one pixel around all masks, as far as the frame goes.
        radius: largest distance in pixels at which contours match.

    Returns:
        (J, F) of each object, in [0, 1]; both are 1 for an object that is in neither mask.
    """
    x, y, w, h = cv2.boundingRect(planes)
    if not w or not h:
        return [(1.0, 1.0)] * GROUP
    planes = planes[max(y - 1, 0) : y + h + 1, max(x - 1, 0) : x + w + 1]
    lengths, matched = _match(planes, radius)
    scores = []
    for k in range(GROUP):
        both = np.uint8(0x11 << k)
        either = planes & both
        union = cv2.countNonZero(either)
        region = np.count_nonzero(either == both) / union if union else 1.0
        if not lengths[k] or not lengths[k + 4]:  # no contour: also where a mask fills the frame
            contour = float(lengths[k] == lengths[k + 4])
        else:
            precision, recall = matched[k] / lengths[k], matched[k + 4] / lengths[k + 4]
            contour = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
        scores.append((region, contour))
    return scores


def _match(planes: np.ndarray, radius: int) -> tuple[list[int], list[int]]:
    """Count, for each of the eight masks, its contour pixels, and those within `radius` of the other side's contour."""
    h, w = planes.shape
    # The rows lie behind one another with `radius` zeros before each and after the last: nothing that is shifted along
    # the line by at most that comes from one row to another's pixels, and nothing is lost at its ends.
    stride = w + radius
    line = np.zeros(h * stride + radius, np.uint8)
    _contours(planes, out=line[radius:].reshape(h, stride)[:, :w])
    near = _dilate(line, stride, radius)
    at = np.flatnonzero(line != 0)
    here, there = line[at], near[at]
    there = there << 4 | there >> 4  # the predictions' contours are to match the truths', and the other way around
    count = [np.bincount(values, minlength=256) @ _BITS for values in (here, here & there)]
    return count[0].tolist(), count[1].tolist()


def _contours(planes: np.ndarray, out: np.ndarray) -> None:
    """Write contours into `out`: pixels that differ from their east, south or south-east neighbour inside the image."""
    inner, target = planes[:-1, :-1], out[:-1, :-1]
    np.bitwise_xor(inner, planes[:-1, 1:], out=target)
    target |= inner ^ planes[1:, :-1]
    target |= inner ^ planes[1:, 1:]
    np.bitwise_xor(planes[-1, :-1], planes[-1, 1:], out=out[-1, :-1])
    np.bitwise_xor(planes[:-1, -1], planes[1:, -1], out=out[:-1, -1])
    out[-1, -1] = 0


def _dilate(line: np.ndarray, stride: int, radius: int) -> np.ndarray:
    """Dilate an image, laid out as in `_match`, by the disk of all offsets with dx^2 + dy^2 <= radius^2.

    A disk's rows get wider towards its middle. So the image is widened step by step, and what it is at the width of
    the disk's row dy is shifted by dy rows up and down.
    """
    dilated, wide, width = np.zeros_like(line), line, 0
    for dy in range(radius, -1, -1):
        wanted = math.isqrt(radius**2 - dy**2)
        while width < wanted:
            step = min(wanted - width, 2 * width + 1)  # no further, or there would be gaps
            wider = wide.copy()
            wider[step:] |= wide[:-step]
            wider[:-step] |= wide[step:]
            wide, width = wider, width + step
        shift = dy * stride
        if not shift:
            dilated |= wide
        elif shift < len(line):
            dilated[shift:] |= wide[:-shift]
            dilated[:-shift] |= wide[shift:]
    return dilated
