"""Progressive refinement: annotate one frame more, fine-tune on all annotated ones, segment again.

Source: OSVOS, section 4, "Refinement of results" and Table 4. There as here the frame is the one where the result is
worst, and annotated frames count: its last column is measured on the very frames that were trained on. What counts of
them there is the network's answer; here a given mask wins on its own frame, as ever. So that given masks cannot pass
for what was learned, J and F stand beside over the frames that are annotated at no count, the same ones for all counts.

A run's folder: 1/, 2/, ... hold the run of each number of annotations (see `benchmark`), refinement.csv the figures,
annotations.csv the annotated frames and J of each sequence.
"""

from __future__ import annotations

import math
import sys
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from eosvos import seeds
from eosvos.data.sequence import VideoSequence
from eosvos.evaluation import benchmark, report, run_folder
from eosvos.evaluation.metrics.region_contour import statistics
from eosvos.evaluation.metrics.sequence_scores import SequenceResult
from eosvos.evaluation.results import Results, to_csv
from eosvos.files import write_text
from eosvos.inference.stream import learning_method
from eosvos.inference.suggestion import suggest
from eosvos.meta.distributed import World
from eosvos.methods.protocol import Method

FRAME_CHOICES = ("worst", "suggested", "random", "even")


@dataclass(frozen=True)
class Round:
    """The run with `count` annotated frames. given: the names of those besides the first, in the order chosen, by
    sequence."""

    count: int
    given: dict[str, tuple[str, ...]]
    results: Results


def refine(
    make_method: Callable[[int], Method],
    sequences: Iterable[VideoSequence],
    out: str | Path,
    *,
    counts: Sequence[int],
    choice: str = "worst",
    seed: int = 0,
    fingerprint: dict[str, Any],
    world: World | None = None,
    **settings: Any,
) -> list[Round]:
    """Evaluate with each number of annotated frames in `counts`; 1 is the first masks alone, and always run.

    choice: the next annotated frame is the "worst", of the lowest J (mean over objects) among the measured ones, or the
    one that is "suggested" without the truth (see inference/suggestion.py), for both of which the numbers in between
    are run too; or a "random" one; or all are spaced "even", the first at the beginning. A sequence that has no
    measured frame left keeps what it has. settings: further ones of `benchmark.run`, where the others are told. The
    same call continues an interrupted one. Raises UserError for a method that cannot learn from more annotations.
    """
    sequences, out = list(sequences), Path(out)
    learning_method(make_method(seed))
    names = [sequence.name for sequence in sequences]
    (world or World()).share(lambda: run_folder.claim(out, fingerprint, seed=seed, sequences=names))
    given: dict[str, tuple[str, ...]] = dict.fromkeys(names, ())
    rounds: list[Round] = []
    for count in range(1, max(counts) + 1):
        if count > 1:
            pairs = zip(sequences, rounds[-1].results.sequences, strict=True)
            given = {s.name: choose(choice, s, result, given[s.name], count, seed) for s, result in pairs}
        if count > 1 and count not in counts and choice not in ("worst", "suggested"):
            continue
        results = benchmark.run(
            make_method,
            [replace(s, given=tuple(map(s.frame_names.index, given[s.name]))) for s in sequences],
            out / str(count),
            seed=seed,
            fingerprint={**fingerprint, "annotations": {name: list(frames) for name, frames in given.items()}},
            world=world,
            **settings,
        )
        rounds.append(Round(count, given, results))
    return [one for one in rounds if one.count in counts]


