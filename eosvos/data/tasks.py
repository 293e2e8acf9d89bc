"""Training tasks: one object of one video, a train sample and a meta sample (e-OSVOS, sections 3.2.1 and 4.2).

`Taskset.task(seed, iteration, index)` draws a task for meta-learning, `Taskset.image(seed, iteration, index)` an image
for ordinary training. Both depend on these three numbers alone, not on earlier draws or on the worker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from eosvos.data.masks import VOID, box_of, ids_of
from eosvos.data.sequence import VideoSequence, content
from eosvos.data.transforms import augment
from eosvos.data.window import window_about
from eosvos.errors import UserError
from eosvos.seeds import generator, numpy_generator

# what a draw is for: the first part of its path, so that no two kinds share their numbers
SCENE, TASK, IMAGE, SOURCE = 11, 12, 13, 14
_SMALLEST = 16  # pixels at network size; less of an object is neither an instance nor background: it is ignored


class ObjectFrame(NamedTuple):
    """A frame that shows the object of a task.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        mask: id mask uint8 (H, W).
        frame_index: index of the frame in its sequence.
    """

    image: np.ndarray
    mask: np.ndarray
    frame_index: int


class TaskFrames(NamedTuple):
    """The frames that a task or image is made of.

    Attributes:
        name: name of the sequence.
        object_id: the object of the task.
        frames: frames that show it, the train frame first.
    """

    name: str
    object_id: int
    frames: list[ObjectFrame]


@dataclass(frozen=True)
class Sample:
    """One image to train on, at the network's size.

    Attributes:
        image: float32 (3, h, w), RGB in [0, 1].
        masks: bool (N, h, w), one per instance; N may be 0.
        ignore: bool (h, w), pixels whose label is unknown (void); None: there are none.
    """

    image: Tensor
    masks: Tensor
    ignore: Tensor | None = None


@dataclass(frozen=True)
class Task:
    """One object to adapt to. All masks are (1, h, w).

    Attributes:
        name: name of the sequence.
        object_id: the object.
        train: samples to fine-tune on.
        meta: sample of which the meta loss is computed.
        extra_meta: further samples of the meta loss, of other frames.
    """

    name: str
    object_id: int
    train: tuple[Sample, ...]
    meta: Sample
    extra_meta: tuple[Sample, ...] = ()


class Tasks(Protocol):
    """The interface of everything that training draws from."""

    def task(self, seed: int, iteration: int, index: int) -> Task: ...

    def image(self, seed: int, iteration: int, index: int) -> Sample: ...

    def taskset_for(self, seed: int, *path: int) -> Taskset: ...

    @property
    def window(self) -> float:
        """Sides of the samples' window in sides of the object's box; 0: whole frames."""
        ...

    def content(self) -> Any:
        """Describe the data by plain values; None where settings and code determine all of it."""
        ...


class Taskset:
    """Draws tasks and images by (seed, iteration, index): equal numbers give equal tensors.

    Usually made as a `SyntheticTaskset` or `VideoTaskset`, which pass these settings on.

    Args:
        pairs: `pairs(seed, *path)` iterates over the (sequence, object id) pairs to try, in an order drawn from its
            arguments. The first one in which the object is found is taken.
        size: short and long side of the network's images in pixels.
        first_to_later: whether the object's first frame trains and later ones judge; otherwise random frames do.
        train_copies: number of train samples, which are differently transformed copies of the train frame.
        meta_frames: number of meta samples. The inner steps are the main cost, and further meta samples make their
            meta-gradient less noisy.
        min_area: smallest share of the image that an object must cover to be drawn from it.
        window: sides of the samples' window in sides of the object's box (`data.window`); 0: whole frames.
        transform: settings of `augment`, such as {"rotation": 10.0}.
        search: at most this many masks are read to find the object.

    Raises:
        UserError: if `train_copies` or `meta_frames` is below 1.
    """

    def __init__(
        self,
        pairs: Callable[..., Iterator[tuple[VideoSequence, int]]],
        *,
        size: tuple[int, int] = (128, 224),
        first_to_later: bool = False,
        train_copies: int = 1,
        meta_frames: int = 1,
        min_area: float = 0.002,
        window: float = 0.0,
        transform: dict[str, Any] | None = None,
        search: int = 24,
    ):
        if min(train_copies, meta_frames) < 1:
            raise UserError(
                f"train_copies={train_copies}, meta_frames={meta_frames}: a task needs at least 1 sample of each kind"
            )
        self.pairs, self.size, self.first_to_later, self.train_copies = pairs, size, first_to_later, train_copies
        self.meta_frames, self.min_area, self.window = meta_frames, min_area, window
        self.transform, self.search = transform or {}, search

    def content(self) -> Any:
        """Describe the data by plain values; None where settings and code determine all of it."""
        return None

    def task(self, seed: int, iteration: int, index: int) -> Task:
        """Draw a task (e-OSVOS, section 3.2.1).

        A random frame that shows the object trains, and others (the same one if there are no others) judge. Each sample
        has its own spatial and colour transform.

        Args:
            seed: seed of all draws.
            iteration: meta-iteration.
            index: number of the task in its meta-batch.

        Raises:
            UserError: if no object can be found.
        """
        return self.build(self.draw_task(seed, iteration, index), seed, iteration, index)

    def draw_task(self, seed: int, iteration: int, index: int) -> TaskFrames:
        """Draw the frames of `task` without transforming them: the train frame and the meta frames."""
        path = (TASK, iteration, index)
        for sequence, object_id in self.pairs(seed, *path):
            frames = self._some_frames(sequence, object_id, numpy_generator(seed, *path, 0))
            if frames is not None:
                return TaskFrames(sequence.name, object_id, frames)
        raise self.no_object_error()

    def build(self, drawn: TaskFrames, seed: int, iteration: int, index: int) -> Task:
        """Transform the frames of `draw_task` into a task."""
        path, (first, *judges), copies = (TASK, iteration, index), drawn.frames, self.train_copies
        train = tuple(
            self._sample(first, drawn.object_id, generator(seed, *path, c), single=True) for c in range(1, copies + 1)
        )
        meta, *extra_meta = (
            self._sample(frame, drawn.object_id, generator(seed, *path, copies + k), single=True)
            for k, frame in enumerate(judges, 1)
        )
        return Task(drawn.name, drawn.object_id, train, meta, tuple(extra_meta))

    def image(self, seed: int, iteration: int, index: int) -> Sample:
        """Draw a random frame with all its objects as instances, transformed; at least one of them is visible."""
        return self.build_image(self.draw_image(seed, iteration, index), seed, iteration, index)

    def draw_image(self, seed: int, iteration: int, index: int) -> TaskFrames:
        """Draw the frame of `image` without transforming it, and the object that it is drawn for."""
        path = (IMAGE, iteration, index)
        for sequence, object_id in self.pairs(seed, *path):
            frame = next(self.frames(sequence, object_id, numpy_generator(seed, *path, 0)), None)
            if frame is not None:
                return TaskFrames(sequence.name, object_id, [frame])
        raise self.no_object_error()

    def build_image(self, drawn: TaskFrames, seed: int, iteration: int, index: int) -> Sample:
        """Transform the frame of `draw_image` into a sample."""
        draws = generator(seed, IMAGE, iteration, index, 1)
        return self._sample(drawn.frames[0], drawn.object_id, draws, single=False)

    def taskset_for(self, seed: int, *path: int) -> Taskset:
        """Return the taskset that the draw at `path` comes from: this one."""
        return self

    def source(self, seed: int, kind: str, iteration: int, index: int) -> Taskset:
        """Return the taskset that a "task" or "image" (`kind`) comes from: this one."""
        return self

    def _some_frames(
        self, sequence: VideoSequence, object_id: int, draws: np.random.Generator
    ) -> list[ObjectFrame] | None:
        """Draw the train frame and the meta frames, repeated if there are too few; None if the object is not found."""
        start = sequence.first_frame[object_id]
        if self.first_to_later:
            mask = sequence.mask(start)
            if mask is None or not self._visible(mask, object_id):
                return None
            first = ObjectFrame(sequence.read_frame(start), mask, start)
            others = self.frames(sequence, object_id, draws, start + 1)
        else:
            others = self.frames(sequence, object_id, draws)
            found = next(others, None)
            if found is None:
                return None
            first = found
        judges = list(islice(others, self.meta_frames)) or [first]
        return [first, *(judges[k % len(judges)] for k in range(self.meta_frames))]

    def frames(
        self, sequence: VideoSequence, object_id: int, draws: np.random.Generator, start: int = 0, min_area: float = 0.0
    ) -> Iterator[ObjectFrame]:
        """Iterate over different random frames that show an object.

        Args:
            sequence: the video.
            object_id: the object.
            draws: generator of the order; at most `search` masks are read.
            start: first frame that may be drawn.
            min_area: smallest share of the image that the object covers, if that is more than the taskset's.
        """
        read = 0
        for index in map(int, draws.permutation(len(sequence))):
            if index < max(start, sequence.first_frame[object_id]):
                continue
            mask = sequence.mask(index)
            if mask is None:
                continue
            if self._visible(mask, object_id, min_area):
                yield ObjectFrame(sequence.read_frame(index), mask, index)
            read += 1
            if read == self.search:
                return

    def _visible(self, mask: np.ndarray, object_id: int, min_area: float = 0.0) -> bool:
        return bool(np.count_nonzero(mask == object_id) >= max(1, max(self.min_area, min_area) * mask.size))

    def _sample(self, frame: ObjectFrame, object_id: int, draws: torch.Generator, *, single: bool) -> Sample:
        """Transform a frame into the sample of one object or, unless `single`, of all visible objects as instances."""
        image, mask, _ = frame
        ids = [object_id] if single else ids_of(mask)
        layers = [mask == i for i in ids]
        void = mask == VOID
        if void.any():
            layers.append(void)
        window = None
        if self.window and (box := box_of(mask == object_id)) is not None:
            window = window_about(box.tolist(), mask.shape[:2], self.size, self.window)  # type: ignore[arg-type]
        pixels, moved = augment(
            image,
            np.stack(layers),
            draws,
            size=self.size,
            target=0 if single else None,
            window=window,
            **self.transform,
        )
        masks = moved[: len(ids)]
        ignore = moved[len(ids)] if len(layers) > len(ids) else None
        if not single:
            seen = masks.flatten(1).sum(1) >= _SMALLEST
            slivers = masks[~seen].any(0)
            if slivers.any():
                ignore = slivers if ignore is None else ignore | slivers
            masks = masks[seen]
        return Sample(pixels, masks, ignore)

    def no_object_error(self, min_area: float = 0.0) -> UserError:
        """Return the error for sequences in which no object was found."""
        return UserError(
            f"no object that covers at least {max(self.min_area, min_area):.2%} of its image was found in the drawn"
            " sequences; lower min_area, or look at the masks"
        )


class VideoTaskset(Taskset):
    """Tasks from annotated sequences, drawn uniformly over all (sequence, object) pairs.

    Args:
        sequences: the videos.
        settings: those of `Taskset`.

    Raises:
        UserError: if there is no object at all.
    """

    def __init__(self, sequences: Sequence[VideoSequence], **settings: Any):
        super().__init__(self._videos, **settings)
        self.sequences = tuple(sequences)
        self.objects = [(sequence, object_id) for sequence in sequences for object_id in sequence.first_frame]
        if not self.objects:
            raise UserError(f"{len(sequences)} sequences without a single object: there is nothing to draw tasks from")

    def content(self) -> Any:
        """Describe the data by the number of sequences and frames, and their hash."""
        return content(self.sequences)

    def _videos(self, seed: int, *path: int) -> Iterator[tuple[VideoSequence, int]]:
        """Iterate over the pairs from a random one on."""
        start = int(numpy_generator(seed, *path, SCENE).integers(len(self.objects)))
        for step in range(min(len(self.objects), 100)):
            yield self.objects[(start + step) % len(self.objects)]
