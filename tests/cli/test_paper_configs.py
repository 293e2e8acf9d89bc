"""Every value of the papers' configurations, against the papers: no default of ours can drift into one.

A row is a value and its source: a section of the paper, "code" for the authors' public code, "silent" where the
paper says nothing and ours is taken. Sections that a configuration uses are compared whole.
"""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from typing import Any

import pytest

from eosvos.cli import find_learner, mixture
from eosvos.meta.outer import OuterSettings
from eosvos.models import mask_rcnn, osmn, osvos
from tests.cli.test_config import compose

Rows = dict[str, tuple[Any, str]]
EVAL = ("score", "fine_tuning", "propagation", "online", "window", "detection")

EOSVOS: Rows = {
    "score": (None, "silent: the network's, 0.5 as in the code"),
    "fine_tuning.batch": (1, "silent"),
    "fine_tuning.spatial": (True, "4.2: spatial random transformations as in [6]"),
    "fine_tuning.zoom": ((1.0, 1.25), "[6] 3.2: zooming in; how far: code"),
    "fine_tuning.rotation": (0, "[6] 3.2: mirroring and zooming in alone"),
    "fine_tuning.translation": (0, "[6] 3.2: mirroring and zooming in alone"),
    "fine_tuning.colour": (False, "4.2: spatial"),
    "fine_tuning.clip": (None, "eq. 5: the gradient"),
    "fine_tuning.average": (0, "eq. 1: the last parameters"),
    "propagation.boxes": (50, "silent"),
    "propagation.jitter": (0.2, "silent"),
    "propagation.outward": (False, "3.3: random spatial transformations"),
    "propagation.continuity": (0, "3.3: boxes are added, not ranked"),
    "propagation.voting": (0, "3.3: boxes are added, not averaged"),
    "online.every": (5, "4.2: I_OnA"),
    "online.steps": (10, "4.2: T_OnA"),
    "online.past": (2, "silent"),
    "online.stride": (2, "silent"),
    "online.skip": (0, "silent"),
    "online.weight": (1, "3.3: the combined data set"),
    "online.joining": (10, "3.3: the combined data set, all of T_OnA"),
    "online.low": (0.5, "3.3: past mask predictions, whole"),
    "online.high": (0.5, "3.3: past mask predictions, whole"),
    "online.min_area": (0, "3.3: past mask predictions, all"),
    "online.reset": (True, "3.3: reset to the first-frame state"),
    "window.size": (0, "3.1: frames"),
    "window.ease": (0.5, "no use without a window"),
    "window.widen": (1.4, "no use without a window"),
    "window.return_score": (0.5, "no use without a window"),
    "detection.rpn_pre": (None, "silent: the learner's"),
    "detection.rpn_post": (None, "silent: the learner's"),
    "detection.rpn_pre_test": (None, "silent: the learner's"),
    "detection.rpn_post_test": (None, "silent: the learner's"),
    "detection.box_nms": (None, "silent: the learner's"),
    "snapping.band": (0, "4.4: no post-processing"),
    "method": ("eosvos", ""),
}

REFERENCE: Rows = EOSVOS | {
    "score": (0.5, "code"),
    "fine_tuning.batch": (3, "code: batch_sizes.train"),
    "fine_tuning.zoom": ((0.75, 1.25), "code: scales"),
    "fine_tuning.rotation": (30, "code: rots"),
    "propagation.boxes": (500, "code: EXTEND"),
    "propagation.jitter": (0.1, "code: random_share"),
    "propagation.outward": (True, "code"),
    "online.stride": (1, "code: frames t-3, t-4"),
    "online.skip": (2, "code: frames t-3, t-4"),
    "online.min_area": (1e-9, "code: one pixel"),
    "detection.rpn_pre": (2000, "code: torchvision, training"),
    "detection.rpn_post": (2000, "code: torchvision, training"),
    "detection.rpn_pre_test": (1000, "code: torchvision, test"),
    "detection.rpn_post_test": (500, "code: EXTEND"),
    "detection.box_nms": (0.5, "code: torchvision"),
}

OSVOS: Rows = {
    "method": ("osvos", ""),
    "iters": (500, "Table 1, Figure 8: 10 s to 10 min"),
    "osvos.seconds": (None, "by steps"),
    "osvos.momentum": (0.9, "3.2"),
    "osvos.clip": (None, "3.2: SGD"),
    "osvos.flip": (True, "3.2: mirroring"),
    "osvos.zoom": ((0.75, 1.25), "code: scales of fine-tuning"),
    "osvos.snapping": ("contours", "3.3"),
    "osvos.contours": (None, "a path"),
    "osvos.threshold": (0.1, "3.3: a low value"),
}

