"""python -m eosvos.osmn_train: OSMN's segmentation network and its two modulators, and the rate to fine-tune them."""

from __future__ import annotations

import sys

from eosvos.cli import usage

if __name__ == "__main__":  # before torch is loaded, which takes seconds
    usage.answer("osmn_train")

from dataclasses import asdict
from pathlib import Path

from eosvos.cli import build_training, hydra_app, schema
from eosvos.cli.fingerprint import training_fingerprint
from eosvos.meta import distributed, outer
from eosvos.meta.learner import Learner
from eosvos.methods.osmn import training
from eosvos.methods.osmn.guides import Guidance, GuidedTasks
from eosvos.methods.osmn.method import Modulation
from eosvos.models import osmn
from eosvos.plots.training_curves import curves
from eosvos.progress import TrainingProgress

TRUNKS, PARTS = ("segmentation.trunk", "visual"), {"osvos": "segmentation"}  # see `build_training.begin_trunked`


def osmn_train(settings: schema.OSMNTrainConfig) -> float:
    """Returns the J of the best rate."""
    world, section, search, method = distributed.start(), settings.outer, settings.search, settings.osmn
    for name in ("visual", "spatial"):  # an ablation: the network is built without
        if not getattr(method, name):
            setattr(settings.model, name, False)
    device, model, (tasks, unseen), start = build_training.begin_trunked(
        settings, world, "osmn", osmn.build, TRUNKS, PARTS
    )
    with world.barrier():
        side, guidance = model.network_spec.guide, Guidance(**vars(settings.guidance))
        guided, held = GuidedTasks(tasks, side, guidance), GuidedTasks(unseen, side, guidance)
        validation = [held.guided(0, 0, index) for index in range(section.validation_objects)]
        spec = {"network": "osmn", "model": model.spec, "made_by": "osmn_train"}
        spec |= {"rules": {"clip": method.clip, "balance": method.balance}}
        learner = Learner.create(model, 0.0, "single", spec)
        more = {"guidance": asdict(settings.guidance), "segmentation": section.segmentation, "init": start}
        more |= {"validation": section.validation_objects}
        fingerprint = training_fingerprint(settings, model, (tasks, unseen), **more)
    # What was trained and the learner with the rate found stand apart, so that either can be resumed.
    result, folder = Path(str(settings.out)) / outer.BEST, Path(str(settings.out)) / "training"
    progress = TrainingProgress(section.iterations, seconds=section.seconds, visible=world.is_main_process)
    try:
        trained = build_training.train(
            settings,
            section,
            learner,
            (guided, "guided"),
            training.gradients(model, seed=settings.seed, segmentation=section.segmentation),
            lambda learner: training.validate(model, learner, validation, world=world),
            folder,
            fingerprint=fingerprint, world=world, progress=progress, terms=(),
        )  # fmt: skip
        best = build_training.searched(
            result, trained, {**asdict(search), "osmn": asdict(method)}, lambda: training.search_rate(
                trained.to(device).theta, search.rates, [unseen.task(0, 0, index) for index in range(search.tasks)],
                steps=search.steps, modulation=Modulation(**vars(method)), spec=spec, device=device, world=world,
            ), world, progress.say,
        )  # fmt: skip
    except outer.Interrupted as stop:
        raise hydra_app.interrupted(stop) from stop
    if world.is_main_process:
        for rate, j in best.spec["J"].items():
            print(f"{rate:>22}: J@{search.steps} {j:.3f}")
        progress.report(folder / outer.LOG, result, "method=osmn learner=", draw=curves)
    return max(best.spec["J"].values())


def main(arguments: list[str] | None = None) -> int:
    return hydra_app.run("osmn_train", osmn_train, arguments)


if __name__ == "__main__":
    sys.exit(main())
