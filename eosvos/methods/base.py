"""What methods share: checks of masks, given masks that override predictions, and fine-tuning on annotated frames."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eosvos import seeds
from eosvos.data.masks import VOID, merge
from eosvos.data.tasks import Sample
from eosvos.data.transforms import augment, fit
from eosvos.meta.adapt import Loss, Params, adapt
from eosvos.meta.learner import Learner
from eosvos.torch_state import own_state

Watch = Callable[[int, int, float], object]  # called with: step, number of steps (0: unknown), loss


def check_frame(frame: Tensor, size: Sequence[int] | None) -> None:
    """Check that a frame belongs to the video.

    Args:
        frame: (3, H, W).
        size: (H, W) of the video; None: no video was started.

    Raises:
        ValueError: if the sizes differ or no video was started.
    """
    if size is None:
        raise ValueError("no video has been started; call start() with the first masks")
    if tuple(frame.shape[-2:]) != tuple(size):
        raise ValueError(f"the frame is {tuple(frame.shape[-2:])}, the video began with {tuple(size)}")


def check_fits(masks: Mapping[int, np.ndarray], frame: Tensor) -> None:
    """Check masks against a frame.

    Args:
        masks: (H, W) by object id.
        frame: (3, H, W).

    Raises:
        ValueError: if an id is not from 1 to 254, or a mask has another size than the frame.
    """
    for i, mask in masks.items():
        if not 1 <= i < VOID:
            raise ValueError(f"object ids are 1 to {VOID - 1}, found {i}")
        if np.shape(mask) != tuple(frame.shape[-2:]):
            raise ValueError(f"object {i}: the mask is {np.shape(mask)}, the frame {tuple(frame.shape[-2:])}")


def check_new(masks: Mapping[int, np.ndarray], frame: Tensor, known: Collection[int] = ()) -> None:
    """Check the first masks of new objects.

    Args:
        masks: bool (H, W) by object id.
        frame: (3, H, W).
        known: ids of the objects that there are already.

    Raises:
        ValueError: if an object is known, a mask is empty, or `check_fits` raises.
    """
    for i, mask in masks.items():
        if i in known:
            raise ValueError(f"object {i} is known already; use correct() to change its mask")
        check_fits({i: mask}, frame)
        if not np.any(mask):
            raise ValueError(f"the first mask of object {i} is empty; it must show the object")


def check_known(masks: Mapping[int, np.ndarray], frame: Tensor, known: Collection[int]) -> None:
    """Check masks of known objects, which may be empty.

    Args:
        masks: bool (H, W) by object id.
        frame: (3, H, W).
        known: ids of the objects that there are.

    Raises:
        ValueError: if an object is unknown, or `check_fits` raises.
    """
    check_ids(masks, known)
    check_fits(masks, frame)


def check_ids(ids: Collection[int], known: Collection[int]) -> None:
    """Raise ValueError if one of `ids` is not in `known`."""
    for i in ids:
        if i not in known:
            raise ValueError(f"object {i} is unknown; known are {list(known)}; use add() for new ones")


def with_given_masks(planes: Tensor, ids: Sequence[int], masks: Mapping[int, np.ndarray]) -> Tensor:
    """Override probabilities with given masks.

    Args:
        planes: float32 (k, H, W), probabilities of the first k objects of `ids`; the others have none yet.
        ids: ids of all K objects.
        masks: given masks, bool (H, W) by object id.

    Returns:
        float32 (K, H, W): an object with a given mask is 1 inside and 0 outside of it; the other objects are 0 in the
        pixels of given masks.
    """
    result = planes.new_zeros((len(ids), *planes.shape[-2:]))
    result[: len(planes)] = planes
    given = {i: torch.from_numpy(np.asarray(mask, bool)) for i, mask in masks.items()}
    for mask in given.values():
        result[:, mask] = 0
    for i, mask in given.items():
        result[list(ids).index(i)] = mask.to(result)
    return result


def without_objects(planes: Tensor, ids: Sequence[int], removed: Collection[int]) -> Tensor:
    """Drop the planes of the objects `removed` from the probabilities (K, H, W) of the objects `ids`."""
    return planes[[k for k, i in enumerate(ids) if i not in removed]]


def next_index(objs: Iterable[Any]) -> int:
    """Return the lowest index above those of the objects; it seeds the random draws of a new object."""
    return 1 + max((obj.index for obj in objs), default=-1)


def annotated_sample(frame: Tensor, mask: np.ndarray, size: tuple[int, int]) -> Sample:
    """Keep an annotated frame for fine-tuning, at up to twice the network's size, so that zoomed copies stay sharp.

    Args:
        frame: float32 (3, H, W).
        mask: bool (H, W).
        size: short and long side of the network's images in pixels.
    """
    scale = min(2.0, max(1.0, min(frame.shape[-2:]) / size[0]))
    return Sample(*fit(frame, mask[None], size=(round(size[0] * scale), round(size[1] * scale))))


def transformed_copies(
    samples: Sequence[Sample], *, size: tuple[int, int], zoom: tuple[float, float], flip: bool, seed: Sequence[int]
) -> Iterator[tuple[Sample, float | None, torch.Generator]]:
    """Yield copies of an object's annotated frames in turn, mirrored and scaled at random, without end.

    Args:
        samples: the annotated frames; at least one shows the object.
        size: short and long side of the network's images in pixels.
        zoom: bounds of the random scale.
        flip: whether a copy is mirrored half of the time.
        seed: path of the random draws; the number of samples and that of the copy are added to it.

    Yields:
        The copy; beta of its balanced cross-entropy, None where its mask decides; and the generator of its draws.
    """
    # An empty frame ("the object is not here") is all negative, and weighs as much as in the other frames.
    shares = [1 - float(s.masks.float().mean()) for s in samples if s.masks.any()]
    for number in count():
        source, draws = samples[number % len(samples)], seeds.generator(*seed, len(samples), number)
        image, masks = augment(
            source.image, source.masks, draws, size=size, scale=zoom, rotation=0, translation=0, flip=flip, colour=0
        )
        yield Sample(image, masks), None if masks.any() else sum(shares) / len(shares), draws


class FineTunedMethod(ABC):
    """Base of the methods that fine-tune parameters per object on its annotated frames (`protocol.LearningMethod`).

    Attributes:
        watch: called after each step of fine-tuning on annotated frames; an exception that it raises ends the
            fine-tuning and goes through.
        _objects: the objects by id. The list `given` of an object holds its annotated frames, as `_annotated` made
            them, in the order in which they came.
        _waiting: annotated frames of objects that do not exist yet, by object id.
    """

    learner: Learner
    probabilities: Tensor
    watch: Watch | None = None
    _objects: dict[int, Any]
    _waiting: dict[int, list[Any]]
    _frame_size: tuple[int, ...] | None

    @abstractmethod
    def _annotated(self, frame: Tensor, mask: np.ndarray, obj: Any = None) -> Any:
        """Build what is kept of an annotated frame; `obj` is its object, if that exists already."""

    @abstractmethod
    def _new_object(self, index: int, given: list[Any]) -> Any:
        """Build an object from its annotated frames; `index` seeds its random draws."""

    @abstractmethod
    def _fine_tune(self, obj: Any) -> None:
        """Fine-tune the object's parameters on all of its annotated frames."""

    @abstractmethod
    def _set_position(self, object_id: int, frame: Tensor, mask: np.ndarray) -> None:
        """Note that `mask` is where the object is in the last frame; an empty mask: nowhere."""

    @property
    def object_ids(self) -> list[int]:
        return list(self._objects)

    def _report_step(self, done: int, total: int, loss: float) -> None:
        if self.watch is not None:
            self.watch(done, total, loss)

    def _adapted(
        self, start: Params, losses: Iterable[Loss], total: int, *, momentum: float, clip: float | None
    ) -> Params:
        """Return parameters fine-tuned from `start`; `total` steps are expected, 0: unknown."""
        result = adapt(
            start,
            self.learner.rates,
            losses,
            momentum=momentum,
            clip=clip,
            after=lambda done, adapted: self._report_step(done, total, adapted.losses[-1]),
        )
        return {name: p.detach() for name, p in result.phi.items()}

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
            annotated = self._annotated(frame, mask, obj)
            if obj is None:
                self._waiting.setdefault(object_id, []).append(annotated)
            else:
                obj.given.append(annotated)
                self._fine_tune(obj)

    @own_state()
    def show(self, frame: Tensor, masks: dict[int, np.ndarray]) -> np.ndarray:
        check_frame(frame, self._frame_size)
        check_known(masks, frame, self._objects)
        for object_id, mask in masks.items():
            self._set_position(object_id, frame, mask)
        self.probabilities = with_given_masks(self.probabilities, self.object_ids, masks)
        return merge(self.probabilities, self.object_ids)
