"""Losses of OSVOS's network as functions of its parameters; the same for training and test time."""

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
    """Build the mask that a branch of the network is trained on.

    Args:
        sample: its masks are bool (N, h, w).
        branch: "foreground": the union of all instances; "contours": the pixels on both sides of any contour.

    Returns:
        bool (h, w).
    """
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
    """Build the loss of one sample, the balanced cross-entropy (OSVOS, eq. 1), as a function of the parameters.

    Args:
        model: the network.
        sample: image and masks.
        branch: see `target_mask`.
        sides: weight of the losses of the side outputs, see `models.osvos.total_loss`.
        beta: share of the background; None: as the mask has it.
        note: called with the loss of the fused output.

    Returns:
        A function from the parameters phi to a scalar.
    """
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
    """Compute the foreground probability of each pixel.

    Args:
        model: the network.
        phi: its parameters.
        image: float32 (3, h, w), the frame at network size.
        size: (H, W) of the frame.

    Returns:
        float32 (H, W) on the CPU, in [0, 1].
    """
    device = next(model.parameters()).device
    logits = functional_call(model, phi, (image[None].to(device),), strict=False)[0]
    if logits.shape[-2:] != size:
        logits = torch.nn.functional.interpolate(logits, size, mode="bilinear", align_corners=False)
    return logits[0, 0].sigmoid().cpu()
