"""The inner loop of training, testing and online adaptation, and its meta-gradient in closed form.

The bi-level problem of e-OSVOS (section 3.2.2, eq. 2 and 3) is solved by backpropagation through time:

    theta^{t+1} = g(dL(D_train, theta^t) / dtheta^t, theta^t)    (eq. 5), the inner steps, t = 0 ... T - 1
    L_BPTT = L(D_test, theta^T)                                  (eq. 4), the meta loss

g is vanilla SGD with learned rates lambda (section 3.2.4); theta^t is called phi_t here. With the inner gradients g_t
taken as constants (first order), phi_T = theta - lambda * (g_0 + ... + g_{T-1}). So for a meta loss L with G =
dL/dphi_T

    dL/dtheta = G        dL/dlambda = -reduce(G * sum_t g_t)

exactly, where reduce sums over the parameters that share a rate. This needs the memory of one step, whatever T. Two
settings are shared with the second order (second_order.py):

weights: the meta loss is sum_t w_t L(phi_t) over t = 1 ... T in place of L(phi_T) (the multi-step loss of MAML++,
Antoniou et al., ICLR 2019, section 4); its gradient is the sum of the above at each t with w_t > 0.

window: only the last K steps are differentiated (truncated backpropagation). phi_t of the steps before them counts as
theta plus a constant: its gradient goes to theta, and none to the rates.
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
    """The state of the inner loop.

    Attributes:
        phi: adapted parameters by name, leaf tensors that require gradients.
        sums: sum of the gradients of all steps, by name.
        losses: the loss before each step.
        finite: False if a step met a loss or gradient that is not finite; phi is then that of the steps before it.
        velocity: with momentum, the direction of the last step.
    """

    phi: Params
    sums: Params
    losses: list[float] = field(default_factory=list)
    finite: bool = True
    velocity: Params = field(default_factory=dict)  # with momentum: what the last step went along


After = Callable[[int, Adapted], None]


@dataclass
class MetaGradient:
    """Gradients of the meta loss with respect to theta and the rates.

    Attributes:
        theta: gradients by parameter name, with the shapes of the parameters.
        rates: gradients by parameter name, with the shapes of the rates.
        loss: the meta loss after the last step.
        losses: the inner loss before each step.
        finite: False if any part of it is not finite.
        terms: parts of the meta loss by name, for the log.
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
    clip: float | None = None,
    after: After | None = None,
    momentum: float = 0.0,
) -> Adapted:
    """Fine-tune parameters: one SGD step for each loss, phi <- phi - lambda * gradient, from phi = theta.

    e-OSVOS, section 3.2.2, eq. 5; eq. 1 at test time, eq. 3 in meta-training.

    Args:
        theta: initial parameters by name; not changed.
        rates: learning rates by the same names, of shapes that broadcast to the parameters.
        losses: closures phi -> scalar loss, one for each step.
        clip: a gradient whose norm over all parameters exceeds this is scaled down to it. The paper has no such guard
            (None turns it off); the closed form holds with it, as scaled gradients are constants too.
        after: called after each step with the number of steps done and the state, which the next step changes in place.
        momentum: velocity <- momentum * velocity + gradient, and a step follows the velocity; the closed form requires
            0.

    Raises:
        RuntimeError: if a loss above 0 does not depend on the parameters.
    """
    # Eq. 1 and 3: the argmin is approximated by the given number of steps from theta; Algorithm 1, lines 4 and 5.
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
    """The mean of phi over the last steps, as `after` of `adapt`.

    Args:
        steps: number of all steps.
        share: share of the steps that is averaged, at least the last step; 0: none.

    Attributes:
        phi: the mean so far; {} before its first step.
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
        """Return the mean or, if there is none, `phi`, without gradients."""
        return {name: p.detach() for name, p in (self.phi or phi).items()}


def _step(adapted: Adapted, rates: Params, loss: Loss, clip: float | None, momentum: float) -> bool:
    """Make one step; return False, and change nothing, if the loss or its gradient is not finite."""
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
    steps, phi = list(gradients.values()), list(adapted.phi.values())
    with torch.no_grad():
        if clip is not None and norm > clip:
            steps = list(torch._foreach_mul(steps, clip / norm))
        torch._foreach_add_(list(adapted.sums.values()), steps)
        if momentum:
            if adapted.velocity:
                kept = list(torch._foreach_mul(list(adapted.velocity.values()), momentum))
                steps = list(torch._foreach_add(kept, steps))
            adapted.velocity = dict(zip(gradients, steps, strict=True))
        # eq. 5, g being vanilla SGD with learned rates (section 3.2.4)
        torch._foreach_addcmul_(phi, [rates[name] for name in gradients], steps, value=-1)
    return True


def _check_idle(loss: float) -> None:
    """Raise RuntimeError for a loss without a gradient, unless it is 0, as no parameter had any influence then.

    Any other value was computed from something else than the given parameters, or without gradients.
    """
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
    clip: float | None = None,
    weights: Sequence[float] | None = None,
    window: int | None = None,
) -> MetaGradient:
    """Compute the first-order meta-gradient in closed form.

    e-OSVOS, section 3.2.2: the gradient of eq. 4 through the steps of eq. 5, second order omitted.

    Args:
        theta: initialization by parameter name.
        rates: learning rates by parameter name.
        losses: inner losses, one for each step.
        meta_loss: closure phi -> scalar meta loss.
        clip: see `adapt`.
        weights: w_1 ... w_T of the multi-step loss; None: only the last step's loss counts.
        window: number of last steps that are differentiated, 1 or more; None: all.

    Returns:
        MetaGradient, with `finite` False and no gradients if an inner step was not finite.
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
        value = meta_loss(adapted.phi)  # eq. 4: the test loss after `done` steps
        last = float(value.detach())
        gradients = gradients_of(value * by_step[done], adapted.phi)
        parts = {name: -sum_to(g * adapted.sums[name], rates[name].shape) for name, g in gradients.items()}
        accumulate(by_rate, parts)  # dL_BPTT/dlambda of eq. 4, through the steps of eq. 5
        accumulate(outer, gradients)  # dL_BPTT/dtheta

    adapted = adapt(theta, rates, losses, clip=clip, after=judge)
    if not adapted.finite:
        return MetaGradient({}, {}, math.nan, adapted.losses, finite=False)
    if not losses:
        judge(0, adapted)
    return MetaGradient(outer, by_rate, last, adapted.losses, all_finite(last, outer, by_rate))


