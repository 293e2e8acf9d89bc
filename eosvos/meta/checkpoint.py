"""Training state on disk: written atomically, loaded without executing code, resumed exactly."""

from __future__ import annotations

import hashlib
import io
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eosvos.errors import UserError
from eosvos.files import write_bytes

_DIGEST = "digest"


def save(path: str | Path, state: dict[str, Any]) -> None:
    """Write tensors, numbers, strings and containers of them. Raises UserError where the disk is full; the former file
    stands then."""
    buffer = io.BytesIO()
    torch.save({**state, _DIGEST: digest(state)}, buffer)
    write_bytes(path, buffer.getbuffer())


def load(path: str | Path) -> dict[str, Any]:
    """Read what `save` wrote. Raises UserError for a damaged or foreign file, or one that was changed since."""
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch.load itself compares no check sums
        if damaged is not None:
            raise ValueError(f"the check sum of its part {damaged} is wrong")
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state.pop(_DIGEST) != digest(state):
            raise ValueError("it is not what was saved: something has changed it")
        return state
    except (
        pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError, zipfile.BadZipFile,
        AttributeError, TypeError,  # no dict
    ) as error:  # fmt: skip
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"checkpoint {path}: cannot be read, so it is damaged, cut short or another program's ({reason}); restore "
            "a copy of it, or start anew in another folder with out="
        ) from error


def digest(value: Any) -> str:
    """SHA-256 of tensors, numbers, strings and containers of them, to the last bit and in their order."""
    total = hashlib.sha256()

    def add(part: Any) -> None:
        if isinstance(part, Tensor):
            total.update(f"{part.dtype} {tuple(part.shape)}".encode())
            total.update(part.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        elif isinstance(part, Mapping | list | tuple):
            total.update(f"{len(part)} in a {'dict' if isinstance(part, Mapping) else 'row'}".encode())
            for one in part.items() if isinstance(part, Mapping) else part:
                add(one)
        else:
            total.update(repr(part).encode())

    add(value)
    return total.hexdigest()
