"""Online adaptation (section 4.2): the samples and losses of fine-tuning on predictions of past frames."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from eosvos.data.tasks import Sample
from eosvos.meta.adapt import Loss
from eosvos.methods.eosvos.loss import loss_of, mean_of
from eosvos.methods.eosvos.settings import Online
from eosvos.models.mask_rcnn import MaskRCNN


def past_sample(image: Tensor, probabilities: Tensor, settings: Online) -> Sample:
    """Build a training sample from a prediction; uncertain pixels are left out of its mask loss.

    Args:
        image: float32 (3, h, w) at network size.
        probabilities: float32 (H, W) of the object in the same part of the frame.
        settings: `low` and `high` bound the probabilities that are left out.
    """
    small = torch.nn.functional.interpolate(probabilities[None, None], image.shape[-2:], mode="area")[0]
    return Sample(image, small >= 0.5, ((small > settings.low) & (small < settings.high))[0])


def usable_past(past: Sequence[Sample], settings: Online) -> list[Sample]:
    """Choose the past samples to train on: from `skip` on, `stride` apart, without those of too small an object."""
    latest = list(past)[::-1][settings.skip :: settings.stride][: settings.past]
    return [sample for sample in latest if float(sample.masks.float().mean()) >= settings.min_area]


def annotated_loss(model: MaskRCNN, annotated: Sequence[Sample], path: tuple[int, ...], step: int) -> Loss:
    """Build the loss of a step on one of the annotated frames, which take turns, without transforms.

    Args:
        model: the network.
        annotated: samples of the annotated frames.
        path: of the random draws of this object's online adaptations.
        step: number of the step, from 0.
    """
    return loss_of(model, [annotated[step % len(annotated)]], (*path, 0, step))


def joint_loss(
    model: MaskRCNN,
    annotated: Sequence[Sample],
    past: Sequence[Sample],
    settings: Online,
    path: tuple[int, ...],
    number: int,
    step: int,
) -> Loss:
    """Build the loss of a step on an annotated frame and on past predictions.

    Args:
        model: the network.
        annotated: samples of the annotated frames.
        past: samples of past predictions.
        settings: `weight` of each past sample, made up for the steps that do not see them.
        path: of the random draws of this object's online adaptations.
        number: number of this adaptation, from 1.
        step: number of the step, from 0.
    """
    weight = settings.weight * len(past) * settings.steps / min(settings.joining, settings.steps)
    of_past = loss_of(model, past, (*path, number, step))
    return mean_of([(1.0, annotated_loss(model, annotated, path, step)), (weight, of_past)])
