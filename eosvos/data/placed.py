"""Masks of one video put to its frames: by name, or by number."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence as Collection
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from eosvos.data.mask_formats import KINDS, MaskSet, open_masks
from eosvos.data.mask_json import open_json
from eosvos.data.sequence import Numbered
from eosvos.data.stored import among, by_number, last_number, several, worded
from eosvos.errors import UserError

log = logging.getLogger(__name__)


def place(
    path: Path, names: Collection[str], size: tuple[int, int], *, binary: bool | None = None, first: bool = True
) -> MaskSet:
    """Open the masks at `path` for the frames `names`, and name them as these.

    An image is the mask of the first frame (`first` false: of the frame of its name); a folder or .json file has one
    for each of some frames, with the frame's name, or else with its number at the end: the number in the frames' own
    names where all of them have one, otherwise counted from 0. `binary`: see open_masks.

    Raises UserError for masks as open_masks and open_json do, without a frame, or two for one frame.
    """
    if path.suffix.lower() in KINDS and not path.is_dir():
        masks = open_masks([path], binary=binary, size=size)
        if first:
            own = _namesake(path.stem, names)
            if own is not None and own != names[0]:
                log.warning(
                    "%s: taken for the mask of the first frame, %s, as a single image is, though its name is that of"
                    " %s; for this frame give the folder with masks=", path, names[0], own,
                )  # fmt: skip
            return replace(masks, files={names[0]: (path,)}, read=partial(_renamed, masks, {names[0]: path.stem}))
    elif path.suffix.lower() == ".json":
        found = open_json(path)
        if len(found) > 1:
            raise UserError(f"{path}: holds masks of several videos, {several(list(found))}; give a file of one")
        masks = next(iter(found.values()))
    elif path.is_dir():
        masks = open_masks(path, names, binary=binary, size=size)
    else:
        raise UserError(f"{path}: no mask there; give an image, a folder of images, or a .json file, with masks=")
    known, at = among(names), by_number(names)
    unsure: list[str] = []
    old: dict[str, str] = {}
    for stem, files in masks.files.items():
        name = stem if stem in known else at(last_number(stem))
        if name is None:
            counted = "numbered from 0" if at(0) == names[0] else f"{names[0]} to {names[-1]}"
            raise UserError(
                f"{files[0]}: mask {stem} has no frame: the {len(names)} frames are {counted}; name each mask by"
                f" the number of its frame, {names[0]} to {names[-1]}"
            )
        if name in old:
            raise UserError(f"{files[0]}: two masks for frame {name}, {old[name]} and {stem}; keep one")
        old[name] = stem
        if stem not in known and masks.form not in ("objects", "json"):  # the name may tell the object, too
            unsure += _unsure(files[0], name, names)
    if unsure:
        log.warning("%s; if its last number is that of an object, name masks FRAME_OBJECT, all of them", unsure[0])
    files_of = {name: masks.files[stem] for name, stem in old.items()}
    return replace(masks, files=files_of, read=partial(_renamed, masks, old))


def _unsure(path: Path, frame: str, names: Collection[str]) -> list[str]:
    """A warning where the last of several numbers in a mask's name was taken for its frame's, unlike in the frames'
    names. Raises UserError where there are numbers alone: of frame and object, or of video and frame."""
    start = re.match(r"(.*?)[0-9]+[_.-](?=[0-9]+$)", path.stem)
    if start is None or any(name.startswith(start.group()) for name in worded(names)):
        return []
    if not start.group(1):
        raise UserError(
            f"{path}: which number is the frame's? Name masks by frames alone, {names[0]} to {names[-1]}, or all of"
            f" them FRAME_OBJECT, say {names[0]}_1"
        )
    return [f"{path}: taken for the mask of frame {frame}"]


def _namesake(stem: str, names: Collection[str]) -> str | None:
    """The frame that has this name or number; while frames are not counted yet, it may be beyond the end."""
    if isinstance(names, Numbered) and not names.counted:
        return names.name(int(stem)) if re.fullmatch(f"[0-9]{{1,{names.width}}}", stem) else None
    return stem if stem in names else by_number(names)(_whole_number(stem))


def _whole_number(stem: str) -> int | None:
    return int(stem) if re.fullmatch(r"[0-9]{1,9}", stem) else None


def _renamed(masks: MaskSet, old: dict[str, str], name: str) -> np.ndarray:
    return masks.read(old[name])
