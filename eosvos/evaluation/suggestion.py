"""Which frame to annotate next: where the method's own masks are least certain, far from what was annotated.

No truth is needed. `eosvos.refine choice=suggested` measures how much such frames help, beside
choice=random, even and worst.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from torch import Tensor

AROUND = 3  # frames before and after that count for a frame's uncertainty: single odd frames help little
FAR = 0.25  # uncertainty that a frame gains by being as far from every annotated one as the video is long


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
    annotated frames. Uncertainty is the mean over objects and the frames `AROUND`.
    """
    candidates = sorted(set(left) - set(given))
    if not candidates or not uncertain:
        return None
    values = np.array([list(values) for values in uncertain.values()], float)
    counted = ~np.isnan(values)
    sums, counts = np.where(counted, values, 0).sum(0), counted.sum(0)
    window = np.ones(2 * AROUND + 1)
    sums, counts = (np.convolve(row, window, "full")[AROUND : AROUND + len(row)] for row in (sums, counts))
    score = sums / np.maximum(counts, 1)
    if given:
        apart = np.abs(np.arange(len(score))[:, None] - np.array(sorted(given))).min(1)
        score = score + FAR * apart / len(score)
    return max(candidates, key=lambda index: (score[index], -index))
