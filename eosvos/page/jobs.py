"""The work of the page's sessions, in threads: at most one job each, which take turns in computing; they segment a
session's video from its painted masks, and export the result."""

from __future__ import annotations

import json
import logging
import threading
import time
import zipfile
from collections import deque
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch

from eosvos.data.sequence import VideoSequence
from eosvos.errors import UserError
from eosvos.files import append_line, atomic
from eosvos.inference import segment_video
from eosvos.inference.export import OUTPUTS
from eosvos.methods.base import Watch
from eosvos.methods.protocol import Method
from eosvos.page.sessions import Run, Session
from eosvos.page.uploads import count

log = logging.getLogger(__name__)


class Cancelled(Exception):
    """The user does not want a job any more, or the server ends."""


class FairLock:
    """A lock that is given to those who wait in the order in which they came.

    One job computes at a time, as two at once would each take twice as long; they change places between two steps or
    frames.
    """

    def __init__(self) -> None:
        self._condition, self._line = threading.Condition(), deque[object]()

    def __enter__(self) -> None:
        ticket = object()
        with self._condition:
            self._line.append(ticket)
            self._condition.wait_for(lambda: self._line[0] is ticket)

    def __exit__(self, *_: object) -> None:
        with self._condition:
            self._line.popleft()
            self._condition.notify_all()

    def change(self) -> None:
        """Let the others have their turn; to be called by the one that has it."""
        if len(self._line) > 1:
            self.__exit__()
            self.__enter__()


class Job:
    """What a thread is doing for a session. kind: "run" or "export". message: why it failed."""

    def __init__(self, kind: str, turns: FairLock) -> None:
        self.kind, self.done, self.total, self.step, self.message = kind, 0, 0, "", ""
        self.cancelled, self.ended = threading.Event(), threading.Event()
        self._turns, self._began, self._skipped = turns, 0.0, 0

    def tick(self, count: int = 1) -> None:
        """So many frames more are done. Raises Cancelled where it is not to go on."""
        if not self._began:
            self._began, self._skipped = time.monotonic(), count
        self.done += count
        self.pause()

    def pause(self) -> None:
        """Between two steps. Raises Cancelled where it is not to go on."""
        if self.cancelled.is_set():
            raise Cancelled
        self._turns.change()

    def begin(self, step: str, total: int) -> None:
        """A new part, of `total` frames."""
        self.step, self.total, self.done, self._began = step, total, 0, 0.0

    @property
    def seconds_left(self) -> float | None:
        """Until this part is done, by its speed so far."""
        done, spent = self.done - self._skipped, time.monotonic() - self._began
        return spent * (self.total - self.done) / done if self._began and done > 0 else None

    def describe(self) -> dict[str, Any]:
        words = {"kind": self.kind, "step": self.step, "done": self.done, "total": self.total}
        return words | {"left": self.seconds_left, "cancelled": self.cancelled.is_set()}


class Work:
    """All jobs, by the id of their session."""

    def __init__(self) -> None:
        self._turns, self._lock = FairLock(), threading.Lock()
        self._jobs: dict[str, Job] = {}
        self.failures: dict[str, str] = {}  # messages of the last jobs that failed

    def start(self, id: str, kind: str, prepare: Callable[[], Callable[[Job], None]]) -> None:
        """Begin the job that `prepare` makes ready and returns. Raises UserError where the session has one already:
        then nothing is made ready."""
        job = Job(kind, self._turns)
        with self._lock:
            if id in self._jobs:
                raise UserError("this session is at work; wait for its end, or cancel it")
            self._jobs[id] = job
        try:
            task = prepare()
            self.failures.pop(id, None)
            name = f"{kind} {id[:6]}"
            threading.Thread(target=self._work, args=(id, job, task), name=name, daemon=True).start()
        except BaseException:
            self._end(id, job)
            raise

    def job(self, id: str) -> Job | None:
        """The one that is at work for a session."""
        return self._jobs.get(id)

    def cancel(self, id: str, *, wait: float = 0.0) -> None:
        """End a session's job, if there is one, at its next step; wait so many seconds for it."""
        job = self._jobs.get(id)
        if job is not None:
            job.cancelled.set()
            if wait:
                job.ended.wait(wait)

    def close(self) -> None:
        """End all jobs."""
        for id in list(self._jobs):
            self.cancel(id)
        for id in list(self._jobs):
            self.cancel(id, wait=5.0)

    def _work(self, id: str, job: Job, task: Callable[[Job], None]) -> None:
        try:
            with self._turns:
                job.pause()
                task(job)
        except Cancelled:
            pass
        except UserError as error:
            self.failures[id] = str(error)
        except Exception as error:  # told in the page, too, and the server goes on
            log.exception("%s of session %s", job.kind, id)
            self.failures[id] = f"{type(error).__name__}: {error}; this is an error of the program"
        finally:
            self._end(id, job)

    def _end(self, id: str, job: Job) -> None:
        with self._lock:
            del self._jobs[id]
        job.ended.set()


class MethodFactory(Protocol):
    """What the page segments with, whatever number of fine-tuning steps a user asks for."""

    device: torch.device
    steps: int  # where the user asks for none

    def __call__(self, steps: int, watch: Watch) -> Method:
        """A fresh method that tells `watch` of its fine-tuning."""
        ...

    def fingerprint(self, steps: int) -> dict[str, Any]:
        """All that decides its masks."""
        ...


def segment(session: Session, run: Run, make: MethodFactory, job: Job) -> None:
    """Segment the video, or what a run that was cut off left of it; the outcome goes to its run.json."""
    folder, began, before = session.run_folder(run.number), time.monotonic(), run.seconds

    def watch(done: int, total: int, loss: float) -> None:
        append_line(folder / "loss.jsonl", json.dumps([done, total, round(loss, 5)]))
        job.pause()

    run.state, run.message = "running", ""
    session.keep(run)
    try:
        sequence, _ = session.annotated_video(folder / "annotations")
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
    sequence, rate = session.annotated_video(folder / "annotations")
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


def _count(sequence: VideoSequence, job: Job) -> None:
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
