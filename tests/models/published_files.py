"""Files of exactly the keys and shapes of published weights, with one number per tensor: small, and each is told apart.

An expanded tensor is stored as its one number, so that a file of 44 million parameters has some hundred kilobytes.
"""

from __future__ import annotations

import re

import numpy as np
import torch
from torchvision.models import detection

from eosvos.models.mask_rcnn import build


def constants(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    return {key: torch.tensor(1 + 0.001 * i).expand(shape) for i, (key, shape) in enumerate(shapes.items())}


def shapes_of(make, **settings) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in make(**settings).state_dict().items()}


def coco_v1() -> dict[str, torch.Tensor]:
    """maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth: frozen batch norms, and module names of torchvision 0.3 to 0.12."""
    shapes = shapes_of(detection.maskrcnn_resnet50_fpn, weights=None, weights_backbone=None)
    renamed = {}
    for key, shape in shapes.items():
        if key.endswith("num_batches_tracked"):
            continue
        key = re.sub(r"(_blocks\.\d)\.0\.", r"\1.", key).replace("rpn.head.conv.0.0.", "rpn.head.conv.")
        key = re.sub(r"mask_head\.(\d)\.0\.", lambda m: f"mask_head.mask_fcn{int(m[1]) + 1}.", key)
        renamed[key] = shape
    return constants(renamed)


def coco_v2() -> dict[str, torch.Tensor]:
    return constants(shapes_of(detection.maskrcnn_resnet50_fpn_v2, weights=None, weights_backbone=None))


def authors() -> dict[str, object]:
    """A checkpoint of the e-OSVOS code: 201 parameters under old names, and a rate along dimension 0 of each."""
    with torch.device("meta"):
        shapes = {key: tuple(p.shape) for key, p in build("resnet50").named_parameters()}
    state = {}
    for key, shape in shapes.items():
        key = re.sub(r"(_blocks\.\d)\.0\.", r"\1.", key).replace("rpn.head.conv.0.0.", "rpn.head.conv.")
        key = re.sub(r"mask_head\.(\d)\.0\.", lambda m: f"mask_head.mask_fcn{int(m[1]) + 1}.", key).replace(".", "-")
        state[f"log_init_lr_{key}"] = (shape[0],) + (1,) * (len(shape) - 1)
        state[f"model_init_{key}"] = shape
    return {"meta_optim_state_dict": constants(state), "vis_win_names": {"x": "y"}, "meta_iter": 7, "meta_epoch": 0}


def detectron2_gn() -> dict[str, np.ndarray]:
    """mask_rcnn_R_50_FPN_3x_gn: the model section of its pickle."""
    shapes: dict[str, tuple[int, ...]] = {}

    def conv(name, out, into, side, norm=True):
        shapes[f"{name}.weight"] = (out, into, side, side)
        shapes.update({f"{name}.norm.{w}": (out,) for w in ("weight", "bias")} if norm else {f"{name}.bias": (out,)})

    bottom = "backbone.bottom_up"
    conv(f"{bottom}.stem.conv1", 64, 3, 7)
    into = 64
    for stage, (blocks, width) in enumerate([(3, 64), (4, 128), (6, 256), (3, 512)], start=2):
        for block in range(blocks):
            name = f"{bottom}.res{stage}.{block}"
            if block == 0:
                conv(f"{name}.shortcut", 4 * width, into, 1)
            conv(f"{name}.conv1", width, into, 1)
            conv(f"{name}.conv2", width, width, 3)
            conv(f"{name}.conv3", 4 * width, width, 1)
            into = 4 * width
        conv(f"backbone.fpn_lateral{stage}", 256, into, 1)
        conv(f"backbone.fpn_output{stage}", 256, 256, 3)
    conv("proposal_generator.rpn_head.conv", 256, 256, 3, norm=False)
    conv("proposal_generator.rpn_head.objectness_logits", 3, 256, 1, norm=False)
    conv("proposal_generator.rpn_head.anchor_deltas", 12, 256, 1, norm=False)
    for k in range(1, 5):
        conv(f"roi_heads.box_head.conv{k}", 256, 256, 3)
        conv(f"roi_heads.mask_head.mask_fcn{k}", 256, 256, 3)
    shapes |= {"roi_heads.box_head.fc1.weight": (1024, 12544), "roi_heads.box_head.fc1.bias": (1024,)}
    for name, out in (("cls_score", 81), ("bbox_pred", 320)):
        shapes |= {
            f"roi_heads.box_predictor.{name}.weight": (out, 1024),
            f"roi_heads.box_predictor.{name}.bias": (out,),
        }
    conv("roi_heads.mask_head.deconv", 256, 256, 2, norm=False)
    conv("roi_heads.mask_head.predictor", 80, 256, 1, norm=False)
    shapes["proposal_generator.anchor_generator.cell_anchors.0"] = (3, 4)
    return {key: np.full(shape, 1 + 0.001 * i, np.float32) for i, (key, shape) in enumerate(shapes.items())}
