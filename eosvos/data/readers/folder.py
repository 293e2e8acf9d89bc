"""Videos of a user: a folder of frames and a folder of masks, in any of these layouts.

    ROOT/JPEGImages/SEQ/*.jpg       ROOT/Annotations/SEQ/*.png       (as DAVIS, also with 480p/ and the like between)
    ROOT/frames/SEQ/*.jpg           ROOT/masks/SEQ/*.png
    ROOT/frames/*.jpg               ROOT/masks/*.png                 (a single video)
    any of these frames             ROOT/masks.json or .xml, or SEQ.json or .xml in the folder of the masks

A mask has the name of its frame. Frames may lack masks, and objects may first appear in any of them. The forms of masks
are described in mask_files/formats.py and mask_files/annotation_files.py.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from eosvos.data.image_files import check_file, several
from eosvos.data.images import choose_span_of_files, describe_conversions
from eosvos.data.levels import Levels, Span
from eosvos.data.mask_files.annotation_files import find_annotations, open_annotations, open_of_one_video
from eosvos.data.mask_files.appearances import appearances
from eosvos.data.mask_files.checks import doubts
from eosvos.data.mask_files.formats import MaskSet, log_forms, open_masks, read_named
from eosvos.data.mask_files.match_frames import rename_as_frames
from eosvos.data.readers.image_sequence import frame_reader, no_frames_message
from eosvos.data.readers.locate import suggest_root
from eosvos.data.sequence import VideoSequence
from eosvos.data.user_files import list_files, list_folders
from eosvos.errors import UserError

log = logging.getLogger(__name__)

_LAYOUTS = (("JPEGImages", "Annotations"), ("frames", "masks"))
_RESOLUTIONS = ("480p", "Full-Resolution", "1080p")


def open_folder(
    root: str | Path,
    *,
    sequences: Sequence[str] = (),
    binary: bool | None = None,
    every: bool = False,
    levels: Levels = "auto",
    absent: str | None = None,
    need_frames: bool = True,
) -> list[VideoSequence]:
    """Open the videos of a folder with frames and masks.

    All masks are read once, to find the frames in which objects first appear. How masks are interpreted is logged.

    Args:
        root: the folder, in one of the layouts above.
        sequences: names of videos; empty: all.
        binary: whether masks show one object, as every value but 0. None: they do if all masks of a video hold nothing
            but 0 and 255.
        every: whether a method receives all masks (`VideoSequence.prompt_frames`). Masks before the first object may
            then be empty, which says that it is not there yet.
        levels: which values of frames of more than 8 bits become 0 and 255, see levels.py.
        absent: what masks say about objects that they do not show, see `appearances`, and about images without
            annotation in files of tools, see `open_annotations`. None: as in a data set, masks are complete.
        need_frames: whether the folder of frames must exist.

    Raises:
        UserError: if the root, frames or masks are missing, a mask has no frame or another size, a file is broken, or
            the first mask of a video shows no object.
    """
    root = Path(root).expanduser()
    images, annotations = _find(root, need_frames)
    names = list_folders(images)
    single = not names
    if single:
        names = [root.resolve().name]
    chosen = list(dict.fromkeys(sequences)) or names
    unknown = [name for name in chosen if name not in names]
    if unknown:
        raise UserError(f"sequences={several(unknown)}: not in {images}, which holds {several(names, 20)}")
    listed = open_annotations(annotations, absent=absent) if annotations.is_file() else None
    opened: list[VideoSequence] = []
    taken: dict[str, MaskSet] = {}
    for name in chosen:
        folder = images if single else images / name
        frames, size, span = open_frames(
            folder if list_files(folder) or images != annotations else _one_object(folder), levels=levels
        )
        stems = tuple(path.stem for path in frames)
        own, file = annotations if single else annotations / name, _annotation_file(annotations, name)
        if listed is not None or file.is_file():
            videos, where = (
                (listed, annotations) if listed is not None else (open_annotations(file, absent=absent), file)
            )
            alone = len(videos) == 1 and (single or where == file)
            own_masks = videos.get(name) or (next(iter(videos.values())) if alone or set(videos) == {""} else None)
            if own_masks is None:
                raise UserError(f"{where}: no masks for {name}; there are those of {several(list(videos))}")
            masks = rename_as_frames(where, own_masks, stems) if own_masks.by_frame_number else own_masks
        elif files := find_annotations(own) if own.is_dir() and own != folder else []:
            masks = open_of_one_video(files, absent=absent, size=size)
            masks = rename_as_frames(own, masks, stems) if masks.by_frame_number else masks
        else:
            masks = open_masks(own, stems, binary=binary, size=size)
        taken[name] = masks
        for doubt in doubts(masks, binary):
            log.warning("%s", doubt)
        opened.append(_sequence(name, frames, stems, size, masks, every, span, absent))
    log_forms(taken)
    return opened


def _sequence(
    name: str,
    frames: Sequence[Path],
    stems: tuple[str, ...],
    size: tuple[int, int],
    masks: MaskSet,
    every: bool,
    span: Span | None,
    absent: str | None,
) -> VideoSequence:
    for stem, files in masks.files.items():
        if stem not in stems:
            raise UserError(
                f"{files[0]}: a mask without its frame: none of the {len(frames)} frames in {frames[0].parent} is named"
                f" {stem}; a mask has the name of its frame (add the frame, or remove the mask)"
            )
    return frames_and_masks(name, frames, size, masks, every=every, span=span, absent=absent)


def open_frames(
    folder: Path, besides: Path | None = None, *, levels: Levels = "auto"
) -> tuple[list[Path], tuple[int, int], Span | None]:
    """List the frames of a video and check them. How they are converted when they are read is logged.

    Args:
        folder: the folder of frames.
        besides: a file in it that is no frame.
        levels: which values of frames of more than 8 bits become 0 and 255, see levels.py.

    Returns:
        The files in order, their height and width in pixels, and the `span` for `read_image`.

    Raises:
        UserError: if there is no frame, a file is broken, sizes or kinds differ, or two frames have one name.
    """
    frames = [path for path in list_files(folder) if besides is None or not path.samefile(besides)]
    if not frames:
        raise UserError(f"{folder}: {no_frames_message(folder)}")
    size = check_file(frames[0], deep=True)
    for path in frames[1:]:
        check_file(path, size, deep=True)
    stems = [path.stem for path in frames]
    if len(set(stems)) < len(stems):
        twice = next(b for a, b in zip(frames, frames[1:], strict=False) if a.stem == b.stem)
        raise UserError(f"{twice}: two frames are named {twice.stem}; keep one file of each frame")
    if conversions := describe_conversions(frames[0]):
        log.warning("%s: %s", folder, "; ".join(conversions))
    return frames, size, choose_span_of_files(frames, levels)


def is_laid_out(root: Path) -> bool:
    """Return whether a folder holds a folder of frames, as `open_folder` expects."""
    return any((root / first).is_dir() for first, _ in _LAYOUTS)


def frames_and_masks(
    name: str,
    frames: Sequence[Path],
    size: tuple[int, int],
    masks: MaskSet,
    *,
    every: bool = False,
    span: Span | None = None,
    absent: str | None = None,
) -> VideoSequence:
    """Make the sequence of frames and of masks that are named like them; reads all masks.

    Args:
        name: name of the sequence.
        frames: the frames, in order.
        size: their height and width in pixels.
        masks: the masks.
        every: see `open_folder`.
        span: see `open_frames`.
        absent: see `open_folder`.
    """
    stems = tuple(path.stem for path in frames)
    index_of = {stem: index for index, stem in enumerate(stems)}
    order = sorted((index_of[stem], stem) for stem in masks.files)
    appearing = appearances(masks, order, every=every, absent=absent)
    return VideoSequence(
        name=name,
        frame_names=stems,
        size=size,
        first_frame=appearing.first_frame,
        read_frame=frame_reader(frames, size, span),
        read_mask=partial(read_named, masks, stems, size),
        overlap_pixels=masks.overlap_pixels,
        files=(*frames, *dict.fromkeys(path for files in masks.files.values() for path in files)),
        prompt_frames=appearing.prompt_frames,
        annotated_ids=appearing.annotated_ids,
        object_names=masks.names,
    )


def _annotation_file(folder: Path, name: str) -> Path:
    """Return the annotation file of that name, or where it would be."""
    return next(
        (path for kind in (".json", ".xml") if (path := folder / f"{name}{kind}").is_file()), folder / f"{name}.json"
    )


def _one_object(folder: Path) -> Path:
    """Return the folder with the most masks, of folders with one for each object: these masks stand in for frames."""
    return max((folder / name for name in list_folders(folder)), key=lambda path: len(list_files(path)), default=folder)


def _find(root: Path, need_frames: bool = True) -> tuple[Path, Path]:
    """Return the folders of the frames and of the masks; the latter twice if frames are missing and not needed."""
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise UserError(
            f"data_root={root}: {what}; give a folder with frames and masks (JPEGImages/ and Annotations/, or frames/"
            " and masks/) with data_root= or the environment variable EOSVOS_DATA"
        )
    for first, second in _LAYOUTS:
        if not (root / first).is_dir() and (root / second).is_dir() and not need_frames:
            there = next((root / second / level for level in _RESOLUTIONS if (root / second / level).is_dir()), None)
            return there or root / second, there or root / second
        if not (root / first).is_dir():
            continue
        file = _annotation_file(root, second)
        if not (root / second).is_dir() and not file.is_file():
            raise UserError(f"{root / second}: this folder is missing; the masks of {root / first} are expected there")
        for level in _RESOLUTIONS:
            if (root / first / level).is_dir():
                if not file.is_file() and not (root / second / level).is_dir():
                    raise UserError(f"{root / second / level}: this folder is missing; {root / first / level} is there")
                return root / first / level, file if file.is_file() else root / second / level
        return root / first, file if file.is_file() else root / second
    raise UserError(
        f"data_root={root}: neither JPEGImages/ and Annotations/ nor frames/ and masks/ are in it;"
        f" {suggest_root(root, is_laid_out)}there is"
        f" {several(list_folders(root)) or 'no folder at all'}"
    )
