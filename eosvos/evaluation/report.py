"""What a person reads of one run, and of several side by side."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from eosvos.data.image_files import several
from eosvos.errors import UserError
from eosvos.evaluation.metrics import aggregate
from eosvos.evaluation.metrics.region_contour import ends_of
from eosvos.evaluation.metrics.temporal_stability import UNSTABLE
from eosvos.evaluation.results import Results, differences, load, to_csv
from eosvos.files import atomic, write_text
from eosvos.inference.overlay import plain_ticks, subplots

_FIGURES = ("J&F", "J", "J recall", "J decay", "F", "F recall", "F decay")
_SPEED = ("fps", "fps w/o tuning", "s", "MiB")


def show(results: Results, *, file: IO[str] | None = None) -> None:
    """Print a run: a line per sequence (means over its objects) and one for all (means over all objects); what is known
    of groups of objects; and whatever a reader should beware of."""
    file = file or sys.stdout
    everything, rows = results.summary, []
    further = ("T-Mean",) if "T-Mean" in everything else ()
    for result in results.sequences:
        one = Results(results.out, results.fingerprint, results.seed, (result,)).summary
        rows.append([result.name, *_figures(one, further), result.frames, *_speed(one)])
    frames = sum(result.frames for result in results.sequences)
    total = [f"all ({everything['sequences']}, {everything['objects']} objects)", *_figures(everything, further)]
    rows.append([*total, frames, *_speed(everything)])
    header = ["sequence", *_FIGURES, *("T" for _ in further), "frames", *_SPEED]
    if math.isnan(everything["fps"]):  # masks of others, and nobody took the time
        header, rows = header[: -len(_SPEED)], [row[: -len(_SPEED)] for row in rows]
    print(table(header, rows, total=True), file=file)
    for line in _remarks(results):
        print(line, file=file)
    for name, found in results.tables().items():
        if found and name != "over_time":
            print("\n" + table([_heading(key) for key in found[0]], [list(row.values()) for row in found]), file=file)
    if not all(math.isnan(everything.get(name, math.nan)) for name in aggregate.YOUTUBE_VOS):
        words = [f"{name} {_cell(everything[name])}" for name in aggregate.YOUTUBE_VOS]
        print("\n" + "   ".join(words), file=file)


def _remarks(results: Results) -> list[str]:
    """By which protocol, what is not measured, and what was predicted that does not exist."""
    lines = []
    unmeasured = [result.name for result in results.sequences if not result.scored]
    if unmeasured:
        ends = any(ends_of(r.protocol) == "skip" for r in results.sequences)
        beyond = " (the first and the last one do not count; protocol=youtube-vos counts all but the given)" * ends
        lines.append(f"not measured, for want of annotated frames{beyond}: {several(unmeasured)}")
    never = [f"{r.name} {i}" for r in results.sequences if r.scored for i in r.region if i not in r.objects]
    if never:
        lines.append(f"not measured, as no frame counts for them by this protocol: {', '.join(never)}")
    unstable = [r.name for r in results.sequences if "T" in r.more and r.name in UNSTABLE]
    if unstable:
        lines.append(
            f"T is over the other sequences, as DAVIS has it: the shape changes by itself in {several(unstable)}"
        )
    lines.append(f"protocol: {results.summary['protocol']}")
    for result in results.sequences:
        if result.strange:
            counts = ", ".join(f"{i} in {n} of {len(result.scored)} frames" for i, n in sorted(result.strange.items()))
            hint = "; binary=true takes them as parts of the one object" * (
                result.seconds is None and len(result.region) == 1
            )
            lines.append(f"beware: {result.name} has predicted ids that are no object: {counts}{hint}")
    for key, whose in (("truth", "of the data set"), ("masks", "of the results")):
        found = {result.name: result.shared[key] for result in results.sequences if key in result.shared}
        if found:
            frames, pixels = (sum(counted) for counted in zip(*found.values(), strict=True))
            lines.append(
                f"beware: masks {whose} overlap in {frames} frames ({pixels} pixels) of {several(list(found))}; the"
                " smaller object has the pixels, so that figures are not those of each object's files by themselves"
            )
    return lines


def compare(
    runs: Sequence[str | Path],
    out: str | Path,
    *,
    labels: Sequence[str] | None = None,
    file: IO[str] | None = None,
) -> list[dict[str, Any]]:
    """One table over runs: printed, `out`/comparison.csv, and quality against time as `out`/comparison.png, if the time
    of any is known.

    `runs`: folders of finished runs. `labels`: one each; by default the settings in which the runs differ. Returns the
    rows of the table. Raises UserError where a folder holds no run.
    """
    out = Path(out)
    if not runs:
        raise UserError("no runs to compare; give the folders that evaluations wrote")
    found = [load(run) for run in runs]
    names = list(labels) if labels is not None else label(found)
    rows = [{"run": name, **results.summary} for name, results in zip(names, found, strict=True)]
    cells = [[row["run"], *_figures(row), *_speed(row)] for row in rows]
    print(table(["run", *_FIGURES, *_SPEED], cells), file=file or sys.stdout)
    measured = [{(result.name, i) for result in results.sequences for i in result.objects} for results in found]
    if any(objects != measured[0] for objects in measured):
        print("beware: these runs are not over the same objects; their means do not compare", file=file or sys.stdout)
    if len({row["protocol"] for row in rows}) > 1:
        print("beware: these runs are measured by different protocols", file=file or sys.stdout)
    write_text(out / "comparison.csv", to_csv(rows))
    timed = [row for row in rows if math.isfinite(row["J-Mean"] + row["fps"])]
    if timed:
        _plot(timed, out / "comparison.png")
    else:  # of an earlier comparison
        (out / "comparison.png").unlink(missing_ok=True)
    return rows


def label(runs: Sequence[Results]) -> list[str]:
    """A name for each run: its method, or whose masks were scored; where that does not tell them apart, the settings of
    its own in which they differ, hashes only where nothing else does."""
    settings: list[dict[str, Any]] = [{**results.fingerprint, "seed": results.seed} for results in runs]
    words = [_made_by(one) for one in settings]
    if all(words) and len(set(words)) == len(words):
        return words
    keys = dict.fromkeys(key for one in settings[1:] for key in differences(settings[0], one))
    keys = {key: None for key in keys if not _nested(key, settings)}
    plain = [key for key in keys if "hash" not in key]
    for shown in (plain, list(keys)):
        parts = [[(key, _look_up(one, key)) for key in shown] for one in settings]
        names = [", ".join(f"{key}={_short(value)}" for key, value in of if value != "nothing") for of in parts]
        if all(names) and len(set(names)) == len(names):
            return names
    folders = [results.out.name for results in runs]
    return folders if len(set(folders)) == len(folders) else [str(results.out) for results in runs]


def _made_by(settings: dict[str, Any]) -> str:
    """The method of a run, or the name of the folder whose masks it measured."""
    if isinstance(settings.get("method"), str):
        return settings["method"]
    masks = [part for part in Path(settings.get("results", "")).parts if part not in ("masks", "Annotations", "480p")]
    return Path(masks[-1]).stem if masks else ""


def table(header: Sequence[str], rows: Sequence[Sequence[Any]], *, total: bool = False) -> str:
    """Aligned plain text; the last row under a line of its own if `total`."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(row[k]) for row in [list(header), *cells]) for k in range(len(header))]

    def line(row: Sequence[str]) -> str:
        return "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])

    rule = "  ".join("-" * width for width in widths)
    lines = [line(list(header)), rule, *(line(row) for row in cells)]
    if total:
        lines.insert(-1, rule)
    return "\n".join(lines)


