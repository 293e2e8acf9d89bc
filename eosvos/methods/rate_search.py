"""Streams of tasks, and the search of the best single rate: what the trainings of all methods share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader

from eosvos.data.task_stream import TaskStream
from eosvos.meta.distributed import World
from eosvos.meta.learner import Learner

Item = tuple[tuple[int, int], Any]
_NO_END = 10**12  # iterations


def stream(
    taskset: Any, kind: str, *, seed: int, tasks: int, iterations: int | None, world: World, workers: int = 0
) -> Callable[[int], Iterator[Item]]:
    """start -> this process's items from iteration `start` on; without end where `iterations` is None. kind: as in
    `data.tasks.TaskStream`. The items do not depend on the number of data workers or processes."""

    def begin(start: int) -> Iterator[Item]:
        stop = _NO_END if iterations is None else iterations
        numbers = ((i, j) for i in range(start, stop) for j in range(world.rank, tasks, world.size))
        dataset = TaskStream(
            taskset, kind=kind, seed=seed, batch=tasks, start=start, stop=stop, rank=world.rank, world=world.size
        )
        loader = DataLoader(
            dataset, batch_size=None, num_workers=workers, prefetch_factor=4 if workers else None,
            worker_init_fn=_begin_worker, generator=torch.Generator(),  # or it draws a seed from the global one
        )  # fmt: skip
        return zip(numbers, loader, strict=True)

    return begin


def _begin_worker(number: int) -> None:
    """OpenCV's thread pool does not survive the fork: its first parallel call here might wait for ever."""
    cv2.setNumThreads(0)


def best_of(
    candidates: Iterable[tuple[str, Learner]], judge: Callable[[Learner], float]
) -> tuple[Learner, dict[str, float]]:
    """The candidate that is judged best, the first of equals, and all judgements by name."""
    figures: dict[str, float] = {}
    best: Learner | None = None
    highest = -math.inf
    for name, candidate in candidates:
        value = figures[name] = judge(candidate)
        if best is None or value > highest:
            best, highest = candidate, -math.inf if math.isnan(value) else value
    assert best is not None, "nothing to search among"
    return best, figures
