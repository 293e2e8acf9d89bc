"""Binary Lovász losses, batched: the hinge on logits and the softmax on probabilities.

Both are the Lovász extension of one minus the Jaccard index of a region, over errors m per pixel, and equal it where
all m are 0 or 1. The hinge has m = max(0, 1 - logit) for a pixel of the object: it is convex in the logits, and its
gradient does not fade where a pixel is surely wrong. The softmax has m = 1 - p and is the mean over the classes, here
object and background; of two classes with logits (0, x), p is sigmoid(x). Its gradient has the factor p (1 - p): where
the network is sure and wrong, a few steps change little. So the hinge is the default here, as in the authors' code; the
paper (section 3.3) names the softmax.

Vendored and rewritten from https://github.com/bermanmaxim/LovaszSoftmax (pytorch/lovasz_losses.py), which loops over
images in Python; here all regions are sorted at once. Values and gradients are the published ones.

MIT License, Copyright (c) 2018 Maxim Berman. The notice is kept in full in NOTICE.
"""

from __future__ import annotations

import torch
from torch import Tensor


def lovasz_hinge(logits: Tensor, targets: Tensor, ignore: Tensor | None = None) -> Tensor:
    """Compute the Lovász hinge, averaged over regions (Berman et al., CVPR 2018, algorithm 1).

    Args:
        logits: float (N, ...), one region per row.
        targets: 0 or 1, of the same shape.
        ignore: bool, of the same shape; these pixels count neither as errors nor in the union.

    Returns:
        A scalar; 0 where N = 0 (and still connected to `logits`).
    """
    if logits.shape[0] == 0:
        return logits.sum() * 0
    logits_NP = logits.flatten(1)
    targets_NP = targets.flatten(1).to(logits.dtype)
    errors_NP = 1 - logits_NP * (2 * targets_NP - 1)
    if ignore is not None:
        # An ignored pixel becomes background without error: it sorts last, where it changes neither term below.
        ignore_NP = ignore.flatten(1)
        errors_NP = errors_NP.masked_fill(ignore_NP, float("-inf"))
        targets_NP = targets_NP.masked_fill(ignore_NP, 0)
    errors_NP, order_NP = errors_NP.sort(dim=1, descending=True)
    weights_NP = lovasz_gradient(targets_NP.gather(1, order_NP))
    return (errors_NP.clamp(min=0) * weights_NP).sum(1).mean()


def lovasz_softmax(logits: Tensor, targets: Tensor, ignore: Tensor | None = None) -> Tensor:
    """Compute the Lovász-softmax of object and background, averaged over regions (Berman et al., CVPR 2018, eq. 11).

    Args:
        logits: float (N, ...) of the object, one region per row; the background has logit 0.
        targets: 0 or 1, of the same shape.
        ignore: bool, of the same shape; these pixels count neither as errors nor in the union.

    Returns:
        A scalar in [0, 1]: the mean over the classes that are present in a region, then over regions; 0 where N = 0
        (and still connected to `logits`).
    """
    if logits.shape[0] == 0:
        return logits.sum() * 0
    p_NP, targets_NP = logits.flatten(1).sigmoid(), targets.flatten(1).to(logits.dtype)
    counted_NP = torch.ones_like(targets_NP) if ignore is None else (~ignore.flatten(1)).to(logits.dtype)
    total_N, present_N = logits.new_zeros(logits.shape[0]), logits.new_zeros(logits.shape[0])
    for class_p_NP, class_NP in ((p_NP, targets_NP), (1 - p_NP, 1 - targets_NP)):
        class_NP = class_NP * counted_NP  # an ignored pixel is of no class, without error: it sorts last
        errors_NP, order_NP = ((class_NP - class_p_NP).abs() * counted_NP).sort(dim=1, descending=True)
        loss_N = (errors_NP * lovasz_gradient(class_NP.gather(1, order_NP))).sum(1)
        present = (class_NP.sum(1) > 0).to(logits.dtype)
        total_N, present_N = total_N + loss_N * present, present_N + present
    return (total_N / present_N.clamp(min=1)).mean()


def lovasz_gradient(sorted_targets: Tensor) -> Tensor:
    """Return the gradient of the Lovász extension with respect to sorted errors.

    Args:
        sorted_targets: 0 or 1, (N, P), in descending order of errors.

    Returns:
        float (N, P).
    """
    total = sorted_targets.sum(1, keepdim=True)
    intersection = total - sorted_targets.cumsum(1)
    union = total + (1 - sorted_targets).cumsum(1)
    jaccard = 1 - intersection / union
    return torch.cat([jaccard[:, :1], jaccard[:, 1:] - jaccard[:, :-1]], dim=1)
