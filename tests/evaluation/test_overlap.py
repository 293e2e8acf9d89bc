"""Boxes against boxes, and errors by kind, on masks small enough to count by hand, and against sets of pixels."""

import math

import numpy as np
import pytest

from eosvos.evaluation.metrics.boxes_errors import Errors, box_overlap, contour_errors, error_shares, share_above


def box(y, x, height, width, shape=(60, 80)):
    mask = np.zeros(shape, bool)
    mask[y : y + height, x : x + width] = True
    return mask


def test_boxes_overlap_as_counted_by_hand():
    truth = box(10, 10, 10, 20)
    assert box_overlap(truth, truth) == 1
    assert box_overlap(box(10, 20, 10, 20), truth) == 100 / 300
    assert box_overlap(box(15, 20, 10, 20), truth) == 50 / 350
    assert box_overlap(box(10, 30, 10, 20), truth) == 0  # side by side
    corners = box(10, 10, 1, 1) | box(19, 29, 1, 1)
    assert box_overlap(corners, truth) == 1  # the box, not the mask
    assert box_overlap(truth.astype(np.uint8), corners.astype(int)) == 1
    assert box_overlap(box(0, 0, 0, 0), truth) == 0
    assert math.isnan(box_overlap(truth, box(0, 0, 0, 0))) and math.isnan(box_overlap(truth * False, truth * False))


def test_boxes_overlap_as_sets_of_pixels_do():
    rng = np.random.default_rng(0)
    for _ in range(200):
        shape = tuple(rng.integers(1, 12, 2))
        a, b = rng.random(shape) < rng.random() * 0.3, rng.random(shape) < 0.3
        filled = []
        for mask in (a, b):
            ys, xs = np.nonzero(mask)
            filled.append(
                {(y, x) for y in range(ys.min(), ys.max() + 1) for x in range(xs.min(), xs.max() + 1)}
                if len(ys)
                else set()
            )
        expected = len(filled[0] & filled[1]) / len(filled[0] | filled[1]) if filled[1] else math.nan
        np.testing.assert_equal(box_overlap(a, b), expected)


def test_the_share_above_each_threshold():
    assert share_above([0.5, 0.55, 0.65, 0.95, math.nan]) == [0.75, 0.5, 0.25, 0.25, 0.25]
    assert all(math.isnan(share) for share in share_above([math.nan])) and len(share_above([])) == 5


def test_errors_as_counted_by_hand():
    truth = box(10, 10, 10, 10)
    assert contour_errors(truth, truth) == (0, 0, 0)
    assert contour_errors(box(10, 10, 10, 5), truth) == (0, 0, 50)
    assert contour_errors(box(10, 10, 10, 40), truth) == (200, 100, 0)  # columns 20 to 39 are 1 to 20 px away
    assert contour_errors(box(10, 10, 10, 40), truth, distance=5) == (50, 250, 0)
    assert contour_errors(truth, truth & False) == (0, 100, 0)  # there is no object to be near to
    assert contour_errors(truth & False, truth) == (0, 0, 100)
    assert contour_errors(truth * False, truth * False) == (0, 0, 0)


def test_errors_as_sets_of_pixels():
    rng = np.random.default_rng(1)
    for _ in range(60):
        shape = tuple(rng.integers(1, 40, 2))
        a, b = rng.random(shape) < rng.random() * 0.3, rng.random(shape) < rng.choice([0.002, 0.05])
        limit = float(rng.choice([1, 3, 5, 20]))  # 5: 3-4-5 triangles lie exactly on it
        there = np.argwhere(b)
        near = far = 0
        for point in np.argwhere(a & ~b):
            close = len(there) and ((there - point) ** 2).sum(1).min() <= limit**2
            near, far = near + bool(close), far + (not close)
        assert contour_errors(a, b, limit) == (near, far, (b & ~a).sum())


def test_shares_of_the_errors_of_another_method():
    errors = [Errors(10, 0, 30), Errors(math.nan, math.nan, math.nan), (10, 20, 30)]
    assert error_shares(errors) == Errors(0.2, 0.2, 0.6)
    assert error_shares(errors, total=200) == pytest.approx((0.1, 0.1, 0.3))
    assert all(math.isnan(share) for share in error_shares([Errors(0, 0, 0)]))
