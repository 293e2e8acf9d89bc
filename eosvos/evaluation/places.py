"""Where the masks are that another program made of the sequences of a data set, and what was meant if nowhere.

    RESULTS/SEQUENCE/...             in any form that data/mask_files/formats.py reads
    RESULTS/masks/SEQUENCE/...       as an evaluation writes; also RESULTS/Annotations/..., as servers take them
    RESULTS.zip                      with one of these in it
    RESULTS.json                     run-length codes of all sequences, or RESULTS/SEQUENCE.json of each

Masks of a single sequence may lie in RESULTS itself.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path

from eosvos.data.image_files import several
from eosvos.data.mask_files.formats import KINDS, MaskSet
from eosvos.data.mask_files.json_files import open_json
from eosvos.data.sequence import Sequence
from eosvos.data.user_files import entries, folders, listing
from eosvos.errors import UserError
from eosvos.files import shipped

_WITHIN = ("masks", "Annotations", "Annotations/480p")  # where an evaluation, or a submission, has its sequences
# What sequences are called where no list of them ships.
_NAMES = {
    "YouTube-VOS": r"[0-9a-f]{10}",
    "SA-V": r"sav_\d{6}",
    "MOSE or LVOS": r"[0-9a-zA-Z]{8}",
    "YouTube-Objects": r"(aeroplane|bird|boat|car|cat|cow|dog|horse|motorbike|train)_\d{4}_\d{3}",
}


def find_masks(
    folder: Path, sequences: Collection[Sequence], dataset: str, *, given: Path
) -> tuple[Mapping[str, Path | MaskSet], list[str]]:
    """Where in `folder` the masks of each sequence are that has any, and the names of others that are there.

    `given`, `dataset`: what a user calls the folder and the sequences, for messages. Raises UserError where there are
    no masks of any of the sequences.
    """
    names = {sequence.name for sequence in sequences}
    if not folder.exists():
        raise UserError(f"results={given}: does not exist; give a folder, zip or JSON file with the masks")
    if folder.is_file():
        if folder.suffix.lower() != ".json":
            raise UserError(
                f"results={given}: is a file; give a folder with a folder of masks for each sequence, or its zip"
            )
        videos = open_json(folder, absent="all", size=next(iter(sequences)).size)
        if set(videos) == {""} and len(names) == 1:
            videos = {next(iter(names)): videos[""]}
        if not names & set(videos):
            raise _foreign(given, sorted(videos), dataset)
        return videos, sorted(set(videos) - names)
    for base in (folder, *(folder / part for part in _WITHIN)):
        there = {name: base / name for name in folders(base)}
        codes = {path.stem: path for path in listing(base, (".json",)) if path.stem in names} if base.is_dir() else {}
        if names & {*there, *codes}:
            sizes = {sequence.name: sequence.size for sequence in sequences}
            coded = {
                name: next(iter(open_json(path, absent="all", size=sizes[name]).values()))
                for name, path in codes.items()
                if name not in there
            }
            there = {name: path for name, path in there.items() if entries(path)}
            return {**there, **coded}, [name for name in there if name not in names and name not in _WITHIN]
    only = next(iter(sequences))
    if len(names) == 1 and {path.stem for path in listing(folder, KINDS)} & set(only.frame_names):
        return {only.name: folder}, []
    raise _misplaced(folder, given, names, dataset)


def _misplaced(folder: Path, given: Path, names: set[str], dataset: str) -> UserError:
    """The error where no sequence is in `folder`: which folder was meant, or which data set the masks are of."""
    below = [Path(one) for one in folders(folder)]
    below += [one / two for one in below for two in folders(folder / one)]
    for path in below:
        if hits := names & set(folders(folder / path)):
            return UserError(
                f"results={given}: {'a level' if len(path.parts) == 1 else 'two levels'} too high: {len(hits)} of the"
                f" {len(names)} sequences of {dataset} are in {given / path}; give results={given / path}"
                if folder == given
                else f"results={given}: the sequences are in {path} within the zip; pack them at its top level"
            )
    here = folder.resolve()
    for above in list(here.parents)[:2]:
        if here.relative_to(above).parts[0] in names and names & set(folders(above)) and folder == given:
            return UserError(
                f"results={given}: lies within the masks of the sequence {here.relative_to(above).parts[0]}; give the"
                f" folder above: results={above}, or this sequence alone with sequences=[...]"
            )
    return _foreign(given, folders(folder), dataset)


def _foreign(given: Path, there: list[str], dataset: str) -> UserError:
    return UserError(
        f"results={given}: no masks of any sequence of {dataset}; there is {several(there) or 'no folder'}"
        f"{recognised(there, dataset)}; expected is a folder of masks for each sequence"
    )


def recognised(there: Collection[str], dataset: str) -> str:
    """Which data set has sequences of these names, as a part of a message; nothing where none is known to."""
    if not there:
        return ""
    lists = {
        path.stem: set(path.read_text(encoding="utf-8").split()) for path in shipped("tasksets").glob("davis1?-*.txt")
    }
    best = max(lists, key=lambda name: (len(lists[name] & set(there)), -len(lists[name])), default=None)
    if best is not None and len(lists[best] & set(there)) >= 0.8 * len(there):
        kind, _, split = best.partition("-")
        return "" if best == dataset else f" (by their names, these are of dataset={kind} split={split})"
    found = next((name for name, form in _NAMES.items() if all(re.fullmatch(form, one) for one in there)), None)
    return f" (by their names, these are of {found})" if found else ""
