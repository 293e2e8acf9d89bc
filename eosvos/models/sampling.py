"""Random draws of the networks from a given generator; torchvision's draws come from the global one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN


class Sampler:
    """torchvision's balanced sampling of anchors or regions for a loss, drawn from `generator`, which lies on the CPU.

    The same are drawn on every device. `generator` None is torch's global one.

    Args:
        batch_size_per_image: number of samples.
        positive_fraction: largest share of them that is positive.
    """

    generator: torch.Generator | None = None

    def __init__(self, batch_size_per_image: int, positive_fraction: float) -> None:
        self.batch_size_per_image, self.positive_fraction = batch_size_per_image, positive_fraction

    def __call__(self, matched_idxs: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Sample positives and negatives.

        Args:
            matched_idxs: labels (N,) of each image: above 0 positive, 0 negative, below 0 neither.

        Returns:
            Masks uint8 (N,) of the sampled positives and of the sampled negatives, for each image.
        """
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


def install_samplers(model: GeneralizedRCNN, anchors: int, regions: int, positive: float) -> None:
    """Let all draws of a torchvision detector come from the generator of `set_generator`.

    Args:
        model: the detector; changed in place.
        anchors: number of anchors sampled for the loss of an image.
        regions: number of regions sampled for the loss of an image.
        positive: largest share of the regions that is positive.
    """
    model.rpn.fg_bg_sampler, model.roi_heads.fg_bg_sampler = Sampler(anchors, 0.5), Sampler(regions, positive)
    model.transform.torch_choice = _only


def set_generator(model: GeneralizedRCNN, generator: torch.Generator | None, images: int) -> None:
    """Let the draws of the next forward pass come from a generator.

    Args:
        model: a detector that `install_samplers` has changed.
        generator: on the CPU; None: torch's global one.
        images: number of images of the pass.
    """
    model.rpn.fg_bg_sampler.generator = model.roi_heads.fg_bg_sampler.generator = generator
    if model.training and generator is not None:
        torch.rand(images, generator=generator)  # what `_only` replaces drew before all others: results by seed stay


def _only(sizes: Sequence[int]) -> int:
    """Return the single size that images are resized to; torchvision's transform draws one even among one."""
    return sizes[0]


def dropout(x: Tensor, share: float, generator: torch.Generator | None) -> Tensor:
    """Apply F.dropout in training mode with a generator on the CPU; None: torch's global one."""
    if not share:
        return x
    kept = torch.empty(x.shape, dtype=x.dtype, device="cpu").bernoulli_(1 - share, generator=generator)
    return x * kept.div_(1 - share).to(x.device)
