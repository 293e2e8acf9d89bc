"""YOLO's polygons, a text file for each image (docs.ultralytics.com/datasets/segment).

    0 0.681 0.485 0.670 0.487 0.676 0.487
    CLASS X Y X Y X Y ...       as fractions of the image's width and height

Behind them trackers write the track (CVAT, `yolo track save_txt=True`), and models their confidence. Names of classes
are in data.yaml or classes.txt, in the folder or above it. A class is an object, class 0 being object 1.

A line is one polygon: holes and further parts are joined to it by lines of no width, there and back, as Ultralytics
does. Its corners are corners of pixels, so that the masks that are written are read again exactly.
"""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from eosvos.data.mask_files.coco_json import Shapes
from eosvos.data.mask_files.drawn_shapes import Drawn, add_drawn, add_to_frame, polygon_of_fractions
from eosvos.data.masks import ids_of
from eosvos.data.user_files import list_files
from eosvos.errors import UserError
from eosvos.files import write_text

log = logging.getLogger(__name__)

_NO_LABELS = ("classes", "labels", "train", "val", "valid", "test", "readme", "requirements", "notes", "license")
_BEYOND = 0.1  # share of the image by which corners may lie outside
_REMEDY = "give each object a class of its own, or lines a track id (yolo track save_txt=True)"


@dataclass(frozen=True)
class _Line:
    where: str
    path: Path
    kind: int  # class
    values: tuple[float, ...]  # coordinates, and what follows them
    whole: bool  # whether the last value is written as a whole number


def label_files(folder: Path) -> list[Path]:
    """List the text files of a folder that may be labels of images."""
    return [
        path
        for path in list_files(folder, (".txt",))
        if path.stem.lower() not in _NO_LABELS and not path.stem.lower().startswith("readme.")
    ]


def is_yolo(path: Path) -> bool:
    """Return whether a text file begins with a line of YOLO: a class and at least four numbers."""
    with open(path, "rb") as file:
        first = file.read(2**16).decode("utf-8", "replace").strip().partition("\n")[0].split()
    return (
        len(first) > 4 and first[0].isdigit() and all(re.fullmatch(r"[-+.\deE]+|nan|inf", word) for word in first[1:-1])
    )


def of_yolo(paths: Sequence[Path]) -> dict[str, Shapes]:
    """Parse label files, one for each image and named like it.

    Raises:
        UserError: if a line is no polygon, as a box is not, or nothing tells which polygons are of one object.
    """
    shapes = Shapes({path.stem: [] for path in paths}, description="YOLO's polygons")
    lines = [line for path in paths for line in _lines(path)]
    coordinates, tracks = _without_tail(lines)
    classes = _class_names(paths[0].parent)
    drawn = []
    for line, values, track in zip(lines, coordinates, tracks, strict=True):
        points = np.array(values, np.float64).reshape(-1, 2)
        if not ((points >= -_BEYOND) & (points <= 1 + _BEYOND)).all():
            worst = next(n for n in values if not -_BEYOND <= n <= 1 + _BEYOND)
            raise UserError(f"{line.where}: a corner at {worst}; expected are fractions of the image, from 0 to 1")
        label = classes.get(line.kind, f"class {line.kind}")
        drawn.append(Drawn(line.path.stem, label, polygon_of_fractions(points.clip(0, 1)), track))
    pairs = Counter((line.path, line.kind) for line in lines)
    if drawn and all(track is None for track in tracks) and max(pairs.values()) == 1:
        shapes.description += ", an object for each class"
        for line, one in zip(lines, drawn, strict=True):
            add_to_frame(shapes, one.frame, (line.kind + 1,), one.segment)
            shapes.labels[line.kind + 1,] = shapes.names[line.kind + 1,] = one.label
    else:
        add_drawn(shapes, drawn, "class", _REMEDY)
    return {"": shapes}


def write_yolo(folder: str | Path, masks: Iterable[tuple[str, np.ndarray]], *, labels: Mapping[int, str]) -> None:
    """Write the id masks of a video as YOLO's polygons: `folder`/FRAME.txt, and the names of the classes in data.yaml.

    Args:
        folder: the folder.
        masks: (frame name, id mask uint8 (H, W)) pairs; void is left out.
        labels: object id -> label, of all objects; the class is the id less one.
    """
    folder, most = Path(folder), 0
    for name, mask in masks:
        lines, most = [], max([most, *ids_of(mask)])
        for number in ids_of(mask):
            points = outline(mask == number) / (mask.shape[1], mask.shape[0])
            lines.append(f"{number - 1} " + " ".join(f"{n:.7g}" for n in points.ravel().tolist()))
        write_text(folder / f"{name}.txt", "".join(line + "\n" for line in lines))
    names = {n: labels.get(n + 1, f"object {n + 1}") for n in range(max([most, *labels]))}
    write_text(folder / "data.yaml", yaml.safe_dump({"names": names}, allow_unicode=True, sort_keys=False))


