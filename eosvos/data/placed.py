"""Masks of one video put to its frames: by name, or by number."""

from __future__ import annotations

import re
from collections.abc import Sequence as Collection
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from eosvos.data.mask_formats import KINDS, MaskSet, open_masks
from eosvos.data.mask_json import open_json
from eosvos.data.stored import several
from eosvos.errors import UserError


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
    known, numbers = set(names), _numbers(names)
    old: dict[str, str] = {}
    for stem, files in masks.files.items():
        name = stem if stem in known else numbers.get(_number(stem))
        if name is None:
            counted = "numbered from 0" if numbers.get(0) == names[0] else f"{names[0]} to {names[-1]}"
            raise UserError(
                f"{files[0]}: mask {stem} has no frame: the {len(names)} frames are {counted}; name each mask by"
                f" the number of its frame, {names[0]} to {names[-1]}"
            )
        if name in old:
            raise UserError(f"{files[0]}: two masks for frame {name}, {old[name]} and {stem}; keep one")
        old[name] = stem
    files_of = {name: masks.files[stem] for name, stem in old.items()}
    return replace(masks, files=files_of, read=partial(_renamed, masks, old))


def _numbers(names: Collection[str]) -> dict[int | None, str]:
    """The frames by their number."""
    own = {_number(name): name for name in names}
    if None not in own and len(own) == len(names):
        return own
    return dict(enumerate(names))


def _number(name: str) -> int | None:
    digits = re.search(r"[0-9]{1,9}$", name)
    return int(digits.group()) if digits else None


def _renamed(masks: MaskSet, old: dict[str, str], name: str) -> np.ndarray:
    return masks.read(old[name])
