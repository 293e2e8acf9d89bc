"""Files of several images as videos: TIFFs of several pages, animated GIF, WebP and PNG, read by Pillow.

A frame is decoded when it is asked for. What animations leave or clear before the next frame is done as in viewers;
transparent parts are black. Pages of a TIFF that are marked as reduced copies (thumbnails, pyramids) or as transparency
masks are left out. Stacks with channels, or with depth as well as time, are refused, as their pages in order are no
video.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from PIL import Image

from eosvos.data.images import decode, decode_deep, full_span, is_deep
from eosvos.data.levels import LOOKED_AT, Levels, Span, choose_span
from eosvos.data.masks import check_pixels
from eosvos.errors import UserError
from eosvos.files import refused

log = logging.getLogger(__name__)

_STACKS = ("GIF", "PNG", "TIFF", "WEBP")
_MAGIC = re.compile(
    rb"GIF8|\x89PNG|II[*+]\0|MM\0[*+]|RIFF....WEBP|\xff\xd8\xff|BM|....ftyp(?:heic|heix|mif1|avif)|\0\0\0\x0cJXL ",
    re.DOTALL,
)
_REDUCED, _MASK = 1, 4  # bits of a TIFF page's tag NewSubfileType


class Stack:
    """The frames of a stack: `stack(index)` returns uint8 (H, W, 3), RGB. Can be pickled and shared by threads.

    Args:
        path: the file.
        pages: pages that are frames.
        size: height and width in pixels.
        rate: frames per second.
        span: pixel values that become 0 and 255; None: 8-bit values are kept.

    Raises:
        UserError: when called, if the frame cannot be decoded.
    """

    def __init__(
        self, path: Path, pages: tuple[int, ...], size: tuple[int, int], rate: float, span: Span | None
    ) -> None:
        self.path, self.pages, self.size, self.rate, self.span = path, pages, size, rate, span
        self._lock = threading.Lock()
        self._process = 0
        self._image: Image.Image | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Stack, (self.path, self.pages, self.size, self.rate, self.span)

    def __len__(self) -> int:
        return len(self.pages)

    def __call__(self, index: int) -> np.ndarray:
        if not 0 <= index < len(self.pages):
            raise IndexError(f"frame {index} of {len(self.pages)}")
        with self._lock, _explained(self.path, f"frame {index} of {len(self)} cannot be decoded"):
            page, image = self.pages[index], self._image
            # After a fork the place in the file is the parent's, too; Pillow 13 loses its place in an animated PNG that
            # is wound back
            if image is None or self._process != os.getpid() or (image.format != "TIFF" and page < image.tell()):
                self._process, image = os.getpid(), Image.open(self.path, formats=_STACKS)
                weakref.finalize(image, image.fp.close)  # type: ignore[union-attr]
                self._image = image
            image.seek(page)
            pixels = decode(self.path, image, self.span, page)
        if pixels.shape[:2] != self.size:
            raise UserError(f"{self.path}: frame {index} is of another size than the first one; {_EACH}")
        return pixels


_EACH = "save the frames as one picture each, in a folder, and give the folder"


def is_image_file(path: Path) -> bool:
    """Return whether the first bytes of a file are those of an image format rather than a video."""
    try:
        with path.open("rb") as file:
            return _MAGIC.match(file.read(16)) is not None
    except OSError as error:
        raise refused(error, path) from error


def open_stack(path: Path, levels: Levels = "auto") -> Stack:
    """Open a file of several images.

    Args:
        path: the file.
        levels: which values of frames of more than 8 bits become 0 and 255, see levels.py.

    Raises:
        UserError: for a single image, a damaged file, pages of several sizes or kinds, too many pixels, and stacks of
            more than time.
    """
    with _explained(path, "cannot be read as pictures"), _opened(path) as image:
        check_pixels(path, image)
        count = getattr(image, "n_frames", 1)
        pages = tuple(range(count))
        if image.format == "TIFF":
            _check_dimensions(path, str(image.tag_v2.get(270, "")), count)  # type: ignore[attr-defined]
            pages = _pages(path, image)
        elif image.format == "PNG" and getattr(image, "default_image", False):
            pages = pages[1:]  # the first one is for viewers that know no animations, and none of it
        if len(pages) < 2:
            raise UserError(f"{path}: cannot be read as a video: it is a single picture; give the folder of its frames")
        image.seek(pages[0])
        size, deep = (image.height, image.width), is_deep(image)
        full = full_span(image) if deep else (0.0, 255.0)
        rate = _rate(image, pages)
    span = levels if isinstance(levels, tuple) else None
    if deep:
        span = choose_span(path, levels, _deep_pages(path, pages), full)
    stack = Stack(path, pages, size, rate, span)
    stack(0)
    return stack


def _pages(path: Path, image: Any) -> tuple[int, ...]:
    """Return the pages of a TIFF that are frames.

    Raises UserError if they differ, or lie beyond the file's end.
    """
    frames, left = [], 0
    kinds: dict[tuple[Any, ...], int] = {}
    length = path.stat().st_size
    for page in range(image.n_frames):
        image.seek(page)
        tags = image.tag_v2
        if tags.get(254, 0) & (_REDUCED | _MASK):
            left += 1
            continue
        frames.append(page)
        kinds.setdefault((image.width, image.height, is_deep(image), image.mode[0] == "F"), page)
        for places, sizes in ((273, 279), (324, 325)):  # strips and tiles
            ends = [a + b for a, b in zip(tags.get(places, ()), tags.get(sizes, ()), strict=False)]
            if ends and max(ends) > length:
                raise UserError(f"{path}: is cut off: page {page} ends at byte {max(ends)} of {length}; fetch it again")
    if len(kinds) > 1:
        (width, height, *_), (other_width, other_height, *_) = list(kinds)[:2]
        differ = "size" if (width, height) != (other_width, other_height) else "kind (bits)"
        raise UserError(
            f"{path}: page {frames[0]} is {width}x{height}, page {list(kinds.values())[1]} {other_width}x"
            f"{other_height}, of another {differ}; the frames of a video are of one size and kind: {_EACH}"
        )
    if left:
        log.warning("%s: %d pages are marked as thumbnails or masks of others, and left out", path, left)
    return tuple(frames)


def _check_dimensions(path: Path, description: str, count: int) -> None:
    """Raise UserError if ImageJ's or OME's description names more than time, or more pages than there are."""
    dimensions: dict[str, int] = {}
    if description.startswith("ImageJ="):
        lines = re.findall(r"^(images|channels|slices|frames)=(\d+)\s*$", description, re.MULTILINE)
        dimensions = {key: int(value) for key, value in lines}
    elif "<OME" in description:
        sizes = dict(re.findall(r'\bSize([CZT])="(\d+)"', description))
        dimensions = {
            name: int(sizes.get(key, 1)) for key, name in (("C", "channels"), ("Z", "slices"), ("T", "frames"))
        }
        samples = re.search(r'SamplesPerPixel="(\d+)"', description)
        dimensions["channels"] //= max(int(samples.group(1)), 1) if samples else 1
    several = [f"{dimensions[key]} {key}" for key in ("channels", "slices", "frames") if dimensions.get(key, 1) > 1]
    if dimensions.get("channels", 1) > 1 or len(several) > 1:
        raise UserError(
            f"{path}: holds {', '.join(several)}, and page after page these are no video; save one channel and slice"
            " over time as a file of its own"
        )
    if dimensions.get("images", 1) > count:
        raise UserError(
            f"{path}: ImageJ's way to write {dimensions['images']} pictures beyond 4 GiB, of which other programs see"
            f" {count}; save them as an image sequence, in a folder, and give the folder"
        )


def _rate(image: Any, pages: tuple[int, ...]) -> float:
    """Return the frames per second of an animation, from the durations of the first frames; 24 for a TIFF."""
    if image.format == "TIFF":
        return 24.0
    shown = []
    for page in pages[:LOOKED_AT]:
        image.seek(page)
        image.load()
        shown.append(float(image.info.get("duration", 0) or 100))  # ms; 0 is shown as 100 by browsers
    return float(f"{1000 / fmean(shown):.4g}")


def _deep_pages(path: Path, pages: tuple[int, ...]) -> Iterator[np.ndarray]:
    with _explained(path, "cannot be decoded"), _opened(path) as image:
        for page in pages:
            image.seek(page)
            yield decode_deep(path, image, page)


def _opened(path: Path) -> Image.Image:
    try:
        return Image.open(path, formats=_STACKS)
    except OSError as error:
        if error.errno is not None:
            raise
    try:
        with Image.open(path) as other:
            kind = other.format
    except OSError:
        kind = "HEIF or another that is not read, a damaged one,"
    raise UserError(
        f"{path}: cannot be read as a video: it is a picture ({kind}); give the folder with the pictures of"
        " its frames, as PNG, JPEG or TIFF of 8 or 16 bits, or floating grey"
    )


@contextmanager
def _explained(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        raise refused(error, path) if error.errno else UserError(f"{path}: {what} ({error}); fetch it again") from error
    except Exception as error:  # Pillow raises SyntaxError, EOFError, struct.error, ... on broken files
        raise UserError(f"{path}: {what} ({error}); the file is damaged: fetch it again") from error
