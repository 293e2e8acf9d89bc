"""Where the results of a run go: folders named by its data and settings, and labels of a sweep's jobs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eosvos.cli import build_data
from eosvos.cli.fingerprint import data_fingerprint
from eosvos.cli.schema import EvalConfig, FiguresConfig, ScoreConfig
from eosvos.evaluation.metrics.region_contour import ScoringRules

RUNS = Path("runs")


def measures(config: FiguresConfig) -> ScoringRules:
    """The rules of the figures: the data set's own protocol where none is given."""
    protocol = config.protocol or config.dataset.protocol
    return ScoringRules(protocol, config.ends, config.void, tuple(dict.fromkeys(config.measures)))


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
    if job and rules != ScoringRules(config.dataset.protocol):  # of a sweep over them, which are to be compared
        words.append(_short(rules.as_json()))
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
    name = "-".join([results.stem, data_name(config), _short(fingerprint | measures(config).as_json())])
    out = RUNS / "score" / name if config.out is None else Path(config.out) / (job or "")
    return out, fingerprint


def _short(fingerprint: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fingerprint, sort_keys=True, default=str).encode()).hexdigest()[:8]


def common_folder(runs: Sequence[Path]) -> Path:
    return Path(os.path.commonpath([run.absolute() for run in runs]))


def short_labels(jobs: Sequence[str]) -> list[str]:
    """Names of a sweep's jobs without the settings that all share: "iters=1,seed=0" -> "iters=1"."""
    parts = [job.split(",") for job in jobs]
    return [
        ",".join(p.removeprefix("experiment=") for p in one if not all(p in other for other in parts)) for one in parts
    ]
