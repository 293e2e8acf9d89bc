"""Masks that another program made for the sequences of a data set: where they may lie, their checks, their reading.

    RESULTS/SEQUENCE/...             in any form that data/mask_files/formats.py or annotation_files.py reads
    RESULTS/masks/SEQUENCE/...       as an evaluation writes; also RESULTS/Annotations/..., as servers take them
    RESULTS.zip                      with one of these in it
    RESULTS.json                     run-length codes of all sequences, or RESULTS/SEQUENCE.json of each; or CVAT's .xml

Masks of a single sequence may lie in RESULTS itself.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from collections.abc import Sequence as Names
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from eosvos.data.image_files import several
from eosvos.data.mask_files.annotation_files import find_annotations, open_annotations, open_of_one_video
from eosvos.data.mask_files.formats import KINDS, MaskSet, describe_forms, open_masks
from eosvos.data.mask_files.match_frames import rename_as_frames
from eosvos.data.sequence import VideoSequence
from eosvos.data.user_files import list_entries, list_files, list_folders
from eosvos.errors import UserError
from eosvos.evaluation.metrics.region_contour import ScoringRules, counts
from eosvos.files import shipped, unpacked

_EMPTY = "write what is missing, or count it as empty with missing=empty"
_WITHIN = ("masks", "Annotations", "Annotations/480p")  # where an evaluation, or a submission, has its sequences
# What sequences are called where no list of them ships.
_NAMES = {
    "YouTube-VOS": r"[0-9a-f]{10}",
    "SA-V": r"sav_\d{6}",
    "MOSE or LVOS": r"[0-9a-zA-Z]{8}",
    "YouTube-Objects": r"(aeroplane|bird|boat|car|cat|cow|dog|horse|motorbike|train)_\d{4}_\d{3}",
}


@dataclass(frozen=True)
class Predictions:
    """The masks of one sequence: `predictions(i)` is the id mask of frame i, uint8 (H, W). Picklable."""

    name: str
    frame_names: Names[str]
    size: tuple[int, int]
    objects: tuple[int, ...]
    masks: MaskSet | None = field(repr=False)  # None: the sequence has no masks
    empty: bool  # whether missing masks count as empty

    def __call__(self, index: int) -> np.ndarray:
        """Read a mask. Raises UserError if it is missing, cannot be read, or has another size than the frame."""
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
    def overlap_pixels(self) -> dict[str, int]:
        """Number of overlapping pixels by frame name, of the frames read so far; see `data.masks.stack_masks`."""
        return {} if self.masks is None else self.masks.overlap_pixels

    @property
    def files(self) -> list[Path]:
        """All files of the masks, sorted."""
        files_of_frames = {} if self.masks is None else self.masks.files
        return sorted({path for name in self.frame_names for path in files_of_frames.get(name, ())})


@contextmanager
def open_predictions(
    results: str | Path,
    sequences: Collection[VideoSequence],
    rules: ScoringRules,
    *,
    out: Path,
    dataset: str,
    missing: str = "error",
    binary: bool | None = None,
) -> Iterator[tuple[dict[str, Predictions], list[str]]]:
    """Find and check the masks of sequences; yields them by sequence name, and messages for the user.

    A zip file is unpacked for as long as the context lasts. All files are looked at before anything is yielded; masks
    are decoded only to recognise their format.

    Args:
        results: folder, zip file or JSON file, see the module.
        sequences: the sequences to score.
        rules: rules of scoring; they determine which frames need a mask.
        out: where results will be written.
        dataset: name of the data set, for messages.
        missing: "error", or "empty" to count missing masks as empty.
        binary: whether all values but 0 are one object; None: it is recognised.

    Raises:
        UserError: if there are no masks of these sequences (the message names the folder or data set that was probably
            meant), masks are missing, wrongly numbered, of another size, damaged, JPEGs, or show one object where there
            are several; or if `out` lies among the masks.
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
        absent, messages = [name for name in names if name not in places], []
        if absent and missing == "error":
            raise UserError(
                f"results={results}: no masks of {len(absent)} of the {len(names)} sequences of {dataset}: "
                f"{several(absent)}{recognised([*places, *others], dataset)}; write them, leave them out with "
                "sequences=[...], or count them as empty with missing=empty"
            )
        if absent:
            messages.append(f"beware: {len(absent)} sequences without any mask are counted as empty: {several(absent)}")
        if others:
            messages.append(f"not in {dataset}, and left aside: {several(others)}")
        predictions, more_messages = _open(places, sequences, rules, missing, binary)
        yield predictions, messages + more_messages


