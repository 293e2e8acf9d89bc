"""GroupNorm Mask R-CNN (e-OSVOS, sections 3.3 and 4.2), built of torchvision's parts.

Two classes, background and object. It differs from torchvision's model in four ways: group norm in the backbone
(backbones.py), the Lovász loss on the mask logits, further proposals as an input of `forward` (box propagation), and
losses with derivatives of any order. It has no buffers, so its parameters are its whole state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import detection
from torchvision.models.detection import roi_heads as tv_roi_heads
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import box_iou, clip_boxes_to_image, nms

from eosvos.models import sampling
from eosvos.models.backbones import NORMS, Backbone, build_body
from eosvos.models.lovasz import lovasz_hinge, lovasz_softmax
from eosvos.models.roi_align import MultiScaleRoIAlign
from eosvos.models.sizes import spec_of

MASK_TARGETS = ("binary", "interpolated")
LOSSES = ("loss_classifier", "loss_box_reg", "loss_mask", "loss_objectness", "loss_rpn_box_reg")


@dataclass(frozen=True)
class Spec:
    """All that is needed to rebuild a network. Sizes in pixels, counts per image, thresholds in [0, 1]."""

    size: str = "tiny"
    short: int = 128  # images are resized to this short side ...
    long: int = 224  # ... unless the long side would exceed this
    widths: tuple[int, ...] = ()  # channels of the four stages (tiny only)
    fpn: int = 256  # channels of the feature pyramid
    hidden: int = 1024  # units of the two box layers
    groups: int = 32  # of every group norm
    norm: str = "group"  # of the body; or "frozen_batch": a fixed scale and shift per channel
    frozen: int = 0  # the parts of the body before the stage of this number, 1 to 4, have no gradient; 0: all have
    head_norm: bool = False  # group norm in the feature pyramid and the heads' convolutions too
    stride_first: bool = False  # ResNet-50: stride 2 in a stage's first 1x1 convolution (He et al.), not in its 3x3
    box_convs: int = 0  # 3x3 convolutions of the box head, followed by one layer of `hidden` units in place of two
    rpn_convs: int = 1  # 3x3 convolutions of the proposal head
    anchors: tuple[int, ...] = (32, 64, 128, 256, 512)  # side of the square anchor, one per pyramid level
    canonical: int = 224  # side of a region that is pooled from the third pyramid level
    mask_canonical: int = 0  # the same for the mask head, larger for finer features; 0: as `canonical`
    sampling: int = 2  # points per bin and axis of a pooled region
    box_roi: int = 7
    mask_roi: int = 28  # the mask logits have twice this size (paper, supplement section 1)
    mask_layers: int = 4  # convolutions of the mask head before the upsampling
    mask_loss: str = "lovasz"  # of `MASK_LOSSES`
    mask_targets: str = "binary"  # crops of the masks to regions; "interpolated": with shares of pixels at edges
    rpn_first: int = 0  # finest pyramid level that proposes (0: stride 4); `anchors` has the levels from there on
    rpn_pre: int = 1000  # proposals kept per level before NMS
    rpn_post: int = 1000  # and per image after it
    rpn_pre_test: int = 0  # the same on frames to segment; 0: as `rpn_pre`
    rpn_post_test: int = 0
    rpn_batch: int = 256  # anchors sampled for the loss
    rpn_nms: float = 0.7
    roi_batch: int = 512  # regions sampled for the loss
    roi_positive: float = 0.25  # at most this share of them positive
    box_nms: float = 0.5
    score: float = 0.5  # a detection scores more than this
    detections: int = 1  # per image


_SMALL = {"fpn": 64, "hidden": 128, "groups": 8, "head_norm": True, "sampling": 1, "mask_layers": 2, "rpn_first": 1}
_SMALL |= {"rpn_pre": 100, "rpn_post": 50, "rpn_batch": 64, "roi_batch": 32}
_SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        **{"short": 128, "long": 224, "widths": (32, 64, 128, 256), "anchors": (24, 48, 96, 160)},
        **{"canonical": 112, "mask_roi": 14, "score": 0.05},
        **_SMALL,
    },
    "mobilenet_v2": {
        **{"short": 192, "long": 336, "norm": "frozen_batch", "frozen": 2, "anchors": (32, 64, 128, 224)},
        **{"canonical": 128, "mask_canonical": 512, "mask_roi": 20, "score": 0.1},
        **_SMALL,
    },
    "resnet18": {"short": 480, "long": 854},
    "resnet50": {"short": 800, "long": 1333, "rpn_pre": 2000, "rpn_post": 1000},
}
SIZES = {size: Spec(size=size, **settings) for size, settings in _SIZES.items()}


def build(size: str = "tiny", **settings: Any) -> MaskRCNN:
    """Build a network with random weights.

    Args:
        size: `tiny` (about 2 M parameters), `mobilenet_v2`, `resnet18` or `resnet50` (the paper's, 43,975,515).
        settings: fields of `Spec` that differ from the size's own.

    Raises:
        ValueError: for an unknown size or setting.
    """
    return MaskRCNN(spec_of(SIZES, size, settings))


class MaskRCNN(detection.MaskRCNN):
    """Mask R-CNN of a `Spec`, with two classes.

    In training mode `forward` returns the five losses by name (their sum is the paper's L_seg), in evaluation mode a
    list of detections. Targets without instances (boxes (0, 4)) are for images without the object.
    """

    def __init__(self, spec: Spec) -> None:
        for name, known in (("mask_loss", tuple(MASK_LOSSES)), ("mask_targets", MASK_TARGETS), ("norm", tuple(NORMS))):
            if getattr(spec, name) not in known:
                raise ValueError(f"{name} {getattr(spec, name)!r} is unknown; expected one of {', '.join(known)}")
        levels = ["0", "1", "2", "3"]
        pool = partial(MultiScaleRoIAlign, levels, sampling_ratio=spec.sampling)
        super().__init__(
            _backbone(spec),
            min_size=spec.short,
            max_size=spec.long,
            rpn_anchor_generator=_Anchors(spec),
            rpn_pre_nms_top_n_train=spec.rpn_pre,
            rpn_pre_nms_top_n_test=spec.rpn_pre_test or spec.rpn_pre,
            rpn_post_nms_top_n_train=spec.rpn_post,
            rpn_post_nms_top_n_test=spec.rpn_post_test or spec.rpn_post,
            rpn_batch_size_per_image=spec.rpn_batch,
            rpn_nms_thresh=spec.rpn_nms,
            box_roi_pool=pool(spec.box_roi, canonical_scale=spec.canonical),
            box_head=_box_head(spec),
            box_predictor=FastRCNNPredictor(spec.hidden, 2),
            box_score_thresh=spec.score,
            box_nms_thresh=spec.box_nms,
            box_detections_per_img=spec.detections,
            box_batch_size_per_image=spec.roi_batch,
            box_positive_fraction=spec.roi_positive,
            mask_roi_pool=pool(spec.mask_roi, canonical_scale=spec.mask_canonical or spec.canonical),
            mask_head=MaskRCNNHeads(
                spec.fpn, (spec.fpn,) * spec.mask_layers, 1, norm_layer=_norm(spec) if spec.head_norm else None
            ),
            mask_predictor=MaskRCNNPredictor(spec.fpn, spec.fpn, 2),
            rpn_head=_RPNHead(spec),
        )
        sampling.install_samplers(self, spec.rpn_batch, spec.roi_batch, spec.roi_positive)
        self.network_spec = spec
        self.mask_loss = spec.mask_loss

    @property
    def spec(self) -> dict[str, Any]:
        """Settings as plain values: `build(**model.spec)` makes the same network."""
        return asdict(self.network_spec)

    def forward(  # type: ignore[override]
        self,
        images: list[Tensor],
        targets: list[dict[str, Tensor]] | None = None,
        proposals: list[Tensor] | None = None,
        output_sizes: list[tuple[int, int]] | None = None,
        previous: list[Tensor | None] | None = None,
        iou_prior_weight: float = 0.0,
        box_voting_iou: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> Any:
        """Compute the losses (training mode) or detections (evaluation mode) of images.

        Args:
            images: float (3, H, W) in [0, 1], of any sizes.
            targets: for training, per image: boxes float (N, 4), masks uint8 (N, H, W), and optionally ignore uint8 (N,
                H, W), pixels left out of the mask loss.
            proposals: per image, further boxes (N, 4) in its own pixels, judged beside the RPN's.
            output_sizes: per image, height and width of the masks; None: the image's own size.
            previous: per image, the object's last box (4,) in the image's pixels, or None.
            iou_prior_weight: detections are ranked by their score plus this weight times their IoU with `previous`.
            box_voting_iou: if above 0, a detection's box becomes the mean, weighted by score, of all boxes that overlap
                it with at least this IoU (box voting: Gidaris & Komodakis, ICCV 2015, section 5).
            generator: of the draws of training, see `sampling`.

        Returns:
            Training: losses by name (`LOSSES`). Evaluation: per image, boxes (M, 4), scores (M,) and masks float (M, 1,
            H', W'), probabilities.
        """
        sizes = [(int(i.shape[-2]), int(i.shape[-1])) for i in images]
        if targets is not None:
            targets = [_complete(t) for t in targets]
            ignores = [t.pop("ignore", None) for t in targets]  # torchvision's transform resizes only keys it knows
        sampling.set_generator(self, generator, len(images))
        batch, targets = self.transform(images, targets)
        # A fifth faster in convolutions on a CPU, and what tensor cores want; weights follow by themselves.
        features = self.backbone(batch.tensors.contiguous(memory_format=torch.channels_last))
        boxes, losses = self.rpn(batch, features, targets)
        if proposals is not None:
            boxes = [
                torch.cat([rpn_boxes, _rescale(extra, size, resized)])
                for rpn_boxes, extra, size, resized in zip(boxes, proposals, sizes, batch.image_sizes, strict=True)
            ]
        if self.training:
            assert targets is not None, "targets are needed in training mode"
            losses.update(self._roi_losses(features, boxes, batch.image_sizes, targets, ignores))
            return losses
        previous_boxes = [
            None if box is None else _rescale(box[None], size, resized)
            for box, size, resized in zip(previous or [None] * len(sizes), sizes, batch.image_sizes, strict=True)
        ]
        detections = self._detect(features, boxes, batch.image_sizes, previous_boxes, iou_prior_weight, box_voting_iou)
        return self.transform.postprocess(detections, batch.image_sizes, output_sizes or sizes)

    def _roi_losses(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        sizes: list[tuple[int, int]],
        targets: list[dict[str, Tensor]],
        ignores: list[Tensor | None],
    ) -> dict[str, Tensor]:
        heads = self.roi_heads
        proposals, matched, labels, regression = heads.select_training_samples(proposals, targets)
        logits, deltas = heads.box_predictor(heads.box_head(heads.box_roi_pool(features, proposals, sizes)))
        classifier, box = tv_roi_heads.fastrcnn_loss(logits, deltas, labels, regression)
        positive = [torch.where(label > 0)[0] for label in labels]
        regions = [p[keep] for p, keep in zip(proposals, positive, strict=True)]
        matched = [m[keep] for m, keep in zip(matched, positive, strict=True)]
        pooled = heads.mask_roi_pool(features, regions, sizes)
        mask_logits = heads.mask_predictor(heads.mask_head(pooled))[:, 1]  # (R, M, M)
        side = mask_logits.shape[-1]
        truth = torch.cat([_crop(t["masks"], r, m, side) for t, r, m in zip(targets, regions, matched, strict=True)])
        if self.network_spec.mask_targets == "binary":  # the Lovász extension is defined on sets
            truth = (truth >= 0.5).to(truth.dtype)
        ignore = None
        if any(i is not None for i in ignores):
            planes = [torch.zeros_like(t["masks"]) if i is None else i for i, t in zip(ignores, targets, strict=True)]
            crops = [_crop(p, r, m, side) for p, r, m in zip(planes, regions, matched, strict=True)]
            ignore = torch.cat(crops) >= 0.5
        loss = MASK_LOSSES[self.mask_loss](mask_logits, truth, ignore)
        return {"loss_classifier": classifier, "loss_box_reg": box, "loss_mask": loss}

    def _detect(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        sizes: list[tuple[int, int]],
        previous: list[Tensor | None],
        iou_prior_weight: float,
        box_voting_iou: float,
    ) -> list[dict[str, Tensor]]:
        heads, spec = self.roi_heads, self.network_spec
        logits, deltas = heads.box_predictor(heads.box_head(heads.box_roi_pool(features, proposals, sizes)))
        counts = [len(p) for p in proposals]
        decoded = heads.box_coder.decode(deltas, proposals).view(-1, 2, 4)[:, 1].split(counts)  # of class 1, the object
        certain = logits.softmax(-1)[:, 1].split(counts)
        boxes, scores = [], []
        for candidates, score, size, box in zip(decoded, certain, sizes, previous, strict=True):
            candidates = clip_boxes_to_image(candidates, size)
            large = ((candidates[:, 2:] - candidates[:, :2]) >= 0.01).all(1)
            kept = torch.where((score > heads.score_thresh) & large)[0]
            candidates, score = candidates[kept], score[kept]
            rank = score if box is None else score + iou_prior_weight * box_iou(candidates, box)[:, 0]
            chosen = nms(candidates, rank, spec.box_nms)[: spec.detections]
            scores.append(score[chosen])
            if box_voting_iou:
                votes = score * (box_iou(candidates[chosen], candidates) >= box_voting_iou)  # (M, N)
                boxes.append(votes @ candidates / votes.sum(1, keepdim=True).clamp(min=1e-12))
            else:
                boxes.append(candidates[chosen])
        mask_logits = heads.mask_predictor(heads.mask_head(heads.mask_roi_pool(features, boxes, sizes)))
        masks = mask_logits[:, 1:].sigmoid().split([len(b) for b in boxes])
        return [{"boxes": b, "scores": s, "masks": m} for b, s, m in zip(boxes, scores, masks, strict=True)]


class _Anchors(AnchorGenerator):
    """Anchors on the pyramid's levels from `rpn_first` on."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(tuple((side,) for side in spec.anchors), ((0.5, 1.0, 2.0),) * len(spec.anchors))
        self.first = spec.rpn_first

    def forward(self, image_list: Any, feature_maps: list[Tensor]) -> list[Tensor]:
        return super().forward(image_list, feature_maps[self.first :])


class _RPNHead(RPNHead):
    """Proposal head on the same levels."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec.fpn, num_anchors=3, conv_depth=spec.rpn_convs)
        self.first = spec.rpn_first

    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        return super().forward(x[self.first :])


def _complete(target: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**target, "labels": torch.ones(len(target["boxes"]), dtype=torch.int64, device=target["boxes"].device)}


def _crop(masks: Tensor, regions: Tensor, matched: Tensor, side: int) -> Tensor:
    """Crop masks (N, H, W) of the matched instances to their regions: float (R, side, side) in [0, 1], interpolated."""
    if len(masks) == 0:
        return regions.new_zeros((0, side, side))
    return tv_roi_heads.project_masks_on_boxes(masks, regions, matched, side).to(regions.dtype)


def _cross_entropy(logits: Tensor, truth: Tensor, ignore: Tensor | None) -> Tensor:
    if len(logits) == 0:
        return logits.sum() * 0
    if ignore is None:
        return F.binary_cross_entropy_with_logits(logits, truth)
    loss = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return loss.masked_fill(ignore, 0).sum() / (~ignore).sum().clamp(min=1)


MASK_LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {
    "lovasz": lovasz_hinge,
    "lovasz_softmax": lovasz_softmax,
    "cross_entropy": _cross_entropy,
}


def _rescale(boxes: Tensor, size: tuple[int, int], resized: tuple[int, int]) -> Tensor:
    """Convert boxes (N, 4) from pixels of an image of `size` to those of the same image `resized`."""
    scale = boxes.new_tensor([resized[1] / size[1], resized[0] / size[0]]).repeat(2)
    return boxes * scale


def _norm(spec: Spec) -> Callable[[int], nn.Module]:
    return partial(nn.GroupNorm, spec.groups)  # of what is new here: there are no statistics to freeze


def _box_head(spec: Spec) -> nn.Module:
    if spec.box_convs == 0:
        return TwoMLPHead(spec.fpn * spec.box_roi**2, spec.hidden)
    size, norm = (spec.fpn, spec.box_roi, spec.box_roi), _norm(spec) if spec.head_norm else None
    return FastRCNNConvFCHead(size, [spec.fpn] * spec.box_convs, [spec.hidden], norm_layer=norm)


def _backbone(spec: Spec) -> Backbone:
    options = {name: getattr(spec, name) for name in ("norm", "groups", "widths", "stride_first", "frozen")}
    body, channels = build_body(spec.size, **options)
    return Backbone(body, channels, spec.fpn, _norm(spec) if spec.head_norm else None)
