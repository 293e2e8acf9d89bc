"""Opens video files as sequences, by PyAV (pip install 'eosvos[video]')."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from eosvos.data.levels import Levels
from eosvos.data.mask_files.appearances import appearances
from eosvos.data.mask_files.formats import log_forms, read_named
from eosvos.data.mask_files.match_frames import match_to_frames
from eosvos.data.sequence import Numbered, VideoSequence
from eosvos.data.video import container
from eosvos.data.video.frames import open_video_frames
from eosvos.data.video.stacks import is_image_file, open_stack


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
    """Open a video file, or a file of several images (stacks.py), as a sequence.

    Frames are named by their numbers: 00000, 00001, ... The first frame and its mask are available at once however long
    the video is, see `Numbered`. How masks are interpreted is logged.

    Args:
        path: the file.
        masks: an image, the mask of the first frame; or a folder or file of masks, each named by its frame number, in
            any form of mask_files/formats.py or mask_files/annotation_files.py. None: the sequence has no objects.
        name: name of the sequence; None: the file's stem.
        binary: whether masks show one object, as every value but 0. None: they do if they hold nothing but 0 and 255.
        every: whether a method receives all masks (`VideoSequence.prompt_frames`). Masks before the first object may
            then be empty, which says that it is not there yet.
        levels: which values of frames of more than 8 bits become 0 and 255, see levels.py.
        absent: what masks say about objects that they do not show, see `open_own`.

    Raises:
        UserError: if PyAV is missing; if the file is missing, no video, only sound, cut off, too large or damaged in
            its first frame; or if masks cannot be read, have another size, show no object or have no frame.
    """
    path = Path(path).expanduser()
    if not path.is_file() or not is_image_file(path):
        film = open_video_frames(path, levels)
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
    mask_set = match_to_frames(Path(masks).expanduser(), names, size, binary=binary, absent=absent)
    log_forms({name or path.stem: mask_set})
    order = sorted((int(frame), frame) for frame in mask_set.files)
    appearing = appearances(mask_set, order, every=every, absent=absent)
    return VideoSequence(
        name=name or path.stem,
        frame_names=names,
        size=size,
        first_frame=appearing.first_frame,
        read_frame=frames,
        read_mask=partial(read_named, mask_set, names, size),
        overlap_pixels=mask_set.overlap_pixels,
        files=(path, *dict.fromkeys(file for files in mask_set.files.values() for file in files)),
        has_ground_truth=len(mask_set.files) > 1,
        prompt_frames=appearing.prompt_frames,
        annotated_ids=appearing.annotated_ids,
        object_names=mask_set.names,
    )


def frame_rate(path: Path) -> float:
    """Return the frames per second of a file, the mean if they vary; 24 if the file does not say."""
    return open_stack(path).rate if is_image_file(path) else container.frame_rate(path)


def _no_mask(index: int) -> None:
    return None
