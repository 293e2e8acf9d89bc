"""JSON of labelme and VIA (VGG Image Annotator); for that of other tools, what to export from them instead.

labelme has a file for each image: shapes with a label and a group_id, which distinguishes objects of the same label.
VIA has one file, whose regions have attributes of the user's own; the one called track_id (or object_id, instance_id),
or the only one there is, identifies the object.
"""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from eosvos.data.mask_files.coco_json import Key, Shapes, image_name, keys_by_label, size_of, track_of
from eosvos.data.mask_files.rle import rle_encode
from eosvos.data.masks import VOID, ids_of
from eosvos.errors import UserError
from eosvos.files import write_text

_VOID, _NOTHING = "__ignore__", "_background_"  # labels with a meaning in labelme
_CORNERS = 180  # of the polygon that a circle is taken as: it lies within a tenth of a pixel of one of 600 pixels


def is_labelme(content: Any) -> bool:
    """Return whether the content of a JSON file is labelme's."""
    return isinstance(content, Mapping) and "shapes" in content and ("imagePath" in content or "version" in content)


def is_labelme_file(path: Path) -> bool:
    """Return whether a file is labelme's JSON."""
    try:
        return is_labelme(json.loads(path.read_text(encoding="utf-8-sig")))
    except (ValueError, OSError, RecursionError):
        return False


def is_via(content: Any) -> bool:
    """Return whether the content of a JSON file is VIA's, version 1 or 2."""
    if not isinstance(content, Mapping) or not content:
        return False
    entries = content.get("_via_img_metadata", content)
    return isinstance(entries, Mapping) and all(isinstance(e, Mapping) and "regions" in e for e in entries.values())


def refuse_others(content: Any) -> None:
    """Raise UserError for files of known tools that are not read, with what to export instead."""
    first = content[0] if isinstance(content, list) and content else {}
    keys = set(content) if isinstance(content, Mapping) else set()
    problem = ""
    if isinstance(first, Mapping) and {"annotation_id", "annotator"} <= set(first):
        problem = "Label Studio's JSON-MIN is not read; export 'JSON'"
    if {"metadata", "file", "view"} <= keys:
        problem = "a project of VIA 3 is not read; export its annotations as COCO"
    elif "items" in keys and "categories" in keys:
        problem = "datumaro's own JSON is not read; export 'COCO 1.0' (datum convert --output-format coco_instances)"
    elif "objects" in keys and keys & {"size", "tags", "description"}:
        problem = "Supervisely's own JSON is not read; export to COCO"
    elif "item" in keys and "annotations" in keys:
        problem = "Darwin JSON of V7 is not read; export COCO"
    elif isinstance(content, Mapping) and isinstance(content.get("annotations"), list):
        if any(isinstance(a, Mapping) and "segments_info" in a for a in content["annotations"]):
            problem = "COCO's panoptic form, whose masks are PNG files; give these, with ids as values, or instances"
    if problem:
        raise UserError(problem)


def of_labelme(files: Sequence[tuple[Path, Mapping[str, Any]]]) -> dict[str, Shapes]:
    """Parse labelme: the shapes of images, a file each."""
    shapes = Shapes(description="labelme's shapes")
    drawn: list[tuple[str, Key, Any]] = []
    for path, content in files:
        stem = image_name(content.get("imagePath") or path.stem)[1]
        if stem in shapes.frames:
            raise UserError(f"{path}: two files for the image {stem}; keep one")
        shapes.frames[stem] = []
        if content.get("imageHeight") and content.get("imageWidth"):
            shapes.sizes[stem] = size_of((content["imageHeight"], content["imageWidth"]))
        for shape in content["shapes"]:
            label, group = str(shape["label"]), shape.get("group_id")
            if label == _NOTHING:
                continue
            segment = _labelme_shape(shape, shapes.sizes.get(stem), f"{path}: the shape {label!r}")
            if label == _VOID:
                shapes.frames[stem].append((None, segment))
            else:
                drawn.append((stem, (label, "" if group is None else group), segment))
    grouped = [(stem, key) for stem, key, _ in drawn if key[1] != ""]
    alone = [(stem, key) for stem, key, _ in drawn if key[1] == ""]
    if mixed := {key[0] for _, key in alone} & {key[0] for _, key in grouped}:
        raise UserError(f"shapes {sorted(mixed)[0]!r} with and without group_id; give all of them one, or none")
    keys, how = keys_by_label(alone, "label", "give shapes a group_id")
    shapes.description += how if alone else ""
    shapes.description += f"{', and' if alone else ', an object'} for each label and group_id" if grouped else ""
    rest = iter(keys)
    for stem, key, segment in drawn:
        object_key = key if key[1] != "" else next(rest)
        shapes.labels[object_key] = key[0]
        shapes.names[object_key] = key[0] + (f" (group {key[1]})" if key[1] != "" else "")
        shapes.frames[stem].append((object_key, segment))
    return {"": shapes}


