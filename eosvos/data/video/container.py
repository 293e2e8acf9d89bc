"""Video files opened by PyAV: the stream to read, its packets, and errors turned into UserErrors."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

from eosvos.data.user_files import check_regular
from eosvos.errors import UserError
from eosvos.files import refused

_MOST_PIXELS = 2**26  # of a frame: 8K twice
# Not playlists and the like: these open other files, wherever they say. The last ones only to say that it is sound.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,h264,hevc,m4v,ivf,obu,gif,apng,mxf,nut,"
    "dv,rm,wtv,yuv4mpegpipe,wav,mp3,aac,flac"
)
_DEFAULT, _PICTURES = 0x1, 0x400 | 0x800  # bits of a stream's disposition, as FFmpeg has them
ANEW = "fetch it again, or write it anew: ffmpeg -i OLD -c:v libx264 -crf 15 NEW.mp4"


def pyav() -> ModuleType:
    """Return the module av. Raises UserError if it is not installed."""
    try:
        import av
    except ImportError as error:
        raise UserError(
            "video files need PyAV, which is not installed: pip install 'eosvos[video]' (or pip install av); or give a"
            " folder of frames instead (in place of dataset=video: dataset=folder)"
        ) from error
    return av


def open_file(path: Path) -> Any:
    """Open a video file as a PyAV container.

    Raises:
        UserError: if the file does not exist, is no regular file, is cut off or encrypted.
    """
    if not path.exists() and not path.is_symlink():
        raise UserError(f"{path}: does not exist; give the path of a video file, say clip.mp4")
    check_regular(path, "the path of a video file, say clip.mp4")
    with path.open("rb") as file:
        _check_whole(path, file)
    options = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
    return pyav().open(str(path.absolute()), options=options, metadata_errors="ignore")


def video_stream(container: Any, path: Path) -> Any:
    """Return the video stream to read, whose decoder refuses frames above `_MOST_PIXELS`.

    Raises:
        UserError: if there is no video stream, it cannot be decoded, or its frames are too large.
    """
    kinds = sorted({stream.type for stream in container.streams})
    # Without cover images and chapter thumbnails
    moving = [s for s in container.streams.video if not int(s.disposition) & _PICTURES]
    if not moving:
        only = ", ".join("a cover picture" if kind == "video" else kind for kind in kinds) or "nothing"
        raise UserError(f"{path}: no video in this file, only {only}; give a video file")
    stream = next((s for s in moving if int(s.disposition) & _DEFAULT), moving[0])  # as players choose
    context = stream.codec_context
    if context is None:
        raise UserError(
            f"{path}: a video of a kind that this FFmpeg cannot decode; convert it by the program or camera's software"
            " that made it, or with another FFmpeg: ffmpeg -i OLD -c:v libx264 -crf 15 NEW.mp4"
        )
    if not context.width * context.height:
        raise UserError(f"{path}: a video without a size, which cannot be decoded; {ANEW}")
    if context.width * context.height > _MOST_PIXELS:
        raise UserError(
            f"{path}: frames of {context.width}x{context.height}, more than {_MOST_PIXELS >> 20} megapixels; scale it"
        )
    if not context.is_open:
        context.options = {"max_pixels": str(_MOST_PIXELS)}
    return stream


def frame_rate(path: Path) -> float:
    """Return the frames per second of a video file, the mean if they vary; 24 if the file does not say.

    Raises UserError as `video_stream` does.
    """
    with translate_errors(path), open_file(path) as container:
        stream = video_stream(container, path)
        rate = stream.average_rate or stream.guessed_rate
        return float(rate) if rate else 24.0


@contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    """Raise errors of FFmpeg and the system within the block as UserError."""
    av = pyav()
    try:
        yield
    except (av.error.FFmpegError, OSError, EOFError) as error:
        raise _reason(path, error) from error


def _reason(path: Path, error: Exception) -> UserError:
    """Return the UserError for a file that FFmpeg or the system refuses, with the remedy."""
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.ENOENT, errno.EIO, errno.ELOOP):
        return refused(error, path)
    description = getattr(error, "strerror", None) or error
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as other:
        return refused(other, path)
    if not head:
        return UserError(f"{path}: cannot be read as a video: it is empty, a file of 0 bytes; fetch it again")
    if head.startswith(b"PK\3\4"):
        return UserError(f"{path}: cannot be read as a video: it is a zip file; unpack it, and give what is in it")
    if re.match(rb"\s*<(!doctype|html|\?xml)", head, re.IGNORECASE):
        return UserError(f"{path}: cannot be read as a video: it is a web page or XML; fetch it again")
    if not head.strip(b"\0"):
        return UserError(
            f"{path}: cannot be read as a video: it begins with zeros, as of a copy that broke off; fetch it again"
        )
    if not re.search(rb"[^\t\n\r -~]", head):
        return UserError(
            f"{path}: cannot be read as a video: it is text (a playlist, or a pointer to the file?); give the video"
        )
    return UserError(f"{path}: cannot be read as a video ({description}); {ANEW}")


def packets(container: Any, stream: Any) -> Iterator[Any]:
    """Iterate over the packets of a stream that hold data."""
    try:
        yield from (packet for packet in container.demux(stream) if packet.size)
    except IndexError as error:  # PyAV 18.1, where a stream appears in the middle of the file
        raise EOFError("it has another stream from there on") from error


def from_key_packet(packets: Iterator[Any], by: str = "pts", stamp: int | None = None) -> Iterator[Any]:
    """Skip packets before the first key packet, or before the key packet with time stamp `stamp`.

    Earlier ones could be decoded only in part. If none of the first thousand packets is marked as key, all are
    returned.
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


