"""Masks that another program made of the sequences of a data set: checked before any work, read frame by frame."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from collections.abc import Sequence as Names
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from eosvos.data.image_files import several
from eosvos.data.mask_files.formats import MaskSet, forms, open_masks
from eosvos.data.sequence import Sequence
from eosvos.errors import UserError
from eosvos.evaluation.places import find_masks, recognised
from eosvos.evaluation.score_sequence import Measures, counts
from eosvos.files import unpacked

_EMPTY = "write what is missing, or count it as empty with missing=empty"


@dataclass(frozen=True)
class Predictions:
    """The masks of one sequence; `predictions(i)` is the id mask uint8 (H, W) of frame i. May be pickled."""

    name: str
    frame_names: Names[str]
    size: tuple[int, int]
    objects: tuple[int, ...]
    masks: MaskSet | None = field(repr=False)  # None: there are none at all
    empty: bool  # what is missing is an empty mask

    def __call__(self, index: int) -> np.ndarray:
        """Raises UserError where the mask is missing, cannot be read, or has not the frames' size."""
        name = self.frame_names[index]
        if self.masks is None or name not in self.masks.files:
            if self.empty:
                return np.zeros(self.size, np.uint8)
            raise UserError(f"{self.name}: no mask for frame {name}; {_EMPTY}")
        mask = self.masks.read(name)
        if mask.shape != self.size:
            (height, width), place = mask.shape, self.masks.files[name][0]
            raise UserError(
                f"{place}: the mask of {self.name} {name} is {width}x{height} pixels, but its frame is {self.size[1]}x"
                f"{self.size[0]}; write the masks at the frames' size"
            )
        if self.masks.form == "binary" and len(self.objects) == 1:  # it says which pixels, not whose
            return mask * np.uint8(self.objects[0])
        return mask

    @property
    def shared(self) -> dict[str, int]:
        """Frames read so far in which objects overlap, and how many pixels; see `masks.stacked`."""
        return {} if self.masks is None else self.masks.shared

    @property
    def files(self) -> list[Path]:
        """All that is read, each once."""
        found = {} if self.masks is None else self.masks.files
        return sorted({path for name in self.frame_names for path in found.get(name, ())})


@contextmanager
def opened(
    results: str | Path,
    sequences: Collection[Sequence],
    measures: Measures,
    *,
    out: Path,
    dataset: str,
    missing: str = "error",
    binary: bool | None = None,
) -> Iterator[tuple[dict[str, Predictions], list[str]]]:
    """Yield the masks of every sequence, by name, and what a user should be told about them.

    `out`: where figures will go. `dataset`: what the sequences are called, for messages. `missing`: "error", or "empty"
    to take sequences and frames without a mask as predicted empty. `binary`: all that is not 0 is one object; None
    looks. A zip file is unpacked for as long as this lasts. The bytes of masks are looked at before anything is
    yielded, and as many are decoded as it takes to know their form.

    Raises UserError where there are no masks of these sequences (saying which folder or data set was meant instead),
    some are missing, wrongly numbered, of another size, damaged or JPEGs, or hold one object where ids are due; and
    where `out` lies among them.
    """
    results = Path(results).expanduser()
    with ExitStack() as stack:
        zipped = results.suffix.lower() == ".zip" and results.is_file()
        folder = stack.enter_context(unpacked(results)) if zipped else results
        places, others = find_masks(folder, sequences, dataset, given=results)
        for place in places.values():
            among = place if place == folder or not isinstance(place, Path) else place.parent
            if isinstance(among, Path) and Path(out).resolve().is_relative_to(among.resolve()):
                raise UserError(f"out={out}: lies among the masks, which are left as they are; choose another out=")
        names = [sequence.name for sequence in sequences]
        absent, told = [name for name in names if name not in places], []
        if absent and missing == "error":
            raise UserError(
                f"results={results}: no masks of {len(absent)} of the {len(names)} sequences of {dataset}: "
                f"{several(absent)}{recognised([*places, *others], dataset)}; write them, leave them out with "
                "sequences=[...], or count them as empty with missing=empty"
            )
        if absent:
            told.append(f"beware: {len(absent)} sequences without any mask are counted as empty: {several(absent)}")
        if others:
            told.append(f"not in {dataset}, and left aside: {several(others)}")
        found, more = _open(places, sequences, measures, missing, binary)
        yield found, told + more


