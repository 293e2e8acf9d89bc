"""python -m eosvos.score: measure the masks that any program made."""

from __future__ import annotations

import sys

from eosvos.cli import usage

if __name__ == "__main__":  # before torch is loaded, which takes seconds
    usage.answer("score")

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eosvos.cli.schema import ScoreConfig


def score(settings: ScoreConfig) -> float:
    """Returns the mean J."""
    # Here, not above: processes that measure load this file too, and start fifteen times faster without torch.
    from eosvos.cli import build_data, devices, hydra_app, run_names, validate
    from eosvos.evaluation import benchmark, predictions, report

    job = hydra_app.job_name()
    validate.check(settings)
    devices.use_threads(1)
    sequences = build_data.open_dataset(
        settings.dataset, settings.data_root, settings.split, settings.sequences, frames=False
    )
    measures, data = run_names.measures(settings), run_names.data_name(settings)
    out, fingerprint = run_names.score_folder(settings, job)
    print(f"{out}: the masks of {settings.results}", file=sys.stderr, flush=True)
    results, missing, binary = settings.results or "", settings.missing, settings.binary
    opened = predictions.open_predictions(
        results, sequences, measures, out=out, dataset=data, missing=missing, binary=binary
    )
    with opened as (masks, messages):
        for line in messages:
            print(line, file=sys.stderr, flush=True)
        figures = benchmark.score(
            masks,
            sequences,
            out,
            fingerprint=fingerprint,
            rules=measures,
            processes=settings.processes or devices.cores(),
            resume=settings.resume,
            submission=settings.dataset.kind if settings.submission else None,
            forms=settings.export,
        )
    if job is None:
        report.show(figures)
        print(f"figures: {out}" + f"\nto hand in: {out / benchmark.SUBMISSION}" * settings.submission)
    else:
        hydra_app.note(job, out)
    return figures.summary["J-Mean"]


def main(arguments: list[str] | None = None) -> int:
    from eosvos import eval
    from eosvos.cli import hydra_app

    return hydra_app.run("score", score, arguments, end=eval.compare)


if __name__ == "__main__":
    sys.exit(main())
