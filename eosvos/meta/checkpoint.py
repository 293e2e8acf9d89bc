"""Training state on disk: written atomically, loaded without executing code, resumed exactly.

A training's folder is held by one run at a time, resumed from a whole checkpoint, and never silently continued by other
code, with other data or on another machine.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eosvos.errors import UserError
from eosvos.files import listed, locked, remove_temporary, write_bytes, write_text
from eosvos.meta import checkpoint, distributed
from eosvos.meta.distributed import World

_DIGEST = "digest"
CHECKPOINT, BEST, LAST, LOG = "checkpoint.pt", "learner.safetensors", "last.safetensors", "log.jsonl"


def save(path: str | Path, state: dict[str, Any]) -> None:
    """Write a state of tensors, numbers, strings and containers of them.

    Raises:
        UserError: if the disk is full; the former file is then kept.
    """
    buffer = io.BytesIO()
    torch.save({**state, _DIGEST: digest(state)}, buffer)
    write_bytes(path, buffer.getbuffer())


def load(path: str | Path) -> dict[str, Any]:
    """Read a file of `save`. Raises UserError for a damaged, foreign or changed file."""
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
        *(pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError, zipfile.BadZipFile),
        *(AttributeError, TypeError),  # no dict
    ) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"checkpoint {path}: cannot be read, so it is damaged, cut short or another program's ({reason}); restore "
            "a copy of it, or start anew in another folder with out="
        ) from error


def digest(value: Any) -> str:
    """Return the SHA-256 of tensors, numbers, strings and containers of them, bitwise and in their order."""
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


@contextmanager
def open_run(folder: Path, world: World, resume: bool) -> Iterator[dict[str, Any] | None]:
    """Hold `folder` for this training, within the block.

    A training that torchrun restarts continues without `resume`.

    Args:
        folder: the training's folder.
        world: the process group.
        resume: whether to continue the run in the folder.

    Yields:
        The stored state, in all processes, or None for a new run.

    Raises:
        UserError: if another process holds the folder; if it contains a run and `resume` is false, or something else;
            or if the checkpoint is damaged.
    """
    with ExitStack() as stack:
        yield world.broadcast(lambda: _open(folder, stack, resume))


def _open(folder: Path, stack: ExitStack, resume: bool) -> dict[str, Any] | None:
    holder = stack.enter_context(locked(folder))
    remove_temporary(folder)
    holder.seek(0)
    path = folder / CHECKPOINT
    resume = resume or distributed.restarts(holder.readline().strip())
    if not path.exists() and listed(folder, ".safetensors"):
        raise UserError(f"out folder {folder} holds a learner but no {CHECKPOINT}; choose another folder with out=")
    if path.exists() and not resume:
        raise UserError(
            f"out folder {folder} holds a training run; continue it with resume=true or choose another with out="
        )
    stored = checkpoint.load(path) if path.exists() else None
    holder.truncate(0)
    holder.write(f"{distributed.job()}\n")
    holder.flush()
    return stored


def compare(
    stored: dict[str, Any],
    fingerprint: dict[str, Any],
    environment: dict[str, Any],
    folder: Path,
    *,
    other_code: bool = False,
) -> dict[str, list[Any]]:
    """Compare a stored run with the present one.

    Args:
        stored: the stored state.
        fingerprint: settings and data, which must be equal.
        environment: library versions, device and the like, which change the result by rounding alone.
        folder: the training's folder, for messages.
        other_code: whether the "code" of `environment` may have changed.

    Returns:
        What has changed: name -> [then, now], of `environment` only.

    Raises:
        UserError: for another fingerprint, and for other code without `other_code`.
    """
    differing = _differing(stored["fingerprint"], fingerprint)
    for key, (then, now) in differing.items():
        raise UserError(
            f"out folder {folder} holds a run with other settings: {key} was {then} and is now {now}; resume with the "
            "old settings or choose another folder with out="
        )
    changed = _differing(stored.get("environment", {}), environment)
    if "code" in changed and not other_code:
        then, now = changed["code"]
        raise UserError(
            f"out folder {folder} holds a run of another version of the code: {then} then, {now} now; resume with that "
            "version, go on regardless with other_code=true, or choose another folder with out="
        )
    return changed


def check_agreement(world: World, fingerprint: dict[str, Any], environment: dict[str, Any]) -> None:
    """Raise UserError if a process has other settings, data or code than process 0: its machine is not up to date."""
    mine = json.loads(json.dumps({**fingerprint, "code": environment.get("code")}))
    first = world.broadcast(lambda: mine)
    with world.barrier():
        for key, (there, here) in _differing(first, mine).items():
            raise UserError(f"{key} is {here} here and {there} in the first process; give all machines the same")


def describe_changes(changed: dict[str, list[Any]]) -> str:
    """Describe the result of `compare` in words."""
    return "; ".join(f"{key} was {then} and is now {now}" for key, (then, now) in changed.items())


def trim_log(folder: Path, iteration: int) -> None:
    """Drop the lines of the log after `iteration`, which are going to be written again."""
    path = folder / LOG
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    kept = [line for line in lines if (record := _record(line)) is not None and record["iteration"] <= iteration]
    write_text(path, "".join(line + "\n" for line in kept))


def _record(line: str) -> dict[str, Any] | None:
    try:
        return json.loads(line)
    except ValueError:  # of a process that was killed while it wrote
        return None


def _differing(then: dict[str, Any], now: dict[str, Any]) -> dict[str, list[Any]]:
    now = json.loads(json.dumps(now))
    keys = sorted(then.keys() | now.keys())
    return {key: [then.get(key), now.get(key)] for key in keys if then.get(key) != now.get(key)}
