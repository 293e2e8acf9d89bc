"""The figures of a run: what is kept per sequence, the means over objects, and the files they are written to."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from eosvos.errors import UserError
from eosvos.evaluation.metrics import aggregate
from eosvos.evaluation.metrics.boxes_errors import THRESHOLDS, Errors
from eosvos.evaluation.metrics.region_contour import Statistics, statistics
from eosvos.evaluation.metrics.temporal_stability import UNSTABLE
from eosvos.files import listed, write_text

COLUMNS = ("Sequence", "J-Mean", "F-Mean", "J-Recall", "J-Decay", "F-Recall", "F-Decay", "fps")  # of an object


@dataclass(frozen=True)
class SequenceResult:
    """One finished sequence; `<out>/per_sequence/<name>.json` holds it and marks the sequence as finished.

    A value of `region`, `contour` and `more` is nan (null in the file) where the protocol does not count that frame for
    that object.
    """

    name: str
    frames: int
    seconds: float | None  # decoding + fine-tuning + inference; neither PNG writing nor scoring; None: masks of others
    adapt_seconds: float | None  # the fine-tuning's share, where the method tells it
    peak_MiB: float | None  # resident memory of the process, highest while the sequence ran
    peak_cuda_MiB: float | None  # None without a GPU
    scored: list[str] = field(default_factory=list)  # names of the measured frames; none without annotation
    region: dict[int, list[float]] = field(default_factory=dict)  # object id -> J per measured frame
    contour: dict[int, list[float]] = field(default_factory=dict)  # object id -> F per measured frame
    protocol: str = "davis"
    attributes: tuple[str, ...] = ()  # of the video, as the data set names them
    categories: dict[int, str] = field(default_factory=dict)  # object id -> its class
    unseen: frozenset[int] | None = None  # objects of classes that training lacks; None: no such distinction
    strange: dict[int, int] = field(default_factory=dict)  # predicted id that is no object -> frames that have it
    shared: dict[str, list[int]] = field(default_factory=dict)  # "truth", "masks" -> frames and pixels of overlaps
    more: dict[str, dict[int, Any]] = field(default_factory=dict)  # further measure -> object id -> its values
    uncertain: dict[int, list[float]] = field(
        default_factory=dict
    )  # object id -> of each frame, see inference/suggestion.py
    proof: dict[str, Any] = field(default_factory=dict)  # what the figures were computed from

    @property
    def fps(self) -> float:
        """Frames per second over the whole video, fine-tuning included, as e-OSVOS counts (Figure 1, Table 2)."""
        return _rate(self.frames, self.seconds)

    @property
    def objects(self) -> list[int]:
        """The measured objects' ids; none where no frame could be measured."""
        return [i for i, values in self.region.items() if not all(map(math.isnan, values))] if self.scored else []

    def statistics(self, i: int) -> tuple[Statistics, Statistics]:
        """Mean, recall and decay of J and of F of object `i`."""
        return statistics(self.region[i]), statistics(self.contour[i])

    def to_json(self) -> dict[str, Any]:
        content = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("region", "contour")}
        content["unseen"] = None if self.unseen is None else sorted(self.unseen)
        content["fps"] = None if self.seconds is None else round(self.fps, 4)
        content["objects"] = {str(i): {"J": self.region[i], "F": self.contour[i]} for i in self.region}
        return _without_nan(content)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> SequenceResult:
        content = {key: value for key, value in content.items() if key != "fps"}
        objects = {int(i): values for i, values in content.pop("objects").items()}
        # Those that older versions did not write may be missing.
        content["attributes"] = tuple(content.get("attributes", ()))
        content["unseen"] = frozenset(content["unseen"]) if content.get("unseen") is not None else None
        for key in ("categories", "strange"):
            content[key] = {int(i): value for i, value in content.get(key, {}).items()}
        content["more"] = {
            name: {int(i): _with_nan(values) for i, values in of.items()}
            for name, of in content.get("more", {}).items()
        }
        content["uncertain"] = {int(i): _with_nan(values) for i, values in content.get("uncertain", {}).items()}
        region, contour = ({i: _with_nan(values[k]) for i, values in objects.items()} for k in ("J", "F"))
        return cls(**content, region=region, contour=contour)