def until_shown_after(packets: Iterator[Any], pts: int) -> Iterator[Any]:
    """Yield packets up to and including the first one that is shown after `pts`."""
    for packet in packets:
        yield packet
        if packet.pts is None or packet.pts > pts:
            return


def gives_frame(packet: Any) -> bool:
    """Return whether a packet gives a frame: not if an edit list leaves it out, or VP8 uses it for prediction only."""
    if packet.is_discard:
        return False
    return packet.stream.codec_context.name != "vp8" or bool(memoryview(packet)[0] & 16)


def decode_frames(stream: Any, packets: Iterable[Any], *, strict: bool) -> Iterator[Any]:
    """Decode packets to frames, in display order.

    Args:
        stream: the stream of the packets.
        packets: the packets.
        strict: whether to raise if a packet cannot be decoded; otherwise its frame is left out.
    """
    broken = pyav().error.FFmpegError
    for packet in chain(packets, [None]):  # None: the last frames, which the decoder still holds
        try:
            yield from stream.codec_context.decode(packet)
        except broken:
            if strict:
                raise


def _check_whole(path: Path, file: BinaryIO) -> None:
    """Raise UserError for a file shorter than its header says (.mp4, .mov, .mkv, .webm, .avi), or encrypted."""
    size = file.seek(0, 2)
    file.seek(0)
    head = file.read(64)
    end = 0
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        while end + 8 <= size:
            file.seek(end)
            box = file.read(16)
            length = int.from_bytes(box[:4], "big")
            length = int.from_bytes(box[8:16], "big") if length == 1 else length or size - end
            if length < 8:
                return
            if box[4:8] == b"moov":
                moov = file.read(min(length, 2**26))
                if all(word in moov for word in (b"encv", b"sinf", b"schm")):  # else decoded to noise
                    raise UserError(f"{path}: is encrypted (protected from copies); give a file without protection")
            end += length
    elif head[:4] == b"RIFF" and head[8:12] == b"AVI " and head[4:8] != b"\xff\xff\xff\xff":
        end = 8 + int.from_bytes(head[4:8], "little")
    elif head[:4] == b"\x1aE\xdf\xa3":
        length, start = _ebml(head, 4)
        file.seek(start + length)
        head = file.read(16)
        if head[:4] == b"\x18S\x80g":  # the segment, which is all the rest
            length, begin = _ebml(head, 4)
            end = start + begin + length
    if end > size:
        raise UserError(f"{path}: is cut off: {size} bytes of at least {end}; fetch it again")


def _ebml(data: bytes, offset: int) -> tuple[int, int]:
    """Return a length in Matroska's coding (0: unknown), and the offset in `data` at which it ends."""
    first = data[offset] if offset < len(data) else 0
    if not first:
        return 0, offset
    end = offset + 9 - first.bit_length()
    most = (1 << 7 * (end - offset)) - 1
    value = int.from_bytes(data[offset:end], "big") & most
    return 0 if value == most else value, end
