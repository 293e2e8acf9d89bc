"""Plots that compare runs: J and F per sequence as bars, and J over the position in the sequence as curves.

The data is computed by `per_sequence` and `aggregate.over_time`. The colours are those of Okabe and Ito, which people
with any colour vision can distinguish.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eosvos.evaluation.metrics import aggregate
from eosvos.evaluation.metrics.sequence_scores import SequenceResult
from eosvos.plots.runs import Run, average, caveats, means
from eosvos.plots.style import COLOURS, canvas, readable

_LINES = ("-", "--", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (3, 3)), (0, (1, 3)))
_ROWS = 60  # sequences in one figure; of more the best and the worst


@dataclass(frozen=True)
class Bars:
    """J and F, float (runs, sequences); nan if a run has not scored a sequence."""

    names: list[str]
    region: np.ndarray
    contour: np.ndarray


def per_frame(result: SequenceResult) -> np.ndarray:
    """Compute J per scored frame, float (frames,): the mean over the objects that count in it; nan without any."""
    values = [result.region[i] for i in result.objects]
    return np.array([average([of[k] for of in values]) for k in range(len(result.scored))])


def per_sequence(runs: Sequence[Run]) -> Bars:
    """Collect J and F of all sequences that any run has scored, sorted by J of the first run that has, descending."""
    means_by_run = [{result.name: means(result) for result in run.measured} for run in runs]
    nothing = (math.nan, math.nan)
    first: dict[str, float] = {}
    for one in reversed(means_by_run):
        first |= {name: j for name, (j, _) in one.items()}
    names = sorted(first, key=lambda name: (-first[name], name))
    values = np.array([[one.get(name, nothing) for name in names] for one in means_by_run], float).reshape(
        len(runs), -1, 2
    )
    return Bars(names, values[..., 0], values[..., 1])


def bars(runs: Sequence[Run], out: Path) -> None:
    """Draw J and F of every sequence as bars, and the means over all objects as lines.

    Args:
        runs: the runs to compare.
        out: the file, .png, .pdf or .svg.
    """
    table = per_sequence(runs)
    rows: list[int | None] = list(range(len(table.names)))
    if len(rows) > _ROWS:  # nobody reads 500 bars
        rows = [*rows[: _ROWS // 2], None, *rows[-_ROWS // 2 :]]
    counts = {result.name: len(result.objects) for run in runs for result in run.measured}
    from matplotlib.patheffects import withStroke

    thick, halo = 0.85 / len(runs), [withStroke(linewidth=2, foreground="white")]
    legend = sum(_wrapped(run.label, 46).count("\n") + 2 for run in runs)
    size = (11, max(2.0, 0.7 + len(rows) * (0.1 + 0.13 * len(runs))) + 0.16 * legend)
    with canvas(out, caveats(runs), columns=2, figsize=size, sharey=True) as (_, axes):
        for axis, measure, values in zip(axes[0], ("J", "F"), (table.region, table.contour), strict=True):
            for k, run in enumerate(runs):
                shown = np.array([math.nan if row is None else values[k, row] for row in rows])
                at = np.arange(len(rows)) + (k - (len(runs) - 1) / 2) * thick
                mean = run.results.summary[f"{measure}-Mean"]
                title = _wrapped(
                    run.label, 46, ": nothing measured" if math.isnan(mean) else f": mean over objects {mean:.3f}"
                )
                drawn = axis.barh(at, np.nan_to_num(shown), thick * 0.92, color=COLOURS[k], label=title)
                absent = ["" if row is None else "not measured" for row in rows]
                texts = [absent[n] if math.isnan(v) else f"{v:.2f}" for n, v in enumerate(shown)]
                axis.bar_label(drawn, texts, fontsize=6, padding=2, path_effects=halo, zorder=4)
                axis.axvline(mean, color=COLOURS[k], linestyle=_LINES[k], linewidth=1, zorder=0.8)
            axis.set(xlim=(0, 1.08), ylim=(len(rows) - 0.4, -0.6), xlabel=f"{measure}, mean over the sequence's frames")
            axis.grid(axis="x", alpha=0.25)
            _legend(axis, loc="lower left", bbox_to_anchor=(0, 1))
        names = [_between(len(table.names)) if row is None else _name(table.names[row], counts) for row in rows]
        axes[0, 0].set_yticks(range(len(rows)), names, fontsize=8)
        axes[0, 0].tick_params(axis="y", length=0)


def over_time(runs: Sequence[Run], out: Path) -> None:
    """Draw J over the position in the sequence (OSMN, Figure 4): a panel per run, and one with the means of all.

    Args:
        runs: the runs to compare.
        out: the file, .png, .pdf or .svg.
    """
    panels = len(runs) + (len(runs) > 1)
    columns = min(panels, 3) if panels != 4 else 2
    grid = {"rows": -(-panels // columns), "columns": columns, "sharey": True}
    crowded = len(runs) > 3 or any(len(run.label) > 40 for run in runs)  # names of the means then stand beside them
    size = (max(6.0, 4.4 * columns) + 3.2 * crowded, 0.5 + 3.6 * grid["rows"])
    with canvas(out, caveats(runs), figsize=size, **grid) as (_, axes):
        for axis in axes.flat[panels:]:
            axis.set_axis_off()
        for k, (run, axis) in enumerate(zip(runs, axes.flat, strict=False)):
            faint = 0.55 if len(run.measured) <= 40 else 0.2
            for n, result in enumerate(run.measured):
                values = per_frame(result)
                place = (np.arange(len(values)) + 0.5) / len(values)
                there = ~np.isnan(values)
                marker = "." if there.sum() == 1 else None
                title = "a sequence" if n == 0 else None
                axis.plot(
                    place[there], values[there], color="0.6", alpha=faint, linewidth=0.7, marker=marker, label=title
                )
            table = aggregate.over_time(run.results.sequences)
            positions, mean = ([row[key] for row in table] for key in ("Position", "J-Mean"))
            style = {"color": COLOURS[k], "linewidth": 2.6, "marker": "o" if len(mean) == 1 else None}
            axis.plot(positions, mean, label="mean over objects", **style)
            axis.set_title(
                _wrapped(run.label, 44, f": {len(run.measured)} sequence{'s' * (len(run.measured) != 1)}"), fontsize=9
            )
            _legend(axis, loc="lower left")
            if len(runs) > 1:
                named = {**style, "linestyle": _LINES[k], "linewidth": 2, "label": _wrapped(run.label, 40)}
                axes.flat[panels - 1].plot(positions, mean, **named)
        if len(runs) > 1:
            axes.flat[panels - 1].set_title("means", fontsize=9)
            beside = {"loc": "center left", "bbox_to_anchor": (1.01, 0.5)}
            _legend(axes.flat[panels - 1], **(beside if crowded else {"loc": "best"}))
        for k, axis in enumerate(axes.flat[:panels]):
            axis.set(xlim=(0, 1), ylim=(-0.02, 1.02), xlabel="position among the measured frames of a sequence")
            axis.grid(alpha=0.25)
            axis.label_outer() if k + columns < panels else axis.tick_params(labelbottom=True)
            if k % columns == 0:
                axis.set_ylabel("J")


def _wrapped(name: str, width: int, suffix: str = "") -> str:
    """Wrap a run's name and a suffix into lines."""
    text = "\n".join(textwrap.wrap(readable(name, 2 * width) + suffix, width, break_on_hyphens=False))
    return f" {text}" if text.startswith("_") else text  # a legend leaves out what begins with _


def _legend(axis: Any, **where: Any) -> None:
    axis.legend(fontsize=8, framealpha=0.8, edgecolor="none", **where)


def _name(name: str, counts: dict[str, int]) -> str:
    return readable(name, 34) + (f" ({counts[name]})" if counts[name] > 1 else "")


def _between(count: int) -> str:
    return f"… {count - _ROWS // 2 * 2} between …"
