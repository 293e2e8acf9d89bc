"""The common style of plots: colours, fonts, ticks, canvas."""

from __future__ import annotations

import logging
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from eosvos.files import atomic

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")  # runs.MOST
FORMATS = ("png", "pdf", "svg")
_STYLE: dict[Any, Any] = {  # parse_math: a name may hold a $
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "axes.axisbelow": True,
}
_UNDATED = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}  # the same plot is the same file


def subplots(rows: int = 1, columns: int = 1, *, figsize=None, dpi=None, **more):
    """Create a matplotlib figure without a screen.

    pyplot is not used: its backend and open figures belong to the calling program. matplotlib is imported here, because
    that takes half a second.

    Args:
        rows: of axes.
        columns: of axes.
        figsize: (width, height) in inches.
        dpi: pixels per inch.
        more: further arguments of `Figure.subplots`.

    Returns:
        The figure and its axes, an array (rows, columns).
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=figsize, dpi=dpi, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **more)


def plain_ticks(axis) -> None:
    """Write numbers as 0.02 and 30, not as powers, on a logarithmic axis."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


@contextmanager
def canvas(out: Path, notes: Sequence[str], **grid: Any) -> Iterator[tuple[Any, np.ndarray]]:
    """Yield a figure and its axes, see `subplots`; afterwards it is saved as `out`, with `notes` below."""
    from matplotlib import rc_context

    with rc_context(_STYLE):
        figure, axes = subplots(dpi=120, **grid)
        width = int(figure.get_figwidth() * 15)
        lines = [line for note in notes for line in textwrap.wrap(readable(note, 2000), width)]
        figure.set_figheight(figure.get_figheight() + 0.14 * len(lines))
        figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=7.5, color="0.25")
        yield figure, axes
        save(figure, out, bbox_inches="tight", pad_inches=0.12)


def save(figure: Any, out: str | Path, **more: Any) -> Path:
    """Write a figure.

    Args:
        figure: a matplotlib figure.
        out: the file, which is returned; its suffix, one of `FORMATS`, is the format.
        more: further arguments of `Figure.savefig`.
    """
    from matplotlib import rc_context

    out = Path(out)
    form = out.suffix[1:]
    # Type 42 keeps text as text: publishers refuse matplotlib's default, type 3.
    logger = logging.getLogger("fontTools.subset")  # tells of every glyph
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with rc_context({"svg.hashsalt": "eosvos", "pdf.fonttype": 42}), atomic(out) as path:
            figure.savefig(path, format=form, metadata=_UNDATED.get(form), **more)
    finally:
        logger.setLevel(level)
    return out


def readable(text: str, most: int = 120, width: Callable[[str], float] = len) -> str:
    """Shorten a text for a plot.

    Args:
        text: any text.
        most: largest width; the middle of a longer text is left out.
        width: measures a text; by default in characters.

    Returns:
        One line, in which characters that the font lacks are escaped.
    """
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
    """Return the path of DejaVu Sans, which matplotlib contains: Latin, Greek, Cyrillic, Arabic, ..."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


@lru_cache(maxsize=1)
def _characters() -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(str(font_file())).get_charmap())
