"""python -m eosvos.refine: annotate one frame more of every video, segment it again, and measure what that gains."""

from __future__ import annotations

import sys

from eosvos.cli import usage

if __name__ == "__main__":  # before torch is loaded, which takes seconds
    usage.answer("refine")

from eosvos.cli import build_evaluation, hydra_app, overrides, schema
from eosvos.evaluation import refinement
from eosvos.files import write_text
from eosvos.meta import distributed


def refine(settings: schema.RefineConfig) -> float:
    """Returns the mean J with the most annotations."""
    world, job = distributed.start(), hydra_app.job_name()
    with world.barrier():
        setup = build_evaluation.begin(settings, world, job, "refine", choice=settings.choice)
    settings, out = setup.settings, setup.out
    rounds = refinement.refine(
        setup.make_method,
        setup.sequences,
        out,
        counts=settings.annotations,
        choice=settings.choice,
        **setup.arguments,
    )
    if world.is_main_process:
        write_text(out / "config.yaml", overrides.as_yaml(settings))
        refinement.show(rounds, out)
        print(f"masks and figures: {out}")
    j = rounds[-1].results.summary["J-Mean"]
    return float("nan") if j is None else j


def main(arguments: list[str] | None = None) -> int:
    return hydra_app.run("refine", refine, arguments)


if __name__ == "__main__":
    sys.exit(main())
