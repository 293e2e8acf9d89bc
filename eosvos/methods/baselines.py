"""Baselines without a network: the first mask repeated, and the mask warped by optical flow.

Source of the flow: DIS (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016), OpenCV's code.
"""

from __future__ import annotations

from collections.abc import Collection

import cv2
import numpy as np
import torch
from torch import Tensor

from eosvos.data.masks import merge
from eosvos.methods.base import check_frame, check_ids, check_known, check_new, with_given_masks, without_objects
from eosvos.torch_state import own_state

# Rows and columns that DIS needs for two levels of its pyramid: with fewer, OpenCV 5.0 refuses frames, or reads beyond
# their memory and ends the process
_SMALLEST, _WIDEST = 16, 46


class CopyFirst:
    """Repeats each object's last given mask; see `eosvos.methods.protocol.Method`."""

    STATE: tuple[str, ...] = ("object_ids", "probabilities", "_size")  # see inference/state_file.py
    PARTS: tuple[type, ...] = ()

    @own_state()
    def __init__(self) -> None:
        self.object_ids: list[int] = []
        self.adapt_seconds = 0.0  # it does not learn
        self.probabilities = torch.zeros(0, 0, 0, dtype=torch.float32)
        self._size: tuple[int, ...] | None = None

    @own_state()
    def start(self, frame: Tensor, masks: dict[int, np.ndarray]) -> np.ndarray:
        self.object_ids, self._size = [], tuple(frame.shape[-2:])
        self.probabilities = torch.zeros(0, *self._size, dtype=torch.float32)
        return self.add(frame, masks)

    @own_state()
    def step(self, frame: Tensor) -> np.ndarray:
        check_frame(frame, self._size)
        return merge(self.probabilities, self.object_ids)

    @own_state()
    def add(self, frame: Tensor, masks: dict[int, np.ndarray]) -> np.ndarray:
        check_frame(frame, self._size)
        check_new(masks, frame, self.object_ids)
        self.object_ids += masks
        return self._show(masks)

    @own_state()
    def correct(self, frame: Tensor, masks: dict[int, np.ndarray]) -> np.ndarray:
        check_frame(frame, self._size)
        check_known(masks, frame, self.object_ids)
        return self._show(masks)

    @own_state()
    def remove(self, ids: Collection[int]) -> None:
        check_ids(ids, self.object_ids)
        self.probabilities = without_objects(self.probabilities, self.object_ids, ids)
        self.object_ids = [i for i in self.object_ids if i not in ids]

    def _show(self, masks: dict[int, np.ndarray]) -> np.ndarray:
        self.probabilities = with_given_masks(self.probabilities, self.object_ids, masks)
        return merge(self.probabilities, self.object_ids)


class Flow(CopyFirst):
    """Warps each object's mask from frame to frame by backward optical flow.

    Each pixel takes the probability, interpolated bilinearly, of the place in the previous frame that the flow points
    to; places outside of the frame count as 0. An object that is lost stays lost until it is corrected.
    """

    STATE = (*CopyFirst.STATE, "_last")

    def __init__(self) -> None:
        super().__init__()
        self._last = np.zeros((0, 0), np.uint8)  # uint8 (H, W), the frame that the probabilities belong to
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    @own_state()
    def start(self, frame: Tensor, masks: dict[int, np.ndarray]) -> np.ndarray:
        self._last = _grey(frame)
        return super().start(frame, masks)

    @own_state()
    def step(self, frame: Tensor) -> np.ndarray:
        check_frame(frame, self._size)
        current, previous = _grey(frame), self._last
        (height, width), edge = current.shape, cv2.BORDER_REPLICATE
        below, right = max(_SMALLEST - height, 0), max(_SMALLEST - width, 0)
        right = max(right, 0 if max(height, width) >= _WIDEST else _WIDEST - width)
        pair = [cv2.copyMakeBorder(image, 0, below, 0, right, edge) for image in (current, previous)]
        flow = self._flow.calc(*pair, None)[:height, :width]  # type: ignore[call-overload]  # x and y, in pixels
        rows, columns = np.indices(current.shape, np.float32)
        for plane in self.probabilities.numpy():
            plane[:] = cv2.remap(plane, columns + flow[..., 0], rows + flow[..., 1], cv2.INTER_LINEAR)
        self._last = current
        return merge(self.probabilities, self.object_ids)


def _grey(frame: Tensor) -> np.ndarray:
    """Convert a frame float32 (3, H, W), RGB in [0, 1], to grey uint8 (H, W)."""
    pixels = (frame * 255).round().clamp(0, 255).byte().permute(1, 2, 0).contiguous().numpy()
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
