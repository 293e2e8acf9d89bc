"""Jobs of the page, in threads: segment a session's video from its painted masks; archive.py exports the result.

A session has one job at most. Jobs take turns in computing.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import torch

from eosvos.data.sequence import VideoSequence
from eosvos.errors import UserError
from eosvos.files import append_line
from eosvos.inference import segment_video
from eosvos.methods.base import Watch
from eosvos.methods.protocol import Method
from eosvos.page.session import Run, Session
from eosvos.page.uploads import count_frames

log = logging.getLogger(__name__)


class Cancelled(Exception):
    """Raised in a job that the user cancelled, or when the server ends."""


class FairLock:
    """A lock that is given in the order of request.

    One job computes at a time, as two at once would each take twice as long; they alternate between steps or frames.
    Each waits for an event of its own: a change wakes one of fifty, not all of them.
    """

    def __init__(self) -> None:
        self._lock, self._line = threading.Lock(), deque[threading.Event]()

    def __enter__(self) -> None:
        turn = threading.Event()
        with self._lock:
            self._line.append(turn)
            self._line[0].set()
        turn.wait()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._line.popleft()
            if self._line:
                self._line[0].set()

    def change(self) -> None:
        """Let the others have the lock first; to be called by its holder."""
        if len(self._line) > 1:
            self.__exit__()
            self.__enter__()


class Job:
    """A job of a session, with its progress.

    Attributes:
        kind: "run" or "export".
        step: name of the current part.
        done: frames done of this part.
        total: frames of this part; 0: unknown.
        message: why it failed.
        objects: number of objects that are fine-tuned.

    Args:
        kind: see above.
        turns: in which jobs compute.
        check: called between two frames; raises UserError if the job has to end.
    """

    def __init__(self, kind: str, turns: FairLock, check: Callable[[], object] = bool) -> None:
        self.kind, self.done, self.total, self.step, self.message = kind, 0, 0, "", ""
        self.cancelled, self.ended = threading.Event(), threading.Event()
        self.objects = 0
        self._turns, self._check, self._began, self._skipped = turns, check, 0.0, 0
        self._tuned: list[tuple[int, int]] = []  # for each object: steps done, and in all
        self._tuning_began, self._tuning = 0.0, False

    def tick(self, count: int = 1) -> None:
        """Count frames as done. Raises Cancelled if the job was cancelled."""
        if not self._began:
            self._began, self._skipped = time.monotonic(), count
        self.done += count
        self._tuning = False
        self._check()
        self.pause()

    def pause(self) -> None:
        """Let other jobs compute, between two steps. Raises Cancelled if the job was cancelled."""
        if self.cancelled.is_set():
            raise Cancelled
        self._turns.change()

    def begin(self, step: str, total: int) -> None:
        """Begin a new part of `total` frames."""
        self.step, self.total, self.done, self._began = step, total, 0, 0.0

    def tune(self, done: int, total: int) -> None:
        """Note step `done` of `total` (0: unknown) of fine-tuning an object; step 1 begins the next object."""
        if not self._tuned:
            self._tuning_began = time.monotonic()
        if done == 1 or not self._tuned:
            self._tuned.append((done, total))
        self._tuned[-1], self._tuning = (done, total), True

    @property
    def rate(self) -> float | None:
        """Frames per second of this part; None: unknown. Fine-tuning before the first frame does not count."""
        done, spent = self.done - self._skipped, time.monotonic() - self._began
        return done / spent if self._began and done > 0 and spent > 0 else None

    @property
    def tuning(self) -> dict[str, Any] | None:
        """How far fine-tuning is: object, number of objects, step, number of steps, seconds left; None: it is not
        what is done now."""
        if not self._tuning:
            return None
        step, steps = self._tuned[-1]
        number, objects = len(self._tuned), max(self.objects, len(self._tuned))
        done = sum(done for done, _ in self._tuned)
        left = None
        if steps and done > 1:  # what comes is as long as what is known
            remaining = steps - step + steps * (objects - number)
            left = (time.monotonic() - self._tuning_began) / done * remaining
        return {"object": number, "objects": objects, "step": step, "steps": steps, "left": left}

    def describe(self) -> dict[str, Any]:
        rate = self.rate
        return {
            "kind": self.kind,
            "step": self.step,
            "done": self.done,
            "total": self.total,
            "rate": rate,
            "left": None if rate is None else (self.total - self.done) / rate,
            "tuning": self.tuning,
            "cancelled": self.cancelled.is_set(),
        }


class Work:
    """Starts and cancels the jobs of all sessions; `check`: see `Job`."""

    def __init__(self, check: Callable[[], object] = bool) -> None:
        self._turns, self._check, self._lock = FairLock(), check, threading.Lock()
        self._jobs: dict[str, Job] = {}
        self.failures: dict[str, str] = {}  # messages of the last jobs that failed

    def start(self, id: str, kind: str, prepare: Callable[[], Callable[[Job], None]]) -> None:
        """Start a job in a thread.

        Args:
            id: of the session.
            kind: "run" or "export".
            prepare: called at once; returns the function that does the job.

        Raises:
            UserError: if the session has a job already, or `check` refuses one; `prepare` is then not called.
        """
        self._check()
        job = Job(kind, self._turns, self._check)
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
        """Return the running job of a session."""
        return self._jobs.get(id)

    def cancel(self, id: str, *, wait: float = 0.0) -> None:
        """Cancel a session's job, if there is one, and wait up to `wait` seconds for its end."""
        job = self._jobs.get(id)
        if job is not None:
            job.cancelled.set()
            if wait:
                job.ended.wait(wait)

    def close(self) -> None:
        """Cancel all jobs and wait for their ends."""
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
    """Builds the method that the page segments with, for a number of fine-tuning steps."""

    device: torch.device
    steps: int  # the default

    def __call__(self, steps: int, watch: Watch) -> Method:
        """Build a new method, which reports its fine-tuning to `watch`."""
        ...

    def fingerprint(self, steps: int) -> dict[str, Any]:
        """Return everything that determines the masks, as JSON."""
        ...


def segment(session: Session, run: Run, make: MethodFactory, job: Job) -> None:
    """Segment a session's video, continuing an interrupted run; the run's state is written to its run.json."""
    folder, began, before = session.run_folder(run.number), time.monotonic(), run.seconds

    def watch(done: int, total: int, loss: float) -> None:
        append_line(folder / "loss.jsonl", json.dumps([done, total, round(loss, 5)]))
        job.tune(done, total)
        job.pause()

    run.state, run.message = "running", ""
    session.keep(run)
    try:
        sequence, _ = session.annotated_video(folder / "annotations")
        method = partial(make, run.steps, watch)
        job.objects = len(sequence.first_frame)
        job.begin("masks", segment_video.total(sequence) if sequence.counted else 0)

        def tick(frames: int) -> None:
            wait_until_counted(sequence, job)  # only now: of a large file they are counted after the first one
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


def wait_until_counted(sequence: VideoSequence, job: Job) -> None:
    """Wait until the frames are counted. Raises Cancelled if the job was cancelled."""
    if not sequence.counted:
        count_frames(sequence)
    while not sequence.counted:
        job.pause()
        time.sleep(0.05)
