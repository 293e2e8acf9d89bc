"""Zip files for the evaluation servers of data sets, checked while they are written.

DAVIS 2017 (test-dev, test-challenge) and MOSE want the folders of the sequences at its top level, SEQUENCE/FRAME.png;
YouTube-VOS and LVOS in a folder, Annotations/SEQUENCE/FRAME.png, and YouTube-VOS only the frames that it lists.
Sources: for DAVIS the server's error (https://github.com/codalab/codalab-competitions/issues/2709), for the others the
submissions of https://github.com/hkchengrex/Cutie (cutie/inference/utils/results_utils.py).
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from eosvos.data.masks import VOID, ids_of, palette_image
from eosvos.data.sequence import VideoSequence
from eosvos.errors import UserError
from eosvos.files import atomic

SERVERS = {"davis": "", "mose": "", "youtube_vos": "Annotations/", "lvos": "Annotations/"}  # kind of data set -> folder


def write_submission(
    path: str | Path,
    sequences: Sequence[VideoSequence],
    predictions: Mapping[str, Callable[[int], np.ndarray]],
    kind: str,
) -> None:
    """Write a zip file of the masks, as palette PNGs in DAVIS's colours; equal masks give an equal file.

    Args:
        path: the zip file.
        sequences: the sequences to submit.
        predictions: by sequence name, a function from a frame index to its id mask, uint8 (H, W).
        kind: kind of data set, a key of `SERVERS`.

    Raises:
        UserError: if a mask is missing, has another size than its frame, or an id that is no object of its sequence.
            Then no file is written.
    """
    folder = SERVERS[kind]
    with atomic(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:  # PNGs are compressed already
        for sequence in sequences:
            for index, name in enumerate(sequence.frame_names):
                if sequence.submission_frames is None or index in sequence.submission_frames:
                    mask = predictions[sequence.name](index)
                    _check(sequence, name, mask)
                    content = io.BytesIO()
                    palette_image(mask).save(content, format="PNG")
                    entry = zipfile.ZipInfo(f"{folder}{sequence.name}/{name}.png")  # of 1980: no time of its own
                    entry.external_attr = 0o644 << 16
                    archive.writestr(entry, content.getvalue())


def _check(sequence: VideoSequence, name: str, mask: np.ndarray) -> None:
    if mask.shape != sequence.size:
        raise UserError(
            f"{sequence.name} {name}: the mask is {mask.shape[1]}x{mask.shape[0]} pixels, its frame {sequence.size[1]}x"
            f"{sequence.size[0]}; no submission was written"
        )
    unknown_ids = sorted({*ids_of(mask), *([VOID] if (mask == VOID).any() else [])} - set(sequence.first_frame))
    if unknown_ids:
        raise UserError(
            f"{sequence.name} {name}: the mask has the ids {', '.join(map(str, unknown_ids))}, and the objects are "
            f"{', '.join(map(str, sequence.first_frame))}; no submission was written: a server would refuse it"
        )
