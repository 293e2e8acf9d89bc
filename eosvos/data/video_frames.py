"""The frames of a video file: counted without decoding them, and decoded one by one as they are asked for, by PyAV.

A frame has a number: its place in the order of showing, from 0. What containers say of how many there are, and what an
average rate would give, is often wrong; so packets are counted. An .mp4 or .mov lists its packets, and a film of two
hours is open within a second; other files are read once as fast as the disk is. As a check some packets are decoded:
where they do not give a frame each (fields, damage) the whole file is decoded to count its frames.

Key frames may be open: pictures that are shown before such a one and decoded after it need the key frame before, too.
"""

from __future__ import annotations

import heapq
import logging
import os
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from eosvos.data.video_files import ANEW, explained, open_file, pyav, video_stream
from eosvos.errors import UserError

log = logging.getLogger(__name__)

_KEPT = 2**26  # bytes of decoded frames that are kept, about
_TRIED = 32  # packets that are decoded when a file is opened
_HDR = {16: "PQ", 18: "HLG"}  # transfer curves, as FFmpeg numbers them


@dataclass(frozen=True)
class Layout:
    """Where the frames of a file are: what `inspect` finds out and `Frames` goes by."""

    count: int
    keys: tuple[int, ...]  # for key packets in order, how many frames' packets come before; the first is 0
    stamps: tuple[int | None, ...]  # time stamps of these packets
    # Which stamps these are, pts or dts. Where stamps do not tell frames apart, frames are counted from the first one
    # on: there is one for each of the packets, or as many frames as can be decoded.
    by: str  # pts, dts, packets or frames
    turn: tuple[int, int, int, int] = (1, 0, 0, 1)  # of the display matrix: x' = a x + c y, y' = b x + d y


def inspect(path: Path) -> Layout:
    """Count the frames of a video file.

    Raises UserError for a file that is missing, no video, only sound, cut off, too large, or has no frame that can be
    decoded.
    """
    with explained(path), open_file(path) as container:
        stream = video_stream(container, path)
        layout = _by_index(container, stream, path)
        curve = _HDR.get(int(stream.codec_context.color_trc))
    if layout is None:
        with explained(path), open_file(path) as container:
            layout = _by_packets(container, video_stream(container, path))
    with explained(path), open_file(path) as container:
        sound, turn = _try(container, video_stream(container, path), layout.by)
    if not sound:
        with explained(path), open_file(path) as container:
            stream = video_stream(container, path)
            count = sum(1 for _ in _decoded(stream, _from_key(_packets(container, stream)), strict=False))
        layout = Layout(count, (0,), (None,), "frames")
        log.warning("%s: not every packet gives a frame; %d frames could be decoded", path, count)
    if curve is not None:
        log.warning(
            "%s: a video of high dynamic range (%s), whose colours are not converted: frames look pale, as perhaps they"
            " did not where masks were made; better convert it to BT.709 before", path, curve,
        )  # fmt: skip
    if not layout.count:
        raise UserError(f"{path}: a video without a frame that can be decoded; {ANEW}")
    return replace(layout, turn=turn)


