"""The learners that ship, which a setting names without a slash or suffix."""

from __future__ import annotations

from pathlib import Path

from eosvos.errors import UserError

FOLDER = Path(__file__).resolve().parent


def shipped() -> list[Path]:
    """The files, by name."""
    return sorted(FOLDER.glob("*.safetensors"))


def path_of(given: str, key: str = "learner") -> Path:
    """The file that a setting means: the one that ships for a name without slash or suffix, else the path itself.

    Raises UserError for a name that none has, and a path where nothing is.
    """
    path, names = Path(given), [file.stem for file in shipped()]
    if "/" in given or path.suffix:
        if not path.exists():
            raise UserError(
                f"{key}={given}: no such file; train one with `make meta-train`, give the path of a learner.safetensors"
                f", or one that ships: {', '.join(names)}"
            )
        return path
    if given not in names:
        here = f"; the file here is {key}=./{given}" if path.exists() else ""
        raise UserError(f"{key}={given}: no learner of that name ships; there are {', '.join(names)}{here}")
    return FOLDER / f"{given}.safetensors"
