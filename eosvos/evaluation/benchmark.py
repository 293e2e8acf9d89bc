"""Evaluation of a method, or of masks made elsewhere, on a data set; in several processes, and resumable.

A run's folder:

    run.json                          settings of the run
    masks/SEQUENCE/FRAME.png          id masks, in the official toolkit's layout; not for masks made elsewhere
    per_sequence/SEQUENCE.json        scores, time and memory; written last, it marks the sequence as finished
    global.csv, per_sequence.csv, per_frame.json, and the tables of `Results.tables`
    overlay/, export/, submission.zip on request
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
    """Segment every sequence, score the masks and write the tables.

    Finished sequences of the same run in `out` are kept if `resume`. Their scores are kept only if they provably belong
    to these masks, annotations and rules; otherwise the masks are scored again, with a message. A sequence that is
    annotated on its first frame only is segmented, not scored. KeyboardInterrupt goes through; what is finished stays.

    Args:
        make_method: gives a new method for a seed, which derives from `seed` and the sequence's name: neither the order
            of the sequences nor the number of processes changes a mask. With several processes it must be picklable.
        sequences: what to evaluate; with several processes they must be picklable.
        out: the run's folder, see the module.
        seed: of the run.
        fingerprint: everything that determines the masks (settings, learner, code), as JSON.
        rules: rules of scoring; None: those of DAVIS.
        processes: number of processes on this machine. Several compute on one thread each; a single one, this process,
            on as many as torch is set to: torch.set_num_threads(1) gives the same last bit.
        gpus: number of GPUs to share out: process k uses GPU k modulo `gpus`; 0: none.
        world: process group of torchrun; its processes share the sequences, and all see the same folder.
        resume: whether to continue a run in `out`.
        overlay: whether to draw the masks over the videos, into overlay/.
        submission: kind of data set; writes submission.zip for its server, see `submission.SERVERS`.
        forms: further formats to write the masks in, into export/, see `inference.export.FORMS`.
        progress: whether to show a progress bar.

    Returns:
        The results of all sequences, in their order.

    Raises:
        UserError: if `out` cannot be used (see `run_folder.claim`), a sequence has no object, two have the same name,
            or a file cannot be read.
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
        kept = world.broadcast(begin)
        done = {name: result for name, (result, why) in kept.items() if why is None}
        again = {name: (result, why) for name, (result, why) in kept.items() if why is not None}
        todo = [sequence for sequence in sequences if sequence.name not in done]
        if processes * world.size > 1:  # the longest first: then the processes end at about the same time
            todo = sorted(todo, key=len, reverse=True)[world.rank :: world.size]
        work = {sequence.name: (sequence, again.get(sequence.name, (None, None))[0]) for sequence in todo}
        job = EvaluateSequence(make_method, out, seed, rules)
        if work and world.is_main_process:
            (out / SUBMISSION).unlink(missing_ok=True)  # of other masks
        with _progress(out, sequences, todo, done, visible=progress and world.is_main_process) as bar:
            for why in dict.fromkeys(reason for _, reason in again.values()):
                of = [name for name, (_, reason) in again.items() if reason == why]
                bar.say(f"{out}: the masks of {several(of)} are kept and measured again ({why})")
            with world.barrier():
                _work(job, work, done, processes, gpus, bar)
            done = {name: result for part in world.gather(done) for name, result in part.items()}
            if overlay and world.is_main_process:
                for sequence in sequences:
                    inference_overlay.overlay(sequence, out / "masks" / sequence.name, out / "overlay")
        results = Results(out, fingerprint, seed, tuple(done[name] for name in names))
        if world.is_main_process:
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
    """Score masks that any program made, and write the tables.

    Args:
        predictions: masks by sequence name, see `predictions.open_predictions`.
        sequences: what to score.
        out: the run's folder, see the module.
        fingerprint: which masks of which data they are, as JSON.
        rules: rules of scoring; None: those of DAVIS.
        processes: number of processes.
        resume: whether to keep scores in `out` that provably belong to these masks, annotations and rules.
        submission: as in `run`.
        forms: as in `run`.
        progress: whether to show a progress bar.

    Returns:
        The results of all sequences, in their order.

    Raises:
        UserError: as in `run`.
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
        if not sequence.first_frame or not len(sequence):
            raise UserError(f"{sequence.name}: no frame has a mask with an object; leave it out with sequences=[...]")


def _segmented(out: Path, sequence: VideoSequence, rules: ScoringRules) -> tuple[SequenceResult, str | None] | None:
    """Read the result of a sequence whose masks are all there, and why its scores are outdated, if they are."""
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
