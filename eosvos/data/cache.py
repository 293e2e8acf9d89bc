"""Sequences read smaller than they are stored, and a bounded number of decoded frames kept.

A network of 128x224 pixels needs no 480x854 ones: the transform of a task is faster on less, and what is kept is small.
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


class Cache:
    """Decoded frames and masks of at most `limit` bytes, those that were asked for last; every process has its own."""

    def __init__(self, limit: int) -> None:
        self.limit, self.bytes = limit, 0
        self.kept: OrderedDict[tuple[int, str, int], np.ndarray | None] = OrderedDict()

    def get(self, key: tuple[int, str, int], read: Callable[[int], np.ndarray | None]) -> np.ndarray | None:
        """What `read` gives for the last part of `key`; not to be written to."""
        if key in self.kept:
            self.kept.move_to_end(key)
            return self.kept[key]
        self.kept[key] = value = read(key[2])
        self.bytes += _bytes(value)
        while self.bytes > self.limit:
            self.bytes -= _bytes(self.kept.popitem(last=False)[1])
        return value


def shrunk(sequence: VideoSequence, number: int, size: tuple[int, int] | None, cache: Cache) -> VideoSequence:
    """The sequence with frames and masks resized to fit `size` = (short, long) sides where they are larger (None: as
    they are), read through `cache`, which knows it by `number`. Frames are averaged over areas; masks take the nearest
    pixel."""
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


def _cached(cache: Cache, number: int, kind: str, read: Callable[[int], np.ndarray | None], index: int) -> np.ndarray:
    return cache.get((number, kind, index), read)  # type: ignore[return-value]  # None of masks only


def _bytes(value: np.ndarray | None) -> int:
    return 0 if value is None else value.nbytes