def choose(
    choice: str, sequence: VideoSequence, result: SequenceResult, given: tuple[str, ...], count: int, seed: int
) -> tuple[str, ...]:
    """The names of the frames to annotate for `count` annotations: count - 1, as the first masks' are one of them.

    result: with the frames `given` annotated. Only measured frames, whose truth is known, are chosen.
    """
    left = [k for k, name in enumerate(result.scored) if name not in given]
    if choice == "even" and result.scored:
        frames = np.array([sequence.frame_names.index(name) for name in result.scored])
        first = min(sequence.objects.values())
        places = [first + k * (len(sequence) - first) / count for k in range(1, count)]
        return tuple(dict.fromkeys(result.scored[int(np.abs(frames - place).argmin())] for place in places))
    if not left or not result.objects:
        return given
    if choice == "random":
        draws = seeds.numpy_generator(seed, zlib.crc32(sequence.name.encode()), count)
        return (*given, result.scored[int(draws.choice(left))])
    if choice == "suggested":
        known = {min(sequence.objects.values()), *map(sequence.frame_names.index, given)}
        index = suggest(result.uncertain, known, [sequence.frame_names.index(result.scored[k]) for k in left])
        return given if index is None else (*given, sequence.frame_names[index])
    values = np.array([result.region[i] for i in result.objects])[:, left]
    counted = ~np.isnan(values)  # nan: the frame does not count for the object
    means = np.where(counted, values, 0).sum(0) / np.maximum(counted.sum(0), 1)
    return (*given, result.scored[left[int(np.where(counted.any(0), means, math.inf).argmin())]])


def table(rounds: Sequence[Round]) -> list[dict[str, Any]]:
    """A row for each count: all figures of `Results.summary`, and J and F of the frames annotated at none of them."""
    touched = {name: {frame for one in rounds for frame in one.given[name]} for name in rounds[0].given}
    elsewhere = [_untouched(one.results, touched) for one in rounds]
    return [
        {"annotations": one.count, **one.results.summary, "J-Elsewhere": j, "F-Elsewhere": f}
        for one, (j, f) in zip(rounds, elsewhere, strict=True)
    ]


def show(rounds: Sequence[Round], out: str | Path, *, file: IO[str] | None = None) -> None:
    """Print a line for each count, with the gains in J over the line before; write refinement.csv and annotations.csv
    into `out`."""
    found, lines = table(rounds), []
    for row, before in zip(found, [None, *found], strict=False):
        gain = {key: "" if before is None else f"{row[key] - before[key]:+.3f}" for key in ("J-Mean", "J-Elsewhere")}
        of_all = [row["J&F-Mean"], row["J-Mean"], gain["J-Mean"], row["F-Mean"]]
        of_others = [row["J-Elsewhere"], gain["J-Elsewhere"], row["F-Elsewhere"]]
        lines.append([row["annotations"], *of_all, *of_others, f"{row['fps']:.2f}", f"{row['seconds']:.1f}"])
    header = ["annotations", "J&F", "J", "gain", "F", "J elsewhere", "gain", "F elsewhere", "fps", "s"]
    print(report.table(header, lines), file=file or sys.stdout)
    print("elsewhere: on the frames that are annotated at none of these counts", file=file or sys.stdout)
    write_text(Path(out) / "refinement.csv", to_csv(found))
    per_sequence = [
        {
            "Sequence": results[0].name,
            **{f"J-{one.count}": _mean(result) for one, result in zip(rounds, results, strict=True)},
            "annotated": " ".join(rounds[-1].given[results[0].name]),
        }
        for results in zip(*(one.results.sequences for one in rounds), strict=True)
    ]
    write_text(Path(out) / "annotations.csv", to_csv(per_sequence))


def _untouched(results: Results, touched: dict[str, set[str]]) -> tuple[float, float]:
    """J and F, means over objects of the means over their frames that are not `touched`."""
    means: list[tuple[float, float]] = []
    for result in results.sequences:
        kept = [k for k, name in enumerate(result.scored) if name not in touched[result.name]]
        for i in result.objects:
            j, f = (statistics([values[i][k] for k in kept]).mean for values in (result.region, result.contour))
            means += [] if math.isnan(j) else [(j, f)]
    j, f = np.array(means).mean(0) if means else (math.nan, math.nan)
    return float(j), float(f)


def _mean(result: SequenceResult) -> float:
    """J of a sequence, mean over its objects."""
    means = [result.statistics(i)[0].mean for i in result.objects]
    return sum(means) / len(means) if means else math.nan
