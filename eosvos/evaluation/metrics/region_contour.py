"""Region similarity J and contour accuracy F of DAVIS, with the arithmetic of davis2017-evaluation.

Source: Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation" (CVPR 2016,
section 3) and the official toolkit davis2017-evaluation, whose wrong decay beyond 255 frames is corrected. NumPy and
OpenCV only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from collections.abc import Sequence as Values
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import cv2
import numpy as np

from eosvos.data.masks import jaccard
from eosvos.data.sequence import VideoSequence
from eosvos.evaluation.metrics.bit_planes import GROUP, compare
from eosvos.evaluation.metrics.boxes_errors import box_overlap, contour_errors
from eosvos.evaluation.metrics.temporal_stability import matching_cost, shape_contexts

PROTOCOLS = ("davis", "youtube-vos", "lvos", "from-first-appearance")
# Metrics besides J and F, and the keys that they have in `Scores.extra_metrics`
EXTRA_METRICS = {"T": ("T",), "boxes": ("boxes",), "errors": ("near", "far", "missed")}


class Statistics(NamedTuple):
    """Statistics of an object's values over a sequence, as DAVIS reports them; nan without values."""

    mean: float
    recall: float  # share of frames with a value above 0.5
    decay: float  # mean of the first quarter minus that of the last


@dataclass
class Scores:
    """Scores of a sequence, one value per scored frame and object; nan if that frame does not count for that object.

    Attributes:
        frames: indices of the scored frames.
        region: J by object id.
        contour: F by object id.
        unknown_ids: number of scored frames by predicted id that is no object.
        extra_metrics: values by metric and object id: "T" (temporal_stability.py; of a frame and the scored one
            before), "boxes" (overlap of boxes_errors.py), "near", "far" and "missed" (its wrong pixels).
    """

    frames: list[int] = field(default_factory=list)
    region: dict[int, list[float]] = field(default_factory=dict)
    contour: dict[int, list[float]] = field(default_factory=dict)
    unknown_ids: dict[int, int] = field(default_factory=dict)
    extra_metrics: dict[str, dict[int, list[float]]] = field(default_factory=dict)


def region_similarity(prediction: np.ndarray, truth: np.ndarray, void: np.ndarray | None = None) -> float:
    """Compute the region similarity J, the Jaccard index |A & B| / |A | B| of two masks.

    Args:
        prediction: bool or 0/1 integer (H, W).
        truth: bool or 0/1 integer (H, W).
        void: pixels that are left out of both, (H, W); None: none.

    Returns:
        A value in [0, 1]; 1 if both masks are empty.

    Raises:
        ValueError: if shapes or values do not fit.
    """
    prediction, truth = _pair(prediction, truth, void)
    return jaccard(prediction, truth)


def contour_accuracy(
    prediction: np.ndarray, truth: np.ndarray, void: np.ndarray | None = None, tolerance: float = 0.008
) -> float:
    """Compute the contour accuracy F, the F-measure of two masks' contours matched within a tolerance.

    Args:
        prediction: bool or 0/1 integer (H, W).
        truth: bool or 0/1 integer (H, W).
        void: pixels that are left out of both, (H, W); None: none.
        tolerance: below 1: share of the frame's diagonal, rounded up to whole pixels; from 1 on: pixels.

    Returns:
        A value in [0, 1]: 1 if neither mask has a contour (a mask that fills the frame has none), 0 if only one has.

    Raises:
        ValueError: if shapes or values do not fit.
    """
    prediction, truth = _pair(prediction, truth, void)
    radius = math.ceil(tolerance) if tolerance >= 1 else _radius(truth.shape, tolerance)
    return compare(prediction.view(np.uint8) | truth.view(np.uint8) << 4, radius)[0][1]


