"""Suggestion of the frame to annotate next, from the uncertainty of the masks; needs no ground truth.

`eosvos.refine choice=suggested` measures how much such frames help, beside choice=random, even and worst.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from torch import Tensor


def uncertainty(probabilities: Tensor) -> list[float]:
    """Estimate 1 - J of each object's mask, assuming that its probabilities are right.

    The ratio of the expected intersection and union approximates the expected ratio (Nowozin, "Optimal Decisions from
    Probabilistic Models: the Intersection-over-Union Case", CVPR 2014).

    Args:
        probabilities: (K, H, W); a mask is where they are at least 0.5.

    Returns:
        A value in [0, 1] per object; 1 for an empty mask.
    """
    values = []
    for plane in probabilities:
        mask = plane >= 0.5
        inside = float(plane[mask].sum())
        union = float(mask.sum()) + float(plane.sum()) - inside
        values.append(1 - inside / union if mask.any() else 1.0)
    return values


def suggest(uncertain: Mapping[int, Sequence[float]], given: Collection[int], left: Collection[int]) -> int | None:
    """Choose the frame whose annotation would help most.

    Masks get worse with the distance to an annotated frame. The chosen frame is the one that reduces most the sum over
    all frames of uncertainty (mean over objects) times distance to the nearest annotated frame: a greedy step of a
    weighted k-median.

    Args:
        uncertain: `uncertainty` of every frame by object id; nan if it is unknown.
        given: indices of the annotated frames.
        left: indices of the frames to choose from.

    Returns:
        The index of the frame; None if there is none to choose or nothing is known.
    """
    candidates = np.array(sorted(set(left) - set(given)))
    if not len(candidates) or not uncertain:
        return None
    values = np.array([list(values) for values in uncertain.values()], float)
    counted = ~np.isnan(values)
    weights = np.where(counted, values, 0).sum(0) / np.maximum(counted.sum(0), 1)
    gains = _gains(weights if weights.any() else weights + 1, sorted(given), candidates)
    return int(candidates[np.argmax(gains.round(9))])  # the first of equals


def _gains(weights: np.ndarray, given: Sequence[int], candidates: np.ndarray) -> np.ndarray:
    """Compute how much each candidate reduces the sum of weights (N,) times distances to the nearest of `given`, by
    cumulative sums, as videos may be long."""
    count = len(weights)
    frames, marks = np.arange(count), np.array([-2 * count, *given, 3 * count])  # beyond both ends: far
    following = np.searchsorted(marks, frames, side="left")
    nearest = np.minimum(marks[following] - frames, frames - marks[following - 1])
    total, places, distances = (
        np.concatenate([[0.0], np.cumsum(weights * factor)]) for factor in (np.ones(count), frames, nearest)
    )
    after = np.searchsorted(marks, candidates)
    # Between the middles to the annotated frames on both sides the candidate is the nearest.
    low = np.maximum((marks[after - 1] + candidates) // 2 + 1, 0)
    high = np.minimum(-(-(marks[after] + candidates) // 2), count)
    before = places[candidates] - places[low] - candidates * (total[candidates] - total[low])
    behind = places[high] - places[candidates] - candidates * (total[high] - total[candidates])
    return distances[high] - distances[low] + before - behind
