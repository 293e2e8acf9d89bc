"""python -m eosvos.eval: segment the videos of a data set from their first masks, and measure the masks."""

from __future__ import annotations

import sys

from eosvos.cli import usage

if __name__ == "__main__":  # before torch is loaded, which takes seconds
    usage.answer("eval")

from pathlib import Path

from eosvos.cli import build_evaluation, hydra_app, overrides, run_names, schema
from eosvos.evaluation import benchmark, report, run_folder
from eosvos.files import write_text
from eosvos.meta import distributed
from eosvos.plots import comparison


def evaluate(settings: schema.EvalConfig) -> float:
    """Returns the mean J."""
    world, job = distributed.start(), hydra_app.job_name()
    with world.barrier():
        setup = build_evaluation.begin(settings, world, job)
        settings, out = setup.settings, setup.out
        if world.is_main_process:  # the configuration may only lie in a folder that is this run's
            names = [sequence.name for sequence in setup.sequences]
            run = {key: setup.arguments[key] for key in ("fingerprint", "seed", "resume", "rules")}
            run_folder.claim(out, **run, sequences=names)
            write_text(out / "config.yaml", overrides.as_yaml(settings))
    results = benchmark.run(
        setup.make_method,
        setup.sequences,
        out,
        **setup.arguments,
        submission=settings.dataset.kind if settings.submission else None,
        forms=settings.export,
    )
    if world.is_main_process and job is None:
        report.show(results)
        print(f"masks and figures: {out}" + f"\nto hand in: {out / benchmark.SUBMISSION}" * settings.submission)
    elif world.is_main_process:
        hydra_app.note(job, out)
    j = results.summary["J-Mean"]
    return float("nan") if j is None else j


def compare(runs: dict[Path, str]) -> None:
    """At the end of a sweep: its runs (folder -> job) in one table."""
    if len(runs) > 1:
        above = run_names.common_folder(list(runs))
        print()
        comparison.compare(list(runs), above, labels=run_names.short_labels(list(runs.values())))
        print(f"comparison: {', '.join(map(str, sorted(above.glob('comparison.*'))))}")


def main(arguments: list[str] | None = None) -> int:
    return hydra_app.run("eval", evaluate, arguments, end=compare)


if __name__ == "__main__":
    sys.exit(main())
