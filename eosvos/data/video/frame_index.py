"""Where the frames of a video file are: how many, and after which key frames.

What containers say of how many there are, and what an average rate would give, is often wrong; so packets are counted.
An .mp4 or .mov lists its packets; other files are read once, as fast as the disk is. As a check some packets are
decoded: where they do not give a frame each (fields, damage) the whole file is decoded to count its frames.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from eosvos.data.levels import LOOKED_AT
from eosvos.data.video.container import ANEW, decoded, explained, from_key, open_file, packets, shows, video_stream
from eosvos.errors import UserError

log = logging.getLogger(__name__)

_TRIED = 32  # packets that are decoded when a file is opened


@dataclass(frozen=True)
class Layout:
    """Where the frames of a file are: what `inspect` finds out and `frames.Frames` goes by."""

    count: int
    keys: tuple[int, ...]  # for key packets in order, how many frames' packets come before; the first is 0
    stamps: tuple[int | None, ...]  # time stamps of these packets
    # Which stamps these are, pts or dts. Where stamps do not tell frames apart, frames are counted from the first one
    # on: there is one for each of the packets, or as many frames as can be decoded.
    by: str  # pts, dts, packets or frames


@dataclass(frozen=True)
class Head:
    """What the beginning of a file tells: the display matrix (x' = a x + c y, y' = b x + d y); whether each of its
    packets gives a frame, and with its time of showing; and, where the first frame may be shown before the others are
    counted, about how many there are (1: not told), else 0."""

    turn: tuple[int, int, int, int]
    each: bool
    timed: bool
    about: int


def look(container: Any, stream: Any) -> tuple[Head, list[Any], list[float]]:
    """Decode the first packets; also returns the first decoded frames, and when the frames are shown, in seconds."""
    first = list(islice(from_key(packets(container, stream)), _TRIED))
    expected = [packet.pts for packet in first if shows(packet)]
    found: list[Any] = []
    begin: list[Any] = []
    seconds: list[float] = []
    turn = (1, 0, 0, 1)
    for frame in decoded(stream, first, strict=False):
        # Of one frame only: in PyAV 18.1 a frame and its side data hold one another, and stay until they are collected.
        for data in frame.side_data if not found else ():
            if data.type.name == "DISPLAYMATRIX":
                a, b, _, c, d = np.frombuffer(bytes(data)[:20], np.int32).tolist()
                turn = (a, b, c, d)
        found.append(frame.pts)
        if len(begin) < LOOKED_AT:
            begin.append(frame)
        if frame.time is not None:
            seconds.append(frame.time)
    told = bool(first) and None not in [*found, *(packet.pts for packet in first)]
    timed = told and sorted(found) == sorted(pts for pts in expected if pts >= first[0].pts)
    about = 0
    if timed and not _untimed(container, stream):
        length, rate = (container.duration or 0) / 1e6, stream.average_rate or stream.guessed_rate or 24
        about = stream.frames or max(round(length * float(rate)), 1)
    return Head(turn, len(found) == len(expected), timed, about), begin, seconds


class Count:
    """The layout of a file with this head, looked for once, when it is first asked for, as pickling does."""

    def __init__(self, path: Path, head: Head, layout: Layout | None = None) -> None:
        self.path, self.head = path, head
        self._layout, self._failure, self._lock = layout, "", threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return Count, (self.path, self.head, self.layout)

    @property
    def known(self) -> bool:
        """Whether it was looked for, if in vain."""
        return self._layout is not None or bool(self._failure)

    @property
    def layout(self) -> Layout:
        """Raises UserError as `inspect` does."""
        with self._lock:
            if not self.known:
                try:
                    self._layout = inspect(self.path, self.head)
                except UserError as error:
                    self._failure = str(error)
        if self._layout is None:
            raise UserError(self._failure)
        return self._layout

    @property
    def about(self) -> int:
        """How many frames there are; while they are not counted, as far as the file tells."""
        return self.head.about if self.head.about and not self.known else self.layout.count


_counts: WeakValueDictionary[tuple[str, int, int], Count] = WeakValueDictionary()  # by path, size and time
_counts_lock = threading.Lock()


def count_of(path: Path, head: Head) -> Count:
    """That of a file; the same one as long as another user of the file has it."""
    status = path.stat()
    with _counts_lock:
        return _counts.setdefault((str(path.absolute()), status.st_size, status.st_mtime_ns), Count(path, head))


def inspect(path: Path, head: Head) -> Layout:
    """Count the frames of a video file with this head. Raises UserError for one that is cut off, or has no frame that
    can be decoded."""
    with explained(path), open_file(path) as container:
        layout = _by_index(container, video_stream(container, path), path)
    if layout is None:
        with explained(path), open_file(path) as container:
            layout = _by_packets(container, video_stream(container, path))
    if not (head.each if layout.by == "packets" else head.timed):
        with explained(path), open_file(path) as container:
            stream = video_stream(container, path)
            count = sum(1 for _ in decoded(stream, from_key(packets(container, stream)), strict=False))
        layout = Layout(count, (0,), (None,), "frames")
        log.warning("%s: not every packet gives a frame; %d frames could be decoded", path, count)
    if not layout.count:
        raise UserError(f"{path}: a video without a frame that can be decoded; {ANEW}")
    return layout


def _by_index(container: Any, stream: Any, path: Path) -> Layout | None:
    """From the list of packets that an .mp4 or .mov begins or ends with, if all can be learned from it."""
    entries = getattr(stream, "index_entries", ())
    if not container.format.name.startswith("mov") or not 0 < len(entries) == stream.frames:
        return None  # in fragments, or edited
    keys, stamps, end = [], [], 0
    for number, entry in enumerate(entries):
        if entry.is_discard or stream.codec_context.name == "vp8":
            return None
        if entry.is_keyframe:
            keys.append(number)
            stamps.append(entry.timestamp)
        end = max(end, entry.pos + entry.size)
    if end > path.stat().st_size:
        raise UserError(f"{path}: is cut off: its packets end at byte {end}, the file at {path.stat().st_size}; {ANEW}")
    start = list(islice(packets(container, stream), 2))
    if not keys or keys[0] or any(p.pts is None or p.pts < start[0].pts for p in start):
        return None
    return Layout(len(entries), tuple(keys), tuple(stamps), "dts")


def _by_packets(container: Any, stream: Any) -> Layout:
    """From all packets, none decoded."""
    keys: list[int] = []
    stamps: list[int | None] = []
    count, first, latest = 0, None, None
    told = rising = True  # whether each packet has a time to be shown at, and whether these rise
    for packet in from_key(packets(container, stream)):
        pts = packet.pts
        told = told and pts is not None
        first = pts if first is None else first
        if told and pts < first:
            continue  # would need a key frame before the first one
        if packet.is_keyframe and (not told or latest is None or pts > latest):
            keys.append(count)
            stamps.append(pts)
        rising = rising and told and (latest is None or pts > latest)
        latest = max(pts, latest or pts) if told else None
        count += shows(packet)
    if not told or (rising and _untimed(container, stream)):
        return Layout(count, (0,), (None,), "packets")
    return Layout(count, tuple(keys), tuple(stamps), "pts")


def _untimed(container: Any, stream: Any) -> bool:
    """.avi has no times of showing; those that are made up for it are wrong if the codec changes the order."""
    return container.format.name == "avi" and stream.codec_context.has_b_frames
