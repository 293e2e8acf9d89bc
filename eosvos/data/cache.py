"""A bounded cache of decoded frames and masks, at a reduced size.

A network of 128x224 pixels does not need frames of 480x854: smaller ones are transformed faster and take less memory.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import cv2
import numpy as np

from eosvos.data.sequence import VideoSequence
from eosvos.data.transforms import network_size


class FrameCache:
    """A least-recently-used cache of decoded images; every process has its own.

    Args:
        limit: largest total size of the cached arrays in bytes.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.bytes = limit, 0
        self.kept: OrderedDict[tuple[int, str, int], np.ndarray | None] = OrderedDict()

    def get(self, key: tuple[int, str, int], read: Callable[[int], np.ndarray | None]) -> np.ndarray | None:
        """Return the cached array of `key`, or read it.

        Args:
            key: number of the sequence, kind of image ("frame" or "mask") and frame index.
            read: called with the frame index if the array is not cached.

        Returns:
            What `read` returned. It must not be written to.
        """
        if key in self.kept:
            self.kept.move_to_end(key)
            return self.kept[key]
        self.kept[key] = value = read(key[2])
        self.bytes += _bytes(value)
        while self.bytes > self.limit:
            self.bytes -= _bytes(self.kept.popitem(last=False)[1])
        return value


def resized_sequence(
    sequence: VideoSequence, number: int, size: tuple[int, int] | None, cache: FrameCache
) -> VideoSequence:
    """Return a sequence whose frames and masks are resized to fit a smaller size and read through a cache.

    Args:
        sequence: the sequence to resize.
        number: identifies the sequence in `cache`.
        size: short and long side in pixels; larger images are resized to fit it, smaller ones are not enlarged. None:
            no resizing.
        cache: holds the resized images.

    Returns:
        The sequence with another `size`. Frames are averaged over areas; masks take the nearest pixel.
    """
    height, width = sequence.size if size is None else network_size(*sequence.size, size)
    if height >= sequence.size[0]:
        height, width = sequence.size
    frame = partial(_resized, sequence.read_frame, (height, width), cv2.INTER_AREA)
    mask = partial(_resized, sequence.read_mask, (height, width), cv2.INTER_NEAREST_EXACT)
    return replace(
        sequence,
        size=(height, width),
        read_frame=partial(_cached, cache, number, "frame", frame),
        read_mask=partial(_cached, cache, number, "mask", mask),
    )


def _resized(
    read: Callable[[int], np.ndarray | None], size: tuple[int, int], how: int, index: int
) -> np.ndarray | None:
    pixels = read(index)
    if pixels is None or pixels.shape[:2] == size:
        return pixels
    return cv2.resize(pixels, size[::-1], interpolation=how)


def _cached(
    cache: FrameCache, number: int, kind: str, read: Callable[[int], np.ndarray | None], index: int
) -> np.ndarray:
    return cache.get((number, kind, index), read)  # type: ignore[return-value]  # None of masks only


def _bytes(value: np.ndarray | None) -> int:
    return 0 if value is None else value.nbytes
