"""The results of a run: per sequence, means over objects, and the files that they are written to."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eosvos.errors import UserError
from eosvos.evaluation.metrics import aggregate
from eosvos.evaluation.metrics.boxes_errors import THRESHOLDS, Errors
from eosvos.evaluation.metrics.sequence_scores import SequenceResult, per_second
from eosvos.evaluation.metrics.temporal_stability import UNSTABLE
from eosvos.evaluation.run_folder import read_run, read_sequence
from eosvos.files import listed, write_text

COLUMNS = ("Sequence", "J-Mean", "F-Mean", "J-Recall", "J-Decay", "F-Recall", "F-Decay", "fps")  # of an object


@dataclass(frozen=True)
class Results:
    """A finished run: its folder, its settings, and the results of its sequences in the order of the run."""

    out: Path
    fingerprint: dict[str, Any]
    seed: int
    sequences: tuple[SequenceResult, ...]

    @property
    def summary(self) -> dict[str, Any]:
        """Summarise the run in one row.

        It holds the official metrics (means over all objects; nan without any), those of seen and unseen classes, the
        extra metrics, speed and memory. Speed: "fps" over the whole video with fine-tuning (e-OSVOS, Figure 1 and
        Table 2); "s-per-frame", the same as a time (OSVOS, Figure 8; OSMN, Table 1); "fps-without-fine-tuning", for
        objects that were trained on beforehand (OSVOS, Figure 8, "Pre"). nan if the time was not measured.
        """
        scored = aggregate.scored_objects(self.sequences)
        frames = sum(result.frames for result in self.sequences)
        seconds = _total(result.seconds for result in self.sequences)
        adapting = _total(result.adapt_seconds for result in self.sequences)
        memory = [result.peak_MiB for result in self.sequences if result.peak_MiB is not None]
        cuda = [result.peak_cuda_MiB for result in self.sequences if result.peak_cuda_MiB is not None]
        rest = None if seconds is None or adapting is None else seconds - adapting
        return {
            **aggregate.mean_metrics(scored),
            "fps": per_second(frames, seconds),
            "seconds": math.nan if seconds is None else seconds,
            "peak_MiB": max(memory, default=None),
            "peak_cuda_MiB": max(cuda, default=None),
            "sequences": len(self.sequences),
            "objects": len(scored),
            "protocol": ", ".join(sorted({result.protocol for result in self.sequences})),
            "s-per-frame": math.nan if seconds is None else seconds / frames,
            "fps-without-fine-tuning": per_second(frames, rest),
            "strange-ids": sum(len(result.unknown_ids) for result in self.sequences),
            **aggregate.seen_and_unseen(self.sequences),
            **self._extra_metrics(),
        }

    def _extra_metrics(self) -> dict[str, float]:
        """Average the extra metrics over all objects; T as in DAVIS 2016, without the sequences `UNSTABLE`."""
        stable = [result for result in self.sequences if result.name not in UNSTABLE]
        metrics, calm = (aggregate.mean_extra_metrics(aggregate.scored_objects(of)) for of in (self.sequences, stable))
        return metrics | {key: calm.get(key, math.nan) for key in metrics if key == "T-Mean"}

    def rows(self) -> list[dict[str, Any]]:
        """Return one row per scored object, named "<sequence>_<id>" as in the official toolkit."""
        rows = []
        for result, i in aggregate.scored_objects(self.sequences):
            j, f = result.statistics(i)
            official = (f"{result.name}_{i}", j.mean, f.mean, j.recall, j.decay, f.recall, f.decay, result.fps)
            rows.append({**dict(zip(COLUMNS, official, strict=True)), **aggregate.mean_extra_metrics([(result, i)])})
        return rows

    def write(self) -> None:
        """Write global.csv, per_sequence.csv, per_frame.json and the non-empty tables of `tables` into `out`."""
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
            else:  # of scores by other rules
                (self.out / f"{name}.csv").unlink(missing_ok=True)

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Return further tables by file name; one that does not apply has no rows."""
        metrics = self._extra_metrics()
        overlaps = [t for t in THRESHOLDS if f"boxes-{t:g}" in metrics]
        kinds = [kind for kind in Errors._fields if f"error-{kind}" in metrics]
        return {
            "over_time": aggregate.over_time(self.sequences),
            "attributes": aggregate.by_attribute(self.sequences),
            "categories": aggregate.by_category(self.sequences),
            "boxes": [{"Overlap-above": f"{t:g}", "boxes": metrics[f"boxes-{t:g}"]} for t in overlaps],
            "errors": [{"Error": kind, "share-of-wrong-pixels": metrics[f"error-{kind}"]} for kind in kinds],
        }


def to_csv(rows: list[dict[str, Any]], columns: list[str] | None = None) -> str:
    """Format rows as CSV, floats with 6 digits; `columns` are by default all keys. No rows give an empty text."""
    text = io.StringIO()
    every = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(text, columns or every, lineterminator="\n")
    if rows:
        writer.writeheader()
    for row in rows:
        writer.writerow({k: f"{v:.6f}" if isinstance(v, float) else v for k, v in row.items()})
    return text.getvalue()


def load(out: str | Path) -> Results:
    """Read the results of the run in a folder.

    Returns:
        All finished sequences whose scores follow the rules that the run was last given.

    Raises:
        UserError: if there is no run, or none of its sequences is finished.
    """
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


def _total(seconds: Iterable[float | None]) -> float | None:
    """Sum up; None if one is not known."""
    known = list(seconds)
    return None if None in known else math.fsum(s for s in known if s is not None)
