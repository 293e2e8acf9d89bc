"""Several processes under torchrun: tasks are shared out by index, gradients summed by one all-reduce.

Parameters are never broadcast: every process starts from the same file or seed and makes the same update.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class World:
    """This process's rank among `size` processes."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """True in the process that writes files and speaks."""
        return self.rank == 0

    def sum_(self, tensor: Tensor) -> Tensor:
        """Sum `tensor`, on any device, over all processes, in place."""
        if self.size == 1:
            return tensor
        if tensor.device.type == "cpu" and dist.get_backend() == "nccl":  # which sums on GPUs only
            moved = tensor.cuda()
            dist.all_reduce(moved)
            return tensor.copy_(moved)
        dist.all_reduce(tensor)
        return tensor

    def barrier(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            dist.barrier()

    def finish(self) -> None:
        """Leave the process group."""
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()


def start(device: torch.device | str = "cpu") -> World:
    """Join the process group that torchrun describes in the environment; alone where there is none."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World()
    if not dist.is_initialized():
        place = torch.device(device)
        # NCCL would guess the GPU for a barrier that comes before any sum.
        bound = place if place.type == "cuda" and place.index is not None else None
        dist.init_process_group("nccl" if place.type == "cuda" else "gloo", device_id=bound)
    return World(dist.get_rank(), size)
