"""Training of OSMN: gradients of an object's loss, validation, search for the fine-tuning rate.

An item of a stream is ((iteration, index), guided object), see `methods.rate_search.stream` and
`methods.osmn.guides.GuidedTasks`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.func import functional_call

from eosvos.data.tasks import Sample, Task
from eosvos.meta.adapt import MetaGradient, Params, meta_gradient
from eosvos.meta.distributed import World
from eosvos.meta.learner import Learner
from eosvos.methods.osmn.guides import Guided, heat_map, prior_of
from eosvos.methods.osmn.method import OSMN, Modulation, loss_of
from eosvos.methods.rate_search import Item, best_rate, jaccard_of
from eosvos.models.osmn import OSMN as Network
from eosvos.torch_state import own_state

_DROPOUT = 25  # first part of the path of its draws; see methods/eosvos/training.py


def gradients(model: Network, *, seed: int, segmentation: bool = True) -> Callable[[Learner, Item], MetaGradient]:
    """Build the function that computes the gradient of one object's loss.

    Args:
        model: the network.
        seed: of the dropout.
        segmentation: whether the segmentation network is trained; if not, only the modulators are (OSVOS-M of Table 2,
            with OSVOS's parent network).

    Returns:
        A function from a learner and an item to the gradient.
    """

    def gradient(learner: Learner, item: Item) -> MetaGradient:
        (iteration, index), guided = item
        loss = loss_of(model, guided.sample, guided.prior, guide=guided.guide, seed=(seed, _DROPOUT, iteration, index))
        kept = {} if segmentation else {n: p.detach() for n, p in learner.theta.items() if n.startswith("segmentation")}
        trained = {name: p for name, p in learner.theta.items() if name not in kept}
        result = meta_gradient(trained, learner.rates, (), lambda phi: loss(kept | phi))
        if result.finite:
            result.theta |= {name: torch.zeros_like(p) for name, p in kept.items()}
            result.rates |= {name: torch.zeros_like(learner.rates[name]) for name in kept}
        return result

    return gradient


@torch.no_grad()
def validate(model: Network, learner: Learner, objects: Sequence[Guided], *, world: World) -> dict[str, float]:
    """Validate OSMN on held-out objects.

    Returns:
        "validation_loss", the mean loss; "J" and "score", the mean J; and, if there is a visual modulator,
        "gamma_spread": the standard deviation of gamma over the objects, mean over the channels (0: gamma is the same
        for all objects).
    """
    totals, moments = torch.zeros(2, dtype=torch.float64), torch.zeros(2, sum(model.channels), dtype=torch.float64)
    device = next(model.parameters()).device
    seeing = {name.removeprefix("visual."): p for name, p in learner.theta.items() if name.startswith("visual.")}
    model.eval()
    for guided in objects[world.rank :: world.size]:
        sample, gammas = guided.sample, None
        if model.visual is not None:
            gammas = functional_call(model.visual, seeing, (guided.guide[None].to(device),), strict=False)
            moments += torch.cat([gammas, gammas**2]).cpu()
        gamma = None if gammas is None else gammas[0]
        totals[0] += float(loss_of(model, sample, guided.prior, gamma=gamma)(learner.theta))
        height, width = sample.image.shape[-2:]
        inputs = (sample.image[None].to(device), heat_map(guided.prior, (height, width))[None].to(device))
        logits = functional_call(model, learner.theta, inputs, {"gammas": gammas}, strict=False)
        totals[1] += jaccard_of(logits[0, 0].cpu() >= 0, sample.masks[0], sample.ignore)
    loss, j = (world.all_reduce(totals) / len(objects)).tolist()
    first, second = world.all_reduce(moments) / len(objects)
    spread = float((second - first**2).clamp(min=0).sqrt().mean())
    return {"validation_loss": loss, "J": j, **({} if model.visual is None else {"gamma_spread": spread}), "score": j}


@own_state()
def search_rate(
    theta: Params,
    rates: Sequence[float],
    tasks: Sequence[Task],
    *,
    steps: int,
    modulation: Modulation,
    spec: dict[str, Any],
    device: torch.device | str,
    world: World,
) -> tuple[Learner, dict[str, float]]:
    """Find the best fine-tuning rate, by `rate_search.best_rate`, with the prior of the true mask on every frame.

    Args:
        steps: number of fine-tuning steps.
        modulation: settings of OSMN.
        device: where the network runs.
    """

    def make(learner: Learner) -> OSMN:
        return OSMN(learner, iters=steps, device=device, modulation=modulation)

    def look_at_truth(method: OSMN, sample: Sample) -> None:
        prior = prior_of(sample.masks[0])
        assert prior is not None, "a task's object is in sight"
        method.priors[1] = prior

    return best_rate(theta, rates, tasks, make, spec=spec, world=world, before_step=look_at_truth)
