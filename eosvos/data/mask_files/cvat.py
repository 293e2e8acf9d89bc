"""CVAT's XML 1.1, "CVAT for images" and "CVAT for video" (docs.cvat.ai, XML annotation format).

    <image id="0" name="00000.jpg" width="854" height="480">
      <mask label="bear" occluded="0" rle="3, 5, ..." left="9" top="7" width="8" height="6" z_order="0"/>
      <polygon label="cub" points="19.50,40.10;...;..." z_order="1" group_id="2"/>
    </image>
    <track id="0" label="bear">
      <polygon frame="0" keyframe="1" outside="0" occluded="0" points="..." z_order="0"/>
    </track>

are an image of the one and a track of the other. `rle` are the lengths of runs without and with the object by turns,
along the rows of the box. Holes and parts of polygons are shapes of their own, which a group_id joins within an image.
`frame` is the frame's index in the video. A track is an object; where one is not shown any more it is `outside`.

CVAT has no tracks of masks: it exports shapes to "CVAT for video" as tracks of one frame, each ended by `outside`.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from eosvos.data.mask_files.coco_json import Key, Shapes, image_name, keys_by_label, size_of, track_of
from eosvos.data.mask_files.drawn_shapes import Drawn, add_drawn, add_to_frame, describe_kinds
from eosvos.data.mask_files.rle import segment_mask
from eosvos.data.mask_files.tool_json import ellipse
from eosvos.errors import UserError

log = logging.getLogger(__name__)

_SHAPES = ("mask", "polygon", "ellipse", "box", "polyline", "points", "cuboid", "skeleton")
_MOST_FRAMES = 10**7
_TRACK_ID = "give shapes an attribute track_id, the same for an object in all images, or each object a label of its own"


@dataclass
class _Task:
    name: str = ""
    size: tuple[int, int] | None = None
    frames: range = range(0)  # of a video: the indices of the annotated frames
    step: int = 1


@dataclass
class _Track:
    number: int
    label: str
    task: str
    drawn: list[Drawn] = field(default_factory=list)
    outside: list[int] = field(default_factory=list)  # frames


def is_cvat(path: Path) -> bool:
    """Return whether a file is CVAT's XML, by its beginning."""
    with open(path, "rb") as file:
        return b"<annotations" in file.read(4096)


def of_cvat(path: Path, *, drawn_only: bool) -> dict[str, Shapes]:
    """Parse a file of CVAT. The folder in an image's name is the video; of a project, the task is.

    Args:
        path: the file.
        drawn_only: leave out what CVAT interpolated between keyframes.

    Raises:
        UserError: if the file is not CVAT's, has entities, or has no masks, or nothing identifies objects.
    """
    tasks: dict[str, _Task] = {"": _Task()}
    images: list[tuple[Mapping[str, str], list[Drawn]]] = []
    tracks: list[_Track] = []
    drawn: list[Drawn] = []
    others: Counter[str] = Counter()
    interpolated = 0
    track: _Track | None = None
    for event, element in _elements(path):
        about, tag = dict(element.attrib), element.tag
        if event == "start":
            if tag == "track":
                number, label = _whole(about, "id", tag), about.get("label", "")
                track = _Track(number, label, about.get("task_id", ""))
            elif tag == "image":
                drawn = []
            continue
        if tag == "meta":
            tasks = _tasks(element)
        elif tag == "track" and track is not None:
            tracks.append(track)
            track = None
        elif tag == "image":
            images.append((about, drawn))
        elif tag in _SHAPES:
            between = about.get("keyframe") == "0"
            if tag not in ("mask", "polygon", "ellipse"):
                others[tag] += 1
            elif between and drawn_only:
                interpolated += 1
            elif track is not None:
                frame = _whole(about, "frame", tag)
                if about.get("outside") == "1":
                    track.outside.append(frame)
                else:
                    interpolated += between
                    track.drawn.append(_shape(element, f"{frame:05d}", track.label))
            else:
                drawn.append(_shape(element, "", about.get("label", "")))
        if tag in (*_SHAPES, "track", "image", "meta"):
            element.clear()
    tracks = [one for one in tracks if one.drawn]
    if others:
        log.warning(
            "%s: left out, as they are no masks: %s; draw polygons or masks where an object is to be followed",
            path,
            describe_kinds(others),
        )
    if others and not tracks and not any(those for _, those in images):
        raise UserError(
            f"{path}: no masks in it, but {describe_kinds(others)}; boxes and their interpolation are no masks: draw"
            " polygons or masks"
        )
    if interpolated:
        log.warning(
            "%s: %d shapes between keyframes were interpolated by CVAT, not drawn: %s",
            path,
            interpolated,
            "left out; with absent=all they are masks, too" if drawn_only else "taken for masks, too",
        )
    return _of_tracks(path, tasks, tracks) if tracks else _of_images(path, tasks, images)


