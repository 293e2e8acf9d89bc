"""SGD with a learning rate tensor per parameter as a differentiable optimizer of `higher`, of first or second order.

It checks the closed form of `adapt.py` and, for meta.order=2, `second_order.py` (meta.unrolled=true). Memory grows with
the number of steps, by the activations of each.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from eosvos.meta.adapt import Loss, MetaGradient, Params, all_finite, sum_to, weights_by_step, window_start
from eosvos.torch_state import own_state

with warnings.catch_warnings():
    # Its docstrings hold invalid escapes: SyntaxWarnings (https://github.com/facebookresearch/higher/pull/134).
    warnings.simplefilter("ignore")
    import higher
    from higher.optim import DifferentiableOptimizer


class NeuronSGD(torch.optim.Optimizer):
    """Plain SGD, p <- p - rate * gradient, with one rate tensor (any shape that broadcasts) per parameter."""

    def __init__(self, params: Iterable[Tensor], rates: Sequence[Tensor]) -> None:
        groups = [{"params": [p], "lr": r.detach()} for p, r in zip(params, rates, strict=True)]
        super().__init__(groups, {})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p -= group["lr"] * p.grad


class DifferentiableNeuronSGD(DifferentiableOptimizer):
    """NeuronSGD that keeps the graph; learned rates are passed by override={"lr": [...]}, one entry per parameter."""

    def _update(self, grouped_grads: list[list[Tensor | None]], **kwargs: Any) -> None:
        for group, grads in zip(self.param_groups, grouped_grads, strict=True):
            for index, (p, g) in enumerate(zip(group["params"], grads, strict=True)):
                if g is not None:
                    group["params"][index] = p - group["lr"] * g


higher.register_optim(NeuronSGD, DifferentiableNeuronSGD)


class _Holder(nn.Module):
    """Parameters whose forward pass is any closure of them, for `higher` to patch."""

    def __init__(self, theta: Params) -> None:
        super().__init__()
        self.names = list(theta)
        for index, p in enumerate(theta.values()):
            self.register_parameter(f"p{index}", nn.Parameter(p.detach().clone()))

    def forward(self, loss: Loss) -> Tensor:
        return loss({name: getattr(self, f"p{index}") for index, name in enumerate(self.names)})


@own_state()
def unrolled_meta_gradient(
    theta: Params,
    rates: Params,
    losses: Iterable[Loss],
    meta_loss: Loss,
    *,
    order: int = 1,
    clip: float | None = None,
    weights: Sequence[float] | None = None,
    window: int | None = None,
) -> MetaGradient:
    """Compute the meta-gradient by unrolling the inner loop with `higher`.

    Arguments and result are those of `adapt.meta_gradient`, and:

    Args:
        order: 1, or 2 to differentiate the inner gradients too; every operation of the losses must then have a second
            derivative.
    """
    if order not in (1, 2):
        raise ValueError(f"order {order} found, 1 or 2 expected")
    losses = list(losses)
    by_step, start = weights_by_step(len(losses), weights), window_start(len(losses), window)

    def shape_gradients(gradients: list[Tensor | None]) -> list[Tensor | None]:
        present = [g for g in gradients if g is not None]
        shaped = gradients
        if clip is not None and float((norm := torch.stack([g.norm() for g in present]).norm()).detach()) > clip:
            shaped = [None if g is None else g * (clip / norm) for g in gradients]
        return [None if g is None else g.detach() for g in shaped] if order == 1 else shaped

    holder = _Holder(theta)
    leaves = {name: r.detach().clone().requires_grad_() for name, r in rates.items()}
    optimizer = NeuronSGD(holder.parameters(), list(leaves.values()))
    inner: list[float] = []
    judged: list[tuple[float, Tensor]] = []  # weight, meta loss
    with higher.innerloop_ctx(
        holder, optimizer, copy_initial_weights=False, override={"lr": list(leaves.values())}
    ) as (functional, differentiable):
        first = list(functional.parameters(time=0))
        for done, loss in enumerate([None, *losses]):
            if loss is not None:
                value = functional(loss)
                inner.append(float(value.detach()))
                differentiable.step(value, grad_callback=shape_gradients)
            if 0 < done <= start:
                now = list(functional.fast_params)
                functional.update_params([p + (q - p).detach() for p, q in zip(first, now, strict=True)])
            if by_step[done]:
                judged.append((by_step[done], functional(meta_loss)))
        inputs = [*first, *leaves.values()]
        total = torch.stack([weight * value for weight, value in judged]).sum()
        gradients = torch.autograd.grad(total, inputs, allow_unused=True)
    filled = [torch.zeros_like(x) if g is None else g for x, g in zip(inputs, gradients, strict=True)]
    outer = dict(zip(theta, filled[: len(theta)], strict=True))
    by_rate = {name: sum_to(g, rates[name].shape) for name, g in zip(rates, filled[len(theta) :], strict=True)}
    last = float(judged[-1][1].detach())
    return MetaGradient(outer, by_rate, last, inner, all_finite(last, outer, by_rate))