def statistics(values: Values[float] | np.ndarray) -> Statistics:
    """Compute mean, recall and decay of an object's values over the frames of a sequence.

    Neighbouring quarters share a frame, as in the official toolkit, whose 8-bit indices wrap from 256 frames on; these
    do not.

    Args:
        values: one per frame, in order; nan is left out.
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
    extra_metrics: Collection[str] = (),
    last: Mapping[int, int] | None = None,
) -> Scores:
    """Compute J and F per object and frame of one sequence; holds the masks of two frames at most.

    Args:
        read_prediction: gives the predicted id mask, uint8 (H, W), of a frame index.
        read_truth: gives the true id mask, uint8 (H, W), of a frame index; None if the frame is not annotated.
        objects: index of the first frame with the object, by object id (1 to 254).
        frames: frame indices, ascending.
        protocol: which frames count for an object:

            - "davis": all. An object that is rightly absent has 1, also before it first appears.
            - "from-first-appearance", as in vos-benchmark: from the first scored frame on where the object is in the
              truth or in the prediction; an object that is in the truth of no scored frame does not count.
            - "youtube-vos": annotated frames after the first one with the object. It is published that the server
              scores every fifth frame, that objects may appear late, and that J and F are averaged over objects of seen
              and of unseen classes; not its code. That a given mask does not count and that the last frame does is our
              reading.
            - "lvos", as in the current lvos-evaluation (its first release counted the given mask too): annotated frames
              between the first and the last one with the object, both excluded.
        ends: whether the first and the last annotated frame are left out: "skip" (as in DAVIS) or "keep"; None:
            `ends_of(protocol)`.
        void: what 255 in the truth is: "background", as in the official semi-supervised evaluation, or "ignore": left
            out of both masks.
        extra_metrics: keys of `EXTRA_METRICS` to compute, too.
        last: index of the last frame with the object, by object id; missing: the end of the video.

    Returns:
        The scores. Pixels of a predicted id that is no object belong to no object.

    Raises:
        ValueError: if a mask is not uint8 (H, W), or the sizes of prediction and truth differ.
    """
    for name, value, known in (
        ("protocol", protocol, PROTOCOLS),
        ("ends", ends, ("skip", "keep", None)),
        ("void", void, ("background", "ignore")),
        *(("measures", metric, tuple(EXTRA_METRICS)) for metric in extra_metrics),
    ):
        if value not in known:
            raise ValueError(f"{name}={value!r}: expected one of {', '.join(map(str, known))}")
    objects = {int(i): first for i, first in objects.items()}
    if not all(0 < i < 255 for i in objects):
        raise ValueError(f"objects have ids from 1 to 254, found {sorted(objects)}")
    scores = Scores([], {i: [] for i in objects}, {i: [] for i in objects})
    scores.extra_metrics = {key: {i: [] for i in objects} for metric in extra_metrics for key in EXTRA_METRICS[metric]}
    seen: set[int] = set()  # in the truth or a prediction
    true: set[int] = set()  # in the truth
    before: dict[int, np.ndarray | None] = {}  # each object's shape contexts in the last scored frame

    def score(index: int, truth: np.ndarray) -> None:
        counted = counted_objects(protocol, objects, last or {}, index)
        if not counted:
            return
        prediction = read_prediction(index)
        _check_ids(index, prediction, truth)
        scores.frames.append(index)
        radius = _radius(truth.shape)
        if void == "ignore":
            prediction = np.where(truth == 255, 0, prediction).astype(np.uint8)
        # One pixel around all that either has: contours lie above and left of an object, too.
        x, y, w, h = cv2.boundingRect(cv2.bitwise_or(prediction, truth))
        crop = (slice(max(y - 1, 0), y + h + 1), slice(max(x - 1, 0), x + w + 1))
        prediction, truth = prediction[crop], truth[crop]
        predicted = _ids(prediction)
        for i in sorted(predicted - objects.keys()):
            scores.unknown_ids[i] = scores.unknown_ids.get(i, 0) + 1
        if protocol == "from-first-appearance":
            true.update(_ids(truth))
            seen.update(predicted | true)
            counted &= seen
        values = _compare(prediction, truth, sorted(counted), radius)
        for i in objects:
            scores.region[i].append(values[i][0] if i in counted else math.nan)
            scores.contour[i].append(values[i][1] if i in counted else math.nan)
            if extra_metrics:
                _append_extra_metrics(scores, i, prediction == i, truth == i, i in counted, before)

    held: tuple[int, np.ndarray] | None = None  # the last annotated frame: scored once there is a later one
    skip = (ends or ends_of(protocol)) == "skip"
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
    if protocol == "from-first-appearance":
        for values in (scores.region, scores.contour, *scores.extra_metrics.values()):
            values.update({i: [math.nan] * len(scores.frames) for i in objects.keys() - true})
    return scores


def ends_of(protocol: str) -> str:
    """Return what a protocol does with the first and the last annotated frame: "skip" or "keep"."""
    return "keep" if protocol in ("youtube-vos", "lvos") else "skip"


def counted_objects(protocol: str, objects: Mapping[int, int], last: Mapping[int, int], index: int) -> set[int]:
    """Return the ids of the objects for which frame `index` counts, as far as that is known without its masks."""
    if protocol not in ("youtube-vos", "lvos"):
        return set(objects)
    after = {i for i, first in objects.items() if index > first}
    return {i for i in after if index < last.get(i, math.inf)} if protocol == "lvos" else after


def _compare(prediction: np.ndarray, truth: np.ndarray, ids: list[int], radius: int) -> dict[int, tuple[float, float]]:
    """Compute J and F of the objects `ids` in two id masks, uint8 (H, W)."""
    scores: dict[int, tuple[float, float]] = {}
    for group in (ids[k : k + GROUP] for k in range(0, len(ids), GROUP)):
        bits = np.zeros(256, np.uint8)
        bits[group] = 1 << np.arange(len(group))
        planes = cv2.bitwise_or(cv2.LUT(prediction, bits), cv2.LUT(truth, bits << 4))
        scores |= zip(group, compare(planes, radius), strict=False)
    return scores


def _append_extra_metrics(
    scores: Scores, i: int, prediction: np.ndarray, truth: np.ndarray, counts: bool, before: dict[int, Any]
) -> None:
    """Append the extra metrics of object `i` in a frame; nan if the frame does not count for it."""
    if "T" in scores.extra_metrics:
        now = shape_contexts(prediction) if counts else None
        scores.extra_metrics["T"][i].append(matching_cost(before.get(i), now))
        before[i] = now
    if "boxes" in scores.extra_metrics:
        scores.extra_metrics["boxes"][i].append(box_overlap(prediction, truth) if counts else math.nan)
    if "missed" in scores.extra_metrics:
        errors = contour_errors(prediction, truth) if counts else (math.nan,) * 3
        for key, value in zip(EXTRA_METRICS["errors"], errors, strict=True):
            scores.extra_metrics[key][i].append(value)


def _ids(mask: np.ndarray) -> set[int]:
    """Return the ids in a mask; five times faster than np.bincount, which makes an int64 of each pixel."""
    counts = cv2.calcHist([mask], [0], None, [256], [0, 256])
    return set(counts.ravel().nonzero()[0].tolist()) - {0}


def _radius(shape: tuple[int, ...], tolerance: float = 0.008) -> int:
    """Return the matching tolerance in pixels: a share of the frame's diagonal."""
    return math.ceil(tolerance * float(np.linalg.norm(shape)))


