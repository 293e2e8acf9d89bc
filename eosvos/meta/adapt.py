"""The inner loop of training, testing and online adaptation, and the meta-gradient through it in closed form.

With plain SGD and gradients g_t taken as constants (first order), phi_T = theta - lambda * (g_0 + ... + g_{T-1}). So
for a meta loss L with G = dL/dphi_T

    dL/dtheta = G        dL/dlambda = -reduce(G * sum_t g_t)

exactly, where reduce sums over the parameters that share a rate: the memory of one step, whatever T (e-OSVOS section
3.2, eq. 2 to 4, first-order truncation).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

Params = dict[str, Tensor]
Loss = Callable[[Params], Tensor]


@dataclass
class Adapted:
    """phi: adapted parameters (leaf tensors that require gradients). sums: summed gradients of all steps. losses: the
    loss before each step. finite: False where a step met a loss or gradient that is not a finite number; phi is then
    what the steps before it made of theta.
    """

    phi: Params
    sums: Params
    losses: list[float] = field(default_factory=list)
    finite: bool = True


@dataclass
class MetaGradient:
    """Gradients of the meta loss with respect to theta and to the rates (same names and shapes as in the learner)."""

    theta: Params
    rates: Params
    loss: float
    losses: list[float]
    finite: bool = True
    terms: dict[str, float] = field(default_factory=dict)  # parts of the meta loss, for the log


def adapt(theta: Params, rates: Params, losses: Iterable[Loss], *, clip: float = math.inf) -> Adapted:
    """One SGD step for each loss: phi <- phi - lambda * g, from phi = theta.

    clip: a gradient whose norm over all parameters exceeds it is scaled down to it. This is a guard that the paper does
    not have (math.inf turns it off); the closed form holds with it, as the scaled gradients are constants too.
    """
    phi = {name: p.detach().clone().requires_grad_() for name, p in theta.items()}
    adapted = Adapted(phi, {name: torch.zeros_like(p) for name, p in phi.items()})
    for loss in losses:
        value = loss(phi)
        adapted.losses.append(float(value.detach()))
        if not math.isfinite(adapted.losses[-1]):
            adapted.finite = False
            break
        if not value.requires_grad:  # a batch on which no parameter has any influence
            continue
        gradients = _gradients(value, phi)
        norm = float(torch.stack([g.norm() for g in gradients.values()]).norm())
        if not math.isfinite(norm):
            adapted.finite = False
            break
        with torch.no_grad():
            for name, g in gradients.items():
                if norm > clip:
                    g = g * (clip / norm)
                adapted.sums[name] += g
                phi[name] -= rates[name] * g
        del value, gradients, g  # or the next step would run with this one's gradients still held
    return adapted


def meta_gradient(
    theta: Params, rates: Params, losses: Iterable[Loss], meta_loss: Loss, *, clip: float = math.inf
) -> MetaGradient:
    """First-order meta-gradient of `meta_loss(phi_T)` in closed form; `finite` is False where any part of it is not."""
    adapted = adapt(theta, rates, losses, clip=clip)
    if not adapted.finite:
        return MetaGradient({}, {}, math.nan, adapted.losses, finite=False)
    value = meta_loss(adapted.phi)
    outer = _gradients(value, adapted.phi)
    by_rate = {name: -sum_to(outer[name] * adapted.sums[name], rates[name].shape) for name in outer}
    loss = float(value.detach())
    finite = math.isfinite(loss) and all(bool(g.isfinite().all()) for g in [*outer.values(), *by_rate.values()])
    return MetaGradient(outer, by_rate, loss, adapted.losses, finite)


def sum_to(gradient: Tensor, shape: torch.Size) -> Tensor:
    """Sum a gradient over the dimensions along which a tensor of `shape` was broadcast; () gives a scalar."""
    return gradient.sum() if len(shape) == 0 else gradient.sum_to_size(shape)


def _gradients(value: Tensor, phi: Params) -> Params:
    # A detector's loss may skip whole branches (no positive region): their gradient is zero, not an error.
    gradients = torch.autograd.grad(value, list(phi.values()), allow_unused=True)
    return {name: torch.zeros_like(p) if g is None else g for (name, p), g in zip(phi.items(), gradients, strict=True)}
