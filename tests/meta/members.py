"""What the members of a group of processes do in test_processes.py."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import torch
from test_outer import SETTINGS, fresh, gradient, stream, validate

from eosvos.data.synthetic.taskset import SyntheticTaskset
from eosvos.errors import CommonError, UserError
from eosvos.meta import distributed, outer
from eosvos.meta.adapt import MetaGradient
from eosvos.meta.learner import Learner
from eosvos.methods import rate_search
from eosvos.methods.eosvos import training
from eosvos.models.mask_rcnn import build

SMALL = {"size": "tiny", "widths": (8, 8, 16, 16), "fpn": 16, "hidden": 16, "groups": 4, "short": 64, "long": 112}
NOTHING = MetaGradient({}, {}, float("nan"), [], finite=False)


def gradients(rank: int, tasks: int, out: Path) -> None:
    """The meta-gradients of two iterations of the network, as process `rank` has them after the sum."""
    torch.set_num_threads(1)
    world = distributed.start()
    torch.manual_seed(0)
    model = build(**SMALL)
    learner = Learner.create(model, 0.05)
    taskset = SyntheticTaskset(length=4, render=(64, 112), size=(64, 112))
    items = rate_search.stream(taskset, "task", seed=3, tasks=tasks, iterations=2, world=world)(0)
    one = training.meta_gradients(model, seed=3, steps=1, clip=5.0)
    drawn, totals = [], []
    for _ in range(2):
        results = []
        for _ in range(len(range(world.rank, tasks, world.size))):
            numbers, task = next(items)
            drawn.append((numbers, task.name, task.object_id, float(task.meta.image.double().sum())))
            results.append(one(learner, (numbers, task)))
        summed, _ = outer._reduce(results, learner, 10.0, world, stop=False)
        totals.append(torch.cat([t.flatten() for t in (*summed["theta"], *summed["rates"])]))
    everyone = world.gather(drawn)
    torch.save({"drawn": sorted(d for part in everyone for d in part), "totals": totals}, out / f"{rank}.pt")
    distributed.finish()


def train(rank: int, folder: str, bad: str, resume: bool = False) -> None:
    """The toy training. bad: "rank": process 1 meets nothing finite; "all": nobody does in iteration 4."""
    world = distributed.start()

    def sometimes(learner, number):
        nothing = (bad == "rank" and number % 3 == 1) or (bad == "all" and number // 3 == 4)
        return NOTHING if nothing else gradient(learner, number)

    with distributed_errors():
        best = outer.train(
            fresh(),
            lambda start: stream(start, world),
            sometimes,
            validate,
            Path(folder),
            replace(SETTINGS, iterations=12),
            fingerprint={"toy": 1},
            world=world,
            resume=resume,
        )
        best.save(f"best-{rank}.safetensors")
    distributed.finish()


class distributed_errors:
    """A UserError ends the process with its message alone."""

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, UserError):
            print(type(error).__name__, error, flush=True)
            os._exit(2)


def disagree(rank: int) -> None:
    """Process 1 alone meets a mistake; then the first one alone; then nobody."""
    world = distributed.start()
    for wrong in (1, 0):
        try:
            with world.barrier():
                if world.rank == wrong:
                    raise UserError("no such file")
        except CommonError as error:
            assert str(error) == ("process 1: no such file" if wrong else "no such file"), error
        else:
            raise AssertionError("nothing was raised")
    assert world.broadcast(lambda: os.getpid()) == world.gather(os.getpid())[0]
    assert world.gather(rank) == list(range(world.size))
    distributed.finish()
