"""Several processes under torchrun: tasks are distributed by index, gradients summed by one all-reduce.

Parameters are never broadcast while training: every process starts from the same state and makes the same update. Only
process 0 reads and writes the training's folder, so the machines need not share it.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from eosvos.errors import CommonError, UserError

T = TypeVar("T")
_PAUSE = 0.02  # seconds between two looks


@dataclass(frozen=True)
class World:
    """This process's rank among `size` processes."""

    rank: int = 0
    size: int = 1

    @property
    def is_main_process(self) -> bool:
        """Whether this process, of rank 0, reads and writes files and prints."""
        return self.rank == 0

    def all_reduce(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over all processes, in place: by NCCL on GPUs, by gloo on CPUs."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def gather(self, value: T) -> list[T]:
        """Return the picklable values of all processes, by rank, in each of them."""
        values: list[T] = [value] * self.size
        if self.size > 1:
            dist.all_gather_object(values, value)
        return values

    @contextmanager
    def barrier(self) -> Iterator[None]:
        """A block at whose end all processes meet; the UserError of one of them is raised in all.

        So no process waits for one that has failed. Every process must enter the block, and the block may not contain
        another collective operation.
        """
        mistake: UserError | None = None
        try:
            yield
        except UserError as error:
            mistake = error
        if self.size == 1:
            if mistake is not None:
                raise mistake
            return
        messages = self.gather(None if mistake is None else str(mistake))
        for rank, message in enumerate(messages):
            if message is not None:
                raise CommonError(message if rank == 0 else f"process {rank}: {message}") from mistake

    def broadcast(self, make: Callable[[], T]) -> T:
        """Call `make` in process 0 and return its value in all processes; its UserError is raised in all."""
        made = []
        with self.barrier():
            if self.is_main_process:
                made.append(make())
        if self.size > 1:
            made = made or [None]  # type: ignore[list-item]
            dist.broadcast_object_list(made)
        return made[0]


def start() -> World:
    """Join the process group that torchrun describes in the environment; without it return a World of one process."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World()
    if not dist.is_initialized():
        store, rank, size = next(dist.rendezvous("env://"))
        # Both: tensors are summed where they lie, and words are exchanged before it is known whether all have a GPU.
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        own = dist.PrefixStore(_round(store, rank, size), store)
        dist.init_process_group(backend, store=own, rank=rank, world_size=size)
    return World(dist.get_rank(), size)


def finish() -> None:
    """Leave the process group, if there is one."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def job() -> str:
    """Return a name for one call of torchrun on this machine, the same for all its processes; "" without torchrun."""
    name = os.environ.get("TORCHELASTIC_RUN_ID", "")
    return name and f"{name} on {socket.gethostname()} by {os.getppid()}"


def restarts(before: str) -> bool:
    """Return whether torchrun has restarted the job named `before`, because a process died, as the present one."""
    return bool(job()) and before == job()


def _round(store: dist.Store, rank: int, size: int) -> str:
    """Agree on a word with these processes, different from those of all earlier groups in the same store.

    torchrun keeps its store when it restarts processes, and the addresses of the dead are still in it
    (https://github.com/pytorch/pytorch/issues/135712).
    """
    mine = uuid.uuid4().hex
    if rank > 0:
        store.set(f"eosvos/hello/{rank}", mine)
        while not (answer := store.get(f"eosvos/answer/{rank}").decode()).startswith(mine):  # to one who is gone
            time.sleep(_PAUSE)
        word = answer.removeprefix(mine)
        store.set(f"eosvos/{word}/{rank}", "heard")
        return word
    left = set(range(1, size))
    while left:
        for other in left:  # it may still be the hello of one who is gone
            store.set(f"eosvos/answer/{other}", store.get(f"eosvos/hello/{other}").decode() + mine)
        time.sleep(_PAUSE)
        left = {other for other in left if not store.check([f"eosvos/{mine}/{other}"])}
    return mine
