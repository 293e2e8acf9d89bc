"""python -m eosvos.osvos_train: OSVOS's parent network and its best online rate, or its contour branch."""

from __future__ import annotations

import sys

from eosvos.cli import usage

if __name__ == "__main__":  # before torch is loaded, which takes seconds
    usage.answer("osvos_train")

from dataclasses import asdict
from pathlib import Path

from eosvos.cli import build_training, hydra_app, schema
from eosvos.cli.fingerprint import training_fingerprint
from eosvos.meta import distributed, outer
from eosvos.meta.learner import Learner
from eosvos.methods.osvos import training
from eosvos.methods.osvos.method import Tuning
from eosvos.models import osvos
from eosvos.plots.training_curves import curves
from eosvos.progress import TrainingProgress


def osvos_train(settings: schema.OSVOSTrainConfig) -> float:
    """Returns the J of the best rate; of contours, the negative validation loss."""
    world, parent, search, branch = distributed.start(), settings.parent, settings.search, settings.branch
    device, model, (tasks, unseen), start = build_training.begin_trunked(
        settings, world, "osvos", osvos.build, ("trunk",)
    )
    with world.barrier():
        validation = [unseen.image(0, 0, index) for index in range(parent.validation_pictures)]
        spec = {"network": "osvos", "branch": branch, "model": model.spec, "made_by": "osvos_train"}
        spec |= {"rules": {"clip": settings.osvos.clip}}
        learner = Learner.create(model, 0.0, "single", spec)
        more = {"branch": branch, "deep_supervision": parent.deep_supervision, "init": start}
        more |= {"validation": parent.validation_pictures}
        fingerprint = training_fingerprint(settings, model, (tasks, unseen), **more)
    # The parent and the learner with the rate found stand apart, so that either can be resumed.
    result, folder = Path(str(settings.out)) / outer.BEST, Path(str(settings.out)) / "training"
    progress = TrainingProgress(parent.iterations, seconds=parent.seconds, visible=world.is_main_process)
    try:
        best = build_training.train(
            settings,
            parent,
            learner,
            (tasks, "image"),
            training.gradients(model, branch=branch, deep_supervision=parent.deep_supervision),
            lambda learner: training.validate(model, learner, validation, branch=branch, world=world),
            folder,
            fingerprint=fingerprint, world=world, progress=progress, terms=training.TERMS,
        )  # fmt: skip
        if branch == "foreground":
            trained, online = best, {**asdict(search), "osvos": asdict(settings.osvos)}
            best = build_training.searched(
                result, trained, online, lambda: training.search_rate(
                    trained.to(device).theta, search.rates,
                    [unseen.task(0, 0, index) for index in range(search.tasks)],
                    steps=search.steps, tuning=Tuning(**vars(settings.osvos)), spec=spec, device=device, world=world,
                ), world, progress.say,
            )  # fmt: skip
        elif world.is_main_process:
            best.save(result)
    except outer.Interrupted as stop:
        raise hydra_app.interrupted(stop) from stop
    if world.is_main_process:
        for rate, j in best.spec.get("J", {}).items():
            print(f"{rate:>22}: J@{search.steps} {j:.3f}")
        contours = "osvos.snapping=contours osvos.contours=" if branch == "contours" else "learner="
        progress.report(folder / outer.LOG, result, f"method=osvos {contours}", draw=curves)
    return max(best.spec["J"].values()) if "J" in best.spec else best.spec["training"]["score"]


def main(arguments: list[str] | None = None) -> int:
    return hydra_app.run("osvos_train", osvos_train, arguments)


if __name__ == "__main__":
    sys.exit(main())
