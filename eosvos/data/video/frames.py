"""The frames of a video file, decoded by PyAV when they are asked for.

Frames are numbered in display order, from 0. The first one is available at once, however long the file is, if the
file's beginning is sound and has presentation times, as all but some .avi and bare streams do. The others are counted
(frame_index.py) when one of them, or their number, is first asked for; those of a small file when it is opened.

Key frames may be open: frames that are shown before such a one and decoded after it also need the key frame before it.
"""

from __future__ import annotations

import heapq
import os
import sys
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from eosvos.data.levels import Levels, Span
from eosvos.data.video.container import (
    ANEW,
    decode_frames,
    from_key_packet,
    gives_frame,
    open_file,
    packets,
    translate_errors,
    until_shown_after,
    video_stream,
)
from eosvos.data.video.frame_index import Count, Layout, read_head, shared_count
from eosvos.data.video.pixels import log_conversions, rgb, span_of_video
from eosvos.errors import UserError

_KEPT = 2**26  # bytes of decoded frames that are kept, about
_SMALL = 2**24  # bytes of a file that is counted when it is opened: errors in it are raised at once
_COUNTED = ("packets", "frames")  # see Layout.by


def open_video_frames(path: Path, levels: Levels = "auto") -> Frames:
    """Open the frames of a video file. How they are converted is logged.

    Args:
        path: the file.
        levels: which values of frames of more than 8 bits become 0 and 255, see levels.py.

    Raises:
        UserError: if the file is missing, no video, only sound, encrypted, cut off, too large, or has no frame that can
            be decoded. Damage of a large file behind its beginning is found when frames are counted.
    """
    span = None
    with translate_errors(path), open_file(path) as container:
        stream = video_stream(container, path)
        head, first, seconds = read_head(container, stream)
        if first:
            log_conversions(path, stream, first, head.turn, seconds)
            span = span_of_video(path, first, levels)
    count = shared_count(path, head)
    if not head.about or path.stat().st_size <= _SMALL:
        _ = count.layout
    return Frames(count, span)


class Frames:
    """The frames of a video: `frames(index)` returns uint8 (H, W, 3), RGB, rotated as the display matrix says.

    Consecutive frames are decoded in a row; another one after a seek to the key frame before it, or from the first
    frame on if the file cannot seek. The last ones, 64 MiB, are kept. Can be pickled and shared by threads.

    Args:
        count: the layout of the file.
        span: pixel values that become 0 and 255, see pixels.py; None: as players show them.

    Raises:
        UserError: when called, if the frame cannot be decoded or has another size than the first one asked for.
    """

    def __init__(self, count: Count, span: Span | None = None) -> None:
        self.count, self.path, self.head, self.span = count, count.path, count.head, span
        self._size: tuple[int, ...] | None = None
        self._lock = threading.Lock()
        self._process, self._next, self._by = 0, 0, ""
        self._container: Any = None
        self._playing: Iterator[tuple[int, Any]] = iter(())
        self._kept: OrderedDict[int, Any] = OrderedDict()

    def __reduce__(self) -> tuple[Any, ...]:
        return Frames, (self.count, self.span)

    @property
    def layout(self) -> Layout:
        """Where the frames lie in the file; waits until they are counted."""
        return self.count.layout

    def __call__(self, index: int) -> np.ndarray:
        if (index or not self.head.about) and not 0 <= index < self.layout.count:
            raise IndexError(f"frame {index} of {self.layout.count}")
        with self._lock, translate_errors(self.path):
            if self._process != os.getpid():  # after a fork: the place in the file is the parent's, too
                self._process, self._container, self._kept = os.getpid(), None, OrderedDict()
            if index not in self._kept:
                self._decode(index)
            pixels = _upright(rgb(self._kept[index], self.span), self.head.turn)
        self._size = self._size or pixels.shape
        if pixels.shape != self._size:
            raise UserError(f"{self.path}: frame {index} is of another size than the first one; {ANEW}")
        return pixels

    def _decode(self, index: int) -> None:
        by, keys = ("pts", (0,)) if index == 0 and self.head.about else (self.layout.by, self.layout.keys)
        start = key = bisect_right(keys, index) - 1
        counts = by in _COUNTED
        if self._container is None or not keys[key] <= self._next <= index or counts != (self._by in _COUNTED):
            self._begin(start, by)
        while (reached := self._reach(index)) != index:
            if start == 0 or (start < key and reached is not None):
                raise UserError(f"{self.path}: frame {index} of {self.layout.count} cannot be decoded; {ANEW}")
            start = max(key - 1, 0) if start == key else 0  # 0: the file's own index is wrong, too
            self._begin(start, by)

    def _begin(self, key: int, by: str) -> None:
        """Seek to a key packet."""
        if key == 0 and self._container is not None:  # not all files can be wound back
            self._container.close()
            self._container = None
        if self._container is None:
            self._container = open_file(self.path)
        stream = video_stream(self._container, self.path)
        if key:
            self._container.seek(self.layout.stamps[key], stream=stream)
        self._by, self._next = by, self.layout.keys[key] if key else 0
        self._playing = self._play(stream, key)

    def _reach(self, index: int) -> int | None:
        """Decode up to frame `index`, or the first one after it, and return its number; None if there is none."""
        number: int | None = None
        for number, frame in self._playing:  # noqa: B007
            self._kept[number], self._next = frame, number + 1
            self._kept.move_to_end(number)
            while len(self._kept) > max(_KEPT // (2 * frame.width * frame.height), 2):
                self._kept.popitem(last=False)
            if number >= index:
                return number
        self._next = sys.maxsize  # nothing comes from here on
        return number

    def _play(self, stream: Any, key: int) -> Iterator[tuple[int, Any]]:
        """Yield frames with their numbers from a key packet on; none if the packet is not found."""
        number, stamp = self._next, self.layout.stamps[key] if key else None
        coming = from_key_packet(packets(self._container, stream), self._by, stamp)
        if self._by in _COUNTED:
            yield from enumerate(decode_frames(stream, coming, strict=self._by == "packets"))
            return
        first = next(coming, None)
        if first is None:
            return
        begin = [first]  # and what is shown before it, which comes right after it, and one more
        begin += islice(until_shown_after(coming, first.pts), 10**4)
        if key:
            number += sum(gives_frame(packet) for packet in begin if packet.pts is not None and packet.pts < first.pts)
        waiting: list[int] = []  # pts of what is to be shown

        def fed() -> Iterator[Any]:
            for packet in chain(begin, coming):
                if packet.pts is not None and packet.pts >= first.pts and gives_frame(packet):
                    heapq.heappush(waiting, packet.pts)
                yield packet

        for frame in decode_frames(stream, fed(), strict=False):
            while waiting and frame.pts is not None and waiting[0] < frame.pts:  # these could not be decoded
                heapq.heappop(waiting)
                number += 1
            if waiting and waiting[0] == frame.pts:
                heapq.heappop(waiting)
                yield number, frame
                number += 1


def _upright(pixels: np.ndarray, turn: tuple[int, int, int, int]) -> np.ndarray:
    """Rotate and mirror an image (H, W, 3) by the quarter turns nearest to a display matrix."""
    a, b, c, d = turn
    if abs(b) + abs(c) > abs(a) + abs(d):
        pixels, a, d = pixels.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])
