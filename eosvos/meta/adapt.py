"""The inner loop of training, testing and online adaptation, and the meta-gradient through it in closed form.

With plain SGD and gradients g_t taken as constants (first order), phi_T = theta - lambda * (g_0 + ... + g_{T-1}). So
for a meta loss L with G = dL/dphi_T

    dL/dtheta = G        dL/dlambda = -reduce(G * sum_t g_t)

exactly, where reduce sums over the parameters that share a rate: the memory of one step, whatever T (e-OSVOS section
3.2, eq. 2 to 4, first-order truncation). Two settings are common to this and to the second order (second_order.py):

weights: the meta loss is sum_t w_t L(phi_t) over t = 1 ... T, not L(phi_T) alone (the multi-step loss of MAML++,
Antoniou et al., ICLR 2019, section 4); its gradient is the sum of the above at each t with w_t > 0.

window: only the last K steps are differentiated (truncated backpropagation). phi_t of the steps before them counts as
theta plus a constant: it passes its gradient on to theta, and tells nothing about the rates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from eosvos.torch_state import own_state

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
    velocity: Params = field(default_factory=dict)  # with momentum: what the last step went along


After = Callable[[int, Adapted], None]


@dataclass
class MetaGradient:
    """Gradients of the meta loss with respect to theta and to the rates (same names and shapes as in the learner).

    loss: the meta loss after the last step. losses: the inner ones, before each step.
    """

    theta: Params
    rates: Params
    loss: float
    losses: list[float]
    finite: bool = True
    terms: dict[str, float] = field(default_factory=dict)  # parts of the meta loss, for the log


@own_state()
def adapt(
    theta: Params,
    rates: Params,
    losses: Iterable[Loss],
    *,
    clip: float = math.inf,
    after: After | None = None,
    momentum: float = 0.0,
) -> Adapted:
    """One SGD step for each loss: phi <- phi - lambda * g, from phi = theta.

    clip: a gradient whose norm over all parameters exceeds it is scaled down to it. This is a guard that the paper does
    not have (math.inf turns it off); the closed form holds with it, as the scaled gradients are constants too.
    after: called after each step with the number of steps done and the state, which the next step changes in place.
    momentum: v <- momentum * v + g, and a step goes along v; the closed form is without.
    """
    phi = {name: p.detach().clone().requires_grad_() for name, p in theta.items()}
    adapted = Adapted(phi, {name: torch.zeros_like(p) for name, p in phi.items()})
    for done, loss in enumerate(losses, start=1):
        adapted.finite = _step(adapted, rates, loss, clip, momentum)
        if not adapted.finite:
            break
        if after is not None:
            after(done, adapted)
    return adapted


class TailMean:
    """For `after` of `adapt`: the mean of phi over the last `share` of `steps` steps, the last one at least.

    phi: the mean so far; {} before its first step, and always where share is 0.
    """

    def __init__(self, steps: int, share: float) -> None:
        self.steps, self.count = steps, 0
        self.first = steps + 1 - max(1, round(share * steps)) if share > 0 else steps + 1
        self.phi: Params = {}

    @torch.no_grad()
    def __call__(self, done: int, adapted: Adapted) -> None:
        if done < self.first:
            return
        self.count += 1
        for name, p in adapted.phi.items():
            if self.count == 1:
                self.phi[name] = p.detach().clone()
            else:
                self.phi[name] += (p - self.phi[name]) / self.count

    def of(self, phi: Params) -> Params:
        """The mean, or `phi`, the last step's parameters, where there is none; without gradients."""
        return {name: p.detach() for name, p in (self.phi or phi).items()}


def _step(adapted: Adapted, rates: Params, loss: Loss, clip: float, momentum: float) -> bool:
    """False, and nothing changed, where the loss or its gradient is not finite."""
    value = loss(adapted.phi)
    adapted.losses.append(float(value.detach()))
    if not math.isfinite(adapted.losses[-1]):
        return False
    if not value.requires_grad:
        _check_idle(adapted.losses[-1])
        return True
    gradients = gradients_of(value, adapted.phi)
    norm = float(norm_of(gradients))
    if not math.isfinite(norm):
        return False
    with torch.no_grad():
        for name, g in gradients.items():
            if norm > clip:
                g = g * (clip / norm)
            adapted.sums[name] += g
            if momentum:
                g = adapted.velocity[name] = adapted.velocity[name] * momentum + g if name in adapted.velocity else g
            adapted.phi[name] -= rates[name] * g
    return True


