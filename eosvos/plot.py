"""python -m eosvos.plot: pictures of one run, or of several beside one another."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from eosvos import checks, command, config, sources
from eosvos.data.sequence import Sequence as Video
from eosvos.data.stored import several
from eosvos.errors import UserError
from eosvos.evaluation import frames, gallery, plots, speed


def plot(settings: config.PlotConfig) -> list[Path]:
    """Returns the pictures."""
    checks.check(settings)
    runs = gallery.open_runs(settings.runs, settings.labels)
    known = gallery.common(runs)
    if unknown := [name for name in settings.sequences if name not in known]:
        raise UserError(f"sequences=[{unknown[0]}]: not in all of these runs; expected some of {several(known)}")
    behind, note = speed.backdrop(settings.published, runs)
    drawings: dict[str, Callable[[Path], None]] = {}
    if any(run.measured for run in runs):
        drawings = {
            "bars.png": partial(plots.bars, runs),
            "over_time.png": partial(plots.over_time, runs),
            "speed.png": partial(speed.draw, runs, behind, measure=settings.measure, note=note),
        }
        drawings = {name: draw for name, draw in drawings.items() if name[:-4] in settings.pictures}
    else:
        _say("nothing is measured: no bars, no J over time, no speed and no contact sheet")

    def reopen(run: gallery.Run, names: Sequence[str]) -> list[Video]:
        return sources.reopen(run.results.fingerprint, settings.data_root, names)

    if "contact_sheet" in settings.pictures:
        drawings |= frames.contact_sheets(runs, reopen)
    if "video" in settings.pictures:
        drawings |= frames.videos(runs, reopen, settings.sequences)
    if not drawings:
        raise UserError(f"{settings.runs[0]}: nothing to draw of pictures={settings.pictures}")
    out = Path(settings.out) if settings.out else Path(settings.runs[0]) / "plots"
    replaced = gallery.claim(out, runs, list(drawings))
    for said in (*gallery.caveats(runs), note if "speed.png" in drawings else None, replaced):
        _say(said)
    for name, draw in drawings.items():
        draw(out / name)
        print(out / name, flush=True)
    return [out / name for name in drawings]


def _say(text: str | None) -> None:
    if text:
        print(text, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    config.register()
    return command.run("plot", plot, arguments)


if __name__ == "__main__":
    sys.exit(main())