def _elements(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield ("start" or "end", element) of an XML file; raises UserError for entities, and for anything else."""
    try:
        from defusedxml import DefusedXmlException
        from defusedxml.ElementTree import ParseError, iterparse
    except ImportError as error:
        raise UserError(f"{path}: CVAT's XML needs a package that is missing: pip install defusedxml") from error
    root = None
    try:
        for event, element in iterparse(path, events=("start", "end"), forbid_dtd=True):
            if root is None:
                root = element
                if element.tag != "annotations":
                    raise UserError(
                        f"{path}: XML whose first element is {element.tag[:40]!r}; of XML, CVAT's is read"
                        " (annotations); of other tools export COCO"
                    )
            yield event, element
            if event == "end" and element.tag in ("image", "track"):
                root.clear()  # what has been read, which would fill the memory
    except DefusedXmlException as error:
        raise UserError(f"{path}: XML with a document type or entities ({error}), which CVAT never writes") from error
    except ParseError as error:
        raise UserError(f"{path}: no XML, or cut off ({error}); export it again") from error


def _tasks(meta: Any) -> dict[str, _Task]:
    """Return task id -> task; that of "" is for shapes without one."""
    found = {}
    for task in [*meta.iter("task"), *meta.iter("job")]:
        text = {part.tag: (part.text or "").strip() for part in task}
        step = re.search(r"step=(\d{1,6})", text.get("frame_filter", ""))
        one = _Task(text.get("name", ""), step=max(1, int(step.group(1))) if step else 1)
        original = task.find("original_size")
        if original is not None:
            sides = {part.tag: part.text or "" for part in original}
            one.size = size_of((_whole(sides, "height", "original_size"), _whole(sides, "width", "original_size")))
        if text.get("stop_frame"):
            one.frames = range(
                _whole(text, "start_frame", "task", "0"), _whole(text, "stop_frame", "task") + 1, one.step
            )
        elif text.get("size"):
            one.frames = range(_whole(text, "size", "task"))
        if len(one.frames) > _MOST_FRAMES:
            raise UserError(f"a task of {len(one.frames)} frames; at most {_MOST_FRAMES} are read")
        found[text.get("id", "")] = one
    return {"": next(iter(found.values()), _Task())} | found


def _shape(element: Any, frame: str, label: str) -> Drawn:
    about = element.attrib
    segment: Any
    if element.tag == "mask":
        left, top, width, height = (_whole(about, side, "mask") for side in ("left", "top", "width", "height"))
        segment = partial(_mask, about["rle"], (left, top, width, height))
    elif element.tag == "polygon":
        segment = partial(_polygon, about["points"])
    else:
        cx, cy, rx, ry, turn = (float(about.get(name, 0)) for name in ("cx", "cy", "rx", "ry", "rotation"))
        segment = ellipse(cx, cy, rx, ry, np.radians(turn))
    track = track_of({part.get("name"): part.text for part in element.findall("attribute")})
    return Drawn(frame, label, segment, track, about.get("group_id"), int(about.get("z_order", 0)))


def _of_images(
    path: Path, tasks: Mapping[str, _Task], images: Iterable[tuple[Mapping[str, str], list[Drawn]]]
) -> dict[str, Shapes]:
    shapes_by_video: dict[str, Shapes] = {}
    drawn_by_video: dict[str, list[Drawn]] = {}
    for about, those in images:
        folder, stem = image_name(about["name"])
        project = "task_id" in about and len(tasks) > 2
        video = tasks[about["task_id"]].name if project and not folder else folder
        shapes = shapes_by_video.setdefault(video, Shapes(description="CVAT's shapes"))
        if stem in shapes.frames:
            raise UserError(f"{path}: two images are named {stem}; keep one of them")
        shapes.frames[stem] = []
        shapes.sizes[stem] = size_of((_whole(about, "height", "image"), _whole(about, "width", "image")))
        drawn_by_video.setdefault(video, []).extend(replace(one, frame=stem) for one in those)
    for video, drawn in drawn_by_video.items():
        add_drawn(shapes_by_video[video], drawn, "label", _TRACK_ID)
    return shapes_by_video


def _of_tracks(path: Path, tasks: Mapping[str, _Task], tracks: Iterable[_Track]) -> dict[str, Shapes]:
    by_task: dict[str, list[_Track]] = {}
    for track in tracks:
        by_task.setdefault(track.task if track.task in tasks else "", []).append(track)
    found = {}
    for number, those in by_task.items():
        task = tasks[number]
        last = max([int(one.frame) for track in those for one in track.drawn] + [n for t in those for n in t.outside])
        listed = task.frames or range(last + 1)
        shapes = Shapes({f"{n:05d}": [] for n in listed}, by_frame_number=True, description="CVAT's tracks")
        _add_tracks(path, shapes, those, task.step)
        shapes.frames = dict(sorted(shapes.frames.items(), key=lambda entry: int(entry[0])))
        if task.size is not None:
            shapes.sizes = dict.fromkeys(shapes.frames, task.size)
        found[task.name if len(by_task) > 1 else ""] = shapes
    return found


def _add_tracks(path: Path, shapes: Shapes, tracks: Iterable[_Track], step: int) -> None:
    """Add tracks, each of which is an object, unless several of one label look like shapes that CVAT exported."""
    by_label: dict[str, list[_Track]] = {}
    for track in tracks:
        by_label.setdefault(track.label, []).append(track)
        if len(track.drawn) == 1 and int(track.drawn[0].frame) + step in track.outside:
            track.outside.remove(int(track.drawn[0].frame) + step)  # how CVAT ends a shape; it was not drawn
    shapes.description += ", an object for each track"
    for label, those in by_label.items():
        drawn = [one for track in those for one in track.drawn]
        single = len(those) > 1 and len(drawn) == len(those) and len({one.frame for one in drawn}) > 1
        if single and not any(one.track is not None for one in drawn):
            keys_by_label(
                [(one.frame, (label,)) for one in drawn], "label", "in CVAT draw objects as tracks, or " + _TRACK_ID
            )
            log.warning(
                "%s: each of the %d tracks of the label %r shows it on a single frame: taken for one object, as CVAT"
                " exports shapes so; give objects labels of their own, or draw them as tracks, if they are several",
                path,
                len(those),
                label,
            )
        for track in those:
            key: Key = (label,) if single else (track.number,)
            shapes.labels[key] = label
            shapes.names[key] = label if single else f"{label} (track {track.number})"
            for one in track.drawn:
                add_to_frame(shapes, one.frame, key, one.segment, one.z_order)
            for frame in track.outside:
                add_to_frame(shapes, f"{frame:05d}", key, [])


def _mask(rle: str, box: tuple[int, int, int, int], size: tuple[int, int]) -> np.ndarray:
    left, top, width, height = box
    if width < 1 or height < 1 or left + width > size[1] or top + height > size[0]:
        raise ValueError(f"a mask of {width}x{height} at {left}, {top} in an image of {size[1]}x{size[0]}")
    if rle.count(",") > width * height:
        raise ValueError(
            f"a mask of {width}x{height} pixels with {rle.count(',') + 1} runs; at most one more is possible"
        )
    try:
        runs = np.array([int(n) for n in rle.split(",")], np.int64)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"rle={rle[:60]!r}; expected are whole numbers, the lengths of runs") from error
    if runs.min() < 0 or runs.max() > width * height or runs.sum() != width * height:
        raise ValueError(f"rle={rle[:60]!r} for a mask of {width}x{height}; expected are runs of as many pixels in all")
    mask = np.zeros(size, bool)
    mask[top : top + height, left : left + width] = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(
        height, width
    )
    return mask


def _polygon(points: str, size: tuple[int, int]) -> np.ndarray:
    count, most = points.count(";") + 1, 4 * (size[0] + 1) * (size[1] + 1)
    if count > most:
        raise ValueError(f"a polygon of {count} points in an image of {size[1]}x{size[0]}; at most {most} are possible")
    mask = segment_mask([[float(n) for pair in points.split(";") for n in pair.split(",")]], size)
    if not mask.any():
        raise ValueError(f"a polygon that covers no pixel: {points[:60]!r}")
    return mask


def _whole(about: Mapping[str, str], name: str, where: str, default: str | None = None) -> int:
    text = about.get(name, default) or ""
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise UserError(f"{where} with {name}={text[:40]!r}; expected is a whole number")
    return int(text)
