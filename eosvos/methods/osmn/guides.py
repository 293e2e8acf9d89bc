"""Guides of OSMN's modulators, and the objects that it is trained on.

Visual guide: float32 (3, side, side), RGB in [0, 1]: the crop of the object's box, its background set to the mean
colour, resized without keeping the aspect ratio. Prior: float32 (4,): mean x and y, and standard deviation in x and y,
of the object's pixels, as shares of width and height. Its Gaussian is the spatial guide.

Source: Yang et al., CVPR 2018, sections 3.3 to 3.5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from eosvos.data.masks import VOID, box_of
from eosvos.data.sequence import VideoSequence
from eosvos.data.tasks import ObjectFrame, Sample, Tasks, Taskset
from eosvos.data.transforms import PADDING, as_layers, as_pixels, as_tensor, augment, warp_image, warp_masks
from eosvos.seeds import generator, numpy_generator

_GUIDED = 15  # first part of the path of these draws; see data/tasks.py
_LEAST = 0.01  # standard deviation, as a share: a Gaussian narrower than a pixel of the features would be lost in them


@dataclass(frozen=True)
class Guidance:
    """Which objects are trained on and how their guides are augmented; the paper's values by default.

    Attributes:
        min_area: share of the image that an object must cover, if the taskset does not ask for more.
        guide_scale: the visual guide is scaled up or down by up to this share.
        guide_rotation: it is rotated by up to this many degrees.
        prior_shift: the prior is moved by up to this share of the object's size (of the rectangle with its standard
            deviation).
        prior_scale: the prior is scaled in x and y independently by up to this share.
        squares: images are resized to squares with one of these sides in pixels; empty: they keep their aspect ratio,
            at the network's size.
    """

    min_area: float = 0.03
    guide_scale: float = 0.1
    guide_rotation: float = 10.0
    prior_shift: float = 0.2
    prior_scale: float = 0.4
    squares: tuple[int, ...] = (320, 400, 480)


@dataclass(frozen=True)
class Guided:
    """One object of one frame to train on."""

    sample: Sample  # its mask is (1, h, w)
    guide: Tensor  # float32 (3, side, side)
    prior: Tensor  # float32 (4,)
    name: str  # of the sequence
    object_id: int
    category: str | None = None  # of the object, if the data set has categories


def visual_guide(
    image: Tensor | np.ndarray, mask: Tensor | np.ndarray, side: int, *, turn: float = 0.0, zoom: float = 1.0
) -> Tensor:
    """Crop the visual guide of an object.

    Args:
        image: the frame, float32 (3, H, W) in [0, 1] or uint8 (H, W, 3).
        mask: bool (H, W).
        side: side of the guide in pixels.
        turn: rotation in degrees.
        zoom: scale about the centre of the box.

    Returns:
        float32 (3, side, side), RGB in [0, 1].

    Raises:
        ValueError: if the mask is empty.
    """
    box = box_of(mask)
    if box is None:
        raise ValueError("an empty mask gives no visual guide")
    left, top, right, bottom = box.tolist()
    cos, sin = math.cos(math.radians(turn)) / zoom, math.sin(math.radians(turn)) / zoom
    middle = np.array([[1, 0, -side / 2], [0, 1, -side / 2], [0, 0, 1]])
    turned = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
    resize = np.diag([(right - left) / side, (bottom - top) / side, 1.0])
    back = np.array([[1, 0, (left + right) / 2], [0, 1, (top + bottom) / 2], [0, 0, 1]])
    matrix = back @ resize @ turned @ middle
    pixels = warp_image(as_pixels(image), matrix, (side, side))
    inside = warp_masks(as_layers(np.asarray(mask)[None]), matrix, (side, side))[0].numpy()
    pixels[~inside] = PADDING
    return as_tensor(pixels)


def prior_of(mask: Tensor | np.ndarray) -> Tensor | None:
    """Compute the prior of a mask.

    Pixels are taken as unit squares, not as points, so that a single one has a standard deviation too.

    Args:
        mask: bool (H, W).

    Returns:
        float32 (4,), see the module; None if the mask is empty.
    """
    inside = np.asarray(mask, bool)
    moments = []
    for axis, length in ((0, inside.shape[1]), (1, inside.shape[0])):
        counts = inside.sum(axis)
        total = int(counts.sum())
        if not total:
            return None
        places = (np.arange(length) + 0.5) / length
        mean = float(counts @ places) / total
        variance = float(counts @ (places - mean) ** 2) / total + 1 / (12 * length**2)
        moments.append((mean, max(math.sqrt(variance), _LEAST)))
    return torch.tensor([moments[0][0], moments[1][0], moments[0][1], moments[1][1]], dtype=torch.float32)


def moved_prior(prior: Tensor, guidance: Guidance, draws: torch.Generator) -> Tensor:
    """Move and scale a prior (4,) at random, as if it came from another frame and an inexact mask (section 3.5)."""
    amounts = torch.rand(4, generator=draws, dtype=torch.float32) * 2 - 1
    size = math.sqrt(12) * prior[2:]  # a rectangle of side a has the standard deviation a / sqrt(12)
    widened = prior[2:] * (1 + guidance.prior_scale) ** amounts[2:]
    return torch.cat([prior[:2] + guidance.prior_shift * size * amounts[:2], widened])


def heat_map(prior: Tensor, size: tuple[int, int]) -> Tensor:
    """Draw the spatial guide of a prior (section 3.4).

    Args:
        prior: float32 (4,).
        size: (H, W).

    Returns:
        float32 (1, H, W): exp(-d^2 / 2) at the centre of each pixel, d being its distance from the mean in standard
        deviations.
    """
    lines = []
    for axis, length in ((1, size[0]), (0, size[1])):
        places = (torch.arange(length, dtype=torch.float32) + 0.5) / length
        lines.append(torch.exp(-0.5 * ((places - prior[axis]) / prior[2 + axis]) ** 2))
    return torch.outer(*lines)[None]


class GuidedTasks:
    """Draws objects to train OSMN on, determined by (seed, iteration, index).

    The visual guide comes from a random frame of the object, the image from another one if there is another, and the
    prior, augmented, from the frame before the image (section 3.5).

    Args:
        tasks: tasksets to draw from.
        side: side of the visual guide in pixels.
        guidance: how guides are augmented.
    """

    def __init__(self, tasks: Tasks, side: int, guidance: Guidance | None = None) -> None:
        self.tasks, self.side, self.guidance = tasks, side, guidance or Guidance()

    def content(self) -> Any:
        return self.tasks.content()

    def guided(self, seed: int, iteration: int, index: int) -> Guided:
        """Draw an object. Raises UserError if no object can be found."""
        path = (_GUIDED, iteration, index)
        taskset = self.tasks.taskset_for(seed, *path)
        for sequence, object_id in taskset.pairs(seed, *path):
            draws, area = numpy_generator(seed, *path, 0), self.guidance.min_area
            frames = list(islice(taskset.frames(sequence, object_id, draws, min_area=area), 2))
            if frames:
                guide, annotated = frames[0], frames[-1]
                varied = self._varied(guide, object_id, generator(seed, *path, 1))
                sample, prior = self._sample(taskset, sequence, annotated, object_id, generator(seed, *path, 2))
                category = sequence.categories.get(object_id)
                return Guided(sample, varied, prior, sequence.name, object_id, category)
        raise taskset.no_object_error(self.guidance.min_area)

    def _varied(self, annotated: ObjectFrame, object_id: int, draws: torch.Generator) -> Tensor:
        turn, zoom = (2 * torch.rand(2, generator=draws, dtype=torch.float64) - 1).tolist()
        turn, zoom = self.guidance.guide_rotation * turn, (1 + self.guidance.guide_scale) ** zoom
        return visual_guide(annotated.image, annotated.mask == object_id, self.side, turn=turn, zoom=zoom)

    def _sample(
        self, taskset: Taskset, sequence: VideoSequence, annotated: ObjectFrame, object_id: int, draws: torch.Generator
    ) -> tuple[Sample, Tensor]:
        """Build the transformed image, and the augmented prior from the frame before under the same transform."""
        before = sequence.mask(annotated.frame_index - 1) if annotated.frame_index else None
        if before is None or not (before == object_id).any():
            before = annotated.mask
        void = annotated.mask == VOID
        layers = np.stack([annotated.mask == object_id, before == object_id, void])
        image, size = annotated.image, taskset.size
        if self.guidance.squares:
            side = self.guidance.squares[int(torch.randint(len(self.guidance.squares), (1,), generator=draws))]
            image, layers, size = *_squeezed(image, layers, max(side, min(image.shape[:2]))), (side, side)
        pixels, moved = augment(image, layers, draws, size=size, target=0, **taskset.transform)
        prior = prior_of(moved[1])
        if prior is None:
            prior = prior_of(moved[0])
        assert prior is not None, "augment lost the object"
        sample = Sample(pixels, moved[:1], moved[2] if void.any() else None)
        return sample, moved_prior(prior, self.guidance, draws)


def _squeezed(image: np.ndarray, layers: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Resize to squares: image uint8 (side, side, 3), masks bool (N, side, side)."""
    moved = [cv2.resize(layer.view(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST_EXACT) for layer in layers]
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), np.stack(moved).astype(bool)
