"""Index of a video file: how many frames there are, and after which key frames they lie.

The number of frames in a container, and what an average rate would give, is often wrong, so packets are counted. An
.mp4 or .mov lists its packets; other files are read once, as fast as the disk is. As a check some packets are decoded:
where they do not give one frame each (fields, damage) the whole file is decoded to count its frames.
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
from eosvos.data.video.container import (
    ANEW,
    decode_frames,
    from_key_packet,
    gives_frame,
    open_file,
    packets,
    translate_errors,
    video_stream,
)
from eosvos.errors import UserError

log = logging.getLogger(__name__)

_TRIED = 32  # packets that are decoded when a file is opened


@dataclass(frozen=True)
class Layout:
    """Where the frames of a file lie; found by `find_layout`, used by `frames.Frames`.

    Attributes:
        count: number of frames.
        keys: for each key packet, in order, how many frames' packets come before it; the first is 0.
        stamps: time stamps of the key packets.
        by: which stamps these are, "pts" or "dts". Where stamps do not distinguish frames, frames are counted from the
            first one on: "packets" (one frame per packet) or "frames" (as many as can be decoded).
    """

    count: int
    keys: tuple[int, ...]
    stamps: tuple[int | None, ...]
    by: str


@dataclass(frozen=True)
class Head:
    """What the beginning of a file shows.

    Attributes:
        turn: the display matrix (a, b, c, d): x' = a x + c y, y' = b x + d y.
        each: whether each of the first packets gives a frame.
        timed: whether they do, with the frame's presentation time.
        about: approximate number of frames, where the first one may be shown before the others are counted (1:
            unknown); else 0.
    """

    turn: tuple[int, int, int, int]
    each: bool
    timed: bool
    about: int


def read_head(container: Any, stream: Any) -> tuple[Head, list[Any], list[float]]:
    """Decode the first packets of a stream.

    Returns:
        The head, the first decoded frames, and the presentation times of the frames in seconds.
    """
    first = list(islice(from_key_packet(packets(container, stream)), _TRIED))
    expected = [packet.pts for packet in first if gives_frame(packet)]
    decoded_pts: list[Any] = []
    first_frames: list[Any] = []
    seconds: list[float] = []
    turn = (1, 0, 0, 1)
    for frame in decode_frames(stream, first, strict=False):
        # Of one frame only: in PyAV 18.1 a frame and its side data hold one another, and stay until they are collected.
        for data in frame.side_data if not decoded_pts else ():
            if data.type.name == "DISPLAYMATRIX":
                a, b, _, c, d = np.frombuffer(bytes(data)[:20], np.int32).tolist()
                turn = (a, b, c, d)
        decoded_pts.append(frame.pts)
        if len(first_frames) < LOOKED_AT:
            first_frames.append(frame)
        if frame.time is not None:
            seconds.append(frame.time)
    all_timed = bool(first) and None not in [*decoded_pts, *(packet.pts for packet in first)]
    timed = all_timed and sorted(decoded_pts) == sorted(pts for pts in expected if pts >= first[0].pts)
    about = 0
    if timed and not _untimed(container, stream):
        length, rate = (container.duration or 0) / 1e6, stream.average_rate or stream.guessed_rate or 24
        about = stream.frames or max(round(length * float(rate)), 1)
    return Head(turn, len(decoded_pts) == len(expected), timed, about), first_frames, seconds


class Count:
    """The layout of a file, found when it is first asked for, or when this object is pickled.

    Args:
        path: the file.
        head: its head.
        layout: its layout, if it is known.
    """

    def __init__(self, path: Path, head: Head, layout: Layout | None = None) -> None:
        self.path, self.head = path, head
        self._layout, self._failure, self._lock = layout, "", threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return Count, (self.path, self.head, self.layout)

    @property
    def known(self) -> bool:
        """Whether the layout was looked for, even without success."""
        return self._layout is not None or bool(self._failure)

    @property
    def layout(self) -> Layout:
        """The layout; it is looked for if it is not known. Raises UserError as `find_layout` does."""
        with self._lock:
            if not self.known:
                try:
                    self._layout = find_layout(self.path, self.head)
                except UserError as error:
                    self._failure = str(error)
        if self._layout is None:
            raise UserError(self._failure)
        return self._layout

    @property
    def about(self) -> int:
        """The number of frames; while they are not counted, what the file's header says."""
        return self.head.about if self.head.about and not self.known else self.layout.count


_counts: WeakValueDictionary[tuple[str, int, int], Count] = WeakValueDictionary()  # by path, size and time
_counts_lock = threading.Lock()


def shared_count(path: Path, head: Head) -> Count:
    """Return the `Count` of a file; all users of the file share one."""
    status = path.stat()
    with _counts_lock:
        return _counts.setdefault((str(path.absolute()), status.st_size, status.st_mtime_ns), Count(path, head))


def find_layout(path: Path, head: Head) -> Layout:
    """Count the frames of a video file.

    Raises:
        UserError: if the file is cut off or has no frame that can be decoded.
    """
    with translate_errors(path), open_file(path) as container:
        layout = _by_index(container, video_stream(container, path), path)
    if layout is None:
        with translate_errors(path), open_file(path) as container:
            layout = _by_packets(container, video_stream(container, path))
    if not (head.each if layout.by == "packets" else head.timed):
        with translate_errors(path), open_file(path) as container:
            stream = video_stream(container, path)
            count = sum(1 for _ in decode_frames(stream, from_key_packet(packets(container, stream)), strict=False))
        layout = Layout(count, (0,), (None,), "frames")
        log.warning("%s: not every packet gives a frame; %d frames could be decoded", path, count)
    if not layout.count:
        raise UserError(f"{path}: a video without a frame that can be decoded; {ANEW}")
    return layout


def _by_index(container: Any, stream: Any, path: Path) -> Layout | None:
    """Return the layout by the packet list of an .mp4 or .mov; None if the list does not hold everything."""
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
    all_timed = rising = True  # whether each packet has a time to be shown at, and whether these rise
    for packet in from_key_packet(packets(container, stream)):
        pts = packet.pts
        all_timed = all_timed and pts is not None
        first = pts if first is None else first
        if all_timed and pts < first:
            continue  # would need a key frame before the first one
        if packet.is_keyframe and (not all_timed or latest is None or pts > latest):
            keys.append(count)
            stamps.append(pts)
        rising = rising and all_timed and (latest is None or pts > latest)
        latest = max(pts, latest or pts) if all_timed else None
        count += gives_frame(packet)
    if not all_timed or (rising and _untimed(container, stream)):
        return Layout(count, (0,), (None,), "packets")
    return Layout(count, tuple(keys), tuple(stamps), "pts")


def _untimed(container: Any, stream: Any) -> bool:
    """Return whether a stream has no reliable presentation times.

    An .avi has none, and those made up for it ignore frame reordering.
    """
    return container.format.name == "avi" and stream.codec_context.has_b_frames
