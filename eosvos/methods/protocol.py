"""The interface of every method: a video is walked one frame at a time, in order."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol, runtime_checkable

import numpy as np
from torch import Tensor


class Method(Protocol):
    """Segments a video frame by frame; keeps no frames beyond what it needs.

    Types: a frame is float32 (3, H, W), RGB in [0, 1], all of one size. `masks` are bool (H, W) by object id. An id
    mask is uint8 (H, W), 0 being background.

    Attributes:
        probabilities: float32 (K, H, W) of the last frame, one plane per object of `object_ids`.
        adapt_seconds: seconds spent on fine-tuning so far.
    """

    probabilities: Tensor
    adapt_seconds: float

    @property
    def object_ids(self) -> list[int]:
        """Object ids in the order in which the objects were given."""
        ...

    def start(self, frame: Tensor, masks: dict[int, np.ndarray]) -> np.ndarray:
        """Begin a video.

        Args:
            frame: the first frame.
            masks: the objects' masks on it; none may be empty.

        Returns:
            The id mask of the frame.
        """
        ...

    def step(self, frame: Tensor) -> np.ndarray:
        """Segment the next frame and return its id mask."""
        ...

    def add(self, frame: Tensor, masks: dict[int, np.ndarray]) -> np.ndarray:
        """Add new objects.

        Args:
            frame: the frame that was segmented last.
            masks: masks of the new objects on it; none may be empty. They override predictions.

        Returns:
            The id mask of the frame.
        """
        ...

    def correct(self, frame: Tensor, masks: dict[int, np.ndarray]) -> np.ndarray:
        """Replace masks of known objects.

        Args:
            frame: the frame that was segmented last.
            masks: correct masks by object id; an empty one means that the object is not in the frame.

        Returns:
            The id mask of the frame.
        """
        ...

    def remove(self, ids: Collection[int]) -> None:
        """Stop segmenting objects; the results of the others do not change."""
        ...


@runtime_checkable
class LearningMethod(Method, Protocol):
    """A method that is fine-tuned on annotated frames from any place of the video."""

    def learn(self, frame: Tensor, masks: dict[int, np.ndarray]) -> None:
        """Fine-tune on a further annotated frame; the results so far do not change.

        It is cheapest before `start` or `add`: a new object is then fine-tuned once, on all of its annotated frames.
        A known object is fine-tuned again on all of its annotated frames.

        Args:
            frame: any frame of the video.
            masks: masks of known or future objects; an empty one means that the object is not in the frame.
        """
        ...

    def show(self, frame: Tensor, masks: dict[int, np.ndarray]) -> np.ndarray:
        """Replace masks of known objects without fine-tuning; `correct` is `learn` and `show`.

        Args:
            frame: the frame that was segmented last.
            masks: correct masks by object id.

        Returns:
            The id mask of the frame.
        """
        ...
