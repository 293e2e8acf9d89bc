"""Scoring of a sequence's masks, and the proof of what its scores were computed from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from eosvos.data.sequence import VideoSequence
from eosvos.evaluation.metrics.region_contour import Scores, ScoringRules, score_sequence
from eosvos.evaluation.metrics.sequence_scores import SequenceResult
from eosvos.evaluation.processes import map_in_processes
from eosvos.evaluation.run_folder import differences, write_sequence

# The code that decides the scores of given masks.
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
    """Id masks, uint8 (H, W) by frame index, of one sequence, in files; see `predictions.Predictions`."""

    def __call__(self, index: int) -> np.ndarray: ...

    @property
    def files(self) -> Sequence[Path]: ...

    @property
    def overlap_pixels(self) -> Mapping[str, int]: ...


@dataclass(frozen=True)
class ScoreSequence:
    """Scores masks of sequences and writes the results into the run folder `out`; picklable."""

    out: Path
    rules: ScoringRules

    def __call__(self, item: tuple[VideoSequence, Masks]) -> SequenceResult:
        sequence, predictions = item
        blank = SequenceResult(sequence.name, len(sequence), None, None, None, None)
        result = with_scores(blank, sequence, predictions, predictions.files, self.rules)
        if predictions.overlap_pixels:
            result = replace(result, overlaps={**result.overlaps, "masks": _extent(predictions.overlap_pixels)})
        write_sequence(self.out, result)
        return result


def with_scores(
    result: SequenceResult,
    sequence: VideoSequence,
    read_prediction: Callable[[int], np.ndarray],
    files: Sequence[Path],
    rules: ScoringRules,
) -> SequenceResult:
    """Add scores and their proof to the result of a sequence.

    Args:
        result: time and memory of the sequence.
        sequence: gives the annotations.
        read_prediction: reads the predicted id mask, uint8 (H, W), of a frame index.
        files: what `read_prediction` reads from.
        rules: rules of scoring.

    Returns:
        A new result.

    Raises:
        UserError: if a mask cannot be read.
        ValueError: if a mask has another size than the sequence.
    """
    evidence = proof(sequence, files, rules)  # before anything is read: what changes meanwhile is found out later
    _, scores = score_one(vars(rules), (sequence, read_prediction))
    return replace(
        result,
        scored=[sequence.frame_names[index] for index in scores.frames],
        region=scores.region,
        contour=scores.contour,
        protocol=rules.protocol,
        attributes=sequence.attributes,
        categories=dict(sequence.categories),
        unseen=sequence.unseen,
        unknown_ids=scores.unknown_ids,
        overlaps={"truth": _extent(sequence.overlap_pixels)} if sequence.overlap_pixels else {},
        extra_metrics=scores.extra_metrics,
        proof=evidence,
    )


def proof(sequence: VideoSequence, files: Sequence[Path], rules: ScoringRules) -> dict[str, Any]:
    """Describe everything that scores depend on.

    Returns:
        As JSON: the rules; a hash of the masks' bytes; a hash of the annotations (names, sizes and times of their
        files, and the sequence's metadata); a hash of the scoring code.
    """
    masks = hashlib.sha256()
    for path in files:
        stat = path.stat()
        content = _digest(path, stat.st_size, stat.st_mtime_ns)
        masks.update(f"{path.parent.name}/{path.name} {content}\n".encode())
    stats = [(path.name, (stat := path.stat()).st_size, stat.st_mtime_ns) for path in sequence.files]
    of_objects = [sorted(of.items()) for of in (sequence.first_frame, sequence.last_frame, sequence.categories)]
    unseen = None if sequence.unseen is None else sorted(sequence.unseen)
    described = [
        tuple(sequence.frame_names),
        sequence.size,
        sequence.has_ground_truth,
        sequence.attributes,
        of_objects,
        unseen,
        stats,
    ]
    truth_hash = hashlib.sha256(json.dumps(described).encode())
    return {
        "rules": rules.as_json(),
        "masks": masks.hexdigest()[:16],
        "truth": truth_hash.hexdigest()[:16],
        "code": _code(),
    }


def outdated_reason(kept: SequenceResult, now: dict[str, Any]) -> str | None:
    """Say why the scores in `kept` do not belong to the proof `now`; None if they do."""
    if kept.proof == now:
        return None
    rules = differences(kept.proof.get("rules", {}), now["rules"])
    words = [f"{key}={_plain(new)} now, {_plain(old)} then" for key, (old, new) in rules.items()]
    reasons = {"masks": "masks changed since", "truth": "the data set changed since", "code": "by other code then"}
    return "; ".join([*words, *(text for key, text in reasons.items() if kept.proof.get(key) != now[key])])


def _extent(shared: Mapping[str, int]) -> list[int]:
    """Count the frames in which objects overlap, and the pixels."""
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
    """Score sequences in several processes; yields name and scores as they are finished.

    Args:
        items: pairs of a sequence, which gives the annotations, and a function that reads the predicted id mask,
            uint8 (H, W), of a frame index. With several processes both must be picklable.
        processes: number of processes.
        rules: protocol, ends, void and extra_metrics of `score_sequence`.

    Raises:
        UserError: as `map_in_processes` does.
        ValueError: as `score_sequence` does; the message names the sequence.
    """
    longest_first = sorted(items, key=lambda item: len(item[0]), reverse=True)
    return map_in_processes(partial(score_one, rules), longest_first, processes)


def score_one(rules: Mapping[str, Any], item: Item) -> tuple[str, Scores]:
    """Score one item of `score_sequences`; returns its name and scores."""
    sequence, read_prediction = item
    frames = range(len(sequence)) if sequence.has_ground_truth else ()
    try:
        rules = {**rules, "last": sequence.last_frame}
        return sequence.name, score_sequence(read_prediction, sequence.mask, sequence.first_frame, frames, **rules)
    except ValueError as error:
        if type(error) is not ValueError:  # a UserError names its file
            raise
        raise ValueError(f"{sequence.name}, {error}") from error