def _open(
    places: Mapping[str, Path | MaskSet],
    sequences: Collection[VideoSequence],
    rules: ScoringRules,
    missing: str,
    binary: bool | None,
) -> tuple[dict[str, Predictions], list[str]]:
    absent, extra = dict[str, list[str]](), dict[str, list[str]]()
    predictions, mask_sets, is_own_truth = {}, {}, False
    for sequence in sequences:
        place = places.get(sequence.name)
        if isinstance(place, Path):
            if files := find_annotations(place):
                place = open_of_one_video(files, absent="all", size=sequence.size)
            else:
                place = open_masks(place, sequence.frame_names, binary=binary, size=sequence.size)
        if place is not None and place.by_frame_number:
            place = rename_as_frames(next(iter(place.files.values()))[0], place, sequence.frame_names)
        if place is not None:
            mask_sets[sequence.name] = place
            one = next(iter(place.files.values()))[0]
            is_own_truth = is_own_truth or any(path.name == one.name and path.samefile(one) for path in sequence.files)
            _check_objects(sequence, place)
            absent[sequence.name], extra[sequence.name] = _check_frames(sequence, place, rules, missing)
        objects, empty = tuple(sequence.first_frame), missing == "empty"
        prediction = Predictions(sequence.name, sequence.frame_names, sequence.size, objects, place, empty)
        if place is not None and place.form == "annotations":  # of others the headers have told the size
            prediction(next(index for index, name in enumerate(sequence.frame_names) if name in place.files))
        predictions[sequence.name] = prediction
    messages = [describe_forms(mask_sets), *_told(absent, "missing masks are counted as empty")]
    messages += _told(extra, "masks are of no frame and left aside")
    if is_own_truth:
        messages.append("beware: these are the data set's own masks")
    return predictions, messages


def _check_objects(sequence: VideoSequence, masks: MaskSet) -> None:
    if masks.form == "binary" and len(sequence.first_frame) > 1:
        first, ids = next(iter(masks.files.values()))[0], several(list(map(str, sequence.first_frame)))
        raise UserError(
            f"{first}: the masks of {sequence.name} show one object ({masks.description}), and the sequence has"
            f" the objects {ids}; save each object's pixels with its id"
        )


def _told(frames: Mapping[str, Names], what: str) -> list[str]:
    """Summarise frames by sequence in one line; returns no line if there are none."""
    affected = {name: names for name, names in frames.items() if names}
    if len(affected) < 2:
        return [f"beware: {name}: {len(names)} {what}: {several(names)}" for name, names in affected.items()]
    shown = several([f"{name} ({several(names, 3)})" for name, names in affected.items()], 3)
    return [f"beware: {sum(map(len, affected.values()))} {what}, of {len(affected)} sequences: {shown}"]


def _check_frames(
    sequence: VideoSequence, masks: MaskSet, rules: ScoringRules, missing: str
) -> tuple[list[str], list[str]]:
    """Find frames that need a mask and have none, and masks that belong to no frame.

    Raises UserError if masks are missing that must not, or are numbered differently from the frames.
    """
    there = list(masks.files)
    extra = sorted(set(there) - set(sequence.frame_names))
    without = [index for index, name in enumerate(sequence.frame_names) if name not in masks.files]
    absent = [sequence.frame_names[index] for index in counts(sequence, without, rules)]
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
    """Describe how masks are numbered differently from the frames; None if no system is found.

    frames: names of the frames. there: names of the masks. extra: names of masks that belong to no frame.
    """
    wanted, numbers = ([re.sub(r"^\D+", "", name) for name in names] for names in (frames, there))
    if not all(name.isdecimal() for name in [*wanted, *numbers]):
        return None
    first, last = sorted(map(int, wanted)), sorted(map(int, numbers))
    if set(last) <= set(first):
        number = int(re.sub(r"^\D+", "", extra[0]))
        return f"{extra[0]}, where the frame is called {frames[first.index(number)]}"
    offset = last[0] - first[0]
    if len(first) == len(last) and offset and last == [number + offset for number in first]:
        return f"they begin with {there[0]}, the frames with {frames[0]}"
    if last == list(range(last[0], last[0] + len(last))) and len(first) == len(last):
        return f"{there[0]} to {there[-1]} one by one, the frames are {frames[0]} to {frames[-1]}"
    return None


