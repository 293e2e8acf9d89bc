"""Conversion of batch norm to group norm: the affine with which pretrained features survive the change.

A batch norm at test time is a fixed scale and shift per channel. A group norm computes its statistics from every image
and over groups of channels, so with the affine copied (as in the e-OSVOS code) its output has other means and
variances, and every later layer sees inputs it was not trained on. `calibrate` chooses the affine of each layer so that
the group norm's output is closest, in the mean square over images and positions, to the batch norm's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eosvos.models.mask_rcnn import MaskRCNN

Affines = dict[str, tuple[Tensor, Tensor]]  # norm layer -> scale and shift (C,) of its batch norm at test time
_REGIONS = 16  # per image, with which the norms of the heads are fitted


def calibrate(model: MaskRCNN, affines: Affines, images: Sequence[Tensor]) -> None:
    """Fit the affines of group norms to the batch norms that they replace.

    Both networks run at once as the two halves of one batch, so layers are fitted in the order in which they run, with
    the errors of all layers before them taken into account.

    Args:
        model: the network; changed in place.
        affines: the batch norms, by the name of the group norm.
        images: float (3, H, W) in [0, 1], like those that the network is going to see; memory grows with their number.
    """
    with _twins(model, affines, fit=True):
        _run(model, affines, images)


def fidelity(model: MaskRCNN, affines: Affines, images: Sequence[Tensor]) -> dict[str, float]:
    """Measure how far the features are from those of the batch norm network: ||group - batch|| / ||batch||, 0 at best.

    Returns:
        The error of each stage of the body up to which all norms are in `affines`.
    """
    with _twins(model, affines, fit=False):
        stages = _run(model, affines, images)
    errors: dict[str, float] = {}
    for number, features in enumerate(stages, start=1):
        norms = {name for name, layer in _norms(model) if name.startswith(f"backbone.body.layer{number}.")}
        if not norms <= affines.keys():
            break
        reference, group_features = features.chunk(2)
        errors[f"layer{number}"] = float((group_features - reference).norm() / reference.norm())
    return errors


def _norms(model: nn.Module) -> list[tuple[str, nn.GroupNorm]]:
    return [(name, layer) for name, layer in model.named_modules() if isinstance(layer, nn.GroupNorm)]


@contextmanager
def _twins(model: MaskRCNN, affines: Affines, *, fit: bool) -> Iterator[None]:
    """Within the block, the first half of a batch goes through the batch norms, the second through the group norms."""
    hooks = [layer.register_forward_hook(_twin(affines[name], fit)) for name, layer in _norms(model) if name in affines]
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()


def _twin(affine: tuple[Tensor, Tensor], fit: bool):  # type: ignore[no-untyped-def]
    def hook(layer: nn.GroupNorm, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        first, second = inputs[0].chunk(2)
        scale, shift = (v.to(first.device)[:, None, None] for v in affine)
        reference = first * scale + shift
        if fit:
            normed = F.group_norm(second, layer.num_groups, eps=layer.eps)
            weight, bias = _fitted(normed, reference)
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
            output = layer.forward(inputs[0])  # not through __call__: that would hook again
        return torch.cat([reference, output.chunk(2)[1]])

    return hook


def _fitted(normed: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    # Least squares, position by position. To give the output the wanted mean and deviation is the other choice: it
    # keeps the scale of what a group norm cannot follow too, and was a little worse in every stage (docs/results).
    over = (0, 2, 3)
    mean_found, mean_wanted = normed.mean(over, keepdim=True), wanted.mean(over, keepdim=True)
    covariance = ((normed - mean_found) * (wanted - mean_wanted)).mean(over)
    weight = covariance / ((normed - mean_found) ** 2).mean(over).clamp(min=1e-12)
    return weight, mean_wanted.flatten() - weight * mean_found.flatten()


def _run(model: MaskRCNN, affines: Affines, images: Sequence[Tensor]) -> list[Tensor]:
    """Run the doubled images through body, pyramid and heads; return the stages of the body."""
    batch, _ = model.transform(list(images))
    stages = model.backbone.body(torch.cat([batch.tensors, batch.tensors]))
    if any(not name.startswith("backbone.body.") for name in affines):
        features, heads = model.backbone.fpn(stages), model.roi_heads
        proposals, _ = model.rpn(batch, {level: feature.chunk(2)[0] for level, feature in features.items()})
        regions = [boxes[:_REGIONS] for boxes in proposals] * 2
        heads.box_head(heads.box_roi_pool(features, regions, batch.image_sizes * 2))
        heads.mask_head(heads.mask_roi_pool(features, regions, batch.image_sizes * 2))
    return list(stages.values())
