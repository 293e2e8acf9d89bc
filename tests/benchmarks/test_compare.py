"""The script that compares the methods: its commands fit the configuration, its table and plot the results."""

from __future__ import annotations

import csv
import importlib.util
import json
import sys
from pathlib import Path

import hydra
import pytest
from omegaconf import OmegaConf

from eosvos import plot
from eosvos.cli import hydra_app, validate
from eosvos.evaluation.metrics.sequence_scores import SequenceResult
from eosvos.evaluation.results import load

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "compare.py"


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("compare_methods", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def commands(script, monkeypatch):
    """What the script would run."""
    found: list[list[str]] = []
    monkeypatch.setattr(script, "run", found.append)
    return found


def composed(words):
    """The configuration of a command, with what a sweep goes through left out."""
    place = next(k for k, word in enumerate(words) if word.startswith("eosvos."))
    swept = ("method=", "iters=", "learner=")
    plain = [word for word in words[place + 1 :] if not (words[place] == "eosvos.eval" and word.startswith(swept))]
    hydra_app.register()
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(hydra_app.config_dir())):
        found = hydra.compose(words[place].removeprefix("eosvos."), overrides=plain)
        if words[place] == "eosvos.eval":
            found.learner = None
        return OmegaConf.to_object(found)


def test_all_train_on_the_same_for_the_same_time(script, commands, tmp_path, monkeypatch):
    arguments = ["--seconds", "600", "--out", str(tmp_path), "--data-root", "/data", "--seed", "3"]
    monkeypatch.setattr(sys, "argv", ["compare.py", *arguments, "--train", "search.tasks=5", "taskset.reuse=8"])
    assert script.main() == 0
    kinds = [next(word for word in words if word.startswith("eosvos.")) for words in commands]
    assert kinds == ["eosvos.meta_train", "eosvos.osvos_train", "eosvos.osmn_train", *["eosvos.eval"] * 4]
    trainings = [composed(words) for words in commands[:3]]
    for settings in trainings:
        validate.check(settings)
    sections = [trainings[0].meta, trainings[1].parent, trainings[2].outer]
    assert {(s.seconds, s.clock, s.tasks) for s in sections} == {(600, "processor", 4)}
    assert len({str(t.taskset) for t in trainings}) == 1 and trainings[0].taskset.reuse == 8
    assert {(t.model.short, t.model.long, t.seed, t.threads, t.resume) for t in trainings} == {(128, 224, 3, 1, True)}
    assert [t.search.tasks for t in trainings[1:]] == [5, 5]
    assert sections[0].mask_warm_up == 90 and sections[1].deep_supervision == 1500
    tested = [composed(words) for words in commands[3:7]]
    assert all((t.dataset.name, t.split, t.data_root, t.seed) == ("davis16", "train", "/data", 3) for t in tested)
    assert [words[words.index("experiment=compare") + 1] for words in commands[3:7]] == [
        "method=eosvos",
        "method=osvos",
        "method=osmn",
        "method=copy_first,flow",
    ]
    assert all("iters=0,10,50" in words for words in commands[3:6]) and "iters=0" in commands[6]


def test_without_data_the_synthetic_videos_are_the_test(script, commands, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["compare.py", "--seconds", "60", "--out", str(tmp_path), "--only", "osmn"])
    assert script.main() == 0 and len(commands) == 3
    tested = composed(commands[1])
    assert (tested.dataset.name, tested.split) == ("synthetic", "test")


def write_run(folder: Path, fingerprint, j: float, seconds: float) -> None:
    scored = ["00001", "00002", "00003", "00004"]
    result = SequenceResult("hike", 6, seconds, seconds / 2, 100.0, None, scored, {1: [j] * 4}, {1: [j / 2] * 4})
    (folder / "per_sequence").mkdir(parents=True)
    (folder / "per_sequence" / "hike.json").write_text(json.dumps(result.to_json()))
    (folder / "run.json").write_text(json.dumps({"fingerprint": fingerprint, "seed": 0, "sequences": ["hike"]}))
    load(folder).write()


def test_the_table_and_the_plot_hold_what_was_measured(script, commands, tmp_path):
    write_run(tmp_path / "eval/iters=50,method=osvos", {"method": "osvos", "iters": 50}, 0.6, 3.0)
    write_run(tmp_path / "eval/iters=0,method=osvos", {"method": "osvos", "iters": 0}, 0.3, 1.0)
    write_run(tmp_path / "eval/iters=0,method=flow", {"method": "flow"}, 0.4, 0.5)
    (tmp_path / "eval/iters=0,method=osmn").mkdir(parents=True)  # just begun
    script.draw(script.tabulate(tmp_path), tmp_path)
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert lines[2] == "| mask warped along optical flow |  | 0.300 | 0.400 | 0.200 | 12.0 | 24.0 | 0.083 |"
    assert lines[4] == "| OSVOS | 50 | 0.450 | 0.600 | 0.300 | 2.0 | 4.0 | 0.500 |"
    with (tmp_path / "table.csv").open() as file:
        assert [(row["method"], row["T"]) for row in csv.DictReader(file)] == [
            ("flow", "0"),
            ("osvos", "0"),
            ("osvos", "50"),
        ]
    words = commands[-1][commands[-1].index("eosvos.plot") + 1 :]
    assert plot.main(words) == 0  # T=0 of OSVOS stands in the table alone
    assert json.loads((tmp_path / "plots/plots.json").read_text())["runs"] == [
        str(tmp_path / "eval" / name) for name in ("iters=0,method=flow", "iters=50,method=osvos")
    ]
    assert (tmp_path / "plots/speed.png").exists()
