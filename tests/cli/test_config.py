"""The configuration: everything composes, everything is typed, and every value out of range is named."""

from __future__ import annotations

import dataclasses
import inspect
import math
from typing import Any

import hydra
import numpy as np
import pytest
from omegaconf import OmegaConf

from eosvos.cli import hydra_app, ranges, run_names, schema, sections, validate
from eosvos.data.synthetic.taskset import SyntheticTaskset
from eosvos.data.tasks import Taskset
from eosvos.errors import UserError
from eosvos.files import shipped
from eosvos.meta.outer import OuterSettings
from eosvos.methods.eosvos.settings import FineTuning, Online, Propagation
from eosvos.methods.snapping import GrabCut

CONF = hydra_app.config_dir()
GROUPS = {"eval": ("dataset", "method", "experiment"), "meta_train": ("model", "taskset")}
GROUPS["parent_train"] = GROUPS["meta_train"]
GROUPS["refine"] = ("dataset", "method")
GROUPS["osvos_train"] = GROUPS["osmn_train"] = ("taskset",)
GROUPS["score"] = ()  # "dataset" is composed for eval
GROUPS["plot"] = GROUPS["segment"] = GROUPS["app"] = ()
GROUPS["osmn_show"] = ("taskset",)
# of those without a device, settings that fit any machine
NEEDED = {"score": "results=theirs", "plot": "measure=J", "osmn_show": "objects=3", "segment": "video=clip.mp4"}
TRAININGS = sorted((CONF / "training").glob("*.yaml"))
CHOICES = [
    (name, f"{group}={path.stem}")
    for name, groups in GROUPS.items()
    for group in groups
    for path in sorted((CONF / group).glob("*.yaml"))
]
MIXTURES = sorted(shipped("tasksets").glob("*.yaml"))
CHOICES += [("meta_train", f"taskset={path.stem}") for path in MIXTURES]


def compose(name: str, *overrides: str) -> Any:
    hydra_app.register()
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return OmegaConf.to_object(hydra.compose(name, overrides=list(overrides)))


@pytest.mark.parametrize(("name", "choice"), [*((name, None) for name in GROUPS), *CHOICES])
def test_every_choice_composes_and_passes_the_check(name, choice):
    validate.check(compose(name, NEEDED.get(name, "device=cpu"), *([] if choice is None else [choice])))


@pytest.mark.parametrize("path", TRAININGS, ids=lambda path: path.stem)
def test_every_training_composes_for_the_command_it_names(path):
    """The first line of a conf/training/ file is the command that it is for, with all that it needs besides data."""
    command = next(line for line in path.read_text().splitlines() if line.startswith("# python -m"))
    name, first, *others = command.split()[3:]
    assert first == f"training={path.stem}"
    others = [word for word in others if "=" in word]
    config = compose(name.removeprefix("eosvos."), first, *others, "device=cpu")
    if str(config.init).startswith("runs/"):  # the training before it has written this
        config.init = __file__
    validate.check(config)


def test_every_group_is_covered():
    assert {path.parent.name for path in CONF.glob("*/*.yaml")} == {
        group for groups in [*GROUPS.values(), ("training",)] for group in groups
    }


@pytest.mark.parametrize("path", [*sorted(CONF.rglob("*.yaml")), *MIXTURES], ids=lambda path: path.stem)
def test_every_file_begins_with_what_it_is_for(path):
    lines = path.read_text().splitlines()
    comment = [line for line in lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))]]
    text = "\n".join(line for line in comment if "@package" not in line)
    assert text.startswith("# "), f"{path} begins without a comment"
    if path.stem != "common":
        assert "python -m eosvos." in text and "Reaches" in text
    if path.parent.name == "experiment":
        assert f"experiment={path.stem} " in text


@pytest.mark.parametrize("name", GROUPS)
def test_no_number_may_be_negative_or_infinite(name):
    def is_number(value: Any) -> bool:
        first = value[0] if isinstance(value, list | tuple) and value else value
        return isinstance(first, int | float) and not isinstance(first, bool)

    numbers = [(key, allowed) for key, value, allowed in validate.leaves(compose(name)) if is_number(value)]
    assert len(numbers) > {"score": 3, "plot": -1, "osmn_show": 7}.get(name, 10)
    for value in (-1, math.inf, math.nan):
        assert all(validate._judge(key, value, allowed) for key, allowed in numbers)


