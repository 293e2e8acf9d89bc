"""Tables as text that fits a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_uppercase

from eosvos.evaluation.report import table

WIDTH = 100  # columns
_LONG = 8  # characters of a line of a heading; longer ones are replaced where there is no room


def fitted(header: Sequence[str], rows: Sequence[Sequence[str]], *, width: int = WIDTH, numbered: bool = True) -> str:
    """Format a table, with headings in two lines, in at most `width` columns.

    Where it is wider, letters replace long headings; then numbers the names in the first column; both are explained
    below. What is still too wide is divided into tables under one another.

    Args:
        header: of the columns.
        rows: cells.
        width: in characters.
        numbered: whether the first column may be replaced.
    """
    letters = {k: ascii_uppercase[n % 26] for n, k in enumerate(k for k, name in enumerate(header) if _long(name))}
    letters.pop(0, None)
    short = [letters.get(k, name) for k, name in enumerate(header)]
    numbers = [[str(k), *row[1:]] for k, row in enumerate(rows, 1)]
    explained = [f"{letter}: {header[k]}" for k, letter in letters.items()]
    names = [f"{k}: {row[0]}" for k, row in enumerate(rows, 1)]
    tries = [(header, rows, []), (short, rows, explained)]
    if numbered:
        tries += [(header, numbers, names), (short, numbers, [*explained, *names])]
    for headings, cells, below in tries:
        if _width(text := _stacked(headings, cells)) <= width:
            return "\n".join([text, *below])
    headings, cells, below = tries[-1]
    blocks: list[list[int]] = [[]]
    for k in range(1, len(headings)):
        if blocks[-1] and _width(_columns(headings, cells, [*blocks[-1], k])) > width:
            blocks.append([])
        blocks[-1].append(k)
    return "\n".join(["\n\n".join(_columns(headings, cells, block) for block in blocks), *below])


def _long(heading: str) -> bool:
    return max(map(len, _lines(heading))) > _LONG


def _lines(heading: str) -> tuple[str, str]:
    """Divide a heading into two lines, at its last space."""
    above, _, below = heading.rpartition(" ")
    return above, below


def _columns(header: Sequence[str], rows: Sequence[Sequence[str]], columns: Sequence[int]) -> str:
    chosen = (0, *columns)
    return _stacked([header[k] for k in chosen], [[row[k] for k in chosen] for row in rows])


def _stacked(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    above, below = zip(*map(_lines, header), strict=True)
    lines = table(above, [below, *rows]).split("\n")
    return "\n".join([*([lines[0]] if any(above) else []), lines[2], lines[1], *lines[3:]])


def _width(text: str) -> int:
    return max(map(len, text.split("\n")))
