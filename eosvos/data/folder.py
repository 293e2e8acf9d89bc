"""Videos of one's own: a folder of frames and a folder of masks, in any of these layouts.

    ROOT/JPEGImages/SEQ/*.jpg       ROOT/Annotations/SEQ/*.png       (as DAVIS, also with 480p/ and the like between)
    ROOT/frames/SEQ/*.jpg           ROOT/masks/SEQ/*.png
    ROOT/frames/*.jpg               ROOT/masks/*.png                 (a single video)

A mask has the name of its frame. Frames may lack masks, and objects may first appear in any of them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from collections.abc import Sequence as Collection
from pathlib import Path

import numpy as np

from eosvos.data.masks import VOID, read_mask
from eosvos.data.sequence import Sequence
from eosvos.data.stored import check_file, folders, listing, match_masks, several, stored_sequence
from eosvos.errors import UserError

log = logging.getLogger(__name__)

_LAYOUTS = (("JPEGImages", "Annotations"), ("frames", "masks"))
_RESOLUTIONS = ("480p", "Full-Resolution", "1080p")


def open_folder(root: str | Path, *, sequences: Collection[str] = (), binary: bool | None = None) -> list[Sequence]:
    """Open the videos of a folder, all or those named in `sequences`.

    `binary`: masks hold one object, all that is not 0; None takes them so where a video's masks hold nothing but 0 and
    255, and logs it. All masks are read once, to find the frame in which each object first appears.

    Raises UserError for a missing root, frames or masks, masks without frames, broken files, different sizes, a first
    mask without an object.
    """
    root = Path(root).expanduser()
    images, annotations = _find(root)
    names = folders(images)
    single = not names
    if single:
        names = [root.resolve().name]
    chosen = list(dict.fromkeys(sequences)) or names
    unknown = [name for name in chosen if name not in names]
    if unknown:
        raise UserError(f"sequences={several(unknown)}: not in {images}, which holds {several(names, 20)}")
    opened, taken = [], []
    for name in chosen:
        frames = listing(images if single else images / name)
        if not frames:
            raise UserError(f"{images if single else images / name}: no frames; .jpg, .png or .bmp files are expected")
        folder = annotations if single else annotations / name
        files = listing(folder, (".png", ".jpg", ".jpeg", ".bmp")) if folder.is_dir() else []
        if not files:
            raise UserError(f"{folder}: no masks for {name}; at least one .png named as its frame is expected")
        masks = match_masks(frames, files)
        two = _only_void(masks) if binary is None else binary
        if two and binary is None:
            taken.append(name)
        opened.append(stored_sequence(name, frames, masks, binary=two, later_objects=True))
    if taken:
        log.info("masks of 0 and 255 only are read as one object, 255 being the object: %s", several(taken))
    return opened


def _find(root: Path) -> tuple[Path, Path]:
    """The folders that hold the frames and the masks."""
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise UserError(
            f"data_root={root}: {what}; give a folder with frames and masks (JPEGImages/ and Annotations/, or frames/"
            " and masks/) with data_root= or the environment variable EOSVOS_DATA"
        )
    for first, second in _LAYOUTS:
        if not (root / first).is_dir():
            continue
        if not (root / second).is_dir():
            raise UserError(f"{root / second}: this folder is missing; the masks of {root / first} are expected there")
        for level in _RESOLUTIONS:
            if (root / first / level).is_dir():
                if not (root / second / level).is_dir():
                    raise UserError(f"{root / second / level}: this folder is missing; {root / first / level} is there")
                return root / first / level, root / second / level
        return root / first, root / second
    raise UserError(
        f"data_root={root}: neither JPEGImages/ and Annotations/ nor frames/ and masks/ are in it; there is"
        f" {several(folders(root)) or 'no folder at all'}"
    )


def _only_void(masks: Mapping[int, Path]) -> bool:
    """Whether masks hold 255 and no object id."""
    found = False
    for path in masks.values():
        check_file(path, mask=True)
        values = np.bincount(read_mask(path).ravel(), minlength=256)
        if values[1:VOID].any():
            return False
        found = found or bool(values[VOID])
    return found
