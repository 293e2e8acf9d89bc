"""Writes masks as CVAT's XML 1.1, "CVAT for images", which tasks of videos import, too.

Not as tracks of "CVAT for video": of a track of masks CVAT imports the first one alone. Every object has a label.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from eosvos.data.masks import ids_of
from eosvos.data.palette import DAVIS_PALETTE
from eosvos.files import write_text


def write_cvat(
    path: str | Path,
    masks: Iterable[tuple[str, np.ndarray]],
    *,
    video: str,
    labels: Mapping[int, str],
    kind: str = ".jpg",
) -> None:
    """Write the id masks of a video as CVAT for images 1.1, atomically; void is left out.

    Args:
        path: the file.
        masks: (frame name, id mask uint8 (H, W)) pairs.
        video: name of the video.
        labels: object id -> label, of all objects.
        kind: extension of the images.
    """
    lines: list[str] = []
    named = dict(labels)
    count = 0
    for count, (name, mask) in enumerate(masks, 1):
        size = f'width="{mask.shape[1]}" height="{mask.shape[0]}"'
        lines.append(f'  <image id="{count - 1}" name={quoteattr(name + kind)} {size}>')
        for number in ids_of(mask):
            label = quoteattr(named.setdefault(number, f"object {number}"))
            lines.append(
                f'    <mask label={label} source="auto" occluded="0" {_runs(mask == number)} z_order="0">\n    </mask>'
            )
        lines.append("  </image>")
    shown = "".join(
        f"<label><name>{escape(label)}</name><color>#{bytes(DAVIS_PALETTE[number]).hex()}</color><type>mask</type>"
        "<attributes/></label>"
        for number, label in sorted(named.items())
    )
    head = (
        f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n  <meta><task>'
        f"<name>{escape(video)}</name><size>{count}</size><mode>annotation</mode><labels>{shown}</labels></task></meta>"
    )
    write_text(path, "\n".join([head, *lines, "</annotations>\n"]))


def _runs(mask: np.ndarray) -> str:
    """Return the attributes of a mask element for a mask, bool (H, W), that is not empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].ravel()
    ends = [0, *(np.flatnonzero(part[1:] != part[:-1]) + 1).tolist(), part.size]
    runs = np.diff(ends).tolist() if not part[0] else [0, *np.diff(ends).tolist()]
    height, width = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
    box = f'left="{columns[0]}" top="{rows[0]}" width="{width}" height="{height}"'
    return f'rle="{", ".join(map(str, runs))}" {box}'
