"""LVOS, version 1 and 2: SPLIT/JPEGImages/VIDEO/00000001.jpg and SPLIT/Annotations/VIDEO/00000001.png.

SPLIT is train, val (or valid) or test; every fifth frame is stored. SPLIT/SPLIT_meta.json says between which frames
each object is visible: objects may appear late, and protocol=lvos measures each between its own first and last frame.
SPLIT_meta_attribute.json of version 2 has the videos' attributes. Annotations of test show objects only where they
first appear.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from eosvos.data.image_files import MASKS, frames_or_masks, require_files, several
from eosvos.data.readers.image_sequence import choose_names, match_masks, stored_sequence
from eosvos.data.readers.locate import own_split_name, split_folder
from eosvos.data.sequence import VideoSequence
from eosvos.errors import UserError
from eosvos.files import shipped_list

_SPLITS = ("train", "val", "test")
_UNSEEN = {1: "lvos-unseen.txt", 2: "lvos-v2-unseen.txt"}


def open_lvos(
    root: str | Path,
    *,
    version: int = 1,
    split: str | None = "val",
    sequences: Sequence[str] = (),
    frames: bool = True,
) -> list[VideoSequence]:
    """Open the videos of a split. Files are checked, about 0.1 ms each (10 s for val of version 2); no mask is read.

    Args:
        root: folder that holds the split's folder, or is it.
        version: 1 or 2, which differ in the list of videos whose classes training lacks.
        split: "train", "val" or "test".
        sequences: names to choose; empty: all.
        frames: whether frames are needed. If they are not and their folder is missing, names and size are those of the
            masks.

    Raises:
        UserError: if a folder, the meta data, a video or a file is missing or broken, or they contradict one another.
    """
    if version not in _UNSEEN:
        raise UserError(f"version={version}: there are LVOS 1 and 2; use version=1 or version=2")
    split = own_split_name(split, _SPLITS, "LVOS", "val")
    base = split_folder(root, split, _SPLITS, "LVOS", frames=frames)
    images = frames_or_masks(base / "JPEGImages", base / "Annotations", frames)
    meta, videos = _read_meta(base, split)
    attributes = _attributes(base)
    unseen = None if split == "train" else frozenset(shipped_list(_UNSEEN[version]))
    return [
        replace(
            _open(images / name, base / "Annotations" / name, split, meta, videos[name], unseen),
            attributes=attributes.get(name, ()),
        )
        for name in choose_names(sequences, sorted(videos), meta)
    ]


def _read_meta(base: Path, split: str) -> tuple[Path, dict[str, dict[int, tuple[int, int]]]]:
    """Return the file, and video -> object id -> (number of the first frame that shows it, number after the last)."""
    words = [split, base.name, *(["valid"] if split == "val" else [])]
    names = [*(f"{word}_meta.json" for word in words), "meta.json"]
    paths = [folder / name for folder in (base, base.parent) for name in names]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise UserError(f"{paths[0]}: this file is missing; it is a download of its own beside LVOS: put it there")
    try:
        ranges_by_video = {}
        for name, video in json.loads(path.read_text(encoding="utf-8"))["videos"].items():
            ranges = {int(i): entry["frame_range"] for i, entry in video["objects"].items()}
            ranges_by_video[name] = {i: (int(ends["start"]), int(ends["end"])) for i, ends in sorted(ranges.items())}
            if not ranges_by_video[name] or not 0 < min(ranges_by_video[name]) <= max(ranges_by_video[name]) < 255:
                raise ValueError(f"{name} has the objects {list(ranges_by_video[name])}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not the meta data of LVOS ({error!r}); fetch it again") from error
    return path, ranges_by_video


def _attributes(base: Path) -> dict[str, tuple[str, ...]]:
    """Return video -> attributes, if a file has them."""
    path = next(iter(sorted(base.glob("*_meta_attribute.json"))), None)
    if path is None:
        return {}
    try:
        videos: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["videos"]
        return {name: tuple(map(str, video.get("attributes", ()))) for name, video in videos.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not the attributes of LVOS ({error!r}); fetch it again, or remove it") from error


def _open(
    images: Path,
    annotations: Path,
    split: str,
    meta: Path,
    ranges: dict[int, tuple[int, int]],
    unseen: frozenset[str] | None,
) -> VideoSequence:
    name = annotations.name
    frames = require_files(images, "frames")
    masks = match_masks(frames, require_files(annotations, "masks", MASKS))
    odd = [path for path in frames if not path.stem.isdigit()]
    if odd:
        raise UserError(f"{odd[0]}: frames are named by numbers, such as 00000001.jpg; fetch the video again")
    index_of = {int(path.stem): index for index, path in enumerate(frames)}
    first_frame, last_frame, unmasked = {}, {}, set()
    for number, (start, end) in ranges.items():
        shown = range(start, max(end, start + 1), 5)  # what lvos-evaluation reads; other frames need no mask
        lost = [f"{frame:08d}" for frame in shown if frame not in index_of]
        if lost:
            raise UserError(
                f"{images}: frames are missing between which {meta.name} has object {number}: {several(lost)}; fetch"
                " the video again"
            )
        first_frame[number], last_frame[number] = index_of[start], index_of[shown[-1]]
        if first_frame[number] not in masks:
            raise UserError(
                f"{annotations}: no {start:08d}.png, where object {number} appears by {meta.name}; fetch it again"
            )
        unmasked |= {frame for frame in shown if index_of[frame] not in masks}
    if unmasked and split != "test":
        lost = [f"{frame:08d}" for frame in sorted(unmasked)]
        raise UserError(f"{annotations}: no masks of {several(lost)}, where {meta.name} has objects; fetch it again")
    return replace(
        stored_sequence(name, frames, masks, binary=False, later_objects=True, first_frame=first_frame),
        unseen=None if unseen is None else frozenset(first_frame if name in unseen else ()),
        has_ground_truth=not unmasked,
        last_frame=last_frame,
    )