def find_masks(
    folder: Path, sequences: Collection[VideoSequence], dataset: str, *, given: Path
) -> tuple[Mapping[str, Path | MaskSet], list[str]]:
    """Find where the masks of each sequence are.

    Args:
        folder: where to look.
        sequences: the sequences to score.
        dataset: name of the data set, for messages.
        given: what the user called the folder, for messages.

    Returns:
        Folder or masks by sequence name, for the sequences that have any; and the names of other sequences found.

    Raises:
        UserError: if there are no masks of any of the sequences.
    """
    names = {sequence.name for sequence in sequences}
    if not folder.exists():
        raise UserError(f"results={given}: does not exist; give a folder, zip or JSON file with the masks")
    if folder.is_file():
        if folder.suffix.lower() not in (".json", ".xml"):
            raise UserError(
                f"results={given}: is a file; give a folder with a folder of masks for each sequence, or its zip"
            )
        videos = open_annotations(folder, absent="all", size=next(iter(sequences)).size)
        if set(videos) == {""} and len(names) == 1:
            videos = {next(iter(names)): videos[""]}
        if not names & set(videos):
            raise _foreign(given, sorted(videos), dataset)
        return videos, sorted(set(videos) - names)
    for base in (folder, *(folder / part for part in _WITHIN)):
        there = {name: base / name for name in list_folders(base)}
        codes = (
            {path.stem: path for path in list_files(base, (".json", ".xml")) if path.stem in names}
            if base.is_dir()
            else {}
        )
        if names & {*there, *codes}:
            sizes = {sequence.name: sequence.size for sequence in sequences}
            coded = {
                name: next(iter(open_annotations(path, absent="all", size=sizes[name]).values()))
                for name, path in codes.items()
                if name not in there
            }
            there = {name: path for name, path in there.items() if list_entries(path)}
            return {**there, **coded}, [name for name in there if name not in names and name not in _WITHIN]
    only = next(iter(sequences))
    if len(names) == 1 and {path.stem for path in list_files(folder, KINDS)} & set(only.frame_names):
        return {only.name: folder}, []
    raise _misplaced(folder, given, names, dataset)


def _misplaced(folder: Path, given: Path, names: set[str], dataset: str) -> UserError:
    """Build the error for a folder without a sequence: which folder or data set was probably meant."""
    below = [Path(one) for one in list_folders(folder)]
    below += [one / two for one in below for two in list_folders(folder / one)]
    for path in below:
        if hits := names & set(list_folders(folder / path)):
            return UserError(
                f"results={given}: {'a level' if len(path.parts) == 1 else 'two levels'} too high: {len(hits)} of the"
                f" {len(names)} sequences of {dataset} are in {given / path}; give results={given / path}"
                if folder == given
                else f"results={given}: the sequences are in {path} within the zip; pack them at its top level"
            )
    here = folder.resolve()
    for above in list(here.parents)[:2]:
        if here.relative_to(above).parts[0] in names and names & set(list_folders(above)) and folder == given:
            return UserError(
                f"results={given}: lies within the masks of the sequence {here.relative_to(above).parts[0]}; give the"
                f" folder above: results={above}, or this sequence alone with sequences=[...]"
            )
    return _foreign(given, list_folders(folder), dataset)


def _foreign(given: Path, there: list[str], dataset: str) -> UserError:
    return UserError(
        f"results={given}: no masks of any sequence of {dataset}; there is {several(there) or 'no folder'}"
        f"{recognised(there, dataset)}; expected is a folder of masks for each sequence"
    )


def recognised(there: Collection[str], dataset: str) -> str:
    """Say which data set has sequences of these names, as part of a message; empty if none is known."""
    if not there:
        return ""
    lists = {
        path.stem: set(path.read_text(encoding="utf-8").split()) for path in shipped("tasksets").glob("davis1?-*.txt")
    }
    best = max(lists, key=lambda name: (len(lists[name] & set(there)), -len(lists[name])), default=None)
    if best is not None and len(lists[best] & set(there)) >= 0.8 * len(there):
        kind, _, split = best.partition("-")
        return "" if best == dataset else f" (by their names, these are of dataset={kind} split={split})"
    kind_by_pattern = next(
        (name for name, form in _NAMES.items() if all(re.fullmatch(form, one) for one in there)), None
    )
    return f" (by their names, these are of {kind_by_pattern})" if kind_by_pattern else ""
