"""Training of Mask R-CNN: meta-gradients and plain gradients of its loss, validation, search for the best rate.

An item of a stream is ((iteration, index), task or image): the two numbers seed every draw of its loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from eosvos.data.tasks import Sample, Task
from eosvos.meta.adapt import MetaGradient, Params, adapt, annealed_weights, meta_gradient
from eosvos.meta.distributed import World
from eosvos.meta.learner import Learner
from eosvos.meta.second_order import second_order_meta_gradient
from eosvos.meta.unrolled import unrolled_meta_gradient
from eosvos.methods.eosvos.loss import inner_losses, loss_of
from eosvos.methods.rate_search import Item, best_of, jaccard_of, single_rate_learner
from eosvos.models.mask_rcnn import MaskRCNN
from eosvos.torch_state import own_state

_INNER, _META, _ORDINARY, _VALIDATION = 21, 22, 23, 24


def meta_gradients(
    model: MaskRCNN,
    *,
    seed: int,
    steps: int,
    batch: int = 1,
    clip: float | None,
    order: int = 1,
    order_warm_up: int = 0,
    step_weights: Sequence[float] | None = None,
    multi_step_iterations: int = 0,
    window: int | None = None,
    unrolled: bool = False,
    mask_warm_up: int = 0,
) -> Callable[[Learner, Item], MetaGradient]:
    """Build the function that computes the meta-gradient of one task (e-OSVOS, Algorithm 1).

    It makes inner steps on the train samples of the task and takes the full loss on its meta samples.

    Args:
        model: the network.
        seed: of the random draws in the losses.
        steps: number of inner steps.
        batch: samples per inner step.
        clip: gradient clipping of the inner steps, see `meta.adapt.adapt`.
        order: 1 for first-order meta-gradients, 2 for second-order ones.
        order_warm_up: number of first iterations with order 1.
        step_weights: weights of the steps' losses, see `meta.adapt`.
        multi_step_iterations: number of first iterations in which the weights go from uniform to the last step alone.
        window: see `meta.adapt`.
        unrolled: whether to compute by the library `higher`, as a check.
        mask_warm_up: number of first iterations with cross-entropy as the mask loss: from random weights the Lovász
            hinge stays on the plateau of 1 that empty masks have.

    Returns:
        A function from a learner and an item to the meta-gradient.
    """

    def gradient(learner: Learner, item: Item) -> MetaGradient:
        (iteration, index), task = item
        model.mask_loss = "cross_entropy" if iteration < mask_warm_up else model.network_spec.mask_loss
        inner = inner_losses(model, task.train, steps, batch, (seed, _INNER, iteration, index))
        terms: dict[str, float] = {}
        outer = loss_of(model, [task.meta, *task.extra_meta], (seed, _META, iteration, index), _into(terms))
        now = 1 if iteration < order_warm_up else order
        compute = second_order_meta_gradient if now == 2 else meta_gradient
        if unrolled:
            compute = partial(unrolled_meta_gradient, order=now)
        weights = step_weights
        if iteration < multi_step_iterations:
            weights = annealed_weights(steps, iteration / multi_step_iterations)
        # Algorithm 1, lines 4 to 6, of one task: the steps of eq. 5, and the gradient of eq. 4.
        result = compute(learner.theta, learner.rates, inner, outer, clip=clip, weights=weights, window=window)
        result.terms = terms
        return result

    return gradient


def ordinary_gradients(model: MaskRCNN, *, seed: int, mask_warm_up: int = 0) -> Callable[[Learner, Item], MetaGradient]:
    """Build the function that computes the gradient of one image's loss, without inner steps.

    Args:
        model: the network.
        seed: of the random draws in the loss.
        mask_warm_up: as in `meta_gradients`.

    Returns:
        A function from a learner and an item, whose sample has all objects as instances, to the gradient.
    """

    def gradient(learner: Learner, item: Item) -> MetaGradient:
        (iteration, index), sample = item
        model.mask_loss = "cross_entropy" if iteration < mask_warm_up else model.network_spec.mask_loss
        terms: dict[str, float] = {}
        loss = loss_of(model, [sample], (seed, _ORDINARY, iteration, index), _into(terms))
        result = meta_gradient(learner.theta, learner.rates, (), loss)
        result.terms = terms
        return result

    return gradient


def _into(terms: dict[str, float]) -> Callable[[dict[str, Tensor]], None]:
    return lambda parts: terms.update((name, float(value.detach())) for name, value in parts.items())


def validate_tasks(
    model: MaskRCNN,
    learner: Learner,
    tasks: Sequence[Task],
    *,
    steps: Sequence[int],
    batch: int,
    clip: float | None,
    world: World,
) -> dict[str, float]:
    """Validate a learner by fine-tuning on held-out tasks.

    Args:
        model: the network.
        learner: initialization and learning rates.
        tasks: the same in all processes, which share them.
        steps: numbers of fine-tuning steps T to validate at, ascending.
        batch: samples per step.
        clip: gradient clipping, see `meta.adapt.adapt`.
        world: the process group.

    Returns:
        Means over the tasks' meta samples: "J@T" of the best detection and "loss@T" for each T; "score", the J of the
        last T.
    """
    totals = torch.zeros(2, len(steps), dtype=torch.float64)
    model.mask_loss = model.network_spec.mask_loss
    for number in range(world.rank, len(tasks), world.size):
        task = tasks[number]
        losses = inner_losses(model, task.train, max(steps), batch, (0, _VALIDATION, number))
        phi, done = learner.theta, 0
        for place, count in enumerate(steps):
            phi = adapt(phi, learner.rates, losses[done:count], clip=clip).phi
            done = count
            judges = [task.meta, *task.extra_meta]
            totals[0, place] += sum(image_jaccard(model, phi, sample) for sample in judges) / len(judges)
            with torch.no_grad():
                totals[1, place] += float(loss_of(model, [task.meta], (0, _VALIDATION, number, 0))(phi))
    means = world.all_reduce(totals) / len(tasks)
    metrics = {
        f"{what}@{count}": float(value)
        for what, row in zip(("J", "loss"), means, strict=True)
        for count, value in zip(steps, row, strict=True)
    }
    return metrics | {"score": metrics[f"J@{steps[-1]}"]}


def validate_images(model: MaskRCNN, learner: Learner, images: Sequence[Sample], *, world: World) -> dict[str, float]:
    """Validate a network without fine-tuning on held-out images.

    The mask loss is cross-entropy whatever the training uses, so that losses can be compared.

    Returns:
        "validation_loss", the mean loss over the images, and "score", its negative.
    """
    model.mask_loss = "cross_entropy"
    total = torch.zeros(1, dtype=torch.float64)
    for number in range(world.rank, len(images), world.size):
        with torch.no_grad():
            total += float(loss_of(model, [images[number]], (0, _VALIDATION, number))(learner.theta))
    mean = float(world.all_reduce(total)) / len(images)
    return {"validation_loss": mean, "score": -mean}


@torch.no_grad()
def image_jaccard(model: MaskRCNN, phi: Params, sample: Sample) -> float:
    """Compute J, in [0, 1], of the detection with the highest score against the sample's only mask (1, h, w)."""
    model.eval()
    image = sample.image.to(next(model.parameters()).device)
    detections = functional_call(model, phi, ([image],))[0]
    truth = sample.masks[0].cpu()
    predicted = detections["masks"][0, 0].cpu() >= 0.5 if len(detections["scores"]) else torch.zeros_like(truth)
    return jaccard_of(predicted, truth)


