"""Means of metrics over groups of objects: all, per attribute, per class, seen and unseen classes, and over time.

Every mean is over objects; each object is first averaged over its frames, as in the official DAVIS toolkit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from eosvos.evaluation.metrics.boxes_errors import THRESHOLDS, Errors, error_shares, share_above

if TYPE_CHECKING:
    from eosvos.evaluation.metrics.sequence_scores import SequenceResult

ScoredObjects = Iterable[tuple["SequenceResult", int]]

METRICS = ("J&F-Mean", "J-Mean", "J-Recall", "J-Decay", "F-Mean", "F-Recall", "F-Decay")  # the official toolkit's names
YOUTUBE_VOS_METRICS = ("Overall", "J-seen", "F-seen", "J-unseen", "F-unseen")
_MEANS = ("J&F-Mean", "J-Mean", "F-Mean")


def scored_objects(results: Iterable[SequenceResult]) -> list[tuple[SequenceResult, int]]:
    """Return pairs of result and object id for all scored objects."""
    return [(result, i) for result in results for i in result.objects]


def mean_metrics(of: ScoredObjects) -> dict[str, float]:
    """Average the official metrics, by their names in `METRICS`, over objects; nan without any."""
    both = [result.statistics(i) for result, i in of]
    region, contour = (np.array([pair[k] for pair in both]).reshape(-1, 3) for k in (0, 1))
    # An empty mean would warn; no annotation is no reason to.
    j, f = (values.mean(0) if len(values) else np.full(3, math.nan) for values in (region, contour))
    return {name: float(value) for name, value in zip(METRICS, [(j[0] + f[0]) / 2, *j, *f], strict=True)}


def mean_extra_metrics(of: ScoredObjects) -> dict[str, float]:
    """Average the extra metrics over objects.

    Returns:
        As far as they were computed: "T-Mean"; "boxes-0.5" and so on, the share of boxes above an overlap (OSVOS,
        Table 5); "error-pixels", the number of wrong pixels, and "error-KIND", the share of each kind (OSVOS, Figure
        5).
    """
    of = list(of)
    metrics: dict[str, float] = {}
    if any("T" in result.extra_metrics for result, _ in of):
        means = [_mean(result.extra_metrics["T"][i]) for result, i in of if "T" in result.extra_metrics]
        metrics["T-Mean"] = _mean(means)
    if any("boxes" in result.extra_metrics for result, _ in of):
        overlaps = [value for result, i in of for value in result.extra_metrics["boxes"][i]]
        metrics |= {f"boxes-{t:g}": share for t, share in zip(THRESHOLDS, share_above(overlaps), strict=True)}
    if any("near" in result.extra_metrics for result, _ in of):
        kinds = [[result.extra_metrics[kind][i] for kind in Errors._fields] for result, i in of]
        errors = [pixels for columns in kinds for pixels in zip(*columns, strict=True)]
        metrics["error-pixels"] = float(np.nansum(np.array(errors, np.float64)))
        metrics |= {f"error-{kind}": share for kind, share in error_shares(errors)._asdict().items()}
    return metrics


def by_attribute(results: Sequence[SequenceResult]) -> list[dict[str, Any]]:
    """Return a row per video attribute: means over the sequences with and without it (OSVOS, Table 3)."""
    rows = []
    for attribute in sorted({attribute for result in results for attribute in result.attributes}):
        having = scored_objects(result for result in results if attribute in result.attributes)
        others = scored_objects(result for result in results if attribute not in result.attributes)
        count = len({result.name for result, _ in having})
        row: dict[str, Any] = {"Attribute": attribute, "sequences": count, "objects": len(having)}
        within, without = mean_metrics(having), mean_metrics(others)
        rows.append(row | {k: within[k] for k in _MEANS} | {f"{k}-without": without[k] for k in _MEANS})
    return rows


def by_category(results: Sequence[SequenceResult]) -> list[dict[str, Any]]:
    """Return a row per class of objects."""
    members: dict[str, list[tuple[SequenceResult, int]]] = {}
    for result, i in scored_objects(results):
        if i in result.categories:
            members.setdefault(result.categories[i], []).append((result, i))
    return [
        {"Category": name, "objects": len(of), **{k: v for k, v in mean_metrics(of).items() if k in _MEANS}}
        for name, of in sorted(members.items())
    ]


def seen_and_unseen(results: Sequence[SequenceResult]) -> dict[str, float]:
    """Average J and F over objects of seen and of unseen classes, as YouTube-VOS does.

    Returns:
        The values of `YOUTUBE_VOS_METRICS`, "Overall" being the mean of the four others; empty if the data set does not
        distinguish the classes.
    """
    split_results = [result for result in results if result.unseen is not None]
    if not split_results:
        return {}
    metrics: dict[str, float] = {}
    for word in ("seen", "unseen"):
        of = mean_metrics(
            (r, i) for r, i in scored_objects(split_results) if (i in (r.unseen or ())) == (word == "unseen")
        )
        metrics |= {f"J-{word}": of["J-Mean"], f"F-{word}": of["F-Mean"]}
    return dict(zip(YOUTUBE_VOS_METRICS, [float(np.mean(list(metrics.values()))), *metrics.values()], strict=True))


def over_time(results: Sequence[SequenceResult], bins: int = 20) -> list[dict[str, Any]]:
    """Average J and F in equal parts of the videos (OSMN, Figure 4).

    Args:
        results: the sequences.
        bins: number of parts.

    Returns:
        A row per part: the position of its middle, in [0, 1], the means over the objects with a scored frame in it, and
        their number.
    """
    parts: list[list[tuple[float, float]]] = [[] for _ in range(bins)]
    for result, i in scored_objects(results):
        values = np.array([result.region[i], result.contour[i]])
        place = np.arange(values.shape[1]) * bins // values.shape[1]
        for part in np.unique(place[~np.isnan(values[0])]):
            j, f = np.nanmean(values[:, place == part], axis=1)
            parts[part].append((float(j), float(f)))
    rows = []
    for part, values_of_part in enumerate(parts):
        if values_of_part:
            j, f = np.mean(values_of_part, axis=0)
            position = round((part + 0.5) / bins, 6)
            rows.append({"Position": position, "J-Mean": float(j), "F-Mean": float(f), "objects": len(values_of_part)})
    return rows


def _mean(values: Sequence[float]) -> float:
    """Average without nan; nan if nothing is left."""
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan
