"""Which device, and how many processes, a command computes on."""

from __future__ import annotations

import os

import cv2
import torch

from eosvos.errors import UserError
from eosvos.torch_state import auto_device


def device_of(word: str) -> torch.device:
    """ "auto" is a GPU where there is one; under torchrun every process has its own, or UserError is raised."""
    if word == "auto":
        word = auto_device().type
    place, here = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if word == "cpu":
        return torch.device(word)
    count = torch.cuda.device_count()
    if word != "cuda" and here > 1:
        raise UserError(
            f"device={word}: all {here} processes of this machine would share one GPU; use device=cuda, which gives "
            "each its own, or one process"
        )
    if word == "cuda" and here > count:
        raise UserError(
            f"device={word}: {here} processes and {count} GPUs are on this machine; use --nproc-per-node={count}, or "
            "device=cpu"
        )
    return torch.device("cuda", place) if word == "cuda" else torch.device(word)


def compute_on(word: str, threads: int) -> torch.device:
    """The device of a training process, made its present one; on a CPU it computes on `threads` threads."""
    device = device_of(word)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    use_threads(threads if device.type == "cpu" else torch.get_num_threads())
    return device


def use_threads(count: int) -> None:
    """Let torch compute on so many threads, and OpenCV on one, in this whole process, which is a command's own: the
    library leaves that to the program that calls it."""
    torch.set_num_threads(count)
    cv2.setNumThreads(0)


def evaluation_devices(word: str, processes: int | None) -> tuple[torch.device, int, int]:
    """(device, processes, GPUs): by default one process per core, or one per GPU; under torchrun each of its processes
    has its own GPU or its share of the cores. GPUs > 0: processes are dealt out to them, and `device` has no number.
    """
    device, here = device_of(word), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if device.type == "cpu":
        return device, processes or max(1, cores() // here), 0
    count = torch.cuda.device_count()
    if word not in ("auto", "cuda") or here > 1 or count == 1:
        return device, processes or 1, 0
    return torch.device("cuda"), processes or count, count


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
