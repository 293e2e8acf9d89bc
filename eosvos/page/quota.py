"""How much disk the page's folder may take."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

from eosvos.errors import UserError

_PAUSE = 20.0  # times as long as measuring took, until it is measured again
_SHORTEST = 1.0  # seconds


class QuotaReached(UserError):
    """The page's folder takes as much disk as it may."""


class Quota:
    """The disk that a folder may take; what is painted is stored nevertheless.

    Args:
        folder: the folder.
        limit: bytes; None: any.
    """

    def __init__(self, folder: Path, limit: int | None) -> None:
        self.folder, self.limit = folder, limit
        self._lock = threading.Lock()
        self._used, self._next = 0, 0.0

    def check(self, more: int = 0) -> None:
        """Raise QuotaReached if the folder is full, or would be with `more` bytes.

        The folder is measured now and then; between that, what was told to `add` counts.
        """
        if self.limit is None:
            return
        with self._lock:
            now = time.monotonic()
            if now >= self._next:
                self._used = disk_use(self.folder)
                self._next = now + max(_SHORTEST, _PAUSE * (time.monotonic() - now))
            if self._used + max(1, more) > self.limit:
                self._next = 0.0  # something may be deleted for it
                raise QuotaReached(
                    f"the disk space of this server, {self.limit >> 20} MiB, is used up; delete sessions that are no"
                    " longer needed, or have it started with a larger quota="
                )

    def add(self, count: int) -> None:
        """Note that `count` bytes were written."""
        with self._lock:
            self._used += count


def disk_use(folder: Path) -> int:
    """Count the bytes of all files below a folder; of several links to a file one counts."""
    total, linked, folders = 0, set[tuple[int, int]](), [str(folder)]
    while folders:
        with suppress(FileNotFoundError), os.scandir(folders.pop()) as entries:  # deleted meanwhile
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                    continue
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    file = (status.st_dev, status.st_ino)
                    if status.st_nlink == 1 or file not in linked:
                        total += status.st_size
                    linked.update([file] * (status.st_nlink > 1))
    return total
