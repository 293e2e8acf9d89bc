"""A function over many items by several processes, which end with the one that started them. Needs no network."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import cv2

from eosvos.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")


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
