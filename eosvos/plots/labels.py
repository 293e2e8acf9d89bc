"""Names beside the points of a plot, none on another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Label = tuple[float, float, str, dict[str, Any], int]  # x, y, text, its style, distance in points
_AROUND = [(0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)]  # where a label may stand, best first


def place(figure: Any, axis: Any, labels: Sequence[Label]) -> None:
    """Write a label beside each point, overlapping other labels and points as little as possible."""
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # so that nothing moves any more
    renderer = figure.canvas.get_renderer()
    at = [axis.transData.transform((x, y)) for x, y, *_ in labels]
    scale = figure.dpi / 72
    half = [label[4] * scale * 0.8 for label in labels]
    occupied = [Bbox.from_extents(x - r, y - r, x + r, y + r) for (x, y), r in zip(at, half, strict=True)]
    frame = axis.get_window_extent(renderer)
    for own, (x, y, text, style, least) in enumerate(labels):
        best: tuple[float, Any, Any] | None = None
        for distance in (least, 2 * least, 18, 27, 38):
            for right, up in _AROUND:
                note = axis.annotate(
                    text,
                    (x, y),
                    xytext=(right * distance, up * distance),
                    textcoords="offset points",
                    ha=("center", "left", "right")[right],
                    va=("center", "bottom", "top")[up],
                    **style,
                    arrowprops={"arrowstyle": "-", "color": "0.7", "linewidth": 0.5} if distance >= 18 else None,
                )
                note.update_positions(renderer)
                box = Text.get_window_extent(note, renderer).padded(2)  # without the line to the point
                cost = sum(_overlap_area(box, other) for k, other in enumerate(occupied) if k != own)
                cost += box.width * box.height - _overlap_area(box, frame)  # what leaves the axes
                if best is None or cost < best[0]:
                    if best is not None:
                        best[1].remove()
                    best = (cost, note, box)
                else:
                    note.remove()
                if cost == 0:
                    break
            if best is not None and best[0] == 0:
                break
        assert best is not None
        occupied.append(best[2])


def _overlap_area(a: Any, b: Any) -> float:
    width, height = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
    return max(width, 0.0) * max(height, 0.0)
