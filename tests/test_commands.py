"""The commands from end to end in miniature, and what they say to a user's mistakes."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from group import group
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from eosvos import eval, meta_train, parent_train, progress, refine
from eosvos.cli import build_method, devices, find_learner, hydra_app, launch, schema
from eosvos.data.masks import read_mask
from eosvos.data.synthetic.videos import held_out
from eosvos.evaluation.run_folder import read_run
from eosvos.learners import __main__ as learners
from eosvos.meta.learner import LEARNERS, Learner

ROOT = Path(__file__).resolve().parents[1]
SMALL = ["model.short=64", "model.long=112", "taskset.render=[64,112]", "taskset.length=6", "device=cpu"]
PARENT = [
    *SMALL,
    *"parent.iterations=2 parent.tasks=2 parent.validation_pictures=2 search.rates=[1e-3,1e-2]".split(),
    *"search.steps=1 search.tasks=2".split(),
]
META = [
    *SMALL,
    *"meta.iterations=4 meta.tasks=2 meta.steps=1 meta.validation_tasks=1 meta.save_every=100".split(),
    *"meta.validation_steps=[1] meta.validate_every=3".split(),
]
VIDEO = ["dataset.count=1", "dataset.length=4", "dataset.size=[64,112]", "processes=1", "device=cpu"]
LEARNED = "learner=runs/meta/tiny/learner.safetensors"
MAINS = {"refine": refine.main, "eval": eval.main, "meta_train": meta_train.main, "parent_train": parent_train.main}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder in which both trainings have run, as `make meta-train` runs them."""
    folder = tmp_path_factory.mktemp("trained")
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert parent_train.main(PARENT) == 0
        assert meta_train.main([*META, "init=runs/parent/tiny/learner.safetensors"]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def there(trained, monkeypatch):
    monkeypatch.chdir(trained)
    return trained


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EOSVOS_DATA", raising=False)
    return tmp_path


def complaint(capsys, status: int) -> str:
    """The message of a user's mistake: on stderr, with status 2 and no traceback."""
    captured = capsys.readouterr()
    assert status == hydra_app.MISTAKE, captured
    assert "Traceback" not in captured.out + captured.err
    return captured.err


def tensors(path: Path) -> dict[str, torch.Tensor]:
    learner = Learner.load(path)
    rates = {f"rate of {name}": rate for name, rate in learner.rates.items()}
    return {**learner.theta, **rates}


def assert_same(a: Path, b: Path, tolerance: float = 0.0) -> None:
    first, second = tensors(a), tensors(b)
    assert first.keys() == second.keys()
    assert max(float((first[k] - second[k]).abs().max()) for k in first) <= tolerance


def figures(path: str) -> list[dict]:
    lines = [json.loads(line) for line in Path(path).read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


# --- from end to end


def test_the_parent_is_a_learner_with_the_best_rate(there):
    parent = Learner.load("runs/parent/tiny/learner.safetensors")
    assert parent.level == "single" and parent.spec["made_by"] == "parent_train"
    figures = parent.spec["J"]
    assert set(figures) == {f"{loss} {rate}" for loss in ("cross_entropy", "lovasz") for rate in ("0.001", "0.01")}
    loss, rate = max(figures, key=figures.get).split()
    assert float(parent.distinct_rates()[0]) == pytest.approx(float(rate))
    assert parent.spec["model"]["mask_loss"] == loss
    assert_theta = Learner.load("runs/parent/tiny/training/learner.safetensors").theta
    assert all(torch.equal(parent.theta[name], p) for name, p in assert_theta.items())


def test_the_learner_began_from_the_parent_and_learned(there):
    parent, meta = Learner.load("runs/parent/tiny/learner.safetensors"), Learner.load("runs/meta/tiny/last.safetensors")
    change = max(float((meta.theta[name] - p).abs().max()) for name, p in parent.theta.items())
    assert 0 < change < 0.1
    assert meta.level == "neuron" and meta.spec["model"]["short"] == 64
    assert meta.spec["rules"] == parent.spec["rules"] == {"window": 0.0, "clip": 5.0}
    for name in ("learner.safetensors", "checkpoint.pt", "log.jsonl", "curves.png"):
        assert (there / "runs/meta/tiny" / name).stat().st_size > 0
    assert not (there / "outputs").exists() and not list(there.glob("*.log")) and not list(there.rglob(".hydra"))


def test_eval_needs_nothing_but_a_learner(there, capsys):
    assert eval.main([*VIDEO, LEARNED, "iters=1"]) == 0
    captured = capsys.readouterr()
    assert "runs/meta/tiny/learner.safetensors" in captured.err and "J&F" in captured.out
    (out,) = (there / "runs/eval/synthetic-test").glob("eosvos-T1-s0-*")
    run = read_run(out)
    assert run is not None and run["fingerprint"]["iters"] == 1 and run["fingerprint"]["learner_hash"]
    assert (out / "config.yaml").read_text().startswith("dataset:")
    masks = sorted((out / "masks").rglob("*.png"))
    assert len(masks) == 4 and read_mask(masks[0]).shape == (64, 112)
    # Again: nothing is left to do, and the masks are the same files.
    before = [path.stat().st_mtime_ns for path in masks]
    assert eval.main([*VIDEO, LEARNED, "iters=1"]) == 0
    assert [path.stat().st_mtime_ns for path in masks] == before


def test_another_protocol_needs_no_new_masks(nowhere, capsys):
    assert eval.main([*VIDEO, "method=copy_first", "out=run"]) == 0
    masks = {path: path.stat().st_mtime_ns for path in Path("run/masks").rglob("*.png")}
    assert "protocol: davis" in capsys.readouterr().out
    assert eval.main([*VIDEO, "method=copy_first", "out=run", "protocol=youtube-vos", "void=ignore"]) == 0
    captured = capsys.readouterr()
    assert "protocol: youtube-vos" in captured.out and "are kept and measured again (protocol=" in captured.err
    assert masks == {path: path.stat().st_mtime_ns for path in Path("run/masks").rglob("*.png")}
    rules = read_run(Path("run"))["measures"]
    assert rules == {"protocol": "youtube-vos", "ends": None, "void": "ignore", "more": []}
    with pytest.raises(AssertionError):  # of the data set: no change of settings that decide masks
        assert eval.main([*VIDEO, "method=copy_first", "out=run", "dataset.length=5"]) == 0
    assert eval.main([*VIDEO, "method=copy_first", "out=run", "dataset.protocol=from-first-appearance"]) == 0
    assert "protocol: from-first-appearance" in capsys.readouterr().out


def test_refining_annotates_one_frame_more(there, capsys):
    assert refine.main([*VIDEO, LEARNED, "iters=1", "annotations=[1,2]"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("annotations") and [line.split()[0] for line in printed[2:4]] == ["1", "2"]
    (out,) = (there / "runs/refine/synthetic-test").glob("eosvos-T1-s0-*")
    run = read_run(out / "2")
    assert run is not None and run["fingerprint"]["choice"] == "worst"
    ((name, (frame,)),) = run["fingerprint"]["annotations"].items()
    assert np.array_equal(  # it is given, and wins there
        read_mask(out / "2/masks" / name / f"{frame}.png"),
        held_out("test", count=1, size=(64, 112), length=4)[0].mask(int(frame)),
    )
    assert {"config.yaml", "refinement.csv", "annotations.csv"} <= {path.name for path in out.iterdir()}


def test_a_sweep_ends_with_one_comparison(there, capsys):
    assert eval.main(["-m", "experiment=copy_first,t1", *VIDEO, LEARNED, "out=sweep"]) == 0
    out = capsys.readouterr().out
    rows = [line.split()[0] for line in out.splitlines() if line.startswith(("copy_first", "t1"))]
    assert rows == ["copy_first", "t1"]
    assert {path.name for path in (there / "sweep").glob("comparison.*")} == {"comparison.csv", "comparison.png"}
    assert len(list((there / "sweep").glob("*experiment=*/global.csv"))) == 2
    assert not list(there.rglob("multirun.yaml"))


def test_a_training_that_is_complete_says_so(there, capsys):
    log = (there / "runs/meta/tiny/log.jsonl").read_text()
    assert meta_train.main([*META, "init=runs/parent/tiny/learner.safetensors", "resume=true"]) == 0
    assert "complete already" in capsys.readouterr().err
    assert (there / "runs/meta/tiny/log.jsonl").read_text() == log
    assert parent_train.main([*PARENT, "resume=true"]) == 0
    captured = capsys.readouterr()
    assert "complete already" in captured.err and "searching" not in captured.err


def test_a_stopped_training_continues_bit_by_bit(there, monkeypatch, capsys):
    start = [*META, "init=runs/parent/tiny/learner.safetensors", "out=stopped"]
    plain = progress.TrainingProgress.__call__

    def stop(self, record):
        plain(self, record)
        if record["iteration"] == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(progress.TrainingProgress, "__call__", stop)
        assert meta_train.main(start) == hydra_app.INTERRUPTED
    assert "resume=true continues" in capsys.readouterr().err
    checkpoint = torch.load("stopped/checkpoint.pt", weights_only=True)
    assert 0 < checkpoint["iteration"] < 4
    assert meta_train.main([*start, "resume=true"]) == 0
    assert_same(Path("stopped/last.safetensors"), Path("runs/meta/tiny/last.safetensors"))
    assert_same(Path("stopped/learner.safetensors"), Path("runs/meta/tiny/learner.safetensors"))

    assert figures("stopped/log.jsonl") == figures("runs/meta/tiny/log.jsonl")


def test_data_workers_change_nothing(there):
    assert meta_train.main([*META, "init=runs/parent/tiny/learner.safetensors", "out=workers", "workers=2"]) == 0
    assert_same(Path("workers/last.safetensors"), Path("runs/meta/tiny/last.safetensors"))


def test_two_processes_agree_with_one_though_one_dies(there):
    """torchrun starts both again, and they go on by themselves from the last checkpoint."""
    arguments = [*META, "init=runs/parent/tiny/learner.safetensors", "meta.save_every=2"]
    assert group(2, "group:command", "meta_train", [*arguments, "out=two"]) == [0, 0], Path("0.err").read_text()
    assert_same(Path("two/last.safetensors"), Path("runs/meta/tiny/last.safetensors"), 1e-6)
    torchrun = [sys.executable, "-m", "eosvos.cli.launch", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    run = [*torchrun, str(ROOT / "tests" / "crash_once.py"), *arguments, "out=crashed"]
    done = subprocess.run(run, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Path("crashed/last.safetensors").read_bytes() == Path("two/last.safetensors").read_bytes()
    assert Path("crashed/learner.safetensors").read_bytes() == Path("two/learner.safetensors").read_bytes()
    assert figures("crashed/log.jsonl") == figures("two/log.jsonl")


@pytest.mark.parametrize("error", [SignalException("stop", signal.SIGINT), KeyboardInterrupt()])
def test_an_interrupted_group_ends_without_a_traceback(monkeypatch, capsys, error):
    def run(arguments):
        assert arguments.nproc_per_node == "2" and arguments.training_script == "eosvos.meta_train"
        raise error

    monkeypatch.setattr(launch, "run", run)
    assert launch.main(["--nproc-per-node=2", "-m", "eosvos.meta_train", "resume=true"]) == hydra_app.INTERRUPTED
    assert capsys.readouterr().err == "stopped; the same command goes on where it was\n"


def test_a_group_ends_with_the_status_of_its_first_failure(monkeypatch, capsys):
    def run(arguments):
        failed = ProcessFailure(local_rank=1, pid=1, exitcode=hydra_app.MISTAKE, error_file="")
        raise ChildFailedError("eosvos.meta_train", {1: failed})

    monkeypatch.setattr(launch, "run", run)
    assert launch.main(["--nproc-per-node=2", "-m", "eosvos.meta_train"]) == hydra_app.MISTAKE
    assert capsys.readouterr().err == ""


def test_a_mistake_of_one_machine_is_told_once_by_the_first(there, tmp_path):
    """The other machine lacks the learner to start from: nobody waits for it."""
    homes = [tmp_path / "a", tmp_path / "b"]
    for home in homes:
        home.mkdir()
    (homes[0] / "learner.safetensors").write_bytes(Path("runs/parent/tiny/learner.safetensors").read_bytes())
    arguments = [*META, "init=learner.safetensors"]
    assert group(2, "group:command", "meta_train", arguments, folders=homes) == [hydra_app.MISTAKE] * 2
    said = (homes[0] / "0.err").read_text()
    assert said.startswith("process 1: init=learner.safetensors: no such file") and len(said.splitlines()) == 1
    assert (homes[1] / "1.err").read_text() == "" and not list(tmp_path.rglob("runs"))


def test_an_evaluation_over_a_group_gives_the_same_masks(there):
    some = ["dataset.count=3", "dataset.length=4", "dataset.size=[64,112]", "device=cpu", "iters=1", "processes=1"]
    assert eval.main([*some, "out=alone"]) == 0
    assert group(2, "group:command", "eval", [*some, "out=shared"]) == [0, 0], Path("0.err").read_text()
    alone = {p.relative_to("alone"): p.read_bytes() for p in Path("alone/masks").rglob("*.png")}
    assert alone == {p.relative_to("shared"): p.read_bytes() for p in Path("shared/masks").rglob("*.png")}
    assert len(alone) == 12
    tables = [
        [row.rsplit(",", 1)[0] for row in Path(out, "per_sequence.csv").read_text().splitlines()]
        for out in ("alone", "shared")
    ]
    assert tables[0] == tables[1]
    assert "masks and figures" in Path("0.err").read_text() and Path("1.err").read_text() == ""


def test_the_methods_can_be_sent_to_other_processes(there):
    learner = Learner.load("runs/meta/tiny/learner.safetensors")
    settings = schema.AppConfig(method="eosvos", iters=0, ona=False)
    make = pickle.loads(pickle.dumps(build_method.MakeMethod(settings, learner, torch.device("cpu"))))
    assert make(3).seed == 3


# --- a user's mistakes


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("eval", ["--iters=5"], ["--iters=5: write iters=5; settings have no dashes"]),
        ("eval", ["davis17"], ["'davis17'", "settings are written as name=value"]),
        ("eval", ["measures=T"], ["measures: expected a list, in brackets: 'measures=[...]'"]),
        ("eval", ["seed=a=b"], ["mismatched input", "only paths and names may hold any signs"]),
        ("eval", ["iter=5"], ["iter: no such setting", "iters"]),
        ("eval", ["online.evry=5"], ["online.evry: no such setting", "online.every"]),
        ("eval", ["nonsense=5"], ["nonsense: no such setting; expected one of", "dataset"]),
        ("eval", ["iters=abc"], ["iters", "'abc'", "Integer"]),
        ("eval", ["iters=-1"], ["iters=-1: expected 0 or more"]),
        ("eval", ["online.every=0"], ["online.every=0"]),
        ("eval", ["dataset=davis18"], ["dataset=davis18: expected one of davis16, davis17"]),
        ("eval", ["protocol=davis17"], ["protocol=davis17: expected one of davis, youtube-vos, lvos, "]),
        ("eval", ["ends=both", "void=x"], ["ends=both: expected one of skip, keep", "void=x: expected one of backgr"]),
        ("eval", ["method=eosvs"], ["method=eosvs: expected one of copy_first, eosvos"]),
        ("eval", ["seed=[1"], ["[1"]),
        ("refine", ["method=flow"], ["Flow cannot learn from more annotations", "method=eosvos"]),
        ("eval", ["split=tset", "method=copy_first"], ["tset", "test"]),
        ("eval", ["sequences=[bear]", "method=copy_first"], ["[bear]: no such sequence", "synthetic"]),
        ("eval", ["model=resnet18"], ["model=resnet18: eval has no settings of the network, which are the learner's"]),
        ("refine", ["model.short=128"], ["model.short=128: refine has no settings of the network", "learner="]),
        ("eval", ["learner=no.safetensors"], ["no.safetensors: no such file"]),
        ("eval", ["dataset=davis16", "method=copy_first"], ["data_root=", "EOSVOS_DATA"]),
        ("eval", ["dataset=davis16", "method=copy_first", "data_root=no"], ["no: does not exist"]),
        ("eval", ["dataset=folder", "method=copy_first", "data_root=.", "split=val"], ["split=val", "sequences="]),
        ("meta_train", ["meta.iteration=5"], ["meta.iteration: no such setting", "meta.iterations"]),
        ("meta_train", ["meta.rate=null"], ["meta.rate=null"]),
        ("meta_train", ["init=no.safetensors"], ["no.safetensors: no such file"]),
        ("meta_train", ["taskset=davis17", "data_root=no"], ["no: does not exist"]),
        ("meta_train", ["model.groups=7"], ["groups"]),
        ("parent_train", ["parent.iterations=-1"], ["parent.iterations=-1"]),
    ],
)
def test_mistakes_end_before_the_work(nowhere, capsys, name, arguments, said):
    message = complaint(capsys, MAINS[name](arguments))
    assert all(part in message for part in said), message
    assert not list(nowhere.iterdir())


def test_hydras_own_options_work(nowhere, capsys):
    assert eval.main(["--cfg", "job"]) == 0
    assert "iters: 10" in capsys.readouterr().out
    assert eval.main(["--nonsense"]) == 2


def test_a_learner_of_another_network(there, capsys):
    learner = "runs/meta/tiny/learner.safetensors"
    assert "model=resnet50" in complaint(capsys, meta_train.main([f"init={learner}", "model=resnet50", "out=x"]))
    broken = there / "broken.safetensors"
    broken.write_bytes(Path(learner).read_bytes()[:5000])
    assert "truncated" in complaint(capsys, eval.main([*VIDEO, f"learner={broken}"]))
    assert not Path("x").exists()


def test_folders_that_hold_something_else(there, capsys):
    assert eval.main([*VIDEO, "method=copy_first", "out=taken"]) == 0
    capsys.readouterr()
    assert "seed: 0 there, 1 now" in complaint(capsys, eval.main([*VIDEO, "method=copy_first", "out=taken", "seed=1"]))
    message = complaint(capsys, eval.main([*VIDEO, "method=copy_first", "out=taken", "resume=false"]))
    assert "resume=true" in message
    assert "holds other files" in complaint(capsys, eval.main([*VIDEO, "method=copy_first", "out=runs/meta"]))
    start = [*META, "init=runs/parent/tiny/learner.safetensors"]
    assert "resume=true" in complaint(capsys, meta_train.main(start))
    assert "seed was 0" in complaint(capsys, meta_train.main([*start, "seed=1", "resume=true"]))
    assert "resume=true" in complaint(capsys, parent_train.main(PARENT))


def test_masks_that_do_not_fit_their_frames(nowhere, capsys):
    (nowhere / "frames").mkdir()
    (nowhere / "masks").mkdir()
    for index in range(3):
        cv2.imwrite(f"frames/{index}.png", np.full((40, 60, 3), 90, np.uint8))
    cv2.imwrite("masks/0.png", np.ones((40, 50), np.uint8))
    arguments = ["dataset=folder", "data_root=.", "method=copy_first", "processes=1"]
    message = complaint(capsys, eval.main(arguments))
    assert "40x50" in message or "50x40" in message
    assert not (nowhere / "runs").exists()


def test_an_error_of_ours_keeps_its_traceback(nowhere, monkeypatch):
    def fail(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(devices, "device_of", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        eval.main(["method=copy_first"])
    assert "HYDRA_FULL_ERROR" not in os.environ


def test_the_default_is_the_learner_that_ships_whatever_was_trained(there, capsys):
    assert list(Path("runs").glob("**/learner.safetensors"))
    settings = schema.EvalConfig(method="eosvos")
    for method in ("eosvos", "osvos", "osmn"):
        settings.method = method
        path, learner = build_method.evaluation_learner(settings)
        assert path == find_learner.KINDS[learner.spec.get("network", "mask_rcnn")].ships
    assert find_learner.learner_path("osvos", "mask_rcnn") == LEARNERS / "osvos.safetensors"  # by its name
    assert find_learner.learner_path("runs/meta/tiny/learner.safetensors", "mask_rcnn").is_file()
    Path("mine").touch()
    for given, said in (
        (
            "mine",
            "learner=mine: no learner of that name ships; there are osmn, osvos, real, tiny; "
            "the file here is learner=./",
        ),
        ("tny", "learner=tny: no learner of that name ships; there are osmn, osvos, real, tiny"),
        ("a/b", "learner=a/b: no such file; train one with `make meta-train`"),
    ):
        assert said in complaint(capsys, eval.main([*VIDEO, f"learner={given}"]))
    assert learners.main() == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0][:4] == ["learner=", "method", "network", "MB"]
    assert [line[:3] for line in lines[1:5]] == [
        ["osmn", "osmn", "tiny"],
        ["osvos", "osvos", "tiny"],
        ["real", "eosvos", "mobilenet_v2"],
        ["tiny", "eosvos", "tiny"],
    ]
    assert "runs/meta/tiny/learner.safetensors" in [line[0] for line in lines[5:]]


# --- what a training says


def test_plain_lines_tell_the_state(capsys):
    says = progress.TrainingProgress(100)
    says({"iteration": 0, "J@10": 0.25, "score": 0.25, "rate_mean": 0.01, "rate_zero": 0.5})
    for iteration in range(1, 41):
        says({"iteration": iteration, "loss": 2.0, "seconds": iteration * 0.5, "skipped": 1})
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert "J@10 0.250" in lines[0] and "mean rate 1.00e-02 (50.0% are 0)" in lines[0]
    assert lines[2] == "[40/100]  loss 2.000  skipped 1  2.00 it/s  0:30 left"


def test_a_training_that_goes_on_says_where_it_was(capsys):
    says = progress.TrainingProgress(100)
    for iteration in (18, 19, 20):
        says({"iteration": iteration, "loss": 2.0, "seconds": iteration * 0.5})
    assert capsys.readouterr().err.splitlines() == [
        "continued from iteration 17",
        "[20/100]  loss 2.000  2.00 it/s  0:40 left",
    ]


def test_a_budget_of_seconds_tells_what_is_left_of_it(capsys):
    says = progress.TrainingProgress(100, seconds=60)
    for iteration in range(21):
        says({"iteration": iteration, "loss": 2.0, "seconds": iteration * 0.5})
    assert capsys.readouterr().err.splitlines()[1] == "[20]  loss 2.000  2.00 it/s  0:50 left"


def test_other_processes_are_silent(capsys):
    progress.TrainingProgress(100, visible=False)({"iteration": 20, "loss": 2.0, "seconds": 1.0})
    assert capsys.readouterr().err == ""
