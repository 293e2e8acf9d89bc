"""Peak memory of the meta-gradient against the number of inner steps: python benchmarks/memory.py [--size resnet50].

Second order with and without checkpoints at the inner steps, the latter by higher:

    python benchmarks/memory.py --size tiny --order 2 --counts 1 2 5 10 20
    python benchmarks/memory.py --size tiny --order 2 --counts 1 2 5 10 20 --unrolled

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
from collections.abc import Callable
from functools import partial

import torch

from eosvos import seeds
from eosvos.data.tasks import Sample
from eosvos.meta.adapt import MetaGradient, meta_gradient
from eosvos.meta.learner import Learner
from eosvos.meta.second_order import second_order_meta_gradient
from eosvos.meta.unrolled import unrolled_meta_gradient
from eosvos.methods.eosvos.loss import inner_losses, loss_of
from eosvos.models import mask_rcnn


def peak() -> float:
    """Peak resident memory of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(size: str, pixels: int, steps: int, order: int, unrolled: bool) -> dict[str, float]:
    torch.set_num_threads(1)
    with seeds.InitialWeights(0):
        model = mask_rcnn.build(size, short=pixels, long=pixels)
    learner = Learner.create(model, 1e-3)
    masks = torch.zeros(1, pixels, pixels, dtype=torch.bool)
    masks[0, pixels // 4 : pixels // 2, pixels // 3 : 2 * pixels // 3] = True
    sample = Sample(torch.rand(3, pixels, pixels, generator=seeds.generator(0)), masks)
    before, began = peak(), time.perf_counter()
    gradient: Callable[..., MetaGradient] = second_order_meta_gradient if order == 2 else meta_gradient
    if unrolled:
        gradient = partial(unrolled_meta_gradient, order=order)
    gradient(
        learner.theta, learner.rates, inner_losses(model, [sample], steps, 1, (0, 1)), loss_of(model, [sample], (0, 2))
    )
    return {"steps": steps, "before": before, "peak": peak(), "seconds": time.perf_counter() - began}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="resnet50")
    parser.add_argument("--pixels", type=int, default=160)
    parser.add_argument("--order", type=int, choices=(1, 2), default=1)
    parser.add_argument("--unrolled", action="store_true", help="by higher")
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 20], help="the T to compare")
    parser.add_argument("--steps", type=int, help="measure this T alone, in this process")
    given = parser.parse_args()
    if given.steps is not None:
        print(json.dumps(measure(given.size, given.pixels, given.steps, given.order, given.unrolled)))
        return
    results = []
    for steps in given.counts:
        command = [sys.executable, "-W", "ignore", __file__, "--size", given.size, "--pixels", str(given.pixels)]
        command += ["--order", str(given.order), *["--unrolled"] * given.unrolled, "--steps", str(steps)]
        # glibc keeps what is freed in small pieces: with this it returns it, and resident memory is memory in use.
        environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
        output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
        results.append(json.loads(output.splitlines()[-1]))
        row = results[-1]
        print(
            f"T={steps:<3} peak {row['peak']:7.0f} MiB, {row['peak'] - row['before']:7.0f} MiB above the start, "
            f"{row['seconds']:6.1f} s",
            flush=True,
        )
    first, last = results[0], results[-1]
    print(
        f"peak at T={last['steps']} over T={first['steps']}: {last['peak'] / first['peak']:.3f} (whole process), "
        f"{(last['peak'] - last['before']) / (first['peak'] - first['before']):.3f} (above the start)"
    )


if __name__ == "__main__":
    main()
