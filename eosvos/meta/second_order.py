"""The exact second-order meta-gradient, at the activation memory of one inner step.

The inner loop (eq. 5 of e-OSVOS) phi_{t+1} = phi_t - lambda * c(g_t), g_t = dL_t/dphi_t and c the clipping, runs first
and keeps only phi_t. Then the steps are undone, last first: the adjoint v = dL/dphi_{t+1} becomes

    dL/dphi_t = v - d<c(g_t), lambda * v>/dphi_t        dL/dlambda -= reduce(v * c(g_t))

with lambda * v held constant, so each step costs one more evaluation of its loss and a Hessian-vector product. This is
activation checkpointing of whole steps (Chen et al., 2016), outside the network: within it, under
torch.func.functional_call, the second evaluation would use other parameters and give wrong gradients. Memory grows by
one copy of the parameters per step (and one of gradients for each further weight above 0), not by activations.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch

from eosvos.meta.adapt import (
    Adapted,
    Loss,
    MetaGradient,
    Params,
    accumulate,
    adapt,
    all_finite,
    gradients_of,
    norm_of,
    sum_to,
    weights_by_step,
    window_start,
)
from eosvos.torch_state import own_state


@own_state()
def second_order_meta_gradient(
    theta: Params,
    rates: Params,
    losses: Iterable[Loss],
    meta_loss: Loss,
    *,
    clip: float | None = None,
    weights: Sequence[float] | None = None,
    window: int | None = None,
) -> MetaGradient:
    """Compute the meta-gradient through the inner gradients, exactly.

    e-OSVOS, section 3.2.2: the gradient of eq. 4 through the steps of eq. 5, with the dashed edges of Figure 2b.
    Arguments and result are those of `adapt.meta_gradient`. Every operation of the inner losses must have a second
    derivative. A loss is evaluated twice at the same parameters and must give the same value, so its random draws come
    from a fixed seed.
    """
    losses = list(losses)
    steps = len(losses)
    by_step, start = weights_by_step(steps, weights), window_start(steps, window)
    # phi by the number of steps done; a copy, as theta may have been made within torch.inference_mode
    visited: dict[int, Params] = {0: {name: p.detach().clone() for name, p in theta.items()}}
    outer: dict[int, Params] = {}  # w_t dL(phi_t)/dphi_t
    last = math.nan

    def keep(done: int, adapted: Adapted) -> None:
        nonlocal last
        if start <= done < steps:
            visited[done] = {name: p.detach().clone() for name, p in adapted.phi.items()}
        if by_step[done]:
            value = meta_loss(adapted.phi)  # eq. 4
            last = float(value.detach())
            outer[done] = gradients_of(value * by_step[done], adapted.phi)

    adapted = adapt(theta, rates, losses, clip=clip, after=keep)
    inner = adapted.losses
    if not adapted.finite:
        return MetaGradient({}, {}, math.nan, inner, finite=False)
    if not losses:
        keep(0, adapted)
    del adapted  # its phi and sums are of no further use
    adjoint, by_rate = outer.pop(steps), {name: r.new_zeros(r.shape) for name, r in rates.items()}
    for done in range(steps - 1, start - 1, -1):
        adjoint = _undo(losses[done], visited.pop(done), rates, adjoint, by_rate, clip)
        accumulate(adjoint, outer.pop(done, {}))
    for earlier in outer.values():  # before the window: on to theta as they are
        accumulate(adjoint, earlier)
    return MetaGradient(adjoint, by_rate, last, inner, all_finite(last, adjoint, by_rate))


def _undo(loss: Loss, phi: Params, rates: Params, adjoint: Params, by_rate: Params, clip: float | None) -> Params:
    """Return the adjoint before a step from the one after it, and add the step's part to the gradients of the rates."""
    phi = {name: p.detach().requires_grad_() for name, p in phi.items()}
    value = loss(phi)
    if not value.requires_grad:  # the step was none (see `adapt._check_idle`)
        return adjoint
    gradients = gradients_of(value, phi, create_graph=True)  # of eq. 5, kept differentiable
    if clip is not None and float((norm := norm_of(gradients)).detach()) > clip:
        gradients = {name: g * (clip / norm) for name, g in gradients.items()}
    moved = torch.stack([(g * (rates[name].detach() * adjoint[name])).sum() for name, g in gradients.items()]).sum()
    for name, g in gradients.items():
        by_rate[name] -= sum_to(adjoint[name] * g.detach(), rates[name].shape)
    if not moved.requires_grad:  # a linear loss
        return adjoint
    return {name: adjoint[name] - g for name, g in gradients_of(moved, phi).items()}
