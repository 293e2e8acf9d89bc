"""DAVIS 2016 and 2017, as they are distributed: JPEGImages/480p/SEQ/00000.jpg, Annotations/480p/SEQ/00000.png.

In 2016 every sequence has one object, stored as 0 and 255; in 2017 the pixel value is the object id. The first frame of
a sequence shows all its objects. test-dev and test-challenge have masks of the first frames only. The videos of 2016
have attributes ("AC", appearance change, ...), which are read from the data set's db_info.yml if it is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from eosvos.data.image_files import MASKS, frames_or_masks, several
from eosvos.data.readers.image_sequence import check_numbers, match_masks, stored_sequence
from eosvos.data.readers.locate import existing_folder, suggest_root
from eosvos.data.sequence import VideoSequence
from eosvos.data.user_files import list_files, list_folders
from eosvos.errors import UserError
from eosvos.files import shipped, shipped_list

_RESOLUTIONS = {"480p": ("480p",), "full": ("Full-Resolution", "1080p")}
_INFO = ("Annotations/db_info.yml", "Annotations/db_info.yaml", "db_info.yml", "db_info.yaml", "data/db_info.yaml")


def open_davis(
    root: str | Path,
    *,
    year: int,
    split: str | None = None,
    resolution: str = "480p",
    sequences: Sequence[str] = (),
    frames: bool = True,
) -> list[VideoSequence]:
    """Open the sequences of a split. All files are checked before anything is returned.

    Args:
        root: folder that holds JPEGImages and Annotations, or a folder such as DAVIS-2016 or DAVIS that does.
        year: 2016 or 2017.
        split: "train", "val", "trainval", "test-dev", "test-challenge", or the name of ImageSets/<year>/<split>.txt.
            None: all sequences of the folder if `sequences` is given, else "val".
        resolution: "480p" or "full".
        sequences: names to choose, from the split if one is given; empty: all.
        frames: whether frames are needed. If they are not and their folder is missing, names and size are those of the
            masks.

    Raises:
        UserError: if the root, the split, a sequence or a file is missing or broken.
    """
    if year not in (2016, 2017):
        raise UserError(f"year={year}: there are DAVIS 2016 and DAVIS 2017; use year=2016 or year=2017")
    if resolution not in _RESOLUTIONS:
        raise UserError(f'resolution="{resolution}": use one of {", ".join(_RESOLUTIONS)}')
    candidates = _find_roots(Path(root).expanduser(), year, frames)
    chosen = list(dict.fromkeys(sequences))
    if split is None and not chosen:
        split = "val"
    wanted = chosen
    base, images = candidates[0], _images(candidates[0], resolution, frames)
    if split is not None:
        names = read_split(year, split, candidates)
        foreign = [name for name in chosen if name not in names]
        if foreign:
            raise UserError(
                f"sequences={several(foreign)}: not in split={split} of DAVIS {year}, which has {several(names)};"
                " correct the names, or leave split= out to take any sequence of the folder"
            )
        wanted = chosen or names
    for other in candidates:  # trainval and test-dev may lie side by side
        folder = _images(other, resolution, frames)
        if set(wanted) <= set(list_folders(folder)):
            base, images = other, folder
            break
    present = list_folders(images)
    missing = [name for name in wanted if name not in present]
    if missing:
        raise UserError(_missing(images, year, split, missing, len(wanted), present))
    annotations = base / "Annotations" / images.name
    if not annotations.is_dir():
        raise UserError(f"{annotations}: this folder is missing; the masks of {images} are expected there")
    attributes = _attributes([base, *candidates], year)
    opened = [_open(images / name, annotations / name, name, year, split) for name in wanted]
    return [replace(sequence, attributes=attributes.get(sequence.name, ())) for sequence in opened]


def read_split(year: int, split: str, roots: Sequence[Path] = ()) -> list[str]:
    """Return the sequence names of a split, from `tasksets/` or else from the data set's ImageSets.

    Args:
        year: 2016 or 2017.
        split: name of the split.
        roots: folders in which ImageSets may lie.

    Raises:
        UserError: if there is no such split.
    """
    lists = shipped("tasksets")
    known = sorted(p.stem for p in lists.glob(f"davis{year % 100}-*.txt"))
    files = [root / "ImageSets" / str(year) / f"{split}.txt" for root in roots]
    files.insert(0, lists / f"davis{year % 100}-{split}.txt")
    for file in files:
        if file.is_file():
            return [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    names = [name.split("-", 1)[1] for name in known]
    places = "".join(f" nor in {file}" for file in files[-len(roots) :]) if roots else ""
    raise UserError(f"split={split}: not a split of DAVIS {year}{places}; use one of {', '.join(names)}")


def _find_roots(root: Path, year: int, frames: bool) -> list[Path]:
    """The folders with JPEGImages, or without `frames` Annotations, that `root` is or holds, best first."""

    def holds(path: Path) -> bool:
        return _top(path, frames).is_dir()

    root = existing_folder(root, f"DAVIS {year}", "JPEGImages and Annotations")
    if holds(root):
        return [root]
    tops = [root / n for n in (f"DAVIS-{year}", f"DAVIS{year}", f"DAVIS_{year}", f"davis{year}", f"davis{year % 100}")]
    tops += [root / "DAVIS", root / "davis", root]
    levels = ("", "DAVIS", "trainval", "trainval/DAVIS", "test-dev", "test-dev/DAVIS", "test_dev", "test-challenge")
    roots = [top / level for top in tops for level in levels if holds(top / level)]
    roots += [p for p in sorted(root.glob(f"DAVIS*{year}*")) if holds(p) and p not in roots]
    if not roots:
        raise UserError(
            f"data_root={root}: no DAVIS {year} found: neither JPEGImages nor a folder such as DAVIS-{year} or DAVIS"
            f" that holds it; {suggest_root(root, holds, name=f'DAVIS {year}')}"
            f"there is {several(list_folders(root)) or 'no folder at all'}"
        )
    return roots


def _attributes(bases: Sequence[Path], year: int) -> dict[str, tuple[str, ...]]:
    """Video -> its attributes, from db_info.yml; where that is not there, those of 2016 from the list that ships."""
    file = next((base / name for base in bases for name in _INFO if (base / name).is_file()), None)
    if file is None:
        rows = (line.partition(":") for line in (shipped_list("attributes-davis16.txt") if year == 2016 else ()))
        return {name: tuple(words.split()) for name, _, words in rows}
    try:
        entries = yaml.safe_load(file.read_text(encoding="utf-8"))["sequences"]
        return {str(entry["name"]): tuple(map(str, entry.get("attributes") or ())) for entry in entries}
    except (yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{file}: not the db_info of DAVIS, a list `sequences` with `name` and `attributes` ({error!r}); fetch it"
            " again, or remove it"
        ) from error


def _top(base: Path, frames: bool) -> Path:
    return frames_or_masks(base / "JPEGImages", base / "Annotations", frames)


def _images(base: Path, resolution: str, frames: bool) -> Path:
    """The folder of a resolution; the first of its names if there is none and others are to be tried."""
    top = _top(base, frames)
    paths = [top / name for name in _RESOLUTIONS[resolution]]
    for path in paths:
        if path.is_dir():
            return path
    there = list_folders(top)
    raise UserError(
        f"{paths[0]}: this folder is missing, which resolution={resolution} needs; {top} holds"
        f" {several(there) or 'nothing'}"
        + ("; a data set without resolution folders is opened with dataset=folder" if there else "")
    )


def _missing(images: Path, year: int, split: str | None, missing: list[str], count: int, present: list[str]) -> str:
    whose = f"of the {count} sequences of split={split}" if split else f"of the {count} given in sequences="
    message = f"{images}: {len(missing)} {whose} are missing: {several(missing)};"
    message += f" there is {several(present) or 'none'}. "
    for name in ("train", "val", "trainval", "test-dev", "test-challenge"):
        try:
            names = read_split(year, name)
        except UserError:
            continue
        if split not in (None, name) and present and sorted(names) == sorted(present):
            return message + (
                f"This folder holds the {len(present)} sequences of split={name}: use split={name}, or choose some with"
                " sequences=[...]"
            )
    return message + "Choose among those that are there with sequences=[...], or give another data_root="


def _open(images: Path, annotations: Path, name: str, year: int, split: str | None) -> VideoSequence:
    frames = list_files(images)
    if not frames:
        raise UserError(f"{images}: no frames in this folder; .jpg files are expected")
    files = list_files(annotations, MASKS) if annotations.is_dir() else []
    if not files:
        raise UserError(f"{annotations}: no masks for sequence {name}; .png files named as the frames are expected")
    masks = match_masks(frames, files)
    if 0 not in masks:
        raise UserError(f"{annotations}: no mask for the first frame {frames[0].stem}; every sequence starts from one")
    first_only = len(masks) == 1 and split not in ("train", "val", "trainval")
    without = [path.stem for i, path in enumerate(frames) if i not in masks]
    if without and not first_only:
        raise UserError(
            f"{annotations}: {len(masks)} masks for {len(frames)} frames; missing: {several(without)}. Fetch the whole"
            " data set (masks on some frames only are read by dataset=folder)"
        )
    check_numbers(frames)
    opened = stored_sequence(name, frames, masks, binary=year == 2016, later_objects=False)
    return replace(opened, has_ground_truth=not without)
