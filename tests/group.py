"""Groups of processes as torchrun starts them, but forked from one that has imported everything: cheap for tests.

Functions are given by module and name, say "members:gradients"; they and their arguments must be picklable.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import time
import traceback
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PRELOAD = ["eosvos.meta_train", "eosvos.eval"]


def process(work: str, *arguments: object, environment: dict[str, str] | None = None, errors: Path | None = None):
    """A forked process that will run `work`(*arguments) and end with what it returns."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    return context.Process(target=_begin, args=(work, arguments, environment or {}, errors))


def group(size: int, work: str, *arguments: object, folders: list[Path] | None = None, limit: float = 300) -> list[int]:
    """Run `work`(rank, *arguments) in `size` processes that form a group; returns their exit statuses.

    folders: one each to work in, as if each was on a machine of its own. What rank r prints goes to <r>.err there, or
    in the present folder.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    members = []
    for rank in range(size):
        place = {"RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        place |= {"LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": size} if folders is None else {"LOCAL_RANK": 0}
        home = Path.cwd() if folders is None else folders[rank]
        environment = {key: str(value) for key, value in place.items()} | {"PWD": str(home)}
        members.append(
            process(
                work,
                rank,
                *arguments,
                environment=environment if size > 1 else {"PWD": str(home)},
                errors=home / f"{rank}.err",
            )
        )
    for member in members:
        member.start()
    end = time.monotonic() + limit
    for member in members:
        member.join(max(0.0, end - time.monotonic()))
        if member.exitcode is None:
            member.kill()
            member.join()
    return [member.exitcode for member in members]


def command(rank: int, name: str, arguments: list[str]) -> int:
    """Work for `group`: one of the commands."""
    return import_module(f"eosvos.{name}").main(arguments)


def _begin(work: str, arguments: tuple, environment: dict[str, str], errors: Path | None) -> None:
    os.environ.update(environment)
    if "PWD" in environment:
        os.chdir(environment["PWD"])
    if errors is not None:
        sink = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    module, _, name = work.partition(":")
    status = 1
    try:
        status = getattr(import_module(module), name)(*arguments) or 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