class Frames:
    """The frames of a video: `frames(number)` gives uint8 (H, W, 3) RGB, turned as the display matrix says.

    Frames in a row are decoded in a row; another one by a seek to the key frame before it, or from the first frame
    where the file allows no seek. The last ones are kept, 64 MiB of them. May be pickled, and shared by threads.
    Raises UserError for a frame that cannot be decoded, or is of another size than the first one asked for.
    """

    def __init__(self, path: Path, layout: Layout) -> None:
        self.path, self.layout = path, layout
        self._size: tuple[int, ...] | None = None
        self._lock = threading.Lock()
        self._process, self._next = 0, 0
        self._container: Any = None
        self._playing: Iterator[tuple[int, Any]] = iter(())
        self._kept: OrderedDict[int, Any] = OrderedDict()

    def __reduce__(self) -> tuple[Any, ...]:
        return Frames, (self.path, self.layout)

    def __call__(self, index: int) -> np.ndarray:
        if not 0 <= index < self.layout.count:
            raise IndexError(f"frame {index} of {self.layout.count}")
        with self._lock, explained(self.path):
            if self._process != os.getpid():  # after a fork: the place in the file is the parent's, too
                self._process, self._container, self._kept = os.getpid(), None, OrderedDict()
            if index not in self._kept:
                self._decode(index)
            pixels = _upright(self._kept[index].to_ndarray(format="rgb24"), self.layout.turn)
        self._size = self._size or pixels.shape
        if pixels.shape != self._size:
            raise UserError(f"{self.path}: frame {index} is of another size than the first one; {ANEW}")
        return pixels

    def _decode(self, index: int) -> None:
        start = key = bisect_right(self.layout.keys, index) - 1
        if self._container is None or not self.layout.keys[key] <= self._next <= index:
            self._begin(start)
        while (reached := self._reach(index)) != index:
            if start == 0 or (start < key and reached is not None):
                raise UserError(f"{self.path}: frame {index} of {self.layout.count} cannot be decoded; {ANEW}")
            start = max(key - 1, 0) if start == key else 0  # 0: the file's own index is wrong, too
            self._begin(start)

    def _begin(self, key: int) -> None:
        """Begin at a key packet."""
        if key == 0 and self._container is not None:  # not all files can be wound back
            self._container.close()
            self._container = None
        if self._container is None:
            self._container = open_file(self.path)
        stream = video_stream(self._container, self.path)
        if key:
            self._container.seek(self.layout.stamps[key], stream=stream)
        self._playing, self._next = self._play(stream, key), self.layout.keys[key]

    def _reach(self, index: int) -> int | None:
        """Decode up to frame `index`, or the first one after it, and return its number; None where there is none."""
        number: int | None = None
        for number, frame in self._playing:  # noqa: B007
            self._kept[number], self._next = frame, number + 1
            self._kept.move_to_end(number)
            while len(self._kept) > max(_KEPT // (2 * frame.width * frame.height), 2):
                self._kept.popitem(last=False)
            if number >= index:
                return number
        self._next = self.layout.count  # nothing comes from here on
        return number

    def _play(self, stream: Any, key: int) -> Iterator[tuple[int, Any]]:
        """Frames from a key packet on, with their numbers; none if the packet is not found."""
        layout, number = self.layout, self.layout.keys[key]
        packets = _from_key(_packets(self._container, stream), layout.by, layout.stamps[key] if key else None)
        if layout.by in ("packets", "frames"):
            yield from enumerate(_decoded(stream, packets, strict=layout.by == "packets"))
            return
        first = next(packets, None)
        if first is None:
            return
        begin = [first]  # and what is shown before it, which comes right after it, and one more
        begin += islice(_while_before(packets, first.pts), 10**4)
        if key:
            number += sum(_shows(packet) for packet in begin if packet.pts is not None and packet.pts < first.pts)
        waiting: list[int] = []  # pts of what is to be shown

        def fed() -> Iterator[Any]:
            for packet in chain(begin, packets):
                if packet.pts is not None and packet.pts >= first.pts and _shows(packet):
                    heapq.heappush(waiting, packet.pts)
                yield packet

        for frame in _decoded(stream, fed(), strict=False):
            while waiting and frame.pts is not None and waiting[0] < frame.pts:  # these could not be decoded
                heapq.heappop(waiting)
                number += 1
            if waiting and waiting[0] == frame.pts:
                heapq.heappop(waiting)
                yield number, frame
                number += 1


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
    start = list(islice(_packets(container, stream), 2))
    if not keys or keys[0] or any(p.pts is None or p.pts < start[0].pts for p in start):
        return None
    return Layout(len(entries), tuple(keys), tuple(stamps), "dts")


def _by_packets(container: Any, stream: Any) -> Layout:
    """From all packets, none decoded."""
    keys: list[int] = []
    stamps: list[int | None] = []
    count, first, latest = 0, None, None
    told = rising = True  # whether each packet has a time to be shown at, and whether these rise
    for packet in _from_key(_packets(container, stream)):
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
        count += _shows(packet)
    # .avi has no such times; those that are made up for it are wrong if the codec changes the order.
    if not told or (container.format.name == "avi" and rising and stream.codec_context.has_b_frames):
        return Layout(count, (0,), (None,), "packets")
    return Layout(count, tuple(keys), tuple(stamps), "pts")


def _try(container: Any, stream: Any, by: str) -> tuple[bool, tuple[int, int, int, int]]:
    """Whether the first packets give a frame each, with its time stamp where that counts; and how to turn frames."""
    packets = list(islice(_from_key(_packets(container, stream)), _TRIED))
    expected = [packet.pts for packet in packets if _shows(packet)]
    found: list[Any] = []
    turn = (1, 0, 0, 1)
    for frame in _decoded(stream, packets, strict=False):
        # Of one frame only: in PyAV 18.1 a frame and its side data hold one another, and stay until they are collected.
        for data in frame.side_data if not found else ():
            if data.type.name == "DISPLAYMATRIX":
                a, b, _, c, d = np.frombuffer(bytes(data)[:20], np.int32).tolist()
                turn = (a, b, c, d)
        found.append(frame.pts)
    if by == "packets":
        return len(found) == len(expected), turn
    return sorted(found) == sorted(pts for pts in expected if pts >= packets[0].pts), turn


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    return (packet for packet in container.demux(stream) if packet.size)


def _from_key(packets: Iterator[Any], by: str = "pts", stamp: int | None = None) -> Iterator[Any]:
    """Packets from the first key packet on, or from that with this time stamp: others could be decoded only in part.

    All of them where none of the first thousand is marked as key.
    """
    skipped: list[Any] = []
    for packet in packets:
        if packet.is_keyframe and (stamp is None or getattr(packet, by) == stamp):
            return chain([packet], packets)
        if stamp is None:
            skipped.append(packet)
            if len(skipped) == 1000:
                break
    return chain(skipped, packets)


def _while_before(packets: Iterator[Any], pts: int) -> Iterator[Any]:
    """Packets up to the first one that is shown after `pts`, it too."""
    for packet in packets:
        yield packet
        if packet.pts is None or packet.pts > pts:
            return


def _shows(packet: Any) -> bool:
    """Whether a packet gives a frame: not if an edit of the file leaves it out, or VP8 only predicts from it."""
    if packet.is_discard:
        return False
    return packet.stream.codec_context.name != "vp8" or bool(memoryview(packet)[0] & 16)


def _decoded(stream: Any, packets: Iterable[Any], *, strict: bool) -> Iterator[Any]:
    """Frames in the order of showing. strict: raise where one cannot be decoded, instead of leaving it out."""
    broken = pyav().error.FFmpegError
    for packet in chain(packets, [None]):  # None: the last frames, which the decoder still holds
        try:
            yield from stream.codec_context.decode(packet)
        except broken:
            if strict:
                raise


def _upright(pixels: np.ndarray, turn: tuple[int, int, int, int]) -> np.ndarray:
    """Pixels (H, W, 3), turned and mirrored by the quarters that are nearest to a display matrix."""
    a, b, c, d = turn
    if abs(b) + abs(c) > abs(a) + abs(d):
        pixels, a, d = pixels.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])
