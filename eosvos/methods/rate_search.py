"""What the trainings of all methods share: streams of tasks, and the search for the best single learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from eosvos.data.masks import jaccard
from eosvos.data.task_stream import TaskStream
from eosvos.data.tasks import Sample, Task
from eosvos.meta.adapt import Params
from eosvos.meta.distributed import World
from eosvos.meta.learner import Learner
from eosvos.methods.protocol import Method

Item = tuple[tuple[int, int], Any]  # (iteration, index in the batch), task
_NO_END = 10**12  # iterations


def stream(
    taskset: Any, kind: str, *, seed: int, tasks: int, iterations: int | None, world: World, workers: int = 0
) -> Callable[[int], Iterator[Item]]:
    """Build the stream of training items of this process.

    The items do not depend on the number of data workers or processes.

    Args:
        taskset: what the tasks are drawn from.
        kind: the kind of item, as in `data.tasks.TaskStream`.
        seed: of the draws.
        tasks: items per iteration, over all processes.
        iterations: number of iterations; None: without end.
        world: the process group; each process gets every `world.size`-th item.
        workers: data loading processes; 0 loads in this process.

    Returns:
        A function from the first iteration to the items `((iteration, index), task)` from there on.
    """

    def begin(start: int) -> Iterator[Item]:
        stop = _NO_END if iterations is None else iterations
        numbers = ((i, j) for i in range(start, stop) for j in range(world.rank, tasks, world.size))
        dataset = TaskStream(
            taskset, kind=kind, seed=seed, batch=tasks, start=start, stop=stop, rank=world.rank, world=world.size
        )
        loader = DataLoader(
            dataset,
            batch_size=None,
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            worker_init_fn=_begin_worker,
            generator=torch.Generator(),  # or it draws a seed from the global one
        )
        return zip(numbers, loader, strict=True)

    return begin


def _begin_worker(number: int) -> None:
    """OpenCV's thread pool does not survive the fork: its first parallel call here might wait for ever."""
    cv2.setNumThreads(0)


def best_of(
    candidates: Iterable[tuple[str, Learner]], judge: Callable[[Learner], float]
) -> tuple[Learner, dict[str, float]]:
    """Find the candidate with the highest score.

    Args:
        candidates: names and learners.
        judge: gives the score of a learner; a nan counts as the lowest.

    Returns:
        The best learner, the first of equals; and the scores of all by name.
    """
    scores: dict[str, float] = {}
    best: Learner | None = None
    highest = -math.inf
    for name, candidate in candidates:
        score = scores[name] = judge(candidate)
        if best is None or score > highest:
            best, highest = candidate, -math.inf if math.isnan(score) else score
    assert best is not None, "nothing to search among"
    return best, scores


def best_rate(
    theta: Params,
    rates: Sequence[float],
    tasks: Sequence[Task],
    make_method: Callable[[Learner], Method],
    *,
    spec: dict[str, Any],
    world: World,
    before_step: Callable[[Any, Sample], None] = lambda method, sample: None,
) -> tuple[Learner, dict[str, float]]:
    """Find the best fine-tuning rate for trained parameters.

    Each rate is judged by the method itself: fine-tuned on one frame of each task, measured on its other frames.

    Args:
        theta: the parameters.
        rates: learning rates to try.
        tasks: held-out tasks; the same in all processes, which share them.
        make_method: gives the method with a learner.
        spec: spec of the learner.
        world: the process group.
        before_step: called with the method and a sample before the method segments the sample's image.

    Returns:
        The best learner, of level "single"; and the mean J by rate.
    """

    def judge(learner: Learner) -> float:
        method, total = make_method(learner), torch.zeros(1, dtype=torch.float64)
        for task in tasks[world.rank :: world.size]:
            method.start(task.train[0].image, {1: task.train[0].masks[0].numpy()})
            judges = [task.meta, *task.extra_meta]
            for sample in judges:
                before_step(method, sample)
                predicted = torch.from_numpy(method.step(sample.image) == 1)
                total += jaccard_of(predicted, sample.masks[0], sample.ignore) / len(judges)
        return float(world.all_reduce(total)) / len(tasks)

    return best_of(((f"{rate:g}", single_rate_learner(theta, rate, spec)) for rate in rates), judge)


def single_rate_learner(theta: Params, rate: float, spec: dict[str, Any]) -> Learner:
    """Build a learner of level "single": one learning rate for all parameters."""
    tensor = next(iter(theta.values())).new_tensor(rate)
    return Learner(theta, {name: tensor for name in theta}, "single", dict(spec))


def jaccard_of(prediction: Tensor, truth: Tensor, ignore: Tensor | None = None) -> float:
    """J of two masks, bool (H, W) on the CPU, without the pixels of `ignore`: see `data.masks.jaccard`."""
    return jaccard(prediction.numpy(), truth.numpy(), None if ignore is None else ignore.numpy())
