"""COCO's instances as annotation tools write them, and YouTube-VIS: which mask belongs to which object and frame.

In COCO's form every object and frame has an annotation of its own:

    {"images": [{"id": 7, "file_name": "bear/00000.jpg", "height": 480, "width": 854}],
     "annotations": [{"image_id": 7, "track_id": 3, "segmentation": {"size": [480, 854], "counts": "..."}}]}

`track_id` (or instance_id, object_id), in the annotation or in its `attributes` as CVAT and datumaro write it,
identifies the object. Without it, every annotation of a single annotated image is an object; of several images every
category is one, if no image has a category twice. `attributes.outside` says that the object is absent.

A crowd is void, except where a tool uses iscrowd=1 to mark run-length codes, as CVAT and datumaro do.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

from eosvos.data.image_files import several
from eosvos.data.masks import MOST_PIXELS
from eosvos.errors import UserError

log = logging.getLogger(__name__)

Key = tuple[Any, ...]  # identifies an object within its video
TRACKS = ("trackid", "instanceid", "objectid")  # without signs and in small letters
_DRAW = "draw its mask, as a polygon or with a brush, or remove it"


@dataclass
class Shapes:
    """The content of an annotation file for one video.

    Attributes:
        frames: frame -> (object, segmentation) pairs; object None: void. A segmentation is polygons or a run-length
            code in COCO's form, a function of the image's height and width that makes the mask, bool (H, W), or []
            for an object that is annotated as absent.
        sizes: frame -> height and width in pixels, where the file has them.
        names: names of the objects, for messages.
        labels: labels of the objects, as the tool shows them.
        z_order: frame and object -> what lies in front of others, the larger number; without one 0.
        by_frame_number: whether the frames are indices, from 0 on, and no names of images.
        description: the form, and what identifies the objects.
    """

    frames: dict[str, list[tuple[Key | None, Any]]] = field(default_factory=dict)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    names: dict[Key, str] = field(default_factory=dict)
    labels: dict[Key, str] = field(default_factory=dict)
    z_order: dict[tuple[str, Key], int] = field(default_factory=dict)
    by_frame_number: bool = False
    description: str = "COCO's annotations"


def of_videos(content: Mapping[str, Any]) -> dict[str, Shapes]:
    """Parse YouTube-VIS: one annotation for each object, with a mask or null for each frame."""
    shapes_by_video: dict[str, Shapes] = {}
    names: dict[Any, tuple[str, list[str]]] = {}
    for video in content["videos"]:
        files = [image_name(file) for file in video["file_names"]]
        name = (files[0][0] if files else "") or str(video.get("name", ""))
        if name in shapes_by_video:
            raise UserError(f"two videos are named {name!r}")
        stems = [stem for _, stem in files]
        size = size_of((video["height"], video["width"]))
        names[video["id"]] = name, stems
        shapes_by_video[name] = Shapes(
            {stem: [] for stem in stems}, dict.fromkeys(stems, size), description="run-length codes"
        )
    for annotation in content["annotations"]:
        name, stems = names[annotation["video_id"]]
        segments = annotation["segmentations"]
        if len(segments) != len(stems):
            raise UserError(
                f"annotation {annotation['id']} has {len(segments)} masks for {len(stems)} frames of {name!r}"
            )
        key = None if annotation.get("iscrowd") else (annotation["id"],)
        if key is not None:
            shapes_by_video[name].names[key] = str(annotation["id"])
        for stem, segment in zip(stems, segments, strict=True):
            if segment is not None:
                shapes_by_video[name].frames[stem].append((key, segment))
    return shapes_by_video


def of_images(content: Mapping[str, Any]) -> dict[str, Shapes]:
    """Parse COCO: one annotation for each object and image. The folder in a file name is the video."""
    images = _listed(content.get("images") or ())
    shapes_by_video: dict[str, Shapes] = {}
    places: dict[Any, tuple[str, str]] = {}
    videos = {video["id"]: str(video.get("name", "")) for video in content.get("videos") or ()}
    for key, image in images.items():
        folder, stem = image_name(image.get("file_name") or _number_name(key))
        video = folder or videos.get(image.get("video_id"), "")
        places[key] = video, stem
        shapes = shapes_by_video.setdefault(video, Shapes())
        if stem in shapes.frames:
            raise UserError(f"two images are named {stem}; keep one of them (a data set exported with augmentation?)")
        shapes.frames[stem] = []
        if image.get("height") and image.get("width"):
            shapes.sizes[stem] = size_of((image["height"], image["width"]))
    written = {str(key): key for key in images}  # "7" and 7 are the same image
    annotations = []
    for annotation in content["annotations"]:
        key = written.get(str(annotation["image_id"]), annotation["image_id"])
        if key not in images:
            if images:
                raise UserError(f"annotation {annotation.get('id')} is of the image {key!r}, which is not under images")
            places[key] = image_name(_number_name(key))
        annotations.append({**annotation, "image_id": key})
    kinds = {kind.get("id"): str(kind.get("name", "")) for kind in content.get("categories") or ()}
    by_video: dict[str, list[Mapping[str, Any]]] = {}
    for annotation in annotations:
        by_video.setdefault(places[annotation["image_id"]][0], []).append(annotation)
    for video, those in by_video.items():
        shapes = shapes_by_video.setdefault(video, Shapes())
        drawn = [(annotation, segment) for annotation in those if (segment := _segment(annotation, images)) is not None]
        keys, shapes.names, how = _objects([annotation for annotation, _ in drawn], kinds)
        shapes.description += how
        for key, (annotation, segment) in zip(keys, drawn, strict=True):
            if key is not None and annotation.get("category_id") in kinds:
                shapes.labels[key] = kinds[annotation["category_id"]]
            shapes.frames.setdefault(places[annotation["image_id"]][1], []).append((key, segment))
    return shapes_by_video


def image_name(name: str) -> tuple[str, str]:
    """Split the file name of an image, a path of any system or an URL, into its folder and stem."""
    name = name.partition("?d=")[2] or name  # Label Studio's local files
    if "://" in name:
        name = re.split(r"[?#]", name)[0]
    if re.search(r"%[0-9A-Fa-f]{2}", name):
        name = unquote(name)
    path = PurePosixPath(name.replace("\\", "/"))
    stem = re.sub(r"\.[A-Za-z][A-Za-z0-9]{1,4}$", "", path.name)
    return path.parent.name, strip_export_suffix(stem)


def strip_export_suffix(stem: str) -> str:
    """Remove what Roboflow adds to a stem: frame_0001 of frame_0001_jpg.rf.2b7c01."""
    return re.sub(r"[_.-](?:jpe?g|png|bmp|webp|tiff?)\.rf\.[0-9A-Za-z]+", "", stem, flags=re.IGNORECASE)


def size_of(size: Any) -> tuple[int, int]:
    """Check that a size is two whole numbers [H, W] in pixels, and return them. Raises UserError for anything else."""
    sides = [int(n) if isinstance(n, float) and n.is_integer() else n for n in size] if _is_pair(size) else []
    if len(sides) != 2 or not all(isinstance(n, int) and n > 0 for n in sides):
        raise UserError(f"a size of {size!r:.80}; expected is [height, width] in pixels")
    if sides[0] * sides[1] > MOST_PIXELS:
        raise UserError(f"a size of {sides[0]}x{sides[1]}; at most {MOST_PIXELS} pixels are read")
    return sides[0], sides[1]


def keys_by_label(labels: Sequence[tuple[str, Key]], what: str, remedy: str) -> tuple[list[Key], str]:
    """Identify objects by label alone: every label is an object or, in a single frame, every shape.

    Args:
        labels: (frame, label) of every shape, in order.
        what: what a label is, for messages: "label", "category", ...
        remedy: what to do if labels do not identify objects.

    Returns:
        The key of every shape, and how objects are identified in words.

    Raises:
        UserError: if a frame has several shapes of one label and there are several frames.
    """
    if max(Counter(labels).values(), default=0) < 2:
        return [label for _, label in labels], f", an object for each {what}"
    if len({frame for frame, _ in labels}) < 2:
        return [(*label, number) for number, (_, label) in enumerate(labels, 1)], ", each an object of its own"
    frame = next(frame for (frame, _), count in Counter(labels).items() if count > 1)
    raise UserError(
        f"nothing tells which masks are of one object, as frame {frame} has several of one {what}; {remedy}, the same"
        " in all frames"
    )


def track_of(attributes: Any) -> Any:
    """Return the track id in an annotation's entries or attributes, or None."""
    if isinstance(attributes, list):  # of name and value
        attributes = {entry.get("name"): entry.get("value") for entry in attributes if isinstance(entry, Mapping)}
    if not isinstance(attributes, Mapping):
        return None
    plain = {re.sub(r"[^a-z0-9]", "", str(key).lower()): value for key, value in attributes.items()}
    value = next((plain[key] for key in TRACKS if plain.get(key) not in (None, "")), None)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value) else value


