"""Meta-learn to fit a sinusoid to ten points in five steps (MAML, Finn et al., ICML 2017, section 5.1): no video.

eosvos.meta knows a network by its parameters and a task by its losses, which are closures of parameters. It learns
where to start and a learning rate for each neuron, in the memory of one step. Run it: python examples/sinusoids.py
"""

import math
import tempfile
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import nn
from torch.func import functional_call

from eosvos.meta.adapt import adapt, meta_gradient
from eosvos.meta.learner import Learner
from eosvos.meta.outer import OuterSettings, train

STEPS, POINTS, TASKS = 5, 10, 8  # tasks for each update
UNSEEN = range(10**9, 10**9 + 100)  # numbers of tasks
torch.manual_seed(0)
network = nn.Sequential(nn.Linear(1, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 1))


def task(number):
    """Draw a sinusoid: x and y of the points to fit, and of points everywhere to judge by."""
    draws = torch.Generator().manual_seed(number)
    amplitude, phase = 0.1 + 4.9 * torch.rand(1, generator=draws), math.pi * torch.rand(1, generator=draws)
    given, everywhere = 10 * torch.rand(POINTS, 1, generator=draws) - 5, torch.linspace(-5, 5, 100)[:, None]
    return [(x, amplitude * torch.sin(x - phase)) for x in (given, everywhere)]


def loss_of(points):
    x, y = points
    return lambda phi: nn.functional.mse_loss(functional_call(network, phi, (x,)), y)


def gradient(learner, number):
    given, everywhere = task(number)
    return meta_gradient(learner.theta, learner.rates, [loss_of(given)] * STEPS, loss_of(everywhere))


def fine_tuned(learner, number, steps):
    return adapt(learner.theta, learner.rates, [loss_of(task(number)[0])] * steps).phi


def error(learner, steps=STEPS, numbers=UNSEEN):
    return sum(loss_of(task(k)[1])(fine_tuned(learner, k, steps)).item() for k in numbers) / len(numbers)


def meta_learn(iterations):
    settings = OuterSettings(
        iterations=iterations,
        tasks=TASKS,
        optimizer="adam",
        beta2=0.999,
        theta_lr=0.01,
        rates_lr=0.003,
        clip=None,
        validate_every=max(1, iterations // 4),
    )
    with tempfile.TemporaryDirectory() as folder:  # of checkpoints: a training can be resumed
        return train(
            Learner.create(network, 0.01),
            lambda first: range(first * TASKS, iterations * TASKS),
            gradient,
            lambda learner: {"score": -error(learner, numbers=range(-50, 0))},  # tasks of its own; the best is kept
            Path(folder),
            settings,
            fingerprint={"tasks": "sinusoids"},
        )


def draw(learners, out, number=UNSEEN[4], steps=(0, 1, 2, 3, 5, 10, 20)):
    figure = Figure(figsize=(8, 3.2), layout="constrained", dpi=100)
    curve, errors = figure.subplots(1, 2)
    (x, y), (everywhere, truth) = task(number)
    curve.plot(everywhere, truth, color="0.7", linewidth=4, label="unseen task")
    curve.plot(x, y, "k.", label="its points")
    for name, learner in learners.items():
        with torch.no_grad():
            fitted = functional_call(network, fine_tuned(learner, number, STEPS), (everywhere,))
        curve.plot(everywhere, fitted, label=f"{name}, {STEPS} steps")
        errors.plot(steps, [error(learner, k) for k in steps], "o-", markersize=3)
    errors.set(xlabel="steps", ylabel=f"squared error, {len(UNSEEN)} unseen tasks", yscale="log")
    figure.legend(*curve.get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=8)
    figure.savefig(out)


if __name__ == "__main__":
    draw({"not meta-learned": Learner.create(network, 0.01), "meta-learned": meta_learn(2000)}, "sinusoids.png")
