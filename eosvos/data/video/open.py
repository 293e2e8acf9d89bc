"""Video files by PyAV, an extra (pip install 'eosvos[video]'), as sequences."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from eosvos.data.levels import Levels
from eosvos.data.mask_files.appearances import appearances
from eosvos.data.mask_files.formats import read_named, tell
from eosvos.data.mask_files.match_frames import place
from eosvos.data.sequence import Numbered, VideoSequence
from eosvos.data.video import container
from eosvos.data.video.frames import opened
from eosvos.data.video.stacks import is_picture, open_stack


def open_video(
    path: str | Path,
    masks: str | Path | None = None,
    *,
    name: str | None = None,
    binary: bool | None = None,
    every: bool = False,
    levels: Levels = "auto",
    absent: str | None = None,
) -> VideoSequence:
    """Open a video file, or one of several pictures (stacks.py), as a sequence; frames are named by their numbers,
    00000, 00001, ...

    `masks`: an image, the mask of the first frame; or a folder or JSON file of masks in any form of
    mask_files/formats.py or mask_files/json_files.py, each named by its frame's number; None: there are no objects.
    `binary`: all that is not 0 in a mask is one object; None takes it so where there is nothing but 0 and 255. What
    masks were taken for is logged. `every`: a method is given all masks (`VideoSequence.given`), and those before the
    first object may be empty, to say that it is not there yet. `levels`: of frames of more than 8 bits, see levels.py.
    `absent`: what masks tell of objects that they do not show, see `open_own`.

    The first frame, and its mask, are there at once however long the video is: see `Numbered` and frames.py.

    Raises UserError where PyAV is missing; for a file that is missing, no video, only sound, cut off, too large or
    damaged in its first frame; for masks as open_masks does, of another size, without an object or without a frame.
    """
    path = Path(path).expanduser()
    if not path.is_file() or not is_picture(path):
        film = opened(path, levels)
        height, width, _ = film(0).shape
        size, count = (height, width), film.count
        frames: Callable[[int], np.ndarray] = film
        names = Numbered(max(5, len(str(count.about - 1))), lambda: count.layout.count, lambda: count.known)
    else:
        frames = stack = open_stack(path, levels)
        size = stack.size
        names = Numbered(max(5, len(str(len(stack) - 1))), lambda: len(stack), lambda: True)
    if masks is None:
        return VideoSequence(name or path.stem, names, size, {}, frames, _no_mask, (path,))
    given = place(Path(masks).expanduser(), names, size, binary=binary, absent=absent)
    tell({name or path.stem: given})
    order = sorted((int(frame), frame) for frame in given.files)
    found = appearances(given, order, every=every, absent=absent)
    return VideoSequence(
        name=name or path.stem,
        frame_names=names,
        size=size,
        objects=found.objects,
        read_frame=frames,
        read_mask=partial(read_named, given, names, size),
        shared=given.shared,
        files=(path, *dict.fromkeys(file for files in given.files.values() for file in files)),
        truth=len(given.files) > 1,
        given=found.given,
        told_of=found.told_of,
    )


def frame_rate(path: Path) -> float:
    """Frames per second of a file that `open_video` opens, the mean where they vary; 24 where it does not say."""
    return open_stack(path).rate if is_picture(path) else container.frame_rate(path)


def _no_mask(index: int) -> None:
    return None