def sorted_keys(keys: Iterable[Key]) -> list[Key]:
    """Sort keys: numbers by value, before strings."""
    return sorted(keys, key=lambda key: [(0, part, "") if _is_number(part) else (1, 0, str(part)) for part in key])


def _objects(
    annotations: Sequence[Mapping[str, Any]], kinds: Mapping[Any, str]
) -> tuple[list[Key | None], dict[Key, str], str]:
    """Return the object of each annotation, the objects' names, and how objects are identified in words."""
    marked = [annotation.get("iscrowd") in (1, True, "1") for annotation in annotations]
    tracks = [_track(annotation) for annotation in annotations]
    crowds = [
        mark and track is None and not annotation.get("attributes")
        for mark, track, annotation in zip(marked, tracks, annotations, strict=True)
    ]
    if all(crowds):  # nothing but crowds is to be followed: this is how the tool stores its masks
        crowds = [False] * len(crowds)
    if any(crowds):
        log.warning(
            "%d annotations have iscrowd=1: taken as void, where nothing is known; set it to 0 if they are objects",
            sum(crowds),
        )
    single = [k for k, crowd in enumerate(crowds) if not crowd]
    labels: dict[int, Key] = {k: (annotations[k].get("category_id"),) for k in single}
    names: dict[Key, str] = {label: kinds.get(label[0], str(label[0])) for label in labels.values()}
    without = [k for k in single if tracks[k] is None]
    if without and len(without) < len(single):
        raise UserError(
            f"annotation {annotations[without[0]].get('id')} has no track_id, others have; give all of them one (in"
            " CVAT: draw all objects as tracks, or all as shapes)"
        )
    object_keys: list[Key | None] = [None] * len(annotations)
    if single and not without:
        twice = Counter((annotations[k]["image_id"], tracks[k]) for k in single)
        apart = {(annotations[k]["image_id"], tracks[k], labels[k]) for k in single}
        several_kinds = len(apart) > len(twice)  # tracks are counted anew for each category
        object_names: dict[Key, str] = {}
        for k in single:
            key: Key = (*labels[k], tracks[k]) if several_kinds else (tracks[k],)
            object_keys[k] = key
            object_names[key] = f"{names[labels[k]]} (track {tracks[k]})"
        return object_keys, object_names, ", an object for each track" + " and category" * several_kinds
    images = {annotations[k]["image_id"] for k in single}
    if len(images) < 2 and all(isinstance(annotations[k].get("id"), int | str) for k in single):
        for k in single:
            object_keys[k] = (annotations[k]["id"],)
        object_names = {(annotations[k]["id"],): names[labels[k]] for k in single}
        if len(object_names) == len(single):
            return object_keys, object_names, ", all of one image: each is an object of its own" * (len(single) > 1)
    if len(images) > 1 and any(label == (None,) for label in labels.values()):
        raise UserError("nothing tells which masks are of one object; give annotations a track_id, the same everywhere")
    keys, how = keys_by_label(
        [(str(annotations[k]["image_id"]), labels[k]) for k in single], "category", "give annotations a track_id"
    )
    for k, one in zip(single, keys, strict=True):
        object_keys[k] = one
        names.setdefault(one, names[labels[k]])
    how += " (no track_id: all annotations of a category are taken for one object)" * how.endswith("category")
    return object_keys, {key: names[key] for key in keys}, how


