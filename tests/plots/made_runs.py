"""Runs with made-up scores for the tests of this folder."""

from pathlib import Path

from eosvos.evaluation.metrics.sequence_scores import SequenceResult
from eosvos.evaluation.results import Results
from eosvos.plots.runs import Run


def result(name, region, *, seconds=2.0, tuning=1.0, frames=10, **more):
    """A sequence with J values per object; F is half of J."""
    scored = [f"{k + 1:05d}" for k in range(len(next(iter(region.values()), [])))]
    contour = {i: [j / 2 for j in values] for i, values in region.items()}
    return SequenceResult(
        name=name,
        frames=frames,
        seconds=seconds,
        adapt_seconds=tuning,
        peak_MiB=1.0,
        peak_cuda_MiB=None,
        scored=scored,
        region=region,
        contour=contour,
        **more,
    )


def run(label, results, *, data="folder", split=None, out="nowhere", **settings):
    fingerprint = {"dataset": {"name": data}, "split": split, **settings}
    return Run(label, Results(Path(out), fingerprint, 0, tuple(results)))
