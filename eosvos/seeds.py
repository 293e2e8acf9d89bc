"""Every random draw of the project comes from a seed and a path of integers, never from a worker's state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def derive(seed: int, *path: int) -> int:
    """A 63-bit seed for the draw named by `path` (say meta-iteration, task index, step); each part >= 0."""
    words = np.random.SeedSequence((seed, *path)).generate_state(2, np.uint32)
    return (int(words[0]) << 31) ^ int(words[1])


def generator(seed: int, *path: int) -> torch.Generator:
    """A CPU generator seeded by `derive(seed, *path)`."""
    return torch.Generator().manual_seed(derive(seed, *path))


def numpy_generator(seed: int, *path: int) -> np.random.Generator:
    """A NumPy generator for the draw named by `path`."""
    return np.random.default_rng((seed, *path))


@contextmanager
def fixed(seed: int, *path: int) -> Iterator[None]:
    """Run a block with torch's global generators seeded, then put them back: the CPU's, and those of the GPUs in use.

    torchvision's proposal samplers draw from the global generator of the proposals' device and take no other.
    """
    number = derive(seed, *path)
    state = torch.random.get_rng_state()
    # Where CUDA does not run yet, torch.manual_seed would leave the seed behind for when it starts.
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    torch.default_generator.manual_seed(number)
    if cuda is not None:
        torch.cuda.manual_seed_all(number)
    try:
        yield
    finally:
        torch.random.set_rng_state(state)
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)
