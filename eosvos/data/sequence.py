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
    """Frame names that are frame numbers ("00000", "00001", ...) of a video file whose length may not be known yet.

    The name of frame 0 is available at once. Everything that needs the number of frames waits until they are counted,
    and raises the errors of that count. Can be pickled, which waits for the count too.

    Args:
        width: digits of a name, padded with zeros.
        count: returns the number of frames; may block.
        counted: whether `count` returns without blocking.
    """

    def __init__(self, width: int, count: Callable[[], int], counted: Callable[[], bool]) -> None:
        self.width, self._count, self._counted = width, count, counted

    @property
    def counted(self) -> bool:
        """Whether the number of frames is known."""
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
        """Return the number of the frame with this name. Raises ValueError if there is none."""
        if name not in self:
            raise ValueError(f"no frame is named {name}")
        return int(name)

    def name(self, number: int) -> str:
        """Return the name of frame `number`, which may lie beyond the end."""
        return f"{number:0{self.width}d}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _numbered, (self.width, len(self))


def _numbered(width: int, count: int) -> Numbered:
    return Numbered(width, lambda: count, lambda: True)


@dataclass(frozen=True)
class VideoSequence:
    """A lazily decoded video and its annotation. Nothing is decoded before it is asked for, and nothing is kept.

    Attributes:
        name: name of the video, unique in its data set.
        frame_names: stems of the frames in order, such as "00000".
        size: height and width of the frames in pixels.
        first_frame: object id -> index of the frame in which the object first appears. The keys are all objects of the
            video, in the order of the files.
        read_frame: frame index -> uint8 (H, W, 3), RGB.
        read_mask: frame index -> id mask uint8 (H, W) (0 background, 255 void, other values are object ids as the file
            has them), or None if the frame is not annotated.
        files: files that the sequence is read from, as far as they belong to it alone.
        attributes: attributes of the video in its data set, such as "AC" (appearance change).
        categories: object id -> class, as far as the data set names it.
        object_names: object id -> its name, as far as the file of its masks names it.
        unseen: ids of objects whose class the training split lacks; None: the data set makes no such distinction.
        has_ground_truth: False if there are masks only where objects first appear and a server keeps the others.
        last_frame: object id -> last frame in which the object is scored; objects not in it: the video's last frame.
        overlap_pixels: frame name -> pixels where objects overlap, for the masks read so far (see `masks.stack_masks`).
        prompt_frames: frames, besides those of `first_frame`, whose masks a method receives as input.
        annotated_ids: frame index -> ids that the frame's mask annotates, visible or absent; frames not in it: all.
        submission_frames: frames whose masks the data set's server accepts; None: all.
        masks_digest: identifies the masks where they have no files of their own.
    """

    name: str
    frame_names: tuple[str, ...] | Numbered
    size: tuple[int, int]
    first_frame: dict[int, int]
    read_frame: Callable[[int], np.ndarray] = field(repr=False)
    read_mask: Callable[[int], np.ndarray | None] = field(repr=False)
    files: tuple[Path, ...] = field(default=(), repr=False)
    attributes: tuple[str, ...] = ()
    categories: Mapping[int, str] = field(default_factory=dict)
    object_names: Mapping[int, str] = field(default_factory=dict)
    unseen: frozenset[int] | None = None
    has_ground_truth: bool = True
    last_frame: Mapping[int, int] = field(default_factory=dict)
    overlap_pixels: Mapping[str, int] = field(default_factory=dict, repr=False)
    prompt_frames: tuple[int, ...] = ()
    annotated_ids: Mapping[int, frozenset[int]] = field(default_factory=dict)
    submission_frames: frozenset[int] | None = None
    masks_digest: str = field(default="", repr=False)

    def __len__(self) -> int:
        return len(self.frame_names)

    @property
    def counted(self) -> bool:
        """Whether the number of frames is known, so that `len` does not wait for a large video file to be counted."""
        return not isinstance(self.frame_names, Numbered) or self.frame_names.counted

    def frame(self, index: int) -> Tensor:
        """Decode frame `index` to float32 (3, H, W), RGB in [0, 1]."""
        return to_tensor(self.read_frame(index))

    def mask(self, index: int) -> np.ndarray | None:
        """Decode the id mask of frame `index` to uint8 (H, W), or return None if the frame is not annotated."""
        return self.read_mask(index)

    def new_objects(self, index: int) -> dict[int, np.ndarray]:
        """Return the masks, bool (H, W) by object id, of the objects that first appear in frame `index`."""
        ids = [i for i, first in self.first_frame.items() if first == index]
        if not ids:
            return {}
        mask = self.mask(index)
        assert mask is not None, f"{self.name}: frame {index} introduces objects {ids} but has no mask"
        return {i: mask == i for i in ids}

    def prompt_masks(self, index: int) -> dict[int, np.ndarray]:
        """Return the masks that a method receives on a frame of `prompt_frames`, besides those of new objects.

        Args:
            index: index of any frame.

        Returns:
            Object id -> bool (H, W), for every object that appeared before this frame and that its mask annotates; the
            mask is empty where the object is annotated as absent. On frames before the first object: empty masks of
            the objects that appear first; on others, of objects that appear later and are told to be absent
            (`annotated_ids`). {} on frames that are not in `prompt_frames`.
        """
        start = min(self.first_frame.values(), default=0)
        annotated = self.annotated_ids.get(index, self.first_frame)
        told = index in self.annotated_ids
        ids = [
            i
            for i, f in self.first_frame.items()
            if (f < index or index < f and (told or f == start)) and i in annotated
        ]
        if index not in self.prompt_frames or not ids:
            return {}
        mask = self.mask(index)
        assert mask is not None, f"{self.name}: the mask of frame {index} is to be given, but it has none"
        return {i: mask == i for i in ids}


def content(sequences: Iterable[VideoSequence]) -> dict[str, Any]:
    """Describe a data set by plain values: the numbers of sequences and of frames, and `content_hash`."""
    every = list(sequences)
    return {"sequences": len(every), "frames": sum(map(len, every)), "hash": content_hash(every)}


def content_hash(sequences: Iterable[VideoSequence]) -> str:
    """Hash the names, frame names, objects, and the names and sizes of all files of sequences.

    Left out are the folder, which may move; the files' bytes, which take long to read; and the number of frames of a
    video file, which these bytes determine.

    Returns:
        The first 16 hexadecimal digits of the SHA-256.
    """
    total = hashlib.sha256()
    for sequence in sequences:
        files = [(path.name, path.stat().st_size) for path in sequence.files]
        names = None if isinstance(sequence.frame_names, Numbered) else sequence.frame_names
        described = [sequence.name, names, sequence.size, sorted(sequence.first_frame.items()), files]
        total.update(json.dumps(described + [sequence.masks_digest] * bool(sequence.masks_digest)).encode())
    return total.hexdigest()[:16]


def to_tensor(image: np.ndarray) -> Tensor:
    """Convert an image uint8 (H, W, 3) to float32 (3, H, W) in [0, 1]."""
    import torch  # not above: what reads and measures masks starts fifteen times faster without it

    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float().div_(255)
