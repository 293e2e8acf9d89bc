"""Evaluation of one sequence: segment it, write its masks, score them; time and memory are measured."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from eosvos.data.masks import read_mask
from eosvos.data.sequence import VideoSequence
from eosvos.evaluation.metrics.region_contour import ScoringRules
from eosvos.evaluation.metrics.sequence_scores import SequenceResult
from eosvos.evaluation.run_folder import write_sequence
from eosvos.evaluation.score_sequence import with_scores
from eosvos.inference.stream import segment
from eosvos.methods.protocol import Method
from eosvos.seeds import derive


@dataclass(frozen=True)
class EvaluateSequence:
    """Evaluates sequences, each with a new method; picklable if `make_method` is.

    Attributes:
        make_method: gives a new method for a seed.
        out: the run's folder.
        seed: of the run.
        rules: rules of scoring.
    """

    make_method: Callable[[int], Method]
    out: Path
    seed: int
    rules: ScoringRules

    def __call__(
        self, item: tuple[VideoSequence, SequenceResult | None], tick: Callable[[int], object] | None = None
    ) -> SequenceResult:
        """Segment a sequence into `out`/masks, score its masks and write its result, which marks it as finished.

        Args:
            item: the sequence; and, if its masks are there already, its result so far: then they are only scored.
            tick: called with the number of frames that were done since the last call.
        """
        sequence, kept = item
        result = self.segment(sequence, tick) if kept is None else kept
        if kept is not None and tick is not None:
            tick(len(sequence))
        files = mask_files(self.out, sequence)
        result = with_scores(result, sequence, lambda index: read_mask(files[index]), files, self.rules)
        write_sequence(self.out, result)
        return result

    def segment(self, sequence: VideoSequence, tick: Callable[[int], object] | None = None) -> SequenceResult:
        """Segment a sequence and write its masks; returns its result with time and memory, without scores."""
        folder = self.out / "masks" / sequence.name
        for path in [*folder.glob("*.png"), *folder.glob(".*.tmp*")]:  # of an attempt that was cut off
            path.unlink()
        method = self.make_method(derive(self.seed, zlib.crc32(sequence.name.encode())))
        cuda = torch.cuda.is_available() and torch.cuda.is_initialized()
        if cuda:
            torch.cuda.reset_peak_memory_stats()
        _reset_peak()
        uncertain: dict[int, list[float]] = {i: [] for i in sequence.first_frame}
        boxes: dict[int, list[list[float] | None]] = {i: [] for i in sequence.first_frame}
        seconds, adapt_seconds = segment(method, sequence, folder, tick, uncertain, boxes)
        peak_cuda = torch.cuda.max_memory_allocated() / 2**20 if cuda else None
        return SequenceResult(
            sequence.name,
            len(sequence),
            seconds,
            adapt_seconds,
            _peak(),
            peak_cuda,
            uncertain=uncertain,
            boxes={i: values for i, values in boxes.items() if values},
        )


def mask_files(out: Path, sequence: VideoSequence) -> tuple[Path, ...]:
    """Return the paths of a sequence's masks in a run's folder, one per frame."""
    return tuple(out / "masks" / sequence.name / f"{name}.png" for name in sequence.frame_names)


def _reset_peak() -> None:
    with suppress(OSError):  # Linux: the high-water mark starts anew, so that each sequence has its own
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> float | None:
    """Return the peak resident memory of this process in MiB, on Linux since `_reset_peak`; None if not known."""
    with suppress(OSError):
        # Not getrusage, where there is a choice: it counts the memory of the process that started this one.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    try:
        import resource
    except ImportError:  # Windows does not tell
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024
