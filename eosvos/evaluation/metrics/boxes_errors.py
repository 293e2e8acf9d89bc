"""Masks measured as a tracker's boxes, and their errors by kind, as OSVOS reports them. NumPy and OpenCV only.

Source: Caelles et al., "One-Shot Video Object Segmentation" (CVPR 2017), Table 5 and Figure 5.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)  # of Table 5


class Errors(NamedTuple):
    """Wrong pixels by kind; nan where a frame does not count."""

    near: float  # predicted, not true, at most 20 px from the object
    far: float  # predicted, not true, further away; all of them where the object is not there
    missed: float  # true, not predicted


def box_overlap(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union of the tight boxes of two masks, bool or 0/1 (H, W), in whole pixels.

    0 where nothing is predicted; nan where the truth is empty: there is no box to be found, as trackers are measured.
    """
    x1, y1, w1, h1 = cv2.boundingRect(_bytes(prediction))
    x2, y2, w2, h2 = cv2.boundingRect(_bytes(truth))
    if not w2 or not h2:
        return math.nan
    width, height = min(x1 + w1, x2 + w2) - max(x1, x2), min(y1 + h1, y2 + h2) - max(y1, y2)
    overlap = max(width, 0) * max(height, 0)
    return overlap / (w1 * h1 + w2 * h2 - overlap)


def share_above(overlaps: Iterable[float], thresholds: Sequence[float] = THRESHOLDS) -> list[float]:
    """The share of boxes with an overlap above each threshold, nan left out: a row of OSVOS's Table 5.

    Strictly above, as J's recall counts; the paper does not say. nan where there is no box.
    """
    values = np.array(list(overlaps), np.float64)
    values = values[~np.isnan(values)]
    return [float((values > threshold).mean()) if len(values) else math.nan for threshold in thresholds]


def contour_errors(prediction: np.ndarray, truth: np.ndarray, distance: float = 20) -> Errors:
    """The wrong pixels of a mask, bool or 0/1 (H, W), by kind; `distance` parts near from far, in pixels.

    Distance is Euclidean, to the nearest pixel of the true object. OSVOS's 20 px are those of 480p.
    """
    prediction, truth = _bytes(prediction), _bytes(truth)
    wrong, missed = cv2.subtract(prediction, truth), cv2.countNonZero(cv2.subtract(truth, prediction))
    total = cv2.countNonZero(wrong)
    if not total or not cv2.countNonZero(truth):
        return Errors(0, total, missed)
    x, y, w, h = cv2.boundingRect(cv2.bitwise_or(wrong, truth))
    crop = (slice(y, y + h), slice(x, x + w))
    away = cv2.distanceTransform(1 - truth[crop], cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    near = int(np.count_nonzero(away[wrong[crop] != 0] <= distance))
    return Errors(near, total - near, missed)


def error_shares(errors: Iterable[Sequence[float]], total: float | None = None) -> Errors:
    """Errors of frames and objects added up, nan left out, in parts of `total`: a bar of OSVOS's Figure 5.

    `total`: the wrong pixels of the method that is compared with, in the paper that without boundary snapping; by
    default this method's own, so that the parts add up to 1. All nan where nothing is wrong.
    """
    sums = np.nansum(np.array([tuple(each) for each in errors], np.float64).reshape(-1, 3), 0)
    whole = float(sums.sum()) if total is None else total
    return Errors(*(float(value) / whole if whole else math.nan for value in sums))


def _bytes(mask: np.ndarray) -> np.ndarray:
    """A mask as uint8 0/1."""
    return np.ascontiguousarray(np.asarray(mask).astype(bool, copy=False)).view(np.uint8)
