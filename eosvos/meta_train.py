"""python -m eosvos.meta_train: meta-learn an initialization and learning rates (e-OSVOS, section 3.2)."""

from __future__ import annotations

import sys

from eosvos.cli import usage

if __name__ == "__main__":  # before torch is loaded, which takes seconds
    usage.answer("meta_train")

from dataclasses import asdict
from functools import partial
from typing import Any

from eosvos.cli import build_training, hydra_app, schema
from eosvos.cli.run_training import run_training
from eosvos.meta import distributed
from eosvos.methods.eosvos import training


def meta_train(settings: schema.MetaTrainConfig) -> float:
    """Returns the best validation score."""
    world, meta = distributed.start(), settings.meta
    setup = build_training.begin(settings, world)
    model, tasks = setup.model, setup.tasks
    with world.barrier():
        validation = [setup.held_out.task(0, 0, index) for index in range(meta.validation_tasks)]
        rules = {"window": tasks.window, "clip": meta.inner_clip}
        spec = {"model": model.spec, "made_by": "meta_train", "rules": rules}
        learner = build_training.first_learner(model, setup.init, meta, spec)
        inner = {key: value for key, value in asdict(meta).items() if key not in asdict(schema.outer_settings(meta))}
    gradients = training.meta_gradients(
        model,
        seed=settings.seed,
        steps=meta.steps,
        batch=meta.batch,
        clip=meta.inner_clip,
        order=meta.order,
        order_warm_up=meta.order_warm_up,
        step_weights=meta.step_weights,
        multi_step_iterations=meta.multi_step_iterations,
        window=meta.window,
        unrolled=meta.unrolled,
        mask_warm_up=meta.mask_warm_up,
    )
    how: dict[str, Any] = {"steps": meta.validation_steps, "batch": meta.batch, "clip": meta.inner_clip}
    validate = partial(training.validate_tasks, model, tasks=validation, **how, world=world)
    items, told = (tasks, "task"), {"inner": inner}
    best = run_training(
        settings, meta, setup, learner, gradients, validate, items=items, fingerprint=told, world=world, subfolder=""
    )
    return best.spec["training"]["score"]


def main(arguments: list[str] | None = None) -> int:
    return hydra_app.run("meta_train", meta_train, arguments)


if __name__ == "__main__":
    sys.exit(main())
