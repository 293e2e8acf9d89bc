"""OSVOS on a moving square: fine-tuning, its budget, frames apart, refinement. The network is very small and untrained.
What all methods do alike is in test_protocol.py."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest
import torch

from eosvos.data.tasks import Sample
from eosvos.meta.learner import Learner
from eosvos.methods.osvos import method as module
from eosvos.methods.osvos.loss import loss_of
from eosvos.methods.osvos.method import OSVOS, Tuning
from eosvos.models.osvos import build

HEIGHT, WIDTH, RATE = 40, 72, 3e-7


@pytest.fixture(scope="module")
def learner():
    torch.manual_seed(0)
    model = build("tiny", widths=(4, 6, 8, 8, 8), groups=0, path=4, short=32, long=64)
    return Learner.create(model, RATE, "single", {"network": "osvos", "model": model.spec})


def clip(length=6):
    """A bright square (id 3) and a dark one (id 7) on noise, moving right and down."""
    draws = torch.Generator().manual_seed(0)
    back = torch.rand(3, HEIGHT, WIDTH, generator=draws) * 0.3 + 0.3
    frames, masks = [], []
    for t in range(length):
        frame, ids = back.clone(), np.zeros((HEIGHT, WIDTH), np.uint8)
        frame[:, 8:22, 6 + 2 * t : 24 + 2 * t] = torch.tensor([1.0, 0.9, 0.1])[:, None, None]
        ids[8:22, 6 + 2 * t : 24 + 2 * t] = 3
        frame[:, 22 + t : 34 + t, 46:64] = 0.0
        ids[22 + t : 34 + t, 46:64] = 7
        frames.append(frame)
        masks.append(ids)
    return frames, masks


def given(ids, *wanted):
    return {i: ids == i for i in wanted}


def run(learner, frames, first, **settings):
    method = OSVOS(learner, **{"iters": 2, "seed": 5, **settings})
    return [method.start(frames[0], first)] + [method.step(f) for f in frames[1:]], method


def j(found, truth):
    return (found & truth).sum() / (found | truth).sum()


def test_fine_tuning_finds_the_object_in_other_frames_and_both_objects_apart(learner):
    frames, masks = clip(4)
    out, _ = run(learner, frames, given(masks[0], 3, 7), iters=30)
    assert j(out[3] == 3, masks[3] == 3) > 0.6 and j(out[3] == 7, masks[3] == 7) > 0.6


def test_without_steps_it_is_the_parent(learner):
    """-OS of Table 1: T=0, whatever the budget of seconds."""
    frames, masks = clip(2)
    for tuning in (Tuning(), Tuning(seconds=5)):
        _, method = run(learner, frames, given(masks[0], 3), iters=0, tuning=tuning)
        assert all(torch.equal(p, learner.theta[name]) for name, p in method.parameters_in_use[3].items())
    _, tuned = run(learner, frames, given(masks[0], 3), iters=1)
    assert any(not torch.equal(p, learner.theta[name]) for name, p in tuned.parameters_in_use[3].items())


def test_frames_do_not_depend_on_one_another(learner):
    frames, masks = clip(5)
    out, method = run(learner, frames, given(masks[0], 3, 7))
    backwards = [method.step(frame) for frame in frames[:0:-1]]
    assert all(np.array_equal(a, b) for a, b in zip(out[1:], backwards[::-1], strict=True))


def test_a_budget_of_seconds_is_kept_for_each_given_frame(learner, monkeypatch):
    """The paper's trade-off: here a step takes a second."""
    frames, masks = clip(2)
    ticks = count()
    monkeypatch.setattr(module.time, "perf_counter", lambda: float(next(ticks)))
    steps = []
    monkeypatch.setattr(module, "loss_of", lambda *a, **k: steps.append(1) or loss_of(*a, **k))
    method = OSVOS(learner, iters=1, tuning=Tuning(seconds=6))
    method.start(frames[0], given(masks[0], 3))
    first = len(steps)
    method.step(frames[1])
    method.correct(frames[1], given(masks[1], 3))
    assert first == 5 and len(steps) == 10


def test_every_step_is_sgd_with_momentum_on_a_mirrored_or_zoomed_copy(learner, monkeypatch):
    """Against torch's optimizer on the same samples."""
    frames, masks = clip(1)
    seen: list[Sample] = []
    monkeypatch.setattr(module, "loss_of", lambda m, sample, **k: seen.append(sample) or loss_of(m, sample, **k))
    _, method = run(learner, frames, given(masks[0], 3), iters=4, tuning=Tuning(clip=None))
    model = build(**learner.spec["model"])
    model.load_state_dict(learner.theta)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9)
    for sample in seen:
        optimizer.zero_grad()
        loss_of(model, sample)(dict(model.named_parameters())).backward()
        optimizer.step()
    assert len({float(sample.image.sum()) for sample in seen}) == 4
    for name, p in model.named_parameters():
        torch.testing.assert_close(method.parameters_in_use[3][name], p.detach(), rtol=1e-4, atol=1e-7)


def test_another_annotation_refines_on_all_given_frames(learner, monkeypatch):
    """The paper's progressive refinement: from the parent, so many steps for each of all given frames, in turn."""
    frames, masks = clip(6)
    for frame in frames[3:]:  # the object turns from yellow to blue
        frame[:, 8:22] = frame[:, 8:22].flip(0)
    method, steps = OSVOS(learner, iters=20), []
    monkeypatch.setattr(module, "loss_of", lambda *a, **k: steps.append(1) or loss_of(*a, **k))
    method.start(frames[0], given(masks[0], 3))
    before = j(method.step(frames[5]) == 3, masks[5] == 3)
    assert len(steps) == 20
    method.correct(frames[4], given(masks[4], 3))
    assert len(steps) == 20 + 40
    assert j(method.step(frames[5]) == 3, masks[5] == 3) > before + 0.2


def test_an_empty_correction_teaches_that_the_object_is_not_here(learner):
    frames, masks = clip(2)
    method = OSVOS(learner, iters=20)
    method.start(frames[0], given(masks[0], 3))
    elsewhere = frames[1].clone()
    elsewhere[:, 8:30] = frames[0][:, 8:30].flip(2)  # what it takes for the object is at another place
    seen = method.step(elsewhere) == 3
    before = float(method.probabilities[0].mean())
    assert not (method.correct(elsewhere, {3: np.zeros((HEIGHT, WIDTH), bool)}) == 3).any()
    method.step(elsewhere)
    assert seen.any() and float(method.probabilities[0].mean()) < 0.5 * before
