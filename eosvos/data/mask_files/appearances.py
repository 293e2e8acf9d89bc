"""What the masks of a video tell of its objects: where they appear, and where they are told to be absent."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from eosvos.data.image_files import several
from eosvos.data.mask_files.formats import MaskSet
from eosvos.data.masks import empty_mask, ids_of
from eosvos.errors import UserError

log = logging.getLogger(__name__)

ABSENT = ("told", "all")  # what masks tell of objects that they do not show


@dataclass(frozen=True)
class Appearances:
    """What the masks of a video tell of its objects."""

    objects: dict[int, int]  # object id -> index of the frame it first appears in
    given: tuple[int, ...] = ()  # indices of all masks but that of the first objects, in order; none without `every`
    # Frame index -> ids that its mask tells of, shown or absent; of frames that are not in it: of all.
    told_of: dict[int, frozenset[int]] = field(default_factory=dict)


def appearances(
    masks: MaskSet, order: Iterable[tuple[int, str]], *, every: bool = False, absent: str | None = "all"
) -> Appearances:
    """Where objects first appear, for frames (index, name) in order; reads all their masks.

    `every`: the first mask may be empty, to say that none is there yet; so may others, but not all. `absent`: "told": a
    mask tells only of the objects that it shows, or, where it shows none, that none is there, which is logged; "all":
    objects that it does not show are absent. Raises UserError where the first mask shows no object.
    """
    order = list(order)
    found: dict[int, int] = {}
    told_of: dict[int, frozenset[int]] = {}
    empty: list[str] = []
    first: Path | None = None
    for index, name in order:
        mask = masks.read(name)
        shown = ids_of(mask)
        for number in shown:
            found.setdefault(number, index)
        if not found and (mask.any() or not every):
            raise UserError(f"{masks.files[name][0]}: {empty_mask(mask)}")
        if every and mask.any() and not shown:
            raise UserError(f"{masks.files[name][0]}: {empty_mask(mask).replace('the first', 'this')}")
        first = first or masks.files[name][0]
        own = masks.form in ("objects", "json")  # a mask for each object
        if shown or own:
            told_of[index] = frozenset(shown) | frozenset(masks.gone.get(name, ()))
        if masks.gone.get(name, ()) if own else not shown:
            empty.append(name)
    if not found and first is not None:
        raise UserError(f"{first}: {empty_mask()}")
    if not every:
        return Appearances(found)
    if absent == "told" and empty:
        log.warning(
            "masks that show nothing, taken to tell that %s there: of %s; leave a mask out that is not to tell it",
            "their object is not" if masks.form in ("objects", "json") else "no object is", several(empty),
        )  # fmt: skip
    start = min(found.values(), default=0)
    given = tuple(index for index, _ in order if index != start)
    return Appearances(found, given, told_of if absent == "told" else {})
