"""Snapping of masks to contours learned offline (OSVOS, section 3.3), by majority votes in superpixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from eosvos.data.transforms import fit
from eosvos.meta.learner import Learner
from eosvos.methods.osvos.loss import probability
from eosvos.models.osvos import FCN, build


@dataclass(frozen=True)
class Contours:
    """Snaps masks to learned contours: a superpixel is foreground if more than half of it is.

    Attributes:
        learner: the contour branch, on the device where it is to run.
        threshold: of the ultrametric contour map, in [0, 1]: no superpixel crosses a contour of a higher mean
            probability.
    """

    learner: Learner
    threshold: float = 0.1

    @cached_property
    def model(self) -> FCN:
        return self.learner.network(build)

    def __call__(self, frame: Tensor, probabilities: Tensor) -> Tensor:
        height, width = frame.shape[-2:]
        spec = self.model.network_spec
        image, _ = fit(frame, np.zeros((0, height, width), bool), size=(spec.short, spec.long))
        contours = probability(self.model, self.learner.theta, image, (height, width))
        return vote(probabilities, superpixels(contours.numpy(), self.threshold))


def superpixels(contours: np.ndarray, threshold: float) -> np.ndarray:
    """Segment an image into superpixels by the ultrametric contour map (Arbelaez et al., TPAMI 2011).

    Args:
        contours: contour probabilities, float (H, W).
        threshold: where the map is cut, in [0, 1].

    Returns:
        Labels int (H, W), from 0.
    """
    import higra

    graph = higra.get_4_adjacency_graph(contours.shape)
    # Between two pixels the stronger one's: a line one pixel wide is as strong as it says.
    edges = higra.weight_graph(graph, contours.astype(np.float64), higra.WeightFunction.max)
    tree, altitudes = higra.mean_pb_hierarchy(graph, edges)
    regions = higra.labelisation_horizontal_cut_from_threshold(tree, altitudes, threshold)
    labels = higra.rag_back_project_vertex_weights(higra.CptHierarchy.get_leaf_graph(tree), regions)
    return np.unique(labels, return_inverse=True)[1].reshape(contours.shape)


def vote(probabilities: Tensor, labels: np.ndarray) -> Tensor:
    """Replace each object's probabilities by the share of foreground in the pixel's superpixel.

    Args:
        probabilities: float32 (K, H, W).
        labels: superpixels, int (H, W), from 0.

    Returns:
        float32 (K, H, W); a share of exactly one half is just below 0.5, as more than half is needed for foreground.
    """
    flat, sizes = labels.ravel(), np.bincount(labels.ravel())
    planes = []
    for plane in probabilities.numpy():
        share = np.bincount(flat, plane.ravel() >= 0.5) / sizes
        planes.append(np.where(share == 0.5, np.nextafter(np.float32(0.5), np.float32(0)), share)[labels])
    return torch.from_numpy(np.stack(planes)).to(probabilities)
