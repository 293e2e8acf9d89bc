"""Recognises published weights by their keys and converts them to the names and the input of our networks."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eosvos.errors import UserError
from eosvos.models.backbones import MOBILENET_STAGES
from eosvos.models.mask_rcnn import SIZES
from eosvos.models.pretrained.files import KINDS, PREFIX, fetch, open_file, tensors_of
from eosvos.models.vgg import LEVELS_MEAN, UNIT_MEAN, UNIT_STD


@dataclass
class Published:
    """The tensors of a file under the names of our network.

    Attributes:
        source: name or path that they come from.
        kind: what they are, in words.
        tensors: name -> float32 tensor, still to be checked against the network by name and shape.
        origin: our name -> key in the file.
        converted: our name -> what was done to the values.
        affines: norm layer -> scale and shift (C,) of its batch norm at test time; its `weight` and `bias` are in
            `tensors` too.
        skipped: key of the file -> why it is not used.
        settings: fields of `Spec` that the weights were trained for.
        rates: learning rates by our name, if there are any.
    """

    source: str
    kind: str
    tensors: dict[str, Tensor] = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict)
    converted: dict[str, str] = field(default_factory=dict)
    affines: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    rates: dict[str, Tensor] = field(default_factory=dict)

    def digest(self) -> str:
        """Return the first 16 hex digits of the SHA-256 of all that goes into a network: names, shapes, values."""
        total = hashlib.sha256(repr(sorted(self.settings.items())).encode())
        affines = {f"{name}.{i}": v for name, pair in self.affines.items() for i, v in enumerate(pair)}
        for group in (self.tensors, self.rates, affines):
            for name, tensor in sorted(group.items()):
                total.update(f"{name} {tuple(tensor.shape)}\0".encode() + tensor.contiguous().numpy().tobytes())
        return total.hexdigest()[:16]


def read(source: str, *, progress: bool = False) -> Published:
    """Read published weights and convert them to our names.

    Args:
        source: a name ("torchvision:resnet50") or the path of a file, which is recognised by its keys, not by its name.
        progress: whether to show the progress of a download.

    Raises:
        UserError: for a name that is unknown or cannot be fetched; for a file that is damaged, would execute code, or
            holds no known network.
    """
    if source.startswith(PREFIX):
        raw, note = fetch(source, progress), ""
    else:
        raw, note = open_file(Path(source))
    for inner in ("model", "state_dict"):  # as training scripts of torchvision and detectron2 wrap them
        if isinstance(raw.get(inner), Mapping):
            raw = raw[inner]
    if isinstance(raw.get("meta_optim_state_dict"), Mapping):
        return _authors(source, tensors_of(raw["meta_optim_state_dict"])[0])
    tensors, other = tensors_of(raw)
    if any(key.startswith("model_init_") for key in tensors):
        return _authors(source, tensors)
    if "backbone.bottom_up.stem.conv1.weight" in tensors:
        result = _detectron2(source, tensors)
    elif "backbone.body.conv1.weight" in tensors:
        result = _torchvision_detector(source, tensors)
    elif "conv1.weight" in tensors and "layer1.0.conv1.weight" in tensors:
        result = _resnet(source, tensors, note)
    elif "features.17.conv.0.weight" in tensors or "features.17.conv.0.0.weight" in tensors:
        result = _mobilenet(source, tensors)
    elif all(f"features.{k}.weight" in tensors for k in _VGG) and "features.1.weight" not in tensors:  # no batch norm
        result = _vgg(source, tensors)
    else:
        keys = ", ".join(list(raw)[:4]) or "none"
        raise UserError(f"init={source}: no known network; its keys begin with {keys}; expected one of: {KINDS}")
    result.skipped |= dict.fromkeys(other, "not a tensor of numbers")
    return result


_VGG = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)  # places of VGG16's convolutions among torchvision's layers
Rules = Sequence[tuple[str, str | Callable[[re.Match[str]], str]]]
_PAIR = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
_BODY: Rules = [(rf"((?:conv1|bn1|layer[1-4]\.\d+\.(?:conv\d|bn\d|downsample\.[01]))\.{_PAIR})", r"backbone.body.\1")]
_DETECTOR: Rules = [
    # names of torchvision up to 0.12, in which its first file and the authors' checkpoints are
    (r"(backbone\.fpn\.(?:inner|layer)_blocks\.\d)\.(weight|bias)", r"\1.0.\2"),
    (r"rpn\.head\.conv\.(weight|bias)", r"rpn.head.conv.0.0.\1"),
    (r"roi_heads\.mask_head\.mask_fcn(\d)\.(weight|bias)", lambda m: f"roi_heads.mask_head.{int(m[1]) - 1}.0.{m[2]}"),
    (r"((?:backbone\.(?:body|fpn)|rpn\.head|roi_heads)\..*)", r"\1"),
]


def _d2_conv(prefix: str) -> Callable[[re.Match[str]], str]:
    """Return the rule for numbered convolutions with norms, counted from 1 in detectron2 and from 0 in torchvision."""
    return lambda m: f"{prefix}.{int(m[1]) - 1}.{1 if m[2] else 0}.{m[3]}"


_D2_STAGE = r"backbone\.bottom_up\.res([2-5])\.(\d+)\."
_DETECTRON2: Rules = [
    (rf"backbone\.bottom_up\.stem\.conv1\.norm\.{_PAIR}", r"backbone.body.bn1.\1"),
    (r"backbone\.bottom_up\.stem\.conv1\.(weight)", r"backbone.body.conv1.\1"),
    (_D2_STAGE + rf"conv(\d)\.norm\.{_PAIR}", lambda m: f"backbone.body.layer{int(m[1]) - 1}.{m[2]}.bn{m[3]}.{m[4]}"),
    (_D2_STAGE + r"conv(\d)\.(weight)", lambda m: f"backbone.body.layer{int(m[1]) - 1}.{m[2]}.conv{m[3]}.{m[4]}"),
    (
        _D2_STAGE + rf"shortcut\.(norm\.)?{_PAIR}",
        lambda m: f"backbone.body.layer{int(m[1]) - 1}.{m[2]}.downsample.{1 if m[3] else 0}.{m[4]}",
    ),
    (
        rf"backbone\.fpn_(lateral|output)([2-5])\.(norm\.)?{_PAIR}",
        lambda m: (
            f"backbone.fpn.{'inner' if m[1] == 'lateral' else 'layer'}_blocks.{int(m[2]) - 2}.{1 if m[3] else 0}.{m[4]}"
        ),
    ),
    (r"proposal_generator\.rpn_head\.conv\.(weight|bias)", r"rpn.head.conv.0.0.\1"),
    (r"proposal_generator\.rpn_head\.objectness_logits\.(weight|bias)", r"rpn.head.cls_logits.\1"),
    (r"proposal_generator\.rpn_head\.anchor_deltas\.(weight|bias)", r"rpn.head.bbox_pred.\1"),
    (rf"roi_heads\.box_head\.conv(\d)\.(norm\.)?{_PAIR}", _d2_conv("roi_heads.box_head")),
    (rf"roi_heads\.mask_head\.mask_fcn(\d)\.(norm\.)?{_PAIR}", _d2_conv("roi_heads.mask_head")),
    (r"roi_heads\.mask_head\.deconv\.(weight|bias)", r"roi_heads.mask_predictor.conv5_mask.\1"),
    (r"roi_heads\.mask_head\.predictor\.(weight|bias)", r"roi_heads.mask_predictor.mask_fcn_logits.\1"),
    (r"(roi_heads\.box_predictor\.(?:cls_score|bbox_pred)\.(?:weight|bias))", r"\1"),
]


def _resnet(source: str, tensors: dict[str, Tensor], note: str) -> Published:
    result = Published(source, "an ImageNet ResNet")
    _rename(tensors, _BODY, result)
    if "conv1.bias" in tensors and "bn1.weight" not in tensors:
        result.kind += " with its batch norm folded into the convolutions"
        _unfold(result)
    if re.search(r"stride 2 in the first 1x1", note):  # not visible in the keys: such files say so in their header
        result.settings["stride_first"] = True
    return _finish(result)


def _mobilenet(source: str, tensors: dict[str, Tensor]) -> Published:
    """Convert MobileNetV2, under the names of torchvision or those of its first publication for PyTorch.

    In the latter a block is one list of layers. The convolution to the classifier's channels is not part of the body.
    """
    flat = "features.17.conv.7.running_var" in tensors
    result = Published(source, "an ImageNet MobileNetV2")

    def name(match: re.Match[str]) -> str:
        layer, rest = int(match[1]), match[2]
        stage = next(name for name, (_, end) in MOBILENET_STAGES.items() if layer < end)
        if flat and layer > 0:  # conv, norm, activation, conv, norm, activation, conv, norm
            number, _, last = rest.removeprefix("conv.").partition(".")
            blocks = ("0.0", "0.1", "", "1", "2") if layer == 1 else ("0.0", "0.1", "", "1.0", "1.1", "", "2", "3")
            rest = f"conv.{blocks[int(number)]}.{last}"
        return f"backbone.body.{stage}.{layer}.{rest}"

    _rename(tensors, [(r"features\.(\d|1[0-7])\.(.+)", name)], result)
    return _finish(result)


def _vgg(source: str, tensors: dict[str, Tensor]) -> Published:
    """Convert VGG16 to `models.vgg.VGG`, and its classifier, if it is whole, to layers `fc` of `VisualModulator`.

    The file of the authors' weights has numbers for the convolutions alone; its classifier is not a number. That of
    torchvision's own training is whole, and for pixels of unit variance. Its features are scaled up to pixels of 0 to
    255, which scales all biases, so that learning rates mean the same with both.
    """
    result = Published(source, "an ImageNet VGG16")
    head = tensors.get("classifier.6.weight")
    whole = head is not None and bool(head.isfinite().all())
    rules: Rules = [(r"features\.(\d+)\.(weight|bias)", lambda m: f"convs.{_VGG.index(int(m[1]))}.{m[2]}")]
    if whole:  # the third layer, classifier.6, names the classes of ImageNet
        rules = [*rules, (r"classifier\.([03])\.(weight|bias)", lambda m: f"fc.{int(m[1]) // 3}.{m[2]}")]
    _rename(tensors, rules, result)
    result.settings["size"] = "vgg16"
    if not whole:
        result.kind += " of its authors"
        return result
    result.kind += " of torchvision's training"
    mean, std = torch.tensor(UNIT_MEAN)[:, None, None], torch.tensor(UNIT_STD)[:, None, None]
    scale = 255 * float(std.mean())
    weight = result.tensors["convs.0.weight"] / std
    # There (rgb - mean) / std, here 255 * (rgb - m); the two zeros, which pad an image, differ by 0.01.
    result.tensors["convs.0.weight"] = weight * scale / 255
    result.tensors["convs.0.bias"] += (weight * (torch.tensor(LEVELS_MEAN)[:, None, None] - mean)).sum((1, 2, 3))
    for name in result.tensors:
        if name.endswith("bias"):
            result.tensors[name] *= scale
            result.converted[name] = "to pixels of 0 to 255"
    result.converted["convs.0.weight"] = "to pixels of 0 to 255, less the mean of VGG"
    return result


def _unfold(result: Published) -> None:
    """Turn a convolution's bias into the shift of a norm of scale 1 after it, which is the same network.

    A bias whose convolution is not in the file is skipped.
    """
    tensors = result.tensors
    for name in [n for n in tensors if re.fullmatch(r".*(conv\d|downsample\.0)\.bias", n)]:
        bias, key = tensors.pop(name), result.origin.pop(name)
        layer = name.removesuffix(".bias")
        if f"{layer}.weight" not in tensors:
            result.skipped[key] = "its convolution is not in the file"
            continue
        norm = re.sub(r"conv(\d)$", r"bn\1", layer).replace("downsample.0", "downsample.1")
        result.affines[norm] = (torch.ones_like(bias), bias)
        for last, value in zip(("weight", "bias"), result.affines[norm], strict=True):
            tensors[f"{norm}.{last}"], result.origin[f"{norm}.{last}"] = value, key


def _torchvision_detector(source: str, tensors: dict[str, Tensor]) -> Published:
    second = "roi_heads.box_head.0.0.weight" in tensors
    result = Published(source, f"torchvision's COCO Mask R-CNN v{2 if second else 1}")
    _rename(tensors, _DETECTOR, result)
    # The first version was trained without an epsilon, and torchvision takes it out after loading (overwrite_eps).
    return _finish(result, eps=1e-5 if second else 0.0)


def _detectron2(source: str, tensors: dict[str, Tensor]) -> Published:
    result = Published(source, "detectron2's Mask R-CNN")
    mean = tensors.pop("pixel_mean", torch.tensor([103.53, 116.28, 123.675])).flatten()
    std = tensors.pop(
        "pixel_std", torch.ones(3)
    ).flatten()  # 1 in all that began with weights of FAIR, as the GN models
    convs = any(key.startswith("roi_heads.box_head.conv") for key in tensors)
    names = {"fc1": "5"} if convs else {"fc1": "fc6", "fc2": "fc7"}
    rules = [
        *_DETECTRON2,
        *[(rf"roi_heads\.box_head\.{a}\.(weight|bias)", rf"roi_heads.box_head.{b}.\1") for a, b in names.items()],
    ]
    _rename(tensors, rules, result)
    # There x = (255 * bgr - mean) / std, here x = (rgb - m) / s with the same mean: that is this one * 255 * s / std.
    ours = torch.tensor([0.229, 0.224, 0.225])
    stem = "backbone.body.conv1.weight"
    if not torch.allclose(mean.flip(0) / 255, torch.tensor([0.485, 0.456, 0.406]), atol=1e-3):
        raise UserError(f"init={source}: pixel mean {mean.tolist()} found; expected 103.53, 116.28, 123.675 (BGR)")
    result.tensors[stem] = result.tensors[stem].flip(1) * (255 * ours / std.flip(0))[:, None, None]
    result.converted[stem] = "BGR in [0, 255] less pixel_mean, by pixel_std, to RGB in [0, 1], normalised"
    # The models with batch norm go back to MSRA's ResNet-50, the GN ones have STRIDE_IN_1X1: False.
    result = _finish(result)
    if result.affines:
        result.settings["stride_first"] = True
    return result


def _authors(source: str, tensors: dict[str, Tensor]) -> Published:
    """Convert a checkpoint of e-OSVOS's authors: parameters model_init_NAME and learning rates log_init_lr_NAME.

    The rates are linear; "." is written as "-" in names. They lie along dimension 0 of their parameter, also of the
    transposed convolution, where it counts the inputs; they are kept so.
    """
    result = Published(source, "an e-OSVOS checkpoint of its authors")
    values = {k.removeprefix("model_init_").replace("-", "."): v for k, v in tensors.items() if k.startswith("model_")}
    _rename(values, _DETECTOR, result)
    names = {old: new for new, old in result.origin.items()}
    result.origin = {new: f"model_init_{old.replace('.', '-')}" for new, old in result.origin.items()}
    for key, rate in tensors.items():
        name = names.get(key.removeprefix("log_init_lr_").replace("-", "."))
        if key.startswith("model_init_"):
            continue
        if not key.startswith("log_init_lr_") or name is None:
            result.skipped[key] = "no parameter has this name"
        elif rate.shape != (shape := _along_first(result.tensors[name])) or not bool((rate >= 0).all()):
            raise UserError(
                f"init={source}: {key} has shape {tuple(rate.shape)} and least value {float(rate.min()):g}; expected "
                f"{shape} and learning rates of 0 or more, as level NEURON with use_log_init_lr=False gives"
            )
        else:
            result.rates[name] = rate
    bare = sorted(result.tensors.keys() - result.rates.keys())
    if bare:
        raise UserError(f"init={source}: {result.origin[bare[0]]} has no log_init_lr_ beside it; is it all there?")
    return _finish(result)


def _along_first(parameter: Tensor) -> tuple[int, ...]:
    return (*parameter.shape[:1], *(1,) * (parameter.dim() - 1))


def _rename(tensors: dict[str, Tensor], rules: Rules, result: Published) -> None:
    for key, tensor in tensors.items():
        for pattern, new in rules:
            if match := re.fullmatch(pattern, key):
                name = match.expand(new) if isinstance(new, str) else new(match)
                result.tensors[name], result.origin[name] = tensor, key
                break
        else:
            result.skipped[key] = "the network has no such part"


def _finish(result: Published, eps: float = 1e-5) -> Published:
    """Fold the running statistics of batch norms into `affines`, and derive the settings from the tensors."""
    tensors = result.tensors
    for name in [n.removesuffix(".running_var") for n in tensors if n.endswith(".running_var")]:
        var, mean = tensors.pop(f"{name}.running_var"), tensors.pop(f"{name}.running_mean", None)
        tensors.pop(f"{name}.num_batches_tracked", None)
        weight, bias = tensors.get(f"{name}.weight"), tensors.get(f"{name}.bias")
        if (
            weight is None
            or bias is None
            or mean is None
            or not (weight.shape == bias.shape == mean.shape == var.shape)
        ):
            result.skipped[result.origin[f"{name}.running_var"]] = "its batch norm is not whole"
            continue
        scale = weight / (var + eps).clamp(min=1e-12).sqrt()
        result.affines[name] = (scale, bias - mean * scale)

    def count(pattern: str) -> int:
        return sum(re.fullmatch(pattern, name) is not None for name in tensors)

    if "backbone.body.layer4.17.conv.2.weight" in tensors:
        result.settings = {"size": "mobilenet_v2"} | result.settings
        return result
    blocks = count(r"backbone\.body\.layer3\.\d+\.conv1\.weight")
    deep = "backbone.body.layer1.0.conv3.weight" in tensors
    size = {(2, False): "resnet18", (6, True): "resnet50"}.get((blocks, deep))
    if size is None:
        raise UserError(
            f"init={result.source}: a ResNet with {blocks} {'bottlenecks' if deep else 'blocks'} in its third stage; "
            f"expected 2 blocks (resnet18) or 6 bottlenecks (resnet50): {', '.join(SIZES)} are the sizes there are"
        )
    settings: dict[str, Any] = {"size": size}
    if "backbone.fpn.inner_blocks.0.0.weight" in tensors:
        settings["head_norm"] = "backbone.fpn.inner_blocks.0.1.weight" in tensors
        settings["rpn_convs"] = count(r"rpn\.head\.conv\.\d\.0\.weight")
        settings["box_convs"] = count(r"roi_heads\.box_head\.\d\.0\.weight")
    result.settings = settings | result.settings
    return result
