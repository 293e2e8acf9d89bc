"""Tasks to learn from: one object of one sequence, a train sample and a meta sample (paper, 3.2.1 and 4.2).

`Taskset.task(seed, iteration, index)` is for meta-learning, `Taskset.image(seed, iteration, index)` for ordinary
training. Both depend on these three numbers only, never on what was drawn before or on the worker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from eosvos.data.masks import VOID, box_of, ids_of
from eosvos.data.sequence import VideoSequence, content
from eosvos.data.transforms import augment
from eosvos.data.window import window_about
from eosvos.errors import UserError
from eosvos.seeds import generator, numpy_generator

# what a draw is for: the first part of its path, so that no two kinds share their numbers
SCENE, _TASK, _IMAGE, _SOURCE = 11, 12, 13, 14
_SMALLEST = 16  # pixels at network size; less of an object is neither an instance nor background: it is ignored


class ObjectFrame(NamedTuple):
    """A frame that shows the object looked for."""

    image: np.ndarray  # uint8 (H, W, 3)
    mask: np.ndarray  # id mask uint8 (H, W)
    frame_index: int  # its index in the sequence


class TaskFrames(NamedTuple):
    """What a task or picture is made of: frames of one object, the one to train on first."""

    name: str  # of the sequence
    object_id: int
    frames: list[ObjectFrame]


@dataclass(frozen=True)
class Sample:
    """One picture to train on, at the network's size."""

    image: Tensor  # float32 (3, h, w), RGB in [0, 1]
    masks: Tensor  # bool (N, h, w), one per instance; N = 0 is legal
    ignore: Tensor | None = None  # bool (h, w): pixels nothing is known about (void), or None


@dataclass(frozen=True)
class Task:
    """One object to adapt to: fine-tune on `train`, judge on `meta` and, if there are any, on `more` frames of the same
    object. All masks are (1, h, w)."""

    name: str  # of the sequence
    object_id: int
    train: tuple[Sample, ...]
    meta: Sample
    extra_meta: tuple[Sample, ...] = ()


class Tasks(Protocol):
    """What training draws from: a `Taskset` or a `MixedTaskset`."""

    def task(self, seed: int, iteration: int, index: int) -> Task: ...

    def image(self, seed: int, iteration: int, index: int) -> Sample: ...

    def taskset_for(self, seed: int, *path: int) -> Taskset: ...

    @property
    def window(self) -> float:
        """Sides of the samples' window in sides of the object's box; 0: whole frames."""
        ...

    def content(self) -> Any:
        """Plain values that tell its data from any other; None where all of it follows from settings and code."""
        ...


