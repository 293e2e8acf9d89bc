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
    """Run a block with torch's global CPU generator seeded, then put it back.

    torchvision's proposal samplers draw from the global generator and take no other.
    """
    state = torch.random.get_rng_state()
    torch.manual_seed(derive(seed, *path))
    try:
        yield
    finally:
        torch.random.set_rng_state(state)
