"""YouTube-VOS 2018 and 2019: SPLIT/JPEGImages/VIDEO/00000.jpg, SPLIT/Annotations/VIDEO/00000.png and SPLIT/meta.json.

SPLIT is train, valid or test. meta.json lists the objects of every video and the frames that show them. Frames and
masks are every fifth of the video; SPLIT_all_frames/JPEGImages, a download of its own, has all frames. Objects may
first appear in any annotated frame and keep their ids. valid and test have the mask of each object on its first frame
alone: scores come from the server, or from a folder of masks given as `truth`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from eosvos.data.image_files import MASKS, frames_or_masks, require_files, several
from eosvos.data.readers.image_sequence import choose_names, match_masks, stored_sequence
from eosvos.data.readers.locate import own_split_name, split_folder
from eosvos.data.sequence import VideoSequence
from eosvos.data.user_files import list_folders
from eosvos.errors import UserError
from eosvos.files import shipped_list

log = logging.getLogger(__name__)

_SPLITS = ("train", "valid", "test")
_VIDEOS = {2018: {"valid": 474, "test": 508}, 2019: {"valid": 507, "test": 541}}  # train: 3471 in both
# Objects whose masks begin later than meta.json of train says; the correction is pytracking's.
_STARTS = {
    ("0e27472bea", 2): "00065",
    ("5937b08d69", 4): "00005",
    ("5e1ce354fd", 5): "00020",
    ("7053e4f41e", 2): "00020",
    ("720e3fa04c", 2): "00055",
    ("c73c8e747f", 2): "00040",
}


def open_youtube_vos(
    root: str | Path,
    *,
    split: str | None = "train",
    sequences: Sequence[str] = (),
    year: int | None = None,
    every_frame: bool = False,
    truth: str | Path | None = None,
    frames: bool = True,
) -> list[VideoSequence]:
    """Open the videos of a split. All files are checked, about 0.1 ms each; no mask is read.

    Sequences have the objects' classes if meta.json does and, for valid and test, the objects whose class train lacks.
    A meta.json without classes, which allows no scores over seen and unseen classes, is logged.

    Args:
        root: folder that holds the split's folder, or is it.
        split: "train", "valid" or "test".
        sequences: names to choose; empty: all.
        year: 2018 or 2019; an error is raised if the other one lies there. None: either.
        every_frame: whether to read the frames of SPLIT_all_frames. Masks and `submission_frames` stay every fifth.
        truth: folder VIDEO/FRAME.png with the masks of all annotated frames.
        frames: whether frames are needed. If they are not and their folder is missing, names and size are those of the
            masks.

    Raises:
        UserError: if a folder, meta.json, a video or a file is missing or broken, or they contradict one another.
    """
    split = own_split_name(split, _SPLITS, "YouTube-VOS", "train")
    base = split_folder(root, split, _SPLITS, "YouTube-VOS", frames=frames)
    videos = read_meta(base / "meta.json")
    _check_year(base, year, split, len(videos))
    images = _all_frames(base, split) if every_frame else base / "JPEGImages"
    if truth is None:
        masks = base / "Annotations"
    else:
        masks = Path(truth).expanduser()
        if not set(list_folders(masks)) & set(videos):
            raise UserError(
                f"truth={truth}: no masks of this data set: a folder for each video, such as {next(iter(videos))}, is"
                f" expected; there is {several(list_folders(masks)) or 'none'}"
            )
    images = frames_or_masks(images, masks, frames)
    chosen = choose_names(sequences, sorted(videos), base / "meta.json")
    whole = split == "train" or truth is not None
    seen = None if split == "train" else _seen(base.parent / "train" / "meta.json")
    untold = [name for name in chosen if not all(o.get("category") for o in videos[name]["objects"].values())]
    if seen is not None and untold:
        log.warning(
            "%s: does not tell the classes of %d of %d videos, %s: no figures over seen and unseen classes %s",
            base / "meta.json",
            len(untold),
            len(chosen),
            several(untold, 3),
            "are reported" if len(untold) == len(chosen) else "have these videos in them",
        )
    return [_open(images / name, masks / name, videos[name]["objects"], seen, whole=whole) for name in chosen]


def read_meta(path: Path) -> dict[str, Any]:
    """Return the videos of a meta.json. Raises UserError if it is missing or has another form."""
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


def _check_year(base: Path, year: int | None, split: str, count: int) -> None:
    if year not in (None, *_VIDEOS):
        raise UserError(f"year={year}: there are YouTube-VOS 2018 and 2019; use year=2018 or year=2019")
    for other, counts in _VIDEOS.items():
        if year not in (None, other) and counts.get(split) == count:
            raise UserError(
                f"{base}: holds the {count} videos of YouTube-VOS {other}, and {year} is asked for; use"
                f" dataset=youtube-vos-{other}, or another data_root="
            )


def _all_frames(base: Path, split: str) -> Path:
    """Return JPEGImages of the folder with all frames, beside the split's folder or in all_frames/."""
    tried = [base.parent / f"{split}_all_frames", base.parent / "all_frames" / f"{split}_all_frames"]
    for path in tried:
        if (path / "JPEGImages").is_dir():
            return path / "JPEGImages"
    raise UserError(
        f"{tried[0]}: JPEGImages with all frames is expected here (every_frame=true); it is a download of its own"
        f" ({split}_all_frames.zip): put it beside {base}, or leave every_frame out"
    )


def _seen(meta: Path) -> frozenset[str]:
    """Return the classes of the training split, from its meta.json or else from the list that ships."""
    if not meta.is_file():
        return frozenset(shipped_list("youtube-vos-seen.txt"))
    videos = read_meta(meta).values()
    return frozenset(entry.get("category", "") for video in videos for entry in video["objects"].values())


def _open(
    images: Path, annotations: Path, entries: dict[str, Any], seen: frozenset[str] | None, *, whole: bool
) -> VideoSequence:
    """Open a video; `whole`: every frame that meta.json names for an object must have a mask."""
    name, frames = images.name, require_files(images, "frames")
    masks = match_masks(frames, require_files(annotations, "masks", MASKS))
    index_of = {path.stem: index for index, path in enumerate(frames)}
    named = sorted({frame for entry in entries.values() for frame in entry["frames"]})
    lost = [frame for frame in named if frame not in index_of]
    if lost:
        raise UserError(f"{images}: frames that meta.json names are missing: {several(lost)}; fetch the video again")
    unmasked = [frame for frame in named if index_of[frame] not in masks]
    if unmasked and whole:
        raise UserError(f"{annotations}: no masks of {several(unmasked)}, where meta.json has objects; fetch it again")
    first_frame = {}
    for number in sorted(map(int, entries)):
        listed = entries[str(number)]["frames"]
        first = _STARTS.get((name, number), "")
        if first not in listed:
            first = min(listed)
        if index_of[first] not in masks:
            raise UserError(
                f"{annotations}: no {first}.png, where object {number} appears by meta.json; fetch it again"
            )
        first_frame[number] = index_of[first]
    kinds = {number: entries[str(number)].get("category") for number in first_frame}
    unseen = None
    if seen is not None and all(kinds.values()):
        unseen = frozenset(number for number, kind in kinds.items() if kind not in seen)
    submission_frames = frozenset(index_of[frame] for frame in named)
    return replace(
        stored_sequence(name, frames, masks, binary=False, later_objects=True, first_frame=first_frame),
        categories={number: str(kind) for number, kind in kinds.items() if kind},
        unseen=unseen,
        has_ground_truth=not unmasked,
        submission_frames=None if len(submission_frames) == len(frames) else submission_frames,
    )