def test_ranges_are_of_settings_that_exist():
    """Those of the networks are one list for all of them; all others stand with their field."""
    known = {key for name in GROUPS for key, _, _ in validate.leaves(compose(name))}
    assert not {f"model.{key}" for key in sections._NETWORK} - known
    with pytest.raises(KeyError):
        sections._section("Wrong", FineTuning, batsch=ranges.SOME)


def test_what_a_setting_may_be_stands_with_its_field():
    allowed = {key: allowed for key, _, allowed in validate.leaves(compose("osvos_train"))}
    assert str(allowed["parent.iterations"]) == "0 or more" and str(allowed["parent.tasks"]) == "1 or more"
    assert str(allowed["model.short"]) == "32 or more" and str(allowed["osvos.momentum"]) == "0 or more, at most 0.9999"
    allowed = {key: allowed for key, _, allowed in validate.leaves(compose("eval", "method=osvos"))}
    assert str(allowed["osvos.snapping"]) == "one of none, grabcut, bilateral, contours"
    assert str(allowed["osvos.clip"]) == "learner, or above 0" and str(allowed["score"]) == "0 or more, at most 1"


def test_tasksets_have_the_library_defaults():
    taskset = compose("meta_train").taskset
    of_scenes = inspect.signature(SyntheticTaskset.__init__).parameters
    of_all = inspect.signature(Taskset.__init__).parameters
    for key in ("length", "render", "reuse"):
        assert getattr(taskset, key) in (of_scenes[key].default, [*np.ravel(of_scenes[key].default)])
    for key in ("first_to_later", "train_copies", "min_area"):
        assert getattr(taskset, key) == of_all[key].default


def test_parts_have_the_library_defaults():
    composed = compose("eval")
    for section, part in (
        (composed.fine_tuning, FineTuning),
        (composed.propagation, Propagation),
        (composed.online, Online),
        (composed.snapping, GrabCut),
    ):
        assert sections.library_settings(part, section) == part()


def test_outer_settings_come_from_the_file():
    assert schema.outer_settings(
        compose("meta_train", "meta.iterations=7", "meta.tasks=3").meta
    ) == dataclasses.replace(schema.outer_settings(compose("meta_train").meta), iterations=7, tasks=3)
    assert isinstance(schema.outer_settings(compose("parent_train").parent), OuterSettings)