@dataclass(frozen=True)
class Results:
    """A finished run: its folder, the settings it was made with, and its sequences in the order asked for."""

    out: Path
    fingerprint: dict[str, Any]
    seed: int
    sequences: tuple[SequenceResult, ...]

    @property
    def summary(self) -> dict[str, Any]:
        """One row for the run: the official figures (means over all objects, nan without any), speed, memory, and
        whatever else is known: seen and unseen classes, further measures.

        Speed as the papers define it: "fps" over the whole video, fine-tuning included (e-OSVOS, Figure 1 and Table 2);
        "s-per-frame", the same as a time (OSVOS, Figure 8; OSMN, Table 1); "fps-without-fine-tuning", for objects that
        were trained on beforehand (OSVOS, Figure 8, "Pre"). nan where nobody took the time.
        """
        found = aggregate.objects(self.sequences)
        frames = sum(result.frames for result in self.sequences)
        seconds = _total(result.seconds for result in self.sequences)
        adapting = _total(result.adapt_seconds for result in self.sequences)
        memory = [result.peak_MiB for result in self.sequences if result.peak_MiB is not None]
        cuda = [result.peak_cuda_MiB for result in self.sequences if result.peak_cuda_MiB is not None]
        rest = None if seconds is None or adapting is None else seconds - adapting
        return {
            **aggregate.figures(found),
            "fps": _rate(frames, seconds),
            "seconds": math.nan if seconds is None else seconds,
            "peak_MiB": max(memory, default=None),
            "peak_cuda_MiB": max(cuda, default=None),
            "sequences": len(self.sequences),
            "objects": len(found),
            "protocol": ", ".join(sorted({result.protocol for result in self.sequences})),
            "s-per-frame": math.nan if seconds is None else seconds / frames,
            "fps-without-fine-tuning": _rate(frames, rest),
            "strange-ids": sum(len(result.strange) for result in self.sequences),
            **aggregate.seen_and_unseen(self.sequences),
            **self._further(),
        }

    def _further(self) -> dict[str, float]:
        """Further measures over all objects. T as DAVIS 2016 reports it: without sequences in which the object's shape
        changes by itself."""
        stable = [result for result in self.sequences if result.name not in UNSTABLE]
        found, calm = (aggregate.further(aggregate.objects(of)) for of in (self.sequences, stable))
        return found | {key: calm.get(key, math.nan) for key in found if key == "T-Mean"}

    def rows(self) -> list[dict[str, Any]]:
        """One row per object, "<sequence>_<id>" as the official toolkit names it; unmeasured ones have none."""
        rows = []
        for result, i in aggregate.objects(self.sequences):
            j, f = result.statistics(i)
            official = (f"{result.name}_{i}", j.mean, f.mean, j.recall, j.decay, f.recall, f.decay, result.fps)
            rows.append({**dict(zip(COLUMNS, official, strict=True)), **aggregate.further([(result, i)])})
        return rows

    def write(self) -> None:
        """Write the tables into the run's folder: global.csv, per_sequence.csv, per_frame.json, and those of `tables`
        that have rows."""
        write_text(self.out / "global.csv", to_csv([self.summary]))
        write_text(self.out / "per_sequence.csv", to_csv(self.rows()) or ",".join(COLUMNS) + "\n")
        frames = {}
        for result in self.sequences:
            content = result.to_json()
            frames[result.name] = {"frames": result.scored, "objects": content["objects"], "more": content["more"]}
        write_text(self.out / "per_frame.json", json.dumps(frames))
        for name, rows in self.tables().items():
            if rows:
                write_text(self.out / f"{name}.csv", to_csv(rows))
            else:  # of figures that were measured otherwise
                (self.out / f"{name}.csv").unlink(missing_ok=True)

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """What there is besides, by the name of its file; without rows where it does not apply."""
        found = self._further()
        overlaps = [t for t in THRESHOLDS if f"boxes-{t:g}" in found]
        kinds = [kind for kind in Errors._fields if f"error-{kind}" in found]
        return {
            "over_time": aggregate.over_time(self.sequences),
            "attributes": aggregate.by_attribute(self.sequences),
            "categories": aggregate.by_category(self.sequences),
            "boxes": [{"Overlap-above": f"{t:g}", "boxes": found[f"boxes-{t:g}"]} for t in overlaps],
            "errors": [{"Error": kind, "share-of-wrong-pixels": found[f"error-{kind}"]} for kind in kinds],
        }


def to_csv(rows: list[dict[str, Any]], columns: list[str] | None = None) -> str:
    """Rows as CSV, floats with 6 digits; `columns` are by default all that a row has. Empty without rows."""
    text = io.StringIO()
    every = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(text, columns or every, lineterminator="\n")
    if rows:
        writer.writeheader()
    for row in rows:
        writer.writerow({k: f"{v:.6f}" if isinstance(v, float) else v for k, v in row.items()})
    return text.getvalue()


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """Where two nested settings differ: dotted name -> (old, new); "nothing" where one lacks it."""
    found: dict[str, tuple[Any, Any]] = {}
    for key in [*old, *(key for key in new if key not in old)]:
        a, b = old.get(key, "nothing"), new.get(key, "nothing")
        if isinstance(a, dict) and isinstance(b, dict):
            found |= differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found[f"{prefix}{key}"] = (a, b)
    return found


def sequence_file(out: Path, name: str) -> Path:
    """Where a finished sequence's figures are kept."""
    return out / "per_sequence" / f"{name}.json"


def write_sequence(out: Path, result: SequenceResult) -> None:
    """Keep a finished sequence's figures: marks it as finished."""
    write_text(sequence_file(out, result.name), json.dumps(result.to_json(), allow_nan=False))


def load(out: str | Path) -> Results:
    """The results in the folder `out`: every finished sequence of the run, measured by the rules that the run was last
    given. Raises UserError where there is no run."""
    out = Path(out)
    run = read_run(out)
    if run is None:
        raise UserError(f"{out}: no run here (run.json is missing); give a folder that an evaluation wrote")
    finished = {}
    for name in listed(out / "per_sequence", ".json"):
        result = read_sequence(out / "per_sequence" / name)
        if result is not None and result.proof.get("rules") == run.get("measures"):
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


def _rate(frames: int, seconds: float | None) -> float:
    if seconds is None:
        return math.nan
    return frames / seconds if seconds > 0 else math.inf


def _total(seconds: Iterable[float | None]) -> float | None:
    """The sum; None where one is not known."""
    known = list(seconds)
    return None if None in known else math.fsum(s for s in known if s is not None)


def _without_nan(value: Any) -> Any:
    """The same for JSON, which has no nan: null; and whose keys are strings."""
    if isinstance(value, dict):
        return {str(key): _without_nan(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _with_nan(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_nan(part) for part in value]
    return math.nan if value is None else value
