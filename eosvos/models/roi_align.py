"""RoIAlign (He et al., ICCV 2017, section 3) that can be differentiated any number of times.

torchvision's has no second derivative (https://github.com/pytorch/vision/issues/1982), which second-order meta-learning
needs. But RoIAlign is linear in the features: its derivative is its transpose, the derivative of the transpose is
RoIAlign again, and torchvision has kernels of both. Values and first derivatives are torchvision's, bit for bit.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
import torchvision.ops
from torch import Tensor
from torch.autograd import Function
from torchvision.ops import poolers


def roi_align(
    features: Tensor, regions: Tensor, size: tuple[int, int], scale: float = 1.0, sampling: int = -1
) -> Tensor:
    """Pool features within regions.

    Args:
        features: float (N, C, H, W).
        regions: float (K, 5), rows (n, x1, y1, x2, y2) in pixels; they have no gradient, as in torchvision.
        size: height and width of the output.
        scale: factor from the regions' pixels to those of the features.
        sampling: points per bin and axis; -1: one for each pixel of the features that a bin covers.

    Returns:
        float (K, C, *size).
    """
    if torch.are_deterministic_algorithms_enabled() and features.device.type != "cpu":
        # On a GPU the kernel of the transpose adds in any order; torchvision has a slow way around, for first order.
        return torchvision.ops.roi_align(features, regions, size, scale, sampling)
    return _RoIAlign.apply(features, regions, scale, *size, sampling)


class MultiScaleRoIAlign(torchvision.ops.MultiScaleRoIAlign):
    """torchvision's pooling of each region from the pyramid level that fits its size, by this module's `roi_align`."""

    scales: list[float] | None
    map_levels: poolers.LevelMapper | None

    def forward(self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]) -> Tensor:
        """Pool regions from the pyramid.

        Args:
            x: levels (N, C, H, W) by name.
            boxes: (K, 4) in pixels, for each image.
            image_shapes: height and width of each image in pixels.

        Returns:
            float (sum of all K, C, *output_size).
        """
        levels = [x[name] for name in x if name in self.featmap_names]
        if self.scales is None or self.map_levels is None:
            # As in torchvision, whose function for it is private: each level has a size of 2 ** -k of the image's.
            tallest = max(shape[0] for shape in image_shapes)
            exponents = [round(math.log2(level.shape[-2] / tallest)) for level in levels]
            self.scales = [2.0**k for k in exponents]
            self.map_levels = poolers.LevelMapper(
                -exponents[0], -exponents[-1], self.canonical_scale, self.canonical_level
            )
        height, width = self.output_size
        regions = torch.cat([F.pad(b, (1, 0), value=k) for k, b in enumerate(boxes)])  # the image's number in front
        if len(levels) == 1:
            return roi_align(levels[0], regions, (height, width), self.scales[0], self.sampling_ratio)
        level_of = self.map_levels(boxes)
        pooled = levels[0].new_zeros(len(regions), levels[0].shape[1], height, width)
        for index, (level, scale) in enumerate(zip(levels, self.scales, strict=True)):
            rows = torch.where(level_of == index)[0]
            level_pooled = roi_align(level, regions[rows], (height, width), scale, self.sampling_ratio)
            pooled[rows] = level_pooled.to(pooled.dtype)
        return pooled


class _RoIAlign(Function):
    @staticmethod
    def forward(
        ctx: Any, features: Tensor, regions: Tensor, scale: float, height: int, width: int, sampling: int
    ) -> Tensor:
        ctx.save_for_backward(regions)
        ctx.settings = (scale, height, width, *features.shape, sampling)
        return torch.ops.torchvision.roi_align(features, regions, scale, height, width, sampling, False)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (regions,) = ctx.saved_tensors
        return _Transpose.apply(gradients[0], regions, *ctx.settings), None, None, None, None, None


class _Transpose(Function):
    @staticmethod
    def forward(ctx: Any, pooled: Tensor, regions: Tensor, *settings: Any) -> Tensor:
        ctx.save_for_backward(regions)
        scale, height, width, *_, sampling = settings
        ctx.settings = (scale, height, width, sampling)
        return torch.ops.torchvision._roi_align_backward(pooled, regions, *settings, False)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (regions,) = ctx.saved_tensors
        return _RoIAlign.apply(gradients[0], regions, *ctx.settings), *(None,) * 9
