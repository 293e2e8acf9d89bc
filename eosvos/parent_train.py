"""python -m eosvos.parent_train: ordinary training, then the best single rate to fine-tune: the papers' baseline."""

from __future__ import annotations

import sys

from eosvos.cli import usage

if __name__ == "__main__":  # before torch is loaded, which takes seconds
    usage.answer("parent_train")

from dataclasses import asdict
from functools import partial

from eosvos.cli import build_training, hydra_app, schema
from eosvos.cli.run_training import run_training
from eosvos.meta import distributed
from eosvos.meta.learner import Learner
from eosvos.methods.eosvos import training


def parent_train(settings: schema.ParentTrainConfig) -> float:
    """Returns the J of the best rate."""
    world, parent, search = distributed.start(), settings.parent, settings.search
    setup = build_training.begin(settings, world)
    model, tasks = setup.model, setup.tasks
    with world.barrier():
        validation = [setup.held_out.image(0, 0, index) for index in range(parent.validation_pictures)]
        rules = {"window": tasks.window, "clip": search.inner_clip}
        spec = {"model": model.spec, "made_by": "parent_train", "rules": rules}
        learner = Learner.create(model, 0.0, "single", spec)
    find = partial(
        training.search_rate,
        model,
        rates=search.rates,
        mask_losses=search.mask_losses,
        steps=search.steps,
        batch=search.batch,
        clip=search.inner_clip,
        spec=spec,
        world=world,
    )
    best = run_training(
        settings,
        parent,
        setup,
        learner,
        training.ordinary_gradients(model, seed=settings.seed, mask_warm_up=parent.mask_warm_up),
        partial(training.validate_images, model, images=validation, world=world),
        items=(tasks, "image"),
        fingerprint={"mask_warm_up": parent.mask_warm_up, "validation": parent.validation_pictures},
        world=world,
        search=find,
        search_settings=asdict(search),
    )
    return max(best.spec["J"].values())


def main(arguments: list[str] | None = None) -> int:
    return hydra_app.run("parent_train", parent_train, arguments)


if __name__ == "__main__":
    sys.exit(main())
