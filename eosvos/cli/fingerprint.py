"""What tells a run from any other: hashes of its data, its learner and the code that decides its outcome."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torchvision

from eosvos.cli import build_data
from eosvos.cli.data_sections import DatasetSection, TasksetSection
from eosvos.cli.schema import FiguresConfig, SegmentConfig, TrainConfig
from eosvos.data.readers.user_video import masks_hash
from eosvos.data.sequence import VideoSequence, content_hash
from eosvos.data.tasks import Tasks

# Code that decides its outcome
_TRAINING = ("data/**/*.py", "meta/**/*.py", "methods/**/*.py", "models/**/*.py", "seeds.py", "torch_state.py")


def training_fingerprint(config: TrainConfig, model: Any, tasks: Sequence[Tasks], **more: Any) -> dict[str, Any]:
    """All that decides the outcome of a training, besides the settings of the outer loop."""
    data = {"taskset": build_data.fingerprint(config.taskset), "data": [taskset.content() for taskset in tasks]}
    return {"seed": config.seed, "model": model.spec, **data, **more}


def training_environment(device: torch.device, threads: int) -> dict[str, Any]:
    """What decides the last digits of a training, and the version of the code."""
    name = "cpu" if device.type == "cpu" else torch.cuda.get_device_name(device)
    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__}
    return {"code": code_digest(_TRAINING), **versions, "device": name, "threads": threads}


def data_fingerprint(config: FiguresConfig) -> dict[str, Any]:
    """What the data is; not how figures on it are measured, which changes no mask."""
    idle = ("protocol", "truth", *(["levels"] if config.dataset.levels == "auto" else []))
    dataset = {key: value for key, value in asdict(config.dataset).items() if key not in idle}
    if dataset["absent"] is None:  # as it was before there was such a setting
        del dataset["absent"]
    place = _place(config.dataset, config.data_root)
    return {"dataset": dataset, "split": config.split, "data_root": place, "sequences": list(config.sequences)}


def own_fingerprint(config: SegmentConfig, sequence: VideoSequence) -> dict[str, Any]:
    """What tells a video of one's own, with its masks, from any other."""
    given = [str(Path(path).expanduser().resolve()) for path in (config.video, config.mask or config.masks) if path]
    levels = {} if config.levels == "auto" else {"levels": config.levels}
    hashes = {"masks_hash": masks_hash(sequence), "hash": content_hash([sequence])}  # masks are edited and given again
    return {"video": given, "binary": config.binary, "absent": config.absent, **hashes, **levels}


def _place(section: DatasetSection | TasksetSection, data_root: str | None) -> str | None:
    """The data's folder, whichever way it was given; EOSVOS_DATA means nothing to synthetic videos."""
    return None if section.kind == "synthetic" or data_root is None else str(Path(data_root).expanduser().resolve())


def digest(path: str | Path) -> str:
    """First 16 hex digits of a file's SHA-256."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]


def code_digest(parts: Sequence[str] = ("**/*.py",)) -> str:
    """The same over the Python files of the package that match one of the patterns `parts`, by name."""
    package = Path(__file__).resolve().parents[1]
    total = hashlib.sha256()
    found = {path for part in parts for path in package.glob(part) if path.is_file()}
    for path in sorted(found):
        total.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()[:16]
