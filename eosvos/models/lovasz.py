"""Binary Lovász hinge, batched.

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
