"""A run's folder: it belongs to one run, whose settings are in run.json, and holds the finished sequences."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import chain, count
from pathlib import Path
from typing import Any

from eosvos.errors import UserError
from eosvos.evaluation.metrics.region_contour import ScoringRules
from eosvos.evaluation.metrics.sequence_scores import SequenceResult
from eosvos.files import create_text, listed, write_text


def claim(
    out: str | Path,
    fingerprint: dict[str, Any],
    *,
    seed: int = 0,
    resume: bool = True,
    sequences: Iterable[str] = (),
    rules: ScoringRules | None = None,
) -> None:
    """Make `out` the folder of this run, or check that it is.

    It is fast, so that a command can call it first. If several runs call it at once, the one that creates run.json gets
    the folder.

    Args:
        out: the folder.
        fingerprint: everything that determines the masks, as JSON.
        seed: of the run.
        resume: whether results in the folder are continued.
        sequences: names of the run's sequences, for run.json.
        rules: rules of scoring, for run.json; None: those of DAVIS.

    Raises:
        UserError: if `out` holds a run with another fingerprint or seed (the message names the differences), holds
            results and `resume` is false, holds other files (hidden ones are ignored), or cannot be written.
    """
    out = Path(out)
    names = list(sequences)
    run = _as_json(
        {"fingerprint": fingerprint, "seed": seed, "sequences": names, "measures": (rules or ScoringRules()).as_json()}
    )
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file, expected a folder; choose another one with out={free_name(out)}")
    others = listed(out)  # before run.json is looked for: another run may create it at this moment
    there = read_run(out)
    if there is not None:
        if differing := _differing(there, run):
            message = "; ".join(f"{key}: {old} there, {new} now" for key, (old, new) in differing.items())
            raise UserError(
                f"{out}: holds a run with other settings ({message}); choose another folder with out={free_name(out)}"
            )
        if not resume and any(listed(out / part) for part in ("masks", "per_sequence")):
            raise UserError(
                f"{out}: holds this run already and resume=false; continue it with resume=true, or choose another "
                f"folder with out={free_name(out)}"
            )
    elif others:
        shown = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
        raise UserError(
            f"{out}: holds other files ({shown}), expected an empty or new folder; choose another one with "
            f"out={free_name(out)}"
        )
    if there is None and not create_text(out / "run.json", json.dumps(run, indent=1)):
        # Another run was quicker: whose folder it is has been decided.
        return claim(out, fingerprint, seed=seed, resume=resume, sequences=names, rules=rules)
    if there not in (None, run):
        write_text(out / "run.json", json.dumps(run, indent=1))


def claim_free(out: Path, fingerprint: dict[str, Any], *, seed: int = 0, **more: Any) -> Path:
    """Claim the first of `out`, `out`-2, `out`-3, ... that is free or holds a run with this fingerprint and seed.

    Args:
        out: the first folder to try.
        fingerprint: as in `claim`.
        seed: as in `claim`.
        more: further arguments of `claim`.

    Returns:
        The claimed folder.
    """
    run = _as_json({"fingerprint": fingerprint, "seed": seed})

    def fits(path: Path) -> bool:
        others = listed(path)  # before run.json is looked for: another run may create it at this moment
        there = read_run(path)
        return not (others or path.is_file()) if there is None else not _differing(there, run)

    for path in chain([out], _numbered(out)):
        if fits(path):
            try:
                claim(path, fingerprint, seed=seed, **more)
                return path
            except UserError:
                if fits(path):  # else another run has taken it meanwhile
                    raise
    raise AssertionError("numbers do not end")


def free_name(out: Path) -> Path:
    """Return the first of `out`-2, `out`-3, ... that does not exist."""
    return next(path for path in _numbered(out) if not path.exists())


def _numbered(out: Path) -> Iterator[Path]:
    return (out.with_name(f"{out.name}-{number}") for number in count(2))


def _differing(there: dict[str, Any], run: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Compare what determines the masks of two runs, see `differences`."""
    return differences({**there["fingerprint"], "seed": there["seed"]}, {**run["fingerprint"], "seed": run["seed"]})


def _as_json(content: Any) -> Any:
    return json.loads(json.dumps(content, default=str))


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """Compare nested settings.

    Returns:
        (old value, new value) by dotted name, for the settings that differ; "nothing" stands for a missing one.
    """
    differing: dict[str, tuple[Any, Any]] = {}
    for key in [*old, *(key for key in new if key not in old)]:
        a, b = old.get(key, "nothing"), new.get(key, "nothing")
        if isinstance(a, dict) and isinstance(b, dict):
            differing |= differences(a, b, f"{prefix}{key}.")
        elif a != b:
            differing[f"{prefix}{key}"] = (a, b)
    return differing


def sequence_file(out: Path, name: str) -> Path:
    """Return the path of a finished sequence's result."""
    return out / "per_sequence" / f"{name}.json"


def write_sequence(out: Path, result: SequenceResult) -> None:
    """Write a sequence's result, which marks it as finished."""
    write_text(sequence_file(out, result.name), json.dumps(result.to_json(), allow_nan=False))


def read_run(out: Path) -> dict[str, Any] | None:
    """Read run.json; None if there is none. Raises UserError if it is damaged."""
    path = out / "run.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content["fingerprint"], dict) or not isinstance(content["seed"], int):
            raise KeyError
        return content
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not the settings of a run; choose another folder with out=") from error


def read_sequence(path: Path) -> SequenceResult | None:
    """Read a sequence's result; None if the file is missing or damaged."""
    try:
        return SequenceResult.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