class Taskset:
    """Gives tasks and pictures by (seed, iteration, index): equal numbers, equal tensors.

    `pairs(seed, *path)` iterates over the (sequence, object id) pairs to try, in an order drawn from its arguments; the
    first is taken unless the object cannot be found in `search` random frames. Usually made by `SyntheticTaskset` or
    `VideoTaskset`, which pass these settings on:

    `size`: (short, long) side of the network. `first_to_later`: the object's first frame trains and a later one judges.
    `train_copies`: differently transformed copies of the train frame. `meta_frames`: frames that judge; the inner steps
    cost the most, and further frames make the meta-gradient that they lead to less noisy. `min_area`: share of its
    image that an object must cover to be drawn from it. `window`: samples show a window about the object, so
    many times its size (0: whole frames; `data.window`). `transform`: settings of `augment`, such as {"rotation":
    10.0}.
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
        """Plain values that tell its data from any other; None where all of it follows from settings and code."""
        return None

    def task(self, seed: int, iteration: int, index: int) -> Task:
        """The task of meta-iteration `iteration` and place `index` in its meta-batch (paper, 3.2.1).

        A random frame with the object trains, another one (the same if there is no other) judges. Each sample has its
        own spatial and colour transform. Raises UserError if no object can be found.
        """
        return self.build(self.draw_task(seed, iteration, index), seed, iteration, index)

    def draw_task(self, seed: int, iteration: int, index: int) -> TaskFrames:
        """The frames of `task`, as the sequence has them: the one to train on, and those that judge."""
        path = (_TASK, iteration, index)
        for sequence, object_id in self.pairs(seed, *path):
            frames = self._some_frames(sequence, object_id, numpy_generator(seed, *path, 0))
            if frames is not None:
                return TaskFrames(sequence.name, object_id, frames)
        raise self.no_object_error()

    def build(self, drawn: TaskFrames, seed: int, iteration: int, index: int) -> Task:
        """The task of drawn frames."""
        path, (first, *judges), copies = (_TASK, iteration, index), drawn.frames, self.train_copies
        train = tuple(
            self._sample(first, drawn.object_id, generator(seed, *path, c), single=True) for c in range(1, copies + 1)
        )
        meta, *extra_meta = (
            self._sample(frame, drawn.object_id, generator(seed, *path, copies + k), single=True)
            for k, frame in enumerate(judges, 1)
        )
        return Task(drawn.name, drawn.object_id, train, meta, tuple(extra_meta))

    def image(self, seed: int, iteration: int, index: int) -> Sample:
        """A random frame with all its objects as instances, transformed; at least one of them is in sight."""
        return self.build_image(self.draw_image(seed, iteration, index), seed, iteration, index)

    def draw_image(self, seed: int, iteration: int, index: int) -> TaskFrames:
        """The frame of `image`, as the sequence has it, and the object that it was drawn for."""
        path = (_IMAGE, iteration, index)
        for sequence, object_id in self.pairs(seed, *path):
            found = next(self.frames(sequence, object_id, numpy_generator(seed, *path, 0)), None)
            if found is not None:
                return TaskFrames(sequence.name, object_id, [found])
        raise self.no_object_error()

    def build_image(self, drawn: TaskFrames, seed: int, iteration: int, index: int) -> Sample:
        """The picture of a drawn frame."""
        draws = generator(seed, _IMAGE, iteration, index, 1)
        return self._sample(drawn.frames[0], drawn.object_id, draws, single=False)

    def taskset_for(self, seed: int, *path: int) -> Taskset:
        """The taskset that the draw named by `path` is from: this one."""
        return self

    def source(self, seed: int, kind: str, iteration: int, index: int) -> Taskset:
        """The taskset that a task or picture, by `kind`, is from: this one."""
        return self

    def _some_frames(
        self, sequence: VideoSequence, object_id: int, draws: np.random.Generator
    ) -> list[ObjectFrame] | None:
        """The frame to train on and those that judge, the same again where there are no others; None if the object is
        not to be seen."""
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
        """Different random frames from `start` on that show the object, on at least `min_area` of them if that is more
        than the taskset asks for; at most `search` masks are read."""
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

    def _sample(self, found: ObjectFrame, object_id: int, draws: torch.Generator, *, single: bool) -> Sample:
        """The transformed sample of one object or, if not `single`, of all that are seen with it, as instances."""
        image, mask, _ = found
        ids = [object_id] if single else ids_of(mask)
        layers = [mask == i for i in ids]
        void = mask == VOID
        if void.any():
            layers.append(void)
        place = None
        if self.window and (box := box_of(mask == object_id)) is not None:
            place = window_about(box.tolist(), mask.shape[:2], self.size, self.window)  # type: ignore[arg-type]
        pixels, moved = augment(
            image, np.stack(layers), draws, size=self.size, target=0 if single else None, window=place, **self.transform
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
        """What to say where no object was found."""
        return UserError(
            f"no object that covers at least {max(self.min_area, min_area):.2%} of its image was found in the drawn"
            " sequences; lower min_area, or look at the masks"
        )


class VideoTaskset(Taskset):
    """Tasks from annotated sequences, uniform over all (sequence, object) pairs; settings are those of `Taskset`."""

    def __init__(self, sequences: Sequence[VideoSequence], **settings: Any):
        super().__init__(self._videos, **settings)
        self.sequences = tuple(sequences)
        self.objects = [(sequence, object_id) for sequence in sequences for object_id in sequence.first_frame]
        if not self.objects:
            raise UserError(f"{len(sequences)} sequences without a single object: there is nothing to draw tasks from")

    def content(self) -> Any:
        return content(self.sequences)

    def _videos(self, seed: int, *path: int) -> Iterator[tuple[VideoSequence, int]]:
        """A random pair, and then, should its object not be found, those that follow it."""
        start = int(numpy_generator(seed, *path, SCENE).integers(len(self.objects)))
        for step in range(min(len(self.objects), 100)):
            yield self.objects[(start + step) % len(self.objects)]


class MixedTaskset:
    """Tasks from several tasksets: every draw chooses one of them by its weight, by (seed, iteration, index) alone."""

    def __init__(self, tasksets: Sequence[Taskset], weights: Sequence[float]):
        if not tasksets or len(tasksets) != len(weights) or min(weights) < 0 or not 0 < sum(weights) < np.inf:
            raise UserError(
                f"{len(tasksets)} tasksets of weights {list(weights)}: none negative, one above 0 is expected"
            )
        self.tasksets, self.weights = list(tasksets), np.array(weights) / sum(weights)

    @property
    def window(self) -> float:
        return self.tasksets[0].window

    def content(self) -> Any:
        return [taskset.content() for taskset in self.tasksets]

    def task(self, seed: int, iteration: int, index: int) -> Task:
        return self.source(seed, "task", iteration, index).task(seed, iteration, index)

    def image(self, seed: int, iteration: int, index: int) -> Sample:
        return self.source(seed, "image", iteration, index).image(seed, iteration, index)

    def source(self, seed: int, kind: str, iteration: int, index: int) -> Taskset:
        """The taskset that a task or picture, by `kind`, is from."""
        return self.taskset_for(seed, _TASK if kind == "task" else _IMAGE, iteration, index)

    def taskset_for(self, seed: int, *path: int) -> Taskset:
        """The taskset that the draw named by `path` is from."""
        return self.tasksets[numpy_generator(seed, *path, _SOURCE).choice(len(self.tasksets), p=self.weights)]


class TaskStream(Dataset):
    """The items of iterations start <= i < stop, in order, for a DataLoader: what the method of `taskset` named by
    `kind` gives, "task" or "image", or "guided" of a `methods.osmn.guides.GuidedTasks`.

    Item k of one process is place k % batch of iteration start + k // batch, so that any number of workers, with
    `batch_size=None`, gives the same items in the same order. With `world` processes the places of a batch are dealt
    out: process `rank` gets rank, rank + world, ..., and `per_rank` counts them; it may be 0.
    """

    def __init__(
        self,
        taskset: Any,
        kind: str = "task",
        *,
        seed: int,
        batch: int,
        start: int = 0,
        stop: int,
        rank: int = 0,
        world: int = 1,
    ):
        if kind not in ("task", "image", "guided"):
            raise ValueError(f'kind={kind!r}; "task", "image" or "guided" is expected')
        self.taskset, self.kind, self.seed, self.batch = taskset, kind, seed, batch
        self.start, self.stop, self.rank, self.world = start, stop, rank, world
        self.per_rank = len(range(rank, batch, world))

    def __len__(self) -> int:
        return max(0, self.stop - self.start) * self.per_rank

    def __getitem__(self, item: int) -> Any:
        if not 0 <= item < len(self):
            raise IndexError(f"item {item} of {len(self)}")
        iteration, place = divmod(item, self.per_rank)
        return getattr(self.taskset, self.kind)(self.seed, self.start + iteration, self.rank + self.world * place)