@own_state()
def search_rate(
    model: MaskRCNN,
    theta: Params,
    rates: Sequence[float],
    mask_losses: Sequence[str],
    tasks: Sequence[Task],
    *,
    steps: int,
    batch: int,
    clip: float | None,
    spec: dict[str, Any],
    world: World,
) -> tuple[Learner, dict[str, float]]:
    """Find the best single fine-tuning rate for an initialization, and its mask loss (Table 1, first rows).

    Args:
        model: the network.
        theta: the initialization.
        rates: learning rates to try.
        mask_losses: mask losses to try each rate with.
        tasks: held-out tasks.
        steps: number of fine-tuning steps.
        batch: samples per step.
        clip: gradient clipping, see `meta.adapt.adapt`.
        spec: what the learner's spec gets besides the network.
        world: the process group.

    Returns:
        The best learner, of level "single"; and the mean J by "LOSS RATE".
    """
    own = model.network_spec

    def candidates() -> Iterator[tuple[str, Learner]]:
        for loss in mask_losses:
            model.network_spec = replace(own, mask_loss=loss)
            for rate in rates:
                yield f"{loss} {rate:g}", single_rate_learner(theta, rate, spec | {"model": model.spec})
        model.network_spec = own

    def judge(learner: Learner) -> float:
        return validate_tasks(model, learner, tasks, steps=(steps,), batch=batch, clip=clip, world=world)["score"]

    return best_of(candidates(), judge)
