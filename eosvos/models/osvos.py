"""OSVOS's network: a fully convolutional VGG16 with side paths, for foreground or contours (CVPR 2017, 3.1 and 3.3).

A path of 16 channels leaves the last layer of each stage, before it is pooled; all are upscaled to the image and fused
linearly to one number per pixel, the logit. The contour branch is the same network, trained separately.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eosvos.models.sizes import spec_of
from eosvos.models.vgg import DEPTHS, STRIDES, TRUNKS, VGG, After, Trunk

PIXELS = 480 * 854
"""Of the paper's images: what a loss is summed over, whatever the size of an image."""


@dataclass(frozen=True)
class Spec:
    """All that is needed to rebuild a network.

    Attributes:
        size: name of the size in `SIZES`.
        short: images are resized to this short side in pixels, unless the long side would exceed `long`.
        long: largest long side in pixels.
        widths: see `models.vgg.Trunk`.
        groups: see `models.vgg.Trunk`.
        levels: see `models.vgg.Trunk`.
        path: channels of a side path.
        first: stage of the first side path, from 1. The paper's text has one for each stage, its code none for the
            first.
    """

    size: str = "tiny"
    short: int = 192
    long: int = 336
    widths: tuple[int, ...] = TRUNKS["tiny"].widths
    groups: int = TRUNKS["tiny"].groups
    levels: bool = TRUNKS["tiny"].levels
    path: int = 16
    first: int = 1


SIZES: dict[str, Spec] = {
    "tiny": Spec(path=8),
    "vgg16": Spec(size="vgg16", short=480, long=854, **vars(TRUNKS["vgg16"])),
}


def build(size: str = "tiny", **settings: Any) -> FCN:
    """Build a network with random weights: `tiny` (2 M parameters) or `vgg16` (the paper's, 14,926,902).

    Args:
        size: name of the size.
        settings: fields of `Spec` that differ from the size's own.

    Raises:
        ValueError: for an unknown size or setting.
    """
    return FCN(spec_of(SIZES, size, settings))


class FCN(nn.Module):
    """The network of `spec`: `trunk`, a path for each stage, their linear fusion `fuse`, and a `score` for each path,
    which deep supervision trains and nothing else uses."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.network_spec = spec
        self.trunk = VGG(Trunk(spec.widths, spec.groups, spec.levels))
        self.stages = range(spec.first - 1, len(DEPTHS))
        self.paths = nn.ModuleList(nn.Conv2d(spec.widths[k], spec.path, 3, padding=1) for k in self.stages)
        self.scores = nn.ModuleList(nn.Conv2d(spec.path, 1, 1) for _ in self.stages)
        self.fuse = nn.Conv2d(spec.path * len(self.stages), 1, 1)
        # Features in the range of pixels of 0 to 255 want the small weights of the authors' code.
        for layer in [*self.paths, *self.scores, self.fuse]:
            assert isinstance(layer, nn.Conv2d) and layer.bias is not None
            std = 1e-3 if spec.levels else (1 / layer.weight[0].numel()) ** 0.5
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)

    @property
    def spec(self) -> dict[str, Any]:
        """Plain values that rebuild this network: `build(**spec)`."""
        return asdict(self.network_spec)

    def forward(self, images: Tensor, sides: bool = False, after: After | None = None) -> list[Tensor]:
        """Compute the logits of images.

        Args:
            images: float32 (N, 3, H, W), RGB in [0, 1].
            sides: whether to return the logits of the side outputs too, behind the fused ones.
            after: see `VGG.stage`.

        Returns:
            float32 (N, 1, H, W) each.
        """
        height, width = images.shape[-2:]
        assert self.fuse.bias is not None
        fused, outputs = self.fuse.bias.view(1, 1, 1, 1), []
        weights = self.fuse.weight.split(self.network_spec.path, 1)
        x = self.trunk.normalised(images)
        for number, stride in enumerate(STRIDES):
            x = self.trunk.stage(number, x, after)
            if number not in self.stages:
                continue
            k = number - self.stages.start
            path = self.paths[k](x)
            # Both are linear, so one channel that is upscaled after its fusion is all of them before it.
            fused = fused + _upscaled(F.conv2d(path, weights[k]), stride)[..., :height, :width]
            if sides:
                outputs.append(_upscaled(self.scores[k](path), stride)[..., :height, :width])
        return [fused, *outputs]


def _upscaled(x: Tensor, stride: int) -> Tensor:
    return x if stride == 1 else F.interpolate(x, scale_factor=stride, mode="bilinear", align_corners=False)


def balanced_cross_entropy(
    logits: Tensor, truth: Tensor, ignore: Tensor | None = None, beta: float | None = None
) -> Tensor:
    """Compute the class-balanced cross-entropy of OSVOS (eq. 1), summed over pixels and images.

    It is the sum over the paper's image size, whatever the size of these: a pixel counts PIXELS / (H * W) times.

    Args:
        logits: float (N, 1, H, W).
        truth: bool (N, 1, H, W), True on the object (Y+ of eq. 1).
        ignore: bool (N, 1, H, W), pixels that do not count.
        beta: weight of the positive pixels, 1 - beta that of the others. None: the share of negative pixels in each
            image; an image without positive ones then teaches nothing.

    Returns:
        A scalar.
    """
    known = torch.ones_like(truth) if ignore is None else ~ignore
    positive, negative = (truth & known).to(logits), (~truth & known).to(logits)
    if beta is None:
        weight = negative.sum((1, 2, 3), keepdim=True) / known.sum((1, 2, 3), keepdim=True).clamp(min=1)
    else:
        weight = logits.new_tensor(beta)
    # OSVOS, eq. 1; -log P(y=1) = softplus(-logit)
    losses = weight * positive * F.softplus(-logits) + (1 - weight) * negative * F.softplus(logits)
    return losses.sum() * (PIXELS / (logits.shape[-2] * logits.shape[-1]))


def total_loss(
    outputs: Sequence[Tensor], truth: Tensor, ignore: Tensor | None = None, *, sides: float, beta: float | None = None
) -> Tensor:
    """Return the loss of the fused logits plus `sides` times those of the side outputs (deep supervision).

    Args:
        outputs: the fused logits and those of the side outputs, float (N, 1, H, W) each.
        truth: see `balanced_cross_entropy`.
        ignore: see `balanced_cross_entropy`.
        sides: weight of the side outputs.
        beta: see `balanced_cross_entropy`.
    """
    losses = [balanced_cross_entropy(logits, truth, ignore, beta) for logits in outputs]
    return losses[0] + sides * sum(losses[1:], start=torch.zeros_like(losses[0]))