def _check_ids(index: int, prediction: np.ndarray, truth: np.ndarray) -> None:
    for name, mask in (("prediction", prediction), ("truth", truth)):
        if mask.ndim != 2 or mask.dtype != np.uint8 or not mask.size:
            raise ValueError(f"frame {index}: the {name} must be uint8 (H, W), found {mask.dtype} {mask.shape}")
    if prediction.shape != truth.shape:
        raise ValueError(f"frame {index}: the prediction has shape {prediction.shape}, the truth {truth.shape}")


def _pair(prediction: np.ndarray, truth: np.ndarray, void: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Convert both masks to bool (H, W), with void pixels cleared."""
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


@dataclass(frozen=True)
class ScoringRules:
    """Rules of scoring: see the arguments of `score_sequence`."""

    protocol: str = "davis"
    ends: str | None = None  # None: as the protocol has it
    void: str = "background"
    extra_metrics: tuple[str, ...] = ()  # keys of `EXTRA_METRICS`, besides J and F

    def as_json(self) -> dict[str, Any]:
        """The rules as they are stored in run.json and in proofs, and as folder names are made of them."""
        stored = {"protocol": self.protocol, "ends": self.ends, "void": self.void}
        return stored | {"more": list(self.extra_metrics)}  # under the name that earlier versions stored it by


def counts(sequence: VideoSequence, indices: Iterable[int], rules: ScoringRules) -> list[int]:
    """Return those of the frames `indices` that are scored: annotated ones that count for an object."""
    if not sequence.has_ground_truth:
        return []
    indices = list(indices)
    ends = set()
    if indices and (rules.ends or ends_of(rules.protocol)) == "skip":
        order = range(len(sequence))
        ends = {next(i for i in way if sequence.mask(i) is not None) for way in (order, reversed(order))}
    of = (rules.protocol, sequence.first_frame, sequence.last_frame)
    return [i for i in indices if i not in ends and counted_objects(*of, i) and sequence.mask(i) is not None]
