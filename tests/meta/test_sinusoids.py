"""The example without video: a meta-learned start fits unseen tasks as no start does that has learned nothing."""

import importlib.util
from pathlib import Path

import torch
from PIL import Image

from eosvos.meta.learner import Learner

PATH = Path(__file__).resolve().parents[2] / "examples" / "sinusoids.py"


def test_few_steps_fit_an_unseen_sinusoid_only_after_meta_learning(tmp_path):
    spec = importlib.util.spec_from_file_location("sinusoids", PATH)
    assert spec is not None and spec.loader is not None
    state = torch.random.get_rng_state()
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    torch.random.set_rng_state(state)
    unseen = example.UNSEEN[:25]
    learned = example.meta_learn(250)
    fitted = example.error(learned, numbers=unseen)
    # Neither other rates nor ten times the steps bring a start there that has learned nothing.
    tries = ((0.001, 5), (0.01, 5), (0.03, 5), (0.01, 50))
    plain = [example.error(Learner.create(example.network, rate), steps, unseen) for rate, steps in tries]
    assert fitted < 1.0 < 0.35 * min(plain)
    assert fitted < 0.5 * example.error(learned, 0, unseen)  # it is the steps that fit, not the start
    rates = torch.cat([rate.flatten() for rate in learned.rates.values()])
    assert float(rates.std()) > 0.1 * float(rates.mean()) > 0  # learned, neuron by neuron
    example.draw({"learned": learned}, tmp_path / "x.png", steps=(1,))
    with Image.open(tmp_path / "x.png") as image:
        assert image.size == (800, 320)
