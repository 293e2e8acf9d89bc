"""Tables of runs beside the printed rows of the papers: whole data sets (e-OSVOS, Tables 2 and 3), sequences (e-OSVOS,
supplement, Table 1; OSVOS, Table 7), categories (OSVOS, Table 6) and attributes (OSVOS, Table 3). Values in percent."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from eosvos.evaluation.metrics import aggregate
from eosvos.evaluation.results import to_csv
from eosvos.files import write_text
from eosvos.plots.bars_and_curves import per_sequence
from eosvos.plots.published import Data, data_of, is_on, published, published_groups
from eosvos.plots.quality_speed import quality_of, speed
from eosvos.plots.runs import Run, average, means
from eosvos.plots.text import WIDTH, fitted

_PRINTED_ROWS = 60  # of more rows the file tells
_MAIN = {"J": "J", "J_decay": "J decay", "F": "F", "J&F": "J&F"}  # columns of published.csv -> headings
_CLASSES = {"J_seen": "J seen", "F_seen": "F seen", "J_unseen": "J unseen", "F_unseen": "F unseen"}


@dataclass(frozen=True)
class Table:
    """A table: cells are text; empty means not told."""

    name: str  # of its file, without suffix
    title: str
    rows: list[dict[str, Any]]
    notes: list[str] = field(default_factory=list)
    summary: int = 0  # rows at the end, means of those above
    numbered: bool = False  # whether numbers may stand for the names of the rows where there is no room

    def write(self, out: Path) -> None:
        """Write the table as CSV."""
        write_text(out, to_csv(self.rows))

    def text(self) -> str:
        """Format the table in at most 100 columns, if it can be; of many rows only the means."""
        rows, notes = self.rows, list(self.notes)
        if len(rows) - self.summary > _PRINTED_ROWS:
            notes.insert(0, f"{len(rows) - self.summary} rows above these means are in {self.name}.csv")
            rows = rows[len(rows) - self.summary :]
        header = [key for key in self.rows[0] if key != "source"]
        cells = [[row[key] or "-" for key in header] for row in rows]
        sources = list(dict.fromkeys(row["source"] for row in rows if row.get("source")))
        if sources:
            header = [*header, "from"]
            numbers = [f"[{sources.index(row['source']) + 1}]" if row["source"] else "" for row in rows]
            cells = [[*row, number] for row, number in zip(cells, numbers, strict=True)]
            notes = [*(f"[{k}] {source}" for k, source in enumerate(sources, 1)), *notes]
        below = [line for note in notes for line in textwrap.wrap(note, WIDTH)]
        return "\n".join([self.title, fitted(header, cells, numbered=self.numbered), *below])


def tables(runs: Sequence[Run]) -> list[Table]:
    """Make all tables that the runs have something for, for each data set that they are over."""
    made: list[Table] = []
    by_data: dict[Data, list[Run]] = {}
    for run in runs:
        by_data.setdefault(data_of(run), []).append(run)
    for data, those in by_data.items():
        suffix = f"-{data.name}{'-' * bool(data.split)}{data.split}".replace("/", "-") if len(by_data) > 1 else ""
        found = (methods(those, data), sequences(those, data), categories(those, data), attributes(those, data))
        if not found[3].rows and data.name.startswith("davis"):
            found[1].notes.append("no table of attributes: the annotations have no db_info.yml beside them")
        made += [replace(one, name=one.name + suffix) for one in found if one.rows]
    return made


def methods(runs: Sequence[Run], data: Data) -> Table:
    """Make the table of whole data sets: published rows in their printed order, then the runs.

    Args:
        runs: runs over the data.
        data: what they are over; published rows are of exactly that.
    """
    points = [point for point in published() if is_on(point, data)]
    unseen = any("Overall" in run.results.summary for run in runs) or any(p.printed["J_seen"] for p in points)
    columns = {"J&F": "overall", **_CLASSES} if unseen else dict(_MAIN)
    rows = []
    for point in points:
        printed = point.printed
        tuned = {"FT": "x" if point.fine_tuning else "", "PP": "x" if printed["post_processing"] == "yes" else ""}
        name = point.method + "†" * (printed["ensemble"] == "yes")
        values = {heading: printed[key] for key, heading in columns.items()}
        rows.append({"method": name, **tuned, **values, "fps": printed["fps"], "source": point.source})
    for run in runs:
        summary, steps = run.results.summary, run.results.fingerprint.get("iters")
        own = {key: _percent(summary.get(key.replace("_", "-"), math.nan)) for key in _CLASSES}
        own |= {"J": _percent(summary["J-Mean"]), "F": _percent(summary["F-Mean"])}
        own |= {"J_decay": _percent(summary["J-Decay"]), "J&F": _percent(quality_of(run, "J&F"))}
        fps = speed(run)
        values = {heading: own[key] for key, heading in columns.items()}
        tuned = {"FT": "x" if steps else "", "PP": ""}
        rows.append({"method": run.label, **tuned, **values, "fps": f"{fps:.3g}" if fps else "", "source": ""})
    notes = ["FT: fine-tuned on the first frame; PP: post-processed; †: ensemble of models; speeds on other hardware"]
    none = [f"no published rows are on exactly these data ({data})"]
    return Table("methods", f"{data}: methods", rows, notes if points else none, numbered=True)


def sequences(runs: Sequence[Run], data: Data) -> Table:
    """Make the table of J per sequence, the mean over its objects, with the means over sequences and over objects."""
    values = per_sequence(runs)
    known = [g for g in published_groups() if is_on(g, data, part=g.group == "sequence") and g.group != "category"]
    printed = {(g.name, g.method): g.j for g in known}
    methods_there, notes = _methods_of(known, ("sequences", "objects", *values.names))
    own_names = _own_names(runs, methods_there)
    counts = {result.name: len(result.objects) for run in runs for result in run.measured}
    rows = []
    for name, j in sorted(zip(values.names, values.region.T, strict=True)):
        own = {run: _percent(value) for run, value in zip(own_names, j, strict=True)}
        beside = {method: printed.get((name, method), "") for method in methods_there}
        rows.append({"sequence": name, "objects": str(counts[name]), **beside, **own})
    both = {"sequences": _over_sequences, "objects": lambda run: run.results.summary["J-Mean"]}
    for word, mean in both.items() if rows else ():
        beside = {method: printed.get((word, method), "") for method in methods_there}
        own = {name: _percent(mean(run)) for name, run in zip(own_names, runs, strict=True)}
        rows.append({"sequence": f"mean over {word}", "objects": "", **beside, **own})
    return Table("sequences", f"{data}: J per sequence", rows, notes, 2)


def categories(runs: Sequence[Run], data: Data) -> Table:
    """Make the table of J per category of objects, with the mean over categories; no rows without categories."""
    found = [{row["Category"]: row["J-Mean"] for row in aggregate.by_category(run.results.sequences)} for run in runs]
    names = sorted({name for one in found for name in one})
    known = [g for g in published_groups() if is_on(g, data) and (g.group == "category" or g.name == "categories")]
    printed = {(g.name, g.method): g.j for g in known}
    methods_there, notes = _methods_of(known, ("categories", *names))
    own_names, rows = _own_names(runs, methods_there), []
    for name in names:
        beside = {method: printed.get((name, method), "") for method in methods_there}
        own = {run: _percent(one.get(name, math.nan)) for run, one in zip(own_names, found, strict=True)}
        rows.append({"category": name, **beside, **own})
    if rows:
        beside = {method: printed.get(("categories", method), "") for method in methods_there}
        own = {run: _percent(average(list(one.values()))) for run, one in zip(own_names, found, strict=True)}
        rows.append({"category": "mean over categories", **beside, **own})
    return Table("categories", f"{data}: J per category, mean over its objects", rows, notes, 1)


def attributes(runs: Sequence[Run], data: Data) -> Table:
    """Make the table of J over the sequences with each attribute, and what it is higher by over those without.

    No rows if the data set tells none.
    """
    found = [{row["Attribute"]: row for row in aggregate.by_attribute(run.results.sequences)} for run in runs]
    rows = []
    for name in sorted({name for one in found for name in one}):
        own = {}
        for run, one in zip(runs, found, strict=True):
            j, without = (one.get(name, {}).get(key, math.nan) for key in ("J-Mean", "J-Mean-without"))
            gain = "" if math.isnan(j + without) else f" ({100 * (without - j):+.1f})"
            own[run.label] = _percent(j) + gain
        counts = [str(one[name]["sequences"]) for one in found if name in one]
        rows.append({"attribute": name, "sequences": counts[0], **own})
    note = "in brackets: J over the sequences without the attribute, minus that"
    return Table("attributes", f"{data}: J over the sequences with an attribute", rows, [note])


def _over_sequences(run: Run) -> float:
    return average([means(result)[0] for result in run.measured])


def _methods_of(known: Sequence, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the methods with a published value of one of `names`, and the notes that name the sources."""
    those = [group for group in known if group.name in names]
    sources = list(dict.fromkeys(group.source for group in those))
    listed = [
        f"{source}: {', '.join(dict.fromkeys(g.method for g in those if g.source == source))}" for source in sources
    ]
    return list(dict.fromkeys(group.method for group in those)), listed


def _own_names(runs: Sequence[Run], methods_there: Sequence[str]) -> list[str]:
    """Return the headings of runs: their labels, told from published methods of the same name."""
    return [f"{run.label} (run)" if run.label in methods_there else run.label for run in runs]


def _percent(value: float) -> str:
    return "" if math.isnan(value) else f"{100 * value:.1f}"
