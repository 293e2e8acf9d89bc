"""Run-length codes of masks in COCO's form; a code that describes no mask is refused, not decoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pycocotools import mask as coco_mask

from eosvos.data.masks import MOST_PIXELS

if TYPE_CHECKING:
    from torch import Tensor


def rle_encode(mask: np.ndarray | Tensor) -> dict[str, Any]:
    """Encode a mask, bool (H, W), as COCO's run-length code {"size": [H, W], "counts": str}, ready for JSON."""
    code = coco_mask.encode(np.asfortranarray(np.asarray(mask), np.uint8))
    return {"size": list(code["size"]), "counts": code["counts"].decode("ascii")}


def rle_decode(code: Mapping[str, Any]) -> np.ndarray:
    """Decode a run-length code to a mask.

    pycocotools 2.0.11 writes beyond its memory for an invalid code, so the code is checked and decoded here.

    Args:
        code: "size" and "counts", which may be str, bytes or COCO's uncompressed list.

    Returns:
        bool (H, W).

    Raises:
        ValueError: if the code does not describe a mask of its size.
    """
    try:
        height, width = (int(n) for n in code["size"])
        counts = code["counts"]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"no run-length code of size [H, W] and counts: {str(code)[:80]}") from error
    if not (0 < height and 0 < width and height * width <= MOST_PIXELS):
        raise ValueError(f"a run-length code of size {height}x{width}")
    runs = _listed(counts) if isinstance(counts, list | tuple) else _unpacked(counts)
    if len(runs) and (runs.min() < 0 or runs.max() > height * width):
        raise ValueError("a run-length code with runs of impossible length")
    if runs.sum() != height * width:
        raise ValueError(f"a run-length code of {runs.sum()} pixels for a mask of {height}x{width}")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def segment_mask(segment: Any, size: tuple[int, int]) -> np.ndarray:
    """Decode a "segmentation" of COCO, polygons or a run-length code, to a mask.

    Args:
        segment: the segmentation.
        size: height and width in pixels; those of a run-length code must be equal.

    Returns:
        bool (H, W).

    Raises:
        ValueError: for anything else, for which pycocotools would crash or fill the memory.
    """
    if isinstance(segment, Mapping):
        stored_size = segment.get("size")
        if not isinstance(stored_size, list | tuple) or list(stored_size) != list(size):
            raise ValueError(f"a run-length code of size {str(stored_size)[:40]}, expected {list(size)}")
        return rle_decode(segment)
    try:
        polygons = [np.asarray(polygon, np.float64).ravel() for polygon in segment]
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"neither polygons nor a run-length code: {str(segment)[:80]}") from error
    far, most = 4.0 * max(size), 4 * (size[0] + 1) * (size[1] + 1)
    for polygon in polygons:
        if len(polygon) > 2 * most:
            raise ValueError(
                f"a polygon of {len(polygon) // 2} corners in an image of {size[1]}x{size[0]}; at most {most} can be"
            )
        if len(polygon) < 6 or len(polygon) % 2 or not (np.abs(polygon) <= far).all():
            raise ValueError(
                f"no polygon x0, y0, x1, y1, x2, y2, ... in an image of {size[1]}x{size[0]}: {polygon[:8]}"
            )
    if not polygons:
        return np.zeros(size, bool)
    return _decoded(coco_mask.merge(coco_mask.frPyObjects([p.tolist() for p in polygons], *size)))


def _decoded(code: Mapping[str, Any]) -> np.ndarray:
    # Not by pycocotools, which warns of NumPy 2 each time; filters for that would be those of all threads.
    runs, (height, width) = _unpacked(code["counts"]), code["size"]
    return np.ascontiguousarray(np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T)


def _listed(counts: Sequence[Any]) -> np.ndarray:
    if not all(isinstance(n, int) and abs(n) <= MOST_PIXELS for n in counts):
        raise ValueError(f"a run-length code of other things than numbers: {str(counts)[:80]}")
    return np.array(counts, np.int64)


def _unpacked(counts: Any) -> np.ndarray:
    """Return the runs of COCO's compressed string.

    A character holds five bits, lowest first. From the third run on a number is the difference to the run before the
    last.
    """
    if not isinstance(counts, str | bytes):
        raise ValueError(f"a run-length code whose counts are {type(counts).__name__}")
    try:
        text = counts.encode("ascii") if isinstance(counts, str) else counts
    except UnicodeEncodeError as error:
        raise ValueError("a run-length code with characters that are none of it") from error
    codes = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if not len(codes):
        return codes
    last = (codes & 32) == 0
    if (codes < 0).any() or (codes > 63).any() or not last[-1]:
        raise ValueError("a run-length code that is cut off, or with characters that are none of it")
    ends = np.flatnonzero(last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    place = np.arange(len(codes)) - np.repeat(starts, ends - starts + 1)
    if place.max() > 6:
        raise ValueError("a run-length code with runs of impossible length")
    runs = np.add.reduceat((codes & 31) << (5 * place), starts)
    runs -= np.where(codes[ends] & 16, np.int64(1) << (5 * (place[ends] + 1)), 0)  # the sign
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs
