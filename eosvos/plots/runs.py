"""The runs to plot, warnings about them, and the folder of the plots."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from eosvos.data.image_files import several
from eosvos.errors import UserError
from eosvos.evaluation.metrics.sequence_scores import SequenceResult
from eosvos.evaluation.results import Results, load
from eosvos.evaluation.run_folder import read_run
from eosvos.files import write_text
from eosvos.plots.comparison import label

MOST = 8  # runs that can be distinguished in a plot
LIST = "plots.json"  # in the folder of the plots: which of its files are ours, and of which runs


@dataclass(frozen=True)
class Run:
    """A run with its name in the plots."""

    label: str
    results: Results

    @cached_property
    def measured(self) -> list[SequenceResult]:
        """Results of the scored sequences."""
        return [result for result in self.results.sequences if not math.isnan(means(result)[0])]


def open_runs(folders: Sequence[str | Path], labels: Sequence[str] = (), *, most: int = MOST) -> list[Run]:
    """Open runs.

    Args:
        folders: of the runs, 1 to `most`.
        labels: a distinct name per run; empty: the settings in which the runs differ.
        most: largest number of runs.

    Raises:
        UserError: if a folder holds no run (the message names one above or below that does), a folder or label is given
            twice, or the numbers of labels and runs differ.
    """
    paths = [Path(folder) for folder in folders]
    if not paths or len(paths) > most:
        hint = "; pictures=[steps,time] and pictures=[] tables=true take more" if most == MOST < len(paths) else ""
        raise UserError(f"runs={[str(p) for p in paths]}: expected 1 to {most} folders that evaluations wrote{hint}")
    for path in paths:
        if not (path / "run.json").is_file():
            raise _no_run(path)
    if len({path.resolve() for path in paths}) < len(paths):
        raise UserError(f"runs={[str(p) for p in paths]}: a folder is given twice; each run may stand there once")
    if labels and (len(labels) != len(paths) or len(set(labels)) < len(labels)):
        raise UserError(f"labels={list(labels)}: expected {len(paths)} different names, one for each of runs=")
    found = [load(path) for path in paths]
    names = list(labels) or ([paths[0].resolve().name] if len(paths) == 1 else label(found))
    return [Run(name, results) for name, results in zip(names, found, strict=True)]


def caveats(runs: Sequence[Run]) -> list[str]:
    """Return warnings: what is incomplete in these runs, and what cannot be compared."""
    said = []
    for run in runs:
        there = {result.name for result in run.results.sequences}
        lacking = [name for name in (read_run(run.results.out) or {}).get("sequences", []) if name not in there]
        if lacking:
            said.append(f"{run.label}: {len(lacking)} sequences are not finished: {several(lacking)}")
        unmeasured = there - {result.name for result in run.measured}
        if unmeasured:
            said.append(f"{run.label}: not measured, for want of annotated frames: {several(sorted(unmeasured))}")
    measured = [{(result.name, i) for result in run.results.sequences for i in result.objects} for run in runs]
    if any(objects != measured[0] for objects in measured):
        said.append("beware: these runs are not over the same objects; their means do not compare")
    protocols = {getattr(result, "protocol", None) for run in runs for result in run.measured}
    if len(protocols) > 1:
        said.append(f"beware: measured by different protocols ({', '.join(map(str, sorted(protocols, key=str)))})")
    return said


def common(runs: Sequence[Run]) -> list[str]:
    """Return the names of the sequences that all runs have, in the order of the first run."""
    names = [[result.name for result in run.results.sequences] for run in runs]
    return [name for name in names[0] if all(name in others for others in names)]


def means(result: SequenceResult) -> tuple[float, float]:
    """Average J and F over the objects of a sequence; nan without any."""
    both = [result.statistics(i) for i in result.objects]
    return average([j.mean for j, _ in both]), average([f.mean for _, f in both])


def average(values: Sequence[float] | np.ndarray) -> float:
    """Average without nan; nan if nothing is left."""
    kept = [float(value) for value in values if not math.isnan(value)]
    return sum(kept) / len(kept) if kept else math.nan


def claim(out: Path, runs: Sequence[Run], names: Sequence[str], learners: Sequence[Path] = ()) -> str | None:
    """Prepare a folder for plots; plots of other runs in it are removed, other plots of the same runs stay.

    Args:
        out: the folder.
        runs: the runs to plot.
        learners: the learners to plot.
        names: file names of the plots.

    Returns:
        A message about removed plots; None if there were none.

    Raises:
        UserError: if a file of one of the names was not written by this command, or `out` is not writable.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file, expected a folder; choose another one with out=")
    mine = [str(path.resolve()) for path in (*(run.results.out for run in runs), *learners)]
    theirs, ours = _read(out / LIST)
    for name in names:
        if name not in ours and (out / name).exists():
            raise UserError(f"{out / name}: not a picture that this command drew; choose another folder with out=")
    others = theirs is not None and theirs != mine
    kept = [] if others else ours
    write_text(out / LIST, json.dumps({"runs": mine, "pictures": sorted({*kept, *names})}, indent=1))
    if not others:
        return None
    for name in ours:
        if (out / name).resolve().is_relative_to(out.resolve()):
            (out / name).unlink(missing_ok=True)
    return f"{out}: its pictures of other runs ({', '.join(theirs or [])}) are replaced"


def _read(path: Path) -> tuple[list[str] | None, list[str]]:
    """Read runs and files from a list; (None, []) if there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return [str(run) for run in content["runs"]], [str(name) for name in content["pictures"]]
    except FileNotFoundError:
        return None, []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not the list of pictures that this command writes; choose another out=") from error


def _no_run(path: Path) -> UserError:
    near = [path.parent] if (path.parent / "run.json").is_file() else []
    near += [below.parent for below in sorted(path.glob("*/run.json"))[:3]]
    hint = f"there is one in {' and in '.join(map(str, near))}" if near else "give a folder that an evaluation wrote"
    missing = "run.json is missing" if path.is_dir() else "no such folder"
    return UserError(f"{path}: no run here ({missing}); {hint}")
