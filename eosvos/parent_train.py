"""python -m eosvos.parent_train: ordinary training, then the best single rate to fine-tune: the papers' baseline."""

from __future__ import annotations

import sys

from eosvos.cli import usage

if __name__ == "__main__":  # before torch is loaded, which takes seconds
    usage.answer("parent_train")

from dataclasses import asdict
from pathlib import Path

from eosvos.cli import build_training, hydra_app, schema
from eosvos.cli.fingerprint import training_fingerprint
from eosvos.meta import distributed, outer
from eosvos.meta.learner import Learner
from eosvos.methods.eosvos import training
from eosvos.plots.training_curves import curves
from eosvos.progress import TrainingProgress


def parent_train(settings: schema.ParentTrainConfig) -> float:
    """Returns the J of the best rate."""
    world, parent, search = distributed.start(), settings.parent, settings.search
    device, model, _, (tasks, unseen), start = build_training.begin(settings, world)
    with world.barrier():
        validation = [unseen.image(0, 0, index) for index in range(parent.validation_pictures)]
        rules = {"window": tasks.window, "clip": search.inner_clip}
        spec = {"model": model.spec, "made_by": "parent_train", "rules": rules}
        learner = Learner.create(model, 0.0, "single", spec)
        more = {"mask_warm_up": parent.mask_warm_up, "validation": parent.validation_pictures, "init": start}
        fingerprint = training_fingerprint(settings, model, (tasks, unseen), **more)
    # The trained initialization and the learner with the rate found stand apart, so that either can be resumed.
    result, folder = Path(str(settings.out)) / outer.BEST, Path(str(settings.out)) / "training"
    progress = TrainingProgress(parent.iterations, seconds=parent.seconds, visible=world.is_main_process)
    try:
        trained = build_training.train(
            settings,
            parent,
            learner,
            (tasks, "image"),
            training.ordinary_gradients(model, seed=settings.seed, mask_warm_up=parent.mask_warm_up),
            lambda learner: training.validate_images(model, learner, validation, world=world),
            folder,
            fingerprint=fingerprint, world=world, progress=progress,
        )  # fmt: skip
        best = build_training.searched(
            result, trained, asdict(search), lambda: training.search_rate(
                model, trained.to(device).theta, search.rates, search.mask_losses,
                [unseen.task(0, 0, index) for index in range(search.tasks)],
                steps=search.steps, batch=search.batch, clip=search.inner_clip, spec=spec, world=world,
            ), world, progress.say,
        )  # fmt: skip
    except outer.Interrupted as stop:
        raise hydra_app.interrupted(stop) from stop
    if world.is_main_process:
        for rate, j in best.spec["J"].items():
            print(f"{rate:>22}: J@{search.steps} {j:.3f}")
        progress.report(folder / outer.LOG, result, draw=curves)
    return max(best.spec["J"].values())


def main(arguments: list[str] | None = None) -> int:
    return hydra_app.run("parent_train", parent_train, arguments)


if __name__ == "__main__":
    sys.exit(main())
