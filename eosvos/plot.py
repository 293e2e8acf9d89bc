"""python -m eosvos.plot: pictures and tables of one run, or of several beside one another, and of learners."""

from __future__ import annotations

import sys

from eosvos.cli import usage

if __name__ == "__main__":  # before torch is loaded, which takes seconds
    usage.answer("plot")

from collections.abc import Sequence
from pathlib import Path

from eosvos.cli import build_data, hydra_app, schema, validate
from eosvos.data.image_files import several
from eosvos.data.sequence import VideoSequence
from eosvos.errors import UserError
from eosvos.plots import pictures
from eosvos.plots.learned_rates import read_rates
from eosvos.plots.published import published_behind
from eosvos.plots.runs import MOST, Run, caveats, claim, common, open_runs
from eosvos.plots.tables import tables


def plot(settings: schema.PlotConfig) -> list[Path]:
    """Returns the files."""
    validate.check(settings)
    learners = [read_rates(given) for given in settings.learners]
    most = 1000 if {*settings.pictures} <= {*pictures.UNCOLOURED} else MOST
    runs = open_runs(settings.runs, settings.labels, most=most) if settings.runs or not learners else []
    made = tables(runs) if settings.tables else []
    drawings = {f"{table.name}.csv": table.write for table in made} | _of_runs(settings, runs)
    drawings |= pictures.of_learners(learners, settings.format)
    if not drawings:
        raise UserError(f"{settings.runs[0]}: nothing to draw of pictures={settings.pictures}")
    beside = [*map(Path, settings.runs), *(one.path.parent for one in learners if one.log)]
    if not beside and not settings.out:
        raise UserError("out=null: pictures of learners alone need a folder to lie in, out=plots")
    out = Path(settings.out) if settings.out else beside[0] / "plots"
    replaced = claim(out, runs, list(drawings), [one.path for one in learners])
    for said in (*caveats(runs), replaced):
        _say(said)
    for table in made:
        print(f"{table.text()}\n")
    for name, draw in drawings.items():
        draw(out / name)
        print(out / name, flush=True)
    return [out / name for name in drawings]


def _of_runs(settings: schema.PlotConfig, runs: list[Run]) -> dict[str, pictures.Drawing]:
    """The pictures of the runs; none without runs."""
    wanted, known, drawings = (settings.pictures, common(runs), {}) if runs else ([], [], {})
    if unknown := [name for name in settings.sequences if name not in known]:
        raise UserError(f"sequences=[{unknown[0]}]: not in all of these runs; expected some of {several(known)}")
    behind, note = published_behind(settings.published, runs)
    if any(run.measured for run in runs):
        drawings = pictures.of_scores(runs, wanted, settings.format, settings.measure, behind, note)
        _say(note if {"speed", "time"} & {*wanted} else None)
    elif runs:
        _say("nothing is measured: no bars, no J over time, no speed and no contact sheet")

    def reopen(run: Run, names: Sequence[str]) -> list[VideoSequence]:
        return build_data.reopen(run.results.fingerprint, settings.data_root, names)

    return drawings | pictures.of_frames(runs, wanted, reopen, settings.sequences)


def _say(text: str | None) -> None:
    print(text, file=sys.stderr, flush=True) if text else None


def main(arguments: list[str] | None = None) -> int:
    return hydra_app.run("plot", plot, arguments)


if __name__ == "__main__":
    sys.exit(main())
