"""Which frame to annotate next: the one that brings most of the uncertain frames nearer to an annotated one.

No truth is needed. `eosvos.refine choice=suggested` measures how much such frames help, beside choice=random, even and
worst.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from torch import Tensor


def uncertainty(probabilities: Tensor) -> list[float]:
    """1 - the overlap (J) to be expected of each object's mask, in [0, 1], if its probabilities (K, H, W) are right.

    The mask is where they are 0.5 or more; the expected sizes of intersection and union stand for the expectation of
    their ratio (Nowozin, "Optimal Decisions from Probabilistic Models: the Intersection-over-Union Case", CVPR 2014).
    An object that is nowhere is as uncertain as can be.
    """
    found = []
    for plane in probabilities:
        mask = plane >= 0.5
        inside = float(plane[mask].sum())
        union = float(mask.sum()) + float(plane.sum()) - inside
        found.append(1 - inside / union if mask.any() else 1.0)
    return found


def suggest(uncertain: Mapping[int, Sequence[float]], given: Collection[int], left: Collection[int]) -> int | None:
    """The index of the frame, one of `left`, whose annotation would help most; None where none is left.

    uncertain: object id -> `uncertainty` of every frame, nan where there is nothing to tell. given: indices of the
    annotated frames. A frame's masks get worse the farther it is from an annotated one, and an annotation helps its
    surroundings: so the frame is taken that lessens the sum over all frames of uncertainty (mean over objects) times
    distance to the nearest annotated frame the most, as in a weighted k-median that is filled one by one.
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
    """What each candidate takes off the sum of weights (N,) times distances to the nearest of `given`, by sums from the
    beginning: films are long."""
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