def of_via(content: Mapping[str, Any]) -> dict[str, Shapes]:
    """Parse VIA 1 and 2: the regions of all images."""
    shapes = Shapes(description="VIA's regions")
    drawn: list[tuple[str, Mapping[str, Any], Any]] = []
    for entry in content.get("_via_img_metadata", content).values():
        stem = image_name(entry["filename"])[1]
        if stem in shapes.frames:
            raise UserError(f"two entries for the image {stem}; keep one")
        shapes.frames[stem] = []
        regions = entry["regions"]
        for region in regions.values() if isinstance(regions, Mapping) else regions:
            attributes_of_region = region.get("region_attributes") or {}
            filled = {key: value for key, value in attributes_of_region.items() if value not in (None, "", {}, [])}
            drawn.append((stem, filled, _via_shape(region["shape_attributes"], f"image {stem}")))
    tracks = [track_of(attributes) for _, attributes, _ in drawn]
    names = sorted({name for _, attributes, _ in drawn for name in attributes})
    frames = {stem for stem, _, _ in drawn}
    if drawn and None not in tracks:
        keys: list[Key] = [(track,) for track in tracks]
        shapes.description += ", an object for each track"
    elif len(names) > 1 and len(frames) > 1:
        raise UserError(
            f"which of the attributes {', '.join(names)} tells the object? Give regions one called track_id, the same"
            " for an object in all images"
        )
    else:
        what = names[0] if len(names) == 1 else "label"
        labels = [(stem, (json.dumps(attributes, sort_keys=True),)) for stem, attributes, _ in drawn]
        keys, how = keys_by_label(labels, what, "give regions an attribute track_id")
        shapes.description += how
    for key, (stem, attributes, segment) in zip(keys, drawn, strict=True):
        shapes.frames[stem].append((key, segment))
        shapes.names[key] = ", ".join(str(value) for value in attributes.values()) or "region"
    return {"": shapes}


def write_labelme(
    folder: str | Path, masks: Iterable[tuple[str, np.ndarray]], *, labels: Mapping[int, str], kind: str = ".jpg"
) -> None:
    """Write the id masks of a video as labelme's files: `folder`/FRAME.json, with a shape "mask" for each object.

    Args:
        folder: the folder.
        masks: (frame name, id mask uint8 (H, W)) pairs. Void gets the label that labelme ignores.
        labels: object id -> label, of all objects.
        kind: extension of the images.
    """
    for name, mask in masks:
        void = [VOID] if (mask == VOID).any() else []
        content = {
            "version": "5.4.1",
            "flags": {},
            "shapes": [
                _mask_shape(_VOID if n == VOID else labels.get(n, f"object {n}"), mask == n)
                for n in [*ids_of(mask), *void]
            ],
            "imagePath": name + kind,
            "imageData": None,
            "imageHeight": mask.shape[0],
            "imageWidth": mask.shape[1],
        }
        write_text(Path(folder) / f"{name}.json", json.dumps(content))


