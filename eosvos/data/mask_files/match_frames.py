"""Masks of one video matched to its frames by name or by number."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from eosvos.data.image_files import frames_by_number, name_set, non_numeric_names, several, trailing_number
from eosvos.data.mask_files.annotation_files import ANNOTATION_FILES, find_annotations, open_of_one_video
from eosvos.data.mask_files.checks import doubts
from eosvos.data.mask_files.coco_json import strip_export_suffix
from eosvos.data.mask_files.formats import KINDS, MaskSet, open_masks
from eosvos.data.sequence import Numbered
from eosvos.data.user_files import natural_key
from eosvos.errors import UserError

log = logging.getLogger(__name__)

_LABEL_STUDIO = r"task-[0-9]+-annotation-[0-9]+-.*-[0-9]+"
_OBJECT = r"(?:.*[^a-z])?(?:obj|object|inst|instance|track|label|class)[^a-z0-9]*[0-9]+"
_EXPORT = {  # forms of annotation tools that are not read, and what to export in their place
    ".npy": "NumPy's files are not read; save a PNG whose values are the object ids",
    ".npz": "NumPy's files are not read; save a PNG whose values are the object ids",
    ".zip": "an archive; unpack it, and give the folder of masks or the .json file in it",
}


def match_to_frames(
    path: Path,
    names: Sequence[str],
    size: tuple[int, int],
    *,
    binary: bool | None = None,
    first: bool = True,
    absent: str | None = None,
) -> MaskSet:
    """Open the masks of a video and rename them as its frames.

    An image is the mask of the first frame. A folder or annotation file has a mask for each of some frames, with the
    frame's name, or else with its number at the end: the number in the frame names if all of them have one, otherwise
    counted from 0. A number behind other words than in the frame names is accepted and logged. A folder may also hold
    annotation files (annotation_files.py).

    Args:
        path: image, folder or annotation file.
        names: frame names, in order.
        size: height and width of the frames in pixels.
        binary: see `open_masks`.
        first: whether a single image is the mask of the first frame; otherwise of the frame of its name.
        absent: see `open_annotations`.

    Raises:
        UserError: as `open_masks` and `open_annotations` do; if a mask has no frame or two masks have the same; if
            names identify objects but no frames; or if pixels show that they are no masks of objects (checks.py).
    """
    kind = path.suffix.lower()
    if kind in KINDS and not path.is_dir():
        masks = open_masks([path], binary=binary, size=size)
        if first:
            own = _namesake(path.stem, names)
            if own is not None and own != names[0]:
                log.warning(
                    "%s: taken for the mask of the first frame, %s, as a single image is, though its name is that of"
                    " %s; for this frame give the folder with masks=",
                    path,
                    names[0],
                    own,
                )
            _refuse_doubts(masks, binary)
            return replace(masks, files={names[0]: (path,)}, read=partial(_renamed, masks, {names[0]: path.stem}, {}))
    elif files := [path] if kind in ANNOTATION_FILES else find_annotations(path) if path.is_dir() else []:
        masks = open_of_one_video(files, absent=absent, size=size)
    elif path.is_dir():
        masks = open_masks(path, names, binary=binary, size=size)
    elif kind in _EXPORT and path.exists():
        raise UserError(f"{path}: {_EXPORT[kind]}")
    else:
        raise UserError(f"{path}: no mask there; give an image, a folder, or a file of annotations, with masks=")
    masks = rename_as_frames(path, masks, names)
    _refuse_doubts(masks, binary)
    return masks


def rename_as_frames(path: Path, masks: MaskSet, names: Sequence[str]) -> MaskSet:
    """Name masks as their frames, see `match_to_frames`; `path`: where they lie, for messages."""
    old = _frames_of(path, masks, names)
    files_of = {name: masks.files[stem] for name, stem in old.items()}
    absent_ids: dict[str, tuple[int, ...]] = {}
    return replace(masks, files=files_of, read=partial(_renamed, masks, old, absent_ids), absent_ids=absent_ids)


def _frames_of(path: Path, masks: MaskSet, names: Sequence[str]) -> dict[str, str]:
    """Return frame name -> name of its mask."""
    known, at = name_set(names), frames_by_number(names)
    if masks.form == "annotations" and (
        shifted := _shifted(path, [*masks.files, *masks.unannotated], names, known, at)
    ):
        return {shifted[stem]: stem for stem in masks.files}
    old: dict[str, str] = {}
    guessed: list[tuple[str, str]] = []
    for stem, files in masks.files.items():
        name = _frame_of(stem, known, at)
        if masks.form != "annotations" and stem not in known and re.fullmatch(_LABEL_STUDIO, stem):
            raise UserError(
                f"{files[0]}: Label Studio names masks by task, and the last number is that of an object, not a frame;"
                f" name them FRAME_OBJECT, say {names[0]}_1, where the task is that of frame {names[0]}"
            )
        if name is None:
            counted = "numbered from 0" if at(0) == names[0] else f"{names[0]} to {names[-1]}"
            raise UserError(
                f"{files[0]}: mask {stem} has no frame: the {len(names)} frames are {counted}; name each mask by"
                f" the number of its frame, {names[0]} to {names[-1]}"
            )
        if name in old:
            raise UserError(f"{files[0]}: two masks for frame {name}, {old[name]} and {stem}; keep one")
        old[name] = stem
        if stem not in known and _is_foreign(stem, names):
            guessed.append((stem, name))
            if masks.form not in ("objects", "annotations"):  # the name may be that of an object, too
                _refuse_object(files[0], names)
    if guessed:
        stem, name = guessed[0]
        where = f"{path}: {stem}" if masks.form == "annotations" else masks.files[stem][0]
        log.warning(
            "%s: taken for the mask of frame %s, by the number at its end%s; name masks as the frames are, %s, if it is"
            " not its frame's%s",
            where,
            name,
            f", and {len(guessed) - 1} others likewise" if len(guessed) > 1 else "",
            names[0],
            ""
            if masks.form in ("objects", "annotations")
            else ", and FRAME_OBJECT, all of them, if it is that of an object",
        )
    return old


def _frame_of(stem: str, known: object, at: Callable[[int | None], str | None]) -> str | None:
    for one in (stem, strip_export_suffix(stem)):
        if one in known:  # type: ignore[operator]
            return one
    return at(trailing_number(strip_export_suffix(stem)))


def _shifted(
    path: Path, stems: Sequence[str], names: Sequence[str], known: object, at: Callable[[int | None], str | None]
) -> dict[str, str]:
    """Match the images of an annotation file to the frames by order, if there are as many, numbered without gaps.

    Returns image -> frame, or {} if this does not apply. Raises UserError if other images than the last ones have no
    frame.
    """
    lost = [stem for stem in stems if _frame_of(stem, known, at) is None]
    if not lost:
        return {}
    order = sorted(stems, key=natural_key)
    numbers = [trailing_number(strip_export_suffix(stem)) for stem in order]
    start = numbers[0]
    if start is not None and numbers == list(range(start, start + len(order))) and len(order) == len(names):
        log.warning(
            "%s: lists as many images as there are frames, from %s on: taken in this order, %s being frame %s; name"
            " images as the frames if that is wrong",
            path,
            order[0],
            order[0],
            names[0],
        )
        return dict(zip(order, names, strict=True))
    if _frame_of(order[0], known, at) == names[0] and set(lost) == set(order[-len(lost) :]):
        log.warning("%s: lists images beyond the last frame, %s: %s", path, names[-1], several(lost, 4))
        return {}
    raise UserError(
        f"{path}: the image {lost[0]} has no frame, so how its {len(order)} images are numbered is not told: the"
        f" {len(names)} frames are {names[0]} to {names[-1]}; give images the frames' names"
    )


def _is_foreign(stem: str, names: Sequence[str]) -> bool:
    """Return whether other words than in any frame name precede the number at the end of a name."""
    before = re.sub(r"[0-9]{1,9}$", "", strip_export_suffix(stem))
    return bool(before) and before not in {re.sub(r"[0-9]{1,9}$", "", name) for name in non_numeric_names(names)}


def _refuse_object(path: Path, names: Sequence[str]) -> None:
    """Raise UserError if the number in a mask's name is that of an object, by the word before it, or ambiguous."""
    number_only = re.fullmatch(r"[0-9]+[_.-][0-9]+", path.stem)
    if number_only or re.fullmatch(_OBJECT, path.stem.lower()):
        named = "named by an object, and which frame's mask it is, is not told."
        why = "which number is the frame's?" if number_only else named
        # The last name is asked for here alone: it waits until a video's frames are counted.
        raise UserError(
            f"{path}: {why} Name masks by frames alone, {names[0]} to {names[-1]}, or all of them FRAME_OBJECT, say"
            f" {names[0]}_1"
        )


def _refuse_doubts(masks: MaskSet, binary: bool | None) -> None:
    if (doubt := next(doubts(masks, binary), None)) is not None:
        raise UserError(doubt)


def _namesake(stem: str, names: Sequence[str]) -> str | None:
    """Return the frame with this name or number; it may lie beyond the end while frames are not counted yet."""
    if isinstance(names, Numbered) and not names.counted:
        return names.name(int(stem)) if re.fullmatch(f"[0-9]{{1,{names.width}}}", stem) else None
    return stem if stem in names else frames_by_number(names)(_whole_number(stem))


def _whole_number(stem: str) -> int | None:
    return int(stem) if re.fullmatch(r"[0-9]{1,9}", stem) else None


def _renamed(masks: MaskSet, old: dict[str, str], absent_ids: dict[str, tuple[int, ...]], name: str) -> np.ndarray:
    mask = masks.read(old[name])
    absent_ids[name] = masks.absent_ids.get(old[name], ())
    return mask