def _figures(row: dict[str, Any], further: Sequence[str] = ()) -> list[str]:
    return [_cell(row.get(key, math.nan)) for key in (*aggregate.FIGURES, *further)]


def _speed(row: dict[str, Any]) -> list[str]:
    speeds = ["-" if math.isnan(row[key]) else f"{row[key]:.2f}" for key in ("fps", "fps-without-fine-tuning")]
    memory = row["peak_cuda_MiB"] or row["peak_MiB"]
    seconds = "-" if math.isnan(row["seconds"]) else f"{row['seconds']:.1f}"
    return [*speeds, seconds, "-" if memory is None else f"{memory:.0f}"]


def _heading(key: str) -> str:
    return key.replace("-Mean", "").replace("-", " ")


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.3f}"
    return str(value)


def _short(value: Any) -> str:
    text = {True: "true", False: "false"}.get(value) if isinstance(value, bool) else str(value)
    assert text is not None
    return text if len(text) <= 24 else f"...{text[-21:]}"


def _look_up(settings: dict[str, Any], key: str) -> Any:
    value: Any = settings
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            return "nothing"
        value = value[part]
    return value


def _nested(key: str, settings: list[dict[str, Any]]) -> bool:
    return any(isinstance(_look_up(one, key), dict) for one in settings)


def _plot(rows: list[dict[str, Any]], out: Path) -> None:
    """J against frames per second; runs that nobody beats in both are joined."""
    points = sorted((row["fps"], row["J-Mean"], row["run"]) for row in rows)
    figure, ((axis,),) = subplots(figsize=(6.4, 4.2))
    front = [p for p in points if not any(q[0] >= p[0] and q[1] >= p[1] and q[:2] != p[:2] for q in points)]
    if len(front) > 1:
        axis.plot([p[0] for p in front], [p[1] for p in front], color="0.8", linewidth=1, zorder=1)
    axis.scatter([p[0] for p in points], [p[1] for p in points], zorder=2)
    for k, (x, y, name) in enumerate(points):
        above = 7 if k % 2 == 0 else -13  # neighbours on either side, so that their names do not cover each other
        axis.annotate(name, (x, y), textcoords="offset points", xytext=(0, above), ha="center", fontsize=8)
    axis.set(xscale="log", xlabel="frames per second, fine-tuning included", ylabel="J (mean over objects)")
    plain_ticks(axis.xaxis)
    axis.margins(x=0.18, y=0.16)
    axis.grid(alpha=0.25, which="both")
    with atomic(out) as path:
        figure.savefig(path, dpi=120, format="png")
