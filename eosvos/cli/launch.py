"""python -m eosvos.cli.launch: torchrun, with its arguments, for people who look at the terminal.

Interrupted, torchrun ends with a traceback, and where one of its processes fails, with a table of that process, which
has said why itself. This one ends without either, with the exit status of the first process that failed.
"""

from __future__ import annotations

import sys

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import parse_args, run

from eosvos.cli.hydra_app import INTERRUPTED


def main(arguments: list[str] | None = None) -> int:
    """Run torchrun with command-line arguments, by default those of this process; returns the exit status."""
    try:
        run(parse_args(arguments))
    except ChildFailedError as error:
        return abs(error.get_first_failure()[1].exitcode) or 1
    except (SignalException, KeyboardInterrupt):
        print("stopped; the same command goes on where it was", file=sys.stderr, flush=True)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
