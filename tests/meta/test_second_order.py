"""Second order, multi-step weights and windows against autograd written out, `higher` and finite differences."""

import math

import pytest
import torch
from test_adapt import largest_difference, most_saved, problem

from eosvos import seeds
from eosvos.data.tasks import Sample
from eosvos.meta.adapt import adapt, annealed_weights, meta_gradient, weights_by_step
from eosvos.meta.learner import LEVELS, Learner
from eosvos.meta.second_order import second_order_meta_gradient
from eosvos.meta.unrolled import unrolled_meta_gradient
from eosvos.methods.eosvos.loss import inner_losses, loss_of
from eosvos.models import mask_rcnn

WEIGHTED = [0.1, 0.0, 0.3, 0.2, 0.4]
SETTINGS = [
    {},
    {"clip": 0.3},
    {"weights": WEIGHTED},
    {"window": 2},
    {"window": 9},
    {"weights": WEIGHTED, "window": 3, "clip": 0.3},
    {"weights": WEIGHTED, "window": 1},
]
OURS = {1: meta_gradient, 2: second_order_meta_gradient}


def written_out(learner, losses, meta_loss, order, clip=math.inf, weights=None, window=None):
    """One graph from theta and the rates to sum_t w_t L(phi_t); before the window, phi_t is theta plus a constant."""
    theta = {k: p.detach().clone().requires_grad_() for k, p in learner.theta.items()}
    rates = {k: r.detach().clone().requires_grad_() for k, r in learner.rates.items()}
    weights = weights or [0.0] * (len(losses) - 1) + [1.0]
    phi, total = dict(theta), 0.0
    for t, (loss, weight) in enumerate(zip(losses, weights, strict=True), start=1):
        leaves = phi if order == 2 else {k: p.detach().requires_grad_() for k, p in phi.items()}
        grads = torch.autograd.grad(loss(leaves), list(leaves.values()), create_graph=order == 2)
        norm = torch.cat([g.flatten() for g in grads]).norm()
        scale = clip / norm if norm > clip else 1.0
        phi = {k: phi[k] - rates[k] * (g * scale) for k, g in zip(phi, grads, strict=True)}
        if window is not None and t <= len(losses) - window:
            phi = {k: theta[k] + (p - theta[k]).detach() for k, p in phi.items()}
        total = total + weight * meta_loss(phi)
    inputs = [*theta.values(), *rates.values()]
    flat = torch.autograd.grad(total, inputs, allow_unused=True)
    flat = [torch.zeros_like(x) if g is None else g for x, g in zip(inputs, flat, strict=True)]
    return dict(zip(theta, flat[: len(theta)], strict=True)), dict(zip(rates, flat[len(theta) :], strict=True))


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("order", [1, 2])
def test_gradients_equal_autograd_and_higher(order, settings):
    learner, losses, meta_loss = problem("neuron")
    ours = OURS[order](learner.theta, learner.rates, losses, meta_loss, **settings)
    theta, rates = written_out(learner, losses, meta_loss, order, **settings)
    assert largest_difference(ours.theta, theta) <= 1e-10 and largest_difference(ours.rates, rates) <= 1e-10
    unrolled = unrolled_meta_gradient(learner.theta, learner.rates, losses, meta_loss, order=order, **settings)
    assert largest_difference(ours.theta, unrolled.theta) <= 1e-10
    assert largest_difference(ours.rates, unrolled.rates) <= 1e-10
    assert ours.loss == pytest.approx(unrolled.loss, abs=1e-12)
    assert ours.losses == pytest.approx(unrolled.losses, abs=1e-12)


@pytest.mark.parametrize("level", LEVELS)
def test_second_order_at_every_level(level):
    learner, losses, meta_loss = problem(level, steps=3)
    ours = second_order_meta_gradient(learner.theta, learner.rates, losses, meta_loss)
    theta, rates = written_out(learner, losses, meta_loss, order=2)
    assert largest_difference(ours.theta, theta) <= 1e-10 and largest_difference(ours.rates, rates) <= 1e-10


@pytest.mark.parametrize("clip", [math.inf, 0.3])
def test_second_order_equals_finite_differences_in_theta_and_rates(clip):
    learner, losses, meta_loss = problem("neuron", steps=4)
    weights = [0.1, 0.2, 0.3, 0.4]
    ours = second_order_meta_gradient(learner.theta, learner.rates, losses, meta_loss, clip=clip, weights=weights)

    def objective(theta, rates):
        values = [float(meta_loss(adapt(theta, rates, losses[:t], clip=clip).phi).detach()) for t in range(1, 5)]
        return sum(w * value for w, value in zip(weights, values, strict=True))

    for part, name, place in (("theta", "0.weight", (0, 0, 0, 0)), ("rates", "3.weight", (0, 2, 0, 0))):
        values = []
        for sign in (1, -1):
            moved = {k: p.clone() for k, p in getattr(learner, part).items()}
            moved[name][place] += sign * 1e-6
            values.append(objective(**{"theta": learner.theta, "rates": learner.rates, part: moved}))
        assert float(getattr(ours, part)[name][place]) == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5)
    first = meta_gradient(learner.theta, learner.rates, losses, meta_loss, clip=clip, weights=weights)
    assert largest_difference(first.theta, ours.theta) > 1e-4


def detector_problem(steps, **settings):
    """The tiny Mask R-CNN in float64, and one picture of a textured rectangle on a textured ground."""
    with seeds.InitialWeights(0):
        model = mask_rcnn.build("tiny", short=64, long=112, **settings).double()
    masks = torch.zeros(1, 64, 112, dtype=torch.bool)
    masks[0, 12:44, 30:80] = True
    image = torch.rand(3, 64, 112, generator=seeds.generator(0), dtype=torch.float64) * 0.4 + 0.4 * masks
    sample, learner = Sample(image, masks), Learner.create(model, 2e-3)
    return learner, inner_losses(model, [sample], steps, 1, (0, 1)), loss_of(model, [sample], (0, 2)), model


