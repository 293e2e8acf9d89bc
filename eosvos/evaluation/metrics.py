"""Region similarity J and contour accuracy F of DAVIS, with the arithmetic of davis2017-evaluation.

Source: Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation" (CVPR 2016,
section 3) and the official toolkit davis2017-evaluation. Where that toolkit errs (its decay beyond 255 frames), this is
right. NumPy and OpenCV only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

PROTOCOLS = ("davis", "youtube-vos", "from-first-appearance")


class Statistics(NamedTuple):
    """What DAVIS reports of one object's values over a sequence; every part is nan without values."""

    mean: float
    recall: float  # share of frames strictly above 0.5
    decay: float  # mean of the first quarter less mean of the last: above 0 is loss over time


@dataclass
class Scores:
    """J and F of a sequence: `frames` are the indices that were measured, with one value per frame and object.

    A value is nan where the protocol does not count that frame for that object. `strange`: predicted ids that are no
    object, and the number of measured frames that have them.
    """

    frames: list[int] = field(default_factory=list)
    region: dict[int, list[float]] = field(default_factory=dict)
    contour: dict[int, list[float]] = field(default_factory=dict)
    strange: dict[int, int] = field(default_factory=dict)


def region_similarity(prediction: np.ndarray, truth: np.ndarray, void: np.ndarray | None = None) -> float:
    """Jaccard index |A & B| / |A | B| of two masks; 1 where both are empty.

    `prediction`, `truth`: bool or 0/1 integer (H, W). `void`: pixels left out of both, same shape, or None. Returns a
    value in [0, 1]. Raises ValueError where shapes or values do not fit.
    """
    prediction, truth = _pair(prediction, truth, void)
    union = np.count_nonzero(prediction | truth)
    return np.count_nonzero(prediction & truth) / union if union else 1.0


