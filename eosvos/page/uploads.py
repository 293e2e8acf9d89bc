"""Checks of uploads: under which name a file is stored, and whether it is a video."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Callable
from pathlib import Path

from eosvos.data.image_files import is_animated
from eosvos.data.levels import Levels
from eosvos.data.readers.folder import frame_reader, open_frames
from eosvos.data.readers.user_video import RATE
from eosvos.data.sequence import VideoSequence
from eosvos.data.user_files import IMAGES, list_entries
from eosvos.data.video.open import frame_rate, open_video
from eosvos.data.video.stacks import is_image_file
from eosvos.errors import UserError
from eosvos.files import create_text

_NAME = 200  # bytes of a file's name; file systems take 255, of which temporary files and numbers need some


def free_path(folder: Path, name: str) -> Path:
    """Create an empty file for an upload.

    Args:
        folder: where to create it.
        name: the file's name on the user's machine; unsafe characters are replaced, and a number is added if the file
            exists.

    Returns:
        The path of the new file.

    Raises:
        UserError: if nothing is left of the name.
    """
    plain = re.sub(r"[^\w. -]", "_", name)  # no separators: it stays in its folder
    # the end has the number of a frame and the kind of a file; a dot in front would hide it
    plain = plain.strip(". ").encode()[-_NAME:].decode(errors="ignore").strip(". ")
    if not plain:
        raise UserError(f"{name!r}: a file without a name")
    stem, suffix = Path(plain).stem, Path(plain).suffix
    for name in itertools.chain([plain], (f"{stem}-{number}{suffix}" for number in itertools.count(2))):
        if create_text(folder / name, ""):
            return folder / name
    raise AssertionError("numbers do not end")


def video_in(folder: Path) -> Path:
    """Return the video file in an upload's folder, or the folder if it holds images. Raises UserError otherwise."""
    files = [Path(entry.path) for entry in list_entries(folder)]
    pictures = [path for path in files if path.suffix.lower() in IMAGES]
    if len(files) == 1 and (not pictures or _is_stack(files[0])):
        return files[0]
    if files and len(pictures) == len(files):
        return folder
    odd = next((path.name for path in files if path not in pictures), "nothing")
    raise UserError(
        f"found {odd} among {len(files)} files; give one video, or the frames of one as {', '.join(IMAGES)}"
    )


def open_upload(video: Path, levels: Levels = "auto") -> tuple[VideoSequence, float]:
    """Open a video file or folder of frames without masks; returns it and its frames per second."""
    if not video.is_dir():
        return open_video(video, levels=levels), frame_rate(video)
    paths, size, span = open_frames(video, levels=levels)
    read = frame_reader(paths, size, span)
    read(0)
    return VideoSequence(video.name, tuple(path.stem for path in paths), size, {}, read, _no_mask, tuple(paths)), RATE


def count_frames(sequence: VideoSequence, tell: Callable[[list[str] | UserError], object] = bool) -> None:
    """Count the frames of a video, of a large file in a thread; `tell` is called with their names or the error."""

    def work() -> None:
        try:
            tell(list(sequence.frame_names))
        except UserError as error:
            tell(error)

    if sequence.counted:
        work()
    else:
        threading.Thread(target=work, name="count", daemon=True).start()


def _is_stack(path: Path) -> bool:
    try:
        return is_image_file(path) and is_animated(path)
    except OSError:  # damaged: this is told when it is opened
        return False


def _no_mask(index: int) -> None:
    return None
