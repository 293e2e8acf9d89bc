"""What a program of one's own gives: frames and masks as arrays and tensors of several kinds, and settings by name."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from eosvos.data.masks import VOID, ids_of
from eosvos.data.sequence import to_tensor

Image = np.ndarray | Tensor
Masks = np.ndarray | Tensor | Mapping[int, np.ndarray | Tensor]

_SCALE = "; of others scale them, ((frame - low) / (high - low)).clip(0, 1), by one low and high for the whole video"


def image_of(frame: Image) -> Tensor:
    """float32 (3, H, W) in [0, 1] of an image as `Segmenter` takes it. Raises ValueError for any other."""
    if isinstance(frame, Tensor):
        if frame.ndim != 3 or frame.shape[0] != 3:
            raise ValueError(f"a tensor frame is (3, H, W), RGB, not {tuple(frame.shape)}")
        image = frame.detach().cpu()
        image = image.float() / 255 if image.dtype == torch.uint8 else image
    else:
        array = np.asarray(frame)
        if array.ndim == 2:
            array = np.repeat(array[..., None], 3, -1)
        if array.ndim != 3 or array.shape[2] != 3:
            raise ValueError(f"an array frame is (H, W, 3), RGB, or (H, W), grey, not {array.shape}")
        if array.dtype == np.uint8:
            return to_tensor(array)
        if not np.issubdtype(array.dtype, np.floating):
            raise ValueError(f"a frame is uint8, or floating with values in [0, 1], not {array.dtype}{_SCALE}")
        image = torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))
    if not image.is_floating_point():
        raise ValueError(f"a frame is uint8, or floating with values in [0, 1], not {image.dtype}{_SCALE}")
    image = image.float()
    low, high = float(image.min()), float(image.max())
    if not (low >= 0 and high <= 1):
        raise ValueError(f"a floating frame has values in [0, 1], found {low:g} to {high:g}{_SCALE}")
    return image


def masks_of(masks: Masks, size: Iterable[int]) -> dict[int, np.ndarray]:
    """id -> bool (H, W) of masks as `Segmenter` takes them, for a frame of `size`. Raises ValueError for any other, and
    for an id mask without an object, of which nothing could be learned."""
    expected = tuple(int(side) for side in size)
    if isinstance(masks, Mapping):
        found = {}
        for i, mask in masks.items():
            if not isinstance(i, int | np.integer) or isinstance(i, bool) or not 0 < i < 2**31:
                raise ValueError(f"object ids are integers from 1 to 2**31 - 1, found {i!r}")
            array = _array(mask)
            if array.shape != expected:
                raise ValueError(f"object {i}: the mask is {array.shape}, the frame {expected}")
            found[int(i)] = array != 0
        return found
    array = _array(masks)
    if array.shape != expected:
        raise ValueError(f"the id mask is {array.shape}, the frame {expected}")
    if array.dtype != bool and not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"an id mask is of integers, not {array.dtype}")
    ids = ids_of(array) if array.dtype == np.uint8 else [int(i) for i in np.unique(array) if i]
    if not ids and array.dtype == np.uint8 and array.any():  # a mask as most programs write it
        return {1: array == VOID}
    if not ids:
        raise ValueError(
            "the id mask has no object, only background; an object that is not here is told by {id: empty mask}, and a "
            "video begins without any by {}"
        )
    if not (ids[0] > 0 and ids[-1] < 2**31):
        raise ValueError(f"object ids are integers from 1 to 2**31 - 1, found {ids[0] if ids[0] < 0 else ids[-1]}")
    return {i: array == i for i in ids}


def _array(mask: np.ndarray | Tensor) -> np.ndarray:
    return mask.detach().cpu().numpy() if isinstance(mask, Tensor) else np.asarray(mask)


def check_settings(whose: str, given: Iterable[str], known: Collection[str]) -> None:
    """Raise TypeError for a setting that is not known, with the nearest one that is."""
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known) or 'none'}"
            raise TypeError(f"{whose} has no setting {name!r}; {hint}")
