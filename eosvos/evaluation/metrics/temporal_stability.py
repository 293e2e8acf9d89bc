"""Temporal instability T of DAVIS 2016: how much the shape of an object's contour changes from frame to frame.

Source: Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation" (CVPR 2016,
section 3) and the toolkit of its authors in MATLAB, with which the papers' figures were made (the Python one shifts the
second contour only once before it matches again, so that its pairs are not those that it found). NumPy and OpenCV only.

Where that toolkit leaves something open: among shortest paths of equal length any is taken (here the one that goes
diagonally first), and where pixels touch only at a corner a contour begins in whichever such corner comes first in a
hash table (here always at its topmost, leftmost point). Its first release measured a result from its second pair on, a
later one adds the pair of the given first mask and the first result; here a pair is two frames that are measured. Its
tables average over the sequences without strong occlusion and deformation: all but `UNSTABLE`.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

# Sequences of DAVIS 2016 that its tables leave out of the mean of T, as listed in the toolkit.
UNSTABLE = frozenset(
    "bmx-bumps bmx-trees breakdance breakdance-flare dance-twirl dog dog-agility drift-chicane goat horsejump-high "
    "horsejump-low libby lucia mallard-fly motocross-jump motorbike paragliding parkour rollerblade scooter-gray "
    "soccerball swing tennis".split()
)

_SCALE = 5  # the toolkit's, "to put it in a similar range" as J and F
_TOLERANCE = 1.5  # pixels that a polygon may be off: 3 on the toolkit's grid, which is twice as fine
_SPACING = 3.0  # pixels between neighbouring points of a contour, at most
_ANGLES, _RADII = 12, np.logspace(math.log10(1 / 8), math.log10(2), 5)  # bins; radii in units of the mean distance


def temporal_stability(previous: np.ndarray, mask: np.ndarray) -> float:
    """Compute the temporal instability T of two consecutive masks of an object.

    Args:
        previous: bool or 0/1 (H, W).
        mask: bool or 0/1 (H, W).

    Returns:
        A value in [0, 5], 0 for the same shape; nan if a mask has no contour. Papers report the mean over the pairs of
        a sequence without nan, as 0.376 or 37.6.
    """
    return matching_cost(shape_contexts(previous), shape_contexts(mask))


def shape_contexts(mask: np.ndarray) -> np.ndarray | None:
    """Compute the shape contexts of a mask's longest contour: histograms of where its other points lie.

    Source: Belongie et al., "Shape Matching and Object Recognition Using Shape Contexts", PAMI 2002.

    Args:
        mask: bool or 0/1 (H, W).

    Returns:
        float64 (N, 60), one row per contour point with sum 1: bins of 12 directions and 5 distances on a logarithmic
        scale, in units of the mean distance of all points. A point counts itself; points beyond twice the mean distance
        are left out. None if there is no contour: the mask is empty or a few pixels.
    """
    points = _contour(np.asarray(mask).astype(bool))
    if points is None:
        return None
    dx, dy = (points[None, :, k] - points[:, None, k] for k in (0, 1))
    distance = np.hypot(dx, dy)
    distance /= distance.mean()
    ring = len(_RADII) - np.searchsorted(_RADII, distance, side="right")  # 5 is the innermost, 0 is outside
    turn = np.arctan2(dy, dx)
    angle = (np.where(turn < 0, turn + 2 * math.pi, turn) / (2 * math.pi / _ANGLES)).astype(np.int64) % _ANGLES
    n, bins = len(points), _ANGLES * len(_RADII)
    index = np.arange(n)[:, None] * bins + angle * len(_RADII) + ring - 1
    counts = np.bincount(index[ring > 0], minlength=n * bins).reshape(n, bins).astype(np.float64)
    return counts / counts.sum(1, keepdims=True)


def matching_cost(first: np.ndarray | None, second: np.ndarray | None) -> float:
    """Compute T of two contours from their shape contexts; nan if one is None."""
    if first is None or second is None:
        return math.nan
    cost = _chi_square(first, second)
    # Where the contours begin is arbitrary. Match them once as they come, and again from behind the best pair on.
    path = _warp(cost)
    best = path[np.argmin(cost[path[:-1, 0], path[:-1, 1]])] if len(path) > 1 else path[0]
    shift = best + 1
    pairs = (_warp(np.roll(cost, -shift, (0, 1))) + shift) % cost.shape
    for side in (0, 1):  # of several pairs with one point only the cheapest counts
        order = np.lexsort((np.arange(len(pairs)), cost[pairs[:, 0], pairs[:, 1]], pairs[:, side]))
        pairs = pairs[order][np.unique(pairs[order, side], return_index=True)[1]]
    return _SCALE * float(cost[pairs[:, 0], pairs[:, 1]].mean())


def _chi_square(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Compute half the chi-square distances, in [0, 1], of all pairs of rows: (N, bins), (M, bins) -> (N, M)."""
    total = first @ (second == 0).T.astype(np.float64) + (first == 0).astype(np.float64) @ second.T
    for a, b in zip(first.T, second.T, strict=True):  # most bins are empty on one side: above is all there is to them
        rows, columns = a.nonzero()[0], b.nonzero()[0]
        x, y = a[rows, None], b[columns]
        total[np.ix_(rows, columns)] += (x - y) ** 2 / (x + y)
    return total / 2


