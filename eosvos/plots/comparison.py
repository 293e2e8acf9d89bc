"""Comparison of runs: a table, and a plot of quality against speed."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from eosvos.errors import UserError
from eosvos.evaluation.report import METRIC_COLUMNS, SPEED_COLUMNS, metric_cells, speed_cells
from eosvos.evaluation.results import Results, load, to_csv
from eosvos.evaluation.run_folder import differences
from eosvos.files import write_text
from eosvos.plots.style import plain_ticks, save, subplots
from eosvos.plots.text import fitted


def compare(
    runs: Sequence[str | Path],
    out: str | Path,
    *,
    labels: Sequence[str] | None = None,
    file: IO[str] | None = None,
) -> list[dict[str, Any]]:
    """Compare runs: print a table, write it as comparison.csv, and plot J against speed as comparison.png.

    Args:
        runs: folders of finished runs.
        out: folder to write into; the plot is left out if no speed is known.
        labels: a name per run; None: the settings in which the runs differ.
        file: where to print to; None: standard output.

    Returns:
        The rows of the table.

    Raises:
        UserError: if a folder holds no run.
    """
    out = Path(out)
    if not runs:
        raise UserError("no runs to compare; give the folders that evaluations wrote")
    results_of_runs = [load(run) for run in runs]
    names = list(labels) if labels is not None else label(results_of_runs)
    rows = [{"run": name, **results.summary} for name, results in zip(names, results_of_runs, strict=True)]
    cells = [[row["run"], *metric_cells(row), *speed_cells(row)] for row in rows]
    print(fitted(["run", *METRIC_COLUMNS, *SPEED_COLUMNS], cells), file=file or sys.stdout)
    measured = [
        {(result.name, i) for result in results.sequences for i in result.objects} for results in results_of_runs
    ]
    if any(objects != measured[0] for objects in measured):
        print("beware: these runs are not over the same objects; their means do not compare", file=file or sys.stdout)
    if len({row["protocol"] for row in rows}) > 1:
        print("beware: these runs are measured by different protocols", file=file or sys.stdout)
    write_text(out / "comparison.csv", to_csv(rows))
    timed = [row for row in rows if math.isfinite(row["J-Mean"] + row["fps"])]
    if timed:
        _plot(timed, out / "comparison.png")
    else:  # of an earlier comparison
        (out / "comparison.png").unlink(missing_ok=True)
    return rows


def label(runs: Sequence[Results]) -> list[str]:
    """Choose a distinct name per run.

    It is the method or the folder of the scored masks; if these are equal, the settings that differ, hashes only if
    nothing else does; if that fails, the run's folder.
    """
    settings: list[dict[str, Any]] = [{**results.fingerprint, "seed": results.seed} for results in runs]
    words = [_made_by(one) for one in settings]
    if all(words) and len(set(words)) == len(words):
        return words
    keys = dict.fromkeys(key for one in settings[1:] for key in differences(settings[0], one))
    keys = {key: None for key in keys if not _nested(key, settings)}
    plain = [key for key in keys if "hash" not in key]
    for shown in (plain, list(keys)):
        parts = [[(key, _look_up(one, key)) for key in shown] for one in settings]
        names = [", ".join(f"{key}={_short(value)}" for key, value in of if value != "nothing") for of in parts]
        if all(names) and len(set(names)) == len(names):
            return names
    folders = [results.out.name for results in runs]
    return folders if len(set(folders)) == len(folders) else [str(results.out) for results in runs]


def _made_by(settings: dict[str, Any]) -> str:
    """Return the method of a run, or the name of the folder whose masks it scored."""
    if isinstance(settings.get("method"), str):
        return settings["method"]
    masks = [part for part in Path(settings.get("results", "")).parts if part not in ("masks", "Annotations", "480p")]
    return Path(masks[-1]).stem if masks else ""


def _short(value: Any) -> str:
    text = {True: "true", False: "false"}.get(value) if isinstance(value, bool) else str(value)
    assert text is not None
    return text if len(text) <= 24 else f"...{text[-21:]}"


def _look_up(settings: dict[str, Any], key: str) -> Any:
    value: Any = settings
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            return "nothing"
        value = value[part]
    return value


def _nested(key: str, settings: list[dict[str, Any]]) -> bool:
    return any(isinstance(_look_up(one, key), dict) for one in settings)


def _plot(rows: list[dict[str, Any]], out: Path) -> None:
    """Plot J against frames per second; the runs on the Pareto front are joined by a line."""
    points = sorted((row["fps"], row["J-Mean"], row["run"]) for row in rows)
    figure, ((axis,),) = subplots(figsize=(6.4, 4.2))
    front = [p for p in points if not any(q[0] >= p[0] and q[1] >= p[1] and q[:2] != p[:2] for q in points)]
    if len(front) > 1:
        axis.plot([p[0] for p in front], [p[1] for p in front], color="0.8", linewidth=1, zorder=1)
    axis.scatter([p[0] for p in points], [p[1] for p in points], zorder=2)
    for k, (x, y, name) in enumerate(points):
        above = 7 if k % 2 == 0 else -13  # neighbours on either side, so that their names do not cover each other
        axis.annotate(name, (x, y), textcoords="offset points", xytext=(0, above), ha="center", fontsize=8)
    axis.set(xscale="log", xlabel="frames per second, fine-tuning included", ylabel="J (mean over objects)")
    plain_ticks(axis.xaxis)
    axis.margins(x=0.18, y=0.16)
    axis.grid(alpha=0.25, which="both")
    save(figure, out, dpi=120)
