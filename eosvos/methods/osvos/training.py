"""Training of OSVOS's parent network: gradients, validation, search for the fine-tuning rate.

An item of a stream is ((iteration, index), image), see `methods.rate_search.stream`.
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
    """Build the function that computes the gradient of one image's loss.

    Args:
        model: the network.
        branch: "foreground" or "contours".
        deep_supervision: number of iterations in which the weight of the side outputs' losses falls from 1 to 0, as in
            the authors' code; 0: the side outputs are not trained.

    Returns:
        A function from a learner and an item to the gradient.
    """

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
    """Validate the parent network on held-out images.

    Returns:
        "validation_loss", the mean loss of the fused output; "score", its negative; "J", the mean J of the foreground
        branch.
    """
    totals = torch.zeros(2, dtype=torch.float64)
    for sample in images[world.rank :: world.size]:
        with torch.no_grad():
            totals[0] += float(loss_of(model, sample, branch=branch)(learner.theta))
        height, width = sample.image.shape[-2:]
        predicted = probability(model, learner.theta, sample.image, (height, width)) >= 0.5
        totals[1] += jaccard_of(predicted, target_mask(sample, branch), sample.ignore)
    loss, j = (world.all_reduce(totals) / len(images)).tolist()
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
    """Find the best fine-tuning rate for a parent network.

    Each rate is judged by OSVOS itself: fine-tuned on one frame of each task, measured on its other frames.

    Args:
        theta: parameters of the parent network.
        rates: learning rates to try.
        tasks: held-out tasks.
        steps: number of fine-tuning steps.
        tuning: settings of fine-tuning.
        spec: spec of the learner.
        device: where the network runs.
        world: the process group.

    Returns:
        The best learner, of level "single"; and the mean J by rate.
    """

    def judge(learner: Learner) -> float:
        method, total = OSVOS(learner, iters=steps, device=device, tuning=tuning), torch.zeros(1, dtype=torch.float64)
        for task in tasks[world.rank :: world.size]:
            method.start(task.train[0].image, {1: task.train[0].masks[0].numpy()})
            judges = [task.meta, *task.extra_meta]
            for sample in judges:
                predicted = torch.from_numpy(method.step(sample.image) == 1)
                total += jaccard_of(predicted, sample.masks[0], sample.ignore) / len(judges)
        return float(world.all_reduce(total)) / len(tasks)

    return best_of(((f"{rate:g}", single_rate_learner(theta, rate, spec)) for rate in rates), judge)
