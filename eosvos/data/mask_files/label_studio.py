"""Label Studio's JSON: brush labels, polygons and ellipses (labelstud.io/guide/task_format, /tags/brushlabels).

    [{"data": {"image": "/data/local-files/?d=clip/00000.jpg"},
      "annotations": [{"was_cancelled": false, "result": [
        {"id": "a1", "type": "brushlabels", "original_width": 854, "original_height": 480, "image_rotation": 0,
         "value": {"format": "rle", "rle": [0, 25, ...], "brushlabels": ["bear"]}},
        {"id": "b2", "type": "polygonlabels", "value": {"points": [[12.5, 40], ...], "polygonlabels": ["cub"]}}]}]}]

Coordinates are percent of the image. `rle` are bytes of a stream of bits that packs the image's red, green, blue and
alpha values, row by row (@thi.ng/rle-pack): 32 bits count the values, 5 are the bits of a value less one, 4 by 4 are
the bits of four kinds of length less one; then for each run 1, 2 bits for the kind, its length less one, its value; or
0, 2 bits for the kind, a count less one, and as many values. Alpha tells what is painted.

Predictions are read where no task has an annotation. A label is an object; where an attribute of a region is called
track_id, that is.
"""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from eosvos.data.image_files import several
from eosvos.data.mask_files.coco_json import Shapes, image_name, size_of, track_of
from eosvos.data.mask_files.drawn_shapes import Drawn, add_drawn, describe_kinds, polygon_of_fractions
from eosvos.data.mask_files.tool_json import ellipse
from eosvos.data.masks import ids_of
from eosvos.errors import UserError
from eosvos.files import write_text

log = logging.getLogger(__name__)

_LENGTHS = (3, 4, 8, 16)  # bits of the kinds of length that are written
_REMEDY = "give each object a label of its own, or regions a text field track_id, the same for an object in all images"


def is_label_studio(content: Any) -> bool:
    """Return whether the content of a JSON file is Label Studio's."""
    first = content[0] if isinstance(content, list) and content else None
    return (
        isinstance(first, Mapping)
        and "data" in first
        and bool(set(first) & {"annotations", "predictions", "completions"})
    )


def of_label_studio(content: Iterable[Mapping[str, Any]]) -> dict[str, Shapes]:
    """Parse Label Studio's tasks, an image each. The folder of an image is the video."""
    tasks = list(content)
    of_people = any(_results(task.get("annotations") or task.get("completions")) for task in tasks)
    if not of_people and any(_results(task.get("predictions")) for task in tasks):
        log.warning("Label Studio's tasks have no annotations, so their predictions are read")
    shapes_by_video: dict[str, Shapes] = {}
    drawn_by_video: dict[str, list[Drawn]] = {}
    others: Counter[str] = Counter()
    for task in tasks:
        folder, stem = _image_of(task)
        shapes = shapes_by_video.setdefault(folder, Shapes(description="Label Studio's regions"))
        if stem in shapes.frames:
            raise UserError(f"two tasks of the image {stem}; keep one")
        shapes.frames[stem] = []
        results = _results(
            (task.get("annotations") or task.get("completions")) if of_people else task.get("predictions")
        )
        if len(results) > 1:
            raise UserError(
                f"the task of the image {stem} has {len(results)} annotations, of several people or models; keep one,"
                " or mark one as ground truth"
            )
        for drawn in _regions(results[0] if results else [], stem, shapes, others):
            drawn_by_video.setdefault(folder, []).append(drawn)
    if others:
        message = f"left out, as they are no masks: {describe_kinds(others)}; paint with the brush, or draw polygons"
        if not drawn_by_video:
            raise UserError(f"no masks in it; {message}")
        log.warning("Label Studio's regions: %s", message)
    for folder, those in drawn_by_video.items():
        add_drawn(shapes_by_video[folder], those, "label", _REMEDY)
    return shapes_by_video


