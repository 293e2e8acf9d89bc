"""Progressive refinement: annotate one more frame, fine-tune on all annotated ones, segment again.

As in the source, the next frame is the one with the worst result, and annotated frames are scored too. The source
scores the network's prediction on them; here a given mask overrides the prediction on its own frame. So J and F are
also reported "elsewhere": over the frames that are annotated in none of the rounds, the same ones for all rounds.

A run's folder: 1/, 2/, ... hold the run of each number of annotations (see `benchmark`), refinement.csv the metrics,
annotations.csv the annotated frames and J of each sequence.

Source: OSVOS, section 4, "Refinement of results", and Table 4.
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
    """The run with `count` annotated frames per sequence."""

    count: int
    annotated_frames: dict[str, tuple[str, ...]]  # by sequence: names of those after the first, in the order chosen
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
    """Evaluate a method with several numbers of annotated frames.

    A sequence without a scored frame left keeps the annotations it has. The same call continues an interrupted one.

    Args:
        make_method: as in `benchmark.run`.
        sequences: as in `benchmark.run`.
        out: folder of the runs, see the module.
        counts: numbers of annotated frames; 1, the first masks alone, is always run.
        choice: which frame is annotated next: "worst": of the lowest J, mean over objects; "suggested": see
            inference/suggestion.py, without ground truth; "random"; "even": all evenly spaced, from the first frame.
            For "worst" and "suggested" the numbers in between are run too.
        seed: of the runs and of "random".
        fingerprint: as in `benchmark.run`.
        world: as in `benchmark.run`.
        settings: further arguments of `benchmark.run`.

    Returns:
        A round for each of `counts`.

    Raises:
        UserError: if the method cannot learn from further annotations, or as `benchmark.run` does.
    """
    sequences, out = list(sequences), Path(out)
    learning_method(make_method(seed))
    names = [sequence.name for sequence in sequences]
    (world or World()).broadcast(lambda: run_folder.claim(out, fingerprint, seed=seed, sequences=names))
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
            [replace(s, prompt_frames=tuple(map(s.frame_names.index, given[s.name]))) for s in sequences],
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
    """Choose the frames to annotate for `count` annotations, of which the first masks are one.

    Args:
        choice: see `refine`.
        sequence: the video.
        result: its result with the frames `given` annotated; only scored frames are chosen.
        given: names of the frames annotated so far, besides the first.
        count: number of annotations.
        seed: of "random".

    Returns:
        Names of `count` - 1 frames, fewer if no scored frame is left.
    """
    left = [k for k, name in enumerate(result.scored) if name not in given]
    if choice == "even" and result.scored:
        frames = np.array([sequence.frame_names.index(name) for name in result.scored])
        first = min(sequence.first_frame.values())
        places = [first + k * (len(sequence) - first) / count for k in range(1, count)]
        return tuple(dict.fromkeys(result.scored[int(np.abs(frames - place).argmin())] for place in places))
    if not left or not result.objects:
        return given
    if choice == "random":
        draws = seeds.numpy_generator(seed, zlib.crc32(sequence.name.encode()), count)
        return (*given, result.scored[int(draws.choice(left))])
    if choice == "suggested":
        known = {min(sequence.first_frame.values()), *map(sequence.frame_names.index, given)}
        index = suggest(result.uncertain, known, [sequence.frame_names.index(result.scored[k]) for k in left])
        return given if index is None else (*given, sequence.frame_names[index])
    values = np.array([result.region[i] for i in result.objects])[:, left]
    counted = ~np.isnan(values)  # nan: the frame does not count for the object
    means = np.where(counted, values, 0).sum(0) / np.maximum(counted.sum(0), 1)
    return (*given, result.scored[left[int(np.where(counted.any(0), means, math.inf).argmin())]])


def table(rounds: Sequence[Round]) -> list[dict[str, Any]]:
    """Return a row per round: `Results.summary`, and J and F over the frames that are annotated in none of them."""
    names = rounds[0].annotated_frames
    touched = {name: {frame for one in rounds for frame in one.annotated_frames[name]} for name in names}
    elsewhere = [_untouched(one.results, touched) for one in rounds]
    return [
        {"annotations": one.count, **one.results.summary, "J-Elsewhere": j, "F-Elsewhere": f}
        for one, (j, f) in zip(rounds, elsewhere, strict=True)
    ]


def show(rounds: Sequence[Round], out: str | Path, *, file: IO[str] | None = None) -> None:
    """Print a line per round, with the gain in J over the line before; write refinement.csv and annotations.csv."""
    rows, lines = table(rounds), []
    for row, before in zip(rows, [None, *rows], strict=False):
        gain = {key: "" if before is None else f"{row[key] - before[key]:+.3f}" for key in ("J-Mean", "J-Elsewhere")}
        of_all = [row["J&F-Mean"], row["J-Mean"], gain["J-Mean"], row["F-Mean"]]
        of_others = [row["J-Elsewhere"], gain["J-Elsewhere"], row["F-Elsewhere"]]
        lines.append([row["annotations"], *of_all, *of_others, f"{row['fps']:.2f}", f"{row['seconds']:.1f}"])
    header = ["annotations", "J&F", "J", "gain", "F", "J elsewhere", "gain", "F elsewhere", "fps", "s"]
    print(report.table(header, lines), file=file or sys.stdout)
    print("elsewhere: on the frames that are annotated at none of these counts", file=file or sys.stdout)
    write_text(Path(out) / "refinement.csv", to_csv(rows))
    per_sequence = [
        {
            "Sequence": results[0].name,
            **{f"J-{one.count}": _mean(result) for one, result in zip(rounds, results, strict=True)},
            "annotated": " ".join(rounds[-1].annotated_frames[results[0].name]),
        }
        for results in zip(*(one.results.sequences for one in rounds), strict=True)
    ]
    write_text(Path(out) / "annotations.csv", to_csv(per_sequence))


def _untouched(results: Results, touched: dict[str, set[str]]) -> tuple[float, float]:
    """Average J and F over objects, each over its frames that are not in `touched` (names by sequence)."""
    means: list[tuple[float, float]] = []
    for result in results.sequences:
        kept = [k for k, name in enumerate(result.scored) if name not in touched[result.name]]
        for i in result.objects:
            j, f = (statistics([values[i][k] for k in kept]).mean for values in (result.region, result.contour))
            means += [] if math.isnan(j) else [(j, f)]
    j, f = np.array(means).mean(0) if means else (math.nan, math.nan)
    return float(j), float(f)


def _mean(result: SequenceResult) -> float:
    """Average J over the objects of a sequence; nan without any."""
    means = [result.statistics(i)[0].mean for i in result.objects]
    return sum(means) / len(means) if means else math.nan
