"""The figures of a run: what is kept per sequence, the means over objects, and the files they are written to."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from eosvos.errors import UserError
from eosvos.evaluation.metrics import Statistics, statistics
from eosvos.files import write_text

FIGURES = ("J&F-Mean", "J-Mean", "J-Recall", "J-Decay", "F-Mean", "F-Recall", "F-Decay")  # the official toolkit's names


@dataclass(frozen=True)
class SequenceResult:
    """One finished sequence; `<out>/per_sequence/<name>.json` holds it and marks the sequence as finished."""

    name: str
    frames: int
    seconds: float  # decoding + fine-tuning + inference; neither PNG writing nor scoring
    adapt_seconds: float | None  # the fine-tuning's share, where the method tells it
    peak_MiB: float  # resident memory of the process, highest while the sequence ran
    peak_cuda_MiB: float | None  # None without a GPU
    scored: list[str] = field(default_factory=list)  # names of the measured frames; none without annotation
    region: dict[int, list[float]] = field(default_factory=dict)  # object id -> J per measured frame
    contour: dict[int, list[float]] = field(default_factory=dict)  # object id -> F per measured frame

    @property
    def fps(self) -> float:
        """Frames per second as the papers count: over the whole video, fine-tuning included."""
        return self.frames / self.seconds if self.seconds > 0 else math.inf

    @property
    def objects(self) -> list[int]:
        """The measured objects' ids; none where no frame could be measured."""
        return list(self.region) if self.scored else []

    def statistics(self, i: int) -> tuple[Statistics, Statistics]:
        """Mean, recall and decay of J and of F of object `i`."""
        return statistics(self.region[i]), statistics(self.contour[i])

    def to_json(self) -> dict[str, Any]:
        content = asdict(self)
        del content["region"], content["contour"]
        content["fps"] = round(self.fps, 4)
        content["objects"] = {str(i): {"J": self.region[i], "F": self.contour[i]} for i in self.region}
        return content

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> SequenceResult:
        content = {key: value for key, value in content.items() if key != "fps"}
        objects = content.pop("objects")
        region = {int(i): values["J"] for i, values in objects.items()}
        contour = {int(i): values["F"] for i, values in objects.items()}
        return cls(**content, region=region, contour=contour)


@dataclass(frozen=True)
class Results:
    """A finished run: its folder, the settings it was made with, and its sequences in the order asked for."""

    out: Path
    fingerprint: dict[str, Any]
    seed: int
    sequences: tuple[SequenceResult, ...]

    @property
    def summary(self) -> dict[str, float | None]:
        """One row for the run: the official figures (means over all objects, nan without any), speed and memory."""
        both = [result.statistics(i) for result in self.sequences for i in result.objects]
        region, contour = (np.array([pair[k] for pair in both]).reshape(-1, 3) for k in (0, 1))
        # An empty mean would warn; no annotation is no reason to.
        j, f = (values.mean(0) if len(values) else np.full(3, math.nan) for values in (region, contour))
        frames = sum(result.frames for result in self.sequences)
        seconds = sum(result.seconds for result in self.sequences)
        cuda = [result.peak_cuda_MiB for result in self.sequences if result.peak_cuda_MiB is not None]
        figures = [(j[0] + f[0]) / 2, *j, *f]
        return {
            **{name: float(value) for name, value in zip(FIGURES, figures, strict=True)},
            "fps": frames / seconds if seconds > 0 else math.inf,
            "seconds": seconds,
            "peak_MiB": max(result.peak_MiB for result in self.sequences),
            "peak_cuda_MiB": max(cuda) if cuda else None,
            "sequences": len(self.sequences),
            "objects": len(both),
        }

    def rows(self) -> list[dict[str, Any]]:
        """One row per object, "<sequence>_<id>" as the official toolkit names it; unmeasured sequences have none."""
        rows = []
        for result in self.sequences:
            for i in result.objects:
                j, f = result.statistics(i)
                rows.append(
                    {
                        "Sequence": f"{result.name}_{i}",
                        "J-Mean": j.mean,
                        "F-Mean": f.mean,
                        "J-Recall": j.recall,
                        "J-Decay": j.decay,
                        "F-Recall": f.recall,
                        "F-Decay": f.decay,
                        "fps": result.fps,
                    }
                )
        return rows

    def write(self) -> None:
        """Write global.csv, per_sequence.csv and per_frame.json into the run's folder."""
        write_text(self.out / "global.csv", to_csv([self.summary]))
        columns = ["Sequence", "J-Mean", "F-Mean", "J-Recall", "J-Decay", "F-Recall", "F-Decay", "fps"]
        write_text(self.out / "per_sequence.csv", to_csv(self.rows(), columns))
        frames = {
            result.name: {"frames": result.scored, "objects": result.to_json()["objects"]} for result in self.sequences
        }
        write_text(self.out / "per_frame.json", json.dumps(frames))


def to_csv(rows: list[dict[str, Any]], columns: list[str] | None = None) -> str:
    """Rows as CSV, floats with 6 digits; `columns` are those of the first row by default."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns or list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: f"{v:.6f}" if isinstance(v, float) else v for k, v in row.items()})
    return text.getvalue()


def sequence_file(out: Path, name: str) -> Path:
    """Where a finished sequence's figures are kept."""
    return out / "per_sequence" / f"{name}.json"


def load(out: str | Path) -> Results:
    """The results in the folder `out`: every finished sequence of the run. Raises UserError where there is no run."""
    out = Path(out)
    run = read_run(out)
    if run is None:
        raise UserError(f"{out}: no run here (run.json is missing); give a folder that an evaluation wrote")
    finished = {}
    for path in sorted((out / "per_sequence").glob("*.json")):
        result = read_sequence(path)
        if result is not None:
            finished[result.name] = result
    if not finished:
        raise UserError(f"{out}: no sequence of this run is finished; start it again with the same command")
    order = [name for name in run.get("sequences", []) if name in finished]
    order += [name for name in finished if name not in order]
    return Results(out, run["fingerprint"], run["seed"], tuple(finished[name] for name in order))


def read_run(out: Path) -> dict[str, Any] | None:
    """The content of run.json, or None where there is none."""
    path = out / "run.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content["fingerprint"], dict) or not isinstance(content["seed"], int):
            raise KeyError
        return content
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not the settings of a run; choose another folder with out=") from error


def read_sequence(path: Path) -> SequenceResult | None:
    """A finished sequence's figures, or None where the file is missing or no such thing."""
    try:
        return SequenceResult.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
