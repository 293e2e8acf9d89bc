"""Validation, the search of a rate and the gradients, each against the same written out, on a small network."""

import math
from dataclasses import replace

import pytest
import torch
from torch.func import functional_call

from eosvos import seeds
from eosvos.data.masks import boxes_of
from eosvos.data.synthetic.taskset import SyntheticTaskset
from eosvos.meta.adapt import adapt
from eosvos.meta.distributed import World
from eosvos.meta.learner import Learner
from eosvos.methods import rate_search
from eosvos.methods.eosvos import training
from eosvos.methods.eosvos.loss import inner_losses
from eosvos.models import mask_rcnn

RATE = 0.05


@pytest.fixture(scope="module")
def tasks():
    taskset = SyntheticTaskset(length=6, render=(64, 112), size=(64, 112))
    return [taskset.task(0, 0, index) for index in range(3)]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return mask_rcnn.build("tiny", short=64, long=112)


@pytest.fixture(scope="module")
def learner(model, tasks):
    """Taught until it finds some of the objects, so that there is something to measure."""
    start = Learner.create(model, 0.1, "single")
    taught = adapt(start.theta, start.rates, inner_losses(model, [t.meta for t in tasks], 25, 1, (9,)), clip=10.0)
    theta = {name: p.detach() for name, p in taught.phi.items()}
    return Learner(theta, {name: torch.tensor(RATE) for name in theta}, "single")


def loss_of(model, phi, sample, *path):
    """The sum of the five losses of a sample with objects."""
    target = {"boxes": boxes_of(sample.masks), "masks": sample.masks.byte()}
    model.train()
    draws = {"generator": seeds.generator(*path)}
    return sum(functional_call(model, phi, ([sample.image], [target]), draws).values())


def similarity(model, phi, sample):
    model.eval()
    with torch.no_grad():
        found = functional_call(model, phi, ([sample.image],))[0]
    if len(found["scores"]) == 0:
        return 0.0
    seen, truth = found["masks"][int(found["scores"].argmax()), 0].numpy() >= 0.5, sample.masks[0].numpy()
    return float((seen & truth).sum() / (seen | truth).sum())


def written_out(model, theta, task, number, counts):
    """J after each of the counts of plain SGD steps."""
    figures = []
    phi = {name: p.clone().requires_grad_() for name, p in theta.items()}
    for t in range(max(counts) + 1):
        if t in counts:
            figures.append(similarity(model, phi, task.meta))
        loss = loss_of(model, phi, task.train[0], 0, training._VALIDATION, number, t)
        gradients = torch.autograd.grad(loss, list(phi.values()))
        phi = {k: (p - RATE * g).detach().requires_grad_() for (k, p), g in zip(phi.items(), gradients, strict=True)}
    return figures


def validate(model, learner, tasks, world):
    return training.validate_tasks(model, learner, tasks, steps=(0, 2), batch=1, clip=math.inf, world=world)


def test_validation_equals_a_plain_loop_whichever_process_has_which_task(model, learner, tasks):
    figures = [written_out(model, learner.theta, task, number, (0, 2)) for number, task in enumerate(tasks)]
    before, after = (sum(column) / len(tasks) for column in zip(*figures, strict=True))
    whole = validate(model, learner, tasks, World())
    assert whole["J@0"] == pytest.approx(before) and whole["J@2"] == pytest.approx(after) == whole["score"]
    assert before > 0.2 and before != after

    class Second(World):
        """Adds what the first process had."""

        def all_reduce(self, tensor):
            return tensor.add_(parts[0])

    class First(World):
        def all_reduce(self, tensor):
            parts.append(tensor.clone())
            return tensor

    parts = []
    validate(model, learner, tasks, First(0, 2))
    split = validate(model, learner, tasks, Second(1, 2))
    assert split == {key: pytest.approx(value, abs=1e-12) for key, value in whole.items()}


def test_validation_on_pictures_is_the_mean_loss_whichever_process_has_which(model, learner, tasks):
    pictures = [task.meta for task in tasks[:2]]
    model.mask_loss = "cross_entropy"
    with torch.no_grad():
        losses = [float(loss_of(model, learner.theta, p, 0, training._VALIDATION, n)) for n, p in enumerate(pictures)]
    model.mask_loss = "lovasz"  # as a step of training may leave it
    whole = training.validate_images(model, learner, pictures, world=World())
    mean = pytest.approx(sum(losses) / 2, rel=1e-6)
    assert whole["validation_loss"] == mean and whole["score"] == -whole["validation_loss"]


def test_the_search_takes_the_best_rate_and_mask_loss(learner, tasks):
    """Judged on the pictures that it fine-tunes on, a sensible rate is better than none, and than an absurd one: of one
    picture alone the last bits, which differ from processor to processor, decide."""
    seen = [replace(task, train=(task.meta,)) for task in tasks]
    network = mask_rcnn.build("tiny", short=64, long=112)
    rates, losses = (0.0, RATE, 50.0), ("cross_entropy", "lovasz")
    best, figures = training.search_rate(
        network, learner.theta, rates, losses, seen, steps=8, batch=1, clip=math.inf, spec={"a": 1}, world=World()
    )
    assert list(figures) == [f"{loss} {rate:g}" for loss in losses for rate in rates]
    for loss in losses:
        assert figures[f"{loss} {RATE:g}"] > max(figures[f"{loss} 0"], figures[f"{loss} 50"])
    assert best.level == "single" and best.spec["a"] == 1
    assert [float(r) for r in best.distinct_rates()] == [pytest.approx(RATE)]
    assert f"{best.spec['model']['mask_loss']} {RATE:g}" == max(figures, key=lambda key: figures[key])
    assert all(torch.equal(best.theta[name], p) for name, p in learner.theta.items())


