"""python -m eosvos.refine: annotate one frame more of every video, segment it again, and measure what that gains."""

from __future__ import annotations

import sys

from eosvos.cli import usage

if __name__ == "__main__":  # before torch is loaded, which takes seconds
    usage.answer("refine")

from eosvos.cli import build_data, build_method, devices, hydra_app, overrides, run_names, schema, validate
from eosvos.evaluation import refinement
from eosvos.files import write_text
from eosvos.meta import distributed


def refine(settings: schema.RefineConfig) -> float:
    """Returns the mean J with the most annotations."""
    world, job = distributed.start(), hydra_app.job_name()
    with world.barrier():
        validate.check(settings)
        devices.use_threads(1)  # as each of several processes does: the number can change the last bit
        device, processes, gpus = devices.evaluation_devices(settings.device, settings.processes)
        path, learner = build_method.evaluation_learner(settings)
        settings = build_method.with_steps(settings, learner)
        sequences = build_data.open_dataset(settings.dataset, settings.data_root, settings.split, settings.sequences)
        fingerprint = {**build_method.evaluation_fingerprint(settings, path, device), "choice": settings.choice}
        out = run_names.evaluation_folder(settings, fingerprint, job, "refine")
    if world.is_main_process:
        print(f"{out}: {settings.method}" + ("" if path is None else f" with {path}"), file=sys.stderr, flush=True)
    rounds = refinement.refine(
        build_method.MakeMethod(settings, learner, device),
        sequences,
        out,
        counts=settings.annotations,
        choice=settings.choice,
        seed=settings.seed,
        fingerprint=fingerprint,
        rules=run_names.measures(settings),
        processes=processes,
        gpus=gpus,
        world=world,
        resume=settings.resume,
        overlay=settings.overlay,
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
