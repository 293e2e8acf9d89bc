"""The measuring of a sequence's masks by explicit rules, and the proof of what its figures were computed from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Sequence as Collection
from dataclasses import asdict, dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eosvos.data.sequence import Sequence
from eosvos.evaluation.metrics.region_contour import counted_objects, ends_of
from eosvos.evaluation.results import SequenceResult, differences, write_sequence
from eosvos.evaluation.scoring import score_one

if TYPE_CHECKING:
    from eosvos.evaluation.predictions import Predictions

# The code that decides the figures of given masks.
_CODE = (
    "scoring.py",
    "metrics/region_contour.py",
    "metrics/bit_planes.py",
    "metrics/boxes_errors.py",
    "metrics/temporal_stability.py",
    "../data/**/*.py",
)


@dataclass(frozen=True)
class Measures:
    """What is measured, and by which rules: see `region_contour.score_sequence`."""

    protocol: str = "davis"
    ends: str | None = None  # None: as the protocol has it
    void: str = "background"
    more: tuple[str, ...] = ()  # of `region_contour.MEASURES`, besides J and F


@dataclass(frozen=True)
class Score:
    """Measures masks of one sequence after the other, into `out`; may be sent to other processes."""

    out: Path
    measures: Measures

    def __call__(self, item: tuple[Sequence, Predictions]) -> SequenceResult:
        sequence, predictions = item
        blank = SequenceResult(sequence.name, len(sequence), None, None, None, None)
        result = measured(blank, sequence, predictions, predictions.files, self.measures)
        if predictions.shared:
            result = replace(result, shared={**result.shared, "masks": _extent(predictions.shared)})
        write_sequence(self.out, result)
        return result


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
    rules = {"protocol": measures.protocol, "ends": measures.ends, "void": measures.void, "measures": measures.more}
    _, scores = score_one(rules, (sequence, read_prediction))
    return replace(
        result,
        scored=[sequence.frame_names[index] for index in scores.frames],
        region=scores.region,
        contour=scores.contour,
        protocol=measures.protocol,
        attributes=sequence.attributes,
        categories=dict(sequence.categories),
        unseen=sequence.unseen,
        strange=scores.strange,
        shared={"truth": _extent(sequence.shared)} if sequence.shared else {},
        more=scores.more,
        proof=evidence,
    )


def counts(sequence: Sequence, indices: Iterable[int], measures: Measures) -> list[int]:
    """Those of some frames that figures can be of: that have a truth, and are no end that is left out."""
    if not sequence.truth:
        return []
    indices = list(indices)
    ends = set()
    if indices and (measures.ends or ends_of(measures.protocol)) == "skip":
        order = range(len(sequence))
        ends = {next(i for i in way if sequence.mask(i) is not None) for way in (order, reversed(order))}
    of = (measures.protocol, sequence.objects, sequence.last)
    return [i for i in indices if i not in ends and counted_objects(*of, i) and sequence.mask(i) is not None]


def proof(sequence: Sequence, files: Collection[Path], measures: Measures) -> dict[str, Any]:
    """All that figures are computed from, as JSON: the rules, a hash of the masks' bytes, one of the truth (names,
    sizes and times of the data set's files, and what it tells of the sequence), and one of the code."""
    masks = hashlib.sha256()
    for path in files:
        stat = path.stat()
        content = _digest(path, stat.st_size, stat.st_mtime_ns)
        masks.update(f"{path.parent.name}/{path.name} {content}\n".encode())
    stats = [(path.name, (stat := path.stat()).st_size, stat.st_mtime_ns) for path in sequence.files]
    of_objects = [sorted(of.items()) for of in (sequence.objects, sequence.last, sequence.categories)]
    unseen = None if sequence.unseen is None else sorted(sequence.unseen)
    told = [tuple(sequence.frame_names), sequence.size, sequence.truth, sequence.attributes, of_objects, unseen, stats]
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


def _extent(shared: Mapping[str, int]) -> list[int]:
    """Frames in which objects overlap, and their pixels."""
    return [len(shared), sum(shared.values())]


def _plain(value: Any) -> str:
    return "null" if value is None else str(value).replace("'", "").replace(" ", "")


@lru_cache(maxsize=1)  # one file may hold the masks of all sequences
def _digest(path: Path, size: int, time: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@cache
def _code() -> str:
    files = (path for pattern in _CODE for path in sorted(Path(__file__).parent.glob(pattern)))
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()[:16]
