"""A user's own video: a video file, or a folder of frames, with masks of any of its frames."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eosvos.data.image_files import is_animated, several
from eosvos.data.levels import Levels
from eosvos.data.mask_files.formats import log_forms
from eosvos.data.mask_files.match_frames import match_to_frames
from eosvos.data.readers.folder import frames_and_masks, is_laid_out, open_folder, open_frames
from eosvos.data.readers.image_sequence import describe_gap, no_frames_message, unsupported_images
from eosvos.data.sequence import VideoSequence
from eosvos.data.user_files import list_files
from eosvos.data.video.open import frame_rate, open_video
from eosvos.errors import UserError

log = logging.getLogger(__name__)

RATE = 24.0  # frames per second of a folder of frames, which does not say


def open_own(
    video: str | Path,
    *,
    mask: str | Path | None = None,
    masks: str | Path | None = None,
    binary: bool | None = None,
    levels: Levels = "auto",
    absent: str = "told",
) -> tuple[VideoSequence, float]:
    """Open a user's video with its masks, all of which are input of a method.

    What is unusual about the files and read nonetheless is logged.

    Args:
        video: a video file; a folder of frames; or a folder with frames/ and masks/ in it, or JPEGImages/ and
            Annotations/, which needs no other masks.
        mask: image file, the mask of the first frame.
        masks: folder or file with masks of any frames, by name or number (see `match_frames.match_to_frames`), in any
            form of mask_files/formats.py or mask_files/annotation_files.py.
        binary: whether masks show one object, as every value but 0. None: they do if they hold nothing but 0 and 255.
        levels: which values of frames of more than 8 bits become 0 and 255, see levels.py.
        absent: "told": a mask annotates only the objects that it shows. A file that shows none says, and this is
            logged, that none of the objects which appeared before is there (before the first object: that those which
            appear first are not there yet). An image that is merely listed in JSON says nothing. "all": masks are
            complete, so an object that a mask does not show is absent.

    Returns:
        The sequence, whose `prompt_frames` are all annotated frames besides those of `first_frame`, and its frames per
        second (the mean if they vary).

    Raises:
        UserError: as `open_video` and `open_folder` do, and if neither or both of `mask` and `masks` are given where
            one is needed.
    """
    video = Path(video).expanduser()
    if mask is not None and masks is not None:
        raise UserError(f"mask={mask} and masks={masks}: give one of the two; masks= may hold that of the first frame")
    source = mask or masks
    mask_source = None if source is None else Path(source).expanduser()
    if video.is_dir():
        sequence, rate = _folder(video, mask_source, mask is not None, binary, levels, absent), RATE
        _warn_unusual(sequence.files[: len(sequence)])
    else:
        if mask_source is None:
            raise _without_masks(video)
        sequence = open_video(video, mask_source, binary=binary, every=True, levels=levels, absent=absent)
        rate = frame_rate(video)
    return sequence, rate


def annotated_frames(sequence: VideoSequence) -> list[int]:
    """Return the indices of all annotated frames of a sequence of `open_own`, also of those with an empty mask."""
    return sorted({min(sequence.first_frame.values()), *sequence.prompt_frames})


def masks_hash(sequence: VideoSequence) -> str:
    """Hash the annotated frames of a sequence of `open_own` and their masks: 16 hexadecimal digits of a SHA-256."""
    total = hashlib.sha256()
    for index in annotated_frames(sequence):
        total.update(str(index).encode() + np.ascontiguousarray(sequence.mask(index)).tobytes())
    return total.hexdigest()[:16]


def _folder(
    video: Path, mask_source: Path | None, first: bool, binary: bool | None, levels: Levels, absent: str
) -> VideoSequence:
    images, parts = list_files(video), mask_source is None and is_laid_out(video)
    if mask_source is None and images and not parts:
        raise _without_masks(video)
    if mask_source is None or not images:
        videos = open_folder(video, binary=binary, every=True, levels=levels, absent=absent) if parts else []
        if len(videos) != 1:
            raise UserError(
                f"{video}: "
                + (f"holds {len(videos)} videos" if videos else no_frames_message(video))
                + "; give the folder with the frames of one as video=, and its masks as mask= or masks="
            )
        return videos[0]
    among = mask_source if mask_source.is_file() and any(path.samefile(mask_source) for path in images) else None
    if among is not None:
        log.warning("%s: left out of the frames that it lies among, as it is given as a mask", among)
    frames, size, span = open_frames(video, among, levels=levels)
    if len(frames) == 1 and is_animated(frames[0]):
        raise UserError(f"{frames[0]}: holds several pictures; to read them as frames give the file: video={frames[0]}")
    masks = match_to_frames(
        mask_source, [path.stem for path in frames], size, binary=binary, first=first, absent=absent
    )
    log_forms({video.name: masks})
    return frames_and_masks(video.resolve().name, frames, size, masks, every=True, span=span, absent=absent)


def _without_masks(video: Path) -> UserError:
    return UserError(
        f"{video}: what to follow in it is not known; give the mask of its first frame with mask=first.png, or masks of"
        " any of its frames with masks=FOLDER"
    )


def _warn_unusual(frames: Sequence[Path]) -> None:
    """Log what is odd about a folder of frames, and would be seen in the results alone."""
    folder = frames[0].parent
    if lost := describe_gap(frames):
        log.warning("%s: %s; what is there is taken as one row", folder, lost)
    if left := unsupported_images(folder):
        log.warning("%s: left out, as pictures of such kinds are not read: %s", folder, several(left, 4))
    if animated := [path.name for path in frames if is_animated(path)]:
        log.warning("%s: of files that hold several pictures the first is read: %s", folder, several(animated, 4))
