"""SA-V's val and test: JPEGImages_24fps/VIDEO/00000.jpg and Annotations_6fps/VIDEO/OBJECT/00000.png.

Every frame is stored, and a binary mask per object for every fourth; sav_val.txt lists the videos. Objects are named
000, 001, ...; as 0 is the background of an id mask, ids are one higher if there is a 000.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from eosvos.data.image_files import MASKS, frames_or_masks, require_files, several
from eosvos.data.readers.image_sequence import check_numbers, choose_names, match_masks
from eosvos.data.readers.locate import find_root, own_split_name
from eosvos.data.readers.per_object_masks import per_object_sequence
from eosvos.data.sequence import VideoSequence
from eosvos.data.user_files import list_folders
from eosvos.errors import UserError

_IMAGES, _ANNOTATIONS = "JPEGImages_24fps", "Annotations_6fps"


def open_sav(
    root: str | Path, *, split: str | None = "val", sequences: Sequence[str] = (), frames: bool = True
) -> list[VideoSequence]:
    """Open the videos of a split. All files are checked, about 0.1 ms each, and a mask or two of each object are read.

    Args:
        root: folder that holds the split's folder, or is it.
        split: "val" or "test".
        sequences: names to choose; empty: all.
        frames: whether frames are needed. If they are not and their folder is missing, names and size are those of the
            masks.

    Raises:
        UserError: if a folder, a listed video or a file is missing or broken.
    """
    split = own_split_name(split, ("val", "test"), "SA-V", "val")
    other = {"val": "test", "test": "val"}[split]
    held, wanted = (Path(root).expanduser() / f"sav_{word}" / _IMAGES for word in (other, split))
    if held.is_dir() and not wanted.is_dir():
        raise UserError(f"data_root={root}: holds split={other}, not {split}; ask for that, or fetch sav_{split}")
    base = find_root(
        root,
        "SA-V",
        lambda path: frames_or_masks(path / _IMAGES, path / _ANNOTATIONS, frames).is_dir(),
        f"sav_{split}/{_IMAGES}",
        (f"sav_{split}", split, ""),
    )
    listed = base / f"sav_{split}.txt"
    if not listed.is_file() and (base / f"sav_{other}.txt").is_file():
        raise UserError(
            f"data_root={base}: is the folder of split={other}, and split={split} is asked for; give the folder above,"
            f" or split={other}"
        )
    images = frames_or_masks(base / _IMAGES, base / _ANNOTATIONS, frames)
    there = list_folders(images)
    lines = listed.read_text(encoding="utf-8").splitlines() if listed.is_file() else there
    names = [line.strip() for line in lines if line.strip()]
    chosen = choose_names(sequences, names, listed if listed.is_file() else images)
    return [_open(images / name, base / _ANNOTATIONS / name) for name in chosen]


def _open(images: Path, annotations: Path) -> VideoSequence:
    names = list_folders(annotations)
    if images == annotations:  # no frames: those that any object has a mask of
        each = {path.name: path for name in names for path in require_files(annotations / name, "masks", MASKS)}
        frames = [each[name] for name in sorted(each)]
    else:
        frames = require_files(images, "frames")
        check_numbers(frames)
    odd = [name for name in names if not name.isdigit() or int(name) > 253]
    if odd or not names:
        raise UserError(
            f"{annotations}: a folder for each object, named 000, 001, ... up to 253, is expected in it; there is"
            f" {several(odd) or 'none'}"
        )
    shift = int(min(map(int, names)) == 0)  # as mask_files/formats.py numbers the same folders of anybody's results
    layers = {
        int(name) + shift: match_masks(frames, require_files(annotations / name, "masks", MASKS)) for name in names
    }
    annotated = frozenset(index for files in layers.values() for index in files)
    check_numbers([frames[index] for index in sorted(annotated)], "annotated frames")
    return replace(
        per_object_sequence(images.name, frames, layers),
        has_ground_truth=len(annotated) > 1,
        submission_frames=None if len(annotated) == len(frames) else annotated,
    )
