"""The script of e-OSVOS's Table 1: its commands fit the configuration, its table the results."""

from __future__ import annotations

import csv
import importlib.util
import json
import sys
from pathlib import Path

import hydra
import numpy as np
import pytest
from omegaconf import OmegaConf

from eosvos.cli import find_learner, hydra_app, validate
from eosvos.cli.overrides import literal, text_settings
from eosvos.evaluation.metrics.sequence_scores import SequenceResult
from eosvos.evaluation.results import load
from eosvos.models.mask_rcnn import SIZES

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "table1.py"


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("table1", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["table1"] = module  # where its dataclass looks for its types
    spec.loader.exec_module(module)
    return module


def composed(words: list[str]):
    place = max(k for k, word in enumerate(words) if word.startswith("eosvos."))  # perhaps after eosvos.cli.launch
    short, overrides = words[place].removeprefix("eosvos."), words[place + 1 :]
    hydra_app.register()
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(hydra_app.config_dir())):
        plain = [word for word in overrides if word != "-m" and not word.startswith(("iters=", "learner=", "init=/"))]
        plain = literal(plain, text_settings(short))
        config = OmegaConf.to_object(hydra.compose(short, overrides=[*plain, "device=cpu"]))
    validate.check(config)
    return short, overrides, config


@pytest.mark.parametrize("scale", ["paper", "small", "real"])
def test_every_command_fits_the_configuration(scale, script, tmp_path, monkeypatch):
    commands: list[list[str]] = []
    monkeypatch.setattr(script, "run", commands.append)
    arguments = ["--out", str(tmp_path), "--seeds", "4", "--seconds", "60", "--processes", "2"]
    arguments += [] if scale == "paper" else [f"--{scale}"]
    arguments += [] if scale == "small" else ["--data-root", "/data", "--init", "/data/first.safetensors"]
    monkeypatch.setattr(sys, "argv", ["table1.py", *arguments, "--train", "meta.tasks=2", "search.tasks=5"])
    assert script.main() == 0
    trained, tested = {}, []
    for words in commands:
        short, overrides, config = composed(words)
        assert config.seed == 4
        if short == "eval":
            tested.append((config, next(word for word in overrides if word.startswith("iters="))))
        else:
            assert config.resume and ("init=/data/first.safetensors" in overrides) == (scale != "small")
            spec = SIZES[config.model.size].__class__(
                **{**vars(SIZES[config.model.size]), **find_learner.model_settings(config.model)}
            )
            trained[Path(config.out).name] = (config, spec)
    assert {name: spec.mask_loss.split("_")[0] for name, (_, spec) in trained.items()} == {
        "parent": "cross",
        "single": "cross",
        "neuron": "cross",
        "lovasz": "lovasz",
    }
    levels = {name: config.meta.level for name, (config, _) in trained.items() if name != "parent"}
    assert levels == {"single": "single", "neuron": "neuron", "lovasz": "neuron"}
    norms = {name: spec.norm for name, (_, spec) in trained.items()}
    if scale == "paper":  # group norm comes with Lovász
        assert norms == dict.fromkeys(("parent", "single", "neuron"), "frozen_batch") | {"lovasz": "group"}
    else:
        assert len(set(norms.values())) == 1
    assert trained["single"][0].meta.tasks == 2 and trained["parent"][0].search.tasks == 5
    assert trained["parent"][0].parent.seconds == trained["neuron"][0].meta.seconds == 60
    for config, _ in tested:
        assert not config.fine_tuning.spatial and config.fine_tuning.average == 0 and config.snapping.band == 0
        assert config.propagation.continuity == config.propagation.voting == 0
    assert [(c.propagation.boxes > 0, c.ona, steps) for c, steps in tested] == [
        (False, False, "iters=10,50,100,1000"),
        (False, False, "iters=10"),
        (False, False, "iters=10"),
        (False, False, "iters=10"),
        (True, False, "iters=10,50,100"),
        (True, True, "iters=10,50,100"),
    ]


def write_run(folder: Path, iters: int, j: list[float]) -> None:
    scored = ["00001", "00002", "00003", "00004"]
    scores = {k: [value] * 4 for k, value in enumerate(j, 1)}
    result = SequenceResult("hike", 6, 3.0, 1.0, 100.0, None, scored, scores, scores)
    (folder / "per_sequence").mkdir(parents=True)
    (folder / "per_sequence" / "hike.json").write_text(json.dumps(result.to_json()))
    run = {"fingerprint": {"iters": iters}, "seed": 0, "sequences": ["hike"]}
    (folder / "run.json").write_text(json.dumps(run))
    load(folder).write()


def test_the_table_holds_what_was_measured(script, tmp_path):
    write_run(tmp_path / "seed-0/eval/parent/iters=10", 10, [0.25, 0.35])
    write_run(tmp_path / "seed-0/eval/single/iters=10", 10, [0.5, 0.5])
    write_run(tmp_path / "seed-1/eval/single/iters=10", 10, [0.6, 0.6])
    write_run(tmp_path / "seed-0/eval/online/iters=50", 50, [0.9, 0.9])
    (tmp_path / "seed-0/eval/neuron/iters=10").mkdir(parents=True)  # just begun
    script.tabulate(tmp_path, [0, 1])
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert "| Mask R-CNN + parent training + single LR search | 10 | 30.0 |  | 33.6 |  |" in lines
    # Paired: seed 1 has no parent. Two pairs, 25 and 15 apart.
    single = next(line for line in lines if line.startswith("| Mask R-CNN + learn"))
    assert single.endswith("| 10 | 55.0 | +20.0 (+15.0 to +25.0) | 64.4 | +30.8 |")
    assert "| + online adaptation (e-OSVOS-OnA) | 50 | 90.0 |  | 73.7 |  |" in lines
    with (tmp_path / "table.csv").open() as file:
        rows = [(row["row"], row["T"], row["seed"]) for row in csv.DictReader(file)]
    assert rows == [("parent", "10", "0"), ("single", "10", "0"), ("single", "10", "1"), ("online", "50", "0")]


def test_the_interval_is_that_of_the_mean(script):
    """Against the normal one, of many pairs."""
    draws = np.random.default_rng(3)
    below = {str(k): value for k, value in enumerate(draws.normal(50, 10, 400))}
    here = {key: value + d for (key, value), d in zip(below.items(), draws.normal(2, 4, 400), strict=True)}
    mean, low, high = (
        float(x) for x in script.interval(here, below).replace("(", "").replace(")", "").split()[:4:1] if x != "to"
    )
    error = 1.96 * np.std([here[key] - below[key] for key in below]) / 20
    assert abs(high - low - 2 * error) < 0.1 and abs((low + high) / 2 - mean) < 0.1
