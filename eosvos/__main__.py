"""python -m eosvos, and the command `eosvos`: the list of commands, and `eosvos COMMAND ...` to run one."""

from __future__ import annotations

import difflib
import sys
from importlib import import_module

import eosvos
from eosvos.cli import usage

MISTAKE = 2  # exit status, as of cli.hydra_app


def main(arguments: list[str] | None = None) -> int:
    """Run a command, or list them. Returns the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    if not given or given[0] in (*usage.HELP, "help"):
        print(usage.commands())
        return 0
    if given[0] == "--version":
        print(f"eosvos {eosvos.__version__}")
        return 0
    name, rest = given[0].replace("-", "_"), given[1:]
    if name not in usage.COMMANDS:
        near = difflib.get_close_matches(name, usage.COMMANDS, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(usage.COMMANDS)}"
        print(f"eosvos {given[0]}: no such command; {hint}", file=sys.stderr)
        return MISTAKE
    usage.answer(name, rest)
    command = import_module("eosvos.learners.__main__" if name == "learners" else f"eosvos.{name}")
    return command.main(rest)


if __name__ == "__main__":
    sys.exit(main())