def write_label_studio(
    path: str | Path,
    masks: Iterable[tuple[str, np.ndarray]],
    *,
    video: str,
    labels: Mapping[int, str],
    kind: str = ".jpg",
) -> None:
    """Write the id masks of a video as tasks of Label Studio with predictions to start from, atomically.

    Args:
        path: the file.
        masks: (frame name, id mask uint8 (H, W)) pairs; void is left out.
        video: name of the video, the folder of the images in a local storage of Label Studio.
        labels: object id -> label, of all objects.
        kind: extension of the images.
    """
    tasks = []
    for name, mask in masks:
        result = [
            {
                "id": f"{name}-{number}",
                "type": "brushlabels",
                "from_name": "tag",
                "to_name": "image",
                "original_width": mask.shape[1],
                "original_height": mask.shape[0],
                "image_rotation": 0,
                "value": {
                    "format": "rle",
                    "rle": brush_encode(mask == number),
                    "brushlabels": [labels.get(number, f"object {number}")],
                },
            }
            for number in ids_of(mask)
        ]
        image = f"/data/local-files/?d={quote(f'{video}/{name}{kind}')}"
        tasks.append({"data": {"image": image}, "predictions": [{"model_version": "eosvos", "result": result}]})
    write_text(path, json.dumps(tasks))


