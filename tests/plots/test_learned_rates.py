"""Plots of learning rates: per layer by independent formulas, and over a training as its log tells."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from eosvos import plot
from eosvos.errors import UserError
from eosvos.meta.learner import Learner
from eosvos.plots import learned_rates


def test_rates_are_grouped_by_layer_in_the_order_of_their_numbers():
    rates = {
        "a.10.weight": np.ones((3, 1)),
        "a.2.bias": np.zeros(2),
        "a.2.weight": np.full((2, 1, 1, 1), 4.0),
        "top": np.ones(()),
    }
    layers = learned_rates.per_layer(rates)
    assert list(layers) == ["a.2", "a.10", ""]
    assert layers["a.2"]["weight"].tolist() == [4, 4] and layers["a.2"]["bias"].tolist() == [0, 0]


@pytest.fixture
def trained(tmp_path):
    """The folder of a training of a small network."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    learner = Learner.create(module, 0.1)
    learner.rates["2.weight"] = torch.linspace(0, 1, 2)[:, None]
    (tmp_path / "run").mkdir()
    learner.save(tmp_path / "run" / "last.safetensors")
    lines = [{"iteration": k, "loss": 1.0 / (k + 1), "rate_mean": 0.1, "rate/0.weight": 0.1 + k} for k in (0, 5, 9)]
    (tmp_path / "run" / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path / "run"


def test_a_learner_and_its_training_are_drawn(trained, capsys):
    assert plot.main([f"learners=['{trained}']", "format=pdf"]) == 0
    written = capsys.readouterr().out.splitlines()
    assert written == [f"{trained}/plots/{name}.pdf" for name in ("rates", "rates_training", "training")]
    assert all(Path(path).read_bytes()[:5] == b"%PDF-" for path in written)
    assert plot.main([f"learners=['{trained}/last.safetensors',tiny]"]) == 2  # the package's folder is not written into
    assert "out=plots" in capsys.readouterr().err
    for name in ("nothing", "tiny.pt"):
        assert plot.main([f"learners=[{name}]", f"out={trained}/p"]) == 2
        assert f"learners={name}: no" in capsys.readouterr().err


def test_dots_are_means_and_lines_percentiles(trained, tmp_path, monkeypatch):
    from eosvos.plots import style

    kept, plain = [], style.subplots
    monkeypatch.setattr(style, "subplots", lambda *a, **k: kept.append(plain(*a, **k)) or kept[-1])
    read = learned_rates.read_rates(str(trained))
    learned_rates.draw_rates(read.rates, "x", tmp_path / "rates.png")
    axis = kept[-1][1][0, 0]
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["0", "2"]
    spans = [line.get_ydata() for line in axis.lines if len(line.get_xdata()) == 2]
    assert np.percentile([0.0, 1.0], [5, 95]) in np.array(spans)
    dots = {
        (round(float(x), 1), round(float(y), 6))
        for line in axis.lines
        if len(line.get_xdata()) == 1
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    }
    assert dots == {(0.0, 0.1), (0.3, 0.1), (1.0, 0.5), (1.3, 0.1)}
    assert read.log is not None
    learned_rates.draw_training(read.log, tmp_path / "training.png")
    lines = {line.get_label(): line.get_ydata() for line in kept[-1][1][0, 0].lines}
    assert set(lines) == {"all", "0.weight"} and lines["0.weight"].tolist() == [0.1, 5.1, 9.1]
    (tmp_path / "log").write_text('{"iteration": 1, "loss": 2}\n')
    with pytest.raises(UserError, match="tells of no learning rates"):
        learned_rates.draw_training(tmp_path / "log", tmp_path / "no.png")