def test_the_unrolled_meta_gradient_equals_the_closed_form(model, learner, tasks):
    """Not to the last bit: autograd computes group norm otherwise when its gradients may be differentiated again."""
    item = ((3, 1), tasks[0])
    settings = {"seed": 4, "steps": 2, "clip": 10.0}
    closed = training.meta_gradients(model, **settings)(learner, item)
    unrolled = training.meta_gradients(model, unrolled=True, **settings)(learner, item)
    assert closed.finite and unrolled.finite and closed.loss == pytest.approx(unrolled.loss, rel=1e-4)
    assert closed.losses == pytest.approx(unrolled.losses, rel=1e-4)
    for a, b in ((closed.theta, unrolled.theta), (closed.rates, unrolled.rates)):
        ours, theirs = (torch.cat([g.flatten() for g in part.values()]) for part in (a, b))
        assert float((ours - theirs).norm()) <= 1e-4 * float(theirs.norm()) > 0
    other = training.meta_gradients(model, **settings)(learner, ((3, 2), tasks[0]))
    assert other.loss != closed.loss  # the draws of the loss are named by iteration and index


def test_order_and_weights_of_the_steps_follow_the_iteration(model, learner, tasks):
    def found(iteration, **settings):
        gradient = training.meta_gradients(model, seed=4, steps=2, clip=10.0, **settings)
        return gradient(learner, ((iteration, 1), tasks[0]))

    def same(a, b):
        parts = [
            *zip(a.theta.values(), b.theta.values(), strict=True),
            *zip(a.rates.values(), b.rates.values(), strict=True),
        ]
        return a.loss == b.loss and a.terms == b.terms and all(torch.equal(x, y) for x, y in parts)

    second = {"order": 2, "order_warm_up": 4}
    assert same(found(3, **second), found(3)) and same(found(4, **second), found(4, order=2))
    assert not same(found(4, **second), found(4))
    annealed = {"multi_step_iterations": 4}
    assert same(found(0, **annealed), found(0, step_weights=[0.5, 0.5]))
    assert same(found(2, order=2, **annealed), found(2, order=2, step_weights=[0.25, 0.75]))
    assert same(found(4, **annealed), found(4)) and not same(found(3, **annealed), found(3))
    # What is logged is the last step's loss and its parts, whatever the weights.
    several = found(0, step_weights=[3.0, 0.5], window=1)
    assert several.loss == found(0).loss == pytest.approx(sum(several.terms.values()), rel=1e-6)


def test_the_ordinary_gradient_is_that_of_the_loss_and_none_for_the_rates(model, learner, tasks):
    phi = {name: p.clone().requires_grad_() for name, p in learner.theta.items()}
    loss = loss_of(model, phi, tasks[1].meta, 4, training._ORDINARY, 3, 1)
    gradients = torch.autograd.grad(loss, list(phi.values()))
    found = training.ordinary_gradients(model, seed=4)(learner, ((3, 1), tasks[1].meta))
    assert found.finite and found.losses == [] and found.loss == pytest.approx(float(loss.detach()), rel=1e-6)
    for name, g in zip(phi, gradients, strict=True):
        assert torch.allclose(found.theta[name], g, rtol=1e-4, atol=1e-6)
        assert found.rates[name].shape == () and not found.rates[name].any()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU: nothing to compare the CPU with")
def test_validation_and_gradients_on_a_gpu_are_near_those_on_the_cpu(learner, tasks):
    model = mask_rcnn.build("tiny", short=64, long=112).to("cuda")
    there = learner.to("cuda")
    picture = tasks[0].meta
    here = training.image_jaccard(model.cpu(), learner.theta, picture)
    assert training.image_jaccard(model.cuda(), there.theta, picture) == pytest.approx(here, abs=0.05)
    result = training.meta_gradients(model, seed=4, steps=2, clip=10.0)(there, ((3, 1), tasks[0]))
    assert result.finite and all(g.device.type == "cuda" for g in (result.theta | result.rates).values())
    assert set(validate(model, there, tasks, World())) == {"J@0", "J@2", "loss@0", "loss@2", "score"}


def test_the_best_of_a_search_is_the_first_of_the_highest_and_no_nan():
    values = [math.nan, 0.1, 0.3, 0.3, math.nan, 0.2]
    best, figures = rate_search.best_of(((f"{k % 5}", k) for k in range(6)), lambda k: values[k])
    assert best == 2 and figures["2"] == 0.3 and figures["0"] == 0.2  # the last of two of one name
    assert rate_search.best_of([("a", 0)], lambda k: math.nan)[0] == 0
