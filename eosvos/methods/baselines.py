"""The floor of every comparison: the given masks, repeated on every later frame."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from torch import Tensor

from eosvos.data.masks import merge
from eosvos.methods.base import check_frame, check_ids, check_known, check_new, shown, without
from eosvos.torch_state import own_state


class CopyFirst:
    """Repeats each object's last given mask. Follows `eosvos.methods.protocol.Method`; learns and looks at nothing."""

    STATE: tuple[str, ...] = ("object_ids", "probabilities", "_size")  # see methods.state
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
        self.probabilities = without(self.probabilities, self.object_ids, ids)
        self.object_ids = [i for i in self.object_ids if i not in ids]

    def _show(self, masks: dict[int, np.ndarray]) -> np.ndarray:
        self.probabilities = shown(self.probabilities, self.object_ids, masks)
        return merge(self.probabilities, self.object_ids)
