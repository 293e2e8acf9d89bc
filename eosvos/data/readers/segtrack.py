"""SegTrack v2: JPEGImages/SEQ/NAME.png with the masks GroundTruth/SEQ/NAME.png.

Sequences of several objects have GroundTruth/SEQ/1/NAME.png, GroundTruth/SEQ/2/NAME.png, ... Files may be .bmp instead.
All frames have masks, which are black and white, mostly with three channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eosvos.data.image_files import MASKS, frames_or_masks, require_files, several
from eosvos.data.readers.image_sequence import choose_names, match_masks
from eosvos.data.readers.locate import find_root
from eosvos.data.readers.per_object_masks import per_object_sequence
from eosvos.data.sequence import VideoSequence
from eosvos.data.user_files import list_folders
from eosvos.errors import UserError


def open_segtrack(root: str | Path, *, sequences: Sequence[str] = (), frames: bool = True) -> list[VideoSequence]:
    """Open the 14 sequences. Object ids are the numbers of the folders, or 1.

    Args:
        root: folder of the data set.
        sequences: names to choose; empty: all.
        frames: whether frames are needed. If they are not and their folder is missing, names and size are those of the
            masks.

    Raises:
        UserError: if a folder or file is missing or broken.
    """
    base = find_root(
        root,
        "SegTrack v2",
        lambda path: (path / "GroundTruth").is_dir() and (not frames or (path / "JPEGImages").is_dir()),
        "JPEGImages/ and GroundTruth/",
        ("", "SegTrackv2"),
    )
    images = frames_or_masks(base / "JPEGImages", base / "GroundTruth", frames)
    return [
        _open(images / name, base / "GroundTruth" / name)
        for name in choose_names(sequences, list_folders(images), images)
    ]


def _open(images: Path, annotations: Path) -> VideoSequence:
    numbers = list_folders(annotations)
    if images == annotations and numbers:
        images = annotations / numbers[0]
    frames = require_files(images, "frames")
    odd = [name for name in numbers if not name.isdigit() or not 0 < int(name) < 255]
    if odd:
        raise UserError(
            f"{annotations / odd[0]}: the folders of objects are named 1, 2, ...; rename or remove this one"
        )
    layers = {}
    for i, folder in {int(name): annotations / name for name in numbers}.items() or {1: annotations}.items():
        layers[i] = match_masks(frames, require_files(folder, "masks", MASKS))
        without = [path.stem for index, path in enumerate(frames) if index not in layers[i]]
        if without:
            raise UserError(f"{folder}: no masks of {several(without)}; every frame has one: fetch the sequence again")
    return per_object_sequence(annotations.name, frames, layers, above=127)
