"""Every random draw of the project comes from a seed and a path of integers, never from a worker's state."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode


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


INITIAL_WEIGHTS = 31  # first part of the path of the draw of a network's initial weights


class InitialWeights(TorchFunctionMode):
    """A block in which the weights of new networks are drawn from a generator of that seed.

    torch's layers draw theirs from its global generator and take no other. That one is neither used nor changed, and
    other threads draw as ever. Anything but weights is drawn from a generator that is named.
    """

    def __init__(self, seed: int, *path: int) -> None:
        super().__init__()
        self._generator = generator(seed, *path)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        # All of torch.nn.init ends in these two, or says that it takes a generator.
        if func in (torch.Tensor.normal_, torch.Tensor.uniform_) or "generator" in kwargs:
            kwargs = {**kwargs, "generator": kwargs.get("generator") or self._generator}
        return func(*args, **kwargs)
