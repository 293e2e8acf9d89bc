"""Export of masks for other programs: of a video (overlay, masks per object, cut-outs, run-length codes), and of a
whole data set:

FOLDER/grey/SEQUENCE/FRAME.png      the value is the id
FOLDER/binary/SEQUENCE/FRAME.png    255 where any object is
FOLDER/colours/SEQUENCE/FRAME.png   RGB, the colours of DAVIS
FOLDER/objects/SEQUENCE/ID/FRAME.png    255 where the object is; ID has three digits, as in SA-V
FOLDER/json/SEQUENCE.json           run-length codes in the form of YouTube-VIS
FOLDER/cvat/SEQUENCE.xml            CVAT for images 1.1
FOLDER/label_studio/SEQUENCE.json   Label Studio's tasks, with masks as predictions
FOLDER/labelme/SEQUENCE/FRAME.json  labelme's masks
FOLDER/yolo/SEQUENCE/FRAME.txt      YOLO's polygons

All of these are read by data/mask_files/formats.py and data/mask_files/annotation_files.py. Objects have the names that
the file of their masks gave them, with the id behind.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from eosvos.data.image_files import several
from eosvos.data.mask_files.cvat_export import write_cvat
from eosvos.data.mask_files.formats import write_binary, write_colours, write_grey, write_objects
from eosvos.data.mask_files.json_files import write_json
from eosvos.data.mask_files.label_studio import write_label_studio
from eosvos.data.mask_files.tool_json import write_labelme
from eosvos.data.mask_files.yolo import write_yolo
from eosvos.data.masks import VOID, read_mask
from eosvos.data.sequence import VideoSequence
from eosvos.data.user_files import IMAGES
from eosvos.data.video.write import write_video
from eosvos.files import atomic
from eosvos.inference import overlay as inference_overlay

log = logging.getLogger(__name__)

Tick = Callable[[int], object]
_IMAGES: dict[str, Callable[[Path, np.ndarray], None]]
_IMAGES = {"grey": write_grey, "binary": write_binary, "colours": write_colours}
_TOOLS = {"cvat": ".xml", "label_studio": ".json", "labelme": "", "yolo": ""}  # extension of the file; "": a folder
FORMS = (*_IMAGES, "objects", "json", *_TOOLS)


def overlay(sequence: VideoSequence, masks: Path, out: Path, rate: float, tick: Tick) -> Path:
    """Draw the masks over the video at its size, `rate` frames per second: overlay.mp4; without PyAV, a sheet of frames
    and a short animation instead. Returns the path, as all functions of `OUTPUTS` do."""
    if find_spec("av") is None:
        tick(len(sequence))
        return inference_overlay.overlay(sequence, masks, out)[1]

    def drawn() -> Iterator[np.ndarray]:
        given = {*sequence.first_frame.values(), *sequence.prompt_frames}
        for index, ids in _read(sequence, masks, tick):
            yield inference_overlay.draw(sequence.read_frame(index), ids, sequence.size[1], given=index in given)

    write_video(out / "overlay.mp4", drawn(), rate)
    return out / "overlay.mp4"


def objects(sequence: VideoSequence, masks: Path, out: Path, rate: float, tick: Tick) -> Path:
    """Write a mask of 0 and 255 per object and frame: objects/ID/FRAME.png."""
    for index, ids in _read(sequence, masks, tick):
        write_objects(out / "objects", sequence.frame_names[index], ids, sorted(sequence.first_frame))
    return out / "objects"


def cutout(sequence: VideoSequence, masks: Path, out: Path, rate: float, tick: Tick) -> Path:
    """Write the frames with all but the objects transparent: cutout/FRAME.png, RGBA."""
    for index, ids in _read(sequence, masks, tick):
        shown = ((ids > 0) & (ids != VOID)).astype(np.uint8) * 255
        with atomic(out / "cutout" / f"{sequence.frame_names[index]}.png") as path:
            Image.fromarray(np.dstack([sequence.read_frame(index), shown])).save(path, format="PNG")
    return out / "cutout"


def json(sequence: VideoSequence, masks: Path, out: Path, rate: float, tick: Tick) -> Path:
    """Write COCO run-length codes in the format of YouTube-VIS: masks.json."""
    named = ((sequence.frame_names[index], ids) for index, ids in _read(sequence, masks, tick))
    write_json(out / "masks.json", named, video=sequence.name)
    return out / "masks.json"


def for_tool(form: str, sequence: VideoSequence, masks: Path, out: Path, rate: float, tick: Tick) -> Path:
    """Write the form of an annotation tool, of `_TOOLS`: cvat.xml, label_studio.json, labelme/FRAME.json or
    yolo/FRAME.txt."""
    named = ((sequence.frame_names[index], ids) for index, ids in _read(sequence, masks, tick))
    return _write_for_tool(form, out / f"{form}{_TOOLS[form]}", named, sequence)


OUTPUTS: dict[str, Callable[[VideoSequence, Path, Path, float, Tick], Path]]
OUTPUTS = {"overlay": overlay, "objects": objects, "cutout": cutout, "json": json}
OUTPUTS |= {form: partial(for_tool, form) for form in _TOOLS}


def object_labels(sequence: VideoSequence) -> dict[int, str]:
    """Return object id -> label, which ends with the id: "bear 2", or "object 2" for objects without a name."""
    named = {number: sequence.object_names.get(number, "object") for number in sorted(sequence.first_frame)}
    return {n: name if re.search(rf"(^|[ _.-]){n}$", name) else f"{name} {n}" for n, name in named.items()}


def _write_for_tool(form: str, path: Path, masks: Iterable[tuple[str, np.ndarray]], sequence: VideoSequence) -> Path:
    labels, kinds = object_labels(sequence), {file.suffix.lower() for file in sequence.files[:1]} & set(IMAGES)
    kind = next(iter(kinds), ".jpg")
    void: list[str] = []

    def noted() -> Iterator[tuple[str, np.ndarray]]:
        for name, mask in masks:
            void.extend([name] if (mask == VOID).any() else [])
            yield name, mask

    if form == "cvat":
        write_cvat(path, noted(), video=sequence.name, labels=labels, kind=kind)
    elif form == "label_studio":
        write_label_studio(path, noted(), video=sequence.name, labels=labels, kind=kind)
    elif form == "labelme":
        write_labelme(path, masks, labels=labels, kind=kind)
    else:
        write_yolo(path, noted(), labels=labels)
    if void:
        log.warning(
            "%s: void pixels of %d masks are left out, as this form has none: %s", path, len(void), several(void)
        )
    return path


def _read(sequence: VideoSequence, masks: Path, tick: Tick) -> Iterator[tuple[int, np.ndarray]]:
    for index, name in enumerate(sequence.frame_names):
        yield index, read_mask(masks / f"{name}.png", size=sequence.size)
        tick(1)


def convert(
    folder: str | Path,
    sequences: Collection[VideoSequence],
    predictions: Mapping[str, Callable[[int], np.ndarray]],
    forms: Collection[str],
) -> None:
    """Write the masks of a data set in further formats.

    Args:
        folder: where to write, see the module.
        sequences: the sequences.
        predictions: by sequence name, a function from a frame index to its id mask, uint8 (H, W).
        forms: formats, of `FORMS`.

    Raises:
        UserError: if a mask is missing or a file cannot be written.
    """
    folder = Path(folder)
    for sequence in sequences:
        name, read = sequence.name, predictions[sequence.name]
        for index, frame in enumerate(sequence.frame_names if set(forms) - {"json", *_TOOLS} else ()):
            mask = read(index)
            for form in forms:
                if form in _IMAGES:
                    _IMAGES[form](folder / form / name / f"{frame}.png", mask)
                elif form == "objects":
                    write_objects(folder / form / name, frame, mask, sequence.first_frame)
        if "json" in forms:
            masks = ((frame, read(index)) for index, frame in enumerate(sequence.frame_names))
            write_json(folder / "json" / f"{name}.json", masks, video=name)
        for form in _TOOLS:
            if form in forms:
                masks = ((frame, read(index)) for index, frame in enumerate(sequence.frame_names))
                _write_for_tool(form, folder / form / f"{name}{_TOOLS[form]}", masks, sequence)