OSMN: Rows = {
    "method": ("osmn", ""),
    "iters": (0, "3: no fine-tuning"),
    "osmn.visual": (True, "3.2"),
    "osmn.spatial": (True, "3.3"),
    "osmn.widen": (1.1, "silent"),
    "osmn.widest": (0.5, "silent"),
    "osmn.balance": (0, "3.5: the loss of [2] alone"),
    "osmn.momentum": (0.9, "silent"),
    "osmn.clip": (None, "silent: none"),
    "osmn.flip": (True, "silent"),
    "osmn.zoom": ((0.75, 1.25), "silent"),
    "osmn.snapping": ("none", "4.1: without CRF"),
}

MASK_RCNN: Rows = {
    "size": ("resnet50", "4.2: ResNet50 with FPN"),
    "short": (800, "code: torchvision"),
    "long": (1333, "code: torchvision"),
    "widths": ((), "of tiny networks"),
    "fpn": (256, "[18]"),
    "hidden": (1024, "[11]"),
    "groups": (32, "[38]"),
    "norm": ("group", "3.3: group normalization"),
    "frozen": (0, "3.2.4: all neurons"),
    "head_norm": (False, "3.3: layers of the backbone"),
    "stride_first": (False, "code: torchvision"),
    "box_convs": (0, "[11]"),
    "rpn_convs": (1, "[11]"),
    "anchors": ((32, 64, 128, 256, 512), "[18]"),
    "canonical": (224, "[18]"),
    "mask_canonical": (0, "[18]"),
    "sampling": (2, "code: torchvision"),
    "box_roi": (7, "[11]"),
    "mask_roi": (28, "supplement 1"),
    "mask_layers": (4, "[11]"),
    "mask_loss": ("lovasz_softmax", "3.3"),
    "mask_targets": ("binary", "[5]: a loss on sets"),
    "rpn_first": (0, "[18]"),
    "rpn_pre": (2000, "code: torchvision"),
    "rpn_post": (2000, "code: torchvision"),
    "rpn_pre_test": (1000, "code: torchvision"),
    "rpn_post_test": (1000, "code: torchvision"),
    "rpn_batch": (256, "[11]"),
    "rpn_nms": (0.7, "[11]"),
    "roi_batch": (512, "code: torchvision"),
    "roi_positive": (0.25, "[11]"),
    "box_nms": (0.5, "code: torchvision"),
    "score": (0.5, "code"),
    "detections": (1, "1: one object"),
}

JOINT: Rows = {
    "init": ("torchvision:maskrcnn_resnet50_fpn", "4.2: pre-trained on COCO"),
    "init_norm": ("copy", "code: affine parameters are kept"),
    "meta.steps": (5, "4.2: T"),
    "meta.batch": (1, "3.2.1: a single frame"),
    "meta.order": (1, "4.2"),
    "meta.order_warm_up": (0, "4.2"),
    "meta.step_weights": (None, "eq. 4: the last step"),
    "meta.multi_step_iterations": (0, "eq. 4: the last step"),
    "meta.window": (None, "eq. 4: all steps"),
    "meta.unrolled": (False, "the same value"),
    "meta.level": ("neuron", "3.2.4"),
    "meta.rate": (1e-3, "code"),
    "meta.mask_warm_up": (0, "3.3: Lovász throughout"),
    "meta.inner_clip": (None, "eq. 5"),
    "meta.iterations": (100000, "silent: 4 days"),
    "meta.seconds": (None, "silent"),
    "meta.clock": ("wall", ""),
    "meta.tasks": (4, "4.2"),
    "meta.optimizer": ("radam", "4.2"),
    "meta.theta_lr": (1e-5, "code"),
    "meta.rates_lr": (1e-5, "code"),
    "meta.warmup": (0, "4.2: fixed"),
    "meta.final": (1, "4.2: fixed"),
    "meta.beta2": (0.999, "[19]"),
    "meta.weight_decay": (0, "supplement 1"),
    "meta.clip": (None, "silent: none"),
    "meta.shares": (None, "one rate"),
    "meta.max_rate": (1, "silent: far away"),
    "meta.keep": ("best", "supplement 1: 100 sequences to monitor"),
}

DAVIS: Rows = JOINT | {
    "init": ("runs/meta/paper_joint/learner.safetensors", "4.2"),
    "meta.rate": (None, "4.2: those of the first stage"),
    "meta.rates_lr": (0, "4.2: fixed"),
    "meta.iterations": (10000, "silent"),
    "meta.keep": ("last", "4.1: all training videos"),
    "taskset.hold_out": (False, "4.1: all training videos"),
    "taskset.first_to_later": (False, "4.2: a single frame"),
    "taskset.window": (0, "frames"),
}

REFERENCE_TRAINING: Rows = JOINT | {"meta.weight_decay": (1e-3, "code: model_init_weight_decay")}

IDLE: Rows = {
    "rates_lr": (0, "no learned rates"),
    "max_rate": (1, "no learned rates"),
    "seconds": (None, "by iterations"),
    "clock": ("wall", "by iterations"),
    "shares": (None, "one rate"),
}
OSVOS_TRAINING: Rows = {f"parent.{key}": row for key, row in IDLE.items()} | {
    "parent.beta2": (0.99, "not of sgd"),
    "init": ("torchvision:vgg16", "3.1"),
    "taskset.split": ("train", "3.2"),
    "taskset.year": (2016, "4"),
    "taskset.hold_out": (False, "3.2: the training set"),
    "taskset.transform": (
        {"scale": [1.0, 1.5], "rotation": 0, "translation": 0, "flip": True, "colour": 0},
        "3.2: mirroring, zooming in",
    ),
    "parent.iterations": (50000, "3.2"),
    "parent.tasks": (10, "code: gradients averaged"),
    "parent.optimizer": ("sgd", "3.2, momentum 0.9"),
    "parent.theta_lr": (1e-8, "3.2"),
    "parent.final": (0, "3.2: gradually decreased"),
    "parent.warmup": (0, "3.2"),
    "parent.weight_decay": (2e-4, "code"),
    "parent.clip": (None, "silent: none"),
    "parent.keep": ("last", "3.2"),
    "parent.deep_supervision": (50000, "code"),
    "osvos.clip": (None, "3.2"),
    "osvos.momentum": (0.9, "3.2"),
}

