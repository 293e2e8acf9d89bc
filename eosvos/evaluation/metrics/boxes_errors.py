"""Overlap of masks' boxes, and wrong pixels by kind, as OSVOS reports them. NumPy and OpenCV only.

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
    """Numbers of wrong pixels by kind; nan if a frame does not count."""

    near: float  # predicted, not true, at most 20 px from the object
    far: float  # predicted, not true, further away; all of them where the object is not there
    missed: float  # true, not predicted


def box_overlap(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Compute the IoU of the tight boxes of two masks.

    Args:
        prediction: bool or 0/1 (H, W).
        truth: bool or 0/1 (H, W).

    Returns:
        A value in [0, 1]: 0 if nothing is predicted; nan if the truth is empty, as in the evaluation of trackers.
    """
    x1, y1, w1, h1 = cv2.boundingRect(_bytes(prediction))
    x2, y2, w2, h2 = cv2.boundingRect(_bytes(truth))
    if not w2 or not h2:
        return math.nan
    width, height = min(x1 + w1, x2 + w2) - max(x1, x2), min(y1 + h1, y2 + h2) - max(y1, y2)
    overlap = max(width, 0) * max(height, 0)
    return overlap / (w1 * h1 + w2 * h2 - overlap)


def share_above(overlaps: Iterable[float], thresholds: Sequence[float] = THRESHOLDS) -> list[float]:
    """Compute the share of boxes with an overlap above each threshold, a row of OSVOS's Table 5.

    Strictly above, as in J's recall; the paper does not say. nan is left out; without any box the shares are nan.
    """
    values = np.array(list(overlaps), np.float64)
    values = values[~np.isnan(values)]
    return [float((values > threshold).mean()) if len(values) else math.nan for threshold in thresholds]


def contour_errors(prediction: np.ndarray, truth: np.ndarray, distance: float = 20) -> Errors:
    """Count the wrong pixels of a mask by kind.

    Args:
        prediction: bool or 0/1 (H, W).
        truth: bool or 0/1 (H, W).
        distance: Euclidean distance in pixels from the true object up to which a pixel is near; 20 is for 480p.
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
    """Sum up errors and divide them by a total, a bar of OSVOS's Figure 5.

    Args:
        errors: of frames and objects; nan is left out.
        total: wrong pixels of the method to compare with (in the paper: without snapping); None: the sum of `errors`.

    Returns:
        The shares; all nan if nothing is wrong.
    """
    sums = np.nansum(np.array([tuple(each) for each in errors], np.float64).reshape(-1, 3), 0)
    whole = float(sums.sum()) if total is None else total
    return Errors(*(float(value) / whole if whole else math.nan for value in sums))


def _bytes(mask: np.ndarray) -> np.ndarray:
    """Convert a mask to uint8 0/1."""
    return np.ascontiguousarray(np.asarray(mask).astype(bool, copy=False)).view(np.uint8)
