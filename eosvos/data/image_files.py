"""Checks of image files that decode nothing, and helpers to list files and names.

A check reads the first and last bytes of a file, which takes about 0.1 ms, so that an error in the last mask of a long
data set is reported before the work on it begins.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from eosvos.data.images import check_depth, orientation
from eosvos.data.masks import FORMATS, MODES, check_mask_header, check_pixels, unreadable_error, wrong_size_error
from eosvos.data.sequence import Numbered
from eosvos.data.user_files import IMAGES, list_files
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
    """Check that an image file can be read as a frame or mask, without decoding it.

    Args:
        path: the image file.
        size: height and width in pixels that it must have; None: any.
        mask: whether it is a mask; otherwise it is a frame.
        modes: Pillow modes that a mask may have.
        lossy: whether a mask may have a lossy format such as JPEG.
        deep: whether a frame may have more than 8 bits per channel.

    Returns:
        Height and width in pixels, after the rotation that a frame's EXIF data asks for.

    Raises:
        UserError: if the file is missing, truncated, of another size, or not allowed by the other arguments.
    """
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
                # some writers append data of their own: only decoding shows whether it is whole
                with Image.open(path, formats=FORMATS) as whole:
                    whole.load()
    except UserError:
        raise
    except Exception as error:
        raise unreadable_error(path, error, "mask" if mask else "frame") from error
    if size is not None and (height, width) != tuple(size):
        raise wrong_size_error(path, (height, width), size)
    return height, width


def frames_by_number(names: Sequence[str]) -> Callable[[int | None], str | None]:
    """Return a function that finds a frame name by its number.

    The first frame of a video that is still being counted is found without waiting.

    Args:
        names: frame names.

    Returns:
        Function number -> frame name, or None for a number without a frame. The number is the one at the end of the
        name, or the frame's index if these do not distinguish the names.
    """
    if isinstance(names, Numbered):
        return lambda number: names[number] if number is not None and (not number or number < len(names)) else None
    own = {trailing_number(name): name for name in names}
    if None not in own and len(own) == len(names):
        return own.get
    return dict[int | None, str](enumerate(names)).get


def name_set(names: Sequence[str]) -> Container[str]:
    """Return a container of the names for fast `in` tests.

    `Numbered` names are returned as they are, as they wait for the count of frames no longer than needed.
    """
    return names if isinstance(names, Numbered) else set(names)


def non_numeric_names(names: Sequence[str]) -> Sequence[str]:
    """Return the names that may be more than a frame number: none of `Numbered` names, all others."""
    return () if isinstance(names, Numbered) else names


def trailing_number(name: str) -> int | None:
    """Return the number at the end of a name (at most 9 digits), or None."""
    digits = re.search(r"[0-9]{1,9}$", name)
    return int(digits.group()) if digits else None


def require_files(folder: Path, what: str, kinds: Sequence[str] = IMAGES) -> list[Path]:
    """List the image files of a folder, as `list_files` does.

    Args:
        folder: the folder.
        what: "frames" or "masks", for the message.
        kinds: allowed file name extensions, in lower case.

    Raises:
        UserError: if the folder is missing or has no such files.
    """
    files = list_files(folder, kinds) if folder.is_dir() else []
    if not files:
        problem = "no files of that kind in this folder" if folder.is_dir() else "this folder is missing"
        raise UserError(f"{folder}: {problem}; {what} ({kinds[0]}) are expected there: fetch the sequence again")
    return files


def frames_or_masks(images: Path, annotations: Path, frames: bool) -> Path:
    """Return the folder from which the names and the size of the frames are read.

    Args:
        images: the folder of frames.
        annotations: the folder of masks.
        frames: whether frames are needed. If they are not and `images` is missing, the masks stand in for them.
    """
    return annotations if not frames and not images.is_dir() and annotations.is_dir() else images


def is_animated(path: Path) -> bool:
    """Return whether an image file holds several images, of which only one is read. Nothing is decoded.

    Previews that cameras add to a JPEG do not count.
    """
    if path.suffix.lower() in (".jpg", ".jpeg", ".bmp"):
        return False
    with Image.open(path, formats=FORMATS) as image:
        return bool(getattr(image, "is_animated", False))


def several(names: Sequence[str], most: int = 8) -> str:
    """Join names for a message and shorten the list: "a, b, c, ... (20 in all)"."""
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
