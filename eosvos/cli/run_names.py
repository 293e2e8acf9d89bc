"""From a checked configuration to the library's objects; nothing below the commands sees the configuration."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from collections.abc import Sequence as Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
import torchvision

from eosvos.cli import build_data
from eosvos.cli.schema import (
    DatasetSection,
    EvalConfig,
    FiguresConfig,
    ModelSection,
    OSVOSModelSection,
    OuterSection,
    ScoreConfig,
    SegmentConfig,
    TasksetSection,
    TrainConfig,
    outer_settings,
)
from eosvos.data.readers.user_video import annotated_frames
from eosvos.data.sequence import Sequence, content_hash
from eosvos.data.tasks import Tasks
from eosvos.errors import UserError
from eosvos.evaluation.score_sequence import Measures
from eosvos.meta import outer
from eosvos.meta.adapt import MetaGradient
from eosvos.meta.distributed import World
from eosvos.meta.learner import Learner
from eosvos.methods.eosvos import training
from eosvos.models.mask_rcnn import LOSSES
from eosvos.progress import TrainingProgress

RUNS = Path("runs")
_TRAINING = (  # code that decides its outcome
    "data/**/*.py", "meta/**/*.py", "methods/**/*.py", "models/**/*.py", "seeds.py", "torch_state.py",
)  # fmt: skip


def device_of(word: str) -> torch.device:
    """ "auto" is a GPU where there is one; under torchrun every process has its own, or UserError is raised."""
    if word == "auto":
        word = "cuda" if torch.cuda.is_available() else "cpu"
    place, here = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if word == "cpu":
        return torch.device(word)
    count = torch.cuda.device_count()
    if word != "cuda" and here > 1:
        raise UserError(
            f"device={word}: all {here} processes of this machine would share one GPU; use device=cuda, which gives "
            "each its own, or one process"
        )
    if word == "cuda" and here > count:
        raise UserError(
            f"device={word}: {here} processes and {count} GPUs are on this machine; use --nproc-per-node={count}, or "
            "device=cpu"
        )
    return torch.device("cuda", place) if word == "cuda" else torch.device(word)


def compute_on(word: str, threads: int) -> torch.device:
    """The device of a training process, made its present one; on a CPU it computes on `threads` threads."""
    device = device_of(word)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    use_threads(threads if device.type == "cpu" else torch.get_num_threads())
    return device


def use_threads(count: int) -> None:
    """Let torch compute on so many threads, and OpenCV on one, in this whole process, which is a command's own: the
    library leaves that to the program that calls it."""
    torch.set_num_threads(count)
    cv2.setNumThreads(0)


def evaluation_devices(word: str, processes: int | None) -> tuple[torch.device, int, int]:
    """(device, processes, GPUs): by default one process per core, or one per GPU; under torchrun each of its processes
    has its own GPU or its share of the cores. GPUs > 0: processes are dealt out to them, and `device` has no number.
    """
    device, here = device_of(word), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if device.type == "cpu":
        return device, processes or max(1, cores() // here), 0
    count = torch.cuda.device_count()
    if word not in ("auto", "cuda") or here > 1 or count == 1:
        return device, processes or 1, 0
    return torch.device("cuda"), processes or count, count


def model_settings(section: ModelSection | OSVOSModelSection) -> dict[str, Any]:
    """The settings of the network that are given; the others are the size's own."""
    return {key: value for key, value in vars(section).items() if value is not None}


N = TypeVar("N")


def build_network(settings: dict[str, Any], build: Callable[..., N]) -> N:
    """`build` for settings of a user: raises UserError where they make no network."""
    try:
        return build(**settings)
    except ValueError as error:  # such as channels that the groups do not divide
        raise UserError(f"model settings {settings} make no network: {error}") from error


def train(
    config: TrainConfig,
    section: OuterSection,
    learner: Learner,
    items: tuple[Any, str],
    gradient: Callable[[Learner, Any], MetaGradient],
    validate: outer.Validate,
    folder: Path,
    *,
    fingerprint: dict[str, Any],
    world: World,
    progress: TrainingProgress,
    terms: Collection[str] = LOSSES,
) -> Learner:
    """The outer loop as all trainings call it; items: a taskset and the kind of its items, see `training.stream`."""
    try:
        return outer.train(
            learner,
            training.stream(
                *items, seed=config.seed, tasks=section.tasks, world=world, workers=config.workers,
                iterations=section.iterations if section.seconds is None else None,
            ),
            gradient,
            validate,
            folder,
            outer_settings(section),
            fingerprint=fingerprint,
            environment=training_environment(next(iter(learner.theta.values())).device, config.threads),
            world=world,
            resume=config.resume,
            other_code=config.other_code,
            report=progress,
            say=progress.say,
            terms=terms,
        )  # fmt: skip
    finally:
        progress.close()


def training_fingerprint(config: TrainConfig, model: Any, tasks: Collection[Tasks], **more: Any) -> dict[str, Any]:
    """All that decides the outcome of a training, besides the settings of the outer loop."""
    data = {"taskset": build_data.fingerprint(config.taskset), "data": [taskset.content() for taskset in tasks]}
    return {"seed": config.seed, "model": model.spec, **data, **more}


def training_environment(device: torch.device, threads: int) -> dict[str, Any]:
    """What decides the last digits of a training, and the version of the code."""
    name = "cpu" if device.type == "cpu" else torch.cuda.get_device_name(device)
    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__}
    return {"code": code_digest(_TRAINING), **versions, "device": name, "threads": threads}