def _track(annotation: Mapping[str, Any]) -> Any:
    for attributes in (annotation, *(annotation.get(part) for part in ("attributes", "extra", "metadata"))):
        if (track := track_of(attributes)) is not None:
            return track
    return None


def _segment(annotation: Mapping[str, Any], images: Mapping[Any, Any]) -> Any:
    """Return the segmentation of an annotation in one of COCO's two forms; None if it shows nothing.

    Raises UserError for a box without a mask, and for numbers that are no pixels.
    """
    attributes = annotation.get("attributes")
    if isinstance(attributes, Mapping) and attributes.get("outside") in (True, 1, "true", "True"):
        return []
    where = f"annotation {annotation.get('id')} (image {_title(annotation['image_id'], images)})"
    segment = annotation["segmentation"] if "bbox" not in annotation else annotation.get("segmentation")
    if not segment or annotation.get("isbbox"):
        box = annotation.get("bbox")
        if annotation.get("isbbox") or _has_area(box):
            raise UserError(f"{where}: a box without a mask; {_DRAW}")
        return None
    if isinstance(segment, Mapping):
        image = images.get(annotation["image_id"], {})
        size = segment.get("size") or ([image["height"], image["width"]] if "height" in image else None)
        counts = segment.get("counts")
        if isinstance(counts, list):
            counts = [int(n) if isinstance(n, float) and n.is_integer() else n for n in counts]
        return {"size": list(size_of(size)), "counts": counts}
    return polygons(segment, where)


