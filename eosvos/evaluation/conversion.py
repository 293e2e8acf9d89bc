"""The masks of a data set in other forms than a run's own, palette images, for programs that take no others.

FOLDER/grey/SEQUENCE/FRAME.png      the value is the id
FOLDER/binary/SEQUENCE/FRAME.png    255 where any object is
FOLDER/colours/SEQUENCE/FRAME.png   RGB, the colours of DAVIS
FOLDER/objects/SEQUENCE/ID/FRAME.png    255 where the object is; ID has three digits, as in SA-V
FOLDER/json/SEQUENCE.json           run-length codes in the form of YouTube-VIS

All of them are read again by data/mask_files/formats.py and data/mask_files/json_files.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import numpy as np

from eosvos.data.mask_files.formats import write_binary, write_colours, write_grey, write_objects
from eosvos.data.mask_files.json_files import write_json
from eosvos.data.sequence import Sequence

_IMAGES: dict[str, Callable[[Path, np.ndarray], None]] = {
    "grey": write_grey, "binary": write_binary, "colours": write_colours,
}  # fmt: skip
FORMS = (*_IMAGES, "objects", "json")


def convert(
    folder: str | Path,
    sequences: Collection[Sequence],
    predictions: Mapping[str, Callable[[int], np.ndarray]],
    forms: Collection[str],
) -> None:
    """Write the masks of all sequences into `folder` in some of `FORMS`, each file atomically.

    `predictions[name](i)` gives the id mask uint8 (H, W) of frame i and raises UserError where there is none. Masks are
    read one by one, for run-length codes a second time.
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
                    write_objects(folder / form / name, frame, mask, sequence.objects)
        if "json" in forms:
            masks = ((frame, read(index)) for index, frame in enumerate(sequence.frame_names))
            write_json(folder / "json" / f"{name}.json", masks, video=name)
