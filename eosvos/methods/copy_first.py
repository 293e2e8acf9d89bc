"""The floor of every comparison: the given masks, repeated on every later frame."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class CopyFirst:
    """Repeats each object's last given mask. Follows `eosvos.methods.protocol.Method`; learns and looks at nothing.

    `object_ids`: in the order given. `probabilities`: float32 (K, H, W), 0 or 1, of the last frame.
    """

    def __init__(self) -> None:
        self.object_ids: list[int] = []
        self.adapt_seconds = 0.0  # it does not learn
        self.probabilities: Tensor = torch.zeros(0, 0, 0)
        self._mask: np.ndarray | None = None

    def start(self, frame: Tensor, masks: dict[int, np.ndarray]) -> np.ndarray:
        """Begin a video at `frame`, float32 (3, H, W), with `masks`, id -> bool (H, W); returns uint8 (H, W)."""
        self.object_ids = []
        self._mask = np.zeros(tuple(frame.shape[-2:]), np.uint8)
        return self.add(frame, masks)

    def step(self, frame: Tensor) -> np.ndarray:
        """The id mask of the next frame, uint8 (H, W). Raises ValueError where its size is not the first one's."""
        return self._current(frame).copy()

    def add(self, frame: Tensor, masks: dict[int, np.ndarray]) -> np.ndarray:
        """New objects on the frame just stepped. Raises ValueError for an id that is known already."""
        known = sorted(set(masks) & set(self.object_ids))
        if known:
            raise ValueError(f"objects {known} are known already; give better masks of them to correct()")
        current = self._current(frame).copy()
        for i, mask in masks.items():
            current[_fitting(i, mask, current)] = i
        self.object_ids += masks
        return self._hold(current)

    def correct(self, frame: Tensor, masks: dict[int, np.ndarray]) -> np.ndarray:
        """Better masks of known objects on the frame just stepped. Raises ValueError for an id that is not known."""
        unknown = sorted(set(masks) - set(self.object_ids))
        if unknown:
            raise ValueError(f"objects {unknown} are not known yet; give them to add()")
        current = self._current(frame).copy()
        for i in masks:  # all the old ones go before any new one comes
            current[current == i] = 0
        for i, mask in masks.items():
            current[_fitting(i, mask, current)] = i
        return self._hold(current)

    def _current(self, frame: Tensor) -> np.ndarray:
        if self._mask is None:
            raise ValueError("no video has been started; call start() with the first masks")
        if tuple(frame.shape[-2:]) != self._mask.shape:
            raise ValueError(f"the frame is {tuple(frame.shape[-2:])}, the video began with {self._mask.shape}")
        return self._mask

    def _hold(self, mask: np.ndarray) -> np.ndarray:
        self._mask = mask
        ids = np.array(self.object_ids, np.uint8).reshape(-1, 1, 1)
        self.probabilities = torch.from_numpy((mask[None] == ids).astype(np.float32))
        return mask.copy()


def _fitting(i: int, mask: np.ndarray, current: np.ndarray) -> np.ndarray:
    if not 1 <= i <= 254:
        raise ValueError(f"object ids are 1 to 254, found {i}")
    mask = np.asarray(mask, bool)
    if mask.shape != current.shape:
        raise ValueError(f"object {i}: the mask is {mask.shape}, the frame {current.shape}")
    return mask