def searched(
    result: Path, trained: Learner, settings: dict[str, Any], search: Callable[[], tuple[Learner, dict[str, float]]],
    world: World, say: Callable[[str], None],
) -> Learner:  # fmt: skip
    """The learner with the rate that `search` finds for what was trained, in the file `result`, or the one that stands
    there already from the same training and the same search, of these `settings`."""
    made = {"training": trained.spec["training"], "search": settings}
    found = world.share(lambda: Learner.load(result) if result.exists() else None)
    if found is not None and all(found.spec.get(key) == json.loads(json.dumps(value)) for key, value in made.items()):
        return found
    say(f"searching the best single rate at T={settings['steps']} among {settings['rates']}")
    best, figures = search()
    best.spec = best.spec | made | {"J": figures}
    with world.together():
        if world.first:
            best.save(result)
    return best


def data_fingerprint(config: FiguresConfig) -> dict[str, Any]:
    """What the data is; not how figures on it are measured, which changes no mask."""
    idle = ("protocol", "truth", *(["levels"] if config.dataset.levels == "auto" else []))
    dataset = {key: value for key, value in asdict(config.dataset).items() if key not in idle}
    if dataset["absent"] is None:  # as it was before there was such a setting
        del dataset["absent"]
    place = _place(config.dataset, config.data_root)
    return {"dataset": dataset, "split": config.split, "data_root": place, "sequences": list(config.sequences)}


def measures(config: FiguresConfig) -> Measures:
    """The rules of the figures: the data set's own protocol where none is given."""
    protocol = config.protocol or config.dataset.protocol
    return Measures(protocol, config.ends, config.void, tuple(dict.fromkeys(config.measures)))


def evaluation_folder(config: EvalConfig, fingerprint: dict[str, Any], job: str | None, command: str = "eval") -> Path:
    """Where a run's results go: `out`, with a folder for each job of a sweep, or a name that tells the settings."""
    if config.out is not None:
        return Path(config.out) / job if job else Path(config.out)
    words = [config.method]
    if config.method == "eosvos":
        words += [f"T{config.iters}"] + ["ona"] * config.ona
    if config.method == "osmn":
        without = [part for part in ("visual", "spatial") if not getattr(config.osmn, part)]
        words += [f"T{config.iters}", *(f"no-{part}" for part in without)]
        words += [config.osmn.snapping] * (config.osmn.snapping != "none")
    if config.method == "osvos":
        words.append(f"T{config.iters}" if config.osvos.seconds is None else f"{config.osvos.seconds:g}s")
        words += [config.osvos.snapping] * (config.osvos.snapping != "none")
    rules = measures(config)
    if job and rules != Measures(config.dataset.protocol):  # of a sweep over them, which are to be compared
        words.append(_short(asdict(rules)))
    return RUNS / command / data_name(config) / "-".join([*words, f"s{config.seed}", _short(fingerprint)])


def data_name(config: FiguresConfig) -> str:
    """The data set and split in a word."""
    if config.dataset.kind == "folder":
        return f"folder-{Path(config.data_root or '').expanduser().resolve().name}"
    default = "all" if config.dataset.kind in build_data.WITHOUT_SPLITS else "val"
    return f"{config.dataset.name}-{config.split or ('some' if config.sequences else default)}"


def score_folder(config: ScoreConfig, job: str | None) -> tuple[Path, dict[str, Any]]:
    """Where the figures of masks of others go, and what they are the figures of."""
    results = Path(config.results or "").expanduser().resolve()
    fingerprint = {
        "results": str(results),
        "missing": config.missing,
        "binary": config.binary,
        **data_fingerprint(config),
    }
    name = "-".join([results.stem, data_name(config), _short(fingerprint | asdict(measures(config)))])
    out = RUNS / "score" / name if config.out is None else Path(config.out) / (job or "")
    return out, fingerprint


def _short(fingerprint: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fingerprint, sort_keys=True, default=str).encode()).hexdigest()[:8]


def own_fingerprint(config: SegmentConfig, sequence: Sequence) -> dict[str, Any]:
    """What tells a video of one's own, with its masks, from any other."""
    given = [str(Path(path).expanduser().resolve()) for path in (config.video, config.mask or config.masks) if path]
    masks = hashlib.sha256()  # these are edited and given again
    for index in annotated_frames(sequence):
        masks.update(str(index).encode() + np.ascontiguousarray(sequence.mask(index)).tobytes())
    return {
        "video": given, "binary": config.binary, "absent": config.absent, "masks_hash": masks.hexdigest()[:16],
        "hash": content_hash([sequence]), **({} if config.levels == "auto" else {"levels": config.levels}),
    }  # fmt: skip


def common_folder(runs: Collection[Path]) -> Path:
    return Path(os.path.commonpath([run.absolute() for run in runs]))


def short_labels(jobs: Collection[str]) -> list[str]:
    """Names of a sweep's jobs without the settings that all share: "iters=1,seed=0" -> "iters=1"."""
    parts = [job.split(",") for job in jobs]
    return [
        ",".join(p.removeprefix("experiment=") for p in one if not all(p in other for other in parts)) for one in parts
    ]


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _place(section: DatasetSection | TasksetSection, data_root: str | None) -> str | None:
    """The data's folder, whichever way it was given; EOSVOS_DATA means nothing to synthetic videos."""
    return None if section.kind == "synthetic" or data_root is None else str(Path(data_root).expanduser().resolve())


def digest(path: str | Path) -> str:
    """First 16 hex digits of a file's SHA-256."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]


def code_digest(parts: Collection[str] = ("**/*.py",)) -> str:
    """The same over the Python files of the package that match one of the patterns `parts`, by name."""
    package = Path(__file__).resolve().parents[1]
    total = hashlib.sha256()
    found = {path for part in parts for path in package.glob(part) if path.is_file()}
    for path in sorted(found):
        total.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()[:16]
