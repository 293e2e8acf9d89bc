"""Snapping of masks to the edges of the image (OSVOS, section 3.3); that to learned contours is in osvos/contours.py.

Each class here is called with a frame, float32 (3, H, W), and probabilities, float32 (K, H, W), and returns new
probabilities. `Bilateral` and `Contours` need the libraries of the extra `snapping`.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec

import cv2
import numpy as np
import torch
from torch import Tensor

from eosvos.data.masks import jaccard
from eosvos.errors import UserError

KINDS = ("none", "grabcut", "bilateral", "contours")
_BAND_CELLS = 2.4  # half width of the band where masks are grids of cells
_COLOURS = 5  # of the object and of what is around it, in OpenCV's GrabCut: as many pixels are needed
_NEEDS = {"bilateral": "scipy", "contours": "higra"}


def check_installed(kind: str) -> None:
    """Raise UserError if the library that a kind of snapping needs is not installed."""
    needed = _NEEDS.get(kind)
    if needed is not None and find_spec(needed) is None:
        raise UserError(
            f"osvos.snapping={kind}: needs {needed}, which is not installed; pip install 'eosvos[snapping]', or use "
            "osvos.snapping=none"
        )


@dataclass(frozen=True)
class GrabCut:
    """Recomputes each mask within a band along its edge, by the colours inside and outside of the band.

    Frames and objects are independent of one another. Source: Rother et al., SIGGRAPH 2004; OpenCV's code.

    Attributes:
        band: half width of the band, as a share of the square root of the mask's area; 0: off; None: 0.1, or as
            `for_cells` has it.
        around: margin about the mask's box that is used, as a share of its longer side.
        side: largest side in pixels at which the mask is cut; bounds the time.
        colour_side: the same of the surroundings when their colours are learned.
        rounds: iterations of GrabCut in which the colours are learned.
        trial: whether methods snap the masks of an object only if `gain` is positive on its annotated frames; colours
            mislead where the object looks like its surroundings.
    """

    band: float | None = None
    around: float = 0.4
    side: int = 200
    colour_side: int = 100
    rounds: int = 1
    trial: bool = True

    def for_cells(self, side: int) -> GrabCut:
        """Return the settings for masks of `side` x `side` cells over a box: finer ones are less wrong."""
        return replace(self, band=_BAND_CELLS / side) if self.band is None else self

    @property
    def share(self) -> float:
        """The band in use, as a share of the square root of the mask's area."""
        return 0.1 if self.band is None else self.band

    def __call__(self, frame: Tensor, probabilities: Tensor) -> Tensor:
        """Snap masks; pixels added to a mask get a probability of at least 0.5, removed ones of less."""
        masks = probabilities.numpy() >= 0.5
        windows = [self._window(mask, self.around) for mask in masks if mask.any()] if self.share else []
        if not windows:
            return probabilities
        # The rest of the frame, most of it with a small object, is neither converted nor changed.
        rows, columns = (slice(min(w[k].start for w in windows), max(w[k].stop for w in windows)) for k in (0, 1))
        image, masks, snapped = _pixels(frame[:, rows, columns]), masks[:, rows, columns], probabilities.clone()
        planes = snapped.numpy()[:, rows, columns]
        for plane, before, after in zip(planes, masks, self._cuts(image, list(masks)), strict=True):
            added, removed = after & ~before, before & ~after
            plane[added] = 0.5 + plane[added] / 2
            plane[removed] *= 0.49
        return snapped

    def gain(self, frame: Tensor, mask: np.ndarray) -> float:
        """Measure what snapping gains on inexact masks of an object.

        The true mask is dilated, eroded and shifted by half a band, and snapped.

        Args:
            frame: float32 (3, H, W).
            mask: the true mask, bool (H, W).

        Returns:
            The mean gain in J, in [-1, 1]; nan if the mask is empty.
        """
        image, true = _pixels(frame), np.asarray(mask, bool)
        reach = max(2, round(self.share / 2 * math.sqrt(true.sum())))
        disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
        plane, size = true.astype(np.uint8), true.shape[::-1]
        rough = [cv2.dilate(plane, disk), cv2.erode(plane, disk)]
        rough += [cv2.warpAffine(plane, np.array([[1.0, 0, x], [0, 1, y]]), size) for x, y in ((0, reach), (reach, 0))]

        wrong = [mask for mask in (one > 0 for one in rough) if mask.any()]
        pairs = zip(wrong, self._cuts(image, wrong), strict=True)
        gains = [jaccard(after, true) - jaccard(before, true) for before, after in pairs]
        return sum(gains) / len(gains) if true.any() and gains else math.nan

    def _cuts(self, image: np.ndarray, masks: list[np.ndarray]) -> list[np.ndarray]:
        """Apply `cut` to masks in threads: OpenCV releases the interpreter's lock, and its random numbers in the
        caller's thread are not changed."""
        with ThreadPoolExecutor(max(1, min(len(masks), torch.get_num_threads()))) as pool:
            return list(pool.map(partial(self.cut, image), masks))

    def _band(self, mask: np.ndarray) -> float:
        return max(4.0, self.share * math.sqrt(np.count_nonzero(mask)))

    def _window(self, mask: np.ndarray, around: float) -> tuple[slice, slice]:
        """Return the rows and columns of a mask with any pixel, of its band, and of what is `around` it."""
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        longer = max(int(rows[-1] - rows[0]), int(columns[-1] - columns[0])) + 1
        margin = round(1.5 * self._band(mask) + around * longer)
        (top, bottom), (left, right) = (
            (max(int(places[0]) - margin, 0), min(int(places[-1]) + 1 + margin, size))
            for places, size in zip((rows, columns), mask.shape, strict=True)
        )
        return slice(top, bottom), slice(left, right)

    def cut(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Snap one mask to the edges of an image.

        The colours are learned on a small copy of the mask's surroundings, the mask is cut on a larger one of its band
        and what that encloses: nearly all pixels count for the former, few for the latter.

        Args:
            image: uint8 (H, W, 3), RGB.
            mask: bool (H, W).

        Returns:
            bool (H, W); the mask itself if it has too few pixels or less than a third of them would be left.
        """
        if not mask.any():
            return mask
        pixels, labels = self._labelled(image, mask, self._window(mask, self.around), self.colour_side)
        inside = np.count_nonzero(_foreground(labels))
        if min(inside, labels.size - inside) < _COLOURS:
            return mask
        cv2.setRNGSeed(0)  # its clustering of colours draws from OpenCV's own generator, of which each thread has one
        models = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.grabCut(pixels, labels, (0, 0, 1, 1), *models, self.rounds, cv2.GC_INIT_WITH_MASK)
        window = self._window(mask, 0)
        pixels, labels = self._labelled(image, mask, window, self.side)
        cv2.grabCut(pixels, labels, (0, 0, 1, 1), *models, 1, cv2.GC_EVAL_FREEZE_MODEL)
        foreground = _foreground(labels).astype(np.float32)
        result = np.zeros_like(mask)
        height, width = result[window].shape
        result[window] = cv2.resize(foreground, (width, height), interpolation=cv2.INTER_LINEAR) >= 0.5
        return result if 3 * np.count_nonzero(result) > np.count_nonzero(mask) else mask

    def _labelled(
        self, image: np.ndarray, mask: np.ndarray, window: tuple[slice, slice], side: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return a window of an image, at most `side` pixels long, and GrabCut's labels of it: sure beyond the band."""
        part, inside, band = image[window], mask[window].astype(np.uint8), self._band(mask)
        height, width = inside.shape
        scale = min(1.0, side / max(height, width))
        if scale < 1:
            size = max(1, round(width * scale)), max(1, round(height * scale))
            part = cv2.resize(part, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
            inside = cv2.resize(inside, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
        to_edge = [cv2.distanceTransform(a, cv2.DIST_L2, 3) for a in (inside, 1 - inside)]
        labels = np.where(
            inside > 0,
            np.where(to_edge[0] > band * scale, cv2.GC_FGD, cv2.GC_PR_FGD),
            np.where(to_edge[1] > band * scale, cv2.GC_BGD, cv2.GC_PR_BGD),
        ).astype(np.uint8)
        return np.ascontiguousarray(part), labels


def _foreground(labels: np.ndarray) -> np.ndarray:
    return (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)


def _pixels(frame: Tensor) -> np.ndarray:
    """Convert a frame float32 (3, H, W) to uint8 (H, W, 3)."""
    return (frame.permute(1, 2, 0).numpy() * 255).round().clip(0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Bilateral:
    """Smooths probabilities over pixels near in position and colour, by the fast bilateral solver.

    The confidence of a probability is its distance from 0.5. It is written with SciPy's sparse matrices, because
    OpenCV's (`ximgproc.fastBilateralSolverFilter`) needs Eigen, which its wheels are built without.

    Attributes:
        spatial: bandwidth in position, as a share of the frame's height.
        luma: bandwidth in luma, in grey levels.
        chroma: bandwidth in chroma, in grey levels.
        strength: lambda of eq. 1 of the source.

    Source: Barron & Poole, ECCV 2016.
    """

    spatial: float = 1 / 60
    luma: float = 12.0
    chroma: float = 6.0
    strength: float = 64.0

    def __call__(self, frame: Tensor, probabilities: Tensor) -> Tensor:
        image = _pixels(frame)
        grid = _Grid(image, self.spatial * image.shape[0], self.luma, self.chroma)
        planes = [grid.solve(plane.numpy(), self.strength) for plane in probabilities]
        return torch.from_numpy(np.stack(planes)).to(probabilities)


class _Grid:
    """The bilateral grid of an image: cells of position and colour, stored sparsely."""

    def __init__(self, image: np.ndarray, spatial: float, luma: float, chroma: float) -> None:
        from scipy import sparse

        height, width = image.shape[:2]
        rows, columns = np.mgrid[:height, :width]
        colours = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb).astype(np.float64)
        place = [rows / spatial, columns / spatial, *(colours / (luma, chroma, chroma)).transpose(2, 0, 1)]
        cells = np.stack([np.floor(p).astype(np.int64).ravel() for p in place], 1)
        sides = cells.max(0) + 3  # so that a neighbour's number is never another cell's
        steps = np.append(np.cumprod(sides[:0:-1])[::-1], 1)
        numbers, self.cell_of = np.unique(cells @ steps, return_inverse=True)
        count = len(numbers)
        # Blur: [1 2 1] along each dimension, summed over them.
        blur = sparse.diags_array(np.full(count, 2.0 * len(steps))).tocsr()
        for step in steps:
            after = np.searchsorted(numbers, numbers + step)
            has = numbers[np.minimum(after, count - 1)] == numbers + step
            pairs = (np.flatnonzero(has), after[has])
            way = sparse.csr_array((np.ones(len(pairs[0])), pairs), shape=(count, count))
            blur = blur + way + way.T
        # Algorithm 1: with n, blur * n n' has row sums m, those of the pixels in the cells.
        n, m = np.ones(count), self._sum(np.ones(height * width))
        for _ in range(10):
            n = np.sqrt(n * m / (blur @ n))
        scale = sparse.diags_array(n)
        self.smoothness = sparse.diags_array(n * (blur @ n)) - scale @ blur @ scale

    def _sum(self, values: np.ndarray) -> np.ndarray:
        return np.bincount(self.cell_of, values)

    def solve(self, plane: np.ndarray, strength: float) -> np.ndarray:
        """Solve eq. 5 to 7 of the source for the target `plane`, float (H, W); returns float (H, W)."""
        from scipy import sparse
        from scipy.sparse import linalg

        target = plane.astype(np.float64).ravel()
        confidence = np.abs(2 * target - 1) + 1e-3
        weight, right = self._sum(confidence), self._sum(confidence * target)
        system = strength * self.smoothness + sparse.diags_array(weight)
        near = sparse.diags_array(1 / system.diagonal())
        solution, _ = linalg.cg(system, right, x0=right / weight, rtol=1e-5, maxiter=25, M=near)
        return solution[self.cell_of].reshape(plane.shape).clip(0, 1)
