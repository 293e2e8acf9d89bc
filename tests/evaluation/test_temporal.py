"""T: what it must be by its definition, and each of its steps against a slow one written from the definition."""

import math

import cv2
import numpy as np
import pytest

from eosvos.evaluation.metrics.temporal_stability import (
    _contour,
    _curves,
    _simplify,
    _warp,
    matching_cost,
    shape_contexts,
    temporal_stability,
)


def blob(wobble=0.0, lobes=5, radius=40, phase=0.0, shape=(140, 160), seed=None):
    """A star-shaped object; `seed`: its contour jitters by up to 6 px."""
    angle = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    r = radius * (1 + wobble * np.cos(lobes * angle + phase))
    if seed is not None:
        r = r + np.random.default_rng(seed).uniform(-6, 6, len(r))
    points = np.stack([70 + r * np.cos(angle), 65 + r * np.sin(angle)], 1)
    return cv2.fillPoly(np.zeros(shape, np.uint8), [points.round().astype(np.int32)], 1).astype(bool)


def test_the_same_shape_has_none():
    for mask in (blob(), blob(0.3), blob(0.2, 3, seed=1)):
        assert temporal_stability(mask, mask) == 0
        assert temporal_stability(mask, np.roll(mask, (7, -5), (0, 1))) == pytest.approx(0, abs=1e-12)


def test_jitter_and_change_of_shape_have_more():
    smooth = temporal_stability(blob(0.2), blob(0.22))
    jitter = temporal_stability(blob(0.2, seed=1), blob(0.2, seed=2))
    other = temporal_stability(blob(0.2), blob(0.5, 3))
    assert 0 < smooth < jitter / 2 and jitter < other < 5


def test_it_is_nearly_the_same_forwards_and_backwards_and_for_mirrored_masks():
    a, b = blob(0.2, seed=3), blob(0.25, seed=4)
    there = temporal_stability(a, b)
    assert temporal_stability(b, a) == pytest.approx(there, rel=0.1)
    for mirror in (np.fliplr, np.flipud, np.transpose):  # bins are half open, and curves begin elsewhere
        assert temporal_stability(mirror(a), mirror(b)) == pytest.approx(there, rel=0.15)


def test_a_frame_without_the_object_has_no_figure():
    mask, empty = blob(), np.zeros((140, 160), bool)
    dot = empty.copy()
    dot[3, 4] = True
    for other in (empty, dot):
        assert math.isnan(temporal_stability(mask, other)) and math.isnan(temporal_stability(other, mask))
    assert shape_contexts(empty) is None and math.isnan(matching_cost(None, None))
    assert temporal_stability(mask.astype(np.uint8), mask.astype(int)) == 0


def test_curves_follow_the_edges_of_pixels():
    rng = np.random.default_rng(0)
    for _ in range(60):
        mask = rng.random(tuple(rng.integers(1, 14, 2))) < rng.random()
        edges = []
        for curve in _curves(mask):
            assert (curve[0] == curve[-1]).all() and len({tuple(point) for point in curve.tolist()}) == len(curve) - 1
            assert tuple(curve[0][::-1]) == min(tuple(point[::-1]) for point in curve.tolist())
            for (x, y), (u, v) in zip(curve.tolist(), curve[1:].tolist(), strict=False):
                assert abs(x - u) + abs(y - v) == 1
                edges.append((min(x, u), min(y, v), x == u))
                side = (y, min(x, u)) if x < u else (y - 1, min(x, u)) if x > u else None  # the pixel at the right hand
                side = side or ((min(y, v), x - 1) if y < v else (min(y, v), x))
                assert mask[side]
        padded = np.pad(mask, 1)
        expected = {(x, y, False) for y, x in np.argwhere(padded[1:, 1:-1] != padded[:-1, 1:-1])}
        expected |= {(x, y, True) for y, x in np.argwhere(padded[1:-1, 1:] != padded[1:-1, :-1])}
        assert len(edges) == len(set(edges)) and set(edges) == {tuple(edge) for edge in expected}


def test_the_longest_contour_is_walked_in_steps_of_at_most_3_px():
    mask = np.zeros((50, 60), bool)
    mask[5:35, 10:50] = True
    mask[40:45, 3:9] = True
    points = _contour(mask)
    assert len(points) == 2 * (10 + 14) + 1 and (points[0] == points[-1]).all() and (points[0] == (10, 5)).all()
    steps = np.hypot(*np.diff(points, axis=0).T)
    assert steps.max() <= 3 and steps.sum() == pytest.approx(140)
    for wobble in (0.1, 0.4):
        curve = _curves(blob(wobble))[0]
        polygon = _simplify(curve)
        assert 8 < len(polygon) < len(curve) / 4
        corners = {tuple(point) for point in curve.tolist()}
        assert all(tuple(point) in corners for point in polygon.astype(int).tolist())
        for point in curve:  # nothing of the curve is lost: radial reduction and polygon each stay within 1.5 px
            a, along = polygon[:-1], np.diff(polygon, axis=0)
            t = (((point - a) * along).sum(1) / (along**2).sum(1)).clip(0, 1)
            assert np.hypot(*(a + t[:, None] * along - point).T).min() <= 3


