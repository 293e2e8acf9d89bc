"""Given masks, as every method takes them: checked, and winning over all predictions on their own frame."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eosvos.data.masks import VOID


def check_frame(frame: Tensor, size: Sequence[int] | None) -> None:
    """Raise ValueError for a frame that is not of the video's `size` (H, W), or before a video began (None)."""
    if size is None:
        raise ValueError("no video has been started; call start() with the first masks")
    if tuple(frame.shape[-2:]) != tuple(size):
        raise ValueError(f"the frame is {tuple(frame.shape[-2:])}, the video began with {tuple(size)}")


def check_fits(masks: Mapping[int, np.ndarray], frame: Tensor) -> None:
    """Raise ValueError for an id that no object can have, and for a mask that has not the size of `frame`."""
    for i, mask in masks.items():
        if not 1 <= i < VOID:
            raise ValueError(f"object ids are 1 to {VOID - 1}, found {i}")
        if np.shape(mask) != tuple(frame.shape[-2:]):
            raise ValueError(f"object {i}: the mask is {np.shape(mask)}, the frame {tuple(frame.shape[-2:])}")


def check_new(masks: Mapping[int, np.ndarray], frame: Tensor, known: Collection[int] = ()) -> None:
    """Raise ValueError for first masks of objects, bool (H, W) by id, that are known, empty, or unfit for `frame`."""
    for i, mask in masks.items():
        if i in known:
            raise ValueError(f"object {i} is known already; use correct() to change its mask")
        check_fits({i: mask}, frame)
        if not np.any(mask):
            raise ValueError(f"the first mask of object {i} is empty; it must show the object")


def check_known(masks: Mapping[int, np.ndarray], frame: Tensor, known: Collection[int]) -> None:
    """Raise ValueError for masks, bool (H, W) by id, of objects that are not known, or unfit for `frame`. A mask may be
    empty: the object is not here."""
    check_ids(masks, known)
    check_fits(masks, frame)


def check_ids(ids: Collection[int], known: Collection[int]) -> None:
    """Raise ValueError for an object that is not known."""
    for i in ids:
        if i not in known:
            raise ValueError(f"object {i} is unknown; known are {list(known)}; use add() for new ones")


def shown(planes: Tensor, ids: Sequence[int], masks: Mapping[int, np.ndarray]) -> Tensor:
    """Probabilities float32 (K, H, W) of the K objects `ids` in which the given masks are 1 within and 0 without.

    planes: (k, H, W), those of the first k of them so far; the others had none. In the pixels of a given mask the
    objects that no mask was given for are 0.
    """
    result = planes.new_zeros((len(ids), *planes.shape[-2:]))
    result[: len(planes)] = planes
    given = {i: torch.from_numpy(np.asarray(mask, bool)) for i, mask in masks.items()}
    for mask in given.values():
        result[:, mask] = 0
    for i, mask in given.items():
        result[list(ids).index(i)] = mask.to(result)
    return result


def without(planes: Tensor, ids: Sequence[int], gone: Collection[int]) -> Tensor:
    """Probabilities (K, H, W) of the objects `ids` without those of `gone`."""
    return planes[[k for k, i in enumerate(ids) if i not in gone]]


def next_index(things: Iterable[Any]) -> int:
    """A number for the draws of a new object beside these."""
    return 1 + max((thing.index for thing in things), default=-1)
