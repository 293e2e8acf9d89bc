"""SIGINT and SIGTERM as requests to stop after the present iteration."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_SECOND = 1.0  # seconds between two Ctrl-C of a person, at least


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM within the block, in place of their handlers.

    A second Ctrl-C, `_SECOND` seconds after the first one or later, raises KeyboardInterrupt. Outside the main thread
    signals are left to the host application.

    Yields:
        A list to which the numbers of the signals are appended; empty: go on.
    """
    seen: list[int] = []
    first = math.inf

    def note(number: int, frame: Any) -> None:
        nonlocal first
        first = min(first, time.monotonic())
        # Sooner it is no second Ctrl-C: torchrun forwards the one that its processes had from the terminal already.
        if number == signal.SIGINT and time.monotonic() - first >= _SECOND:
            raise KeyboardInterrupt
        seen.append(number)

    try:
        before = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread: signals stay with the host application
        yield seen
        return
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
