"""MOSE, version 1 and 2: SPLIT/JPEGImages/VIDEO/00000.jpg, SPLIT/Annotations/VIDEO/00000.png; SPLIT is train or valid.

Annotations of valid have the first frame only. meta_SPLIT.json of version 2, in ROOT or SPLIT, holds the number of
frames and the objects of each video.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from eosvos.data.image_files import MASKS, frames_or_masks, require_files, several
from eosvos.data.readers.image_sequence import choose_names, match_masks, stored_sequence
from eosvos.data.readers.locate import existing_folder, own_split_name, split_folder
from eosvos.data.sequence import VideoSequence
from eosvos.data.user_files import list_folders
from eosvos.errors import UserError

_SPLITS = ("train", "valid", "test")


def open_mose(
    root: str | Path, *, split: str | None = "valid", sequences: Sequence[str] = (), frames: bool = True
) -> list[VideoSequence]:
    """Open the videos of a split.

    Masks of a video are read until all objects of meta_SPLIT.json are found. Without that file only the first mask is
    read, 3 ms, as MOSE measures the objects of the first frame; reading all masks of train would take five minutes.

    Args:
        root: folder that holds the split's folder, or is it.
        split: "train" or "valid".
        sequences: names to choose; empty: all.
        frames: whether frames are needed. If they are not and their folder is missing, names and size are those of the
            masks.

    Raises:
        UserError: if a folder, a video or a file is missing or broken, or meta_SPLIT.json contradicts them.
    """
    split = own_split_name(split, _SPLITS, "MOSE", "valid")
    root = existing_folder(root, "MOSE", f"{split}/JPEGImages")
    images, annotations = root / "JPEGImages" / split, root / "Annotations" / split  # as some programs sort it
    base = root
    if not frames_or_masks(images, annotations, frames).is_dir():
        base = split_folder(root, split, _SPLITS, "MOSE", frames=frames)
        images, annotations = base / "JPEGImages", base / "Annotations"
    images = frames_or_masks(images, annotations, frames)
    names = [f"meta_{split}.json", "meta.json"]
    meta = next((path for folder in (base, root, base.parent) for n in names if (path := folder / n).is_file()), None)
    videos = {} if meta is None else _read_meta(meta)
    chosen = choose_names(sequences, list_folders(images), images)
    return [_open(images / name, annotations / name, split, meta, videos) for name in chosen]


def _read_meta(path: Path) -> dict[str, Any]:
    """Return video -> (number of frames or None, object ids)."""
    try:
        videos = json.loads(path.read_text(encoding="utf-8"))["videos"]
        return {
            name: (None if video.get("length") is None else int(video["length"]), [*map(int, video.get("objects", ()))])
            for name, video in videos.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not the meta file of MOSE ({error!r}); fetch it again, or remove it") from error


def _open(images: Path, annotations: Path, split: str, meta: Path | None, videos: dict[str, Any]) -> VideoSequence:
    frames = require_files(images, "frames")
    masks = match_masks(frames, require_files(annotations, "masks", MASKS))
    length, ids = videos.get(images.name, (None, ()))
    if length is not None and length != len(frames):
        raise UserError(
            f"{images}: {len(frames)} frames, and by {meta} the video has {length}; fetch it again, or remove what is"
            " left over"
        )
    without = [path.stem for index, path in enumerate(frames) if index not in masks]
    if without and split == "train":
        raise UserError(f"{annotations}: no masks of {several(without)}; every frame of train has one: fetch it again")
    opened = stored_sequence(images.name, frames, masks, binary=False, later_objects=False, ids=ids)
    return replace(opened, has_ground_truth=not without)
