"""OSVOS's network: a fully convolutional VGG16 with side paths, for foreground or contours (CVPR 2017, 3.1 and 3.3).

From the last layer of each stage, before it is pooled, a path of 16 channels leaves; all are upscaled to the image and
fused linearly to one number per pixel, the logit. The contour branch is the same network, trained apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eosvos.models.vgg import DEPTHS, STRIDES, TRUNKS, VGG, After, Trunk

PIXELS = 480 * 854
"""Of the paper's images: what a loss is summed over, whatever the size of an image."""


@dataclass(frozen=True)
class Spec:
    """All that is needed to rebuild a network. short, long: images are resized to this short side unless the long one
    would exceed that. widths, groups, levels: see `models.vgg.Trunk`. path: channels of a side path. first: stage, from
    1, of the first of them; the paper's text has one for each stage, its authors' code none for the first.
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
    """A network with random weights: `tiny` (2 M parameters) or `vgg16` (the paper's, 14,926,902).

    settings: fields of `Spec` that differ from the size's own. Raises ValueError for an unknown size or setting.
    """
    if size not in SIZES:
        raise ValueError(f"model size {size!r} is unknown; expected one of {', '.join(SIZES)}")
    unknown = sorted(set(settings) - set(Spec.__dataclass_fields__))
    if unknown:
        raise ValueError(
            f"model setting {unknown[0]!r} is unknown; expected one of {', '.join(Spec.__dataclass_fields__)}"
        )
    # JSON knows no tuples: lists of a stored spec become tuples again.
    tuples: dict[str, Any] = {k: tuple(v) if isinstance(v, list | tuple) else v for k, v in settings.items()}
    return FCN(replace(SIZES[size], **tuples))


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
        """The logits float32 (N, 1, H, W) of images float32 (N, 3, H, W), RGB in [0, 1]; with `sides` those of the
        side outputs behind them. after: as in `VGG.stage`."""
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
    """Equation 1, summed over the pixels, and over the images: logits (N, 1, H, W), truth bool (N, 1, H, W).

    It is the sum over the paper's images, whatever the size of these: a pixel counts PIXELS / (H * W) times. ignore:
    bool (N, 1, H, W), pixels that do not count. beta: weight of the positive pixels, 1 - beta that of the others; None:
    the share of the negative ones in each image. So balanced, an image that is all negative teaches nothing.
    """
    known = torch.ones_like(truth) if ignore is None else ~ignore
    positive, negative = (truth & known).to(logits), (~truth & known).to(logits)
    if beta is None:
        weight = negative.sum((1, 2, 3), keepdim=True) / known.sum((1, 2, 3), keepdim=True).clamp(min=1)
    else:
        weight = logits.new_tensor(beta)
    losses = weight * positive * F.softplus(-logits) + (1 - weight) * negative * F.softplus(logits)
    return losses.sum() * (PIXELS / (logits.shape[-2] * logits.shape[-1]))


def total_loss(
    outputs: Sequence[Tensor], truth: Tensor, ignore: Tensor | None = None, *, sides: float, beta: float | None = None
) -> Tensor:
    """The loss of the fused logits, and `sides` times those of the side outputs behind them (deep supervision)."""
    losses = [balanced_cross_entropy(logits, truth, ignore, beta) for logits in outputs]
    return losses[0] + sides * sum(losses[1:], start=torch.zeros_like(losses[0]))
