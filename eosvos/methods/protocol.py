"""How every method walks a video: one frame at a time, in order, nothing kept but what it needs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol, runtime_checkable

import numpy as np
from torch import Tensor


class Method(Protocol):
    """A stream of frames in, id masks out.

    Frames are float32 (3, H, W) in [0, 1] of one size, masks bool (H, W) by object id, id masks uint8 (H, W).
    """

    probabilities: Tensor  # float32 (K, H, W) of the last frame, one plane per object id
    adapt_seconds: float  # time spent on fine-tuning so far

    @property
    def object_ids(self) -> list[int]:
        """The ids of the objects, in the order given."""
        ...

    def start(self, frame: Tensor, masks: dict[int, np.ndarray]) -> np.ndarray:
        """Begin a video at `frame` with the masks of its objects; returns the id mask of these."""
        ...

    def step(self, frame: Tensor) -> np.ndarray:
        """The id mask of the next frame."""
        ...

    def add(self, frame: Tensor, masks: dict[int, np.ndarray]) -> np.ndarray:
        """New objects on the frame just stepped; returns its id mask, in which they win."""
        ...

    def correct(self, frame: Tensor, masks: dict[int, np.ndarray]) -> np.ndarray:
        """Masks of known objects on the frame just stepped (empty: the object is not here); returns its id mask."""
        ...

    def remove(self, ids: Collection[int]) -> None:
        """Forget known objects; those that stay are segmented as they would have been."""
        ...


@runtime_checkable
class LearningMethod(Method, Protocol):
    """A method that more annotated frames make better, from any place of the video."""

    def learn(self, frame: Tensor, masks: dict[int, np.ndarray]) -> None:
        """Take masks (empty: the object is not here) on any frame into the fine-tuning; nothing of it is shown.

        Before `start` or `add`, which is once the cheapest: an object that comes then is fine-tuned on them together
        with its first mask. Afterwards it is fine-tuned again, on all that was given.
        """
        ...

    def show(self, frame: Tensor, masks: dict[int, np.ndarray]) -> np.ndarray:
        """Masks of known objects on the frame just stepped, of which nothing is learned; returns its id mask, in which
        they win. `correct` is `learn` and `show`."""
        ...
