"""OSMN: a segmentation network whose features are scaled and shifted for one object (Yang et al., CVPR 2018).

The segmentation network is OSVOS's. Each of its convolutions but the first four is followed by a modulation layer

    y_c = gamma_c x_c + beta_c           (eq. 2; eq. 1 is the same in a conditional batch norm)
    beta_c = gamma~_c m + beta~_c        (eq. 3)

gamma, a number per channel, comes from the visual modulator, which sees an image of the object once; beta, a number per
channel and position, from the spatial modulator, whose heat map m shows roughly where the object was a frame ago. A
layer's modulation follows its ReLU, as in the authors' code.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eosvos.models import osvos
from eosvos.models.sampling import dropout
from eosvos.models.sizes import spec_of
from eosvos.models.vgg import DEPTHS, TRUNKS, VGG, After, Trunk

PLAIN = 4
"""Convolutions at first that are not modulated: early features bear it badly (section 3.5)."""
LAYERS = tuple(f"conv{stage}_{k}" for stage, depth in enumerate(DEPTHS, 1) for k in range(1, depth + 1))[PLAIN:]
"""Names of the modulation layers, after the convolutions of VGG16 that they follow."""


@dataclass(frozen=True)
class Spec(osvos.Spec):
    """All that is needed to rebuild a network: the settings of the segmentation network, and of its modulators.

    Attributes:
        guide: side of the visual guide in pixels.
        guide_widths: channels of the visual modulator's stages.
        pooled: positions per side to which its features are pooled.
        hidden: units of its two fully connected layers.
        dropout: share of them dropped in training.
        visual: whether there is a visual modulator (Table 3).
        spatial: whether there is a spatial modulator (Table 3).
    """

    guide: int = 64
    guide_widths: tuple[int, ...] = (8, 16, 32, 64, 96)
    pooled: int = 2
    hidden: int = 128
    dropout: float = 0.0
    visual: bool = True
    spatial: bool = True


SIZES: dict[str, Spec] = {
    "tiny": Spec(path=8),
    "vgg16": Spec(
        size="vgg16",
        short=480,
        long=854,
        **vars(TRUNKS["vgg16"]),
        guide=224,
        guide_widths=TRUNKS["vgg16"].widths,
        pooled=7,
        hidden=4096,
        dropout=0.5,
    ),
}


def build(size: str = "tiny", **settings: Any) -> OSMN:
    """Build a network with random weights, whose modulation is the identity.

    Args:
        size: `tiny` (1.6 M parameters) or `vgg16` (the paper's).
        settings: fields of `Spec` that differ from the size's own.

    Raises:
        ValueError: for an unknown size or setting.
    """
    return OSMN(spec_of(SIZES, size, settings))


class OSMN(nn.Module):
    """The network of `spec`: `segmentation`, and the modulators `visual` and `spatial` where there are any.

    N images are combined with N guides, heat maps or gammas, or with one; one image may be shared by several objects,
    and what is not modulated is then computed once.
    """

    visual: VisualModulator | None
    spatial: SpatialModulator | None

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.network_spec = spec
        self.segmentation = osvos.FCN(spec)
        convs = self.segmentation.trunk.convs[PLAIN:]
        self.channels = [int(conv.out_channels) for conv in convs]  # type: ignore[arg-type]
        self.visual = VisualModulator(spec, sum(self.channels)) if spec.visual else None
        self.spatial = SpatialModulator(self.channels) if spec.spatial else None

    @property
    def spec(self) -> dict[str, Any]:
        """Plain values that rebuild this network: `build(**spec)`."""
        return asdict(self.network_spec)

    def forward(
        self,
        images: Tensor,
        heat: Tensor | None = None,
        *,
        guides: Tensor | None = None,
        gammas: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Compute the logits of images.

        Args:
            images: float32 (N, 3, H, W), RGB in [0, 1].
            heat: heat maps float32 (N, 1, H, W); None: beta is zero.
            guides: visual guides float32 (N, 3, side, side), RGB in [0, 1].
            gammas: float32 (N, C), outputs of `visual`, in place of `guides`; with neither, gamma is one.
            generator: of the dropout in training, on the CPU; None: torch's global one.

        Returns:
            float32 (N, 1, H, W).
        """
        if gammas is None and guides is not None and self.visual is not None:
            gammas = self.visual(guides, generator)
        return self.segmentation(images, after=self._modulation(heat if self.spatial is not None else None, gammas))[0]

    def _modulation(self, heat: Tensor | None, gammas: Tensor | None) -> After:
        """Return the function that is applied after every convolution: eq. 2 where it is modulated."""
        scales = None if gammas is None else gammas[:, :, None, None].split(self.channels, 1)
        smaller: dict[tuple[int, int], Tensor] = {}

        def after(number: int, x: Tensor) -> Tensor:
            layer = number - PLAIN
            if layer < 0:
                return x
            if scales is not None:
                x = x * scales[layer]  # eq. 2: gamma_c x_c ...
            if heat is not None:
                assert self.spatial is not None
                size = (int(x.shape[-2]), int(x.shape[-1]))
                if size not in smaller:
                    smaller[size] = F.adaptive_avg_pool2d(heat, size)
                x = x + self.spatial(layer, smaller[size])  # eq. 2: ... + beta_c
            return x

        return after


class VisualModulator(VGG):
    """VGG16 with its last layer replaced by one with an output for each modulated channel (section 3.3).

    That layer begins with weights of zero and biases of one, so that gamma is one whatever the guide (section 3.5).
    """

    def __init__(self, spec: Spec, outputs: int) -> None:
        super().__init__(Trunk(spec.guide_widths, spec.groups, spec.levels))
        self.pooled, self.dropout = spec.pooled, spec.dropout
        into = spec.guide_widths[-1] * spec.pooled**2
        self.fc = nn.ModuleList(nn.Linear(a, spec.hidden) for a in (into, spec.hidden))
        for layer in self.fc:
            assert isinstance(layer, nn.Linear)
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        self.last = nn.Linear(spec.hidden, outputs)
        nn.init.zeros_(self.last.weight)
        nn.init.ones_(self.last.bias)

    def forward(self, guides: Tensor, generator: torch.Generator | None = None) -> Tensor:  # type: ignore[override]
        """Compute gamma of all modulated channels.

        Args:
            guides: visual guides float32 (N, 3, side, side), RGB in [0, 1].
            generator: of the dropout in training; None: torch's global one.

        Returns:
            float32 (N, C), the layers' parts in order.
        """
        x = F.max_pool2d(super().forward(guides)[-1], 2, ceil_mode=True)
        x = F.adaptive_avg_pool2d(x, self.pooled).flatten(1)
        for layer in self.fc:
            x = F.relu(layer(x))
            x = dropout(x, self.dropout, generator) if self.training else x
        return self.last(x)


class SpatialModulator(nn.Module):
    """beta_c = gamma~_c m + beta~_c (eq. 3), m a heat map at the size of the features: a 1x1 convolution per layer."""

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(1, count, 1) for count in channels)
        for conv in self.convs:
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]

    def forward(self, layer: int, m: Tensor) -> Tensor:
        """Compute beta of one modulation layer.

        Args:
            layer: number of the modulation layer, from 0.
            m: heat map (N, 1, h, w).

        Returns:
            float (N, C, h, w).
        """
        return self.convs[layer](m)  # eq. 3
