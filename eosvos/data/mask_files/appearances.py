"""Where the objects of a video first appear, and where its masks annotate them as absent."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from eosvos.data.image_files import several
from eosvos.data.mask_files.formats import MaskSet
from eosvos.data.masks import ids_of, no_object_message, read_absent
from eosvos.errors import UserError

log = logging.getLogger(__name__)

ABSENT = ("told", "all")  # values of the setting `absent`


@dataclass(frozen=True)
class Appearances:
    """What the masks of a video say about its objects; the fields are those of `VideoSequence`."""

    first_frame: dict[int, int]
    prompt_frames: tuple[int, ...] = ()
    annotated_ids: dict[int, frozenset[int]] = field(default_factory=dict)


def appearances(
    masks: MaskSet, order: Iterable[tuple[int, str]], *, every: bool = False, absent: str | None = "all"
) -> Appearances:
    """Read all masks of a video and find out where its objects first appear.

    Args:
        masks: the masks of the video.
        order: index and name of every annotated frame, by rising index.
        every: all masks are input of a method, so the first ones may be empty (no object is there yet), and any other
            too, but not all of them.
        absent: "told": a mask annotates only the objects that it shows or, if it shows none, says that none is
            there, which is logged; where a file says which objects are absent (`masks.read_absent`), these and no
            others are. "all": objects that a mask does not show are absent.

    Returns:
        Appearances. Without `every`, `prompt_frames` is empty: a method receives the first masks alone.

    Raises:
        UserError: if no mask shows an object, or the first one does not and `every` is false.
    """
    order = list(order)
    first_frame: dict[int, int] = {}
    annotated_ids: dict[int, frozenset[int]] = {}
    empty: list[str] = []
    first: Path | None = None
    for index, name in order:
        mask = masks.read(name)
        shown = ids_of(mask)
        for number in shown:
            first_frame.setdefault(number, index)
        if not first_frame and (mask.any() or not every):
            raise UserError(f"{masks.files[name][0]}: {no_object_message(mask)}")
        if every and mask.any() and not shown:
            raise UserError(f"{masks.files[name][0]}: {no_object_message(mask).replace('the first', 'this')}")
        first = first or masks.files[name][0]
        own = masks.form in ("objects", "annotations")  # a mask for each object
        said = masks.absent_ids.get(name, ()) if own else read_absent(masks.files[name][0])
        if shown or said is not None:
            annotated_ids[index] = frozenset(shown) | frozenset(said or ())
        if said if own else not shown and said is None:
            empty.append(name)
    if not first_frame and first is not None:
        raise UserError(f"{first}: {no_object_message()}")
    if not every:
        return Appearances(first_frame)
    if absent == "told" and empty:
        log.warning(
            "masks that show nothing, taken to tell that %s there: of %s; leave a mask out that is not to tell it",
            "their object is not" if masks.form in ("objects", "annotations") else "no object is",
            several(empty),
        )
    start = min(first_frame.values(), default=0)
    prompt_frames = tuple(index for index, _ in order if index != start)
    return Appearances(first_frame, prompt_frames, annotated_ids if absent == "told" else {})
