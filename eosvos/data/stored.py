"""Sequences stored as one image file per frame and one mask file per annotated frame, checked when they are opened.

The checks read the first and last bytes of each file and decode nothing that looks sound, about 0.1 ms a file: an error
in the last mask of a long data set is told before the work on it begins, not hours later.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from collections.abc import Sequence as Collection
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from eosvos.data.masks import FORMATS, MODES, check_mask_header, ids_of, read_mask, unreadable, wrong_size
from eosvos.data.sequence import Sequence
from eosvos.errors import UserError

IMAGES = (".jpg", ".jpeg", ".png", ".bmp")
_ENDS = {"PNG": b"IEND\xaeB`\x82", "JPEG": b"\xff\xd9"}


def stored_sequence(
    name: str,
    frames: Collection[Path],
    masks: Mapping[int, Path],
    *,
    binary: bool,
    later_objects: bool,
    objects: Mapping[int, int] | None = None,
) -> Sequence:
    """The sequence of image files `frames` with `masks` (frame index -> file, at least one).

    `binary`: all that is not 0 is object 1. `later_objects`: look for objects in all masks, which reads them; otherwise
    those of the first mask are all. `objects`: id -> first frame where that is known already; no mask is read then.
    Raises UserError for files that are missing, truncated or of another size than the first frame, for masks that are
    no id masks, and for a first mask without an object.
    """
    size = check_file(frames[0])
    for path in frames[1:]:
        check_file(path, size)
    for path in masks.values():
        check_file(path, size, mask=True)
    found: dict[int, int] = dict(objects or {})
    order = [] if objects else sorted(masks)
    for index in order if later_objects else order[:1]:
        mask = read_mask(masks[index], binary, size)
        for i in ids_of(mask):
            found.setdefault(i, index)
        if not found:
            raise UserError(f"{masks[index]}: {empty_mask(mask)}")
    return Sequence(
        name=name,
        frame_names=tuple(path.stem for path in frames),
        size=size,
        objects=found,
        read_frame=partial(_read_frame, tuple(frames), size),  # partial, not a lambda: data workers may pickle it
        read_mask=partial(_read_mask, dict(masks), binary, size),
        files=(*frames, *masks.values()),
    )


def read_image(path: str | Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read a picture, uint8 (H, W, 3) RGB, turned as its EXIF data says; grey ones get three equal channels.

    Raises UserError, naming the file, if it is missing, damaged, of more than 8 bits, or not of `size` (H, W).
    """
    path = Path(path)
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.mode[0] in "IF":
                raise UserError(f"{path}: a picture of more than 8 bits per channel; save it with 8 bits")
            turned = ImageOps.exif_transpose(image) if _orientation(image) > 1 else image
            pixels = np.array(turned.convert("RGB"))
    except UserError:
        raise
    except Exception as error:  # Pillow raises OSError, SyntaxError, struct.error, ... on broken files
        raise unreadable(path, error, "frame") from error
    if size is not None and pixels.shape[:2] != tuple(size):
        raise wrong_size(path, pixels.shape[:2], size)
    return pixels


def check_file(
    path: Path, size: tuple[int, int] | None = None, mask: bool = False, modes: Collection[str] = MODES
) -> tuple[int, int]:
    """(H, W) of an image file. Raises UserError if it is missing, truncated, not of `size`, or an impossible mask: of
    another of Pillow's modes than `modes`."""
    try:
        with open(path, "rb") as file, Image.open(file, formats=FORMATS) as image:
            if mask:
                check_mask_header(path, image, modes)
            width, height = image.size
            if not mask and _orientation(image) >= 5:  # turned by a quarter when it is read
                width, height = height, width
            end = _ENDS.get(image.format or "")
            if end is not None:
                file.seek(-min(64, file.seek(0, 2)), 2)
                if end not in file.read():
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


def listing(folder: Path, kinds: Collection[str] = IMAGES) -> list[Path]:
    """The image files of a folder, hidden ones left out, in natural order (2 before 10)."""
    files = (p for p in folder.iterdir() if p.suffix.lower() in kinds and not p.name.startswith("."))
    return sorted(files, key=lambda path: natural(path.stem))


def natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key under which numbers within names count as numbers."""
    parts = re.split(r"(\d+)", name)
    return [(1, int(p), "") if p.isdecimal() else (0, 0, p) for p in parts], name


def folders(root: Path) -> list[str]:
    """Names of the folders within `root` (none if it is missing), in natural order, hidden ones left out."""
    if not root.is_dir():
        return []
    return sorted((p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")), key=natural)


def several(names: Collection[str], most: int = 8) -> str:
    """Names for a message, shortened: "a, b, c, ... (20 in all)"."""
    names = list(names)
    return ", ".join(names) if len(names) <= most else ", ".join(names[:most]) + f", ... ({len(names)} in all)"


def match_masks(frames: Collection[Path], masks: Collection[Path]) -> dict[int, Path]:
    """Frame index -> mask file with the frame's stem. Raises UserError for a mask without a frame, or two for one."""
    found: dict[int, Path] = {}
    place = {path.stem: index for index, path in enumerate(frames)}
    if len(place) < len(frames):
        twice = next(b for a, b in zip(frames, frames[1:], strict=False) if a.stem == b.stem)
        raise UserError(f"{twice}: two frames are named {twice.stem}; keep one file of each frame")
    for path in masks:
        if path.stem not in place:
            raise UserError(
                f"{path}: a mask without its frame: none of the {len(frames)} frames in {frames[0].parent} is named"
                f" {path.stem}; a mask has the name of its frame (add the frame, or remove the mask)"
            )
        if place[path.stem] in found:
            raise UserError(f"{path}: two masks for one frame, the other is {found[place[path.stem]].name}; keep one")
        found[place[path.stem]] = path
    return found


def _read_frame(paths: tuple[Path, ...], size: tuple[int, int], index: int) -> np.ndarray:
    return read_image(paths[index], size)


def _read_mask(paths: dict[int, Path], binary: bool, size: tuple[int, int], index: int) -> np.ndarray | None:
    return read_mask(paths[index], binary, size) if index in paths else None


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; only JPEGs are asked: Pillow decodes a whole PNG to answer."""
    return int(image.getexif().get(0x0112, 1)) if image.format in ("JPEG", "MPO") else 1


def empty_mask(mask: np.ndarray) -> str:
    if mask.any():
        return (
            "the first mask holds only 0 and 255, and 255 means void (unknown) in an id mask; if this is the object,"
            " read the masks as binary ones (year=2016 of DAVIS, binary=true of a folder)"
        )
    return (
        "the first mask is empty, so there is no object to follow; give a mask in which it can be seen, or leave the"
        " sequence out with sequences=[...] (in a folder of your own: remove this file, objects may appear later)"
    )
