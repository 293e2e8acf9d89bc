"""How all plots look: colours, fonts, ticks, an empty canvas."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from eosvos.files import atomic

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")  # runs.MOST
_STYLE: dict[Any, Any] = {  # parse_math: a name may hold a $
    "text.parse_math": False, "font.family": "DejaVu Sans", "axes.axisbelow": True,
}  # fmt: skip


def subplots(rows: int = 1, columns: int = 1, *, figsize=None, dpi=None, **more):
    """A figure without a screen and its axes (rows, columns); more: settings of `Figure.subplots`.

    Apart from pyplot, whose backend and open figures are those of the program around us. Imported where something is
    drawn: it takes half a second.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=figsize, dpi=dpi, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **more)


def plain_ticks(axis) -> None:
    """Numbers as 0.02 and 30, not as powers, on a logarithmic axis; not more of them than can be read."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


@contextmanager
def canvas(out: Path, notes: Sequence[str], **grid: Any) -> Iterator[tuple[Any, np.ndarray]]:
    """Yield a figure and its axes to draw on, see `subplots`; it is written to `out` with `notes` below."""
    from matplotlib import rc_context

    with rc_context(_STYLE):
        figure, axes = subplots(dpi=120, **grid)
        width = int(figure.get_figwidth() * 15)
        lines = [line for note in notes for line in textwrap.wrap(readable(note, 2000), width)]
        figure.set_figheight(figure.get_figheight() + 0.14 * len(lines))
        figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=7.5, color="0.25")
        yield figure, axes
        with atomic(out) as path:
            figure.savefig(path, format="png", bbox_inches="tight", pad_inches=0.12)


def readable(text: str, most: int = 120, width: Callable[[str], float] = len) -> str:
    """`text` on one line, without characters that the font of the figures lacks, and at most `most` wide: of longer
    ones the middle is left out."""
    known = _characters()
    text = " ".join(text.split())
    text = "".join(c if ord(c) in known else c.encode("ascii", "backslashreplace").decode() for c in text)
    cut = text
    for kept in range(len(text) - 1, 1, -1):
        if width(cut) <= most:
            break
        cut = f"{text[: -(-kept // 2)]}…{text[-(kept // 2) :]}"
    return cut


def font_file() -> Path:
    """DejaVu Sans, which matplotlib brings along: Latin, Greek, Cyrillic, Arabic, ..."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


@lru_cache(maxsize=1)
def _characters() -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(str(font_file())).get_charmap())
