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
from eosvos.methods.rate_search import Item, best_rate, jaccard_of
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
    """Find the best fine-tuning rate for a parent network, by `rate_search.best_rate`.

    Args:
        steps: number of fine-tuning steps.
        tuning: settings of fine-tuning.
        device: where the network runs.
    """

    def make(learner: Learner) -> OSVOS:
        return OSVOS(learner, iters=steps, device=device, tuning=tuning)

    return best_rate(theta, rates, tasks, make, spec=spec, world=world)
