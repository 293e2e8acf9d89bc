"""The measuring of a sequence's masks by explicit rules, and the proof of what its figures were computed from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from collections.abc import Sequence as Collection
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from eosvos.data.sequence import Sequence
from eosvos.errors import UserError
from eosvos.evaluation.metrics import score_sequence
from eosvos.evaluation.results import SequenceResult, differences

MORE: tuple[str, ...] = ()  # measures beyond J and F
_CODE = ("metrics.py", "contours.py", "measure.py", "../data/masks.py")  # that decides the figures of given masks


@dataclass(frozen=True)
class Measures:
    """What is measured, and by which rules: see `metrics.score_sequence`."""

    protocol: str = "davis"
    ends: str | None = None  # None: as the protocol has it
    void: str = "background"
    more: tuple[str, ...] = ()  # of `MORE`


def measured(
    result: SequenceResult,
    sequence: Sequence,
    read_prediction: Callable[[int], np.ndarray],
    files: Collection[Path],
    measures: Measures,
) -> SequenceResult:
    """`result` with the figures of the masks that `read_prediction` reads from `files`, and their proof.

    Raises UserError for masks that cannot be read, ValueError where one has not the sequence's size.
    """
    evidence = proof(sequence, files, measures)  # before anything is read: what changes meanwhile is found out later
    frames = range(len(sequence)) if sequence.truth else ()
    protocol, ends, void = measures.protocol, measures.ends, measures.void
    try:
        scores = score_sequence(
            read_prediction, sequence.mask, sequence.objects, frames, protocol=protocol, ends=ends, void=void
        )
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise ValueError(f"{sequence.name}, {error}") from error
    return replace(
        result,
        scored=[sequence.frame_names[index] for index in scores.frames],
        region=scores.region,
        contour=scores.contour,
        protocol=protocol,
        attributes=sequence.attributes,
        categories=dict(sequence.categories),
        unseen=sequence.unseen,
        strange=scores.strange,
        proof=evidence,
    )


def proof(sequence: Sequence, files: Collection[Path], measures: Measures) -> dict[str, Any]:
    """All that figures are computed from, as JSON: the rules, a hash of the masks' bytes, one of the truth (names,
    sizes and times of the data set's files, and what it tells of the sequence), and one of the code."""
    masks = hashlib.sha256()
    for path in files:
        content = path.read_bytes()
        masks.update(f"{path.parent.name}/{path.name} {len(content)}\n".encode() + content)
    stats = [(path.name, (stat := path.stat()).st_size, stat.st_mtime_ns) for path in sequence.files]
    of_objects = [sorted(sequence.objects.items()), sorted(sequence.categories.items())]
    unseen = None if sequence.unseen is None else sorted(sequence.unseen)
    told = [sequence.frame_names, sequence.size, sequence.truth, sequence.attributes, of_objects, unseen, stats]
    truth = hashlib.sha256(json.dumps(told).encode())
    rules = json.loads(json.dumps(asdict(measures)))
    return {"rules": rules, "masks": masks.hexdigest()[:16], "truth": truth.hexdigest()[:16], "code": _code()}


def outdated(kept: SequenceResult, now: dict[str, Any]) -> str | None:
    """Why figures that were `kept` are not those of the proof `now`, in words; None where they are."""
    if kept.proof == now:
        return None
    rules = differences(kept.proof.get("rules", {}), now["rules"])
    words = [f"{key}={_plain(new)} now, {_plain(old)} then" for key, (old, new) in rules.items()]
    reasons = {"masks": "masks changed since", "truth": "the data set changed since", "code": "by other code then"}
    return "; ".join([*words, *(text for key, text in reasons.items() if kept.proof.get(key) != now[key])])


def _plain(value: Any) -> str:
    return "null" if value is None else str(value).replace("'", "").replace(" ", "")


@cache
def _code() -> str:
    here = Path(__file__).parent
    return hashlib.sha256(b"\0".join((here / name).read_bytes() for name in _CODE)).hexdigest()[:16]
