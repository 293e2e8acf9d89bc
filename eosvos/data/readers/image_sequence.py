"""Sequences stored as one image file per frame and one mask file per annotated frame, checked when they are opened.

A check reads the first and last bytes of a file, which takes about 0.1 ms, so that an error in the last mask of a long
data set is reported before the work on it begins.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from eosvos.data.image_files import check_file, several
from eosvos.data.images import read_image
from eosvos.data.levels import Span
from eosvos.data.masks import ids_of, no_object_message, read_mask
from eosvos.data.sequence import VideoSequence
from eosvos.data.user_files import list_files
from eosvos.errors import UserError

_UNREAD = (".gif", ".heic", ".heif", ".avif", ".jp2", ".jxl", ".ppm", ".tga", ".exr", ".dpx", ".dng", ".cr2", ".nef")


def stored_sequence(
    name: str,
    frames: Sequence[Path],
    masks: Mapping[int, Path],
    *,
    binary: bool,
    later_objects: bool,
    first_frame: Mapping[int, int] | None = None,
    ids: Sequence[int] = (),
) -> VideoSequence:
    """Open a sequence of image files.

    Args:
        name: name of the sequence.
        frames: the frames, in order.
        masks: frame index -> mask file; at least one.
        binary: whether masks show one object, as every value but 0.
        later_objects: whether objects may appear after the first mask, so that all masks are read. Otherwise the first
            mask shows all of them.
        first_frame: object id -> first frame, where it is known; no mask is read then.
        ids: the objects of the video, where they are known; masks are read until all are found.

    Raises:
        UserError: if a file is missing, truncated or of another size than the first frame, a mask is no id mask, or the
            first mask shows no object.
    """
    size = check_file(frames[0])
    for path in frames[1:]:
        check_file(path, size)
    for path in masks.values():
        check_file(path, size, mask=True)
    appeared: dict[int, int] = dict(first_frame or {})
    order = [] if first_frame else sorted(masks)
    for index in order if later_objects or ids else order[:1]:
        mask = read_mask(masks[index], binary, size)
        for i in ids_of(mask):
            appeared.setdefault(i, index)
        if not appeared and not ids:
            raise UserError(f"{masks[index]}: {no_object_message(mask)}")
        if ids and appeared.keys() >= set(ids):
            break
    unseen = sorted(set(ids) - appeared.keys())
    if unseen:
        raise UserError(f"{masks[order[0]].parent}: no mask shows object {unseen[0]}, which {name} has; fetch it again")
    return VideoSequence(
        name=name,
        frame_names=tuple(path.stem for path in frames),
        size=size,
        first_frame=appeared,
        read_frame=frame_reader(frames, size),
        read_mask=partial(_read_mask, dict(masks), binary, size),
        files=(*frames, *masks.values()),
    )


def frame_reader(
    paths: Sequence[Path], size: tuple[int, int], span: Span | None = None, stored: tuple[int, int] | None = None
) -> Callable[[int], np.ndarray]:
    """Return a function that reads image files by index, and can be pickled, as data workers need it.

    Args:
        paths: the frames, in order.
        size: height and width in pixels that frames get.
        span: as for `read_image`.
        stored: height and width in pixels of the files; None: `size`.
    """
    return partial(_read_frame, tuple(paths), size, span, stored or size)


def choose_names(names: Sequence[str], available: Sequence[str], place: object) -> list[str]:
    """Return the names that the caller asks for, each once, or all available ones if it asks for none.

    Raises UserError for a name that is not available, and if none is; `place` is named in the message.
    """
    known = set(available)
    unknown = [name for name in names if name not in known]
    if unknown:
        has = several(list(available), 20) or "none"
        raise UserError(f"sequences={several(unknown)}: not in {place}, which has {has}")
    if not available:
        raise UserError(f"{place}: no sequences in it; fetch the data set again")
    return list(dict.fromkeys(names)) or list(available)


def check_numbers(files: Sequence[Path], what: str = "frames") -> None:
    """Raise UserError if the numbers that name `files`, in order, leave one out. Other names pass."""
    lost = describe_gap(files, what) if all(path.stem.isdigit() for path in files) else None
    if lost is not None:
        raise UserError(f"{files[0].parent}: {lost}: fetch the sequence again")


def describe_gap(files: Sequence[Path], what: str = "frames") -> str | None:
    """Describe which numbers at the end of file names are missing, for a message.

    Returns:
        None if none is missing, or the names differ in more than numbers.
    """
    ends = [match for path in files if (match := re.fullmatch(r"(.*?)([0-9]+)", path.stem))]
    if not 2 < len(ends) == len(files) or len({end.group(1) for end in ends}) > 1:
        return None
    numbers = [int(end.group(2)) for end in ends]
    step = min(b - a for a, b in pairwise(numbers))
    lost = [(k, range(a + step, b, step)) for k, (a, b) in enumerate(pairwise(numbers)) if b - a >= 2 * step > 0]
    if not lost:
        return None
    k, first = lost[0]
    before, after, total = files[k], files[k + 1], sum(len(numbers) for _, numbers in lost)
    start, width = ends[k].group(1), len(ends[k + 1].group(2))
    shown = ", ".join(before.with_stem(f"{start}{number:0{width}d}").name for number in first[:3])
    many = f", ... ({total} in all) are" if total > len(first[:3]) else " are" if total > 1 else " is"
    return f"{shown}{many} missing, between {before.stem} and {after.stem}; {what} are numbered in steps of {step}"


def unsupported_images(folder: Path) -> list[str]:
    """Return the names of the images in a folder whose format is not read."""
    return [path.name for path in list_files(folder, _UNREAD)]


def no_frames_message(folder: Path) -> str:
    """Return the message for a folder without frames."""
    there = f"; there is {several(unsupported_images(folder), 3)}" if unsupported_images(folder) else ""
    return f"no frames; .jpg, .png or .bmp (or .webp, .tif) files are expected{there}"


def match_masks(frames: Sequence[Path], masks: Sequence[Path]) -> dict[int, Path]:
    """Match masks to frames by file stem.

    Returns:
        Frame index -> mask file.

    Raises:
        UserError: for a mask without a frame, two masks for one frame, or two frames of one name.
    """
    matches: dict[int, Path] = {}
    index_of = {path.stem: index for index, path in enumerate(frames)}
    if len(index_of) < len(frames):
        twice = next(b for a, b in zip(frames, frames[1:], strict=False) if a.stem == b.stem)
        raise UserError(f"{twice}: two frames are named {twice.stem}; keep one file of each frame")
    for path in masks:
        if path.stem not in index_of:
            raise UserError(
                f"{path}: a mask without its frame: none of the {len(frames)} frames in {frames[0].parent} is named"
                f" {path.stem}; a mask has the name of its frame (add the frame, or remove the mask)"
            )
        if index_of[path.stem] in matches:
            raise UserError(
                f"{path}: two masks for one frame, the other is {matches[index_of[path.stem]].name}; keep one"
            )
        matches[index_of[path.stem]] = path
    return matches


def _read_frame(
    paths: tuple[Path, ...], size: tuple[int, int], span: Span | None, stored: tuple[int, int], index: int
) -> np.ndarray:
    frame = read_image(paths[index], stored, span)
    return frame if stored == size else cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA)


def _read_mask(paths: dict[int, Path], binary: bool, size: tuple[int, int], index: int) -> np.ndarray | None:
    return read_mask(paths[index], binary, size) if index in paths else None
