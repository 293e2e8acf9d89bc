"""A method over a data set: masks, figures, time and memory; over several processes, and resumable.

A run's folder: run.json (what it was made with), masks/<sequence>/<frame>.png (the layout that the official toolkit
takes), per_sequence/<sequence>.json (written last: it marks a sequence as finished), and at the end global.csv,
per_sequence.csv, per_frame.json and the tables of `Results.tables`; overlay/ with pictures, export/ and submission.zip
where asked for. Where masks of others are measured, it is the same without masks/.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eosvos.data.image_files import several
from eosvos.data.masks import read_mask
from eosvos.data.sequence import VideoSequence
from eosvos.errors import UserError
from eosvos.evaluation.metrics.aggregate import mean_metrics, scored_objects
from eosvos.evaluation.metrics.region_contour import ScoringRules
from eosvos.evaluation.metrics.sequence_scores import SequenceResult
from eosvos.evaluation.processes import check_picklable, map_in_processes
from eosvos.evaluation.results import Results
from eosvos.evaluation.run_folder import claim, read_sequence, sequence_file
from eosvos.evaluation.score_sequence import ScoreSequence, outdated_reason, proof
from eosvos.evaluation.segment_sequence import EvaluateSequence, mask_files
from eosvos.evaluation.submission import write_submission
from eosvos.files import locked
from eosvos.inference import overlay as inference_overlay
from eosvos.inference.export import convert
from eosvos.meta.distributed import World
from eosvos.progress import Progress

if TYPE_CHECKING:
    from eosvos.evaluation.predictions import Predictions
    from eosvos.methods.protocol import Method

SUBMISSION = "submission.zip"


def run(
    make_method: Callable[[int], Method],
    sequences: Iterable[VideoSequence],
    out: str | Path,
    *,
    seed: int = 0,
    fingerprint: dict[str, Any],
    rules: ScoringRules | None = None,
    processes: int = 1,
    gpus: int = 0,
    world: World | None = None,
    resume: bool = True,
    overlay: bool = False,
    submission: str | None = None,
    forms: Collection[str] = (),
    progress: bool = True,
) -> Results:
    """Segment every sequence, measure the masks that were written, and write the tables.

    `make_method(seed)` gives a fresh method for each sequence, seeded by `seed` and the sequence's name, so that
    neither order nor processes change a mask; with `processes` > 1 it and the sequences must be picklable.
    `fingerprint`: all that decides the masks (settings, learner, code), as JSON. `measures`: the rules of the figures,
    by default DAVIS's. Each process computes on one thread; this one, which does so with `processes` = 1, on as many
    as it is set to: after torch.set_num_threads(1) with the same last bit. `gpus` > 0: process k makes GPU k modulo
    `gpus` its present one. `world`: that of torchrun; each of its processes takes a share of the sequences, and all see
    the same folder. `submission`: write the masks as submission.zip, too, for the server of data sets of this kind;
    `forms`: into export/, in other forms (see `export.FORMS`).

    Finished sequences of the same run in `out` are kept if `resume`. Their figures are kept only where they are proven
    to be of these masks, truth and rules, else the masks are measured again, which is said. A sequence annotated on its
    first frame only is segmented, not measured. Raises UserError for an unusable `out` (see `claim`), sequences without
    objects or of one name, and unreadable files. KeyboardInterrupt goes through; what is finished stays.
    """
    sequences, out, world, rules = list(sequences), Path(out), world or World(), rules or ScoringRules()
    names = [sequence.name for sequence in sequences]

    def begin() -> dict[str, tuple[SequenceResult, str | None]]:
        _check(sequences, processes)
        claim(out, fingerprint, seed=seed, resume=resume, sequences=names, rules=rules)
        lock.enter_context(locked(out))
        found = {sequence.name: _segmented(out, sequence, rules) for sequence in sequences}
        return {name: kept for name, kept in found.items() if kept is not None}

    with ExitStack() as lock:
        kept = world.share(begin)
        done = {name: result for name, (result, why) in kept.items() if why is None}
        again = {name: (result, why) for name, (result, why) in kept.items() if why is not None}
        todo = [sequence for sequence in sequences if sequence.name not in done]
        if processes * world.size > 1:  # the longest first: then the processes end at about the same time
            todo = sorted(todo, key=len, reverse=True)[world.rank :: world.size]
        work = {sequence.name: (sequence, again.get(sequence.name, (None, None))[0]) for sequence in todo}
        job = EvaluateSequence(make_method, out, seed, rules)
        if work and world.first:
            (out / SUBMISSION).unlink(missing_ok=True)  # of other masks
        with _progress(out, sequences, todo, done, visible=progress and world.first) as bar:
            for why in dict.fromkeys(reason for _, reason in again.values()):
                of = [name for name, (_, reason) in again.items() if reason == why]
                bar.say(f"{out}: the masks of {several(of)} are kept and measured again ({why})")
            with world.together():
                _work(job, work, done, processes, gpus, bar)
            done = {name: result for part in world.gather(done) for name, result in part.items()}
            if overlay and world.first:
                for sequence in sequences:
                    inference_overlay.overlay(sequence, out / "masks" / sequence.name, out / "overlay")
        results = Results(out, fingerprint, seed, tuple(done[name] for name in names))
        if world.first:
            results.write()
            masks = {sequence.name: partial(_read, mask_files(out, sequence)) for sequence in sequences}
            convert(out / "export", sequences, masks, forms)
            if submission is not None:
                write_submission(out / SUBMISSION, sequences, masks, submission)
        return results


def score(
    predictions: Mapping[str, Predictions],
    sequences: Iterable[VideoSequence],
    out: str | Path,
    *,
    fingerprint: dict[str, Any],
    rules: ScoringRules | None = None,
    processes: int = 1,
    resume: bool = True,
    submission: str | None = None,
    forms: Collection[str] = (),
    progress: bool = True,
) -> Results:
    """Measure masks that any program made (see `predictions.opened`) and write the tables, as `run` does, into `out`.

    `fingerprint`: whose masks of which data they are, as JSON. Figures in `out` are kept, if `resume`, where they are
    proven to be of these masks, truth and rules. Raises UserError as `run` does.
    """
    sequences, out, rules = list(sequences), Path(out), rules or ScoringRules()
    names = [sequence.name for sequence in sequences]
    _check(sequences, processes)
    claim(out, fingerprint, resume=resume, sequences=names, rules=rules)
    with locked(out):
        done = {}
        for sequence in sequences:
            kept = read_sequence(sequence_file(out, sequence.name))
            if kept is not None and kept.proof == proof(sequence, predictions[sequence.name].files, rules):
                done[sequence.name] = kept
        todo = sorted((s for s in sequences if s.name not in done), key=len, reverse=True)
        if todo:
            (out / SUBMISSION).unlink(missing_ok=True)  # of other masks
        with _progress(out, sequences, todo, done, visible=progress) as bar:
            for result in map_in_processes(
                ScoreSequence(out, rules), [(s, predictions[s.name]) for s in todo], processes
            ):
                done[result.name] = result
                bar.tick(result.frames)
                _finished(bar, result, done)
        results = Results(out, fingerprint, 0, tuple(done[name] for name in names))
        results.write()
        convert(out / "export", sequences, predictions, forms)
        if submission is not None:
            write_submission(out / SUBMISSION, sequences, predictions, submission)
        return results


@contextmanager
def _progress(
    out: Path,
    sequences: list[VideoSequence],
    todo: list[VideoSequence],
    done: dict[str, SequenceResult],
    *,
    visible: bool,
) -> Iterator[Progress]:
    bar = Progress(sum(map(len, todo)), len(sequences), len(done), visible=visible)
    if done:
        bar.say(f"{out}: {len(done)} of {len(sequences)} sequences are finished and kept")
    try:
        yield bar
    except KeyboardInterrupt:
        bar.say(
            f"{out}: interrupted; {len(done)} of {len(sequences)} sequences are finished; the same command continues"
        )
        raise
    finally:
        bar.close()


def _finished(bar: Progress, result: SequenceResult, done: Mapping[str, SequenceResult]) -> None:
    own, so_far = (mean_metrics(scored_objects(of))["J-Mean"] for of in ([result], done.values()))
    fps = None if result.seconds is None else result.fps
    bar.finished(result.name, None if math.isnan(own) else own, None if math.isnan(so_far) else so_far, fps)


def _work(
    job: EvaluateSequence,
    work: Mapping[str, tuple[VideoSequence, SequenceResult | None]],
    done: dict[str, SequenceResult],
    processes: int,
    gpus: int,
    bar: Progress,
) -> None:
    """Evaluate the items of `work` (by sequence name) and add their results to `done`."""
    if processes == 1 or len(work) < 2:
        for name, item in work.items():
            done[name] = job(item, tick=bar.tick)
            _finished(bar, done[name], done)
    else:
        check_picklable({**vars(job), **work})
        for result in map_in_processes(job, work.values(), processes, gpus=gpus, resumable=str(job.out)):
            done[result.name] = result
            bar.tick(result.frames)
            _finished(bar, result, done)


def _check(sequences: list[VideoSequence], processes: int) -> None:
    if not isinstance(processes, int) or processes < 1:
        raise UserError(f"processes={processes}: expected a whole number from 1 on")
    if not sequences:
        raise UserError("no sequences to evaluate; check dataset=, split= and sequences=[...]")
    names = [sequence.name for sequence in sequences]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"the sequences {twice} are asked for twice; each name may stand once in sequences=[...]")
    for sequence in sequences:
        if not sequence.objects or not len(sequence):
            raise UserError(f"{sequence.name}: no frame has a mask with an object; leave it out with sequences=[...]")


def _segmented(out: Path, sequence: VideoSequence, rules: ScoringRules) -> tuple[SequenceResult, str | None] | None:
    """What is kept of a sequence whose masks are all there, and why its figures are out of date if they are."""
    result = read_sequence(sequence_file(out, sequence.name))
    if result is None or result.frames != len(sequence):
        return None
    files = mask_files(out, sequence)
    there = set(os.listdir(files[0].parent)) if files[0].parent.is_dir() else set()
    if not all(path.name in there for path in files):
        return None
    return result, outdated_reason(result, proof(sequence, files, rules))


def _read(files: tuple[Path, ...], index: int) -> np.ndarray:
    return read_mask(files[index])