def contour_accuracy(
    prediction: np.ndarray, truth: np.ndarray, void: np.ndarray | None = None, tolerance: float = 0.008
) -> float:
    """F-measure of the two masks' contours, matched within a tolerance.

    `prediction`, `truth`: bool or 0/1 integer (H, W). `void`: pixels left out of both, same shape, or None.
    `tolerance`: a share of the frame's diagonal, rounded up to whole pixels, or that number of pixels where it is 1 or
    more. Returns a value in [0, 1]: 1 where neither mask has a contour (a mask that fills the frame has none), 0 where
    only one has.
    Raises ValueError where shapes or values do not fit.
    """
    prediction, truth = _pair(prediction, truth, void)
    height, width = truth.shape
    radius = math.ceil(tolerance if tolerance >= 1 else tolerance * float(np.linalg.norm((height, width))))

    # Outside the box around both masks there is no contour, so that nothing there can match or fail to. One pixel of
    # margin holds the contour's pixels left of and above a mask and keeps the rule for the frame's last row and column
    # to where the crop ends with the frame; the tolerance stays that of the whole frame.
    x, y, w, h = cv2.boundingRect((prediction | truth).view(np.uint8))
    if w == 0 or h == 0:
        return 1.0
    crop = (slice(max(y - 1, 0), y + h + 1), slice(max(x - 1, 0), x + w + 1))
    predicted, true = _contour(prediction[crop]), _contour(truth[crop])

    n_predicted, n_true = int(np.count_nonzero(predicted)), int(np.count_nonzero(true))
    if n_predicted == 0 or n_true == 0:
        return float(n_predicted == n_true)
    disk = _disk(radius)
    precision = np.count_nonzero(predicted & cv2.dilate(true, disk)) / n_predicted
    recall = np.count_nonzero(true & cv2.dilate(predicted, disk)) / n_true
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def statistics(values: Sequence[float] | np.ndarray) -> Statistics:
    """Mean, recall and decay of one object's values over the frames of a sequence, in order; nan is left out.

    Neighbouring quarters share a frame, as in the official toolkit. Its indices are 8-bit, so that it errs from 256
    frames on; these do not wrap.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"values must be one number per frame, found an array of shape {array.shape}")
    array = array[~np.isnan(array)]  # frames that the protocol does not count for this object
    if array.size == 0:
        return Statistics(math.nan, math.nan, math.nan)
    ends = (np.round(np.linspace(1, array.size, 5) + 1e-10) - 1).astype(np.int64)
    decay = array[ends[0] : ends[1] + 1].mean() - array[ends[3] : ends[4] + 1].mean()
    return Statistics(float(array.mean()), float((array > 0.5).mean()), float(decay))


def score_sequence(
    read_prediction: Callable[[int], np.ndarray],
    read_truth: Callable[[int], np.ndarray | None],
    objects: Mapping[int, int],
    frames: Iterable[int],
    *,
    protocol: str = "davis",
    ends: str | None = None,
    void: str = "background",
) -> Scores:
    """J and F per object and frame of one sequence, read frame by frame; two frames' masks are held at most.

    `read_prediction(i)` and `read_truth(i)` give id masks uint8 (H, W); `read_truth` gives None where frame i has no
    annotation, and the frame is left out. `objects`: the ids to measure, and the frame that each first appears in.
    `protocol`, which frames count for an object:

    - "davis": all. A mask that is rightly empty has 1, before the object's first appearance too.
    - "from-first-appearance": from the first measured frame on where it is in the truth or in the prediction.
    - "youtube-vos": the annotated ones after the frame it first appears in, whose mask the method is given.

    `ends`: "skip" leaves out the first and the last annotated frame, as DAVIS does, "keep" does not; by default "keep"
    for youtube-vos, else "skip". `void`: pixels that are 255 in the truth are "background", as in the official
    semi-supervised figures, or left out ("ignore"). Pixels of a predicted id that is no object are no object's.
    Raises ValueError where a prediction has another size than the truth.
    """
    if protocol not in PROTOCOLS or ends not in (None, "skip", "keep") or void not in ("background", "ignore"):
        raise ValueError(f"unknown protocol={protocol!r}, ends={ends!r} or void={void!r}")
    skip = ends == "skip" or (ends is None and protocol != "youtube-vos")
    scores = Scores([], {int(i): [] for i in objects}, {int(i): [] for i in objects})
    seen: set[int] = set()

    def score(index: int, truth: np.ndarray) -> None:
        counted = set(objects)
        if protocol == "youtube-vos":
            counted = {i for i, first in objects.items() if index > first}
            if not counted:
                return
        prediction = read_prediction(index)
        if prediction.shape != truth.shape:
            raise ValueError(f"frame {index}: the prediction has shape {prediction.shape}, the truth {truth.shape}")
        predicted, true = (set(np.flatnonzero(np.bincount(mask.ravel())).tolist()) for mask in (prediction, truth))
        if protocol == "from-first-appearance":
            seen.update((predicted | true) & counted)
            counted = seen
        for i in sorted(predicted - {0} - set(objects)):
            scores.strange[i] = scores.strange.get(i, 0) + 1
        ignored = truth == 255 if void == "ignore" else None
        scores.frames.append(index)
        for i in scores.region:
            if i in counted:
                masks = prediction == i, truth == i
                scores.region[i].append(region_similarity(*masks, ignored))
                scores.contour[i].append(contour_accuracy(*masks, ignored))
            else:
                scores.region[i].append(math.nan)
                scores.contour[i].append(math.nan)

    held: tuple[int, np.ndarray] | None = None  # the last annotated frame: measured once a later one is seen
    first = True
    for index in frames:
        truth = read_truth(index)
        if truth is None:
            continue
        if held is not None:
            score(*held)
        held = None if first and skip else (index, truth)
        first = False
    if held is not None and not skip:
        score(*held)
    return scores


def _pair(prediction: np.ndarray, truth: np.ndarray, void: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Both masks as bool (H, W), void pixels cleared in both."""
    prediction, truth = np.asarray(prediction), np.asarray(truth)
    if prediction.ndim != 2 or prediction.shape != truth.shape or 0 in truth.shape:
        raise ValueError(
            f"masks must be two (H, W) arrays of one shape, found a prediction of shape {prediction.shape} and a truth "
            f"of shape {truth.shape}"
        )
    prediction, truth = _boolean(prediction, "prediction"), _boolean(truth, "truth")
    if void is None:
        return prediction, truth
    void = np.asarray(void)
    if void.shape != truth.shape:
        raise ValueError(f"void must have the masks' shape {truth.shape}, found {void.shape}")
    keep = ~_boolean(void, "void")
    return prediction & keep, truth & keep


def _boolean(mask: np.ndarray, name: str) -> np.ndarray:
    if mask.dtype == bool:
        return mask
    if mask.dtype.kind not in "iu" or mask.min() < 0 or mask.max() > 1:
        # A 0/255 mask or probabilities taken for a mask give plausible figures; better none.
        raise ValueError(
            f"the {name} must be bool or 0/1 integers, found {mask.dtype} from {mask.min()} to {mask.max()}"
        )
    return mask.astype(bool)


def _contour(mask: np.ndarray) -> np.ndarray:
    """The one-pixel contour of a bool mask as uint8 0/1: where a pixel differs from its east, south or south-east one.

    The last row looks east only, the last column south only, the corner not at all.
    """
    contour = np.zeros(mask.shape, np.uint8)
    inner = mask[:-1, :-1]
    contour[:-1, :-1] = (inner ^ mask[:-1, 1:]) | (inner ^ mask[1:, :-1]) | (inner ^ mask[1:, 1:])
    contour[-1, :-1] = mask[-1, :-1] ^ mask[-1, 1:]
    contour[:-1, -1] = mask[:-1, -1] ^ mask[1:, -1]
    return contour


@lru_cache(maxsize=8)
def _disk(radius: int) -> np.ndarray:
    """uint8 (2r+1, 2r+1), 1 within Euclidean distance `radius` of the middle."""
    axis = np.arange(-radius, radius + 1)
    return (axis[:, None] ** 2 + axis[None, :] ** 2 <= radius**2).astype(np.uint8)
