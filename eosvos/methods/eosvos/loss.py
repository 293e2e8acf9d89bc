"""Losses of Mask R-CNN as functions of its parameters, for `meta.adapt`; the same for training and test time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.func import functional_call

from eosvos import seeds
from eosvos.data.masks import boxes_of
from eosvos.data.tasks import Sample
from eosvos.meta.adapt import Loss, Params
from eosvos.models.mask_rcnn import MaskRCNN


def target_of(sample: Sample, device: torch.device | str) -> dict[str, Tensor]:
    """Build the detection target of a sample; empty masks are left out.

    Returns:
        boxes: float32 (N, 4), the tight boxes of the masks; masks: uint8 (N, h, w); ignore: uint8 (N, h, w), where the
        sample has pixels that are left out of the mask loss.
    """
    masks = sample.masks[sample.masks.flatten(1).any(1)] if len(sample.masks) else sample.masks
    target = {"boxes": boxes_of(masks).to(device), "masks": masks.to(device, torch.uint8)}
    if sample.ignore is not None:
        target["ignore"] = sample.ignore.to(device, torch.uint8).expand(len(masks), -1, -1)
    return target


def loss_of(
    model: MaskRCNN,
    samples: Sequence[Sample],
    seed: tuple[int, ...],
    note: Callable[[dict[str, Tensor]], None] | None = None,
) -> Loss:
    """Build the loss L_seg of a batch: the sum of Mask R-CNN's five losses, as a function of the parameters.

    Args:
        model: the network; it is put into training mode when the loss is computed.
        samples: the batch.
        seed: path of the random draw of anchors and regions.
        note: called with the five losses by name.

    Returns:
        A function from the parameters phi to a scalar.
    """
    device = next(model.parameters()).device
    images = [s.image.to(device) for s in samples]
    targets = [target_of(s, device) for s in samples]

    def loss(phi: Params) -> Tensor:
        model.train()
        draws = {"generator": seeds.generator(*seed)}
        parts = functional_call(model, phi, (images, targets), draws, tie_weights=False, strict=True)
        if note is not None:
            note(parts)
        return torch.stack(list(parts.values())).sum()

    return loss


def mean_of(parts: Sequence[tuple[float, Loss]]) -> Loss:
    """Build the weighted mean of losses, from pairs of weight and loss."""
    total = sum(weight for weight, _ in parts)

    def loss(phi: Params) -> Tensor:
        return torch.stack([loss(phi) * (weight / total) for weight, loss in parts]).sum()

    return loss


def inner_losses(model: MaskRCNN, train: Sequence[Sample], steps: int, batch: int, seed: tuple[int, ...]) -> list[Loss]:
    """Build the losses of fine-tuning steps; step t takes the next `batch` of the training samples, cyclically."""
    return [
        loss_of(model, [train[(t * batch + j) % len(train)] for j in range(batch)], (*seed, t)) for t in range(steps)
    ]