def polygons(segment: Any, where: str) -> list[Any]:
    """Return polygons as a list of [x0, y0, x1, y1, ...] in pixels; one polygon, and points as pairs, are accepted."""
    if not isinstance(segment, list):
        raise UserError(f"{where}: neither polygons nor a run-length code: {segment!r:.80}")
    if all(_is_number(n) for n in segment) or (len(segment) > 2 and all(_is_pair(p) for p in segment)):
        segment = [segment]
    flat = [n for polygon in segment if isinstance(polygon, list) for n in _flat(polygon)]
    if flat and all(_is_number(n) and 0 <= n <= 1 for n in flat):
        raise UserError(f"{where}: a polygon within 1 pixel: fractions of the image? Write it in pixels")
    return [_flat(polygon) if isinstance(polygon, list) else polygon for polygon in segment]


def _flat(polygon: list[Any]) -> list[Any]:
    return [n for point in polygon for n in point] if all(map(_is_pair, polygon)) else polygon


def _listed(images: Iterable[Mapping[str, Any]]) -> dict[Any, Mapping[str, Any]]:
    by_id: dict[Any, Mapping[str, Any]] = {}
    for image in images:
        if image["id"] in by_id:
            raise UserError(f"two images have the id {image['id']!r}; give each its own")
        by_id[image["id"]] = image
    return by_id


def _number_name(key: Any) -> str:
    return f"{key:05d}" if isinstance(key, int) else str(key)


def _title(key: Any, images: Mapping[Any, Any]) -> str:
    return str(images.get(key, {}).get("file_name", key))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_number, value))


def _has_area(box: Any) -> bool:
    return isinstance(box, list) and len(box) == 4 and all(map(_is_number, box)) and box[2] > 0 and box[3] > 0


def describe_ids(names: Mapping[Key, str], ids: Mapping[Key, int]) -> str:
    """Describe which object has which id."""
    return several([f"{names.get(key, key[0])} = {number}" for key, number in ids.items()])
