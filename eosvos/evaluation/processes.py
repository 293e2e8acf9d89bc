"""Work spread over several processes, which end with the one that started them: a function over many items, which
needs no network, and a method over sequences."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import cv2

from eosvos.errors import UserError
from eosvos.evaluation.metrics.sequence_scores import SequenceResult

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue

Item = TypeVar("Item")
Result = TypeVar("Result")
_working = _stopped = False


def spread(function: Callable[[Item], Result], items: Iterable[Item], processes: int = 1) -> Iterator[Result]:
    """`function` of each item, each in one of `processes` processes; results come as they are finished.

    The function, the items and the results must be picklable, unless all is done in this process: with `processes` = 1
    or a single item. Items are begun in their order: the longest first, and the processes end at about the same time.
    A process imports what the function's module does, so that a module without torch starts in a fifth of a second.

    The first error, KeyboardInterrupt too, ends the other processes and is raised. Raises UserError where a process was
    killed from outside, and for `processes` that are no number from 1 on.
    """
    if not isinstance(processes, int) or processes < 1:
        raise UserError(f"processes={processes}: expected a whole number from 1 on")
    items = list(items)
    if processes == 1 or len(items) < 2:
        yield from map(function, items)
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy the threads' locks
    pool = ProcessPoolExecutor(min(processes, len(items)), mp_context=context, initializer=_begin)
    try:
        for future in as_completed([pool.submit(function, item) for item in items]):
            yield future.result()
    except BrokenProcessPool as error:
        end(pool)
        raise UserError(
            "a process was killed from outside, perhaps for want of memory; with processes=1 it needs less"
        ) from error
    except BaseException:
        end(pool)
        raise
    pool.shutdown()


def end(pool: ProcessPoolExecutor) -> None:
    """End a pool's processes at once."""
    workers = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join()


def end_with_parent() -> None:
    """Let this process end when the one that started it does, however that comes to its end."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the first process decides and ends the others
    end_with_parent()
    cv2.setNumThreads(1)


class Job(Protocol):
    """The work on one item; sent to every process once."""

    @property
    def out(self) -> Path: ...

    def __call__(self, *arguments: Any) -> SequenceResult: ...


_job: Job


def over_processes(
    job: Job, items: Mapping[str, tuple[Any, ...]], processes: int, gpus: int = 0
) -> Iterator[SequenceResult]:
    """Do `job(*arguments)` for each item (name -> arguments), in `processes` processes; results come as they are
    finished. `gpus` > 0: process k computes on GPU k modulo `gpus`.

    The first error, KeyboardInterrupt too, ends the other processes and is raised. Raises UserError where a process was
    killed from outside.
    """
    _check_picklable({**vars(job), **items})
    context = multiprocessing.get_context("spawn")  # a fork would copy the threads' locks, and CUDA cannot
    turns = context.SimpleQueue()
    for number in range(processes):
        turns.put(number % gpus if gpus else None)
    pool = ProcessPoolExecutor(
        min(processes, len(items)), mp_context=context, initializer=_begin_worker, initargs=(job, turns)
    )
    try:
        for future in as_completed([pool.submit(_work, arguments) for arguments in items.values()]):
            yield future.result()
    except BrokenProcessPool as error:
        end(pool)
        raise UserError(
            f"{job.out}: a process was killed from outside, perhaps for want of memory; what is finished stays: the "
            "same command continues, with processes=1 it needs less"
        ) from error
    except BaseException:
        end(pool)
        raise
    pool.shutdown()


def _begin_worker(job: Job, turns: SimpleQueue[int | None]) -> None:
    global _job
    _job = job
    gpu = turns.get()
    if gpu is not None:
        import torch

        torch.cuda.set_device(gpu)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the first process decides and ends the others
    signal.signal(signal.SIGTERM, _stop)
    end_with_parent()
    if "torch" in sys.modules:  # what only measures does without it, and starts fifteen times faster
        sys.modules["torch"].set_num_threads(1)
    cv2.setNumThreads(1)


def _work(arguments: tuple[Any, ...]) -> SequenceResult:
    global _working
    _working = True
    try:
        return _job(*arguments)
    finally:
        _working = False
        if _stopped:
            os._exit(1)


def _stop(*_: object) -> None:
    global _stopped
    if not _working:
        os._exit(1)
    if not _stopped:
        _stopped = True
        raise KeyboardInterrupt  # unwinds the sequence, so that temporary files are removed


def _check_picklable(things: Mapping[str, object]) -> None:
    """Raise TypeError, saying what to do, where something cannot be sent to another process."""
    for what, thing in things.items():
        try:
            pickle.dumps(thing)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise TypeError(
                f"{what} cannot be sent to another process ({error}); use functools.partial of functions at the top of "
                "a module, or processes=1"
            ) from error
