"""What the page's jobs do: segment a session's video from its painted masks, and export the result."""

from __future__ import annotations

import json
import time
import zipfile
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch

from eosvos.data.sequence import Sequence
from eosvos.errors import UserError
from eosvos.files import append_line, atomic
from eosvos.inference import segment_video
from eosvos.inference.export import OUTPUTS
from eosvos.methods.base import Watch
from eosvos.methods.protocol import Method
from eosvos.page.jobs import Cancelled, Job
from eosvos.page.sessions import Run, Session
from eosvos.page.uploads import count


class Maker(Protocol):
    """What the page segments with, whatever number of fine-tuning steps a user asks for."""

    device: torch.device
    steps: int  # where the user asks for none

    def __call__(self, steps: int, watch: Watch) -> Method:
        """A fresh method that tells `watch` of its fine-tuning."""
        ...

    def fingerprint(self, steps: int) -> dict[str, Any]:
        """All that decides its masks."""
        ...


def segment(session: Session, run: Run, make: Maker, job: Job) -> None:
    """Segment the video, or what a run that was cut off left of it; the outcome goes to its run.json."""
    folder, began, before = session.run_folder(run.number), time.monotonic(), run.seconds

    def watch(done: int, total: int, loss: float) -> None:
        append_line(folder / "loss.jsonl", json.dumps([done, total, round(loss, 5)]))
        job.pause()

    run.state, run.message = "running", ""
    session.keep(run)
    try:
        sequence, _ = session.given(folder / "annotations")
        method = partial(make, run.steps, watch)
        job.begin("masks", segment_video.total(sequence) if sequence.counted else 0)

        def tick(frames: int) -> None:
            _count(sequence, job)  # only now: of a large file they are counted after the first one
            job.total = segment_video.total(sequence)
            job.tick(frames)

        segment_video.segment(method, sequence, folder, device=make.device, save_every=10.0, tick=tick)
        run.state = "finished"
    except Cancelled:
        run.state = "stopped"
    except Exception as error:
        run.state, run.message = "failed", str(error)
        raise
    finally:
        run.seconds = before + time.monotonic() - began
        if session.folder.is_dir():  # else it was deleted meanwhile
            session.keep(run)


def export(session: Session, number: int, outputs: Collection[str], job: Job) -> None:
    """Write the zip of a finished run: its masks, what was painted, and the `outputs` asked for."""
    folder = session.run_folder(number)
    sequence, rate = session.given(folder / "annotations")
    _count(sequence, job)
    parts = [folder / "masks", folder / "annotations", folder / "run.json"]
    for kind in outputs:
        job.begin(kind, len(sequence))
        parts.append(OUTPUTS[kind](sequence, folder / "masks", folder, rate, job.tick))
    files = [path for part in parts for path in ([part] if part.is_file() else sorted(part.rglob("*")))]
    files = [path for path in files if path.is_file() and not path.name.startswith(".")]
    job.begin("zip", len(files))
    with atomic(archive(session, number)) as path, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        for source in files:  # all compressed already, but for the codes
            how = zipfile.ZIP_DEFLATED if source.suffix == ".json" else zipfile.ZIP_STORED
            file.write(source, source.relative_to(folder), how)
            job.tick()


def _count(sequence: Sequence, job: Job) -> None:
    """Have the frames counted, if they are not yet. Raises Cancelled where that is not to go on."""
    if not sequence.counted:
        count(sequence)
    while not sequence.counted:
        job.pause()
        time.sleep(0.05)


def archive(session: Session, number: int) -> Path:
    """Where the zip of a run is."""
    return session.run_folder(number) / "export.zip"


def check_outputs(outputs: Any) -> list[str]:
    """Kinds of output, each once. Raises UserError for what is none."""
    if not isinstance(outputs, list) or any(not isinstance(kind, str) or kind not in OUTPUTS for kind in outputs):
        raise UserError(f"outputs={outputs!r}: expected a list of some of {', '.join(OUTPUTS)}")
    return list(dict.fromkeys(outputs))
