"""Plot of wrong pixels by kind, relative to a run (OSVOS, Figure 5)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eosvos.errors import UserError
from eosvos.evaluation.metrics.aggregate import scored_objects
from eosvos.evaluation.metrics.boxes_errors import Errors, error_shares
from eosvos.plots.runs import Run, caveats
from eosvos.plots.style import COLOURS, canvas, readable

_NAMES = {"near": "false, up to 20 px away", "far": "false, further away", "missed": "missed"}


def relative_errors(runs: Sequence[Run]) -> list[Errors]:
    """Compute the wrong pixels of each kind of every run, as shares of all wrong pixels of the first one.

    Raises:
        UserError: if a run has not counted them, or the runs are not over the same frames of the same objects.
    """
    counted: list[list[tuple[float, ...]]] = []
    for run in runs:
        of = scored_objects(run.results.sequences)
        if not of or not all("near" in result.extra_metrics for result, _ in of):
            raise UserError(
                f"{run.results.out}: wrong pixels by kind were not counted; repeat the command that wrote this run "
                "with measures=[errors], which keeps the masks, or leave out pictures=[errors]"
            )
        kinds = [[result.extra_metrics[kind][i] for kind in Errors._fields] for result, i in of]
        counted.append([pixels for columns in kinds for pixels in zip(*columns, strict=True)])
    frames = [{(r.name, i): tuple(r.scored) for r, i in scored_objects(run.results.sequences)} for run in runs]
    for run, own in zip(runs, frames, strict=True):
        if own != frames[0]:
            raise UserError(
                f"{run.results.out}: not over the same frames of the same objects as {runs[0].results.out}, so that "
                "numbers of wrong pixels do not compare; give runs on the same data, by the same protocol"
            )
    total = float(np.nansum(np.array(counted[0], np.float64)))
    if not total:
        raise UserError(f"{runs[0].results.out}: has no wrong pixel to compare with; give another run first")
    return [error_shares(pixels, total) for pixels in counted]


def draw_errors(runs: Sequence[Run], out: Path) -> None:
    """Draw the wrong pixels of runs by kind, relative to all of the first run.

    Args:
        runs: the runs to compare; they must be measured with measures=[errors].
        out: the file, .png, .pdf or .svg.
    """
    shares = relative_errors(runs)
    notes = [f"wrong pixels of each kind / all wrong pixels of {runs[0].label}", *caveats(runs)]
    with canvas(out, notes, figsize=(7, 4.2)) as (_, axes):
        axis, thick = axes[0, 0], 0.85 / len(runs)
        for k, (run, share) in enumerate(zip(runs, shares, strict=True)):
            at = np.arange(len(share)) + (k - (len(runs) - 1) / 2) * thick
            name = f"{readable(run.label, 60)}: {sum(share):.2f} in all"
            drawn = axis.bar(at, share, thick * 0.92, color=COLOURS[k], label=name)
            axis.bar_label(drawn, [f"{value:.2f}" for value in share], fontsize=7, padding=2)
        axis.set_xticks(range(len(_NAMES)), [_NAMES[kind] for kind in Errors._fields])
        axis.tick_params(axis="x", length=0)
        axis.set_ylabel("share of the first run's wrong pixels")
        axis.margins(y=0.1)
        axis.grid(axis="y", alpha=0.25)
        axis.legend(fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(0, 1))
