"""Instances of COCO and of data sets in its format, read by pycocotools; every image is a sequence of one frame.

    ROOT/annotations/instances_SPLIT.json    ROOT/SPLIT/*.jpg or ROOT/images/SPLIT/*.jpg     (as COCO is distributed)
    ROOT/instances.json                      ROOT/images/*.jpg                               (without a split)

COCO annotates up to fifteen instances of a class and merges the others into a crowd. Where instances overlap nothing
says which is in front, so the smaller one gets the pixels.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO

from eosvos.data.image_files import several
from eosvos.data.images import read_image
from eosvos.data.mask_files.rle import segment_mask
from eosvos.data.masks import VOID
from eosvos.data.sequence import VideoSequence
from eosvos.data.user_files import list_entries
from eosvos.errors import UserError

_EDGE = 1.0  # pixels; polygons that reach the edge of the image end within this distance of it


def open_coco(
    root: str | Path,
    *,
    split: str | None = None,
    sequences: Sequence[str] = (),
    min_area: float = 0.002,
    crowd: bool = False,
    border: bool = True,
) -> list[VideoSequence]:
    """Open the images of a data set in COCO's format, each as a sequence of one frame.

    Only images that show an object to draw tasks from are opened. The id masks hold all annotated instances, so that a
    detector does not learn the others as background. Ids count from 1 by falling area. Masks are decoded when they are
    asked for.

    Args:
        root: folder of the data set.
        split: such as "train2017"; None: ROOT/instances.json and ROOT/images.
        sequences: file names without extension; empty: all.
        min_area: smallest share of the image that an object to draw covers.
        crowd: whether crowds may be drawn; otherwise they are void.
        border: whether objects that touch the image border may be drawn.

    Returns:
        Sequences whose `first_frame` has the objects to draw as keys.

    Raises:
        UserError: if a file is missing or not in COCO's format, or no object is left.
    """
    file, folder = _find(Path(root).expanduser(), split)
    index = _load(file)
    present = {entry.name for entry in list_entries(folder)}
    images = [index.imgs[key] for key in sorted(index.imgs)]
    if sequences:
        known = {Path(image["file_name"]).stem: image for image in images}
        unknown = [name for name in sequences if name not in known]
        if unknown:
            raise UserError(f"sequences={several(unknown)}: not among the {len(images)} images of {file}")
        images = [known[name] for name in dict.fromkeys(sequences)]
    missing = [image["file_name"] for image in images if image["file_name"] not in present]
    if missing:
        raise UserError(
            f"{folder}: {len(missing)} of the {len(images)} images of {file.name} are missing: {several(missing)};"
            " fetch them, or choose others with sequences=[...]"
        )
    names = {key: str(kind["name"]) for key, kind in index.cats.items() if "name" in kind}
    opened = []
    for image in images:
        size = (int(image["height"]), int(image["width"]))
        layers = _layers(index.imgToAnns[image["id"]], crowd)
        drawn = {
            number: 0
            for number, annotation in layers
            if number != VOID
            and annotation["area"] >= min_area * size[0] * size[1]
            and (border or not _touches(annotation["bbox"], size))
        }
        if drawn:
            path = folder / image["file_name"]
            segments = tuple((number, annotation["segmentation"]) for number, annotation in layers)
            opened.append(
                VideoSequence(
                    path.stem,
                    (path.stem,),
                    size,
                    drawn,
                    partial(_frame, path, size),
                    partial(_mask, segments, size, f"{file}: image {image['file_name']}"),
                    files=(path,),
                    masks_digest=_digest(layers),
                    categories={
                        n: names[a["category_id"]] for n, a in layers if n in drawn and a["category_id"] in names
                    },
                )
            )
    if not opened:
        raise UserError(
            f"{file}: no object is left with min_area={min_area}, crowd={crowd}, border={border}; relax these settings"
        )
    return opened


def _find(root: Path, split: str | None) -> tuple[Path, Path]:
    """Return the annotation file and the folder of images."""
    if split is None:
        files, places = [root / "instances.json"], [root / "images"]
    else:
        files = [root / "annotations" / f"instances_{split}.json"]
        places = [root / split, root / "images" / split]
    for kind, paths in (("file", files), ("folder", places)):
        if not any(path.is_file() if kind == "file" else path.is_dir() for path in paths):
            raise UserError(
                f"{' or '.join(map(str, paths))}: no such {kind}; expected are annotations/instances_SPLIT.json and"
                " SPLIT/ with split=SPLIT (say train2017), or instances.json and images/ without a split"
            )
    return files[0], next(path for path in places if path.is_dir())


def _load(file: Path) -> COCO:
    try:
        with redirect_stdout(io.StringIO()):  # it reports its progress there
            index = COCO(str(file))
        for image in index.imgs.values():
            _ = image["id"], image["file_name"], image["height"], image["width"]
        for annotation in index.anns.values():
            _ = annotation["image_id"], annotation["segmentation"], annotation["area"], annotation["bbox"]
            _ = annotation["category_id"]
    except (ValueError, KeyError, TypeError, AssertionError, AttributeError) as error:
        raise UserError(f"{file}: not COCO's instances format ({error!r}); fetch the file again") from error
    return index


def _layers(annotations: list[dict[str, Any]], crowd: bool) -> list[tuple[int, dict[str, Any]]]:
    """Return (id in the mask, annotation) in the order of painting: crowds first, then by falling area."""
    solid = [a for a in annotations if a["segmentation"]]
    apart = [] if crowd else [(VOID, a) for a in solid if a.get("iscrowd")]
    single = sorted((a for a in solid if crowd or not a.get("iscrowd")), key=lambda a: -a["area"])
    return apart + [(number, a) for number, a in enumerate(single[: VOID - 1], 1)]


def _digest(layers: Sequence[tuple[int, dict[str, Any]]]) -> str:
    described = [(number, a["area"], a["bbox"], a["category_id"]) for number, a in layers]
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()[:16]


def _touches(box: Sequence[float], size: tuple[int, int]) -> bool:
    x, y, width, height = box
    return min(x, y, size[1] - x - width, size[0] - y - height) <= _EDGE


def _frame(path: Path, size: tuple[int, int], index: int) -> np.ndarray:
    return read_image(path, size)


def _mask(segments: Sequence[tuple[int, Any]], size: tuple[int, int], where: str, index: int) -> np.ndarray:
    mask = np.zeros(size, np.uint8)
    for number, segment in segments:
        try:
            mask[segment_mask(segment, size)] = number
        except ValueError as error:
            raise UserError(f"{where}: {error}; mend this annotation, or fetch the file again") from error
    return mask
