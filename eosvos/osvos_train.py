"""python -m eosvos.osvos_train: OSVOS's parent network and its best online rate, or its contour branch."""

from __future__ import annotations

import sys

from eosvos.cli import usage

if __name__ == "__main__":  # before torch is loaded, which takes seconds
    usage.answer("osvos_train")

from dataclasses import asdict
from functools import partial

from eosvos.cli import build_training, hydra_app, schema
from eosvos.cli.run_training import run_training
from eosvos.cli.sections import library_settings
from eosvos.meta import distributed
from eosvos.meta.learner import Learner
from eosvos.methods.osvos import training
from eosvos.methods.osvos.method import Tuning
from eosvos.models import osvos


def osvos_train(settings: schema.OSVOSTrainConfig) -> float:
    """Returns the J of the best rate; of contours, the negative validation loss."""
    world, parent, search, branch = distributed.start(), settings.parent, settings.search, settings.branch
    setup = build_training.begin_trunked(settings, world, "osvos", osvos.build, ("trunk",))
    model = setup.model
    with world.barrier():
        validation = [setup.held_out.image(0, 0, index) for index in range(parent.validation_pictures)]
        spec = {"network": "osvos", "branch": branch, "model": model.spec, "made_by": "osvos_train"}
        spec |= {"rules": {"clip": settings.osvos.clip}}
        learner = Learner.create(model, 0.0, "single", spec)
    find = partial(
        training.search_rate,
        rates=search.rates,
        steps=search.steps,
        tuning=library_settings(Tuning, settings.osvos),
        spec=spec,
        device=setup.device,
        world=world,
    )
    told = {"deep_supervision": parent.deep_supervision, "validation": parent.validation_pictures}
    best = run_training(
        settings,
        parent,
        setup,
        learner,
        training.gradients(model, branch=branch, deep_supervision=parent.deep_supervision),
        partial(training.validate, model, images=validation, branch=branch, world=world),
        items=(setup.tasks, "image"),
        fingerprint={"branch": branch, **told},
        world=world,
        terms=training.TERMS,
        search=find if branch == "foreground" else None,
        search_settings={**asdict(search), "osvos": asdict(settings.osvos)},
        use="method=osvos " + ("osvos.snapping=contours osvos.contours=" if branch == "contours" else "learner="),
    )
    return max(best.spec["J"].values()) if "J" in best.spec else best.spec["training"]["score"]


def main(arguments: list[str] | None = None) -> int:
    return hydra_app.run("osvos_train", osvos_train, arguments)


if __name__ == "__main__":
    sys.exit(main())
