"""python -m eosvos.plot: pictures of one run, or of several beside one another."""

from __future__ import annotations

import sys

from eosvos.cli import usage

if __name__ == "__main__":  # before torch is loaded, which takes seconds
    usage.answer("plot")

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from eosvos.cli import build_data, hydra_app, schema, validate
from eosvos.data.image_files import several
from eosvos.data.sequence import VideoSequence
from eosvos.errors import UserError
from eosvos.plots import bars_and_curves, frames, quality_speed
from eosvos.plots.runs import Run, caveats, claim, common, open_runs


def plot(settings: schema.PlotConfig) -> list[Path]:
    """Returns the pictures."""
    validate.check(settings)
    runs = open_runs(settings.runs, settings.labels)
    known = common(runs)
    if unknown := [name for name in settings.sequences if name not in known]:
        raise UserError(f"sequences=[{unknown[0]}]: not in all of these runs; expected some of {several(known)}")
    behind, note = quality_speed.published_behind(settings.published, runs)
    drawings: dict[str, Callable[[Path], None]] = {}
    if any(run.measured for run in runs):
        drawings = {
            "bars.png": partial(bars_and_curves.bars, runs),
            "over_time.png": partial(bars_and_curves.over_time, runs),
            "speed.png": partial(quality_speed.draw, runs, behind, measure=settings.measure, note=note),
        }
        drawings = {name: draw for name, draw in drawings.items() if name[:-4] in settings.pictures}
    else:
        _say("nothing is measured: no bars, no J over time, no speed and no contact sheet")

    def reopen(run: Run, names: Sequence[str]) -> list[VideoSequence]:
        return build_data.reopen(run.results.fingerprint, settings.data_root, names)

    if "contact_sheet" in settings.pictures:
        drawings |= frames.contact_sheets(runs, reopen)
    if "video" in settings.pictures:
        drawings |= frames.videos(runs, reopen, settings.sequences)
    if not drawings:
        raise UserError(f"{settings.runs[0]}: nothing to draw of pictures={settings.pictures}")
    out = Path(settings.out) if settings.out else Path(settings.runs[0]) / "plots"
    replaced = claim(out, runs, list(drawings))
    for said in (*caveats(runs), note if "speed.png" in drawings else None, replaced):
        _say(said)
    for name, draw in drawings.items():
        draw(out / name)
        print(out / name, flush=True)
    return [out / name for name in drawings]


def _say(text: str | None) -> None:
    if text:
        print(text, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    return hydra_app.run("plot", plot, arguments)


if __name__ == "__main__":
    sys.exit(main())
