"""A mask of an object from a few hints: a box or a rough region, points and scribbles on the object and beside it.

No network is needed: GrabCut (Rother et al., SIGGRAPH 2004; OpenCV's code) tells the object from its surroundings by
their colours. How good it is, is measured by benchmarks/first_mask.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

SIDE = 240  # largest side in pixels of what GrabCut works on; bounds its time
_AROUND = 0.2  # margin of a box, as a share of its longer side: what is surely not the object
_ROUNDS = 2
_LEAST = 0.12  # share of the box's area below which a mask has collapsed: an object rarely fills less
_CORES = (0.35, 0.55)  # then an ellipse of this share of the box is surely object
_REACH = 0.25  # half size of the window about points alone, as a share of the frame's shorter side
_NEAR = 0.5  # how far a hint corrects a mask, as a share of the square root of its area
_ALIKE = 12  # grey levels by which a channel may differ from a point's for a pixel to go with the point
_GROWTH = 0.25  # how far from the point, as a share of the square root of the box's area
_COLOURS = 5  # pixels that GrabCut needs of the object, and of what is around it

Box = tuple[float, float, float, float]
Points = Sequence[tuple[float, float]]


def mask_from_hints(
    image: np.ndarray,
    *,
    box: Box | None = None,
    inside: np.ndarray | None = None,
    outside: np.ndarray | None = None,
    start: np.ndarray | None = None,
) -> np.ndarray:
    """Make a mask of an object from hints.

    Args:
        image: uint8 (H, W, 3), RGB.
        box: xyxy in pixels, tight about the object: nothing outside of it is the object.
        inside: bool (H, W), pixels of the object: points and scribbles.
        outside: bool (H, W), pixels that are not of the object.
        start: bool (H, W), a mask to correct; far from the hints it stays as it is.

    Returns:
        bool (H, W); deterministic. Pixels of `inside` are in it, those of `outside` are not.

    Raises:
        ValueError: if there is no hint where the object is, or a size is not that of the image.
    """
    size = image.shape[:2]
    inside, outside, start = (_plane(plane, size) for plane in (inside, outside, start))
    inside = inside & ~outside
    if box is None and not inside.any() and not start.any():
        raise ValueError("no hint where the object is: give a box, or points inside")
    area = _bounds(box, inside | start, size, tight=bool(start.any()))
    margin = max(4, round(_AROUND * max(area[2] - area[0], area[3] - area[1])))
    left, top = max(0, area[0] - margin), max(0, area[1] - margin)
    right, bottom = min(size[1], area[2] + margin), min(size[0], area[3] + margin)
    window = (slice(top, bottom), slice(left, right))
    part = image[window]
    scale = min(1.0, SIDE / max(part.shape[:2]))
    small = max(2, round(part.shape[1] * scale)), max(2, round(part.shape[0] * scale))
    sx, sy = small[0] / part.shape[1], small[1] / part.shape[0]
    pixels = cv2.bilateralFilter(cv2.resize(part, small, interpolation=cv2.INTER_AREA), 5, 30, 5)
    place = ((area[0] - left) * sx, (area[1] - top) * sy, (area[2] - left) * sx, (area[3] - top) * sy)
    hints = _grown(pixels, _shrink(inside[window], small), _shrink(outside[window], small), place)
    if start.any():
        labels = _near(_labels(small, place, _shrink(start[window], small)), hints[0] | hints[1])
    else:
        labels = _labels(small, place, None)
    found = _enlarge(_cut(pixels, labels, hints[0], hints[1], place, guard=not start.any()), part.shape[:2])
    result = start.copy()
    result[window] = found
    return (result | inside) & ~outside


def draw_strokes(strokes: Sequence[Points], radius: float, size: tuple[int, int]) -> np.ndarray:
    """Draw points and scribbles.

    Args:
        strokes: each a list of points (x, y) in pixels; a single one is a dot.
        radius: of the pen in pixels.
        size: height and width.

    Returns:
        bool (H, W).
    """
    plane = np.zeros(size, np.uint8)
    for stroke in strokes:
        points = np.round(np.asarray(stroke, float).reshape(-1, 2)).astype(np.int32)
        cv2.polylines(plane, [points], False, 1, max(1, round(2 * radius)))
        for x, y in points:
            cv2.circle(plane, (int(x), int(y)), max(0, round(radius)), 1, -1)
    return plane > 0


def _plane(plane: np.ndarray | None, size: tuple[int, int]) -> np.ndarray:
    if plane is None:
        return np.zeros(size, bool)
    if plane.shape != size:
        raise ValueError(f"a plane of hints is {plane.shape}, the image {size}")
    return np.asarray(plane, bool)


def _bounds(box: Box | None, shown: np.ndarray, size: tuple[int, int], tight: bool) -> tuple[int, int, int, int]:
    """Return the box that holds the object, xyxy with an exclusive maximum, within the image."""
    if box is None:
        rows, columns = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
        grow = round((_AROUND if tight else _REACH) * min(size))
        box = (columns[0] - grow, rows[0] - grow, columns[-1] + 1 + grow, rows[-1] + 1 + grow)
    left, top = min(max(0, math.floor(box[0])), size[1] - 2), min(max(0, math.floor(box[1])), size[0] - 2)
    return left, top, max(left + 2, min(size[1], math.ceil(box[2]))), max(top + 2, min(size[0], math.ceil(box[3])))


def _labels(size: tuple[int, int], place: Box, start: np.ndarray | None) -> np.ndarray:
    """Label pixels as GrabCut does: surely background outside of the box, probably object in the ellipse or mask."""
    columns, rows = np.arange(size[0])[None] + 0.5, np.arange(size[1])[:, None] + 0.5
    within = (columns >= place[0]) & (columns <= place[2]) & (rows >= place[1]) & (rows <= place[3])
    probable = _ellipse(size, place, 1.0) if start is None else start
    return np.where(within, np.where(probable, cv2.GC_PR_FGD, cv2.GC_PR_BGD), cv2.GC_BGD).astype(np.uint8)


def _grown(pixels: np.ndarray, inside: np.ndarray, outside: np.ndarray, place: Box) -> tuple[np.ndarray, np.ndarray]:
    """Let each point and scribble take the pixels of its colour that hang together with it, if they are near."""
    reach = _GROWTH * math.sqrt((place[2] - place[0]) * (place[3] - place[1]))
    grown = []
    for plane in (inside, outside):
        taken = plane.copy()
        count, regions = cv2.connectedComponents(plane.astype(np.uint8))
        for number in range(1, count):
            region = regions == number
            near = cv2.distanceTransform((~region).astype(np.uint8), cv2.DIST_L2, 3) <= reach
            blocked = np.pad(~near, 1, constant_values=True).astype(np.uint8)
            depth = cv2.distanceTransform(np.pad(region, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
            y, x = np.unravel_index(int(np.argmax(depth)), depth.shape)
            flags = 4 | cv2.FLOODFILL_MASK_ONLY | cv2.FLOODFILL_FIXED_RANGE | (2 << 8)
            cv2.floodFill(pixels.copy(), blocked, (int(x), int(y)), 0, (_ALIKE,) * 3, (_ALIKE,) * 3, flags)
            taken |= blocked[1:-1, 1:-1] == 2
        grown.append(taken)
    both = grown[0] & grown[1]
    return (grown[0] & ~both | inside) & ~outside, grown[1] & ~both & ~inside | outside


def _near(labels: np.ndarray, hints: np.ndarray) -> np.ndarray:
    """Make pixels sure that are far from the hints."""
    reach = _NEAR * math.sqrt(np.count_nonzero(labels & 1))
    far = cv2.distanceTransform((~hints).astype(np.uint8), cv2.DIST_L2, 3) > reach
    return np.where(far, labels & 1, labels).astype(np.uint8)  # GrabCut's labels: 0 and 1 are sure, 2 and 3 probable


def _ellipse(size: tuple[int, int], place: Box, share: float) -> np.ndarray:
    columns, rows = np.arange(size[0])[None] + 0.5, np.arange(size[1])[:, None] + 0.5
    across, down = share * (place[2] - place[0]) / 2, share * (place[3] - place[1]) / 2
    x, y = (place[0] + place[2]) / 2, (place[1] + place[3]) / 2
    return ((columns - x) / across) ** 2 + ((rows - y) / down) ** 2 <= 1


def _cut(
    pixels: np.ndarray, labels: np.ndarray, inside: np.ndarray, outside: np.ndarray, place: Box, guard: bool
) -> np.ndarray:
    """Run GrabCut, again with a sure core where the mask has collapsed."""
    labels = labels.copy()
    labels[inside] = cv2.GC_FGD
    labels[outside] = cv2.GC_BGD
    found = _grabcut(pixels, labels)
    least = _LEAST * (place[2] - place[0]) * (place[3] - place[1])
    for share in _CORES if guard and not inside.any() else ():
        if np.count_nonzero(found) >= least:
            break
        sure = labels.copy()
        sure[_ellipse((pixels.shape[1], pixels.shape[0]), place, share) & ~outside] = cv2.GC_FGD
        found = _grabcut(pixels, sure)
    return found


def _grabcut(pixels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    labels = labels.copy()
    shown = np.count_nonzero(labels & 1)
    if min(shown, labels.size - shown) < _COLOURS:
        return (labels & 1) > 0
    cv2.setRNGSeed(0)  # its clustering of colours draws from OpenCV's own generator, of which each thread has one
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(np.ascontiguousarray(pixels), labels, (0, 0, 1, 1), *models, _ROUNDS, cv2.GC_INIT_WITH_MASK)
    return (labels & 1) > 0


def _shrink(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scale a plane down so that small hints stay."""
    return cv2.resize(plane.astype(np.float32), size, interpolation=cv2.INTER_AREA) >= 0.35


def _enlarge(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(plane.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR) >= 0.5
