"""What can be drawn: functions by the names of the files that they write."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path

from eosvos.plots.bars_and_curves import bars, over_time
from eosvos.plots.boxes import box_sheets
from eosvos.plots.errors import draw_errors, relative_errors
from eosvos.plots.frames import Reopen, contact_sheets, videos
from eosvos.plots.learned_rates import LearnedRates, draw_rates, draw_training
from eosvos.plots.published import Published
from eosvos.plots.quality_speed import draw
from eosvos.plots.runs import Run
from eosvos.plots.steps import curves, draw_steps, draw_time
from eosvos.plots.training_curves import curves as training_curves

Drawing = Callable[[Path], object]
UNCOLOURED = ("steps", "time")  # pictures in which a run has no colour of its own, so that there may be any number


def of_scores(
    runs: Sequence[Run],
    names: Collection[str],
    form: str,
    measure: str,
    behind: Sequence[Published],
    note: str,
) -> dict[str, Drawing]:
    """Choose the pictures of scores; what they need is checked here, before anything is drawn.

    Args:
        runs: the runs, of which one at least is measured.
        names: of the pictures.
        form: one of `style.FORMATS`.
        measure: a key of `published.QUALITIES`.
        behind: published results.
        note: about these.

    Raises:
        UserError: if the runs lack what a picture shows.
    """
    if {*UNCOLOURED} & {*names}:
        curves(runs)
    if "errors" in names:
        relative_errors(runs)
    every: dict[str, Drawing] = {
        "bars": partial(bars, runs),
        "over_time": partial(over_time, runs),
        "speed": partial(draw, runs, behind, measure=measure, note=note),
        "steps": partial(draw_steps, runs, measure=measure),
        "time": partial(draw_time, runs, behind, measure=measure),
        "errors": partial(draw_errors, runs),
    }
    return {f"{name}.{form}": drawing for name, drawing in every.items() if name in names}


def of_frames(
    runs: Sequence[Run], names: Collection[str], reopen: Reopen, sequences: Sequence[str]
) -> dict[str, Drawing]:
    """Choose the pictures of frames, for the runs whose data set and masks are there; of the others it is said.

    Args:
        runs: the runs.
        names: of the pictures.
        reopen: opens the sequences of a run.
        sequences: names of those to show in videos and with boxes; empty: a few are chosen.
    """
    drawings: dict[str, Drawing] = {}
    if "contact_sheet" in names:
        drawings |= contact_sheets(runs, reopen)
    if "boxes" in names:
        drawings |= box_sheets(runs, reopen, sequences)
    if "video" in names:
        drawings |= videos(runs, reopen, sequences)
    return drawings


def of_learners(learners: Sequence[LearnedRates], form: str) -> dict[str, Drawing]:
    """Choose the pictures of learners and of their trainings, as far as there are logs.

    Args:
        learners: see `learned_rates.read_rates`.
        form: one of `style.FORMATS`.
    """
    drawings: dict[str, Drawing] = {}
    for k, (path, rates, log) in enumerate(learners, 1):
        end = f"{f'-{k}' if len(learners) > 1 else ''}.{form}"
        drawings[f"rates{end}"] = partial(draw_rates, rates, f"learning rates of {path}")
        if log is not None:
            drawings[f"rates_training{end}"] = partial(draw_training, log)
            drawings[f"training{end}"] = partial(training_curves, log)
    return drawings
