"""Kill a training at random moments, as often as asked, and see that it ends as if nothing had happened.

    python benchmarks/kill.py [--kills 20] [--seed 0]

A very small meta-training on a CPU that saves after every iteration is killed (SIGKILL) again and again and continued
with resume=true. Every time, the checkpoint it left must be whole; at the end its learners must be byte-identical to
those of an undisturbed run, and its log must have the same lines, none twice and none missing. Ends with status 1
where that is not so. About 2 seconds a kill.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from group import process  # noqa: E402

from eosvos.meta import checkpoint  # noqa: E402

ARGUMENTS = [
    *"device=cpu model.widths=[8,8,16,16] model.fpn=16 model.hidden=16 model.groups=4 model.short=64".split(),
    *"model.long=112 taskset.render=[64,112] taskset.length=4 meta.tasks=1 meta.steps=1".split(),
    *"meta.validation_tasks=1 meta.validation_steps=[1] meta.validate_every=7 meta.save_every=1".split(),
]


def train(folder: Path, iterations: int, *more: str):
    """A process, not started, that trains into `folder`."""
    arguments = [*ARGUMENTS, f"meta.iterations={iterations}", f"out={folder}", *more]
    return process("group:command", 0, "meta_train", arguments, errors=folder.with_suffix(".err"))


def stamp(folder: Path) -> int | None:
    path = folder / checkpoint.CHECKPOINT
    return path.stat().st_mtime_ns if path.exists() else None


def written(folder: Path, running, before: int | None) -> float:
    """Waits until another checkpoint than that of `before` is there, or the process has ended; returns the time."""
    while stamp(folder) == before and running.exitcode is None:
        time.sleep(0.002)
    return time.monotonic()


def log(folder: Path) -> list[dict]:
    lines = [json.loads(line) for line in (folder / checkpoint.LOG).read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    given = parser.parse_args()
    draw, iterations = random.Random(given.seed), 4 * given.kills + 4
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory(prefix="eosvos-kill-") as home:
        whole, cut = Path(home, "whole"), Path(home, "cut")
        ready = process("time:sleep", 0)  # from here on all that is imported is there to be forked
        ready.start()
        ready.join()
        undisturbed = train(whole, iterations)
        began = time.monotonic()
        undisturbed.start()
        begun = written(whole, undisturbed, None) - began  # seconds until the first checkpoint
        undisturbed.join()
        one = (time.monotonic() - began - begun) / iterations  # seconds of an iteration, and a little more
        assert undisturbed.exitcode == 0, whole.with_suffix(".err").read_text()
        began, reached = time.monotonic(), []
        while True:
            before = reached[-1] if reached else 0
            running = train(cut, iterations, "resume=true")
            found = stamp(cut)
            running.start()
            if len(reached) == given.kills:
                running.join()
                break
            if draw.random() < 0.25:  # while it begins
                running.join(begun * draw.random())
            else:  # at any moment of an iteration or two, the saving of one included
                written(cut, running, found)
                running.join(2 * one * draw.random())
            if running.exitcode is not None:
                break
            running.kill()
            running.join()
            path = cut / checkpoint.CHECKPOINT
            reached.append(checkpoint.load(path)["iteration"] if path.exists() else 0)
            assert reached[-1] >= before, f"iteration {before} was reached, and then {reached[-1]}"
        seconds = time.monotonic() - began
        assert running.exitcode == 0, cut.with_suffix(".err").read_text()
        same = {
            name: (whole / name).read_bytes() == (cut / name).read_bytes()
            for name in (checkpoint.LAST, checkpoint.BEST)
        }
        same[checkpoint.LOG] = log(whole) == log(cut)
        left = sorted(path.name for path in cut.glob(".*.tmp*"))
        kills = len(reached)
        print(f"{kills} kills in {seconds:.0f} s, at iterations {reached} of {iterations}")
        print(
            "; ".join(f"{name} {'the same' if equal else 'DIFFERS'}" for name, equal in same.items()), f"; left: {left}"
        )
        return int(not all(same.values()) or bool(left) or kills < given.kills)


if __name__ == "__main__":
    sys.exit(main())
