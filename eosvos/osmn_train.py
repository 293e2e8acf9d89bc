"""python -m eosvos.osmn_train: OSMN's segmentation network and its two modulators, and the rate to fine-tune them."""

from __future__ import annotations

import sys

from eosvos.cli import usage

if __name__ == "__main__":  # before torch is loaded, which takes seconds
    usage.answer("osmn_train")

from dataclasses import asdict
from functools import partial

from eosvos.cli import build_training, hydra_app, schema
from eosvos.cli.run_training import run_training
from eosvos.cli.sections import library_settings
from eosvos.meta import distributed
from eosvos.meta.learner import Learner
from eosvos.methods.osmn import training
from eosvos.methods.osmn.guides import Guidance, GuidedTasks
from eosvos.methods.osmn.method import Modulation
from eosvos.models import osmn

TRUNKS, PARTS = ("segmentation.trunk", "visual"), {"osvos": "segmentation"}  # see `build_training.begin_trunked`


def osmn_train(settings: schema.OSMNTrainConfig) -> float:
    """Returns the J of the best rate."""
    world, section, search, method = distributed.start(), settings.outer, settings.search, settings.osmn
    for name in ("visual", "spatial"):  # an ablation: the network is built without
        if not getattr(method, name):
            setattr(settings.model, name, False)
    setup = build_training.begin_trunked(settings, world, "osmn", osmn.build, TRUNKS, PARTS)
    model = setup.model
    with world.barrier():
        side, guidance = model.network_spec.guide, library_settings(Guidance, settings.guidance)
        guided, held_out = (GuidedTasks(tasks, side, guidance) for tasks in (setup.tasks, setup.held_out))
        validation = [held_out.guided(0, 0, index) for index in range(section.validation_objects)]
        spec = {"network": "osmn", "model": model.spec, "made_by": "osmn_train"}
        spec |= {"rules": {"clip": method.clip, "balance": method.balance}}
        learner = Learner.create(model, 0.0, "single", spec)
    find = partial(
        training.search_rate,
        rates=search.rates,
        steps=search.steps,
        modulation=library_settings(Modulation, method),
        spec=spec,
        device=setup.device,
        world=world,
    )
    told = {"segmentation": section.segmentation, "validation": section.validation_objects}
    best = run_training(
        settings,
        section,
        setup,
        learner,
        training.gradients(model, seed=settings.seed, segmentation=section.segmentation),
        partial(training.validate, model, objects=validation, world=world),
        items=(guided, "guided"),
        fingerprint={"guidance": asdict(settings.guidance), **told},
        world=world,
        terms=(),
        search=find,
        search_settings={**asdict(search), "osmn": asdict(method)},
        use="method=osmn learner=",
    )
    return max(best.spec["J"].values())


def main(arguments: list[str] | None = None) -> int:
    return hydra_app.run("osmn_train", osmn_train, arguments)


if __name__ == "__main__":
    sys.exit(main())
