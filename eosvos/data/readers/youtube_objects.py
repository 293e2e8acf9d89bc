"""YouTube-Objects with the masks of Jain and Grauman (ECCV 2014), in a folder called youtube_masks.

CATEGORY/data/VIDEO/shots/SHOT/images/00001.png and .../labels/00001.jpg hold every tenth frame. Instead of these
images, those of the whole videos may lie there: frame0001.jpg, frame0002.jpg, ... A mask shows all objects of the
shot's category as one. Masks are JPEGs; pixels brighter than half are the object.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from eosvos.data.image_files import require_files
from eosvos.data.readers.image_sequence import choose_names
from eosvos.data.readers.locate import find_root
from eosvos.data.readers.per_object_masks import per_object_sequence
from eosvos.data.sequence import VideoSequence
from eosvos.data.user_files import list_folders
from eosvos.errors import UserError

CATEGORIES = ("aeroplane", "bird", "boat", "car", "cat", "cow", "dog", "horse", "motorbike", "train")


def open_youtube_objects(root: str | Path, *, sequences: Sequence[str] = ()) -> list[VideoSequence]:
    """Open the 126 shots.

    Two shots, of motorbike/0007 and cow/0019, have a mask of one frame only, so nothing can be measured on them.

    Args:
        root: folder of the data set.
        sequences: names to choose, CATEGORY_VIDEO_SHOT such as aeroplane_0001_001; empty: all.

    Raises:
        UserError: if a folder or file is missing or broken.
    """
    base = find_root(
        root,
        "YouTube-Objects",
        lambda path: any((path / name / "data").is_dir() for name in CATEGORIES),
        "CATEGORY/data/VIDEO/shots/SHOT/labels",
        ("", "youtube_masks"),
    )
    shots = {
        f"{category}_{video}_{shot}": base / category / "data" / video / "shots" / shot
        for category in CATEGORIES
        for video in list_folders(base / category / "data")
        for shot in list_folders(base / category / "data" / video / "shots")
        if (base / category / "data" / video / "shots" / shot / "labels").is_dir()
    }
    return [_open(name, shots[name]) for name in choose_names(sequences, list(shots), base)]


def _open(name: str, shot: Path) -> VideoSequence:
    frames = require_files(shot / "images", "frames", (".png", ".jpg"))
    index_of = {_number(path): index for index, path in enumerate(frames)}
    if len(index_of) < len(frames):
        raise UserError(f"{shot / 'images'}: two frames of one number; keep one file of each frame")
    masks = {}
    for path in require_files(shot / "labels", "masks", (".jpg", ".png")):
        if _number(path) not in index_of:
            raise UserError(
                f"{path}: a mask without its frame: none of the {len(frames)} frames in {shot / 'images'} has its"
                " number; fetch the shot again"
            )
        masks[index_of[_number(path)]] = path
    opened = per_object_sequence(name, frames, {1: masks}, above=127, lossy=True, scaled=True)
    return replace(
        opened,
        categories={1: name.partition("_")[0]},
        has_ground_truth=len(masks) > 1,
        submission_frames=None if len(masks) == len(frames) else frozenset(masks),
    )


def _number(path: Path) -> int:
    """Return the number of a file: 7 of frame0007.jpg and of 00007.png."""
    match = re.search(r"\d+$", path.stem)
    if match is None:
        raise UserError(f"{path}: named without a number; frames and masks belong together by theirs")
    return int(match.group())
