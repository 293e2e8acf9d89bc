"""Plot of quality against speed: runs, and published results of other methods behind them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eosvos.plots.labels import Label, place
from eosvos.plots.published import QUALITIES, Published
from eosvos.plots.runs import Run, caveats
from eosvos.plots.style import COLOURS, canvas, plain_ticks, readable


def draw(runs: Sequence[Run], behind: Sequence[Published], out: Path, *, measure: str = "J", note: str = "") -> None:
    """Draw quality of runs against their speed, with published results behind them.

    A run of unknown speed (masks made elsewhere) is drawn as a line.

    Args:
        runs: the runs.
        behind: published results; of a method with several on the data set the first is drawn.
        out: the file, .png, .pdf or .svg.
        measure: a key of `QUALITIES`.
        note: printed below the plot.
    """
    measure = QUALITIES[measure]
    shown = firsts(behind, measure)
    notes = [*explained(shown), *([note] if note and shown else []), *caveats(runs)]
    with canvas(out, notes, figsize=(9.5, 6.4) if shown else (7, 4.4)) as (figure, axes):
        axis = axes[0, 0]
        labels = draw_published(axis, shown, [(point.fps, point.quality[measure]) for point in shown])
        own: list[Label] = []
        for k, run in enumerate(runs):
            fps, quality = speed(run), quality_of(run, measure)
            if math.isnan(quality):
                continue
            bold = {"fontsize": 8.5, "color": COLOURS[k], "fontweight": "bold"}
            if fps is None:
                axis.axhline(quality, color=COLOURS[k], linewidth=1.2, linestyle="--")
                text = f"{readable(run.label, 40)}: {quality:.3f}, speed not known"
                axis.annotate(
                    text,
                    (0.01, quality),
                    xycoords=("axes fraction", "data"),
                    xytext=(0, 3),
                    textcoords="offset points",
                    **bold,
                )
            else:
                axis.scatter(fps, quality, 90, marker="D", color=COLOURS[k], edgecolor="black", zorder=4)
                own.append((fps, quality, readable(run.label, 48), {**bold, "zorder": 5}, 9))
        axis.set(xscale="log", xlabel="frames per second, fine-tuning included", ylabel=f"{measure}, mean over objects")
        plain_ticks(axis.xaxis)
        axis.margins(x=0.09, y=0.09)
        axis.grid(alpha=0.2, which="both")
        if not shown and not own:
            axis.set(xticks=[], xlabel="frames per second: not known")
        place(figure, axis, [*own, *labels])


def firsts(behind: Sequence[Published], measure: str) -> list[Published]:
    """Return the first result of each method that has the quality `measure` and a speed."""
    first: dict[str, Published] = {}
    for point in behind:
        if measure in point.quality and not math.isnan(point.fps):
            first.setdefault(point.method, point)
    return list(first.values())


def draw_published(axis: Any, shown: Sequence[Published], places: Sequence[tuple[float, float]]) -> list[Label]:
    """Draw the markers of published points at their places and explain them above the axes; returns their names."""
    for point, at in zip(shown, places, strict=True):
        face = "0.6" if point.fps_dataset == point.dataset else "white"
        axis.scatter(*at, 26, marker="s" if point.fine_tuning else "o", facecolor=face, edgecolor="0.55")
    _legend(axis, shown)
    style = {"fontsize": 6.5, "color": "0.35"}
    return [(*at, point.method, style, 5) for point, at in zip(shown, places, strict=True)]


def speed(run: Run) -> float | None:
    """Return the frames per second of a run; None: unknown."""
    fps = run.results.summary["fps"]
    return fps if 0 < fps < math.inf else None


def quality_of(run: Run, measure: str) -> float:
    """Return the quality of a run; J&F is "Overall" on data sets with seen and unseen classes, as in their papers."""
    summary = run.results.summary
    return summary["Overall"] if measure == "J&F" and "Overall" in summary else summary[f"{measure}-Mean"]


def explained(shown: Sequence[Published]) -> list[str]:
    """Return the note on published points: whose hardware they are on, and their sources."""
    if not shown:
        return []
    hardware = sorted({point.hardware for point in shown if point.hardware})
    others = f"{'; '.join(hardware)}; mostly not told" if hardware else "not told"
    return [
        f"Published points ({shown[0].dataset} {shown[0].split}): as printed, on other hardware ({others}) and each "
        "counted in its own way: qualities compare, speeds only by orders of magnitude. "
        f"Sources: {'; '.join(dict.fromkeys(point.source for point in shown))}."
    ]


def _legend(axis: Any, shown: Sequence[Published]) -> None:
    from matplotlib.lines import Line2D

    def entry(marker: str, face: str, label: str) -> Line2D:
        return Line2D(
            [], [], linestyle="", marker=marker, markersize=5, color="0.55", markerfacecolor=face, label=label
        )

    entries = [
        (any(p.fine_tuning for p in shown), entry("s", "0.6", "fine-tuning on the first frame")),
        (any(not p.fine_tuning for p in shown), entry("o", "0.6", "other methods")),
        (any(p.fps_dataset != p.dataset for p in shown), entry("o", "white", "hollow: speed on other or untold data")),
    ]
    if shown:
        handles = [handle for wanted, handle in entries if wanted]
        axis.legend(
            handles=handles,
            fontsize=8,
            frameon=False,
            ncols=3,
            loc="lower left",
            bbox_to_anchor=(0, 1),
            title="published",
            title_fontsize=8,
            alignment="left",
        )
