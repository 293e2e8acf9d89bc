"""Masks, learners and gradients are the same whatever torch state the caller has set for its own work."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager

import numpy as np
import pytest
import torch

from eosvos.inference.segmenter import Segmenter
from eosvos.meta.adapt import adapt, meta_gradient
from eosvos.meta.learner import LEARNERS, Learner
from eosvos.meta.second_order import second_order_meta_gradient
from eosvos.methods.baselines import CopyFirst, Flow
from eosvos.methods.eosvos.method import EOSVOS
from eosvos.methods.eosvos.settings import Online
from eosvos.methods.osmn.method import OSMN
from eosvos.methods.osvos.method import OSVOS
from eosvos.torch_state import own_state

METHODS = {
    "eosvos": lambda: EOSVOS(Learner.shipped(), iters=1, ona=True, online=Online(every=2, steps=2)),
    "osvos": lambda: OSVOS(Learner.load(LEARNERS / "osvos.safetensors"), iters=1),
    "osmn": lambda: OSMN(Learner.load(LEARNERS / "osmn.safetensors"), iters=1),
    "flow": Flow,
    "copy_first": CopyFirst,
}


@contextmanager
def set_to(setter, value, before):
    setter(value)
    try:
        yield
    finally:
        setter(before)


def dtype(value):
    return set_to(torch.set_default_dtype, value, torch.float32)


STATES = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "float64": lambda: dtype(torch.float64),
    "bfloat16": lambda: dtype(torch.bfloat16),
    "device": lambda: set_to(torch.set_default_device, "meta", None),
    "with device": lambda: torch.device("meta"),
    "deterministic": lambda: set_to(torch.use_deterministic_algorithms, True, False),
    "anomaly": lambda: torch.autograd.set_detect_anomaly(True),
    "numpy": lambda: np.errstate(all="raise"),
}


@contextmanager
def everything():
    with ExitStack() as stack:
        for state in STATES.values():
            stack.enter_context(state())
        yield


def walked(make, path, state):
    """The id masks and last probabilities of all that a Segmenter can do."""
    frames = np.random.default_rng(0).integers(60, 160, (4, 40, 64, 3), np.uint8)
    for index, frame in enumerate(frames):
        frame[5:20, 5 + 3 * index : 25 + 3 * index] = (250, 220, 30)
    first, second = np.zeros((40, 64), np.uint8), np.zeros((40, 64), bool)
    first[5:20, 5:25], second[25:38, 40:60] = 1, True
    with state():
        segmenter = Segmenter(make())
        told = [segmenter.start(torch.from_numpy(frames[0].transpose(2, 0, 1)) + 0, {3: torch.from_numpy(first) + 0})]
        told.append(segmenter.step(frames[1].astype(np.float64) / 255))
        told.append(segmenter.add(frames[1], {1: second}))
        told.append(segmenter.correct(frames[1], {3: np.roll(first, 3, 1)}))
        segmenter.save(path)
        segmenter = Segmenter.load(path)
        told += [segmenter.step(frame) for frame in frames[2:]]
        if hasattr(segmenter.method, "learn"):
            segmenter.learn(frames[0], {3: first})
        segmenter.remove(1)
        told.append(segmenter.step(frames[3]))
    assert segmenter.probabilities.dtype == torch.float32 and not segmenter.probabilities.is_inference()
    return told, segmenter.probabilities


@pytest.mark.parametrize("name", METHODS)
def test_every_method_gives_the_same_masks_in_any_state(name, tmp_path):
    ids, probabilities = walked(METHODS[name], tmp_path / "state", ExitStack)
    assert any((one == 3).any() for one in ids)
    found, now = walked(METHODS[name], tmp_path / "state", everything)
    assert all(map(np.array_equal, found, ids)) and torch.equal(now, probabilities)


def test_the_callers_state_is_as_it_was():
    def state():
        return (
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.is_autocast_enabled("cpu"),
            torch.get_default_dtype(),
            torch.get_default_device(),
            np.geterr(),
        )

    with everything():
        before = state()
        with pytest.raises(KeyError), own_state():
            assert state() == (True, False, False, before[3], torch.device("cpu"), {**before[5], **_NUMPY})
            raise KeyError
        assert state() == before


_NUMPY = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}


def test_gradients_are_the_same_within_no_grad_and_of_tensors_made_in_inference_mode():
    def gradients(compute, state, detached=False):
        with state():
            theta = {"w": torch.tensor([1.0, -2.0], dtype=torch.float32, device="cpu")}
            rates = {"w": torch.tensor(0.1, dtype=torch.float32, device="cpu")}
            losses = [lambda phi: ((phi["w"].detach() if detached else phi["w"]) ** 3).sum()] * 3
            found = compute(theta, rates, losses, lambda phi: (phi["w"] ** 2).sum())
            return found.theta["w"], found.rates["w"], found.losses

    for compute in (meta_gradient, second_order_meta_gradient):
        expected = gradients(compute, ExitStack)
        for state in STATES.values():
            found = gradients(compute, state)
            assert torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[1]) and found[2] == expected[2]
        with pytest.raises(RuntimeError, match="loss of -7 depends on none of the parameters"):
            gradients(compute, ExitStack, detached=True)


def test_a_loss_without_a_gradient_is_an_error_unless_it_is_none():
    theta, rates = {"w": torch.ones(2)}, {"w": torch.tensor(0.1)}

    @torch.no_grad()
    def hidden(phi):
        return (phi["w"] ** 2).sum()

    with pytest.raises(RuntimeError, match="neither within torch.no_grad"):
        adapt(theta, rates, [hidden])
    nothing = adapt(theta, rates, [lambda phi: torch.zeros(())])  # a batch that shows nothing
    assert nothing.finite and torch.equal(nothing.phi["w"].detach(), theta["w"])
