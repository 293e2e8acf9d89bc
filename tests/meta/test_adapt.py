"""The closed form against autograd, `higher` and finite differences; memory; guards."""

import math

import pytest
import torch
from torch import nn
from torch.func import functional_call

from eosvos.meta.adapt import TailMean, adapt, meta_gradient
from eosvos.meta.learner import LEVELS, Learner
from eosvos.meta.unrolled import NeuronSGD, unrolled_meta_gradient


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), nn.GroupNorm(4, 8), nn.ReLU(), nn.ConvTranspose2d(8, 4, 2, 2), nn.GroupNorm(2, 4)]
    return nn.Sequential(*layers, nn.Tanh(), nn.Conv2d(4, 1, 1)).double()


def loss_of(net: nn.Module, seed: int):
    draws = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 3, 8, 8, generator=draws, dtype=torch.float64)
    y = torch.randn(2, 1, 12, 12, generator=draws, dtype=torch.float64)
    return lambda phi: ((functional_call(net, phi, (x,), strict=True) - y) ** 2).mean()


def problem(level: str = "neuron", steps: int = 5):
    net = network()
    learner = Learner.create(net, 0.1, level)
    return learner, [loss_of(net, s) for s in range(steps)], loss_of(net, 99)


def by_autograd(learner, losses, meta_loss, clip=math.inf):
    """First order written out: the graph phi_T(theta, rates) with detached inner gradients."""
    theta = {k: p.detach().clone().requires_grad_() for k, p in learner.theta.items()}
    rates = {k: r.detach().clone().requires_grad_() for k, r in learner.rates.items()}
    phi = dict(theta)
    for loss in losses:
        leaves = {k: p.detach().requires_grad_() for k, p in phi.items()}
        grads = torch.autograd.grad(loss(leaves), list(leaves.values()))
        norm = torch.cat([g.flatten() for g in grads]).norm()
        scale = min(1.0, clip / float(norm))
        phi = {k: phi[k] - rates[k] * (g * scale) for k, g in zip(phi, grads, strict=True)}
    flat = torch.autograd.grad(meta_loss(phi), [*theta.values(), *rates.values()])
    return dict(zip(theta, flat[: len(theta)], strict=True)), dict(zip(rates, flat[len(theta) :], strict=True))


def largest_difference(a, b):
    return max(float((a[k] - b[k]).detach().abs().max()) for k in a)


@pytest.mark.parametrize("clip", [math.inf, 0.3])
@pytest.mark.parametrize("level", LEVELS)
def test_closed_form_equals_autograd_and_higher(level, clip):
    learner, losses, meta_loss = problem(level)
    closed = meta_gradient(learner.theta, learner.rates, losses, meta_loss, clip=clip)
    theta, rates = by_autograd(learner, losses, meta_loss, clip)
    assert largest_difference(closed.theta, theta) <= 1e-10
    assert largest_difference(closed.rates, rates) <= 1e-10
    unrolled = unrolled_meta_gradient(learner.theta, learner.rates, losses, meta_loss, clip=clip)
    assert closed.loss == pytest.approx(unrolled.loss, abs=1e-12)
    assert largest_difference(closed.theta, unrolled.theta) <= 1e-10
    assert largest_difference(closed.rates, unrolled.rates) <= 1e-10


def test_rate_gradient_equals_finite_differences_for_one_step():
    """With one step the inner gradient does not depend on the rates: first order is exact in them."""
    learner, losses, meta_loss = problem("neuron", steps=1)
    closed = meta_gradient(learner.theta, learner.rates, losses, meta_loss)
    name, place, width = "3.weight", (0, 2, 0, 0), 1e-6
    values = []
    for sign in (1, -1):
        rates = {k: r.clone() for k, r in learner.rates.items()}
        rates[name][place] += sign * width
        values.append(float(meta_loss(adapt(learner.theta, rates, losses).phi).detach()))
    assert float(closed.rates[name][place]) == pytest.approx((values[0] - values[1]) / (2 * width), rel=1e-5)


