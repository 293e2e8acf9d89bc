"""Files and folders of users, in natural order and without what systems and programs leave there.

Skipped are hidden files (also AppleDouble's `._*`), the names in `JUNK`, and folders, pipes and devices whose names end
like image files; the latter are logged. A broken link is an error, as a file is missing.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path

from eosvos.errors import UserError
from eosvos.files import refused

log = logging.getLogger(__name__)

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
# Synology's and QNAP's thumbnails and recycle bins, macOS's resource forks in zip files, Windows's and Linux's own
JUNK = frozenset(
    (
        *("@eadir", "#recycle", "@recycle", "@recently-snapshot", "#snapshot"),
        *("__macosx", "icon\r", "lost+found"),
        *("thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "recycler", "system volume information"),
    )
)


def list_entries(folder: Path) -> list[os.DirEntry[str]]:
    """List a folder without hidden files and junk, in natural order (2 before 10).

    Raises:
        UserError: if the folder cannot be read.
    """
    try:
        with os.scandir(folder) as scan:
            kept = [entry for entry in scan if not entry.name.startswith(".") and entry.name.lower() not in JUNK]
    except OSError as error:
        raise refused(error, folder) from error
    return sorted(kept, key=lambda entry: natural_key(entry.name))


def list_files(folder: Path, kinds: Collection[str] = IMAGES) -> list[Path]:
    """List the files of a folder that have one of the given extensions, in natural order of their stems.

    Args:
        folder: the folder.
        kinds: extensions in lower case, with the dot.

    Raises:
        UserError: if the folder cannot be read or holds a broken link.
    """
    named = [entry for entry in list_entries(folder) if Path(entry.name).suffix.lower() in kinds]
    odd = tuple(entry.name for entry in named if not _is_file(entry))
    if odd:
        _warn_irregular(folder, odd)
    files = [folder / entry.name for entry in named if entry.name not in odd]
    return sorted(files, key=lambda path: natural_key(path.stem))


def list_folders(root: Path) -> list[str]:
    """Return the names of the folders in `root`, in natural order.

    Folders named as image files are skipped. A missing `root` has none.
    """
    if not root.is_dir():
        return []
    return [e.name for e in list_entries(root) if e.is_dir() and Path(e.name).suffix.lower() not in IMAGES]


def natural_key(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Return a sort key that compares the numbers within names as numbers."""
    parts = re.split(r"(\d+)", name)
    return [(1, int(p), "") if p.isdecimal() else (0, 0, p) for p in parts], name


def check_regular(path: Path, what: str) -> None:
    """Raise UserError unless `path` is a regular file; `what` names in the message what to give instead."""
    try:
        path.stat()
    except OSError as error:
        raise refused(error, path) from error
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "a pipe, socket or device"
        raise UserError(f"{path}: is {kind}; give {what}")


def _is_file(entry: os.DirEntry[str]) -> bool:
    """False for a folder, pipe or device. Raises UserError for a link that leads nowhere, or in a circle."""
    try:
        return entry.is_file() or (bool(entry.stat()) and False)
    except OSError as error:
        if not entry.is_symlink():
            raise refused(error, Path(entry.path)) from error
        raise UserError(
            f"{entry.path}: is a link to {os.readlink(entry.path)}, where no file is ({error.strerror}); fetch the file"
            " (git annex get, where it is kept so), or remove the link"
        ) from error


@lru_cache(256)  # once: folders are listed several times
def _warn_irregular(folder: Path, names: tuple[str, ...]) -> None:
    log.warning("%s: left out, as these are named as images, but are no files: %s", folder, ", ".join(names[:4]))
