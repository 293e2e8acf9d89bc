"""What `eosvos.osvos_train` is made of: gradients of a picture's loss, validation, and the search of the online rate.

A stream's item is ((iteration, index), picture), see `methods.rate_search.stream`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from eosvos.data.tasks import Sample, Task
from eosvos.meta.adapt import MetaGradient, Params, meta_gradient
from eosvos.meta.distributed import World
from eosvos.meta.learner import Learner
from eosvos.methods.osvos.loss import loss_of, probability, target_mask
from eosvos.methods.osvos.method import OSVOS, Tuning
from eosvos.methods.rate_search import Item, best_of, jaccard_of, single_rate_learner
from eosvos.models.osvos import FCN
from eosvos.torch_state import own_state

TERMS = ("fused",)


def gradients(
    model: FCN, *, branch: str = "foreground", deep_supervision: int = 0
) -> Callable[[Learner, Item], MetaGradient]:
    """The gradient of one picture's loss. deep_supervision: iterations over which the part of the side outputs falls
    from 1 to 0, as in the authors' code."""

    def gradient(learner: Learner, item: Item) -> MetaGradient:
        (iteration, _), sample = item
        sides = max(0.0, 1 - iteration / deep_supervision) if deep_supervision else 0.0
        fused: list[float] = []
        loss = loss_of(model, sample, branch=branch, sides=sides, note=fused.append)
        result = meta_gradient(learner.theta, learner.rates, (), loss)
        result.terms = {"fused": fused[0]}
        return result

    return gradient


def validate(
    model: FCN, learner: Learner, images: Sequence[Sample], *, branch: str = "foreground", world: World
) -> dict[str, float]:
    """Over held-out pictures: the mean loss of the fused output, whose negative is "score", and of the foreground the
    mean J."""
    totals = torch.zeros(2, dtype=torch.float64)
    for sample in images[world.rank :: world.size]:
        with torch.no_grad():
            totals[0] += float(loss_of(model, sample, branch=branch)(learner.theta))
        height, width = sample.image.shape[-2:]
        predicted = probability(model, learner.theta, sample.image, (height, width)) >= 0.5
        totals[1] += jaccard_of(predicted, target_mask(sample, branch), sample.ignore)
    loss, j = (world.sum_(totals) / len(images)).tolist()
    return {"validation_loss": loss, **({"J": j} if branch == "foreground" else {}), "score": -loss}


@own_state()
def search_rate(
    theta: Params,
    rates: Sequence[float],
    tasks: Sequence[Task],
    *,
    steps: int,
    tuning: Tuning,
    spec: dict[str, Any],
    device: torch.device | str,
    world: World,
) -> tuple[Learner, dict[str, float]]:
    """The best rate of online fine-tuning for a parent network: a learner of level "single" with it, and the mean J by
    rate, of the method itself on frames that judge after `steps` on one that trains."""

    def judge(learner: Learner) -> float:
        method, total = OSVOS(learner, iters=steps, device=device, tuning=tuning), torch.zeros(1, dtype=torch.float64)
        for task in tasks[world.rank :: world.size]:
            method.start(task.train[0].image, {1: task.train[0].masks[0].numpy()})
            judges = [task.meta, *task.more]
            for sample in judges:
                predicted = torch.from_numpy(method.step(sample.image) == 1)
                total += jaccard_of(predicted, sample.masks[0], sample.ignore) / len(judges)
        return float(world.sum_(total)) / len(tasks)

    return best_of(((f"{rate:g}", single_rate_learner(theta, rate, spec)) for rate in rates), judge)
