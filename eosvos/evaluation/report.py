"""Reports of runs as text."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import IO, Any

from eosvos.data.image_files import several
from eosvos.evaluation.metrics import aggregate
from eosvos.evaluation.metrics.region_contour import ends_of
from eosvos.evaluation.metrics.temporal_stability import UNSTABLE
from eosvos.evaluation.results import Results

METRIC_COLUMNS = ("J&F", "J", "J recall", "J decay", "F", "F recall", "F decay")
SPEED_COLUMNS = ("fps", "fps w/o tuning", "s", "MiB")


def show(results: Results, *, file: IO[str] | None = None) -> None:
    """Print a run: a line per sequence and one for all objects, metrics of groups of objects, and warnings.

    Args:
        results: the run.
        file: where to print to; None: standard output.
    """
    file = file or sys.stdout
    everything, rows = results.summary, []
    further = ("T-Mean",) if "T-Mean" in everything else ()
    for result in results.sequences:
        one = Results(results.out, results.fingerprint, results.seed, (result,)).summary
        rows.append([result.name, *metric_cells(one, further), result.frames, *speed_cells(one)])
    frames = sum(result.frames for result in results.sequences)
    total = [f"all ({everything['sequences']}, {everything['objects']} objects)", *metric_cells(everything, further)]
    rows.append([*total, frames, *speed_cells(everything)])
    header = ["sequence", *METRIC_COLUMNS, *("T" for _ in further), "frames", *SPEED_COLUMNS]
    if math.isnan(everything["fps"]):  # masks of others, and nobody took the time
        header, rows = header[: -len(SPEED_COLUMNS)], [row[: -len(SPEED_COLUMNS)] for row in rows]
    print(table(header, rows, total=True), file=file)
    for line in _remarks(results):
        print(line, file=file)
    for name, table_rows in results.tables().items():
        if table_rows and name != "over_time":
            print(
                "\n" + table([_heading(key) for key in table_rows[0]], [list(row.values()) for row in table_rows]),
                file=file,
            )
    if not all(math.isnan(everything.get(name, math.nan)) for name in aggregate.YOUTUBE_VOS_METRICS):
        words = [f"{name} {_cell(everything[name])}" for name in aggregate.YOUTUBE_VOS_METRICS]
        print("\n" + "   ".join(words), file=file)


def _remarks(results: Results) -> list[str]:
    """Return the protocol and warnings: what is not scored, unknown ids, overlapping masks."""
    lines = []
    unmeasured = [result.name for result in results.sequences if not result.scored]
    if unmeasured:
        ends = any(ends_of(r.protocol) == "skip" for r in results.sequences)
        beyond = " (the first and the last one do not count; protocol=youtube-vos counts all but the given)" * ends
        lines.append(f"not measured, for want of annotated frames{beyond}: {several(unmeasured)}")
    never = [f"{r.name} {i}" for r in results.sequences if r.scored for i in r.region if i not in r.objects]
    if never:
        lines.append(f"not measured, as no frame counts for them by this protocol: {', '.join(never)}")
    unstable = [r.name for r in results.sequences if "T" in r.extra_metrics and r.name in UNSTABLE]
    if unstable:
        lines.append(
            f"T is over the other sequences, as DAVIS has it: the shape changes by itself in {several(unstable)}"
        )
    lines.append(f"protocol: {results.summary['protocol']}")
    for result in results.sequences:
        if result.unknown_ids:
            counts = ", ".join(
                f"{i} in {n} of {len(result.scored)} frames" for i, n in sorted(result.unknown_ids.items())
            )
            hint = "; binary=true takes them as parts of the one object" * (
                result.seconds is None and len(result.region) == 1
            )
            lines.append(f"beware: {result.name} has predicted ids that are no object: {counts}{hint}")
    for key, whose in (("truth", "of the data set"), ("masks", "of the results")):
        overlaps = {result.name: result.overlaps[key] for result in results.sequences if key in result.overlaps}
        if overlaps:
            frames, pixels = (sum(counted) for counted in zip(*overlaps.values(), strict=True))
            lines.append(
                f"beware: masks {whose} overlap in {frames} frames ({pixels} pixels) of {several(list(overlaps))}; the"
                " smaller object has the pixels, so that figures are not those of each object's files by themselves"
            )
    return lines


def table(header: Sequence[str], rows: Sequence[Sequence[Any]], *, total: bool = False) -> str:
    """Format a table as aligned text; `total` draws a line above the last row."""
    # Not by tabulate, which widens a column by two where its heading is the longest cell: too wide for a terminal.
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(row[k]) for row in [list(header), *cells]) for k in range(len(header))]

    def line(row: Sequence[str]) -> str:
        return "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])

    rule = "  ".join("-" * width for width in widths)
    lines = [line(list(header)), rule, *(line(row) for row in cells)]
    if total:
        lines.insert(-1, rule)
    return "\n".join(lines)


def metric_cells(row: dict[str, Any], further: Sequence[str] = ()) -> list[str]:
    return [_cell(row.get(key, math.nan)) for key in (*aggregate.METRICS, *further)]


def speed_cells(row: dict[str, Any]) -> list[str]:
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