def brush_encode(mask: np.ndarray) -> list[int]:
    """Encode a mask, bool (H, W), as Label Studio's bytes, 255 being painted."""
    flat = mask.ravel()
    ends = np.concatenate([np.flatnonzero(flat[1:] != flat[:-1]) + 1, [flat.size]])
    lengths = 4 * np.diff(ends, prepend=0)
    bits = [f"{4 * flat.size:032b}{8 - 1:05b}", *(f"{length - 1:04b}" for length in _LENGTHS)]
    painted = bool(flat[0])
    for length in lengths.tolist():
        while length:
            part = min(length, 1 << _LENGTHS[-1])
            kind = next(k for k, size in enumerate(_LENGTHS) if part <= 1 << size)
            bits.append(f"1{kind:02b}{part - 1:0{_LENGTHS[kind]}b}" + ("1" * 8 if painted else "0" * 8))
            length -= part
        painted = not painted
    stream = "".join(bits)
    stream += "0" * (-len(stream) % 8)
    return list(int(stream, 2).to_bytes(len(stream) // 8, "big"))


def brush_decode(code: Any, size: tuple[int, int]) -> np.ndarray:
    """Decode Label Studio's bytes.

    Args:
        code: list of numbers from 0 to 255.
        size: height and width in pixels.

    Returns:
        bool (H, W): where alpha is more than half of the largest one, as brushes have soft edges.

    Raises:
        ValueError: if they are not of an image of this size.
    """
    try:
        data = bytes(code)
    except (TypeError, ValueError) as error:
        raise ValueError(f"rle={str(code)[:60]}; expected are numbers from 0 to 255") from error
    count, end, padded = int.from_bytes(data[:4], "big"), 8 * len(data), data + bytes(8)
    if count != 4 * size[0] * size[1]:
        raise ValueError(f"rle of {count} values for an image of {size[1]}x{size[0]}; expected are 4 for each pixel")

    def read(start: int, length: int) -> int:
        window = int.from_bytes(padded[start >> 3 : (start >> 3) + 8], "big")
        return window >> (64 - (start & 7) - length) & ((1 << length) - 1)

    word, sizes = read(32, 5) + 1, [read(37 + 4 * k, 4) + 1 for k in range(4)]
    position, done = 53, 0
    lengths: list[int] = []
    values: list[int] = []
    while done < count:
        if position + 3 > end:
            raise ValueError("an rle that is cut off")
        size_of_length = sizes[read(position + 1, 2)]
        part = read(position + 3, size_of_length) + 1
        single = not read(position, 1)
        position += 3 + size_of_length
        done += part
        if done > count or position + word * (part if single else 1) > end:
            raise ValueError("an rle that is cut off, or of more pixels than the image has")
        for _ in range(part if single else 1):
            values.append(read(position, word))
            position += word
        lengths += [1] * part if single else [part]
    alpha = np.repeat(np.array(values, np.uint32 if word > 8 else np.uint8), lengths)[3::4].reshape(size)
    return alpha > alpha.max() // 2


def _results(annotations: Any) -> list[list[Mapping[str, Any]]]:
    """Return the results of annotations that were not skipped; of those marked as ground truth, if any are."""
    there = [one for one in annotations or () if not one.get("was_cancelled") and one.get("result")]
    return [one["result"] for one in [a for a in there if a.get("ground_truth")] or there]


def _image_of(task: Mapping[str, Any]) -> tuple[str, str]:
    data = task["data"]
    texts = [value for value in [data.get("image"), *data.values()] if isinstance(value, str)]
    value = next(iter([text for text in texts if re.search(r"\.[A-Za-z0-9]{2,5}($|\?)", text)] or texts), "")
    name = value or str(task.get("file_upload") or "")
    if not name:
        raise UserError(f"task {task.get('id')}: no image in its data ({str(data)[:60]}); images are read, a task each")
    folder, stem = image_name(name)
    if "/upload/" in name or not value:  # what Label Studio stores itself has eight hexadecimal digits before it
        return "", re.sub(r"^[0-9a-f]{8}-", "", stem)
    return folder, stem


def _regions(result: Iterable[Mapping[str, Any]], stem: str, shapes: Shapes, others: Counter[str]) -> Iterable[Drawn]:
    parts: dict[Any, list[Mapping[str, Any]]] = {}  # a region's shape, its labels and attributes, joined by its id
    for k, part in enumerate(result):
        parts.setdefault(part.get("id", ("", k)), []).append(part)
    for region in parts.values():
        shape = next((part for part in region if _is_mask(part)), None)
        if shape is None:
            others.update(
                str(part.get("type"))
                for part in region[:1]
                if set(part["value"]) & {"x", "sequence", "points", "vertices"}
            )
            continue
        if shape.get("image_rotation"):
            raise UserError(f"image {stem}: turned by {shape['image_rotation']} degrees; turn it back, and draw anew")
        size = size_of((shape["original_height"], shape["original_width"]))
        if shapes.sizes.setdefault(stem, size) != size:
            raise UserError(f"image {stem}: regions of the sizes {shapes.sizes[stem]} and {size}; expected is one size")
        texts = [str(t) for part in region for name, v in part["value"].items() if name.endswith("labels") for t in v]
        fields = {str(part.get("from_name")): _field(part["value"]) for part in region if part is not shape}
        label = several(list(dict.fromkeys(texts))) or "no label"
        yield Drawn(stem, label, _segment(shape["value"], size), track_of(fields))


def _is_mask(part: Mapping[str, Any]) -> bool:
    value = part["value"]
    return "rle" in value or "radiusX" in value or ("points" in value and str(part.get("type")).startswith("polygon"))


def _field(value: Mapping[str, Any]) -> Any:
    """Return the value of a region's attribute: a text, a number or a choice."""
    found = next((value[name] for name in ("text", "number", "choices") if name in value), None)
    return found[0] if isinstance(found, list) and found else found


def _segment(value: Mapping[str, Any], size: tuple[int, int]) -> Any:
    if "rle" in value:
        return partial(brush_decode, value["rle"])
    if "points" in value:
        return polygon_of_fractions(np.array(value["points"], np.float64).reshape(-1, 2) / 100)
    unit = np.array((size[1], size[0])) / 100
    (cx, cy), (rx, ry) = unit * (value["x"], value["y"]), unit * (value["radiusX"], value["radiusY"])
    return ellipse(cx, cy, rx, ry, np.radians(value.get("rotation") or 0))
