"""A function mapped over items in several processes, which end with the process that started them."""

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
from typing import TYPE_CHECKING, Any, TypeVar

import cv2

from eosvos.errors import UserError

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue

Item = TypeVar("Item")
Result = TypeVar("Result")
_function: Callable[[Any], Any]  # of this worker process
_working = _stopped = False


def map_in_processes(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    processes: int = 1,
    *,
    gpus: int = 0,
    resumable: str = "",
) -> Iterator[Result]:
    """Yield the results of a function over items, as they are finished.

    With one process or one item everything is computed in the calling process, in order.

    Args:
        function: must be picklable; it is sent to every process once. A process imports what the function's module
            imports: a module without torch starts in a fifth of a second.
        items: must be picklable. They are started in their order: with the longest first, all processes end at about
            the same time.
        processes: number of worker processes, at least 1. Each computes on one thread.
        gpus: number of GPUs to share out. Process k uses GPU k modulo `gpus`; 0: no GPU is chosen.
        resumable: name of the result folder, if the same command continues an interrupted run; for the error message.

    Raises:
        UserError: if `processes` is no number from 1 on, or a process was killed from outside.
        Exception: the first error of `function`, KeyboardInterrupt included; the other processes are ended.
    """
    if not isinstance(processes, int) or processes < 1:
        raise UserError(f"processes={processes}: expected a whole number from 1 on")
    items = list(items)
    if processes == 1 or len(items) < 2:
        yield from map(function, items)
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy the threads' locks, and CUDA cannot
    devices = context.SimpleQueue()
    for number in range(processes):
        devices.put(number % gpus if gpus else None)
    pool = ProcessPoolExecutor(
        min(processes, len(items)), mp_context=context, initializer=_start_worker, initargs=(function, devices)
    )
    try:
        for future in as_completed([pool.submit(_work, item) for item in items]):
            yield future.result()
    except BrokenProcessPool as error:
        _terminate(pool)
        where = f"{resumable}: " if resumable else ""
        remedy = "what is finished stays: the same command continues, " if resumable else ""
        raise UserError(
            f"{where}a process was killed from outside, perhaps for want of memory; {remedy}with processes=1 it needs "
            "less"
        ) from error
    except BaseException:
        _terminate(pool)
        raise
    pool.shutdown()


def check_picklable(values: Mapping[str, object]) -> None:
    """Check that values can be sent to another process.

    Args:
        values: by the name that an error message calls them.

    Raises:
        TypeError: if one cannot be pickled, with its name and what to do.
    """
    for name, value in values.items():
        try:
            pickle.dumps(value)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise TypeError(
                f"{name} cannot be sent to another process ({error}); use functools.partial of functions at the top of "
                "a module, or processes=1"
            ) from error


def _terminate(pool: ProcessPoolExecutor) -> None:
    """End a pool's processes at once."""
    workers = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join()


def _start_worker(function: Callable[[Any], Any], devices: SimpleQueue[int | None]) -> None:
    global _function
    _function = function
    gpu = devices.get()
    if gpu is not None:
        import torch

        torch.cuda.set_device(gpu)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the first process decides and ends the others
    signal.signal(signal.SIGTERM, _stop)
    _end_with_parent()
    if "torch" in sys.modules:  # scoring works without it, and starts fifteen times faster
        sys.modules["torch"].set_num_threads(1)
    cv2.setNumThreads(1)


def _end_with_parent() -> None:
    """Let this process end when the one that started it does, however that comes to its end."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _work(item: Any) -> Any:
    global _working
    _working = True
    try:
        return _function(item)
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
        raise KeyboardInterrupt  # unwinds the item's work, so that temporary files are removed
