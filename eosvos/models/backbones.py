"""Bodies of the detector: torchvision's networks and a tiny one, each a stem and four stages of stride 4 to 32.

Their parameters are named `stem.*` (ResNets: `conv1.*`, `bn1.*`) and `layer1.*` to `layer4.*`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import get_model
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool

NORMS = ("group", "frozen_batch")
MOBILENET_STAGES = {"stem": (0, 2), "layer1": (2, 4), "layer2": (4, 7), "layer3": (7, 14), "layer4": (14, 18)}
"""Stage -> first layer, and the one after its last, among torchvision's `features`. The last layer of these, a
convolution to 1,280 channels for the classifier, is left out."""


class ChannelAffine(nn.Module):
    """A scale and shift per channel: a batch norm at test time, with its statistics folded into its affine.

    Both are parameters, so they have learning rates like those of a group norm; there are no buffers.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Scale and shift features (N, C, H, W)."""
        return torch.addcmul(self.bias[:, None, None], x, self.weight[:, None, None])


class FoldedSequential(nn.Sequential):
    """Layers in sequence, where a convolution and the `ChannelAffine` after it are one convolution.

    (w * x) scale + shift = (w scale) * x + shift saves one pass over the features, forward and backward.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the last layer for features (N, C, H, W)."""
        folded: ChannelAffine | None = None  # into the convolution before it
        layers = list(self)
        for layer, after in zip(layers, [*layers[1:], None], strict=True):
            if isinstance(layer, nn.Conv2d) and layer.bias is None and isinstance(after, ChannelAffine):
                weight, folded = layer.weight * after.weight[:, None, None, None], after
                x = F.conv2d(x, weight, after.bias, layer.stride, layer.padding, layer.dilation, layer.groups)
            elif layer is not folded:
                x = layer(x)
        return x


def fold(module: nn.Module) -> nn.Module:
    """Return a module whose sequences of convolutions and `ChannelAffine` are `FoldedSequential`; names stay."""
    for name, child in module.named_children():
        setattr(module, name, fold(child))
    if isinstance(module, nn.Sequential) and any(isinstance(layer, ChannelAffine) for layer in module):
        return FoldedSequential(OrderedDict(module.named_children()))
    return module


class Stages(nn.Sequential):
    """A body: its parts in sequence; returns the outputs of the four stages as a dictionary "0" to "3".

    Args:
        parts: name -> module, in order.
        frozen: the parts before the stage of this number, 1 to 4, have no gradient: their features are computed without
            a graph, which saves their part of a backward pass. 0: all have.
    """

    def __init__(self, parts: Mapping[str, nn.Module], frozen: int = 0) -> None:
        super().__init__(OrderedDict(parts))
        self.frozen = frozen

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return the outputs of the stages, (N, C, h, w) by "0" to "3", of normalised images (N, 3, H, W)."""
        outputs: dict[str, Tensor] = OrderedDict()
        fixed = self.frozen > 0
        for name, part in self.named_children():
            fixed = fixed and name != f"layer{self.frozen}"
            with torch.set_grad_enabled(torch.is_grad_enabled() and not fixed):
                x = part(x)
            if name.startswith("layer"):
                outputs[str(len(outputs))] = x
        return outputs


class Backbone(nn.Module):
    """A body and a feature pyramid on its four stages."""

    def __init__(self, body: Stages, channels: list[int], out: int, norm: Callable[[int], nn.Module] | None) -> None:
        super().__init__()
        self.body, self.out_channels = body, out
        self.fpn = FeaturePyramidNetwork(channels, out, LastLevelMaxPool(), norm)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return the levels of the pyramid, (N, out, h, w) by name, of normalised images (N, 3, H, W)."""
        return self.fpn(self.body(x))


def build_body(
    size: str,
    *,
    norm: str = "group",
    groups: int = 32,
    widths: Sequence[int] = (),
    stride_first: bool = False,
    frozen: int = 0,
) -> tuple[Stages, list[int]]:
    """Build a body with random weights.

    Args:
        size: tiny, or the name of torchvision's network: mobilenet_v2, resnet18 or resnet50.
        norm: group, or frozen_batch (`ChannelAffine`).
        groups: of every group norm; they divide every number of channels.
        widths: channels of the four stages (tiny only).
        stride_first: stride 2 in a stage's first 1x1 convolution, not in its 3x3 (resnet50 only).
        frozen: the parts before the stage of this number have no gradient (0: all have).

    Returns:
        The body and the channels of its four stages.
    """
    layer = partial(nn.GroupNorm, groups) if norm == "group" else ChannelAffine
    match size:
        case "tiny":
            parts, channels = _tiny(layer, widths)
        case "mobilenet_v2":
            parts, channels = _mobilenet(layer)
        case _:
            parts, channels = _resnet(size, layer, stride_first)
    return Stages({name: fold(part) for name, part in parts.items()}, frozen), channels


def _resnet(size: str, norm: Callable[[int], nn.Module], stride_first: bool) -> tuple[dict[str, nn.Module], list[int]]:
    # norm_layer given to torchvision's own Mask R-CNN builders is silently dropped (it ends in **kwargs), not here.
    resnet = get_model(size, weights=None, norm_layer=norm)
    if stride_first:
        for block in resnet.modules():
            if isinstance(block, Bottleneck):
                block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
    parts = {name: part for name, part in resnet.named_children() if name not in ("avgpool", "fc")}
    return parts, [resnet.inplanes // 2**i for i in (3, 2, 1, 0)]


def _mobilenet(norm: Callable[[int], nn.Module]) -> tuple[dict[str, nn.Module], list[int]]:
    """Sandler et al., MobileNetV2, CVPR 2018, table 2."""
    features = get_model("mobilenet_v2", weights=None, norm_layer=norm).features
    return {name: features[first:end] for name, (first, end) in MOBILENET_STAGES.items()}, [24, 32, 96, 320]


def _tiny(norm: Callable[[int], nn.Module], widths: Sequence[int]) -> tuple[dict[str, nn.Module], list[int]]:
    width = widths[0]
    parts: dict[str, nn.Module] = {}
    # The stride of 4 at once: half the work of a stride of 2 and pooling, and nothing finer is used later.
    parts["stem"] = nn.Sequential(nn.Conv2d(3, width, 7, 4, 3, bias=False), norm(width), nn.ReLU(inplace=True))
    for index, out in enumerate(widths, start=1):
        stride = 1 if index == 1 else 2
        shortcut = None
        if stride != 1 or width != out:
            shortcut = nn.Sequential(nn.Conv2d(width, out, 1, stride, bias=False), norm(out))
        parts[f"layer{index}"] = BasicBlock(width, out, stride, shortcut, norm_layer=norm)
        width = out
    for layer in nn.Sequential(*parts.values()).modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return parts, list(widths)
