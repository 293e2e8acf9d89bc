"""The check of all values of a configuration before anything runs."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import torch

from eosvos.cli.schema import FiguresConfig, MetaSection
from eosvos.data.levels import parse_levels
from eosvos.data.mask_files.appearances import ABSENT
from eosvos.errors import UserError
from eosvos.evaluation.metrics.region_contour import EXTRA_METRICS, PROTOCOLS
from eosvos.evaluation.refinement import FRAME_CHOICES
from eosvos.evaluation.submission import SERVERS
from eosvos.inference.export import FORMS, OUTPUTS
from eosvos.learners import path_of
from eosvos.meta.learner import LEVELS
from eosvos.meta.outer import CLOCKS, OPTIMIZERS
from eosvos.methods.osvos.loss import BRANCHES
from eosvos.methods.snapping import KINDS as SNAPPING
from eosvos.models.backbones import NORMS as BODY_NORMS
from eosvos.models.mask_rcnn import MASK_LOSSES, SIZES
from eosvos.models.pretrained.files import NAMES, PREFIX, unknown_name_message
from eosvos.models.pretrained.load import NORMS
from eosvos.plots.quality_speed import QUALITIES

METHODS = ("eosvos", "osvos", "osmn", "copy_first", "flow")
DATASETS = (
    "synthetic", "davis", "folder", "video", "youtube_vos", "mose", "lvos", "sav", "youtube_objects", "segtrack",
)  # fmt: skip
PICTURES = ("bars", "over_time", "speed", "contact_sheet", "video")


@dataclass(frozen=True)
class Range:
    """Finite numbers from `low` to `high`; `open_low`: above `low`."""

    low: float = 0
    high: float = math.inf
    open_low: bool = False

    def holds(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        return above and value <= self.high and value != math.inf

    def __str__(self) -> str:
        low = f"above {self.low:g}" if self.open_low else f"{self.low:g} or more"
        return low if self.high == math.inf else f"{low}, at most {self.high:g}"


_NUMBER, _SOME, _SHARE, _POSITIVE = Range(0), Range(1), Range(0, 1), Range(0, open_low=True)
_OUTER = {
    "iterations": _SOME, "tasks": _SOME, "final": _SHARE, "beta2": Range(0, 0.9999), "clip": _POSITIVE,
    "max_rate": _POSITIVE, "validate_every": _SOME, "save_every": _SOME, "seconds": _POSITIVE,
}  # fmt: skip
RANGES: dict[str, Range] = {  # of all others: 0 or more
    "processes": _SOME, "score": _SHARE, "threads": _SOME, "fine_tuning.batch": _SOME, "fine_tuning.clip": _POSITIVE,
    "fine_tuning.average": _SHARE, "online.every": _SOME, "online.stride": _SOME, "online.joining": _SOME,
    "snapping.side": Range(16), "snapping.rounds": _SOME,
    "online.low": _SHARE, "online.high": _SHARE, "online.min_area": _SHARE,
    "dataset.count": Range(1, 20), "dataset.length": Range(2),
    "dataset.size": Range(16), "dataset.version": Range(1, 2), "taskset.length": Range(2), "taskset.render": Range(16),
    "taskset.reuse": _SOME, "taskset.train_copies": _SOME, "taskset.meta_frames": _SOME, "taskset.min_area": _SHARE,
    "taskset.window": Range(0), "window.size": Range(0), "window.ease": _SHARE, "window.widen": Range(1),
    **{f"{section}.{key}": value for section in ("meta", "parent", "outer") for key, value in _OUTER.items()},
    "meta.batch": _SOME, "meta.inner_clip": _POSITIVE, "meta.order": Range(1, 2), "meta.window": _SOME,
    "parent.iterations": Range(0), "outer.iterations": Range(0),  # none: what it starts from
    "outer.validation_objects": _SOME, "guidance.squares": Range(32), "objects": Range(3), "osmn.widen": Range(1),
    "osmn.widest": _SHARE, "osmn.balance": _SHARE, "osmn.clip": _POSITIVE,
    "osmn.momentum": Range(0, 0.9999), "osmn.zoom": _POSITIVE, "model.guide": Range(32),
    "model.dropout": Range(0, 0.9999),
    "meta.validation_tasks": _SOME, "parent.validation_pictures": _SOME, "search.rates": _POSITIVE,
    "osvos.seconds": _POSITIVE, "osvos.momentum": Range(0, 0.9999), "osvos.clip": _POSITIVE, "osvos.zoom": _POSITIVE,
    "osvos.threshold": _SHARE, **{f"osvos.bilateral.{key}": _POSITIVE for key in ("spatial", "luma", "chroma")},
    "search.steps": _SOME, "search.batch": _SOME, "search.inner_clip": _POSITIVE, "search.tasks": _SOME,
    "port": Range(0, 65535), "upload": _SOME,
    "annotations": _SOME, "model.short": Range(32), "model.long": Range(32), "model.rpn_first": Range(0, 3),
    "model.frozen": Range(0, 4), "model.mask_canonical": Range(0),
    "model.first": Range(1, 5),
    **{f"model.{key}": _SHARE for key in ("rpn_nms", "roi_positive", "box_nms", "score")},
    **{
        f"model.{key}": _SOME
        for key in (
            "widths", "fpn", "hidden", "anchors", "canonical", "box_roi", "mask_roi", "rpn_pre", "rpn_post",
            "rpn_batch", "rpn_convs", "roi_batch", "detections", "path", "guide_widths", "pooled",
        )
    },
}  # fmt: skip
CHOICES: dict[str, tuple[Any, ...]] = {
    "method": METHODS, "meta.level": LEVELS, "model.size": (*SIZES, "vgg16"), "model.norm": BODY_NORMS,
    "model.mask_loss": MASK_LOSSES,
    "branch": BRANCHES, "osvos.snapping": SNAPPING, "osmn.snapping": SNAPPING[:2],
    "search.mask_losses": MASK_LOSSES, "init_norm": NORMS,
    "meta.optimizer": OPTIMIZERS, "parent.optimizer": OPTIMIZERS,
    "outer.optimizer": OPTIMIZERS,
    "meta.clock": tuple(CLOCKS), "parent.clock": tuple(CLOCKS), "outer.clock": tuple(CLOCKS),
    "dataset.resolution": ("480p", "full"), "taskset.resolution": ("480p", "full"),
    "dataset.kind": DATASETS, "dataset.protocol": PROTOCOLS, "choice": FRAME_CHOICES,
    "taskset.kind": ("synthetic", "davis", "folder", "mixture"),
    "protocol": PROTOCOLS, "ends": ("skip", "keep"), "void": ("background", "ignore"), "measures": tuple(EXTRA_METRICS),
    "missing": ("error", "empty"), "pictures": PICTURES, "measure": tuple(QUALITIES), "outputs": tuple(OUTPUTS),
    "export": FORMS, "absent": ABSENT, "dataset.absent": ABSENT,
}  # fmt: skip


def check(config: Any) -> None:
    """Raise UserError that names every value out of its range, with what is expected there."""
    wrong = [message for key, value in _leaves(config, "") if (message := _judge(key, value))]
    wrong += _together(config)
    if wrong:
        raise UserError("\n".join(wrong))


def _leaves(node: Any, prefix: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for f in fields(node):
        value = getattr(node, f.name)
        if is_dataclass(value):
            found += _leaves(value, f"{prefix}{f.name}.")
        else:
            found.append((prefix + f.name, value))
    return found


def _judge(key: str, value: Any) -> str | None:
    if value is None:
        return None
    values = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
    if key in CHOICES and not all(v in CHOICES[key] for v in values):
        return f"{key}={value}: expected one of {', '.join(map(str, CHOICES[key]))}"
    if key in ("levels", "dataset.levels"):
        try:
            parse_levels(value)
        except UserError as error:
            return f"{key.removesuffix('levels')}{error}"
        return None
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    allowed = RANGES.get(key, _NUMBER)
    if not all(allowed.holds(v) for v in numbers):
        return f"{key}={value}: expected {allowed}"
    if key == "device":
        return _judge_device(value)
    if key == "init" and value.startswith(PREFIX):
        return None if value.removeprefix(PREFIX) in NAMES else unknown_name_message(value)
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
    if getattr(config, "search", None) is not None and not config.search.rates:
        wrong.append("search.rates=[]: expected one or more learning rates")
    if osmn is not None and hasattr(config, "outer") and not (config.outer.segmentation or osmn.visual or osmn.spatial):
        wrong.append("outer.segmentation=false: nothing is left to train with osmn.visual=false osmn.spatial=false")
    if model is not None and model.short is not None and model.long is not None and model.short > model.long:
        wrong.append(f"model.short={model.short}: expected at most model.long={model.long}")
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
