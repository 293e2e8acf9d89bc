"""Checks for id masks that are no masks of objects: background taken for an object, dithered colours, soft edges.

Every value of such files is a possible id, so that only the pixels show it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from eosvos.data.mask_files.formats import MaskSet
from eosvos.data.masks import VOID, ids_of

_AROUND = 0.8  # share of the image's edge from which on an object of most pixels is taken for the background
_DITHERED = 0.2  # share of neighbours within objects that are of different ones
_SOFT = 0.5  # share of the pixels of an object without an inside that lie between the background and another object
_SURE = "save masks whose values are the object ids, 0 being the background"


def doubts(masks: MaskSet, binary: bool | None = None) -> Iterator[str]:
    """Yield a message for each problem found in the first, middle or last mask.

    Nothing is checked if `binary` says how values are to be read, or for annotation files.
    """
    names = list(masks.files)
    for name in dict.fromkeys([names[0], names[len(names) // 2], names[-1]]) if names else ():
        if binary is not None or masks.form == "annotations":
            return
        mask, path = masks.read(name), masks.files[name][0]
        if _dithered(mask):
            yield f"{path}: neighbouring pixels are of different objects: dithered colours; {_SURE}, without dithering"
            return
        if (thin := _soft(mask)) is not None:
            yield (
                f"{path}: {thin} is an edge between the background and another object: soft (anti-aliased) edges;"
                f" {_SURE}, drawn or scaled without smoothing; if it is an object, say binary=false"
            )
            return
        if (around := _around(mask)) is not None:
            one = masks.form == "binary"
            yield (
                f"{path}: what is taken for {'the object' if one else f'object {around}'} surrounds all else: an"
                f" inverted mask, or the background? {_SURE}; if it is one, say binary={'true' if one else 'false'}"
            )
            return


def _around(mask: np.ndarray) -> int | None:
    """Return the object that covers most of the image border and most, but not all, of the image."""
    edge = np.concatenate([mask[0], mask[-1], mask[1:-1, 0], mask[1:-1, -1]])
    for number in ids_of(mask):
        pixels = np.count_nonzero(mask == number)
        if mask.size > pixels > 0.5 * mask.size and np.count_nonzero(edge == number) > _AROUND * len(edge):
            return number
    return None


def _dithered(mask: np.ndarray) -> bool:
    left, right = mask[:, :-1], mask[:, 1:]
    within = (left > 0) & (right > 0) & (left < VOID) & (right < VOID)
    count = np.count_nonzero(within)
    return bool(count >= 64 and np.count_nonzero(left[within] != right[within]) > _DITHERED * count)


def _soft(mask: np.ndarray) -> int | None:
    """Return an object without interior pixels, most of which lies between the background and another object."""
    ids = ids_of(mask)
    if len(ids) < 2:
        return None
    padded = np.pad(mask, 1, mode="edge")
    height, width = mask.shape
    around = [padded[y : y + height, x : x + width] for y in range(3) for x in range(3)]
    beside = np.any([part == 0 for part in around], 0)
    inside = np.all([part == mask for part in around], 0)
    other = np.any([(part != mask) & (part > 0) for part in around], 0)
    for number in ids:
        own = mask == number
        count = np.count_nonzero(own)
        if count >= 16 and not (own & inside).any() and np.count_nonzero(own & beside & other) > _SOFT * count:
            return number
    return None
