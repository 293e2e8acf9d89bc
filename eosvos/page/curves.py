"""Curves over a run's frames: the objects' areas, and how uncertain the masks are."""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import suppress
from dataclasses import replace

import numpy as np

from eosvos.data.masks import VOID, read_mask
from eosvos.errors import UserError
from eosvos.inference import segment_video
from eosvos.page.session import Run, Session

_KEPT = 16  # runs whose areas are kept


class Areas:
    """Areas of the objects in the masks of runs; what was counted is kept, as a page asks again while a run goes on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, int], dict[str, tuple[int, np.ndarray]]] = OrderedDict()

    def of(self, session: Session, run: Run) -> dict[int, list[int | None]]:
        """Return the pixels of each object on every frame by object id; None where the run has no mask yet."""
        with self._lock:
            known = self._known.setdefault((session.id, run.number), {})
            self._known.move_to_end((session.id, run.number))
            if len(self._known) > _KEPT:
                self._known.popitem(last=False)
        folder = session.run_folder(run.number) / "masks"
        rows = []
        for name in session.names:
            path = folder / f"{name}.png"
            with suppress(FileNotFoundError, UserError):
                changed = path.stat().st_mtime_ns
                if name not in known or known[name][0] != changed:
                    mask = read_mask(path, size=session.size)
                    known[name] = (changed, np.bincount(mask.ravel(), minlength=VOID + 1))
            rows.append(known[name][1] if name in known else None)
        return {i: [None if row is None else int(row[i]) for row in rows] for i in run.objects}


def uncertainty(session: Session, run: Run) -> list[float | None]:
    """Return how uncertain the mask of every frame is, the mean over objects, in [0, 1]; None: unknown."""
    sequence = replace(
        session.frames, frame_names=tuple(session.names), first_frame=dict.fromkeys(run.objects, run.first)
    )
    values = np.array(list(segment_video.uncertainties(sequence, session.run_folder(run.number))[0].values()))
    counted = (~np.isnan(values)).sum(0)
    means = np.nansum(values, 0) / np.maximum(counted, 1)
    return [round(float(mean), 4) if count else None for mean, count in zip(means, counted, strict=True)]
