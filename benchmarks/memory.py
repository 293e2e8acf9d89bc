"""Peak memory of the meta-gradient against the number of inner steps: python benchmarks/memory.py [--size resnet50].

Each T runs in a process of its own; figures are the peak resident memory of that process (MiB) above what it held with
network, learner and samples in place.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time

import torch

from eosvos import seeds
from eosvos.data.tasks import Sample
from eosvos.meta.adapt import meta_gradient
from eosvos.meta.learner import Learner
from eosvos.methods.finetune import inner_losses, loss_of
from eosvos.models import mask_rcnn


def peak() -> float:
    """Peak resident memory of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(size: str, pixels: int, steps: int) -> dict[str, float]:
    torch.set_num_threads(2)
    with seeds.fixed(0):
        model = mask_rcnn.build(size, short=pixels, long=pixels)
    learner = Learner.create(model, 1e-3)
    masks = torch.zeros(1, pixels, pixels, dtype=torch.bool)
    masks[0, pixels // 4 : pixels // 2, pixels // 3 : 2 * pixels // 3] = True
    sample = Sample(torch.rand(3, pixels, pixels, generator=seeds.generator(0)), masks)
    before, began = peak(), time.perf_counter()
    meta_gradient(
        learner.theta, learner.rates, inner_losses(model, [sample], steps, 1, (0, 1)), loss_of(model, [sample], (0, 2))
    )
    return {"steps": steps, "before": before, "peak": peak(), "seconds": time.perf_counter() - began}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="resnet50")
    parser.add_argument("--pixels", type=int, default=160)
    parser.add_argument("--steps", type=int, help="measure this T alone, in this process")
    given = parser.parse_args()
    if given.steps is not None:
        print(json.dumps(measure(given.size, given.pixels, given.steps)))
        return
    results = []
    for steps in (1, 20):
        command = [sys.executable, "-W", "ignore", __file__, "--size", given.size, "--pixels", ""]
        # glibc keeps what is freed in small pieces: with this it returns it, and resident memory is memory in use.
        environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
        command[-1:] = [str(given.pixels), "--steps", str(steps)]
        output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
        results.append(json.loads(output.splitlines()[-1]))
        row = results[-1]
        print(
            f"T={steps:<3} peak {row['peak']:7.0f} MiB, {row['peak'] - row['before']:7.0f} MiB above the start, "
            f"{row['seconds']:6.1f} s",
            flush=True,
        )
    first, last = results[0], results[-1]
    print(f"peak at T=20 over T=1: {last['peak'] / first['peak']:.3f} (whole process), "
          f"{(last['peak'] - last['before']) / (first['peak'] - first['before']):.3f} (above the start)")  # fmt: skip


if __name__ == "__main__":
    main()
