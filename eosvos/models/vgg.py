"""The trunk of OSVOS and OSMN: the thirteen convolutions of VGG16 in five stages (Simonyan & Zisserman, 2015)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DEPTHS = (2, 2, 3, 3, 3)  # convolutions of the stages
CONVOLUTIONS = sum(DEPTHS)
STRIDES = (1, 2, 4, 8, 16)  # of the stages' outputs, in pixels

After = Callable[[int, Tensor], Tensor]


@dataclass(frozen=True)
class Trunk:
    """Settings of a trunk.

    Attributes:
        widths: channels of the five stages.
        groups: groups of a group norm after every convolution; 0: no norms.
        levels: whether the convolutions see pixels of 0 to 255 minus a mean, as in the papers' networks, or of unit
            variance.
    """

    widths: tuple[int, ...]
    groups: int = 0
    levels: bool = False


TRUNKS: dict[str, Trunk] = {
    # From random weights; without the norm OSVOS's fine-tuning diverges at a tenth of the rate that is best with it.
    "tiny": Trunk((8, 16, 32, 96, 192), groups=4),
    "vgg16": Trunk((64, 128, 256, 512, 512), levels=True),
}

# RGB means and standard deviations: those that VGG was trained with, and those of torchvision's own networks.
LEVELS_MEAN, LEVELS_STD = (0.48235, 0.45882, 0.40784), (1 / 255,) * 3
UNIT_MEAN, UNIT_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class VGG(nn.Module):
    """3x3 convolutions `convs.0` to `convs.12`, each with a ReLU; maxima over 2x2 pixels between stages.

    The size of a stage's output is rounded up, so that its strides cover the whole image. The parameters are the whole
    state. Random weights keep the variance (He et al., 2015).
    """

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.trunk = trunk
        into = [3] + [width for width, depth in zip(trunk.widths, DEPTHS, strict=True) for _ in range(depth)]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in zip(into, into[1:], strict=False))
        self.norms = nn.ModuleList(nn.GroupNorm(trunk.groups, width) for width in into[1:] if trunk.groups)
        for conv in self.convs:
            assert isinstance(conv, nn.Conv2d) and conv.bias is not None
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            nn.init.zeros_(conv.bias)

    def normalised(self, images: Tensor) -> Tensor:
        """Normalise images float32 (N, 3, H, W), RGB in [0, 1], for the convolutions."""
        values = (LEVELS_MEAN, LEVELS_STD) if self.trunk.levels else (UNIT_MEAN, UNIT_STD)
        mean, std = (images.new_tensor(v)[:, None, None] for v in values)
        # On a CPU, convolutions of few channels are half as fast again with the channels last.
        return ((images - mean) / std).contiguous(memory_format=torch.channels_last)

    def stage(self, number: int, x: Tensor, after: After | None = None) -> Tensor:
        """Run one stage.

        Args:
            number: number of the stage, from 0.
            x: output of the stage before it or, for stage 0, normalised images.
            after: `after(i, y)` replaces the output y of convolution i, counted from 0 over all stages, and its ReLU.
        """
        if number:
            x = F.max_pool2d(x, 2, ceil_mode=True)
        first = sum(DEPTHS[:number])
        for i in range(first, first + DEPTHS[number]):
            x = self.convs[i](x)
            x = F.relu(self.norms[i](x) if self.trunk.groups else x)
            x = x if after is None else after(i, x)
        return x

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the outputs of the stages, before they are pooled.

        Args:
            images: float32 (N, 3, H, W), RGB in [0, 1].

        Returns:
            float32 (N, C, ceil(H / stride), ceil(W / stride)) for each stage.
        """
        x, outputs = self.normalised(images), []
        for number in range(len(DEPTHS)):
            x = self.stage(number, x)
            outputs.append(x)
        return outputs
