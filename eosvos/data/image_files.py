"""Sequences stored as one image file per frame and one mask file per annotated frame, checked when they are opened.

The checks read the first and last bytes of each file and decode nothing that looks sound, about 0.1 ms a file: an error
in the last mask of a long data set is told before the work on it begins, not hours later.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from eosvos.data.images import check_depth, orientation
from eosvos.data.masks import FORMATS, MODES, check_mask_header, check_pixels, unreadable, wrong_size
from eosvos.data.sequence import Numbered
from eosvos.data.user_files import IMAGES, listing
from eosvos.errors import UserError

MASKS = (".png", ".jpg", ".jpeg", ".bmp")  # JPEGs are listed to be refused: they would seem to be missing
_ENDS = {"PNG": b"IEND\xaeB`\x82", "JPEG": b"\xff\xd9"}


def check_file(
    path: Path,
    size: tuple[int, int] | None = None,
    mask: bool = False,
    modes: Sequence[str] = MODES,
    lossy: bool = False,
    deep: bool = False,
) -> tuple[int, int]:
    """(H, W) of an image file. Raises UserError if it is missing, truncated, not of `size`, or an impossible mask: of
    another of Pillow's modes than `modes`, or, unless `lossy`, of a format that blurs; a frame of more than 8 bits,
    unless `deep`."""
    try:
        with open(path, "rb") as file, Image.open(file, formats=FORMATS) as image:
            if mask:
                check_mask_header(path, image, modes, lossy)
            elif not deep:
                check_depth(path, image)
            check_pixels(path, image)
            width, height = image.size
            if not mask and orientation(image) >= 5:  # turned by a quarter when it is read
                width, height = height, width
            if not _ends(file, image.format or ""):
                # some writers append data of their own: only decoding tells
                with Image.open(path, formats=FORMATS) as whole:
                    whole.load()
    except UserError:
        raise
    except Exception as error:
        raise unreadable(path, error, "mask" if mask else "frame") from error
    if size is not None and (height, width) != tuple(size):
        raise wrong_size(path, (height, width), size)
    return height, width


def by_number(names: Sequence[str]) -> Callable[[int | None], str | None]:
    """Frames by the number at the end of their names, or counted from 0 where that does not tell them apart; None for a
    number that none has. Of frames that are being counted the first one is known at once."""
    if isinstance(names, Numbered):
        return lambda number: names[number] if number is not None and (not number or number < len(names)) else None
    own = {last_number(name): name for name in names}
    if None not in own and len(own) == len(names):
        return own.get
    return dict[int | None, str](enumerate(names)).get


def among(names: Sequence[str]) -> Container[str]:
    """For finding many of them; that of frames which are being counted waits for no more than it must."""
    return names if isinstance(names, Numbered) else set(names)


def worded(names: Sequence[str]) -> Sequence[str]:
    """Those that may be more than a number."""
    return () if isinstance(names, Numbered) else names


def last_number(name: str) -> int | None:
    digits = re.search(r"[0-9]{1,9}$", name)
    return int(digits.group()) if digits else None


def files_in(folder: Path, what: str, kinds: Sequence[str] = IMAGES) -> list[Path]:
    """`listing`, of `what` ("frames", "masks"). Raises UserError if the folder is missing or has none."""
    found = listing(folder, kinds) if folder.is_dir() else []
    if not found:
        said = "no files of that kind in this folder" if folder.is_dir() else "this folder is missing"
        raise UserError(f"{folder}: {said}; {what} ({kinds[0]}) are expected there: fetch the sequence again")
    return found


def frames_or_masks(images: Path, annotations: Path, frames: bool) -> Path:
    """Where the names and the size of the frames are seen: among the masks where there are no frames and, by `frames`,
    none are needed."""
    return annotations if not frames and not images.is_dir() and annotations.is_dir() else images


def moving(path: Path) -> bool:
    """Whether an image file holds several pictures, of which one is read; not those that cameras add to a JPEG. Nothing
    is decoded."""
    if path.suffix.lower() in (".jpg", ".jpeg", ".bmp"):
        return False
    with Image.open(path, formats=FORMATS) as image:
        return bool(getattr(image, "is_animated", False))


def several(names: Sequence[str], most: int = 8) -> str:
    """Names for a message, shortened: "a, b, c, ... (20 in all)"."""
    names = list(names)
    return ", ".join(names) if len(names) <= most else ", ".join(names[:most]) + f", ... ({len(names)} in all)"


def _ends(file: BinaryIO, kind: str) -> bool:
    """Whether an image file ends as its kind does, or, as a BMP or WebP, is as long as it says; True for other kinds,
    but not for a TIFF, of which any part may lie at the end."""
    length = file.seek(0, 2)
    if kind in ("BMP", "WEBP"):
        file.seek(2 if kind == "BMP" else 4)
        return length >= int.from_bytes(file.read(4), "little") + 8 * (kind == "WEBP")
    if kind == "TIFF":
        return False
    file.seek(-min(64, length), 2)
    return kind not in _ENDS or _ENDS[kind] in file.read()
