"""A training from its first iteration to the learner that it ends with, the same for every training command."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from eosvos.cli.build_training import TrainingSetup
from eosvos.cli.fingerprint import training_environment, training_fingerprint
from eosvos.cli.schema import OuterSection, TrainConfig, outer_settings
from eosvos.meta import outer
from eosvos.meta.adapt import MetaGradient
from eosvos.meta.distributed import World
from eosvos.meta.learner import Learner
from eosvos.methods import rate_search
from eosvos.models.mask_rcnn import LOSSES
from eosvos.plots.training_curves import curves
from eosvos.progress import TrainingProgress


def run_training(
    config: TrainConfig,
    section: OuterSection,
    setup: TrainingSetup,
    learner: Learner,
    gradient: Callable[[Learner, Any], MetaGradient],
    validate: outer.Validate,
    *,
    items: tuple[Any, str],
    fingerprint: dict[str, Any],
    world: World,
    terms: Sequence[str] = LOSSES,
    subfolder: str = "training",
    search: Callable[..., tuple[Learner, dict[str, float]]] | None = None,
    search_settings: dict[str, Any] | None = None,
    use: str = "learner=",
) -> Learner:
    """Train, search the rate, write learner.safetensors into `config.out`, and say how it is used.

    Args:
        config: the configuration of the command.
        section: its settings of the outer loop.
        setup: what the training begins with.
        learner: the initial learner.
        gradient: as in `meta.outer.train`.
        validate: as in `meta.outer.train`.
        items: a taskset and the kind of its items, see `rate_search.stream`.
        fingerprint: what determines the outcome besides configuration and setup.
        world: the process group.
        terms: as in `meta.outer.train`.
        subfolder: where the training is. It is not `config.out` itself ("") if there is a search, so that either can be
            resumed.
        search: a function of `theta`, the trained parameters, and the held-out `tasks`; it returns the learner with the
            best rate, and the mean J by rate. None: what was trained is the learner.
        search_settings: what tells the search from another one; has "rates", "steps" and "tasks".
        use: the settings by which the learner is used; its path is added.

    Raises:
        UserError: as `meta.outer.train` does.
        KeyboardInterrupt: after SIGINT or SIGTERM, when the state has been saved.
    """
    out = Path(str(config.out))
    folder, result = out / subfolder, out / outer.BEST
    with world.barrier():
        fingerprint = fingerprint | {"init": setup.init_fingerprint}
        fingerprint = training_fingerprint(config, setup.model, (setup.tasks, setup.held_out), **fingerprint)
    progress = TrainingProgress(section.iterations, seconds=section.seconds, visible=world.is_main_process)
    iterations = section.iterations if section.seconds is None else None
    stream = rate_search.stream(
        *items, seed=config.seed, tasks=section.tasks, iterations=iterations, world=world, workers=config.workers
    )
    try:
        best = outer.train(
            learner,
            stream,
            gradient,
            validate,
            folder,
            outer_settings(section),
            fingerprint=fingerprint,
            environment=training_environment(setup.device, config.threads),
            world=world,
            resume=config.resume,
            other_code=config.other_code,
            report=progress,
            say=progress.say,
            terms=terms,
        )
    except outer.Interrupted as stop:
        raise KeyboardInterrupt(f"{stop}; the same command with resume=true continues") from stop
    finally:
        progress.close()
    if search is not None and search_settings is not None:
        best = _searched(search, search_settings, setup, best, result, world, progress.say)
    elif folder != out and world.is_main_process:
        best.save(result)
    if world.is_main_process:
        for rate, j in best.spec.get("J", {}).items():
            print(f"{rate:>22}: J@{best.spec['search']['steps']} {j:.3f}")
        progress.report(folder / outer.LOG, result, use, draw=curves)
    return best


def _searched(
    search: Callable[..., tuple[Learner, dict[str, float]]],
    settings: dict[str, Any],
    setup: TrainingSetup,
    trained: Learner,
    result: Path,
    world: World,
    say: Callable[[str], None],
) -> Learner:
    """Search, and write the learner to `result`; one that stands there already, of the same training and search, is
    returned instead."""
    made = {"training": trained.spec["training"], "search": settings}
    there = world.broadcast(lambda: Learner.load(result) if result.exists() else None)
    if there is not None and all(there.spec.get(key) == json.loads(json.dumps(value)) for key, value in made.items()):
        return there
    say(f"searching the best single rate at T={settings['steps']} among {settings['rates']}")
    held_out = [setup.held_out.task(0, 0, index) for index in range(settings["tasks"])]
    best, figures = search(theta=trained.to(setup.device).theta, tasks=held_out)
    best.spec = best.spec | made | {"J": figures}
    with world.barrier():
        if world.is_main_process:
            best.save(result)
    return best
