"""The tasks or images of a training's iterations as a data set for a DataLoader."""

from __future__ import annotations

from typing import Any

from torch.utils.data import Dataset


class TaskStream(Dataset):
    """The tasks, images or guided images of iterations start <= i < stop, in order.

    Item k of one process is number k % batch of iteration start + k // batch, so any number of DataLoader workers, with
    `batch_size=None`, gives the same items in the same order. With `world` processes, process `rank` gets the numbers
    rank, rank + world, ... of each batch.

    Args:
        taskset: a `Tasks`, or for "guided" a `methods.osmn.guides.GuidedTasks`.
        kind: "task", "image" or "guided": the method of `taskset` that makes an item.
        seed: seed of all draws.
        batch: items per iteration, over all processes.
        start: first iteration.
        stop: the iteration after the last one.
        rank: this process's number.
        world: number of processes.

    Attributes:
        per_rank: items per iteration of this process; may be 0.

    Raises:
        ValueError: for another `kind`.
    """

    def __init__(
        self,
        taskset: Any,
        kind: str = "task",
        *,
        seed: int,
        batch: int,
        start: int = 0,
        stop: int,
        rank: int = 0,
        world: int = 1,
    ):
        if kind not in ("task", "image", "guided"):
            raise ValueError(f'kind={kind!r}; "task", "image" or "guided" is expected')
        self.taskset, self.kind, self.seed, self.batch = taskset, kind, seed, batch
        self.start, self.stop, self.rank, self.world = start, stop, rank, world
        self.per_rank = len(range(rank, batch, world))

    def __len__(self) -> int:
        return max(0, self.stop - self.start) * self.per_rank

    def __getitem__(self, item: int) -> Any:
        if not 0 <= item < len(self):
            raise IndexError(f"item {item} of {len(self)}")
        iteration, place = divmod(item, self.per_rank)
        return getattr(self.taskset, self.kind)(self.seed, self.start + iteration, self.rank + self.world * place)
