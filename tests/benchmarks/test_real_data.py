"""The script that makes the paper's Table 1 at our scale: its commands fit the configuration, its table the results."""

from __future__ import annotations

import csv
import importlib.util
import json
import sys
from pathlib import Path

import hydra
import pytest
from omegaconf import OmegaConf

from eosvos.cli import hydra_app, validate
from eosvos.evaluation.metrics.sequence_scores import SequenceResult
from eosvos.evaluation.results import load

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "real_data.py"


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("real_data", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_run(folder: Path, iters: int, ona: bool, j: float, f: float) -> None:
    scored = ["00001", "00002", "00003", "00004"]
    result = SequenceResult("hike", 6, 3.0, 1.0, 100.0, None, scored, {1: [j] * 4}, {1: [f] * 4})
    (folder / "per_sequence").mkdir(parents=True)
    (folder / "per_sequence" / "hike.json").write_text(json.dumps(result.to_json()))
    run = {"fingerprint": {"iters": iters, "ona": ona}, "seed": 0, "sequences": ["hike"]}
    (folder / "run.json").write_text(json.dumps(run))
    load(folder).write()


def test_every_command_fits_the_configuration(script, tmp_path, monkeypatch, capsys):
    (tmp_path / "parent/training").mkdir(parents=True)
    (tmp_path / "parent/training/learner.safetensors").touch()  # by then ordinary training has written it
    commands: list[list[str]] = []
    monkeypatch.setattr(script, "run", commands.append)
    arguments = ["--data-root", "/data", "--out", str(tmp_path), "--iterations", "500", "--processes", "2"]
    monkeypatch.setattr(
        sys, "argv", ["real_data.py", *arguments, "--train", "model.fpn=32", "meta.steps=3", "search.tasks=5"]
    )
    assert script.main() == 0
    assert len(commands) == 6 + 7
    trained = {}
    for words in commands:
        place = next(k for k, word in enumerate(words) if word.startswith("eosvos."))
        short, overrides = words[place].removeprefix("eosvos."), words[place + 1 :]
        hydra_app.register()
        with hydra.initialize_config_dir(version_base="1.3", config_dir=str(hydra_app.config_dir())):
            plain = [word for word in overrides if not word.startswith(("iters=", "ona=", "learner="))]
            composed = OmegaConf.to_object(
                hydra.compose(short, overrides=[*plain, *["device=cpu"] * (short != "eval")])
            )
        validate.check(composed)
        if short == "eval":
            assert "iters=0,1,5,10,50,100" in overrides and "ona=false,true" in overrides
            assert len(composed.sequences) == 6 and composed.data_root == "/data"
        else:
            assert composed.resume and composed.taskset.file == "real-small" and composed.model.fpn == 32
            trained[Path(composed.out).name] = composed
    assert trained["parent"].parent.iterations == trained["parent"].parent.mask_warm_up == 800
    levels = {name: trained[name].meta.level for name in ("single", "tensor", "neuron", "cross_entropy")}
    assert levels == {"single": "single", "tensor": "tensor", "neuron": "neuron", "cross_entropy": "neuron"}
    assert trained["cross_entropy"].model.mask_loss == "cross_entropy" and trained["neuron"].model.mask_loss is None
    assert all((trained[name].meta.iterations, trained[name].meta.steps) == (500, 3) for name in levels)
    assert trained["parent"].search.tasks == 5
    assert trained["from_parent"].init == str(tmp_path / "parent/training/learner.safetensors")
    assert [words[-1] for words in commands].count("propagation.boxes=0") == 1


def test_the_table_holds_what_was_measured(script, tmp_path):
    write_run(tmp_path / "eval/parent/iters=10,ona=False", 10, False, 0.3, 0.2)
    write_run(tmp_path / "eval/single/iters=10,ona=False", 10, False, 0.6, 0.4)
    write_run(tmp_path / "eval/single/iters=1,ona=True", 1, True, 0.5, 0.5)
    (tmp_path / "eval/neuron/iters=10,ona=False").mkdir(parents=True)  # just begun
    write_run(tmp_path / "eval/neuron/iters=1,ona=False", 1, False, 0.9, 0.9)
    (tmp_path / "eval/neuron/iters=1,ona=False/global.csv").unlink()  # some sequences finished
    script.tabulate(tmp_path)
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert lines[0] == "| J&F (J, F) | T=1 | T=10 |"
    assert "| ordinary training, best single rate |  | 0.250 (0.300, 0.200) |" in lines
    assert "| meta-learned, a single rate + OnA | 0.500 (0.500, 0.500) |  |" in lines
    assert "| meta-learning the initialization and a single rate | +25.0 | +30.8 |" in lines
    assert "| rates per neuron |  | +2.8 |" in lines
    with (tmp_path / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["run"], row["online"], row["T"]) for row in rows] == [
        ("parent", "False", "10"),
        ("single", "False", "10"),
        ("single", "True", "1"),
    ]
