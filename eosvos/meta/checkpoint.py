"""Training state on disk: written atomically, loaded without executing code, resumed exactly."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from eosvos.errors import UserError
from eosvos.files import atomic


def save(path: str | Path, state: dict[str, Any]) -> None:
    """Write tensors, numbers, strings and containers of them."""
    with atomic(path) as temporary:
        torch.save(state, temporary)


def load(path: str | Path) -> dict[str, Any]:
    """Read what `save` wrote. Raises UserError for a damaged or foreign file."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"checkpoint {path}: cannot be read ({reason}); remove it to start anew, or restore a copy"
        ) from error
