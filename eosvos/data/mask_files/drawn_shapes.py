"""Shapes that annotators drew on images one by one: which of them are of one object."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from eosvos.data.mask_files.coco_json import Key, Shapes, keys_by_label
from eosvos.data.mask_files.rle import segment_mask
from eosvos.errors import UserError

Segment = Callable[[tuple[int, int]], np.ndarray]  # height and width of the image -> mask bool (H, W); can be pickled


@dataclass(frozen=True)
class Drawn:
    """A shape.

    Attributes:
        frame: stem of the image.
        label: its label.
        segment: its mask.
        track: what identifies its object in all images, or None.
        group: what identifies its object within the image, where that has several parts, or None.
        z_order: larger in front of others.
    """

    frame: str
    label: str
    segment: Any
    track: Any = None
    group: Any = None
    z_order: int = 0


def add_drawn(shapes: Shapes, drawn: Sequence[Drawn], what: str, remedy: str) -> None:
    """Find out which shapes are of one object, and add them to `shapes`.

    By track, if all shapes have one. Otherwise every label is an object or, in a single image, every shape or group.

    Args:
        shapes: what they are added to.
        drawn: the shapes.
        what: what a label is, for messages.
        remedy: what to do if nothing identifies objects.

    Raises:
        UserError: if some shapes have a track and others do not, or nothing identifies objects.
    """
    if not drawn:
        return
    without = [one for one in drawn if one.track is None]
    if without and len(without) < len(drawn):
        one = without[0]
        raise UserError(f"frame {one.frame}: a shape {one.label!r} has no track id, others have; {remedy}, all of them")
    keys: list[Key] = [(one.track,) for one in drawn]
    how = ", an object for each track"
    if without:
        units = [(one.frame, one.label, k if one.group is None else ("", one.group)) for k, one in enumerate(drawn)]
        distinct = list(dict.fromkeys(units))
        of_units, how = keys_by_label([(frame, (label,)) for frame, label, _ in distinct], what, remedy)
        by_unit = dict(zip(distinct, of_units, strict=True))
        keys = [by_unit[unit] for unit in units]
    shapes.description += how
    for one, key in zip(drawn, keys, strict=True):
        add_to_frame(shapes, one.frame, key, one.segment, one.z_order)
        shapes.labels.setdefault(key, one.label)
        shapes.names.setdefault(key, one.label + ("" if without else f" (track {one.track})"))


def add_to_frame(shapes: Shapes, frame: str, key: Key, segment: Any, z_order: int = 0) -> None:
    """Add the mask of an object to a frame."""
    shapes.frames.setdefault(frame, []).append((key, segment))
    if z_order:
        shapes.z_order[frame, key] = max(z_order, shapes.z_order.get((frame, key), z_order))


def describe_kinds(kinds: Mapping[str, int]) -> str:
    """Describe how many shapes of which kinds there are: "3 box, 1 points"."""
    return ", ".join(f"{count} {kind}" for kind, count in Counter(kinds).most_common())


def polygon_of_fractions(points: np.ndarray) -> Segment:
    """Return the mask of a polygon.

    Args:
        points: float (N, 2), x and y of the corners as fractions of the image's width and height.
    """
    return partial(_polygon_of_fractions, points)


def _polygon_of_fractions(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    mask = segment_mask([(points * (size[1], size[0])).ravel()], size)
    if not mask.any():
        raise ValueError("a polygon that covers no pixel")
    return mask