OSMN_STILLS: Rows = {f"outer.{key}": row for key, row in IDLE.items()} | {
    "init": ("torchvision:vgg16_whole", "3.5"),
    "outer.iterations": (217516 * 10 // 8, "3.5: 10 epochs"),
    "outer.tasks": (8, "3.5"),
    "outer.optimizer": ("adam", "3.5"),
    "outer.theta_lr": (1e-5, "3.5"),
    "outer.beta2": (0.999, "3.5"),
    "outer.warmup": (0, "3.5"),
    "outer.final": (1, "3.5"),
    "outer.weight_decay": (0, "silent"),
    "outer.clip": (None, "silent: none"),
    "outer.segmentation": (True, "3.5"),
    "outer.keep": ("best", "silent: the pictures that are held out"),
    "guidance.min_area": (0.03, "3.5"),
    "guidance.squares": ([320, 400, 480], "3.5"),
    "guidance.guide_scale": (0.1, "3.5: 10 % of the visual guide"),
    "guidance.guide_rotation": (10, "3.5: 10 degrees of the visual guide"),
    "guidance.prior_shift": (0.2, "3.5: 20 % of the spatial guide"),
    "guidance.prior_scale": (0.4, "3.5: 40 % of the spatial guide"),
    "osmn.balance": (0, "3.5"),
    "osmn.clip": (None, "silent: none"),
}

OSMN_END: Rows = OSMN_STILLS | {
    "init": ("runs/osmn/paper_stills/learner.safetensors", "3.5"),
    "outer.iterations": (217516 * 5 // 8, "3.5: 5 epochs"),
    "outer.theta_lr": (1e-6, "3.5"),
}

OSMN_VIDEO: Rows = OSMN_END | {
    "init": ("runs/osmn/paper_stills_end/learner.safetensors", "3.5"),
    "outer.iterations": (26000, "3.5: 20 epochs"),
    "outer.keep": ("last", "3.5"),
    "guidance.min_area": (0, "3.5: of COCO's objects"),
    "taskset.year": (2017, "3.5"),
    "taskset.split": ("train", "3.5"),
    "taskset.hold_out": (False, "3.5"),
    "taskset.min_area": (0, "3.5"),
    "taskset.transform": (
        {"scale": [1.0, 1.1], "rotation": 0, "translation": 0.05, "flip": True, "colour": 0},
        "3.5: as stage 1",
    ),
}

CONFIGS = {
    ("eval", "experiment=paper_eosvos"): (EOSVOS, EVAL),
    ("eval", "experiment=reference_eosvos"): (REFERENCE, EVAL),
    ("eval", "experiment=paper_osvos"): (OSVOS, ()),
    ("eval", "experiment=paper_osmn"): (OSMN, ("osmn",)),
    ("meta_train", "training=paper_joint"): (JOINT, ("meta",)),
    ("meta_train", "training=reference_eosvos"): (REFERENCE_TRAINING, ("meta",)),
    ("meta_train", "training=paper_davis16"): (DAVIS, ("meta",)),
    ("meta_train", "training=paper_davis17"): (DAVIS, ("meta",)),
    ("osvos_train", "training=osvos_paper"): (OSVOS_TRAINING, ("parent",)),
    ("osmn_train", "training=osmn_paper_stills"): (OSMN_STILLS, ("outer", "guidance")),
    ("osmn_train", "training=osmn_paper_stills_end"): (OSMN_END, ("outer", "guidance")),
    ("osmn_train", "training=osmn_paper_video"): (OSMN_VIDEO, ("outer", "guidance")),
}
RUNNING = {"validate_every", "save_every", "validation_tasks", "validation_steps", "validation_pictures"}
RUNNING |= {"validation_objects"}  # how a training is watched: changes no learner that is kept last


def leaves(node: Any, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in node.items():
        nested = isinstance(value, dict) and key not in ("transform", "shares")
        flat |= leaves(value, f"{prefix}{key}.") if nested else {prefix + key: value}
    return flat


def plain(value: Any) -> Any:
    """Lists for tuples, also within dicts."""
    if isinstance(value, dict):
        return {key: plain(v) for key, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, list | tuple) else value


@pytest.mark.parametrize("choice", CONFIGS, ids=lambda choice: choice[1])
def test_a_paper_s_configuration_has_the_paper_s_values(choice):
    rows, whole = CONFIGS[choice]
    found = leaves(asdict(compose(choice[0], choice[1])))
    values = {key: plain(found[key]) for key in rows}
    assert values == {key: plain(value) for key, (value, _) in rows.items()}
    left = {key for key in found if key.split(".")[0] in whole and key not in rows}
    assert {key for key in left if key.split(".")[-1] not in RUNNING} == set(), "values that no row holds"


def test_the_networks_of_the_papers():
    def spec(command: str, training: str, sizes: dict[str, Any]) -> dict[str, Any]:
        given = find_learner.model_settings(compose(command, f"training={training}").model)
        return plain(asdict(replace(sizes[given["size"]], **given)))

    expected = {key: plain(value) for key, (value, _) in MASK_RCNN.items()}
    for training in ("paper_joint", "paper_davis16", "paper_davis17"):
        assert spec("meta_train", training, mask_rcnn.SIZES) == expected
    code = {"mask_loss": "lovasz", "mask_targets": "interpolated"}
    assert spec("meta_train", "reference_eosvos", mask_rcnn.SIZES) == expected | code
    vgg = spec("osvos_train", "osvos_paper", osvos.SIZES)
    assert vgg["size"] == "vgg16" and (vgg["short"], vgg["long"]) == (480, 854)
    assert spec("osmn_train", "osmn_paper_stills", osmn.SIZES)["guide"] == 224  # 3.5


def test_the_training_data_of_the_papers():
    joint = mixture.read("youtube-vos+davis17")
    youtube, davis = joint.sources
    assert joint.balance == "objects" and joint.window == 0 and joint.paste is None
    assert (youtube.kind, youtube.split, youtube.held_out) == ("youtube_vos", "train", 100)  # supplement 1
    assert (davis.kind, davis.year, davis.split, davis.held_out, davis.validation) == ("davis", 2017, "train", 0, [])
    assert compose("meta_train", "training=paper_joint").taskset.file == "youtube-vos+davis17"
    for year in (2016, 2017):
        taskset = compose("meta_train", f"training=paper_davis{year % 100}").taskset
        assert (taskset.kind, taskset.year, taskset.split) == ("davis", year, "train")
    coco = mixture.read("coco-osmn").sources[0]
    assert (coco.kind, coco.split, coco.min_area) == ("coco", "train2017", 0.03)  # OSMN 3.5


def test_every_setting_of_the_outer_loop_is_compared():
    """A new one is in a table before it is in a paper's configuration."""
    names = {f.name for f in fields(OuterSettings)} - RUNNING
    assert names <= {key.removeprefix("meta.") for key in JOINT}