def weights_by_step(steps: int, weights: Sequence[float] | None = None) -> list[float]:
    """Return the weights of the meta loss after 0, 1 ... `steps` steps.

    Args:
        steps: number of steps T.
        weights: w_1 ... w_T; None: the last step's loss alone counts.

    Raises:
        ValueError: if there is not one weight for each step, one is negative, or the last is 0.
    """
    if weights is None:
        return [0.0] * steps + [1.0]
    if len(weights) != steps or not weights or min(weights) < 0 or not weights[-1] > 0:
        raise ValueError(f"weights {list(weights)} found, {steps} numbers >= 0 expected, the last above 0")
    return [0.0, *weights]


def annealed_weights(steps: int, share: float) -> list[float]:
    """Return the weights of the multi-step loss while training: from uniform (share 0) to the last step's alone (1).

    Linear between, and always of sum 1 (MAML++, section 4, whose code keeps the early ones at a small minimum).
    """
    share = min(share, 1.0)
    return [(1 - share) / steps] * (steps - 1) + [share + (1 - share) / steps]


def window_start(steps: int, window: int | None = None) -> int:
    """Return the number of steps before the differentiated ones. Raises ValueError for a window below 1."""
    if window is not None and window < 1:
        raise ValueError(f"window {window} found, 1 or more expected")
    return 0 if window is None else max(steps - window, 0)


def accumulate(totals: Params, parts: Params) -> None:
    """Add tensors to `totals` by name, not in place, as autograd also returns views of a single number."""
    for name, part in parts.items():
        totals[name] = totals[name] + part if name in totals else part


def all_finite(loss: float, *gradients: Params) -> bool:
    """Return whether the loss and all tensors are finite."""
    return math.isfinite(loss) and all(bool(g.isfinite().all()) for part in gradients for g in part.values())


def sum_to(gradient: Tensor, shape: torch.Size) -> Tensor:
    """Sum a gradient over the dimensions along which a tensor of `shape` was broadcast; () gives a scalar."""
    return gradient.sum() if len(shape) == 0 else gradient.sum_to_size(shape)


def norm_of(gradients: Params) -> Tensor:
    """Return the norm over all tensors, a scalar."""
    return torch.stack(torch._foreach_norm(list(gradients.values()))).norm()


def gradients_of(value: Tensor, phi: Params, *, create_graph: bool = False) -> Params:
    """Return the gradients of a scalar by parameter name, zero for parameters that it does not depend on."""
    # A detector's loss may skip whole branches (no positive region): their gradient is zero, not an error.
    gradients = torch.autograd.grad(value, list(phi.values()), create_graph=create_graph, allow_unused=True)
    return {name: torch.zeros_like(p) if g is None else g for (name, p), g in zip(phi.items(), gradients, strict=True)}
