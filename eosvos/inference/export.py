"""Export of masks for other programs: of a video (overlay, masks per object, cut-outs, run-length codes), and of a
whole data set:

FOLDER/grey/SEQUENCE/FRAME.png      the value is the id
FOLDER/binary/SEQUENCE/FRAME.png    255 where any object is
FOLDER/colours/SEQUENCE/FRAME.png   RGB, the colours of DAVIS
FOLDER/objects/SEQUENCE/ID/FRAME.png    255 where the object is; ID has three digits, as in SA-V
FOLDER/json/SEQUENCE.json           run-length codes in the form of YouTube-VIS

All of these are read by data/mask_files/formats.py and data/mask_files/json_files.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from eosvos.data.mask_files.formats import write_binary, write_colours, write_grey, write_objects
from eosvos.data.mask_files.json_files import write_json
from eosvos.data.masks import VOID, read_mask
from eosvos.data.sequence import VideoSequence
from eosvos.data.video.write import write_video
from eosvos.files import atomic
from eosvos.inference import overlay as inference_overlay

Tick = Callable[[int], object]
_IMAGES: dict[str, Callable[[Path, np.ndarray], None]]
_IMAGES = {"grey": write_grey, "binary": write_binary, "colours": write_colours}
FORMS = (*_IMAGES, "objects", "json")


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


OUTPUTS: dict[str, Callable[[VideoSequence, Path, Path, float, Tick], Path]]
OUTPUTS = {"overlay": overlay, "objects": objects, "cutout": cutout, "json": json}


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
        for index, frame in enumerate(sequence.frame_names if set(forms) - {"json"} else ()):
            mask = read(index)
            for form in forms:
                if form in _IMAGES:
                    _IMAGES[form](folder / form / name / f"{frame}.png", mask)
                elif form == "objects":
                    write_objects(folder / form / name, frame, mask, sequence.first_frame)
        if "json" in forms:
            masks = ((frame, read(index)) for index, frame in enumerate(sequence.frame_names))
            write_json(folder / "json" / f"{name}.json", masks, video=name)
