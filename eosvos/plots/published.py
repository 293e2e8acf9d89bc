"""Published results: published.csv, whole data sets, and published_groups.csv, single sequences, categories and means.

Every number is in percent as it was printed, beside its table and page. The columns of e-OSVOS's supplementary Table 1
were read from the text of the file, in which they stand in another order: with the objects' numbers they give
PReMVOS's J of Table 2 exactly, and 74.1 for e-OSVOS-100-OnA where Table 2 has 74.4.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from eosvos.errors import UserError
from eosvos.plots.runs import Run

QUALITIES = {"J": "J", "F": "F", "JF": "J&F"}  # on the command line, where & would need quotes -> in tables


@dataclass(frozen=True)
class Published:
    """A published result of a method on a data set; quality in [0, 1]."""

    method: str
    dataset: str
    split: str
    fine_tuning: bool  # of the whole network on the first frame
    quality: dict[str, float]  # J, F, J&F, as far as published; J&F also as the mean of J and F
    fps: float  # nan: not told
    fps_dataset: str  # that the speed was measured on; empty: unknown
    hardware: str  # empty: unknown
    source: str
    printed: dict[str, str]  # the row of published.csv


class Group(NamedTuple):
    """A published J of a method on a part of a data set, in percent as printed."""

    dataset: str
    split: str
    group: str  # "sequence", "category" or "mean"
    name: str  # of the sequence or category; of a mean: over "sequences", "objects" or "categories"
    method: str
    j: str
    source: str


class Data(NamedTuple):
    """What a run is over."""

    name: str
    split: str  # empty: the data set's usual one
    part: str  # "some sequences" if it is a selection, else empty

    def __str__(self) -> str:
        return " ".join(filter(None, self))


def published() -> list[Published]:
    """Read published.csv."""
    return [_point(row) for row in _rows("published.csv")]


def published_groups() -> list[Group]:
    """Read published_groups.csv."""
    return [Group(*row.values()) for row in _rows("published_groups.csv")]


def data_of(run: Run) -> Data:
    """Return what a run is over, by its settings."""
    settings = run.results.fingerprint
    dataset = settings.get("dataset")
    name = dataset.get("name") if isinstance(dataset, dict) else dataset
    part = "some sequences" if settings.get("sequences") else ""
    return Data(str(name or "other data"), settings.get("split") or "", part)


def is_on(result: Published | Group, data: Data, *, part: bool = False) -> bool:
    """Tell whether a published result is on these data; `part`: a selection of the sequences is enough."""
    split = data.split == result.split or (not data.split and result.split in ("val", "valid"))
    return result.dataset == data.name and split and (part or not data.part)


def published_behind(name: str | None, runs: Sequence[Run]) -> tuple[list[Published], str]:
    """Choose the published results of known speed to draw behind runs.

    Args:
        name: their data set; None: that of the runs; "none": no results.
        runs: the runs to draw.

    Returns:
        The results, and a note about the choice for the reader; empty if there is nothing to note.

    Raises:
        UserError: if there are no results on the data set `name`.
    """
    points = [point for point in published() if not math.isnan(point.fps)]
    known = list(dict.fromkeys(point.dataset for point in points))
    if name not in (None, "none", *known):
        raise UserError(f"published={name}: expected one of {', '.join(known)}, none, or null for the runs' own")
    if name == "none":
        return [], ""
    own = [data_of(run) for run in runs]
    chosen = [p for p in points if p.dataset == name or (name is None and all(is_on(p, data) for data in own))]
    others = sorted({str(data) for data in own if not all(is_on(p, data) for p in chosen)})
    if chosen and others:
        where = f"{chosen[0].dataset} {chosen[0].split}"
        return chosen, f"beware: the published points are on {where}, these runs on {' and '.join(others)}"
    hint = f"; published={known[0]} (or {', '.join(known[1:])}) shows those of that data set all the same"
    return chosen, "" if chosen else f"no published points on exactly the data of these runs{hint}"


def _rows(name: str) -> list[dict[str, str]]:
    with Path(__file__).with_name(name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _point(row: dict[str, str]) -> Published:
    quality = {measure: float(row[measure]) / 100 for measure in QUALITIES.values() if row[measure]}
    if "J&F" not in quality and {"J", "F"} <= quality.keys():
        quality["J&F"] = (quality["J"] + quality["F"]) / 2
    rest = {key: row[key] for key in ("method", "dataset", "split", "fps_dataset", "hardware", "source")}
    fps = float(row["fps"] or "nan")
    return Published(**rest, fine_tuning=row["fine_tuning"] == "yes", quality=quality, fps=fps, printed=row)
