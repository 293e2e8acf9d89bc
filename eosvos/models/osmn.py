"""OSMN: a segmentation network whose features are scaled and shifted to suit one object (Yang et al., CVPR 2018).

The segmentation network is OSVOS's. Each of its convolutions but the first four is followed by a modulation layer,
y_c = gamma_c x_c + beta_c (eq. 2): gamma, a number per channel, comes from the visual modulator, which sees a picture
of the object once; beta, a number per channel and place, from the spatial modulator, which sees about where the object
was a frame ago. A layer's modulation follows its rectifier, as in the authors' code.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eosvos.models import osvos
from eosvos.models.sampling import dropout
from eosvos.models.vgg import DEPTHS, TRUNKS, VGG, After, Trunk

PLAIN = 4
"""Convolutions at first that are not modulated: early features bear it badly (section 3.5)."""
LAYERS = tuple(f"conv{stage}_{k}" for stage, depth in enumerate(DEPTHS, 1) for k in range(1, depth + 1))[PLAIN:]
"""Names of the modulation layers, after the convolutions of VGG16 that they follow."""


@dataclass(frozen=True)
class Spec(osvos.Spec):
    """All that is needed to rebuild a network: the settings of the segmentation network, and of its modulators. guide:
    side of the visual guide. guide_widths: channels of the visual modulator's stages. pooled: its features are pooled
    to so many places a side. hidden: units of its two fully connected layers. dropout: share of them left out in
    training. visual, spatial: whether there is a visual and a spatial modulator (Table 3).
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
        size="vgg16", short=480, long=854, **vars(TRUNKS["vgg16"]), guide=224, guide_widths=TRUNKS["vgg16"].widths,
        pooled=7, hidden=4096, dropout=0.5,
    ),
}  # fmt: skip


def build(size: str = "tiny", **settings: Any) -> OSMN:
    """A network with random weights that scales nothing yet: `tiny` (1.6 M parameters) or `vgg16` (the paper's).

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
    return OSMN(replace(SIZES[size], **tuples))


class OSMN(nn.Module):
    """The network of `spec`: `segmentation`, which is plain without the other two, `visual` and `spatial`.

    N images and N or one guide, heat map or gammas go together; one image may be shared by several objects, and what of
    it is not modulated is then computed once.
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
        self, images: Tensor, heat: Tensor | None = None, *, guides: Tensor | None = None, gammas: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:  # fmt: skip
        """The logits float32 (N, 1, H, W) of images float32 (N, 3, H, W), RGB in [0, 1].

        heat: heat maps (N, 1, H, W); None: beta is zero. guides: (N, 3, side, side), or in their place `gammas` (N, C),
        what `visual` has made of them; None: gamma is one. A modulator that the network lacks is not asked. generator:
        of the dropout in training, on the CPU; None: torch's global one.
        """
        if gammas is None and guides is not None and self.visual is not None:
            gammas = self.visual(guides, generator)
        return self.segmentation(images, after=self._modulation(heat if self.spatial is not None else None, gammas))[0]

    def _modulation(self, heat: Tensor | None, gammas: Tensor | None) -> After:
        """What comes after every convolution: eq. 2 where it is one of the modulated."""
        scales = None if gammas is None else gammas[:, :, None, None].split(self.channels, 1)
        smaller: dict[tuple[int, int], Tensor] = {}

        def after(number: int, x: Tensor) -> Tensor:
            layer = number - PLAIN
            if layer < 0:
                return x
            if scales is not None:
                x = x * scales[layer]
            if heat is not None:
                assert self.spatial is not None
                size = (int(x.shape[-2]), int(x.shape[-1]))
                if size not in smaller:
                    smaller[size] = F.adaptive_avg_pool2d(heat, size)
                x = x + self.spatial(layer, smaller[size])
            return x

        return after


class VisualModulator(VGG):
    """VGG16 whole, its last layer exchanged for one with an output for each channel that is modulated (section 3.3).

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
        """float32 (N, C) of visual guides float32 (N, 3, side, side), RGB in [0, 1]; the layers' parts in order."""
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
        """beta (N, C, h, w) of modulation layer `layer`, from 0, of m (N, 1, h, w)."""
        return self.convs[layer](m)
