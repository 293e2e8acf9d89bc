"""What a second core gives: the same training and the same evaluation by one process and by two, beside one another.

    python benchmarks/scaling.py [--iterations 40] [--videos 8] [--processes 2] [--repeats 2]

Training: meta-training as configured (tiny network, synthetic tasks), by one process on one thread, by one process on
two threads, and by two processes of one thread each under torchrun; seconds are those of the log, so that neither
starting nor the validations count. Evaluation: T=10 on synthetic test videos by processes=1 and processes=2, starting
included. The variants take turns, `--repeats` times, and the best time of each
is taken. About 10 minutes on two idle cores; --iterations 4 --videos 2 --repeats 1 for a look.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run(arguments: list[str], folder: str) -> float:
    """Seconds of a command."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", *arguments], env=environment, cwd=folder, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"{' '.join(arguments)}: status {done.returncode}\n{done.stderr}")
    return time.perf_counter() - began


def train(name: str, processes: int, threads: int, iterations: int, folder: str) -> float:
    """Seconds of an iteration, the first aside: it still fills caches."""
    launch = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"] if processes > 1 else []
    run(
        [
            *launch,
            "eosvos.meta_train",
            "device=cpu",
            f"threads={threads}",
            f"meta.iterations={iterations}",
            f"meta.validate_every={iterations}",
            f"meta.save_every={iterations}",
            "meta.validation_tasks=1",
            "meta.validation_steps=[1]",
            f"out={name}",
        ],
        folder,
    )
    lines = [json.loads(line) for line in Path(folder, name, "log.jsonl").read_text().splitlines()]
    seconds = {line["iteration"]: line["seconds"] for line in lines if "seconds" in line}
    return (seconds[iterations] - seconds[1]) / (iterations - 1)


def evaluate(name: str, processes: int, videos: int, learner: str, folder: str) -> float:
    """Seconds of the whole command, starting included."""
    arguments = ["iters=10", f"dataset.count={videos}", f"processes={processes}", "device=cpu", f"learner={learner}"]
    return run(["eosvos.eval", *arguments, f"out={name}"], folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=40)
    parser.add_argument("--videos", type=int, default=8)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=2)
    given = parser.parse_args()
    n = given.processes
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="eosvos-scaling-") as folder:
        for repeat in range(given.repeats):
            for processes, threads in ((1, 1), (1, n), (n, 1)):
                seconds = train(f"{processes}x{threads}-{repeat}", processes, threads, given.iterations, folder)
                found.setdefault(f"training, {processes} x {threads} threads, s/iteration", []).append(seconds)
            for processes in (1, n):
                learner = f"1x1-{repeat}/learner.safetensors"
                seconds = evaluate(f"eval{processes}-{repeat}", processes, given.videos, learner, folder)
                found.setdefault(f"evaluation, processes={processes}, s", []).append(seconds)
    names = list(found)
    for name in names:
        first = min(found[names[0] if name.startswith("training") else names[3]])
        best = min(found[name])
        print(f"{name:<44} {best:8.3f}   {first / best:5.2f} x   ({', '.join(f'{s:.3f}' for s in found[name])})")


if __name__ == "__main__":
    main()
