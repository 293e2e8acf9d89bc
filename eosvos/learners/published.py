"""Learners of files: our own, or a published Mask R-CNN, which becomes one.

A published file gives the initialization theta. Learning rates come with the checkpoints of e-OSVOS's authors; other
weights have none, and fine-tune with a single one that is given or searched.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import torch

from eosvos import seeds
from eosvos.errors import UserError
from eosvos.file_kinds import kind_of
from eosvos.learners import path_of
from eosvos.meta.learner import Learner
from eosvos.methods.rate_search import single_rate_learner
from eosvos.models.mask_rcnn import build
from eosvos.models.pretrained import convert, load
from eosvos.models.pretrained.files import KINDS, PREFIX
from eosvos.torch_state import own_state

log = logging.getLogger(__name__)

TAKEN = "a learner.safetensors, an e-OSVOS checkpoint of its authors, torchvision's COCO Mask R-CNN (v1), detectron2's"

_OF_CLASSES = ("cls_score", "bbox_pred", "mask_fcn_logits")  # layers with an output for each class

# What the authors' checkpoints were trained by, as their code (github.com/dvl-tum/e-osvos, f29531d) has it.
REFERENCE_RULES: dict[str, Any] = {
    "clip": None,  # meta_optim.py, step(): plain SGD, inner gradients are not clipped
    "window": 0.0,  # whole frames
}
REFERENCE_NETWORK: dict[str, Any] = {
    "rpn_pre": 2000,  # torchvision's defaults in training, and at test time; so is the size of images, 800 x 1333
    "rpn_post": 2000,
    "rpn_pre_test": 1000,
    "rpn_post_test": 1000,
    "mask_loss": "lovasz",  # loss_lovasz.py: the hinge on each region's logits (the paper, 3.3, names Lovász-Softmax)
    "mask_targets": "interpolated",  # mask_rcnn.py: crops are not made binary
    "score": 0.5,  # mask_rcnn.py: box_score_thresh, by a misleading name
}


@own_state()
def open_learner(given: Learner | str | Path | None = None, rate: float | None = None) -> Learner:
    """Open a learner.safetensors or a published Mask R-CNN, told apart by their content, without executing code.

    Layers that a published file has for other classes than object and background are drawn anew, as trainings with
    seed 0 draw them, and a warning says so. Batch norms of the body are kept, with their statistics folded into a scale
    and shift per channel (`norm="frozen_batch"`). Without learning rates all are 0, see `Learner.check_rates`.

    Args:
        given: path of the file; or a text: a path, the name of a learner that ships, or that of weights of
            torchvision's, which are fetched. None: the learner that ships. A learner is taken as it is.
        rate: the learning rate, above 0, of all parameters of a learner that has none.

    Raises:
        UserError: for a file that is missing, damaged, or of another kind; for a rate beside rates of the file.
    """
    if given is None:
        learner = Learner.shipped()
    elif isinstance(given, Learner):
        learner = given
    else:
        named = isinstance(given, str) and not given.startswith(PREFIX)
        source = path_of(str(given)) if named else given
        learner = _published(source) if _has_weights(source) else Learner.load(source)
    if rate is None:
        return learner
    if not 0 < rate < math.inf:
        raise UserError(f"learner_rate={rate}: expected above 0")
    if learner.has_rates:
        name = "in use" if isinstance(given, Learner) else given or "that ships"
        raise UserError(f"learner_rate={rate:g}: learner {name} has learning rates of its own; leave learner_rate= out")
    return single_rate_learner(learner.theta, rate, learner.spec)


def _has_weights(source: str | Path) -> bool:
    try:
        return str(source).startswith(PREFIX) or kind_of(source).weights
    except OSError:  # `Learner.load` says what is the matter
        return False


def _published(source: str | Path) -> Learner:
    try:
        found = convert.read(str(source))
    except UserError as error:  # its messages are of the setting that trainings have
        raise UserError(str(error).replace("init=", "learner=").replace(KINDS, TAKEN)) from error
    if "head_norm" not in found.settings:
        raise _other(source, found.kind, "which finds and masks no objects yet")
    if any(not name.startswith("backbone.body.") for name in found.affines):
        raise _other(source, found.kind, "whose heads have batch norms, to be fitted to pictures of a training")
    norm = "frozen_batch" if found.affines else "group"
    place = torch.device("meta" if found.rates else "cpu")  # where all is in the file, nothing need be drawn
    settings = found.settings | (REFERENCE_NETWORK if found.rates else {})
    with place, seeds.InitialWeights(0, seeds.INITIAL_WEIGHTS):
        model = build(**settings, norm=norm).float()  # whatever the caller's default dtype is
    model = model if place.type == "cpu" else model.to_empty(device="cpu")
    report = load.load(model, found, norm="copy")
    theta = {name: p.detach() for name, p in model.named_parameters()}
    spec: dict[str, Any] = {"model": model.spec, "made_by": "convert", "weights": found.kind}
    if found.rates:
        _check_whole(source, found.kind, report.new | report.skipped)
        return Learner(theta, found.rates, "neuron", {**spec, "rules": dict(REFERENCE_RULES)})
    _check_whole(source, found.kind, {n: why for n, why in report.new.items() if n.split(".")[-2] not in _OF_CLASSES})
    if report.new:
        log.warning(
            "learner %s: %s; its layers of classes are left out, and those of object and background begin with random "
            "values, so that masks mean nothing before fine-tuning",
            source,
            found.kind,
        )
    return single_rate_learner(theta, 0.0, spec)


def _check_whole(source: str | Path, kind: str, missing: dict[str, str]) -> None:
    for name, why in missing.items():
        raise UserError(
            f"learner={source}: {kind}, but for {name}: {why}; expected all parts of a Mask R-CNN, with the rates of "
            "each in an e-OSVOS checkpoint (402 tensors); fetch it again, or give another file"
        )


def _other(source: str | Path, kind: str, why: str) -> UserError:
    return UserError(
        f"learner={source}: {kind}, {why}; trainings begin with it by init={source}; expected one of: {TAKEN}"
    )
