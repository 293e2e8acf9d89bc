"""Box propagation (section 3.3): jittered copies of an object's last box as proposals for the next frame."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from eosvos.methods.eosvos.settings import Propagation


def jittered_boxes(box: Tensor, size: Sequence[int], settings: Propagation, generator: torch.Generator) -> Tensor:
    """Draw jittered copies of a box (box propagation, section 3.3).

    Args:
        box: xyxy (4,) in pixels of the image.
        size: (H, W) of the image.
        settings: number of copies, and how far and in which direction their sides move.
        generator: of the random draws, on the CPU.

    Returns:
        float32 (N, 4), clipped to the image, the box itself first; copies of less than one pixel are left out.
    """
    share = torch.rand(settings.boxes, 4, generator=generator, dtype=torch.float32)
    share = -share * share.new_tensor([1, 1, -1, -1]) if settings.outward else 2 * share - 1
    share[0] = 0
    limit = box.new_tensor([size[1], size[0]]).repeat(2)
    boxes = (box + share * settings.jitter * (box[2:] - box[:2]).repeat(2)).clamp(min=0).minimum(limit)
    return boxes[(boxes[:, 2:] - boxes[:, :2] >= 1).all(1)]
