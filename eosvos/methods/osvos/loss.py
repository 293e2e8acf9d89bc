"""From samples to closures phi -> loss for a network of one logit per pixel: the same for training and test time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import functional_call

from eosvos.data.tasks import Sample
from eosvos.meta.adapt import Loss, Params
from eosvos.models.osvos import FCN, total_loss

BRANCHES = ("foreground", "contours")


def target_mask(sample: Sample, branch: str = "foreground") -> Tensor:
    """bool (h, w): what any instance covers, or the pixels on both sides of the contour of any instance."""
    height, width = sample.image.shape[-2:]
    if branch == "foreground":
        return sample.masks.any(0) if len(sample.masks) else torch.zeros(height, width, dtype=torch.bool)
    numbers = torch.arange(1, len(sample.masks) + 1)[:, None, None]
    labels = (sample.masks * numbers).amax(0) if len(numbers) else torch.zeros(height, width)
    down, right = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    result = torch.zeros(height, width, dtype=torch.bool)
    result[1:] |= down
    result[:-1] |= down
    result[:, 1:] |= right
    result[:, :-1] |= right
    return result


def loss_of(
    model: FCN,
    sample: Sample,
    *,
    branch: str = "foreground",
    sides: float = 0.0,
    beta: float | None = None,
    note: Callable[[float], None] | None = None,
) -> Loss:
    """The closure phi -> `models.osvos.total_loss` of one sample. note: gets the part of the fused output."""
    device = next(model.parameters()).device
    image, truth = sample.image[None].to(device), target_mask(sample, branch)[None, None].to(device)
    ignore = None if sample.ignore is None else sample.ignore[None, None].to(device)

    def loss(phi: Params) -> Tensor:
        outputs = functional_call(model, phi, (image,), {"sides": sides > 0}, strict=False)
        if note is not None:
            note(float(total_loss(outputs[:1], truth, ignore, sides=0.0, beta=beta).detach()))
        return total_loss(outputs, truth, ignore, sides=sides, beta=beta)

    return loss


@torch.no_grad()
def probability(model: FCN, phi: Params, image: Tensor, size: tuple[int, int]) -> Tensor:
    """float32 (H, W) on the CPU, for a frame of `size` (H, W), from its image (3, h, w) at the network's size."""
    device = next(model.parameters()).device
    logits = functional_call(model, phi, (image[None].to(device),), strict=False)[0]
    if logits.shape[-2:] != size:
        logits = torch.nn.functional.interpolate(logits, size, mode="bilinear", align_corners=False)
    return logits[0, 0].sigmoid().cpu()
