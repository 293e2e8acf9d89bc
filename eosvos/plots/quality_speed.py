"""Plot of quality against speed: runs, and published results of other methods from published.csv."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eosvos.errors import UserError
from eosvos.plots.runs import Run, caveats
from eosvos.plots.style import COLOURS, canvas, plain_ticks, readable

QUALITIES = {"J": "J", "F": "F", "JF": "J&F"}  # on the command line, where & would need quotes -> in tables
Label = tuple[float, float, str, dict[str, Any], int]  # x, y, text, its style, distance in points
_AROUND = [(0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)]  # where a label may stand, best first


@dataclass(frozen=True)
class Published:
    """A published result of a method on a data set; quality in [0, 1]."""

    method: str
    dataset: str
    split: str
    fine_tuning: bool  # of the whole network on the first frame
    quality: dict[str, float]  # J, F, J&F, as far as published; J&F also as the mean of J and F
    fps: float
    fps_dataset: str  # that the speed was measured on; empty: unknown
    hardware: str  # empty: unknown
    source: str


def published() -> list[Published]:
    """Read published.csv."""
    with Path(__file__).with_name("published.csv").open(encoding="utf-8", newline="") as file:
        return [_point(row) for row in csv.DictReader(file)]


def published_behind(name: str | None, runs: Sequence[Run]) -> tuple[list[Published], str]:
    """Choose the published results to draw behind runs.

    Args:
        name: their data set; None: that of the runs; "none": no results.
        runs: the runs to draw.

    Returns:
        The results, and a note about the choice for the reader; empty if there is nothing to note.

    Raises:
        UserError: if there are no results on the data set `name`.
    """
    points = published()
    known = list(dict.fromkeys(point.dataset for point in points))
    if name not in (None, "none", *known):
        raise UserError(f"published={name}: expected one of {', '.join(known)}, none, or null for the runs' own")
    if name == "none":
        return [], ""
    own = [_data(run) for run in runs]
    chosen = [p for p in points if p.dataset == name or (name is None and all(_same(p, *data) for data in own))]
    others = sorted({" ".join(filter(None, data)) for data in own if not all(_same(p, *data) for p in chosen)})
    if chosen and others:
        where = f"{chosen[0].dataset} {chosen[0].split}"
        return chosen, f"beware: the published points are on {where}, these runs on {' and '.join(others)}"
    hint = f"; published={known[0]} (or {', '.join(known[1:])}) shows those of that data set all the same"
    return chosen, "" if chosen else f"no published points on exactly the data of these runs{hint}"


def draw(runs: Sequence[Run], behind: Sequence[Published], out: Path, *, measure: str = "J", note: str = "") -> None:
    """Draw quality of runs against their speed, with published results behind them.

    A run of unknown speed (masks made elsewhere) is drawn as a line.

    Args:
        runs: the runs.
        behind: published results; of a method with several on the data set the first is drawn.
        out: the PNG file.
        measure: a key of `QUALITIES`.
        note: printed below the plot.
    """
    measure = QUALITIES[measure]
    first: dict[str, Published] = {}
    for point in behind:
        if measure in point.quality:
            first.setdefault(point.method, point)
    shown = list(first.values())
    notes = [*_explained(shown), *([note] if note and shown else []), *caveats(runs)]
    with canvas(out, notes, figsize=(9.5, 6.4) if shown else (7, 4.4)) as (figure, axes):
        axis = axes[0, 0]
        labels: list[Label] = []
        for point in shown:
            face = "0.6" if point.fps_dataset == point.dataset else "white"
            marker = "s" if point.fine_tuning else "o"
            axis.scatter(point.fps, point.quality[measure], 26, marker=marker, facecolor=face, edgecolor="0.55")
            labels.append((point.fps, point.quality[measure], point.method, {"fontsize": 6.5, "color": "0.35"}, 5))
        own: list[Label] = []
        for k, run in enumerate(runs):
            fps, quality = speed(run), _quality(run, measure)
            if math.isnan(quality):
                continue
            bold = {"fontsize": 8.5, "color": COLOURS[k], "fontweight": "bold"}
            if fps is None:
                axis.axhline(quality, color=COLOURS[k], linewidth=1.2, linestyle="--")
                text = f"{readable(run.label, 40)}: {quality:.3f}, speed not known"
                axis.annotate(
                    text, (0.01, quality), xycoords=("axes fraction", "data"), xytext=(0, 3),
                    textcoords="offset points", **bold,
                )  # fmt: skip
            else:
                axis.scatter(fps, quality, 90, marker="D", color=COLOURS[k], edgecolor="black", zorder=4)
                own.append((fps, quality, readable(run.label, 48), {**bold, "zorder": 5}, 9))
        axis.set(xscale="log", xlabel="frames per second, fine-tuning included", ylabel=f"{measure}, mean over objects")
        plain_ticks(axis.xaxis)
        axis.margins(x=0.09, y=0.09)
        axis.grid(alpha=0.2, which="both")
        if not shown and not own:
            axis.set(xticks=[], xlabel="frames per second: not known")
        _legend(axis, shown)
        _place(figure, axis, [*own, *labels])


def speed(run: Run) -> float | None:
    """Return the frames per second of a run; None: unknown."""
    fps = run.results.summary["fps"]
    return fps if 0 < fps < math.inf else None


def _quality(run: Run, measure: str) -> float:
    """Return the quality of a run; J&F is "Overall" on data sets with seen and unseen classes, as in their papers."""
    summary = run.results.summary
    return summary["Overall"] if measure == "J&F" and "Overall" in summary else summary[f"{measure}-Mean"]


def _point(row: dict[str, str]) -> Published:
    quality = {measure: float(row[measure]) / 100 for measure in QUALITIES.values() if row[measure]}
    if "J&F" not in quality and {"J", "F"} <= quality.keys():
        quality["J&F"] = (quality["J"] + quality["F"]) / 2
    rest = {key: row[key] for key in ("method", "dataset", "split", "fps_dataset", "hardware", "source")}
    return Published(**rest, fine_tuning=row["fine_tuning"] == "yes", quality=quality, fps=float(row["fps"]))


def _data(run: Run) -> tuple[str, str, str]:
    """Return data set, split and, if it is a selection, "some sequences" of a run."""
    settings = run.results.fingerprint
    dataset = settings.get("dataset")
    name = dataset.get("name") if isinstance(dataset, dict) else dataset
    return str(name or "other data"), settings.get("split") or "", "some sequences" if settings.get("sequences") else ""


def _same(point: Published, name: str, split: str, part: str) -> bool:
    return point.dataset == name and split in ("", point.split) and not part  # the points are on the default splits


def _explained(shown: Sequence[Published]) -> list[str]:
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
            handles=handles, fontsize=8, frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1),
            title="published", title_fontsize=8, alignment="left",
        )  # fmt: skip


def _place(figure: Any, axis: Any, labels: Sequence[Label]) -> None:
    """Write a label beside each point, overlapping other labels and points as little as possible."""
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # so that nothing moves any more
    renderer = figure.canvas.get_renderer()
    at = [axis.transData.transform((x, y)) for x, y, *_ in labels]
    scale = figure.dpi / 72
    half = [label[4] * scale * 0.8 for label in labels]
    occupied = [Bbox.from_extents(x - r, y - r, x + r, y + r) for (x, y), r in zip(at, half, strict=True)]
    frame = axis.get_window_extent(renderer)
    for own, (x, y, text, style, least) in enumerate(labels):
        best: tuple[float, Any, Any] | None = None
        for distance in (least, 2 * least, 18, 27, 38):
            for right, up in _AROUND:
                note = axis.annotate(
                    text, (x, y), xytext=(right * distance, up * distance), textcoords="offset points",
                    ha=("center", "left", "right")[right], va=("center", "bottom", "top")[up], **style,
                    arrowprops={"arrowstyle": "-", "color": "0.7", "linewidth": 0.5} if distance >= 18 else None,
                )  # fmt: skip
                note.update_positions(renderer)
                box = Text.get_window_extent(note, renderer).padded(2)  # without the line to the point
                cost = sum(_overlap_area(box, other) for k, other in enumerate(occupied) if k != own)
                cost += box.width * box.height - _overlap_area(box, frame)  # what leaves the axes
                if best is None or cost < best[0]:
                    if best is not None:
                        best[1].remove()
                    best = (cost, note, box)
                else:
                    note.remove()
                if cost == 0:
                    break
            if best is not None and best[0] == 0:
                break
        assert best is not None
        occupied.append(best[2])


def _overlap_area(a: Any, b: Any) -> float:
    width, height = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
    return max(width, 0.0) * max(height, 0.0)