def test_shape_contexts_count_points_by_direction_and_distance():
    mask = blob(0.3)
    points, found = _contour(mask), shape_contexts(mask)
    mean = np.mean([math.dist(p, q) for p in points for q in points])
    edges = [(1 / 8) * 16 ** (k / 4) for k in range(5)]
    for n in (0, 17, len(points) - 1):
        counts = np.zeros((12, 5))
        for q in points:
            inside = sum(math.dist(points[n], q) / mean < edge for edge in edges)
            turn = math.atan2(q[1] - points[n][1], q[0] - points[n][0]) % (2 * math.pi)
            if inside:
                counts[math.floor(turn / (2 * math.pi / 12)), inside - 1] += 1
        np.testing.assert_allclose(found[n], counts.ravel() / counts.sum(), atol=1e-12)


def slow_warp(cost):
    """Dynamic time warping from its definition, cell by cell, and the cheapest way's total."""
    n, m = cost.shape
    total = {(0, 0): 0.0}
    for i in range(n):
        for j in range(m):
            if (i, j) != (0, 0):
                ways = [total[way] for way in ((i - 1, j - 1), (i - 1, j), (i, j - 1)) if way in total]
                total[i, j] = min(ways) + cost[i, j]
    return total[n - 1, m - 1]


def slow_matching_cost(first, second):
    """T from two contours' contexts, step by step with lists and dictionaries."""

    def distance(p, q):
        return sum((a - b) ** 2 / (a + b) for a, b in zip(p, q, strict=True) if a + b) / 2

    cost = np.array([[distance(p, q) for q in second] for p in first])

    def path(cost):
        total = {}
        for i in range(len(cost)):
            for j in range(len(cost[0])):
                ways = [w for w in ((i - 1, j - 1), (i - 1, j), (i, j - 1)) if w in total]
                best = min(ways, key=lambda w: total[w][0]) if ways else None
                total[i, j] = ((total[best][0] + cost[i][j]) if ways else 0.0, best)
        here, found = (len(cost) - 1, len(cost[0]) - 1), []
        while here is not None:
            found.append(here)
            here = total[here][1]
        return found

    pairs = path(cost.tolist())
    bi, bj = min(pairs[:-1], key=lambda pair: cost[pair])
    n, m = cost.shape
    rolled = [[cost[(i + bi + 1) % n, (j + bj + 1) % m] for j in range(m)] for i in range(n)]
    pairs = [((i + bi + 1) % n, (j + bj + 1) % m) for i, j in path(rolled)]
    for side in (0, 1):
        cheapest = {}
        for pair in pairs:
            if pair[side] not in cheapest or cost[pair] < cost[cheapest[pair[side]]]:
                cheapest[pair[side]] = pair
        pairs = [cheapest[key] for key in sorted(cheapest)]
    return 5 * sum(cost[pair] for pair in pairs) / len(pairs)


def test_warping_finds_the_cheapest_way():
    rng = np.random.default_rng(1)
    for _ in range(40):
        cost = rng.random(tuple(rng.integers(1, 13, 2)))
        path = _warp(cost)
        assert (path[0] == np.array(cost.shape) - 1).all() and (path[-1] == 0).all()
        steps = {tuple(step) for step in (path[:-1] - path[1:]).tolist()}
        assert steps <= {(1, 1), (1, 0), (0, 1)}
        assert cost[path[:-1, 0], path[:-1, 1]].sum() == pytest.approx(slow_warp(cost), abs=1e-12)


def test_the_whole_equals_a_slow_formula():
    for a, b in ((blob(0.2, radius=15), blob(0.3, radius=17)), (blob(0.1, seed=5, radius=20), blob(0.4, 3, 14))):
        first, second = shape_contexts(a), shape_contexts(b)
        assert matching_cost(first, second) == pytest.approx(slow_matching_cost(first, second), abs=1e-12)


def test_annotations_are_steady_and_methods_less_so(shared_data):
    """Figures of the magnitude that the papers report: annotations below 0.1, OSVOS a multiple of it."""
    root = shared_data / "metrics-golden"
    means = {}
    for kind in ("annotations", "predictions"):
        masks = [
            cv2.imread(str(root / kind / "blackswan" / f"{k:05d}.png"), cv2.IMREAD_GRAYSCALE) > 0 for k in range(1, 6)
        ]
        contexts = [shape_contexts(mask) for mask in masks]
        means[kind] = np.mean([matching_cost(a, b) for a, b in zip(contexts, contexts[1:], strict=False)])
    assert 0 < means["annotations"] < 0.15 and means["annotations"] < means["predictions"] < 1
