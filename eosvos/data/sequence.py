"""A video with its masks: what every reader returns and every method takes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


class Numbered(Sequence[str]):
    """Names of frames that are their numbers, 00000, 00001, ...: those of a video file, of which it may not be known
    yet how many there are. The first one's is known at once; who asks for more waits for `count`, and gets its errors.

    count: how many. counted: whether that is known already. May be pickled, which waits.
    """

    def __init__(self, width: int, count: Callable[[], int], counted: Callable[[], bool]) -> None:
        self.width, self._count, self._counted = width, count, counted

    @property
    def counted(self) -> bool:
        return self._counted()

    def __len__(self) -> int:
        return self._count()

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        if isinstance(index, slice):
            return tuple(self)[index]
        if index == 0:
            return self.name(0)
        return self.name(range(len(self))[index])

    def __iter__(self) -> Iterator[str]:
        yield self.name(0)
        yield from map(self.name, range(1, len(self)))

    def __contains__(self, name: object) -> bool:
        number = int(name) if isinstance(name, str) and name.isascii() and name.isdigit() else -1
        return number >= 0 and name == self.name(number) and (number == 0 or number < len(self))

    def index(self, name: str, *_: int) -> int:
        """Raises ValueError where no frame has this name."""
        if name not in self:
            raise ValueError(f"no frame is named {name}")
        return int(name)

    def name(self, number: int) -> str:
        """Of the frame with this number, which may be beyond the end."""
        return f"{number:0{self.width}d}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _numbered, (self.width, len(self))


def _numbered(width: int, count: int) -> Numbered:
    return Numbered(width, lambda: count, lambda: True)


@dataclass(frozen=True)
class VideoSequence:
    """A lazily read video and its annotation.

    `read_frame(i)` gives uint8 (H, W, 3) RGB; `read_mask(i)` gives the id mask uint8 (H, W) (0 background, 255 void,
    any other value an object id as the file has it) or None where frame i has no annotation. Nothing is decoded before
    it is asked for and nothing is kept.
    """

    name: str
    frame_names: tuple[str, ...] | Numbered  # stems, in order: ("00000", "00001", ...)
    size: tuple[int, int]  # (H, W) in pixels
    objects: dict[int, int]  # object id -> index of the frame it first appears in
    read_frame: Callable[[int], np.ndarray] = field(repr=False)
    read_mask: Callable[[int], np.ndarray | None] = field(repr=False)
    files: tuple[Path, ...] = field(default=(), repr=False)  # that it is read from, as far as they are its own
    # What a data set tells besides; figures are then given for each group too.
    attributes: tuple[str, ...] = ()  # of the video: "AC" (appearance change), ...
    categories: Mapping[int, str] = field(default_factory=dict)  # object id -> its class
    unseen: frozenset[int] | None = None  # objects of classes that training lacks; None: no such distinction
    truth: bool = True  # False: masks show objects where they first appear and nothing else; a server keeps the truth
    last: Mapping[int, int] = field(default_factory=dict)  # object id -> its last annotated frame; none: the video's
    shared: Mapping[str, int] = field(default_factory=dict, repr=False)  # of the masks read so far, see `stacked`
    given: tuple[int, ...] = ()  # frames, besides those of the first masks, whose masks a method is given too
    told_of: Mapping[int, frozenset[int]] = field(default_factory=dict)  # frame -> ids that its mask tells of
    asked: frozenset[int] | None = None  # frames whose masks the data set's server takes; None: all
    masks_of: str = field(default="", repr=False)  # tells its masks from others' where they are no files of its own

    def __len__(self) -> int:
        return len(self.frame_names)

    @property
    def counted(self) -> bool:
        """Whether its length is known: who asks for that of a large video file waits until it is counted."""
        return not isinstance(self.frame_names, Numbered) or self.frame_names.counted

    def frame(self, index: int) -> Tensor:
        """Frame `index` as float32 (3, H, W), RGB in [0, 1]."""
        return to_tensor(self.read_frame(index))

    def mask(self, index: int) -> np.ndarray | None:
        """Id mask of frame `index`, uint8 (H, W), or None."""
        return self.read_mask(index)

    def new_objects(self, index: int) -> dict[int, np.ndarray]:
        """The objects that first appear in frame `index`: id -> bool mask (H, W)."""
        ids = [i for i, first in self.objects.items() if first == index]
        if not ids:
            return {}
        mask = self.mask(index)
        assert mask is not None, f"{self.name}: frame {index} introduces objects {ids} but has no mask"
        return {i: mask == i for i in ids}

    def given_masks(self, index: int) -> dict[int, np.ndarray]:
        """The masks bool (H, W), by id, that are given on a frame of `given`: of every object that appeared before and
        that its mask tells of (`told_of`), empty where it tells that the object is not here; before all objects, of
        those that come first, which are not here yet. {} for other frames."""
        start = min(self.objects.values(), default=0)
        told_of = self.told_of.get(index, self.objects)
        ids = [i for i, first in self.objects.items() if (first < index or index < start == first) and i in told_of]
        if index not in self.given or not ids:
            return {}
        mask = self.mask(index)
        assert mask is not None, f"{self.name}: the mask of frame {index} is to be given, but it has none"
        return {i: mask == i for i in ids}


def content(sequences: Iterable[VideoSequence]) -> dict[str, Any]:
    """Plain values that tell a data set from any other: counts, and `content_hash`."""
    every = list(sequences)
    return {"sequences": len(every), "frames": sum(map(len, every)), "hash": content_hash(every)}


def content_hash(sequences: Iterable[VideoSequence]) -> str:
    """A hash over names, frames, objects and the names and sizes of the files; not over their folder, which may move,
    nor over their bytes, which would take long, nor over how many frames a video file has, which they decide."""
    total = hashlib.sha256()
    for sequence in sequences:
        files = [(path.name, path.stat().st_size) for path in sequence.files]
        names = None if isinstance(sequence.frame_names, Numbered) else sequence.frame_names
        described = [sequence.name, names, sequence.size, sorted(sequence.objects.items()), files]
        total.update(json.dumps(described + [sequence.masks_of] * bool(sequence.masks_of)).encode())
    return total.hexdigest()[:16]


def to_tensor(image: np.ndarray) -> Tensor:
    """uint8 (H, W, 3) -> float32 (3, H, W) in [0, 1]."""
    import torch  # not above: what reads and measures masks starts fifteen times faster without it

    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float().div_(255)
