"""python -m eosvos.meta_train: meta-learn an initialization and learning rates (e-OSVOS, section 3.2)."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

from eosvos import assemble, command, config, initial, sources
from eosvos.meta import outer
from eosvos.methods import training
from eosvos.models.mask_rcnn import LOSSES
from eosvos.progress import TrainingProgress


def meta_train(settings: config.MetaTrainConfig) -> float:
    """Returns the best validation score."""
    config.check(settings)
    world, device = assemble.start(settings.device, settings.threads)
    meta, outer_settings = settings.meta, config.outer_settings(settings.meta)
    model, init = initial.network(settings, device, world)
    tasks, unseen = sources.tasksets(settings.taskset, settings.data_root, model)
    start = initial.fill(model, init, settings, tasks, world)
    validation = [unseen.task(0, 0, index) for index in range(meta.validation_tasks)]
    learner = initial.first_learner(model, init, meta, {"model": model.spec, "made_by": "meta_train"})
    inner = {key: value for key, value in asdict(meta).items() if key not in asdict(outer_settings)}
    assert settings.out is not None
    folder = Path(settings.out)
    progress = TrainingProgress(meta.iterations, visible=world.first)
    try:
        best = outer.train(
            learner,
            training.stream(
                tasks, "task", seed=settings.seed, tasks=meta.tasks, iterations=meta.iterations, world=world,
                workers=settings.workers,
            ),
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
            outer_settings,
            fingerprint=assemble.training_fingerprint(settings, model, inner=inner, init=start),
            world=world,
            resume=settings.resume,
            report=progress,
            terms=LOSSES,
        )  # fmt: skip
    except outer.Interrupted as stop:
        raise command.interrupted(stop) from stop
    finally:
        progress.close()
        world.finish()
    if world.first:
        progress.report(folder / outer.LOG, folder / outer.BEST)
    return best.spec["training"]["score"]


def main(arguments: list[str] | None = None) -> int:
    config.register()
    return command.run("meta_train", meta_train, arguments)


if __name__ == "__main__":
    sys.exit(main())
