"""One's own video: a video file, or a folder of frames, with masks of any of its frames."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from eosvos.data.folder import frames_and_masks, open_folder, open_frames
from eosvos.data.mask_formats import tell
from eosvos.data.placed import place
from eosvos.data.sequence import Sequence
from eosvos.data.stored import IMAGES, listing
from eosvos.data.video import open_video
from eosvos.data.video_files import frame_rate
from eosvos.errors import UserError

RATE = 24.0  # frames per second of a folder of frames, which does not say


def open_own(
    video: str | Path, *, mask: str | Path | None = None, masks: str | Path | None = None, binary: bool | None = None
) -> tuple[Sequence, float]:
    """Open a video with its masks; returns it, and its frames per second (the mean, where they vary).

    video: a video file, a folder of frames, or a folder with frames/ and masks/ in it, or JPEGImages/ and Annotations/,
    which needs no other masks. mask: of the first frame. masks: a folder or .json file of masks of any frames, by name
    or number (see `placed.place`), in any form of mask_formats.py. binary: everything but 0 is one object; None: look.

    The sequence gives a method all the masks: where objects first appear, and (`Sequence.given`) all later ones. A mask
    tells of all objects that appeared before it: one that is not on it is not in that frame.

    Raises UserError as `open_video` and `open_folder` do, and where there is no mask, or both kinds are given.
    """
    video = Path(video).expanduser()
    if mask is not None and masks is not None:
        raise UserError(f"mask={mask} and masks={masks}: give one of the two; masks= may hold that of the first frame")
    source = mask or masks
    given = None if source is None else Path(source).expanduser()
    if video.is_dir():
        sequence, rate = _folder(video, given, mask is not None, binary), RATE
    else:
        if given is None:
            raise UserError(
                f"{video}: what to follow in it is not known; give the mask of its first frame with mask=first.png, or"
                " masks of any of its frames with masks=FOLDER"
            )
        sequence, rate = open_video(video, given, binary=binary), frame_rate(video)
    annotated = annotated_frames(sequence)
    return replace(sequence, given=tuple(i for i in annotated if i > annotated[0])), rate


def annotated_frames(sequence: Sequence) -> list[int]:
    """Indices of the frames that have a mask, from the first one with an object on."""
    first = min(sequence.objects.values())
    return [index for index in range(first, len(sequence)) if sequence.mask(index) is not None]


def _folder(video: Path, given: Path | None, first: bool, binary: bool | None) -> Sequence:
    if given is None or not listing(video, IMAGES):
        found = open_folder(video, binary=binary) if given is None else []
        if len(found) != 1:
            raise UserError(
                f"{video}: "
                + (f"holds {len(found)} videos" if found else "no frames; .jpg, .png or .bmp files are expected")
                + "; give the folder with the frames of one as video=, and its masks as mask= or masks="
            )
        return found[0]
    frames, size = open_frames(video)
    masks = place(given, [path.stem for path in frames], size, binary=binary, first=first)
    tell({video.name: masks})
    return frames_and_masks(video.resolve().name, frames, size, masks)