def _mask_shape(label: str, mask: np.ndarray) -> dict[str, Any]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    y0, y1, x0, x1 = (int(n) for n in (rows[0], rows[-1], columns[0], columns[-1]))
    file = io.BytesIO()
    Image.fromarray(mask[y0 : y1 + 1, x0 : x1 + 1]).save(file, format="PNG")
    return {
        "label": label,
        "points": [[x0, y0], [x1, y1]],
        "group_id": None,
        "description": "",
        "shape_type": "mask",
        "flags": {},
        "mask": base64.b64encode(file.getvalue()).decode("ascii"),
    }


def ellipse(x: float, y: float, a: float, b: float, turn: float = 0.0) -> list[list[float]]:
    """Return an ellipse as a polygon: centre and half axes in pixels, turned clockwise by radians."""
    angles = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
    along, across = a * np.cos(angles), b * np.sin(angles)
    xs = x + along * math.cos(turn) - across * math.sin(turn)
    ys = y + along * math.sin(turn) + across * math.cos(turn)
    return [np.stack([xs, ys], -1).ravel().tolist()]


def _labelme_shape(shape: Mapping[str, Any], size: tuple[int, int] | None, where: str) -> Any:
    points = [(float(x), float(y)) for x, y in shape["points"]]
    kind = shape.get("shape_type") or "polygon"
    if kind == "mask":
        return _pasted(shape["mask"], points, size, where)
    if kind == "circle" and len(points) == 2:
        (x, y), edge = points
        return ellipse(x, y, math.dist((x, y), edge), math.dist((x, y), edge))
    if kind == "rectangle" and len(points) == 2:
        (x0, y0), (x1, y1) = points
        return [[x0, y0, x1, y0, x1, y1, x0, y1]]
    if kind in ("polygon", "rotation", "rectangle") and len(points) > 2:
        return [[n for point in points for n in point]]
    raise UserError(f"{where} is a {kind} of {len(points)} points, which has no area; make it a polygon, or remove it")


def _pasted(code: str, points: list[tuple[float, float]], size: tuple[int, int] | None, where: str) -> Any:
    """Return the run-length code of a mask that is stored as a PNG of its box."""
    if size is None:
        raise UserError(f"{where}: a mask in an image whose imageHeight and imageWidth are not told")
    with Image.open(io.BytesIO(base64.b64decode(code)), formats=("PNG",)) as image:
        if image.width * image.height > size[0] * size[1]:
            raise UserError(f"{where}: a mask of {image.width}x{image.height} in an image of {size[1]}x{size[0]}")
        part = np.array(image.convert("L")) > 0
    x, y = (round(n) for n in points[0])
    if x < 0 or y < 0 or y + part.shape[0] > size[0] or x + part.shape[1] > size[1]:
        raise UserError(f"{where}: a mask beyond the edge of its image of {size[1]}x{size[0]}")
    whole = np.zeros(size, bool)
    whole[y : y + part.shape[0], x : x + part.shape[1]] = part
    return rle_encode(whole)


def _via_shape(shape: Mapping[str, Any], where: str) -> Any:
    kind = str(shape.get("name"))
    made: dict[str, Callable[[], Any]] = {
        "polygon": lambda: [
            [float(n) for xy in zip(shape["all_points_x"], shape["all_points_y"], strict=True) for n in xy]
        ],
        "rect": lambda: _rectangle(*(float(shape[k]) for k in ("x", "y", "width", "height"))),
        "circle": lambda: ellipse(float(shape["cx"]), float(shape["cy"]), float(shape["r"]), float(shape["r"])),
        "ellipse": lambda: ellipse(*(float(shape.get(k, 0)) for k in ("cx", "cy", "rx", "ry", "theta"))),
    }
    if kind not in made:
        raise UserError(f"{where}: a region that is a {kind}, which has no area; make it a polygon, or remove it")
    return made[kind]()


def _rectangle(x: float, y: float, width: float, height: float) -> list[list[float]]:
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]
