"""Run-length masks of whole videos in a JSON file, in the forms of COCO and of YouTube-VIS.

    {"videos": [{"id": 1, "name": "bear", "height": 480, "width": 854, "file_names": ["bear/00000.jpg", ...]}],
     "annotations": [{"id": 3, "video_id": 1, "segmentations": [{"size": [480, 854], "counts": "..."}, null, ...]}]}

is YouTube-VIS: an object has one annotation, with a code or null for each frame. `write_json` writes this, one video
a file; the object's id is the annotation's. In COCO's form every object and frame has an annotation of its own:

    {"images": [{"id": 7, "file_name": "bear/00000.jpg", "height": 480, "width": 854}],
     "annotations": [{"image_id": 7, "track_id": 3, "segmentation": {"size": [480, 854], "counts": "..."}}]}

There `track_id` (or instance_id, object_id) tells which are of one object; without, category_id where an image has each
only once. An image that is not listed is named by its image_id. Segmentations are run-length codes, compressed or not,
or polygons; pycocotools decodes them. A crowd is void.

Ids from 1 to 254 stay as they are, others are numbered by rising id. Of objects that overlap the smaller has the pixel.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Collection
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from eosvos.data.mask_formats import MaskSet
from eosvos.data.masks import MOST_PIXELS, VOID, ids_of, note_shared, rle_encode, segment_mask, stacked
from eosvos.errors import UserError
from eosvos.files import write_text

_MOST_BYTES = 2**30
_TRACKS = ("track_id", "instance_id", "object_id")
_Frames = dict[str, list[tuple[Any, Any]]]  # frame name -> (object's key or VOID for a crowd, segmentation)


def open_json(path: str | Path) -> dict[str, MaskSet]:
    """The masks of a JSON file: video -> its masks. A video that has no name, as file names are without folders, is "".

    Raises UserError for a file that is missing, of another form, or does not tell which masks are of one object.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UserError(f"larger than {_MOST_BYTES >> 20} MiB; write one file for each video")
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, list):  # COCO's results
            content = {"annotations": content}
        several = any("segmentations" in annotation for annotation in content["annotations"])
        videos, sizes = _of_videos(content) if several else _of_images(content)
        opened = {}
        for video in videos:
            frames = _numbered(videos[video])
            names = {name: (path,) for name in frames}
            size = sizes.get(video)
            shared: dict[str, int] = {}
            read = partial(_read, path, frames, size, shared)
            opened[video] = MaskSet("json", "run-length codes", names, read, shared)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        if isinstance(error, UserError):
            raise UserError(f"{path}: {error}") from error
        raise UserError(
            f"{path}: not masks in the form of COCO or YouTube-VIS ({error!r:.200}); expected are annotations with"
            " segmentation and image_id, or with segmentations and video_id"
        ) from error
    if not opened:
        raise UserError(f"{path}: no masks in it; expected are annotations with segmentation or segmentations")
    return opened


