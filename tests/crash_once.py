"""Meta-training of which process 1 dies in iteration 3 the first time that torchrun starts it; see test_commands.py."""

import os
import signal
import sys

from eosvos import meta_train
from eosvos.meta import outer

update, calls = outer._update, []


def dying(*arguments):
    calls.append(1)
    if len(calls) == 3 and os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        os.kill(os.getpid(), signal.SIGKILL)
    return update(*arguments)


if __name__ == "__main__":
    outer._update = dying
    sys.exit(meta_train.main())