def test_second_order_equals_finite_differences_and_differs_from_first():
    learner, losses, meta_loss = problem("tensor", steps=3)
    second = unrolled_meta_gradient(learner.theta, learner.rates, losses, meta_loss, order=2)
    name, place, width, values = "0.weight", (0, 0, 0, 0), 1e-6, []
    for sign in (1, -1):
        theta = {k: p.clone() for k, p in learner.theta.items()}
        theta[name][place] += sign * width
        values.append(float(meta_loss(adapt(theta, learner.rates, losses).phi).detach()))
    assert float(second.theta[name][place]) == pytest.approx((values[0] - values[1]) / (2 * width), rel=1e-4)
    first = meta_gradient(learner.theta, learner.rates, losses, meta_loss)
    assert largest_difference(first.theta, second.theta) > 1e-4


def test_adapt_equals_plain_sgd_and_leaves_theta_alone():
    learner, losses, _ = problem("neuron")
    before = {k: p.clone() for k, p in learner.theta.items()}
    result = adapt(learner.theta, learner.rates, losses)
    module = network()
    optimizer = NeuronSGD(module.parameters(), list(learner.rates.values()))
    for loss in losses:
        optimizer.zero_grad()
        loss(dict(module.named_parameters())).backward()
        optimizer.step()
    assert largest_difference(result.phi, dict(module.named_parameters())) <= 1e-14
    assert all(torch.equal(before[k], learner.theta[k]) for k in before)


@pytest.mark.parametrize(("share", "averaged"), [(0, 0), (0.01, 1), (0.5, 2), (0.6, 3), (1, 5)])
def test_the_tail_mean_is_the_mean_of_the_last_steps(share, averaged):
    learner, losses, _ = problem("neuron")
    mean = TailMean(len(losses), share)
    result = adapt(learner.theta, learner.rates, losses, after=mean)
    by_step = [adapt(learner.theta, learner.rates, losses[:t]).phi for t in range(1, len(losses) + 1)]
    assert largest_difference(by_step[-1], result.phi) == 0  # looking on changes nothing
    if not averaged:
        assert mean.phi == {}
        return
    expected = {k: torch.stack([phi[k] for phi in by_step[-averaged:]]).mean(0) for k in learner.theta}
    assert mean.count == averaged and largest_difference(expected, mean.phi) <= 1e-15


def most_saved(gradient, steps):
    """The most numbers that autograd holds at once in tensors that it saves."""
    learner, _, _ = problem()
    net = network()
    alive, most = 0, 0

    class Held:
        def __init__(self, tensor):
            nonlocal alive, most
            self.tensor, self.size = tensor, tensor.numel()
            alive += self.size
            most = max(most, alive)

        def __del__(self):
            nonlocal alive
            alive -= self.size

    with torch.autograd.graph.saved_tensors_hooks(Held, lambda held: held.tensor):
        gradient(learner.theta, learner.rates, [loss_of(net, s) for s in range(steps)], loss_of(net, 99))
    return most


def test_memory_does_not_grow_with_steps():
    """What lives at the last step is the same for T=1 and T=20: counted on the tensors that autograd saves."""
    assert most_saved(meta_gradient, 20) == most_saved(meta_gradient, 1) > 0


def test_a_divergent_inner_loop_is_flagged_and_stops_at_the_last_finite_phi():
    learner, losses, meta_loss = problem()
    bad = [losses[0], lambda phi: losses[1](phi) * float("nan"), losses[2]]
    result = adapt(learner.theta, learner.rates, bad)
    once = adapt(learner.theta, learner.rates, losses[:1])
    assert not result.finite and len(result.losses) == 2
    assert largest_difference(result.phi, once.phi) == 0
    assert not meta_gradient(learner.theta, learner.rates, bad, meta_loss).finite
    infinite = meta_gradient(learner.theta, learner.rates, losses, lambda phi: meta_loss(phi) * math.inf)
    assert not infinite.finite


def test_parameters_without_influence_have_zero_gradient():
    learner, losses, _ = problem()
    only_bias = meta_gradient(learner.theta, learner.rates, losses, lambda phi: (phi["6.bias"] ** 2).sum())
    assert float(only_bias.theta["0.weight"].abs().max()) == 0
    assert float(only_bias.rates["6.bias"].abs().max()) > 0
