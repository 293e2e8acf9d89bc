"""What is painted on the frames of a session, and what its objects are called."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from eosvos.data.masks import VOID, ids_of, read_absent, read_mask, write_mask
from eosvos.errors import UserError
from eosvos.files import listed, write_bytes

_COLOUR = re.compile(r"#[0-9a-f]{6}")
LONGEST_NAME = 80
_FLAGS = ("hidden", "locked", "deleted")


class Annotations:
    """The painted masks in a folder: FRAME.png.

    A mask tells of the objects that it shows and of those that it is told not to show, and of no others. A mask that
    shows none and was stored without saying which are absent tells that none is there, as mask files do.

    Args:
        folder: the folder, which may not exist yet.
        size: height and width of the frames in pixels.
    """

    def __init__(self, folder: Path, size: tuple[int, int]) -> None:
        self.folder, self.size = folder, size

    def versions(self) -> dict[str, str]:
        """Return, by name of the frame, a text that changes whenever what is painted there changes."""
        there = {}
        for name in listed(self.folder, ".png"):
            with suppress(FileNotFoundError):  # taken back meanwhile
                status = (self.folder / name).stat()
                there[name[:-4]] = f"{status.st_mtime_ns}-{status.st_ino}"
        return there

    def __contains__(self, name: str) -> bool:
        return (self.folder / f"{name}.png").is_file()

    def read(self, name: str) -> tuple[np.ndarray, tuple[int, ...] | None]:
        """Read the id mask, uint8 (H, W), of a frame, and the absent objects; None: it was not said which."""
        path = self.folder / f"{name}.png"
        return read_mask(path, size=self.size), read_absent(path)

    def write(self, name: str, ids: np.ndarray, absent: Collection[int] | None = None) -> None:
        """Store an id mask, uint8 (H, W), and the objects that are told not to be in the frame.

        Raises:
            UserError: if the mask holds 255, or an object is both shown and absent.
        """
        if ids.max() == VOID:
            raise UserError(f"the mask has the value {VOID}; expected 0 and the numbers of objects, 1 to {VOID - 1}")
        if both := set(absent or ()) & set(ids_of(ids)):
            raise UserError(f"object {min(both)} is in the mask and told to be absent; expected one of the two")
        write_mask(self.folder / f"{name}.png", ids, absent)

    def delete(self, name: str) -> None:
        (self.folder / f"{name}.png").unlink(missing_ok=True)

    def copy(self, name: str, target: Annotations, without: Collection[int] = ()) -> list[int]:
        """Copy what is painted on a frame, without some objects; returns the objects that it then shows."""
        ids, absent = self.read(name)
        if absent is None and not ids.any():
            target.write(name, ids)
            return []
        ids = np.where(np.isin(ids, list(without)), 0, ids).astype(np.uint8)
        target.write(name, ids, set(absent or ()) - set(without))
        return ids_of(ids)

    def over(self, name: str, result: np.ndarray) -> np.ndarray:
        """Put what is painted on a frame over its result: of objects that the painting does not tell of it stays.

        Args:
            name: of the frame.
            result: id mask uint8 (H, W).

        Returns:
            uint8 (H, W).
        """
        ids, absent = self.read(name)
        if absent is None and not ids.any():
            return ids
        told = [*ids_of(ids), *(absent or ())]
        return np.where(ids > 0, ids, np.where(np.isin(result, told), 0, result)).astype(np.uint8)


def read_objects(path: Path) -> list[dict[str, Any]]:
    """Read the objects' names, colours and flags in their order; [] if nothing was stored or the file is damaged."""
    try:
        return check_objects(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, UserError):
        return []


def write_objects(path: Path, objects: Any) -> None:
    """Store the objects' names, colours and flags in their order. Raises UserError for anything else."""
    write_bytes(path, json.dumps(check_objects(objects)).encode())


def check_objects(objects: Any) -> list[dict[str, Any]]:
    """Check a list of objects that came from outside. Raises UserError if it is none."""
    expected = (
        f"expected a list of objects with id (1 to {VOID - 1}), name (at most {LONGEST_NAME} characters), colour"
        f" (#rrggbb) and {', '.join(_FLAGS)} (true or false)"
    )
    if not isinstance(objects, list) or not all(isinstance(one, dict) for one in objects):
        raise UserError(f"objects are {str(objects)[:60]!r}; {expected}")
    checked = []
    for one in objects:
        id, name, colour = one.get("id"), one.get("name", ""), one.get("colour", "")
        flags = {flag: one.get(flag, False) for flag in _FLAGS}
        good = type(id) is int and 0 < id < VOID and isinstance(name, str) and len(name) <= LONGEST_NAME
        good = good and isinstance(colour, str) and (not colour or _COLOUR.fullmatch(colour) is not None)
        if not good or any(type(value) is not bool for value in flags.values()):
            raise UserError(f"object {str(one)[:120]!r}; {expected}")
        checked.append({"id": id, "name": name, "colour": colour, **flags})
    if len({one["id"] for one in checked}) < len(checked):
        raise UserError("an object is listed twice; expected each id once")
    return checked
