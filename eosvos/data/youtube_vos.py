"""YouTube-VOS as it is distributed, to train on: train/JPEGImages/VIDEO/*.jpg, train/Annotations/VIDEO/*.png (palette,
every fifth frame), and train/meta.json, which tells the objects of every video and the frames they are in.

Objects may first appear in any annotated frame; their ids stay as they are in the files.
"""

from __future__ import annotations

import json
from collections.abc import Sequence as Collection
from pathlib import Path
from typing import Any

from eosvos.data.sequence import Sequence
from eosvos.data.stored import folders, listing, match_masks, several, stored_sequence
from eosvos.errors import UserError


def open_youtube_vos(root: str | Path, *, split: str = "train", sequences: Collection[str] = ()) -> list[Sequence]:
    """Open the videos of a split, all or those named in `sequences`. `root` holds the split's folder, or is it.

    All files are checked, about 0.1 ms each, and no mask is read: meta.json has what would be looked for.

    Raises UserError if a folder, meta.json, a video or a file is missing or broken, or they contradict one another.
    """
    root = Path(root).expanduser()
    base = next((p for p in (root / split, root) if (p / "JPEGImages").is_dir()), None)
    if base is None:
        raise UserError(
            f"{root}: no YouTube-VOS found: {split}/JPEGImages is expected in it; there is"
            f" {several(folders(root)) or 'no folder at all'}"
        )
    videos = _read_meta(base / "meta.json")
    chosen = list(dict.fromkeys(sequences)) or sorted(videos)
    unknown = [name for name in chosen if name not in videos]
    if unknown:
        raise UserError(f"sequences={several(unknown)}: not among the {len(videos)} videos of {base / 'meta.json'}")
    return [_open(base, name, videos[name]["objects"]) for name in chosen]


def _read_meta(path: Path) -> dict[str, Any]:
    try:
        videos = json.loads(path.read_text(encoding="utf-8"))["videos"]
        for video in videos.values():
            for number, entry in video["objects"].items():
                if not 0 < int(number) < 255 or not entry["frames"]:
                    raise ValueError(f"object {number}: {entry}")
    except FileNotFoundError as error:
        raise UserError(f"{path}: this file is missing; it is a part of YouTube-VOS: fetch it") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not the meta.json of YouTube-VOS ({error!r}); fetch it again") from error
    return videos


def _open(base: Path, name: str, entries: dict[str, Any]) -> Sequence:
    images, annotations = base / "JPEGImages" / name, base / "Annotations" / name
    for folder in (images, annotations):
        if not folder.is_dir():
            raise UserError(f"{folder}: this folder is missing, and {base / 'meta.json'} lists the video; fetch it")
    frames, files = listing(images), listing(annotations, (".png",))
    if not frames or not files:
        raise UserError(f"{images if not frames else annotations}: no files in this folder; fetch the video again")
    masks = match_masks(frames, files)
    place = {frames[index].stem: index for index in masks}
    objects = {}
    for number in sorted(entries, key=int):
        first = min(entries[number]["frames"])
        if first not in place:
            raise UserError(
                f"{annotations}: no {first}.png, where object {number} appears by meta.json; fetch it again"
            )
        objects[int(number)] = place[first]
    return stored_sequence(name, frames, masks, binary=False, later_objects=True, objects=objects)
