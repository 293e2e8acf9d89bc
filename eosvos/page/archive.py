"""Export of a session: a zip file of what the page shows, painted frames as they are painted."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from eosvos.data.masks import ids_of, read_mask, write_mask
from eosvos.errors import UserError
from eosvos.files import atomic, write_text
from eosvos.inference.export import OUTPUTS
from eosvos.page.annotations import Annotations
from eosvos.page.jobs import Job, wait_until_counted
from eosvos.page.session import Session

_TEXTS = (".json", ".xml", ".txt")


def archive(session: Session, number: int) -> Path:
    """Return the path of a run's zip file."""
    return session.run_folder(number) / "export.zip"


def is_current(session: Session, number: int) -> bool:
    """Return whether the zip file of a run is there and holds what the page shows now."""
    note = session.run_folder(number) / "exported.json"
    try:
        return archive(session, number).is_file() and note.read_text(encoding="utf-8") == _content(session)
    except OSError:
        return False


def check_outputs(outputs: Any) -> list[str]:
    """Check a list of output kinds and drop repeated ones. Raises UserError for an unknown one."""
    if not isinstance(outputs, list) or any(not isinstance(kind, str) or kind not in OUTPUTS for kind in outputs):
        raise UserError(f"outputs={outputs!r}: expected a list of some of {', '.join(OUTPUTS)}")
    return list(dict.fromkeys(outputs))


def export(session: Session, number: int, outputs: Collection[str], job: Job) -> None:
    """Write the zip file of a finished run: masks, painted masks, and the `outputs`, keys of `export.OUTPUTS`.

    A painted frame is exported as the page shows it, also when it was painted after the run; deleted objects are left
    out.
    """
    folder, run = session.run_folder(number), session.run(number)
    frames = session.frames
    wait_until_counted(frames, job)
    shown = folder / "export"
    shutil.rmtree(shown, ignore_errors=True)  # of an export that was cut off
    try:
        content = _content(session)
        annotated, objects = _gather(session, folder, shown, job)
        first = min(annotated, default=run.first)
        sequence = replace(
            frames,
            first_frame=dict.fromkeys(sorted(objects | set(run.objects) - session.deleted()), first),
            prompt_frames=tuple(annotated),
        )
        for kind in outputs:
            job.begin(kind, len(sequence))
            OUTPUTS[kind](sequence, shown / "masks", shown, session.rate, job.tick)
        files = [path for path in sorted(shown.rglob("*")) if path.is_file() and not path.name.startswith(".")]
        job.begin("zip", len(files))
        with atomic(archive(session, number)) as path, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
            file.write(folder / "run.json", "run.json")
            for source in files:  # images and videos are compressed already
                how = zipfile.ZIP_DEFLATED if source.suffix in _TEXTS else zipfile.ZIP_STORED
                file.write(source, source.relative_to(shown), how)
                job.tick()
        write_text(folder / "exported.json", content)
    finally:
        shutil.rmtree(shown, ignore_errors=True)


def _gather(session: Session, folder: Path, shown: Path, job: Job) -> tuple[list[int], set[int]]:
    """Write the masks that the page shows to `shown`/masks, and what is painted to `shown`/annotations.

    Returns the indices of the painted frames and the objects that are painted.
    """
    painted, deleted = session.annotations, sorted(session.deleted())
    kept = Annotations(shown / "annotations", session.size)
    (shown / "masks").mkdir(parents=True)
    annotated, objects = [], set[int]()
    job.begin("masks", len(session.names))
    for index, name in enumerate(session.names):
        source, target = folder / "masks" / f"{name}.png", shown / "masks" / f"{name}.png"
        if name in painted:
            objects.update(painted.copy(name, kept, deleted))
            annotated.append(index)
            write_mask(target, _without(kept.over(name, read_mask(source, size=session.size)), deleted))
        elif deleted and set(ids_of(ids := read_mask(source, size=session.size))) & set(deleted):
            write_mask(target, _without(ids, deleted))
        else:
            _link(source, target)
        job.tick()
    return annotated, objects


def _without(ids: np.ndarray, deleted: Collection[int]) -> np.ndarray:
    return np.where(np.isin(ids, list(deleted)), 0, ids).astype(np.uint8)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)


def _content(session: Session) -> str:
    """Describe what an export would hold, besides the run's own masks."""
    return json.dumps([session.versions(), sorted(session.deleted())])
