"""Random draws of the networks, from a generator that the caller gives: torchvision's come from the global one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler


class Sampler(BalancedPositiveNegativeSampler):
    """torchvision's choice of anchors or regions for a loss, drawn from `generator`, which lies on the CPU.

    The same are chosen on every device. generator: None stands for torch's global one.
    """

    generator: torch.Generator | None = None

    def __call__(self, matched_idxs: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Masks uint8 (N,) of the chosen positives and negatives, for each image's labels (N,): > 0 positive, 0
        negative, below 0 neither."""
        chosen: tuple[list[Tensor], list[Tensor]] = [], []
        for labels in matched_idxs:
            positive, negative = torch.where(labels >= 1)[0], torch.where(labels == 0)[0]
            count = min(len(positive), int(self.batch_size_per_image * self.positive_fraction))
            chosen[0].append(self._mask(labels, positive, count))
            chosen[1].append(self._mask(labels, negative, min(len(negative), self.batch_size_per_image - count)))
        return chosen

    def _mask(self, labels: Tensor, places: Tensor, count: int) -> Tensor:
        order = torch.randperm(len(places), generator=self.generator, device="cpu")[:count]
        mask = torch.zeros_like(labels, dtype=torch.uint8)
        mask[places[order.to(places.device)]] = 1
        return mask


def only(sizes: Sequence[int]) -> int:
    """The one size that images are resized to; torchvision's transform draws, while training, even among one."""
    return sizes[0]


def dropout(x: Tensor, share: float, generator: torch.Generator | None) -> Tensor:
    """F.dropout while training: leaves out this share of `x`, drawn from a generator on the CPU (None: the global)."""
    if not share:
        return x
    kept = torch.empty(x.shape, dtype=x.dtype, device="cpu").bernoulli_(1 - share, generator=generator)
    return x * kept.div_(1 - share).to(x.device)