@pytest.mark.parametrize("settings", [{}, {"clip": 5.0, "weights": [0.3, 0.0, 0.7], "window": 2}], ids=str)
def test_second_order_through_mask_rcnn_equals_higher(settings):
    learner, losses, meta_loss, _ = detector_problem(3)
    ours = second_order_meta_gradient(learner.theta, learner.rates, losses, meta_loss, **settings)
    unrolled = unrolled_meta_gradient(learner.theta, learner.rates, losses, meta_loss, order=2, **settings)
    assert ours.finite and ours.loss == pytest.approx(unrolled.loss, abs=1e-10)
    assert largest_difference(ours.theta, unrolled.theta) <= 1e-8
    assert largest_difference(ours.rates, unrolled.rates) <= 1e-8
    first = meta_gradient(learner.theta, learner.rates, losses, meta_loss, **settings)
    assert ours.loss == first.loss  # the very inner loop of first order and of testing
    assert largest_difference(ours.theta, first.theta) > 1e-4


def test_second_order_through_mask_rcnn_equals_finite_differences():
    """Along the gradient itself: no operation on the way has lost its second derivative.

    Without proposals, whose places the losses do not differentiate (Ren et al., 2015, section 3.2), and by steps small
    enough to cross no kink of the network.
    """
    learner, losses, meta_loss, model = detector_problem(3, rpn_post=0)
    assign = model.rpn.assign_targets_to_anchors  # gives labels in float32, and the loss of that precision

    def precise(*inputs):
        labels, boxes = assign(*inputs)
        return [label.double() for label in labels], boxes

    model.rpn.assign_targets_to_anchors = precise
    ours = second_order_meta_gradient(learner.theta, learner.rates, losses, meta_loss)
    for part in ("theta", "rates"):
        gradient = getattr(ours, part)
        length = math.sqrt(sum(float((g**2).sum()) for g in gradient.values()))
        width = 1e-7 if part == "theta" else 1e-9
        values = []
        for sign in (1, -1):
            moved = {k: p + sign * width * gradient[k] / length for k, p in getattr(learner, part).items()}
            given = {"theta": learner.theta, "rates": learner.rates, part: moved}
            values.append(float(meta_loss(adapt(given["theta"], given["rates"], losses).phi).detach()))
        assert (values[0] - values[1]) / (2 * width) == pytest.approx(length, rel=1e-6)


def test_evaluating_a_loss_again_draws_the_same_whatever_the_state_of_the_generator():
    learner, losses, meta_loss, _ = detector_problem(2)
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        results.append(second_order_meta_gradient(learner.theta, learner.rates, losses, meta_loss))
    assert largest_difference(results[0].theta, results[1].theta) == 0
    seen = []

    def watched(loss):
        def evaluate(phi):
            value = loss(phi)
            seen.append((id(loss), float(value.detach())))
            return value

        return evaluate

    second_order_meta_gradient(learner.theta, learner.rates, [watched(loss) for loss in losses], meta_loss)
    assert len(seen) == 4 and seen[:2] == seen[:1:-1]


def test_activations_do_not_grow_with_steps():
    """What autograd holds at once is the same for T=2 and T=12: counted on the tensors that it saves."""
    assert most_saved(second_order_meta_gradient, 12) == most_saved(second_order_meta_gradient, 2) > 0


@pytest.mark.parametrize("order", [1, 2])
def test_divergence_no_steps_and_steps_without_influence(order):
    learner, losses, meta_loss = problem(steps=3)
    gradient = OURS[order]
    bad = [losses[0], lambda phi: losses[1](phi) * math.nan, losses[2]]
    assert not gradient(learner.theta, learner.rates, bad, meta_loss).finite
    assert not gradient(learner.theta, learner.rates, losses, lambda phi: meta_loss(phi) * math.inf).finite
    none = gradient(learner.theta, learner.rates, [], meta_loss)
    assert none.finite and none.loss == float(meta_loss(learner.theta))
    idle = [losses[0], lambda phi: torch.zeros(()), lambda phi: sum(p.sum() for p in phi.values())]
    busy = gradient(learner.theta, learner.rates, [losses[0], idle[2]], meta_loss)
    all_three = gradient(learner.theta, learner.rates, idle, meta_loss)
    assert largest_difference(busy.theta, all_three.theta) == 0
    assert largest_difference(busy.rates, all_three.rates) == 0


def test_weights_and_windows_that_make_no_sense_are_refused():
    assert weights_by_step(3) == [0, 0, 0, 1] and weights_by_step(2, [0.5, 1]) == [0, 0.5, 1]
    for weights in ([1.0], [1.0, 0.0], [-1.0, 1.0], []):
        with pytest.raises(ValueError, match="2 numbers >= 0"):
            weights_by_step(2, weights)
    learner, losses, meta_loss = problem()
    with pytest.raises(ValueError, match="window 0"):
        meta_gradient(learner.theta, learner.rates, losses, meta_loss, window=0)


def test_annealed_weights_go_from_uniform_to_the_last_step():
    assert annealed_weights(4, 0.0) == [0.25] * 4
    assert annealed_weights(4, 0.5) == [0.125, 0.125, 0.125, 0.625]
    assert annealed_weights(4, 1.0) == annealed_weights(4, 7.0) == [0, 0, 0, 1]
