"""Masks of whole videos in the files of annotation tools: their forms are told apart, and frames are read.

    masks.json      COCO, YouTube-VIS, labelme, VIA, Label Studio: see json_files.py
    masks.xml       CVAT for images, CVAT for video: see cvat.py
    00000.txt, ...  YOLO's polygons, a file for each image: see yolo.py

An image that is listed and has no annotation says nothing, as tools list all images of a task. A null of YouTube-VIS
and `outside` of CVAT say that the object is absent from the frame.

Ids from 1 to 254 are kept, as are those at the end of labels ("object 3"), if all labels have one of their own; others
are numbered by rising id. Of overlapping objects the smaller one gets the pixel, unless the tool has an order.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from eosvos.data.image_files import several
from eosvos.data.mask_files.coco_json import Key, Shapes, describe_ids, size_of, sorted_keys
from eosvos.data.mask_files.cvat import is_cvat, of_cvat
from eosvos.data.mask_files.formats import KINDS, MaskSet
from eosvos.data.mask_files.json_files import load_json, of_json
from eosvos.data.mask_files.rle import segment_mask
from eosvos.data.mask_files.tool_json import is_labelme_file
from eosvos.data.mask_files.yolo import is_yolo, label_files, of_yolo
from eosvos.data.masks import VOID, record_overlap, stack_masks
from eosvos.data.user_files import list_files
from eosvos.errors import UserError
from eosvos.files import refused

log = logging.getLogger(__name__)

_MOST_BYTES = 2**30
_EXPECTED = {
    ".json": "not masks in the form of COCO or YouTube-VIS, nor of labelme, VIA or Label Studio ({}); expected are"
    " annotations with segmentation and image_id, or with segmentations and video_id",
    ".xml": "not CVAT's annotations ({}); expected are image or track elements with mask or polygon elements in them",
    ".txt": "not YOLO's polygons ({}); expected is a line for each object: its class, and x and y of its corners as"
    " fractions of the image",
}
ANNOTATION_FILES = tuple(_EXPECTED)


def open_annotations(
    source: str | Path | Sequence[Path], *, absent: str | None = None, size: tuple[int, int] | None = None
) -> dict[str, MaskSet]:
    """Open the masks of an annotation file. What is left out is logged.

    Args:
        source: the file, or files of single images (of labelme or YOLO).
        absent: "told" leaves out frames that are listed and show no object, and what CVAT interpolated between
            keyframes; "all" reads listed frames as empty masks. None: as the form has it, see above.
        size: height and width of the frames in pixels, for files without it.

    Returns:
        Video -> its masks. A video without a name, as when file names have no folder, is "".

    Raises:
        UserError: if the file is missing, has another form, or does not say which masks are of one object.
    """
    paths = [Path(source)] if isinstance(source, str | Path) else list(source)
    path, where = paths[0], paths[0] if len(paths) == 1 else paths[0].parent
    kind = path.suffix.lower() if path.suffix.lower() in _EXPECTED else ".json"
    opened = {}
    try:
        contents = []
        for path in paths:
            if path.stat().st_size > _MOST_BYTES:
                raise UserError(f"larger than {_MOST_BYTES >> 20} MiB; write one file for each video")
            contents.append(load_json(path) if kind == ".json" else None)
        if kind == ".xml":
            if len(paths) > 1:
                raise UserError(f"{where}: {len(paths)} .xml files; give the one of CVAT")
            videos, nulls = of_cvat(path, drawn_only=absent == "told"), False
        elif kind == ".txt":
            videos, nulls = of_yolo(paths), False
        else:
            videos, nulls = of_json(list(zip(paths, contents, strict=True)))
        for video, shapes in videos.items():
            unannotated = tuple(name for name, entries in shapes.frames.items() if not entries)
            if absent == "told" or (absent is None and not nulls):
                if unannotated and len(unannotated) < len(shapes.frames) and not shapes.by_frame_number:
                    log.warning(
                        "%s: %d of %d images are listed without annotation, which tells nothing of them: %s; with"
                        " absent=all no object is there",
                        where,
                        len(unannotated),
                        len(shapes.frames),
                        several(unannotated, 4),
                    )
                shapes.frames = {name: entries for name, entries in shapes.frames.items() if entries}
            else:
                unannotated = ()
            if shapes.frames:
                opened[video] = _mask_set(paths, where, shapes, unannotated, size)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        if isinstance(error, UserError):
            told = any(str(one) in str(error) for one in paths)
            raise UserError(str(error) if told else f"{path}: {error}") from error
        raise UserError(f"{path}: {_EXPECTED[kind].format(f'{error!r:.200}')}") from error
    if not opened:
        expected = "annotations with segmentation or segmentations" if kind == ".json" else "masks or polygons"
        raise UserError(f"{where}: no masks in it; expected are {expected}")
    return opened


def open_of_one_video(
    source: Path | Sequence[Path], *, absent: str | None = None, size: tuple[int, int] | None = None
) -> MaskSet:
    """Open the masks of an annotation file of a single video, see `open_annotations`.

    Raises:
        UserError: as `open_annotations` does, and if there are several videos in it.
    """
    videos = open_annotations(source, absent=absent, size=size)
    if len(videos) > 1:
        place = source if isinstance(source, Path) else source[0]
        raise UserError(f"{place}: holds masks of several videos, {several(list(videos))}; give a file of one")
    return next(iter(videos.values()))


def find_annotations(folder: Path) -> list[Path]:
    """Return the annotation files of a folder, if they are its masks, else [].

    Beside images they are, if they are of labelme or YOLO, whose files lie beside the frames, or if the images are
    JPEGs, which are no masks.
    """
    images = list_files(folder, KINDS)
    lossy = all(path.suffix.lower() in (".jpg", ".jpeg") for path in images)
    files, tool = list_files(folder, (".json",)), "labelme"
    beside = bool(files and images and is_labelme_file(files[0]))
    try:
        if not files and (found := [path for path in list_files(folder, (".xml",)) if is_cvat(path)]):
            return found if lossy else []
        if not files and (found := label_files(folder)) and any(is_yolo(path) for path in found):
            files, tool, beside = found, "YOLO", bool(images)
    except OSError as error:
        raise refused(error) from error
    if beside:
        log.warning("%s: %s's files are read, and none of the images beside them", folder, tool)
        return files
    return files if lossy else []


def _mask_set(
    paths: Sequence[Path], where: Path, shapes: Shapes, unannotated: tuple[str, ...], size: tuple[int, int] | None
) -> MaskSet:
    ids = _numbered(shapes)
    frames = {
        name: [(VOID if key is None else ids[key], segment) for key, segment in entries]
        for name, entries in shapes.frames.items()
    }
    heights: dict[str, dict[int, int]] = {}
    for (name, key), height in shapes.z_order.items():
        if key in ids:
            heights.setdefault(name, {})[ids[key]] = height
    overlap_pixels: dict[str, int] = {}
    absent_ids: dict[str, tuple[int, ...]] = {}
    by_stem = {path.stem: (path,) for path in paths} if len(paths) > 1 else {}
    files = {name: by_stem.get(name, tuple(paths)) for name in frames}
    places = {name: by_stem[name][0] if name in by_stem else where for name in frames}
    description = shapes.description + (f": {describe_ids(shapes.names, ids)}" if ids else "")
    return MaskSet(
        form="annotations",
        description=description,
        files=files,
        read=partial(_read, places, frames, shapes.sizes, heights, size, overlap_pixels, absent_ids),
        overlap_pixels=overlap_pixels,
        absent_ids=absent_ids,
        unannotated=unannotated,
        by_frame_number=shapes.by_frame_number,
        names={number: label for key, number in ids.items() if (label := shapes.labels.get(key))},
    )


def _numbered(shapes: Shapes) -> dict[Key, int]:
    """Assign object ids to the keys."""
    keys = sorted_keys({key for entries in shapes.frames.values() for key, _ in entries if key is not None})
    if len(keys) >= VOID:
        raise UserError(f"{len(keys)} objects in one video; at most 254 are expected")
    numbers = [_number_in(key) for key in keys]
    if all(0 < number < VOID for number in numbers) and len(set(numbers)) == len(keys):
        return dict(zip(keys, numbers, strict=True))
    return {key: number for number, key in enumerate(keys, 1)}


def _number_in(key: Key) -> int:
    """Return the number that a key is, or the one at the end of its label; else -1."""
    if len(key) == 1 and isinstance(key[0], int):
        return key[0]
    found = re.fullmatch(r"(?:.*[ _.-])?([1-9][0-9]{0,2})", str(key[0])) if not any(key[1:]) else None
    return int(found.group(1)) if found else -1


def _read(
    places: Mapping[str, Path],
    frames: Mapping[str, Sequence[tuple[int, Any]]],
    sizes: Mapping[str, tuple[int, int]],
    heights: Mapping[str, Mapping[int, int]],
    default: tuple[int, int] | None,
    overlap_pixels: dict[str, int],
    absent_ids: dict[str, tuple[int, ...]],
    name: str,
) -> np.ndarray:
    """Read the id mask of a frame; several masks of one object are united."""
    entries, path = frames[name], places[name]
    size = sizes.get(name)
    if size is None:
        stored_size = next((s["size"] for _, s in entries if isinstance(s, dict) and "size" in s), default)
        if stored_size is None:
            raise UserError(f"{path}: nothing tells the size of frame {name}; give its image a height and a width")
    try:
        size = size or size_of(stored_size)
        layers: dict[int, np.ndarray] = {}
        for number, segment in entries:
            layer = segment(size) if callable(segment) else segment_mask(segment, size)
            if not layer.any() and isinstance(segment, list) and segment:
                raise UserError(f"a polygon of object {number} covers no pixel; draw it anew, or remove it")
            layers[number] = layer | layers.get(number, np.zeros(size, bool))
    except ValueError as error:
        raise UserError(f"{path}: frame {name}: {error}; write this mask anew") from error
    void = layers.pop(VOID, np.zeros(size, bool))
    absent_ids[name] = tuple(number for number, layer in layers.items() if not layer.any())
    layers = _in_order(layers, heights.get(name, {}))
    mask = stack_masks(layers, size)
    record_overlap(overlap_pixels, name, layers, mask)
    mask[void & (mask == 0)] = VOID
    return mask


def _in_order(layers: dict[int, np.ndarray], heights: Mapping[int, int]) -> dict[int, np.ndarray]:
    """Cut from each mask what lies below the masks of objects with a larger z order."""
    if len(set(heights.values())) < 2:
        return layers
    return {
        number: layer & ~np.any([layers[n] for n in layers if heights.get(n, 0) > heights.get(number, 0)], 0)
        if any(heights.get(n, 0) > heights.get(number, 0) for n in layers)
        else layer
        for number, layer in layers.items()
    }
