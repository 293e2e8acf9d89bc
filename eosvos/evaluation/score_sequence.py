"""The measuring of a sequence's masks by explicit rules, and the proof of what its figures were computed from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from eosvos.data.sequence import VideoSequence
from eosvos.evaluation.metrics.region_contour import Measures, Scores, score_sequence
from eosvos.evaluation.metrics.sequence_scores import SequenceResult
from eosvos.evaluation.processes import spread
from eosvos.evaluation.run_folder import differences, write_sequence

# The code that decides the figures of given masks.
_CODE = (
    "score_sequence.py",
    "metrics/region_contour.py",
    "metrics/bit_planes.py",
    "metrics/boxes_errors.py",
    "metrics/temporal_stability.py",
    "../data/**/*.py",
)
Item = tuple["VideoSequence", Callable[[int], np.ndarray]]


class Masks(Protocol):
    """The id masks uint8 (H, W) of the frames of one sequence, in files; see `predictions.Predictions`."""

    def __call__(self, index: int) -> np.ndarray: ...

    @property
    def files(self) -> Sequence[Path]: ...

    @property
    def overlap_pixels(self) -> Mapping[str, int]: ...


@dataclass(frozen=True)
class Score:
    """Measures masks of one sequence after the other, into `out`; may be sent to other processes."""

    out: Path
    measures: Measures

    def __call__(self, item: tuple[VideoSequence, Masks]) -> SequenceResult:
        sequence, predictions = item
        blank = SequenceResult(sequence.name, len(sequence), None, None, None, None)
        result = measured(blank, sequence, predictions, predictions.files, self.measures)
        if predictions.overlap_pixels:
            result = replace(result, shared={**result.shared, "masks": _extent(predictions.overlap_pixels)})
        write_sequence(self.out, result)
        return result


def measured(
    result: SequenceResult,
    sequence: VideoSequence,
    read_prediction: Callable[[int], np.ndarray],
    files: Sequence[Path],
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
        shared={"truth": _extent(sequence.overlap_pixels)} if sequence.overlap_pixels else {},
        more=scores.more,
        proof=evidence,
    )


def proof(sequence: VideoSequence, files: Sequence[Path], measures: Measures) -> dict[str, Any]:
    """All that figures are computed from, as JSON: the rules, a hash of the masks' bytes, one of the truth (names,
    sizes and times of the data set's files, and what it tells of the sequence), and one of the code."""
    masks = hashlib.sha256()
    for path in files:
        stat = path.stat()
        content = _digest(path, stat.st_size, stat.st_mtime_ns)
        masks.update(f"{path.parent.name}/{path.name} {content}\n".encode())
    stats = [(path.name, (stat := path.stat()).st_size, stat.st_mtime_ns) for path in sequence.files]
    of_objects = [sorted(of.items()) for of in (sequence.first_frame, sequence.last_frame, sequence.categories)]
    unseen = None if sequence.unseen is None else sorted(sequence.unseen)
    told = [
        tuple(sequence.frame_names),
        sequence.size,
        sequence.has_ground_truth,
        sequence.attributes,
        of_objects,
        unseen,
        stats,
    ]
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


def score_sequences(items: Iterable[Item], processes: int = 1, **rules: Any) -> Iterator[tuple[str, Scores]]:
    """The name and scores of each sequence, as they are finished.

    An item is a sequence, read for its truth, and a function that reads the id mask uint8 (H, W) of frame i; both must
    be picklable where there are several processes. `rules`: protocol, ends, void and measures of `score_sequence`.
    Raises what `score_sequence` and `spread` do; a ValueError names the sequence.
    """
    longest_first = sorted(items, key=lambda item: len(item[0]), reverse=True)
    return spread(partial(score_one, rules), longest_first, processes)


def score_one(rules: Mapping[str, Any], item: Item) -> tuple[str, Scores]:
    """The name and scores of one sequence, as of `score_sequences`."""
    sequence, read_prediction = item
    frames = range(len(sequence)) if sequence.has_ground_truth else ()
    try:
        rules = {**rules, "last": sequence.last_frame}
        return sequence.name, score_sequence(read_prediction, sequence.mask, sequence.first_frame, frames, **rules)
    except ValueError as error:
        if type(error) is not ValueError:  # a UserError names its file
            raise
        raise ValueError(f"{sequence.name}, {error}") from error
