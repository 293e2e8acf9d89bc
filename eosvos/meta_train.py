"""python -m eosvos.meta_train: meta-learn an initialization and learning rates (e-OSVOS, section 3.2)."""

from __future__ import annotations

import sys

from eosvos.cli import usage

if __name__ == "__main__":  # before torch is loaded, which takes seconds
    usage.answer("meta_train")

from dataclasses import asdict
from pathlib import Path

from eosvos.cli import build_training, hydra_app, schema
from eosvos.cli.fingerprint import training_fingerprint
from eosvos.meta import distributed, outer
from eosvos.methods.eosvos import training
from eosvos.plots.training_curves import curves
from eosvos.progress import TrainingProgress


def meta_train(settings: schema.MetaTrainConfig) -> float:
    """Returns the best validation score."""
    world, meta, folder = distributed.start(), settings.meta, Path(str(settings.out))
    _, model, init, (tasks, unseen), start = build_training.begin(settings, world)
    with world.barrier():
        validation = [unseen.task(0, 0, index) for index in range(meta.validation_tasks)]
        rules = {"window": tasks.window, "clip": meta.inner_clip}
        spec = {"model": model.spec, "made_by": "meta_train", "rules": rules}
        learner = build_training.first_learner(model, init, meta, spec)
        inner = {key: value for key, value in asdict(meta).items() if key not in asdict(schema.outer_settings(meta))}
        fingerprint = training_fingerprint(settings, model, (tasks, unseen), inner=inner, init=start)
    progress = TrainingProgress(meta.iterations, seconds=meta.seconds, visible=world.is_main_process)
    try:
        best = build_training.train(
            settings,
            meta,
            learner,
            (tasks, "task"),
            training.meta_gradients(
                model, seed=settings.seed, steps=meta.steps, batch=meta.batch, clip=meta.inner_clip, order=meta.order,
                order_warm_up=meta.order_warm_up, step_weights=meta.step_weights,
                multi_step_iterations=meta.multi_step_iterations, window=meta.window, unrolled=meta.unrolled,
                mask_warm_up=meta.mask_warm_up,
            ),
            lambda learner: training.validate_tasks(
                model, learner, validation, steps=meta.validation_steps, batch=meta.batch, clip=meta.inner_clip,
                world=world,
            ),
            folder,
            fingerprint=fingerprint,
            world=world,
            progress=progress,
        )  # fmt: skip
    except outer.Interrupted as stop:
        raise hydra_app.interrupted(stop) from stop
    if world.is_main_process:
        progress.report(folder / outer.LOG, folder / outer.BEST, draw=curves)
    return best.spec["training"]["score"]


def main(arguments: list[str] | None = None) -> int:
    return hydra_app.run("meta_train", meta_train, arguments)


if __name__ == "__main__":
    sys.exit(main())