@pytest.mark.parametrize(
    ("name", "overrides", "named"),
    [
        ("eval", ["iters=-1"], ["iters=-1: expected 0 or more"]),
        ("eval", ["online.every=0", "iters=-3"], ["online.every=0", "iters=-3"]),  # all at once
        ("eval", ["online.low=0.8", "online.high=0.2"], ["online.low=0.8: expected at most online.high=0.2"]),
        ("eval", ["score=1.5"], ["score=1.5: expected 0 or more, at most 1"]),
        ("eval", ["score=nan"], ["score=nan"]),
        ("eval", ["fine_tuning.clip=0"], ["fine_tuning.clip=0: expected learner, or above 0"]),
        ("eval", ["seed=-1"], ["seed=-1"]),
        ("eval", ["processes=0"], ["processes=0"]),
        ("eval", ["submission=true"], ["no server takes masks of dataset=synthetic", "davis, mose, youtube_vos, lvos"]),
        ("eval", ["submission=true", "dataset=davis17", "sequences=[bear]"], ["leave out sequences="]),
        ("score", ["submission=true", "dataset=davis16", "results=x"], ["masks of dataset=davis16", "DAVIS of 2017"]),
        ("score", [], ["results=null: give the folder"]),
        ("score", ["results=x", "missing=zero"], ["missing=zero: expected one of error, empty"]),
        ("score", ["results=x", "measures=[T,G]"], ["expected one of T, boxes, errors"]),
        ("eval", ["learner=nowhere.safetensors"], ["nowhere.safetensors: no such file", "make meta-train"]),
        ("eval", ["device=gpu"], ["device=gpu: expected auto, cpu, cuda"]),
        (
            "refine",
            ["annotations=[2,1]", "choice=best"],
            ["annotations=[2, 1]: expected one or", "choice=best: expected"],
        ),
        ("refine", ["annotations=[0,1]"], ["annotations=[0, 1]: expected 1 or more"]),
        ("meta_train", ["meta.level=layer"], ["meta.level=layer: expected one of single, tensor, neuron, parameter"]),
        ("meta_train", ["meta.order=3"], ["meta.order=3"]),
        ("meta_train", ["meta.validation_steps=[5,1]"], ["ascending order"]),
        ("meta_train", ["meta.window=6"], ["meta.window=6: expected at most meta.steps=5"]),
        ("meta_train", ["meta.window=0"], ["meta.window=0: expected 1 or more"]),
        ("meta_train", ["meta.step_weights=[0,1]"], ["meta.step_weights=[0.0, 1.0]", "meta.steps=5"]),
        ("meta_train", ["meta.step_weights=[1,0]", "meta.steps=2"], ["the last above 0"]),
        ("meta_train", ["meta.step_weights=[-1,1]", "meta.steps=2"], ["meta.step_weights=[-1.0, 1.0]: expected 0"]),
        ("meta_train", ["meta.step_weights=[1,1]", "meta.steps=2", "meta.window=1", "meta.order=2"], []),
        (
            "meta_train",
            ["meta.step_weights=[1,1]", "meta.steps=2", "meta.multi_step_iterations=9"],
            ["multi_step_iterations=9", "leave out"],
        ),
        ("meta_train", ["meta.multi_step_iterations=9", "meta.steps=0"], ["meta.steps=0"]),
        ("meta_train", ["meta.order_warm_up=9"], ["meta.order_warm_up=9: expected 0, or meta.order=2"]),
        ("meta_train", ["meta.order=2", "meta.order_warm_up=750"], ["meta.iterations=750"]),
        ("meta_train", ["meta.rate=null"], ["init is null"]),
        (
            "meta_train",
            ["meta.iterations=0", "threads=0", "workers=-1"],
            ["meta.iterations=0", "threads=0", "workers=-1"],
        ),
        ("meta_train", ["model.short=300"], []),  # the size's own long side is not known here; the network judges
        ("meta_train", ["model.short=300", "model.long=200"], ["model.short=300: expected at most model.long=200"]),
        ("meta_train", ["model.mask_loss=dice"], ["lovasz, lovasz_softmax, cross_entropy"]),
        ("parent_train", ["search.rates=[]"], ["search.rates=[]"]),
        ("eval", ["fine_tuning.clip=lerner"], ["fine_tuning.clip=lerner: expected learner, or above 0"]),
        ("eval", ["fine_tuning.clip=null", "window.size=2", "osmn.balance=0"], []),
        ("eval", ["window.size=-1"], ["window.size=-1: expected learner, or 0 or more"]),
        ("osmn_train", ["osmn.clip=learner"], ["osmn.clip=learner: expected a number"]),
        ("meta_train", ["taskset=davis17", "taskset.hold_out=false"], ["use meta.keep=last"]),
        ("meta_train", ["taskset=davis17", "taskset.hold_out=false", "meta.keep=last"], []),
        ("parent_train", ["search.rates=[0.1,-1]"], ["search.rates=[0.1, -1.0]: expected above 0"]),
    ],
)
def test_values_out_of_range_are_named(name, overrides, named):
    composed = compose(name, *overrides)
    if not named:
        return validate.check(composed)
    with pytest.raises(UserError) as caught:
        validate.check(composed)
    assert all(part in str(caught.value) for part in named)


def test_a_gpu_that_is_not_there(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match="device=cuda: no usable GPU"):
        validate.check(compose("eval", "device=cuda"))
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    validate.check(compose("eval", "device=cuda:0"))
    with pytest.raises(UserError, match="has 1 GPUs"):
        validate.check(compose("eval", "device=cuda:1"))


def test_only_jobs_of_a_sweep_over_protocols_have_masks_of_their_own():
    def folder(job, *overrides):
        return run_names.evaluation_folder(compose("eval", "method=copy_first", *overrides), {}, job)

    plain, other = ["protocol=davis"], ["protocol=youtube-vos"]
    assert folder(None, *plain) == folder(None, *other) == folder(None) == folder("protocol=davis", *plain)
    assert len({folder("job"), folder("job", *other), folder("job", *other, "measures=[boxes]")}) == 3


def test_the_data_root_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("EOSVOS_DATA", "/data")
    assert compose("eval").data_root == "/data"
    monkeypatch.delenv("EOSVOS_DATA")
    assert compose("eval").data_root is None
