"""The check of all values of a configuration before anything runs."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import torch

from eosvos.cli.ranges import NUMBER, Allowed, Choice, OrLearner, allowed_of
from eosvos.cli.schema import ConvertConfig, FiguresConfig, MetaSection, TrainConfig
from eosvos.data.levels import parse_levels
from eosvos.errors import UserError
from eosvos.evaluation.submission import SERVERS
from eosvos.learners import path_of
from eosvos.meta.learner import FROM_LEARNER
from eosvos.models.pretrained.files import NAMES, PREFIX, unknown_name_message


def check(config: Any) -> None:
    """Raise UserError that names every value out of its range, with what is expected there."""
    wrong = [message for leaf in leaves(config) if (message := _judge(*leaf))]
    wrong += _together(config)
    if wrong:
        raise UserError("\n".join(wrong))


def leaves(node: Any, prefix: str = "") -> list[tuple[str, Any, Allowed]]:
    """All settings of a configuration in dotted form, with their values and what these may be."""
    found: list[tuple[str, Any, Allowed]] = []
    for f in fields(node):
        value = getattr(node, f.name)
        if is_dataclass(value):
            found += leaves(value, f"{prefix}{f.name}.")
        else:
            found.append((prefix + f.name, value, allowed_of(f)))
    return found


def _judge(key: str, value: Any, allowed: Allowed = NUMBER) -> str | None:
    if value is None:
        return None
    values = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
    if isinstance(allowed, Choice | OrLearner):
        return None if all(map(allowed.holds, values)) else f"{key}={value}: expected {allowed}"
    if key in ("levels", "dataset.levels"):
        try:
            parse_levels(value)
        except UserError as error:
            return f"{key.removesuffix('levels')}{error}"
        return None
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if not all(map(allowed.holds, numbers)):
        return f"{key}={value}: expected {allowed}"
    if key == "device":
        return _judge_device(value)
    if key in ("init", "weights") and value.startswith(PREFIX):
        return None if value.removeprefix(PREFIX) in NAMES else unknown_name_message(value).replace("init", key, 1)
    if key == "weights" and not Path(value).exists():
        return f"{key}={value}: no such file; give the path of published weights"
    if key in ("learner", "osvos.contours"):
        try:
            path_of(value, key)
        except UserError as error:
            return str(error)
    if key == "init" and not Path(value).exists():
        return (
            f"{key}={value}: no such file; train one with `make meta-train`, or give the path of a learner.safetensors,"
            f" of published weights, or one of {', '.join(PREFIX + n for n in NAMES)}"
        )
    if key == "init_images" and not Path(value).is_dir():
        return f"{key}={value}: no such folder; give one of images (jpg, png), or null for pictures of the taskset"
    return None


def _judge_device(value: str) -> str | None:
    kind, _, number = value.partition(":")
    if value == "auto" or value == "cpu":
        return None
    if kind != "cuda" or (number and not number.isdigit()):
        return f"device={value}: expected auto, cpu, cuda or cuda:<number>"
    if not torch.cuda.is_available():
        return f"device={value}: no usable GPU is on this machine; use device=cpu or device=auto"
    if int(number or 0) >= torch.cuda.device_count():
        return f"device={value}: this machine has {torch.cuda.device_count()} GPUs, numbered from 0; use one of them"
    return None


def _together(config: Any) -> list[str]:
    """Values that fit each by itself, but not one another."""
    wrong = []
    online, meta, model = (getattr(config, name, None) for name in ("online", "meta", "model"))
    if getattr(config, "submission", False):
        wrong += _submission(config)
    if getattr(config, "export", []) and hasattr(config, "annotations"):
        wrong.append(
            f"export={config.export}: of several rounds; write those of one by eosvos.score results=OUT/... export="
        )
    if getattr(config, "protocol", None) == "lvos" and config.dataset.kind != "lvos":
        wrong.append(
            f"protocol=lvos: measures an object up to its own last frame, which dataset={config.dataset.name} does not"
            " tell; protocol=youtube-vos goes on to the end of the video"
        )
    if hasattr(config, "weights"):
        wrong += _conversion(config)
    if (token := getattr(config, "token", None)) is not None and not re.fullmatch(r"[\w.~-]{16,}", token, re.ASCII):
        wrong.append(f"token= has {len(token)} characters: expected at least 16 letters, digits, -, _, . or ~")
    if getattr(config, "results", "") is None:
        wrong.append(
            "results=null: give the folder, zip or JSON file with the masks that are to be measured, results=DIR"
        )
    if getattr(config, "video", "") is None and hasattr(config, "masks"):
        wrong.append("video=null: give the video, a file or a folder of frames, as video=clip.mp4")
    if online is not None and online.low > online.high:
        wrong.append(f"online.low={online.low}: expected at most online.high={online.high}")
    if meta is not None:
        wrong += _meta_together(meta)
        steps = meta.validation_steps
        if not steps or any(a >= b for a, b in zip(steps, steps[1:], strict=False)):
            wrong.append(
                f"meta.validation_steps={steps}: expected one or more numbers in ascending order, say [1,5,10]"
            )
        if meta.rate is None and config.init is None:
            wrong.append(
                "meta.rate=null: takes the rates of the learner in init=, and init is null; give one of the two"
            )
    counts = getattr(config, "annotations", None)
    if counts is not None and (not counts or counts != sorted(set(counts))):
        wrong.append(f"annotations={counts}: expected one or more numbers in ascending order, say [1,2,4]")
    tuning = getattr(config, "osvos", None)
    if tuning is not None and tuning.zoom[0] > tuning.zoom[1]:
        wrong.append(f"osvos.zoom={list(tuning.zoom)}: expected the smaller one first")
    osmn = getattr(config, "osmn", None)
    if osmn is not None and osmn.zoom[0] > osmn.zoom[1]:
        wrong.append(f"osmn.zoom={list(osmn.zoom)}: expected the smaller one first")
    wrong += _training_together(config) if isinstance(config, TrainConfig) else []
    if getattr(config, "search", None) is not None and not config.search.rates:
        wrong.append("search.rates=[]: expected one or more learning rates")
    if osmn is not None and hasattr(config, "outer") and not (config.outer.segmentation or osmn.visual or osmn.spatial):
        wrong.append("outer.segmentation=false: nothing is left to train with osmn.visual=false osmn.spatial=false")
    if model is not None and model.short is not None and model.long is not None and model.short > model.long:
        wrong.append(f"model.short={model.short}: expected at most model.long={model.long}")
    return wrong


def _training_together(config: TrainConfig) -> list[str]:
    wrong = []
    for part in ("osvos", "osmn"):  # what its learner is to be fine-tuned by
        settings = vars(getattr(config, part)) if hasattr(config, part) else {}
        wrong += [f"{part}.{key}=learner: expected a number" for key in settings if settings[key] == FROM_LEARNER]
    section = next(getattr(config, name) for name in ("meta", "parent", "outer") if hasattr(config, name))
    taskset = config.taskset
    if not taskset.hold_out and taskset.validation_sequences:
        wrong.append("taskset.hold_out=false: trains on all videos; leave out taskset.validation_sequences")
    if not taskset.hold_out and section.keep == "best":
        wrong.append(
            "taskset.hold_out=false: nothing is left to choose the best learner by; use meta.keep=last (parent.keep, "
            "outer.keep), or hold videos out"
        )
    return wrong


def _conversion(config: ConvertConfig) -> list[str]:
    wrong = []
    if config.weights is None:
        wrong.append("weights=null: give the file that is to become a learner, as eosvos convert FILE out=...")
    if config.out is None or not config.out.endswith(".safetensors"):
        wrong.append(f"out={config.out or 'null'}: give the learner's name, as out=NAME.safetensors")
    elif Path(config.out).exists():  # before minutes are spent
        wrong.append(f"out={config.out}: is there already, and nothing is overwritten; choose another name")
    return wrong


def _submission(config: FiguresConfig) -> list[str]:
    """What keeps masks from being handed in."""
    wrong, section = [], config.dataset
    if section.kind not in SERVERS or (section.kind == "davis" and section.year == 2016):
        wrong.append(
            f"submission=true: no server takes masks of dataset={section.name}; expected is one of kind "
            f"{', '.join(SERVERS)} (DAVIS of 2017)"
        )
    if hasattr(config, "annotations"):
        wrong.append("submission=true: of several rounds; hand one in by eosvos.score results=OUT/... submission=true")
    if config.sequences:
        wrong.append("submission=true: a server wants all sequences of a split; leave out sequences=[...]")
    return wrong


def _meta_together(meta: MetaSection) -> list[str]:
    wrong = []
    weights, steps = meta.step_weights, meta.steps
    if weights is not None and (len(weights) != steps or not weights or not weights[-1] > 0):
        wrong.append(
            f"meta.step_weights={weights}: expected one for each of meta.steps={steps} inner steps, the last above 0 "
            "(steps after the last that counts would be for nothing)"
        )
    if weights is not None and meta.multi_step_iterations:
        wrong.append(
            f"meta.multi_step_iterations={meta.multi_step_iterations}: sets the weights of the steps itself; leave out "
            "it or meta.step_weights"
        )
    if meta.multi_step_iterations and not steps:
        wrong.append(f"meta.multi_step_iterations={meta.multi_step_iterations}: there are no steps, as meta.steps=0")
    if meta.window is not None and meta.window > steps:
        wrong.append(f"meta.window={meta.window}: expected at most meta.steps={steps}")
    if meta.order_warm_up and meta.order == 1:
        wrong.append(f"meta.order_warm_up={meta.order_warm_up}: expected 0, or meta.order=2 to warm up to")
    if meta.order == 2 and meta.seconds is None and meta.order_warm_up >= meta.iterations:
        wrong.append(
            f"meta.order_warm_up={meta.order_warm_up}: expected below meta.iterations={meta.iterations}, or order 2 "
            "never comes"
        )
    return wrong
