"""JSON files of masks: COCO's annotations, YouTube-VIS, labelme, VIA and Label Studio.

    {"videos": [{"id": 1, "name": "bear", "height": 480, "width": 854, "file_names": ["bear/00000.jpg", ...]}],
     "annotations": [{"id": 3, "video_id": 1, "segmentations": [{"size": [480, 854], "counts": "..."}, null, ...]}]}

is YouTube-VIS: an object has one annotation, with a mask or null for each frame. `write_json` writes this form, one
video a file; the object's id is the annotation's. coco_json.py, tool_json.py and label_studio.py describe the other
forms. Segmentations are run-length codes, compressed or not, or polygons; pycocotools decodes the latter.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from eosvos.data.mask_files.coco_json import Shapes, of_images, of_videos
from eosvos.data.mask_files.label_studio import is_label_studio, of_label_studio
from eosvos.data.mask_files.rle import rle_encode
from eosvos.data.mask_files.tool_json import is_labelme, is_via, of_labelme, of_via, refuse_others
from eosvos.data.masks import VOID, ids_of
from eosvos.errors import UserError
from eosvos.files import write_text


def load_json(path: Path) -> Any:
    """Read a JSON file, with or without a byte order mark."""
    return json.loads(path.read_text(encoding="utf-8-sig"))


def of_json(files: Sequence[tuple[Path, Any]]) -> tuple[dict[str, Shapes], bool]:
    """Parse the content of JSON files, several only if they are labelme's.

    Returns:
        The content for each video, and whether it is YouTube-VIS, in which null annotates an absent object.
    """
    content = files[0][1]
    if is_labelme(content):
        others = [path for path, more in files if not is_labelme(more)]
        if others:
            raise UserError(f"{others[0]}: no file of labelme, as others in this folder are; remove it")
        return of_labelme(files), False
    if len(files) > 1:
        raise UserError(f"{len(files)} .json files, which are not labelme's of single images; give one as masks=")
    if is_label_studio(content):
        return of_label_studio(content), False
    refuse_others(content)
    if is_via(content):
        return of_via(content), False
    if isinstance(content, list):  # COCO's results
        content = {"annotations": content}
    if any("segmentations" in annotation for annotation in content["annotations"]):
        return of_videos(content), True
    return of_images(content), False


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
