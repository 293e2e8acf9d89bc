"""Runs that are to be drawn, with what must be said of them, and the folder that their pictures go to."""

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

MOST = 8  # runs that can be told apart in a figure
LIST = "plots.json"  # in the pictures' folder: which of its files are ours, and of which runs


@dataclass(frozen=True)
class Run:
    """A run with the name that it has in the figures."""

    label: str
    results: Results

    @cached_property
    def measured(self) -> list[SequenceResult]:
        """The sequences with at least one figure."""
        return [result for result in self.results.sequences if not math.isnan(means(result)[0])]


def open_runs(folders: Sequence[str | Path], labels: Sequence[str] = ()) -> list[Run]:
    """The runs in some folders, named by `labels` or by the settings in which they differ.

    Raises UserError where a folder holds no run (naming one that does, above or below it), for a folder or label given
    twice, for labels that are not as many as runs, and for more runs than colours can tell apart.
    """
    paths = [Path(folder) for folder in folders]
    if not paths or len(paths) > MOST:
        raise UserError(f"runs={[str(p) for p in paths]}: expected 1 to {MOST} folders that evaluations wrote")
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
    """What keeps the figures of these runs from being complete, or comparable."""
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
    """The sequences that all runs have, in the order of the first."""
    names = [[result.name for result in run.results.sequences] for run in runs]
    return [name for name in names[0] if all(name in others for others in names)]


def means(result: SequenceResult) -> tuple[float, float]:
    """J and F of a sequence: means over its objects, nan without any."""
    both = [result.statistics(i) for i in result.objects]
    return average([j.mean for j, _ in both]), average([f.mean for _, f in both])


def average(values: Sequence[float] | np.ndarray) -> float:
    """Without nan; nan of nothing, and no warning."""
    kept = [float(value) for value in values if not math.isnan(value)]
    return sum(kept) / len(kept) if kept else math.nan


def claim(out: Path, runs: Sequence[Run], names: Sequence[str]) -> str | None:
    """Make `out` a folder where the pictures `names` of `runs` may be written.

    Pictures of the same runs stay where they are not drawn anew; those of other runs are removed, and the text that
    tells so is returned. Raises UserError where a file of a wanted name is not known as ours, or `out` not writable.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file, expected a folder; choose another one with out=")
    mine = [str(run.results.out.resolve()) for run in runs]
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
    """The runs and pictures of a list; (None, []) where there is none."""
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
