"""Finds the folder of a data set, and suggests the right one where `data_root` is a level too high or too low."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from eosvos.data.image_files import frames_or_masks, several
from eosvos.data.user_files import list_folders
from eosvos.errors import UserError


def find_root(
    root: str | Path, name: str, holds: Callable[[Path], bool], expected: str, below: Sequence[str] = ("",)
) -> Path:
    """Return the first of `root`/`below` that holds a data set.

    Args:
        root: the folder given by the user.
        name: name of the data set, for messages.
        holds: whether a folder is that of the data set.
        expected: what should lie in it, for messages.
        below: relative paths to try.

    Raises:
        UserError: if there is none. A folder above or below `root` that holds the data set is named.
    """
    root = existing_folder(root, name, expected)
    for level in below:
        if holds(root / level):
            return root / level
    raise UserError(
        f"data_root={root}: no {name} found: {expected} is expected in it; {suggest_root(root, holds, below, name)}"
        f"there is {several(list_folders(root)) or 'no folder at all'}"
    )


def existing_folder(root: str | Path, name: str, expected: str) -> Path:
    """Return `root` as a path. Raises UserError if it is no folder."""
    root = Path(root).expanduser()
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise UserError(
            f"data_root={root}: {what}; give the folder that holds {name} ({expected}) with data_root= or the"
            " environment variable EOSVOS_DATA"
        )
    return root


def suggest_root(root: Path, holds: Callable[[Path], bool], below: Sequence[str] = ("",), name: str = "") -> str:
    """Return "give ...; " if a folder around or within `root` holds the data set, else "".

    Args:
        root: the folder given by the user.
        holds: whether a folder is that of the data set.
        below: relative paths to try.
        name: name of the data set; of several folders within `root` those named like it come first.
    """
    for above in list(root.resolve().parents)[:6]:
        if any(holds(above / level) for level in below):
            return f"this lies within the data set, give the folder above: data_root={above}; "
    within = [root / name for name in list_folders(root)[:100]]  # of a folder full of others, some
    candidates = [path for path in within if any(holds(path / level) for level in below)]
    candidates.sort(key=lambda path: _letters(name) not in _letters(path.name))
    if candidates:
        others = f" (or {several([path.name for path in candidates[1:]], 4)} beside it)" if len(candidates) > 1 else ""
        return f"it is one folder lower, give data_root={candidates[0]}{others}; "
    return ""


def _letters(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def own_split_name(split: str | None, known: Sequence[str], name: str, default: str) -> str:
    """Return the data set's own name of a split; "val" and "valid" are the same.

    Raises UserError for an unknown split.
    """
    split = split or default
    for word in (split, {"val": "valid", "valid": "val"}.get(split, split)):
        if word in known:
            return word
    raise UserError(f"split={split}: not a split of {name}; use one of {', '.join(known)}")


def split_folder(root: str | Path, split: str, known: Sequence[str], name: str, *, frames: bool = True) -> Path:
    """Return ROOT/SPLIT, or ROOT itself if it is the folder of the split.

    Args:
        root: the folder given by the user.
        split: the split.
        known: all splits of the data set.
        name: name of the data set, for messages.
        frames: whether the folder must hold JPEGImages; otherwise Annotations is enough.

    Raises:
        UserError: as `find_root`, and if `root` is the folder of another split.
    """
    root = existing_folder(root, name, f"{split}/JPEGImages")

    def holds(path: Path) -> bool:
        return frames_or_masks(path / "JPEGImages", path / "Annotations", frames).is_dir()

    same = {split, {"val": "valid", "valid": "val"}.get(split, split)}
    for level in (*sorted(same, key=lambda word: word != split), ""):
        base = root / level
        if not holds(base):
            continue
        if not level and root.resolve().name in set(known) - same:
            raise UserError(
                f"data_root={root}: is the folder of split={root.resolve().name}, and split={split} is asked for; give"
                f" the folder above, data_root={root.resolve().parent}, or another split="
            )
        return base
    others = [word for word in known if word not in same and holds(root / word)]
    if others:
        raise UserError(
            f"data_root={root}: has no {split}/JPEGImages, but split={' and split='.join(others)}; ask for that, or"
            f" fetch {split}"
        )
    return find_root(root, name, holds, f"{split}/JPEGImages", (split, ""))
