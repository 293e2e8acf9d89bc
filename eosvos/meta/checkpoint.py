"""Training state on disk: written atomically, loaded without executing code, resumed exactly."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from eosvos.errors import UserError
from eosvos.files import write_bytes


def save(path: str | Path, state: dict[str, Any]) -> None:
    """Write tensors, numbers, strings and containers of them. Raises UserError where the disk is full; the former file
    stands then."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_bytes(path, buffer.getbuffer())


def load(path: str | Path) -> dict[str, Any]:
    """Read what `save` wrote. Raises UserError for a damaged or foreign file."""
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch.load itself compares no check sums
        if damaged is not None:
            raise ValueError(f"the check sum of its part {damaged} is wrong")
        return torch.load(path, map_location="cpu", weights_only=True)
    except (
        pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError, zipfile.BadZipFile,
    ) as error:  # fmt: skip
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"checkpoint {path}: cannot be read, so it is damaged, cut short or another program's ({reason}); restore "
            "a copy of it, or start anew in another folder with out="
        ) from error