def outline(mask: np.ndarray) -> np.ndarray:
    """Return the outline of a mask as one polygon, holes and parts joined by lines that run there and back.

    Args:
        mask: bool (H, W), not empty.

    Returns:
        float (N, 2): x and y of its corners in pixels, which are corners of pixels.
    """
    loops = _loops(mask)
    polygon = loops[0]
    for loop in loops[1:]:
        here = int(((polygon - loop[0]) ** 2).sum(1).argmin())  # the corner that is nearest to the start of this loop
        polygon = np.concatenate([polygon[: here + 1], loop, loop[:1], polygon[here:]])
    return polygon.astype(np.float64)


def _loops(mask: np.ndarray) -> list[np.ndarray]:
    """Return the closed lines between a mask and its surroundings, int (N, 2) each, the corners alone."""
    padded = np.pad(mask, 1)
    following: dict[tuple[int, int], list[tuple[int, int]]] = {}
    below, above = padded[1:, 1:-1], padded[:-1, 1:-1]
    right, left = padded[1:-1, 1:], padded[1:-1, :-1]
    # edges along which the object lies on the right
    for rows, x0, x1 in ((below & ~above, 0, 1), (above & ~below, 1, 0)):
        for y, x in np.argwhere(rows).tolist():
            following.setdefault((x + x0, y), []).append((x + x1, y))
    for columns, y0, y1 in ((right & ~left, 1, 0), (left & ~right, 0, 1)):
        for y, x in np.argwhere(columns).tolist():
            following.setdefault((x, y + y0), []).append((x, y + y1))
    loops = []
    while following:
        start = next(iter(following))
        points, here = [start], start
        while True:
            ends = following[here]
            there = ends.pop()
            if not ends:
                del following[here]
            here = there
            if here == start:
                break
            points.append(here)
        line = np.array(points)
        turns = ((line - np.roll(line, 1, 0)) != (np.roll(line, -1, 0) - line)).any(1)
        loops.append(line[turns])
    return loops


def _lines(path: Path) -> Iterable[_Line]:
    for number, text in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        words, where = text.split(), f"{path}: line {number}"
        if not words:
            continue
        try:
            kind, values = int(words[0]), tuple(float(word) for word in words[1:])
        except ValueError as error:
            raise UserError(f"{where}: {text[:60]!r}; expected are a class, and x and y of the corners") from error
        if kind < 0 or not all(map(math.isfinite, values)):
            raise UserError(f"{where}: {text[:60]!r}; expected are a class from 0 on, and finite numbers")
        if len(values) < 6:
            what = "a box without a mask" if len(values) > 3 else f"{len(values)} numbers"
            raise UserError(f"{where}: {what}; expected are polygons of at least three corners (the task 'segment')")
        yield _Line(where, path, kind, values, bool(re.fullmatch(r"\d+", words[-1])))


def _without_tail(lines: Sequence[_Line]) -> tuple[list[tuple[float, ...]], list[int | None]]:
    """Return the coordinates of each line, and its track, or None.

    An odd number of values ends with a track, if these are whole numbers and not twice in an image, or else with a
    confidence. Even numbers that end with whole numbers, one of them above 1, end with both.
    """
    odd = [len(line.values) % 2 == 1 for line in lines]
    if lines and not any(odd) and all(line.whole for line in lines) and max(line.values[-1] for line in lines) > 1:
        _tell(lines[0], "a confidence and a track")
        return [line.values[:-2] for line in lines], [int(line.values[-1]) for line in lines]
    tailed = [line for line, is_odd in zip(lines, odd, strict=True) if is_odd]
    if not tailed:
        return [line.values for line in lines], [None] * len(lines)
    tracked = all(line.whole for line in tailed)
    tracked = tracked and max(Counter((line.path, line.values[-1]) for line in tailed).values()) == 1
    _tell(tailed[0], "a track" if tracked else "a confidence")
    return (
        [line.values[:-1] if is_odd else line.values for line, is_odd in zip(lines, odd, strict=True)],
        [int(line.values[-1]) if tracked and is_odd else None for line, is_odd in zip(lines, odd, strict=True)],
    )


def _tell(line: _Line, what: str) -> None:
    log.warning("%s, and others: what follows the corners is taken for %s; remove it if it is not", line.where, what)


def _class_names(folder: Path) -> dict[int, str]:
    """Return class -> name by classes.txt or data.yaml, in the folder or up to two above it."""
    for place in (folder, *list(folder.absolute().parents)[:2]):
        if (place / "data.yaml").is_file():
            try:
                content = yaml.safe_load((place / "data.yaml").read_text(encoding="utf-8"))
            except (yaml.YAMLError, ValueError, RecursionError) as error:
                raise UserError(
                    f"{place / 'data.yaml'}: no YAML ({str(error)[:100]!r}); mend it, or remove it"
                ) from error
            names = content.get("names") if isinstance(content, Mapping) else None
            pairs = enumerate(names) if isinstance(names, list) else names.items() if isinstance(names, Mapping) else ()
            return {key: str(name) for key, name in pairs if isinstance(key, int)}
        if (place / "classes.txt").is_file():
            return dict(enumerate((place / "classes.txt").read_text(encoding="utf-8").split("\n")))
    return {}
