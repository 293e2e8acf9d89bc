"""What an evaluation starts from: the method, the videos, and the folder of the results."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from eosvos.cli import build_data, build_method, devices, run_names, validate
from eosvos.cli.schema import EvalConfig
from eosvos.data.sequence import VideoSequence
from eosvos.meta.distributed import World

E = TypeVar("E", bound=EvalConfig)


@dataclass(frozen=True)
class EvaluationSetup(Generic[E]):
    """An evaluation that is ready to run.

    Attributes:
        settings: the configuration, with the number of fine-tuning steps.
        out: folder of the results.
        sequences: the videos.
        arguments: further arguments of `benchmark.run` that all evaluations give.
    """

    settings: E
    out: Path
    make_method: build_method.MakeMethod
    sequences: list[VideoSequence]
    arguments: dict[str, Any]


def begin(settings: E, world: World, job: str | None, command: str = "eval", **told: Any) -> EvaluationSetup[E]:
    """Build all that an evaluation begins with, and say where its results go.

    Args:
        settings: the configuration; it is checked here.
        world: the process group.
        job: name of this job of a sweep, see `hydra_app.job_name`.
        command: for the folder's name.
        told: what determines the masks besides the configuration of the method and the data.

    Raises:
        UserError: if the configuration is wrong, or what it names cannot be read.
    """
    validate.check(settings)
    devices.use_threads(1)  # as each of several processes does: the number can change the last bit
    device, processes, gpus = devices.evaluation_devices(settings.device, settings.processes)
    path, learner = build_method.evaluation_learner(settings)
    settings = build_method.with_steps(settings, learner)
    sequences = build_data.open_dataset(settings.dataset, settings.data_root, settings.split, settings.sequences)
    fingerprint = {**build_method.evaluation_fingerprint(settings, path, device), **told}
    out = run_names.evaluation_folder(settings, fingerprint, job, command)
    if world.is_main_process:
        print(f"{out}: {settings.method}" + ("" if path is None else f" with {path}"), file=sys.stderr, flush=True)
    arguments = {
        "seed": settings.seed,
        "fingerprint": fingerprint,
        "rules": run_names.measures(settings),
        "processes": processes,
        "gpus": gpus,
        "world": world,
        "resume": settings.resume,
        "overlay": settings.overlay,
    }
    make_method = build_method.MakeMethod(settings, learner, device)
    return EvaluationSetup(settings, out, make_method, sequences, arguments)
