"""Masks in the forms that other programs write: recognises the form and reads an id mask of each frame.

    00000.png, ...         palette or grey images: the pixel value is the object id (of palettes, see colours.py)
                           0 and 255 only, or 1 bit: one object
                           RGB: every colour but black is an object; black on nothing: the opaque part is the object
    00000_1.png, 1/00000.png, ...   one image for each frame and object, in one folder or one for each object
    masks.json, ...        files of annotation tools, see annotation_files.py

colours.py says how colours are numbered. Objects with a folder or file of their own have the number in its name as
their id, or one more if numbers begin with 0, or are numbered in natural order if the names have no numbers. Of
overlapping objects the smaller one gets the pixel.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from eosvos.data.image_files import check_file, frames_by_number, name_set, non_numeric_names, several
from eosvos.data.mask_files.colours import (
    ALPHA,
    CUT,
    WHITE,
    count_colours,
    describe_colours,
    number_colours,
    palette_tells,
    palettes_clash,
    read_numbered,
    read_object_shape,
    refuse_soft_edges,
)
from eosvos.data.masks import FORMATS, MODES, VOID, read_mask, record_overlap, stack_masks, wrong_size_error
from eosvos.data.palette import DAVIS_PALETTE
from eosvos.data.user_files import list_files, list_folders, natural_key
from eosvos.errors import UserError
from eosvos.files import atomic

log = logging.getLogger(__name__)

KINDS = (".png", ".bmp", ".gif", ".tif", ".tiff", ".jpg", ".jpeg", ".webp")  # the last three only to refuse them
_COLOURS = (*MODES, "RGB")


@dataclass(frozen=True)
class MaskSet:
    """The masks of one video.

    Attributes:
        form: "palette", "grey", "binary", "colours", "objects" or "annotations".
        description: the form in words, for messages.
        files: frame name -> files that its mask is read from.
        read: frame name, one of `files` -> id mask uint8 (H, W); may raise UserError, can be pickled.
        overlap_pixels: frame name -> pixels where objects overlap, for the masks read so far (see `masks.stack_masks`).
        absent_ids: frame name -> objects annotated as absent by an empty mask of their own, for the masks read so far.
        unannotated: frames that an annotation file lists without an annotation.
        by_frame_number: whether frame names are indices, from 00000 on.
        names: object id -> its name, where the form has names.
    """

    form: str
    description: str
    files: Mapping[str, tuple[Path, ...]] = field(repr=False)
    read: Callable[[str], np.ndarray] = field(repr=False)
    overlap_pixels: dict[str, int] = field(default_factory=dict, repr=False, compare=False)
    absent_ids: dict[str, tuple[int, ...]] = field(default_factory=dict, repr=False, compare=False)
    unannotated: tuple[str, ...] = field(default=(), repr=False)
    by_frame_number: bool = False
    names: Mapping[int, str] = field(default_factory=dict, repr=False, compare=False)


def open_masks(
    source: Path | Sequence[Path],
    frames: Sequence[str] = (),
    *,
    binary: bool | None = None,
    size: tuple[int, int] | None = None,
) -> MaskSet:
    """Recognise the form of a video's masks, in a folder or a list of files.

    The first and last bytes of all files are checked. Palette or grey images are decoded until the form is settled,
    three if `binary`; of other forms all are.

    Args:
        source: the folder or the files.
        frames: names of the video's frames; without them 00000_1.png is the mask of a frame of this name.
        binary: whether masks show one object, as every value but 0. None: they do if they hold nothing but 0 and 255.
        size: height and width in pixels that masks must have; None: any.

    Raises:
        UserError: if there are no masks, a file is no mask, files contradict one another, or edges are soft.
    """
    if isinstance(source, Path):
        objects, files = list_folders(source), list_files(source, KINDS) if source.is_dir() else []
        if objects and files:
            raise UserError(
                f"{source}: holds both masks ({several([path.name for path in files], 3)}) and folders"
                f" ({several(objects, 3)}); expected is either a mask for each frame, or a folder for each object"
            )
        if objects:
            return _of_objects({name: _by_stem(list_files(source / name, KINDS)) for name in objects}, size, "folder")
        if not files:
            raise UserError(f"{source}: no masks; at least one .png named as its frame is expected")
    else:
        files = sorted(source, key=lambda path: natural_key(path.stem))
    parts = _parted(files, frames)
    if parts:
        return _of_objects(parts, size, "file")
    by_name = _by_stem(files)
    for path in files:
        size_of_all = check_file(path, size, mask=True, modes=_COLOURS)
        size = size or size_of_all
    kinds, tells = [_kind(path) for path in files], [palette_tells(path) for path in files]
    named = {name: (path,) for name, path in by_name.items()}
    if binary:
        description = "one object, all that is not 0"
        for path in {files[0], files[len(files) // 2], files[-1]}:  # of probabilities all that is above 0 is too much
            codes = read_object_shape(path, size)
            refuse_soft_edges(
                path, {code: count for code, count in count_colours(codes).items() if code}, codes.size, 64
            )
            if codes.max() > CUT:
                description = ALPHA
        return MaskSet("binary", description, named, partial(_read_shape, by_name, size))
    around = files[tells.index("around")] if "around" in tells else None
    by_colour = "RGB" in kinds or "colour" in tells
    if by_colour and around is not None:
        raise UserError(
            f"{around}: a palette image whose index 0 is not black, beside masks in which the colour tells the object;"
            " save all of one kind, 0 and black being the background"
        )
    if by_colour or (len(set(kinds) - {None}) > 1 and palettes_clash(files)):
        numbers = number_colours(by_name.values(), size)
        form, description = "colours", describe_colours(numbers)
        if binary is None and set(numbers) == {WHITE}:
            numbers = {WHITE: 1}
            form, description = "binary", "black and white only, read as one object, white being the object"
        return MaskSet(form, description, named, partial(_read_coloured, by_name, numbers, size))
    two = binary is None and _only_white(files)
    read = partial(_read_values, by_name, two, size)
    if two:
        return MaskSet("binary", "0 and 255 only, read as one object, 255 being the object", named, read)
    if None not in kinds:
        description = "" if around is None else f" (0, around the rest, is background, though not black: {around.name})"
        return MaskSet("palette", "palette images, the index is the id" + description, named, read)
    return MaskSet("grey", "grey images, the value is the id", named, read)


def describe_forms(opened: Mapping[str, MaskSet]) -> str:
    """Describe which form the masks of which videos have."""
    videos: dict[str, list[str]] = {}
    for name, masks in opened.items():
        videos.setdefault(masks.description, []).append(name)
    return "masks: " + "; ".join(f"{description} ({several(names)})" for description, names in videos.items())


def log_forms(opened: Mapping[str, MaskSet]) -> None:
    """Log `describe_forms`."""
    log.info(describe_forms(opened))


def read_named(masks: MaskSet, names: Sequence[str], size: tuple[int, int], index: int) -> np.ndarray | None:
    """Read the id mask of a frame.

    Args:
        masks: the masks of the video.
        names: frame names.
        size: height and width in pixels.
        index: index of the frame.

    Returns:
        uint8 (H, W), or None if the frame is not annotated.

    Raises:
        UserError: if the mask has another size or cannot be read.
    """
    if names[index] not in masks.files:
        return None
    mask = masks.read(names[index])
    if mask.shape != tuple(size):
        raise wrong_size_error(masks.files[names[index]][0], mask.shape, size)
    return mask


def write_grey(path: str | Path, ids: np.ndarray) -> None:
    """Write an id mask, uint8 (H, W), as a grey PNG whose values are the ids.

    Programs that know no palettes can read it; in viewers it looks black.
    """
    with atomic(path) as temporary:
        Image.fromarray(np.ascontiguousarray(ids, np.uint8)).save(temporary, format="PNG")


def write_binary(path: str | Path, ids: np.ndarray) -> None:
    """Write an id mask, uint8 (H, W), as a grey PNG that is 255 where any object is and 0 elsewhere."""
    write_grey(path, np.where(np.isin(ids, (0, VOID)), 0, 255))


def write_colours(path: str | Path, ids: np.ndarray) -> None:
    """Write an id mask, uint8 (H, W), as an RGB PNG in the colours of DAVIS."""
    with atomic(path) as temporary:
        Image.fromarray(DAVIS_PALETTE[np.asarray(ids, np.uint8)]).save(temporary, format="PNG")


def write_objects(folder: str | Path, name: str, ids: np.ndarray, objects: Iterable[int]) -> None:
    """Write an id mask as `folder`/OBJECT/`name`.png, one binary PNG of 0 and 255 for each object.

    Args:
        folder: folder of the video.
        name: name of the frame.
        ids: id mask uint8 (H, W).
        objects: object ids; those that are not in the mask get an empty file.
    """
    for number in objects:
        write_grey(Path(folder) / f"{number:03d}" / f"{name}.png", (np.asarray(ids) == number) * np.uint8(255))


def _by_stem(files: Iterable[Path]) -> dict[str, Path]:
    by_stem: dict[str, Path] = {}
    for path in files:
        if path.stem in by_stem:
            raise UserError(f"{path}: two masks for one frame, the other is {by_stem[path.stem].name}; keep one")
        by_stem[path.stem] = path
    return by_stem


def _kind(path: Path) -> bytes | str | None:
    """Return the palette of an image that has one, "RGB" for colours, None for all others; nothing is decoded."""
    with Image.open(path, formats=FORMATS) as image:  # `check_file` has seen that this works
        if image.mode in ("RGB", "RGBA"):
            return "RGB"
        return None if image.palette is None else bytes(image.palette.getdata()[1])


def _parted(files: Sequence[Path], frames: Sequence[str]) -> dict[str, dict[str, Path]]:
    """Return object -> frame -> file of files named FRAME_OBJECT, FRAME-OBJECT or FRAME.OBJECT, else {}.

    FRAME may be the number alone.
    """
    known = name_set(frames)
    paired = any(re.search(r"[0-9][_.-][0-9]+$", name) for name in non_numeric_names(frames))  # 7_00001 is a frame then
    at = frames_by_number(() if paired else frames)
    parts: dict[str, dict[str, Path]] = {}
    guess = ""
    for path in files:
        cuts = [(path.stem[: m.start()], path.stem[m.end() :]) for m in re.finditer(r"[_.-]", path.stem)]
        named = [(frame, name) for frame, name in cuts if frame in known]
        if path.stem in known:
            return {}
        cuts_at = named or [
            (found_at, name)
            for number, name in cuts
            if re.fullmatch(r"[0-9]{1,9}", number)
            and name not in known  # as in 2_00001
            and (found_at := at(int(number))) is not None
        ]
        if not cuts_at or not cuts_at[-1][1]:
            return {}
        frame, name = cuts_at[-1]
        if frame in parts.setdefault(name, {}):
            raise UserError(f"{path}: two masks of one object and frame, the other is {parts[name][frame].name}")
        parts[name][frame] = path
        guess = guess if named or guess else f"{path}: taken for a mask of object {name} on frame {frame}"
    if guess:
        log.warning("%s, and others likewise; if it is not, name masks by frames alone, say %s", guess, frames[0])
    return parts


def _of_objects(parts: Mapping[str, Mapping[str, Path]], size: tuple[int, int] | None, what: str) -> MaskSet:
    names = sorted(parts, key=natural_key)
    ends = [re.search(r"[0-9]{1,6}$", name) for name in names]
    numbers = [int(end.group()) if end else -1 for end in ends]
    if min(numbers) == 0:
        numbers = [n + 1 for n in numbers]
    if min(numbers) < 1 or max(numbers) >= VOID or len(set(numbers)) < len(numbers):
        numbers = list(range(1, len(names) + 1))
    if len(names) >= VOID:
        raise UserError(f"{several(names)}: a {what} for each of {len(names)} objects; at most 254 are expected")
    frames: dict[str, list[tuple[int, Path]]] = {}
    for number, name in zip(numbers, names, strict=True):
        for frame, path in parts[name].items():
            size_of_all = check_file(path, size, mask=True, modes=_COLOURS)
            size = size or size_of_all
            frames.setdefault(frame, []).append((number, path))
    if not frames or size is None:
        raise UserError(f"{several(names)}: no masks in these folders; .png files named as the frames are expected")
    shown = several([f"{name} = {number}" for name, number in zip(names, numbers, strict=True)])
    files = {frame: tuple(path for _, path in frames[frame]) for frame in sorted(frames, key=natural_key)}
    overlap_pixels: dict[str, int] = {}
    absent_ids: dict[str, tuple[int, ...]] = {}
    read = partial(_read_objects, frames, size, overlap_pixels, absent_ids)
    return MaskSet("objects", f"one {what} for each object: {shown}", files, read, overlap_pixels, absent_ids)


def _read_objects(
    frames: Mapping[str, Sequence[tuple[int, Path]]],
    size: tuple[int, int],
    overlap_pixels: dict[str, int],
    absent_ids: dict[str, tuple[int, ...]],
    name: str,
) -> np.ndarray:
    layers = {}
    for number, path in frames[name]:
        codes = read_object_shape(path, size)
        counts = {code: count for code, count in count_colours(codes).items() if code}
        if len(counts) > 1:
            refuse_soft_edges(path, counts, codes.size)
            raise UserError(
                f"{path}: {len(counts)} values besides black in the mask of a single object; masks of several objects"
                " lie in one folder, one for each frame"
            )
        layers[number] = codes != 0
    mask = stack_masks(layers, size)
    record_overlap(overlap_pixels, name, layers, mask)
    absent_ids[name] = tuple(number for number, layer in layers.items() if not layer.any())
    return mask


def _only_white(files: Sequence[Path]) -> bool:
    """Return whether masks hold 255 and no object id."""
    has_white = False
    for path in files:
        counts = np.bincount(read_mask(path).ravel(), minlength=VOID + 1)
        if counts[1:VOID].any():
            if _kind(path) is None:
                refuse_soft_edges(path, {int(v): int(counts[v]) for v in counts.nonzero()[0] if v}, int(counts.sum()))
            return False
        has_white = has_white or bool(counts[VOID])
    return has_white


def _read_values(files: Mapping[str, Path], binary: bool, size: tuple[int, int] | None, name: str) -> np.ndarray:
    return read_mask(files[name], binary, size)


def _read_coloured(
    files: Mapping[str, Path], numbers: Mapping[int, int], size: tuple[int, int] | None, name: str
) -> np.ndarray:
    return read_numbered(files[name], numbers, size)


def _read_shape(files: Mapping[str, Path], size: tuple[int, int] | None, name: str) -> np.ndarray:
    return (read_object_shape(files[name], size) != 0).astype(np.uint8)