def write_json(path: str | Path, masks: Iterable[tuple[str, np.ndarray]], *, video: str = "") -> None:
    """Write the id masks, uint8 (H, W), of a video's frames (name, mask), as YouTube-VIS does, atomically.

    Void pixels are a crowd. pycocotools decodes every code.
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


def _of_videos(content: Mapping[str, Any]) -> tuple[dict[str, _Frames], dict[str, tuple[int, int]]]:
    """YouTube-VIS: the frames and the size of each video."""
    found: dict[str, _Frames] = {}
    sizes = {}
    by_id = {video["id"]: video for video in content["videos"]}
    names = {}
    for key, video in by_id.items():
        files = [PurePosixPath(file) for file in video["file_names"]]
        name = files[0].parent.name or str(video.get("name", "")) if files else str(video.get("name", ""))
        if name in found:
            raise UserError(f"two videos are named {name!r}")
        names[key] = name, [file.stem for file in files]
        found[name] = {}
        sizes[name] = _size((video["height"], video["width"]))
    for annotation in content["annotations"]:
        name, stems = names[annotation["video_id"]]
        segments = annotation["segmentations"]
        if len(segments) != len(stems):
            raise UserError(
                f"annotation {annotation['id']} has {len(segments)} masks for {len(stems)} frames of {name!r}"
            )
        for stem, segment in zip(stems, segments, strict=True):
            if segment is not None:
                key = VOID if annotation.get("iscrowd") else (annotation["id"],)
                found[name].setdefault(stem, []).append((key, segment))
            else:
                found[name].setdefault(stem, [])
    return found, sizes


def _of_images(content: Mapping[str, Any]) -> tuple[dict[str, _Frames], dict[str, tuple[int, int]]]:
    """COCO: the frames and the size of each video, which is the folder in a file's name."""
    images = {image["id"]: image for image in content.get("images", ())}
    found: dict[str, _Frames] = {}
    sizes: dict[str, tuple[int, int]] = {}
    annotations = content["annotations"]
    names = {}
    for key in [*images, *(annotation["image_id"] for annotation in annotations)]:
        image = images.get(key, {})
        file = PurePosixPath(image.get("file_name", f"{key:05d}" if isinstance(key, int) else key))
        names[key] = file.parent.name, file.stem if file.suffix else file.name
        if "height" in image and "width" in image:
            size = _size((image["height"], image["width"]))
            if sizes.setdefault(file.parent.name, size) != size:
                raise UserError(f"images of several sizes in one video: {size} of {file}")
        if key in images:
            found.setdefault(names[key][0], {}).setdefault(names[key][1], [])
    tracks = _track_key(annotations)
    for annotation in annotations:
        video, stem = names[annotation["image_id"]]
        key = VOID if annotation.get("iscrowd") else (annotation[tracks],)
        found.setdefault(video, {}).setdefault(stem, []).append((key, annotation["segmentation"]))
    return found, sizes


def _size(given: Any) -> tuple[int, int]:
    if not isinstance(given, list | tuple) or len(given) != 2 or not all(isinstance(n, int) and n > 0 for n in given):
        raise UserError(f"a size of {given!r:.80}; expected is [height, width] in pixels")
    if given[0] * given[1] > MOST_PIXELS:
        raise UserError(f"a size of {given[0]}x{given[1]}; at most {MOST_PIXELS} pixels are read")
    return given[0], given[1]


def _track_key(annotations: Collection[Mapping[str, Any]]) -> str:
    """What of an annotation tells its object."""
    single = [annotation for annotation in annotations if not annotation.get("iscrowd")]
    for key in _TRACKS:
        if all(key in annotation for annotation in single):
            return key
    if len({annotation["image_id"] for annotation in single}) < 2 and all("id" in annotation for annotation in single):
        return "id"
    pairs = {(annotation["image_id"], annotation.get("category_id")) for annotation in single}
    if len(pairs) == len(single) and not any(category is None for _, category in pairs):
        return "category_id"
    raise UserError("nothing tells which masks are of one object; give annotations a track_id, the same in all frames")


def _numbered(frames: _Frames) -> dict[str, list[tuple[int, Any]]]:
    """Object ids for their keys."""
    keys = sorted({key for entries in frames.values() for key, _ in entries if key != VOID})
    kept = all(isinstance(key, int) and 0 < key < VOID for (key,) in keys)
    ids: dict[Any, int] = {key: key[0] if kept else number for number, key in enumerate(keys, 1)}
    if len(ids) >= VOID:
        raise UserError(f"{len(ids)} objects in one video; at most 254 are expected")
    ids[VOID] = VOID
    return {name: [(ids[key], segment) for key, segment in entries] for name, entries in frames.items()}


def _read(
    path: Path,
    frames: Mapping[str, Collection[tuple[int, Any]]],
    size: tuple[int, int] | None,
    shared: dict[str, int],
    name: str,
) -> np.ndarray:
    """Of several masks of one object in a frame all count."""
    entries = frames[name]
    if size is None:
        given = next((s["size"] for _, s in entries if isinstance(s, dict) and "size" in s), None)
        if given is None:
            raise UserError(f"{path}: nothing tells the size of frame {name}; give its image a height and a width")
    try:
        size = size or _size(given)
        layers: dict[int, np.ndarray] = {}
        for number, segment in entries:
            layers[number] = segment_mask(segment, size) | layers.get(number, np.zeros(size, bool))
    except ValueError as error:
        raise UserError(f"{path}: frame {name}: {error}; write this mask anew") from error
    void = layers.pop(VOID, np.zeros(size, bool))
    mask = stacked(layers, size)
    note_shared(shared, name, layers, mask)
    mask[void & (mask == 0)] = VOID
    return mask