def _check_idle(loss: float) -> None:
    """Raise RuntimeError for a loss without a gradient, unless it is 0: that of a batch on which no parameter has any
    influence. Any other was computed of something else than the parameters given, or without gradients."""
    if loss:
        raise RuntimeError(
            f"a loss of {loss:g} depends on none of the parameters, so that nothing is learned; a loss is computed of "
            "the parameters that it is given, and neither within torch.no_grad() or torch.inference_mode() nor from "
            "detached tensors"
        )


@own_state()
def meta_gradient(
    theta: Params,
    rates: Params,
    losses: Iterable[Loss],
    meta_loss: Loss,
    *,
    clip: float = math.inf,
    weights: Sequence[float] | None = None,
    window: int | None = None,
) -> MetaGradient:
    """First-order meta-gradient of `meta_loss` in closed form; `finite` is False where any part of it is not.

    weights: w_1 ... w_T; default: only the last step's loss counts. window: K >= 1; default: T.
    """
    losses = list(losses)
    by_step, start = weights_by_step(len(losses), weights), window_start(len(losses), window)
    outer: Params = {}
    by_rate: Params = {}
    last = math.nan

    def judge(done: int, adapted: Adapted) -> None:
        nonlocal last
        if done <= start:
            for total in adapted.sums.values():
                total.zero_()
        if not by_step[done]:
            return
        value = meta_loss(adapted.phi)
        last = float(value.detach())
        found = gradients_of(value * by_step[done], adapted.phi)
        accumulate(by_rate, {name: -sum_to(g * adapted.sums[name], rates[name].shape) for name, g in found.items()})
        accumulate(outer, found)

    adapted = adapt(theta, rates, losses, clip=clip, after=judge)
    if not adapted.finite:
        return MetaGradient({}, {}, math.nan, adapted.losses, finite=False)
    if not losses:
        judge(0, adapted)
    return MetaGradient(outer, by_rate, last, adapted.losses, all_finite(last, outer, by_rate))


def weights_by_step(steps: int, weights: Sequence[float] | None = None) -> list[float]:
    """Weights of the meta loss after 0, 1 ... `steps` steps; without `weights` (w_1 ... w_T) the last alone counts.

    Raises ValueError where they are not one for each step, negative, or 0 for the last: its step would be for nothing.
    """
    if weights is None:
        return [0.0] * steps + [1.0]
    if len(weights) != steps or not weights or min(weights) < 0 or not weights[-1] > 0:
        raise ValueError(f"weights {list(weights)} found, {steps} numbers >= 0 expected, the last above 0")
    return [0.0, *weights]


def annealed_weights(steps: int, share: float) -> list[float]:
    """Weights of the multi-step loss as training goes on: uniform at share = 0, the last step's alone from 1 on.

    Linear between, and of sum 1 throughout (MAML++, section 4, whose code keeps the early ones at a small minimum).
    """
    share = min(share, 1.0)
    return [(1 - share) / steps] * (steps - 1) + [share + (1 - share) / steps]


def window_start(steps: int, window: int | None = None) -> int:
    """The number of steps that come before the differentiated ones. Raises ValueError for a window below 1."""
    if window is not None and window < 1:
        raise ValueError(f"window {window} found, 1 or more expected")
    return 0 if window is None else max(steps - window, 0)


def accumulate(totals: Params, parts: Params) -> None:
    """Add tensors by name. Not in place: autograd gives views of a single number too."""
    for name, part in parts.items():
        totals[name] = totals[name] + part if name in totals else part


def all_finite(loss: float, *gradients: Params) -> bool:
    """Whether the loss and all tensors are finite."""
    return math.isfinite(loss) and all(bool(g.isfinite().all()) for part in gradients for g in part.values())


def sum_to(gradient: Tensor, shape: torch.Size) -> Tensor:
    """Sum a gradient over the dimensions along which a tensor of `shape` was broadcast; () gives a scalar."""
    return gradient.sum() if len(shape) == 0 else gradient.sum_to_size(shape)


def norm_of(gradients: Params) -> Tensor:
    """Norm over all tensors, a scalar."""
    return torch.stack([g.norm() for g in gradients.values()]).norm()


def gradients_of(value: Tensor, phi: Params, *, create_graph: bool = False) -> Params:
    """Gradients of a scalar by name, zero for parameters that it does not depend on."""
    # A detector's loss may skip whole branches (no positive region): their gradient is zero, not an error.
    found = torch.autograd.grad(value, list(phi.values()), create_graph=create_graph, allow_unused=True)
    return {name: torch.zeros_like(p) if g is None else g for (name, p), g in zip(phi.items(), found, strict=True)}