def _open(
    places: Mapping[str, Path | MaskSet],
    sequences: Collection[Sequence],
    measures: Measures,
    missing: str,
    binary: bool | None,
) -> tuple[dict[str, Predictions], list[str]]:
    absent, extra = dict[str, list[str]](), dict[str, list[str]]()
    found, sets, own = {}, {}, False
    for sequence in sequences:
        place = places.get(sequence.name)
        if isinstance(place, Path):
            place = open_masks(place, sequence.frame_names, binary=binary, size=sequence.size)
        if place is not None:
            sets[sequence.name] = place
            one = next(iter(place.files.values()))[0]
            own = own or any(path.name == one.name and path.samefile(one) for path in sequence.files)
            _check_objects(sequence, place)
            absent[sequence.name], extra[sequence.name] = _check_frames(sequence, place, measures, missing)
        objects, empty = tuple(sequence.objects), missing == "empty"
        mine = Predictions(sequence.name, sequence.frame_names, sequence.size, objects, place, empty)
        if place is not None and place.form == "json":  # of others the headers have told the size
            mine(next(index for index, name in enumerate(sequence.frame_names) if name in place.files))
        found[sequence.name] = mine
    told = [forms(sets), *_told(absent, "missing masks are counted as empty")]
    told += _told(extra, "masks are of no frame and left aside")
    if own:
        told.append("beware: these are the data set's own masks")
    return found, told


def _check_objects(sequence: Sequence, masks: MaskSet) -> None:
    if masks.form == "binary" and len(sequence.objects) > 1:
        first, ids = next(iter(masks.files.values()))[0], several(list(map(str, sequence.objects)))
        raise UserError(
            f"{first}: the masks of {sequence.name} show one object ({masks.told}), and the sequence has the objects"
            f" {ids}; save each object's pixels with its id"
        )


def _told(frames: Mapping[str, Names], what: str) -> list[str]:
    """A line on some frames of sequences, whether there are one or hundreds of these; none without any."""
    of = {name: names for name, names in frames.items() if names}
    if len(of) < 2:
        return [f"beware: {name}: {len(names)} {what}: {several(names)}" for name, names in of.items()]
    shown = several([f"{name} ({several(names, 3)})" for name, names in of.items()], 3)
    return [f"beware: {sum(map(len, of.values()))} {what}, of {len(of)} sequences: {shown}"]


def _check_frames(sequence: Sequence, masks: MaskSet, measures: Measures, missing: str) -> tuple[list[str], list[str]]:
    """The frames that lack a mask and have to have one, and masks of no frame. Raises UserError where some are missing
    that must not, or are misnumbered."""
    there = list(masks.files)
    extra = sorted(set(there) - set(sequence.frame_names))
    without = [index for index, name in enumerate(sequence.frame_names) if name not in masks.files]
    absent = [sequence.frame_names[index] for index in counts(sequence, without, measures)]
    place = f"{masks.files[there[0]][0].parent}" if there else sequence.name
    if without and extra and (shift := _renumbered(sequence.frame_names, there, extra)):
        raise UserError(
            f"{place}: the masks of {sequence.name} are wrongly numbered: {shift}; give them the frames' names"
        )
    others = f"; of no frame are {several(extra)}" if extra else ""
    if absent and missing == "error":
        raise UserError(f"{place}: no masks of {sequence.name} for the frames {several(absent)}{others}; {_EMPTY}")
    return absent, extra


def _renumbered(frames: Names, there: Names, extra: Names) -> str | None:
    """In what way the names of masks, of which `extra` are those of no frame, have other numbers than the frames; None
    where they have, and it is no system."""
    wanted, found = ([re.sub(r"^\D+", "", name) for name in names] for names in (frames, there))
    if not all(name.isdecimal() for name in [*wanted, *found]):
        return None
    first, last = sorted(map(int, wanted)), sorted(map(int, found))
    if set(last) <= set(first):
        number = int(re.sub(r"^\D+", "", extra[0]))
        return f"{extra[0]}, where the frame is called {frames[first.index(number)]}"
    offset = last[0] - first[0]
    if len(first) == len(last) and offset and last == [number + offset for number in first]:
        return f"they begin with {there[0]}, the frames with {frames[0]}"
    if last == list(range(last[0], last[0] + len(last))) and len(first) == len(last):
        return f"{there[0]} to {there[-1]} one by one, the frames are {frames[0]} to {frames[-1]}"
    return None
