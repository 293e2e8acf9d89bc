"""Plots over the number of fine-tuning steps T: quality and speed (e-OSVOS, Figure 3), quality against time (OSVOS,
Figure 8)."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eosvos.errors import UserError
from eosvos.plots.comparison import label
from eosvos.plots.labels import Label, place
from eosvos.plots.published import QUALITIES, Published
from eosvos.plots.quality_speed import draw_published, explained, firsts, quality_of, speed
from eosvos.plots.runs import Run, caveats
from eosvos.plots.style import COLOURS, canvas, plain_ticks, readable

_STEPS = "iters"  # in a run's settings


@dataclass(frozen=True)
class Curve:
    """Runs that differ in T alone, by T, ascending."""

    label: str
    runs: tuple[Run, ...]

    @property
    def steps(self) -> list[int]:
        return [run.results.fingerprint[_STEPS] for run in self.runs]


def curves(runs: Sequence[Run]) -> list[Curve]:
    """Group runs into curves over T, in the order of their first runs; see `code_note` for versions of the code.

    Raises:
        UserError: if a run does not tell its T, no two runs differ in T alone, or there are more curves than colours.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        settings = run.results.fingerprint
        if not isinstance(settings.get(_STEPS), int):
            raise UserError(
                f"{run.results.out}: the run does not tell its number of fine-tuning steps, which pictures=[steps,time]"
                " are drawn over; give runs that eosvos.eval wrote with a method that is fine-tuned"
            )
        groups.setdefault(json.dumps([_without_steps(run), run.results.seed], sort_keys=True), []).append(run)
    ordered = [tuple(sorted(group, key=lambda run: run.results.fingerprint[_STEPS])) for group in groups.values()]
    for group in ordered:
        steps = [run.results.fingerprint[_STEPS] for run in group]
        if len(set(steps)) < len(steps):
            raise UserError(
                f"runs={[str(run.results.out) for run in group]}: two of these have the same iters={steps} and differ "
                "in no other setting; give one run for each number of steps"
            )
    if not ordered or max(map(len, ordered)) < 2:
        raise UserError(
            "pictures=[steps,time]: no two of these runs differ in iters= alone; write some with "
            "python -m eosvos.eval -m iters=1,10,50 and give all of their folders with runs="
        )
    if len(ordered) > len(COLOURS):
        raise UserError(
            f"pictures=[steps,time]: these runs make {len(ordered)} curves over iters=; expected at most {len(COLOURS)}"
        )
    firsts_of = [replace(group[0].results, fingerprint=_without_steps(group[0])) for group in ordered]
    names = label(firsts_of) if len(ordered) > 1 else [str(firsts_of[0].fingerprint.get("method", "runs"))]
    return [Curve(name, group) for name, group in zip(names, ordered, strict=True)]


def draw_steps(runs: Sequence[Run], out: Path, *, measure: str = "JF") -> None:
    """Draw quality and frames per second against T (e-OSVOS, Figure 3).

    Args:
        runs: the runs, see `curves`.
        out: the file, .png, .pdf or .svg.
        measure: a key of `QUALITIES`.
    """
    measure, drawn = QUALITIES[measure], curves(runs)
    with canvas(out, [*code_note(runs), *caveats(runs)], figsize=(7, 4.6)) as (_, axes):
        left = axes[0, 0]
        right = left.twinx()
        for curve, colour in zip(drawn, COLOURS, strict=False):
            name = readable(curve.label, 60)
            quality = [quality_of(run, measure) for run in curve.runs]
            left.plot(curve.steps, quality, "o-", color=colour, label=f"{name}: {measure}")
            fps = [speed(run) or math.nan for run in curve.runs]
            right.plot(curve.steps, fps, "s--", color=colour, markerfacecolor="white", label=f"{name}: frames / s")
        _steps_axis(left, sorted({step for curve in drawn for step in curve.steps}))
        left.set_ylabel(f"{measure}, mean over objects")
        right.set_ylabel("frames per second, fine-tuning included")
        right.margins(y=0.08)
        right.set_ylim(0, right.get_ylim()[1])
        left.grid(alpha=0.25)
        handles = [*left.get_lines(), *right.get_lines()]
        left.legend(handles=handles, fontsize=8, frameon=False, ncols=2, loc="lower left", bbox_to_anchor=(0, 1))


def draw_time(runs: Sequence[Run], behind: Sequence[Published], out: Path, *, measure: str = "J") -> None:
    """Draw quality against the time per frame: a curve over T for each method (OSVOS, Figure 8).

    A hollow square is the run of most steps without its fine-tuning time, for objects known beforehand ("Pre").

    Args:
        runs: the runs, see `curves`.
        behind: published results.
        out: the file, .png, .pdf or .svg.
        measure: a key of `QUALITIES`.

    Raises:
        UserError: if the time of a run is not known.
    """
    measure, drawn = QUALITIES[measure], curves(runs)
    if untimed := [str(run.results.out) for run in runs if speed(run) is None]:
        raise UserError(f"{untimed[0]}: the time of this run is not known; leave it or pictures=[time] out")
    shown = firsts(behind, measure)
    notes = ["hollow square: without the time of fine-tuning, as if the object was known beforehand", *code_note(runs)]
    with canvas(out, [*notes, *explained(shown), *caveats(runs)], figsize=(9.5, 6)) as (figure, axes):
        axis = axes[0, 0]
        labels: list[Label] = []
        for curve, colour in zip(drawn, COLOURS, strict=False):
            times = [run.results.summary["s-per-frame"] for run in curve.runs]
            quality = [quality_of(run, measure) for run in curve.runs]
            axis.plot(times, quality, "o-", color=colour, label=readable(curve.label, 60))
            style = {"fontsize": 8, "color": colour}
            labels += [(*at, f"T={step}", style, 6) for *at, step in zip(times, quality, curve.steps, strict=True)]
            before = curve.runs[-1].results.summary["fps-without-fine-tuning"]
            if 0 < before < math.inf:
                axis.scatter(1 / before, quality[-1], 60, marker="s", facecolor="white", edgecolor=colour, zorder=3)
        explaining = axis.legend(fontsize=8, framealpha=0.8, edgecolor="none", loc="lower right")
        names = draw_published(axis, shown, [(1 / point.fps, point.quality[measure]) for point in shown])
        axis.add_artist(explaining)  # which the legend of the published points has replaced
        axis.set(xscale="log", xlabel="seconds per frame, fine-tuning included", ylabel=f"{measure}, mean over objects")
        plain_ticks(axis.xaxis)
        axis.margins(x=0.09, y=0.09)
        axis.grid(alpha=0.2, which="both")
        place(figure, axis, [*labels, *names])


def code_note(runs: Sequence[Run]) -> list[str]:
    """Return a warning if the runs are of several versions of the code, which curves do not tell apart."""
    several = len({run.results.fingerprint.get("code_hash") for run in runs}) > 1
    return ["beware: these runs were made by different versions of the code"] if several else []


def _without_steps(run: Run) -> dict[str, Any]:
    return {key: value for key, value in run.results.fingerprint.items() if key not in (_STEPS, "code_hash")}


def _steps_axis(axis: Any, steps: Sequence[int]) -> None:
    """Mark the T that were run; from 20 times the least on, T lies on a logarithmic scale, with 0 at its left."""
    least = min((step for step in steps if step), default=1)
    axis.set_xlabel("number of fine-tuning steps T")
    if max(steps) >= 20 * least:
        axis.set_xscale("symlog", linthresh=least, linscale=0.4)
    axis.set_xticks(steps, [str(step) for step in steps])
    axis.minorticks_off()
