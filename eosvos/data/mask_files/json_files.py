"""Masks of whole videos in JSON files: COCO's annotations, YouTube-VIS, and what labelme and VIA write.

    {"videos": [{"id": 1, "name": "bear", "height": 480, "width": 854, "file_names": ["bear/00000.jpg", ...]}],
     "annotations": [{"id": 3, "video_id": 1, "segmentations": [{"size": [480, 854], "counts": "..."}, null, ...]}]}

is YouTube-VIS: an object has one annotation, with a mask or null for each frame. `write_json` writes this form, one
video a file; the object's id is the annotation's. coco_json.py and tool_json.py describe the other forms. Segmentations
are run-length codes, compressed or not, or polygons; pycocotools decodes them.

An image that is listed and has no annotation says nothing, as tools list all images of a task. A null of YouTube-VIS
says that the object is absent from the frame.

Ids from 1 to 254 are kept, others are numbered by rising id. Of overlapping objects the smaller one gets the pixel.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from eosvos.data.image_files import several
from eosvos.data.mask_files.coco_json import Key, Shapes, describe_ids, of_images, of_videos, size_of, sorted_keys
from eosvos.data.mask_files.formats import MaskSet
from eosvos.data.mask_files.rle import rle_encode, segment_mask
from eosvos.data.mask_files.tool_json import is_labelme, is_via, of_labelme, of_via, refuse_others
from eosvos.data.masks import VOID, ids_of, record_overlap, stack_masks
from eosvos.errors import UserError
from eosvos.files import write_text

log = logging.getLogger(__name__)

_MOST_BYTES = 2**30


def open_json(
    source: str | Path | Sequence[Path], *, absent: str | None = None, size: tuple[int, int] | None = None
) -> dict[str, MaskSet]:
    """Open the masks of a JSON file. What is left out is logged.

    Args:
        source: the file, or labelme's files of several images.
        absent: "told" leaves out frames that are listed and show no object, "all" reads them as empty masks. None: as
            the form has it, see above.
        size: height and width of the frames in pixels, for files without it.

    Returns:
        Video -> its masks. A video without a name, as when file names have no folder, is "".

    Raises:
        UserError: if the file is missing, has another form, or does not say which masks are of one object.
    """
    paths = [Path(source)] if isinstance(source, str | Path) else list(source)
    path, where = paths[0], paths[0] if len(paths) == 1 else paths[0].parent
    opened = {}
    try:
        contents = []
        for path in paths:
            if path.stat().st_size > _MOST_BYTES:
                raise UserError(f"larger than {_MOST_BYTES >> 20} MiB; write one file for each video")
            contents.append(json.loads(path.read_text(encoding="utf-8-sig")))
        videos, nulls = _videos(list(zip(paths, contents, strict=True)))
        for video, shapes in videos.items():
            unannotated = tuple(name for name, entries in shapes.frames.items() if not entries)
            if absent == "told" or (absent is None and not nulls):
                if unannotated and len(unannotated) < len(shapes.frames):
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
            raise UserError(str(error) if str(path) in str(error) else f"{path}: {error}") from error
        raise UserError(
            f"{path}: not masks in the form of COCO or YouTube-VIS, nor of labelme or VIA ({error!r:.200}); expected"
            " are annotations with segmentation and image_id, or with segmentations and video_id"
        ) from error
    if not opened:
        raise UserError(f"{where}: no masks in it; expected are annotations with segmentation or segmentations")
    return opened


def write_json(path: str | Path, masks: Iterable[tuple[str, np.ndarray]], *, video: str = "") -> None:
    """Write the id masks of a video as YouTube-VIS, atomically; void pixels become a crowd.

    Args:
        path: the file.
        masks: (frame name, id mask uint8 (H, W)) pairs.
        video: name of the video.
    """
    names: list[str] = []
    codes: dict[int, dict[int, Any]] = {}
    size: tuple[int, ...] = (0, 0)
    for index, (name, mask) in enumerate(masks):
        names.append(name)
        size = mask.shape
        for number in [*ids_of(mask), *([VOID] if (mask == VOID).any() else [])]:
            codes.setdefault(number, {})[index] = rle_encode(mask == number)
    height, width = (int(n) for n in size)
    files = [str(PurePosixPath(video) / f"{name}.jpg") for name in names]
    about = {"height": height, "width": width, "length": len(names)}
    annotations = [
        {
            "id": number,
            "video_id": 1,
            "category_id": 1,
            "iscrowd": int(number == VOID),
            **about,
            "segmentations": [codes[number].get(index) for index in range(len(names))],
        }
        for number in sorted(codes)
    ]
    content = {
        "videos": [{"id": 1, "name": video, **about, "file_names": files}],
        "categories": [{"id": 1, "name": "object"}],
        "annotations": annotations,
    }
    write_text(path, json.dumps(content))


def _videos(files: Sequence[tuple[Path, Any]]) -> tuple[dict[str, Shapes], bool]:
    """Return the content for each video, and whether it is YouTube-VIS, in which null annotates an absent object."""
    content = files[0][1]
    if is_labelme(content):
        others = [path for path, more in files if not is_labelme(more)]
        if others:
            raise UserError(f"{others[0]}: no file of labelme, as others in this folder are; remove it")
        return of_labelme(files), False
    if len(files) > 1:
        raise UserError(f"{len(files)} .json files, which are not labelme's of single images; give one as masks=")
    refuse_others(content)
    if is_via(content):
        return of_via(content), False
    if isinstance(content, list):  # COCO's results
        content = {"annotations": content}
    if any("segmentations" in annotation for annotation in content["annotations"]):
        return of_videos(content), True
    return of_images(content), False


def _mask_set(
    paths: Sequence[Path], where: Path, shapes: Shapes, unannotated: tuple[str, ...], size: tuple[int, int] | None
) -> MaskSet:
    ids = _numbered(shapes)
    frames = {
        name: [(VOID if key is None else ids[key], segment) for key, segment in entries]
        for name, entries in shapes.frames.items()
    }
    overlap_pixels: dict[str, int] = {}
    absent_ids: dict[str, tuple[int, ...]] = {}
    files = {name: tuple(paths) for name in frames}
    description = shapes.description + (f": {describe_ids(shapes.names, ids)}" if ids else "")
    read = partial(_read, where, frames, shapes.sizes, size, overlap_pixels, absent_ids)
    return MaskSet("json", description, files, read, overlap_pixels, absent_ids, unannotated)


def _numbered(shapes: Shapes) -> dict[Key, int]:
    """Assign object ids to the keys."""
    keys = sorted_keys({key for entries in shapes.frames.values() for key, _ in entries if key is not None})
    if len(keys) >= VOID:
        raise UserError(f"{len(keys)} objects in one video; at most 254 are expected")
    kept = all(len(key) == 1 and isinstance(key[0], int) and 0 < key[0] < VOID for key in keys)
    return {key: key[0] if kept else number for number, key in enumerate(keys, 1)}


def _read(
    path: Path,
    frames: Mapping[str, Sequence[tuple[int, Any]]],
    sizes: Mapping[str, tuple[int, int]],
    default: tuple[int, int] | None,
    overlap_pixels: dict[str, int],
    absent_ids: dict[str, tuple[int, ...]],
    name: str,
) -> np.ndarray:
    """Read the id mask of a frame; several masks of one object are united."""
    entries = frames[name]
    size = sizes.get(name)
    if size is None:
        stored_size = next((s["size"] for _, s in entries if isinstance(s, dict) and "size" in s), default)
        if stored_size is None:
            raise UserError(f"{path}: nothing tells the size of frame {name}; give its image a height and a width")
    try:
        size = size or size_of(stored_size)
        layers: dict[int, np.ndarray] = {}
        for number, segment in entries:
            layer = segment_mask(segment, size)
            if not layer.any() and isinstance(segment, list) and segment:
                raise UserError(f"a polygon of object {number} covers no pixel; draw it anew, or remove it")
            layers[number] = layer | layers.get(number, np.zeros(size, bool))
    except ValueError as error:
        raise UserError(f"{path}: frame {name}: {error}; write this mask anew") from error
    void = layers.pop(VOID, np.zeros(size, bool))
    mask = stack_masks(layers, size)
    record_overlap(overlap_pixels, name, layers, mask)
    absent_ids[name] = tuple(number for number, layer in layers.items() if not layer.any())
    mask[void & (mask == 0)] = VOID
    return mask
