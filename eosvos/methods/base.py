"""Given masks, as every method takes them: checked, and winning over all predictions on their own frame."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eosvos.data.masks import VOID, merge
from eosvos.torch_state import own_state

Watch = Callable[[int, int, float], object]  # gets the number of a step, of how many (0: unknown), and its loss


def check_frame(frame: Tensor, size: Sequence[int] | None) -> None:
    """Raise ValueError for a frame that is not of the video's `size` (H, W), or before a video began (None)."""
    if size is None:
        raise ValueError("no video has been started; call start() with the first masks")
    if tuple(frame.shape[-2:]) != tuple(size):
        raise ValueError(f"the frame is {tuple(frame.shape[-2:])}, the video began with {tuple(size)}")


def check_fits(masks: Mapping[int, np.ndarray], frame: Tensor) -> None:
    """Raise ValueError for an id that no object can have, and for a mask that has not the size of `frame`."""
    for i, mask in masks.items():
        if not 1 <= i < VOID:
            raise ValueError(f"object ids are 1 to {VOID - 1}, found {i}")
        if np.shape(mask) != tuple(frame.shape[-2:]):
            raise ValueError(f"object {i}: the mask is {np.shape(mask)}, the frame {tuple(frame.shape[-2:])}")


def check_new(masks: Mapping[int, np.ndarray], frame: Tensor, known: Collection[int] = ()) -> None:
    """Raise ValueError for first masks of objects, bool (H, W) by id, that are known, empty, or unfit for `frame`."""
    for i, mask in masks.items():
        if i in known:
            raise ValueError(f"object {i} is known already; use correct() to change its mask")
        check_fits({i: mask}, frame)
        if not np.any(mask):
            raise ValueError(f"the first mask of object {i} is empty; it must show the object")


def check_known(masks: Mapping[int, np.ndarray], frame: Tensor, known: Collection[int]) -> None:
    """Raise ValueError for masks, bool (H, W) by id, of objects that are not known, or unfit for `frame`. A mask may be
    empty: the object is not here."""
    check_ids(masks, known)
    check_fits(masks, frame)


def check_ids(ids: Collection[int], known: Collection[int]) -> None:
    """Raise ValueError for an object that is not known."""
    for i in ids:
        if i not in known:
            raise ValueError(f"object {i} is unknown; known are {list(known)}; use add() for new ones")


def with_given_masks(planes: Tensor, ids: Sequence[int], masks: Mapping[int, np.ndarray]) -> Tensor:
    """Probabilities float32 (K, H, W) of the K objects `ids` in which the given masks are 1 within and 0 without.

    planes: (k, H, W), those of the first k of them so far; the others had none. In the pixels of a given mask the
    objects that no mask was given for are 0.
    """
    result = planes.new_zeros((len(ids), *planes.shape[-2:]))
    result[: len(planes)] = planes
    given = {i: torch.from_numpy(np.asarray(mask, bool)) for i, mask in masks.items()}
    for mask in given.values():
        result[:, mask] = 0
    for i, mask in given.items():
        result[list(ids).index(i)] = mask.to(result)
    return result


def without_objects(planes: Tensor, ids: Sequence[int], gone: Collection[int]) -> Tensor:
    """Probabilities (K, H, W) of the objects `ids` without those of `gone`."""
    return planes[[k for k, i in enumerate(ids) if i not in gone]]


def next_index(objs: Iterable[Any]) -> int:
    """A number for the draws of a new object beside these."""
    return 1 + max((obj.index for obj in objs), default=-1)


class FineTunedMethod(ABC):
    """What all methods of `protocol.Learning` do alike that keep what was given of every object.

    _objects: by id; the list `given` of each has its annotated frames, as `_take` keeps them, in the order they came.
    _waiting: those of objects that are still to come. watch: told of each step of fine-tuning on given frames; what it
    raises ends that.
    """

    probabilities: Tensor
    watch: Watch | None = None
    _objects: dict[int, Any]
    _waiting: dict[int, list[Any]]
    _frame_size: tuple[int, ...] | None

    @abstractmethod
    def _annotated(self, frame: Tensor, mask: np.ndarray, obj: Any = None) -> Any:
        """What is kept of an annotated frame. thing: the object, if it is known already."""

    @abstractmethod
    def _new_object(self, index: int, given: list[Any]) -> Any:
        """A new object, which these frames show. index: of its draws."""

    @abstractmethod
    def _fine_tune(self, obj: Any) -> None:
        """Make the object's parameters fit all that was given of it."""

    @abstractmethod
    def _set_position(self, object_id: int, frame: Tensor, mask: np.ndarray) -> None:
        """Note that in `frame`, the last one, the object is where `mask` has it; where that is empty, nowhere."""

    @property
    def object_ids(self) -> list[int]:
        return list(self._objects)

    def _report_step(self, done: int, total: int, loss: float) -> None:
        if self.watch is not None:
            self.watch(done, total, loss)

    @own_state()
    def remove(self, ids: Collection[int]) -> None:
        check_ids(ids, self._objects)
        self.probabilities = without_objects(self.probabilities, self.object_ids, ids)
        self._objects = {i: obj for i, obj in self._objects.items() if i not in ids}

    @own_state()
    def add(self, frame: Tensor, masks: dict[int, np.ndarray]) -> np.ndarray:
        check_frame(frame, self._frame_size)
        check_new(masks, frame, self._objects)
        for object_id, mask in masks.items():
            given = [self._annotated(frame, mask), *self._waiting.pop(object_id, [])]
            obj = self._new_object(next_index(self._objects.values()), given)
            self._fine_tune(obj)
            self._objects[object_id] = obj
        return self.show(frame, masks)

    @own_state()
    def correct(self, frame: Tensor, masks: dict[int, np.ndarray]) -> np.ndarray:
        check_frame(frame, self._frame_size)
        check_known(masks, frame, self._objects)
        self.learn(frame, masks)
        return self.show(frame, masks)

    @own_state()
    def learn(self, frame: Tensor, masks: dict[int, np.ndarray]) -> None:
        check_fits(masks, frame)
        for object_id, mask in masks.items():
            obj = self._objects.get(object_id)
            taken = self._annotated(frame, mask, obj)
            if obj is None:
                self._waiting.setdefault(object_id, []).append(taken)
            else:
                obj.given.append(taken)
                self._fine_tune(obj)

    @own_state()
    def show(self, frame: Tensor, masks: dict[int, np.ndarray]) -> np.ndarray:
        check_frame(frame, self._frame_size)
        check_known(masks, frame, self._objects)
        for object_id, mask in masks.items():
            self._set_position(object_id, frame, mask)
        self.probabilities = with_given_masks(self.probabilities, self.object_ids, masks)
        return merge(self.probabilities, self.object_ids)