def _warp(cost: np.ndarray) -> np.ndarray:
    """Dynamic time warping: the cheapest path through `cost` (N, M) by steps of one in either direction or both.

    int (L, 2), from the last pair (N-1, M-1) back to (0, 0).
    """
    n, m = cost.shape
    # A row for each diagonal i + j, so that all of its pairs are reached at once: diagonals[d, i] = cost[i, d - i]
    wide = np.full((n, n + m), math.inf)
    wide[:, :m] = cost
    diagonals = np.ascontiguousarray(wide.ravel()[: n * (n + m - 1)].reshape(n, n + m - 1).T)
    total = np.full((n + m, n + 1), math.inf)  # total[d + 1, i + 1]; what is outside costs infinitely much
    total[1, 1] = 0
    for d in range(1, n + m - 1):
        here, before = total[d + 1, 1:], total[d]
        np.minimum(before[1:], before[:-1], out=here)
        np.minimum(here, total[d - 1, :-1], out=here)
        here += diagonals[d]
    i, j = n - 1, m - 1
    path = [(i, j)]
    while i or j:
        d = i + j
        ways = ((total[d - 1, i], 1, 1), (total[d, i], 1, 0), (total[d, i + 1], 0, 1))
        _, di, dj = min(ways, key=lambda way: way[0])
        i, j = i - di, j - dj
        path.append((i, j))
    return np.array(path)


def _contour(mask: np.ndarray) -> np.ndarray | None:
    """Points along the longest contour of a mask at most 3 px apart, float64 (N, 2) x, y; the first is also the last.

    Contours run along the pixels' edges and are simplified to polygons; the longest is the one with most corners.
    """
    polygons = [polygon for curve in _curves(mask) if len(polygon := _simplify(curve)) > 3]  # fewer have no area
    if not polygons:
        return None
    corners = max(polygons, key=len)
    parts = np.ceil(np.hypot(*np.diff(corners, axis=0).T) / _SPACING).astype(np.int64)
    which = np.repeat(np.arange(len(parts)), parts)
    step = (np.arange(len(which)) - np.repeat(np.cumsum(parts) - parts, parts)) / parts[which]
    return np.concatenate([corners[which] + (corners[which + 1] - corners[which]) * step[:, None], corners[-1:]])


def _simplify(curve: np.ndarray) -> np.ndarray:
    """A closed curve (N, 2) as a polygon that is at most `_TOLERANCE` off, its first point first and last.

    As the toolkit's library does it: of points nearer to one another than the tolerance only the first stays; then the
    algorithm of Douglas and Peucker, with distances to segments.
    """
    step = np.diff(curve, axis=0)
    turns = np.concatenate([[True], (step[1:] != step[:-1]).any(1), [True]])
    kept: list[tuple[float, float]] = []
    for x, y in curve[turns][:-1].tolist():
        if not kept or math.dist(kept[-1], (x, y)) >= _TOLERANCE:
            kept.append((x, y))
    points = np.array([*kept, kept[0]])
    corner = np.zeros(len(points), bool)
    corner[[0, -1]] = True
    pieces = [(0, len(points) - 1)]
    while pieces:
        a, b = pieces.pop()
        if b - a < 2:
            continue
        along, relative = points[b] - points[a], points[a + 1 : b] - points[a]
        square = along @ along
        nearest = np.clip(relative @ along / square, 0, 1)[:, None] * along if square else 0.0
        distance = ((relative - nearest) ** 2).sum(1)
        k = int(distance.argmax())
        if distance[k] > _TOLERANCE**2:
            corner[a + 1 + k] = True
            pieces += [(a, a + 1 + k), (a + 1 + k, b)]
    return points[corner]


def _curves(mask: np.ndarray) -> list[np.ndarray]:
    """The closed curves between mask and background along the pixels' edges: int (N, 2) x, y, steps of 1, first = last.

    Each goes clockwise around its pixels, or the other way around a hole, from its topmost, leftmost point; where
    pixels touch only at a corner it is cut, so that none passes through a point twice.
    """
    x0, y0, w, h = cv2.boundingRect(mask.view(np.uint8))
    if not w or not h:
        return []
    inside = np.pad(mask[y0 : y0 + h, x0 : x0 + w], 1)
    # Pixels' corners are numbered by rows of w + 1. From corner to corner, with the mask at the right hand:
    above, below, left, right = inside[:-1, 1:-1], inside[1:, 1:-1], inside[1:-1, :-1], inside[1:-1, 1:]
    leads: dict[int, list[int]] = {}
    for edges, forward, step in ((above != below, below, 1), (left != right, left, w + 1)):
        y, x = edges.nonzero()
        start = y * (w + 1) + x
        ahead = forward[y, x]
        for a, b in zip((start + ~ahead * step).tolist(), (start + ahead * step).tolist(), strict=True):
            leads.setdefault(a, []).append(b)
    curves = []
    for first in sorted(leads):
        while leads[first]:
            path, place, point = [first], {first: 0}, first
            while True:
                point = leads[point].pop()
                if point not in place:
                    place[point] = len(path)
                    path.append(point)
                    continue
                cut = place[point]
                curves.append(np.array(path[cut:]))
                for passed in path[cut + 1 :]:
                    del place[passed]
                del path[cut + 1 :]
                if point == first:
                    break
    result = []
    for curve in curves:
        curve = np.roll(curve, -int(curve.argmin()))
        curve = np.append(curve, curve[0])
        result.append(np.stack([curve % (w + 1) + x0, curve // (w + 1) + y0], 1))
    return result
