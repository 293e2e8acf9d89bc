"""The library computes in a state of its own, whatever state the program that calls it has set for its own work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch


def auto_device() -> torch.device:
    """Where is computed unless it is told: on a GPU where CUDA finds one, else on the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def own_state() -> Iterator[None]:
    """Run a block, or as a decorator a function, with gradients, without autocast, on the CPU where no device is named.

    Everything set here is of the calling thread alone and is put back. The default dtype is not: torch has one for all
    threads, so that our code names the dtype of every tensor it makes. Tensors of the caller that were made within
    torch.inference_mode can be read but not saved for a backward pass: they are copied where they come in.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in ("cpu", "cuda", "mps", "xpu"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        stack.enter_context(np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"))  # NumPy's own
        yield
