"""Training curves, from the log of a training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from eosvos.errors import UserError
from eosvos.plots.style import plain_ticks, save, subplots


def curves(jsonl: str | Path, out: str | Path) -> Path:
    """Draw losses, J of the validation and the mean learning rate against the iteration.

    Args:
        jsonl: the log, one JSON object per line with `iteration` and any of `loss`, `J`, `rate_mean`, ...
        out: the file, .png, .pdf or .svg, which is returned.

    Raises:
        UserError: if the log is missing, damaged before its last line, or has nothing to draw.
    """
    jsonl, out = Path(jsonl), Path(out)
    lines = read_log(jsonl)
    panels: list[tuple[str, Callable[[str], bool], bool]] = [
        ("loss", lambda key: "loss" in key, False),
        ("J", lambda key: key == "J" or key.startswith(("J_", "J/", "J@")), False),
        ("learning rate", lambda key: key == "rate_mean" or key.startswith("rate_mean"), True),
    ]
    values = {
        key: series(lines, key) for key in dict.fromkeys(key for line in lines for key in line) if key != "iteration"
    }
    shown = [(title, [key for key in values if wanted(key) and values[key][0]], log) for title, wanted, log in panels]
    shown = [panel for panel in shown if panel[1]]
    if not shown:
        raise UserError(f"{jsonl}: no line has an iteration with a loss, J or rate_mean; give the log of a training")
    figure, axes = subplots(1, len(shown), figsize=(4.6 * len(shown), 3.4))
    for axis, (title, keys, log) in zip(axes[0], shown, strict=True):
        for key in keys:
            x, y = values[key]
            marker = "o" if len(x) <= 40 else None
            (line,) = axis.plot(x, y, alpha=0.3 if len(x) > 100 else 1, linewidth=1.2, marker=marker, markersize=3)
            if len(x) > 100:  # a running mean is what the eye can follow
                axis.plot(x, _smooth(y), color=line.get_color(), label=key)
            else:
                line.set_label(key)
        axis.set(title=title, xlabel="iteration")
        if log and all(value > 0 for key in keys for value in values[key][1]):
            axis.set_yscale("log")
            plain_ticks(axis.yaxis)
        if len(keys) > 1:
            axis.legend(fontsize=8, frameon=False)
        axis.grid(alpha=0.25)
    return save(figure, out, dpi=120)


def read_log(path: Path) -> list[dict]:
    """Read the lines of a log that tell an iteration. Raises UserError if it is missing, or damaged before its end."""
    try:
        text = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UserError(f"{path}: this log cannot be read ({error.strerror}); give the log of a training") from error
    lines = []
    for number, line in enumerate(text, 1):
        try:
            content = json.loads(line)
            if isinstance(content, dict) and "iteration" in content:
                lines.append(content)
        except ValueError as error:
            if number < len(text):  # the last line may be in the making
                raise UserError(f"{path}: line {number} is no JSON; give the log of a training") from error
    return lines


def series(lines: list[dict], key: str) -> tuple[list[float], list[float]]:
    """Return the iterations and values of a key; of a repeated iteration, as in a resumed training, the last one."""
    values = {}
    for line in lines:
        value = line.get(key)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and np.isfinite(value):
            values[float(line["iteration"])] = float(value)
    return sorted(values), [values[x] for x in sorted(values)]


def _smooth(values: list[float]) -> np.ndarray:
    half = max(1, len(values) // 40)
    padded = np.pad(values, half, mode="edge")
    return np.convolve(padded, np.ones(2 * half + 1) / (2 * half + 1), mode="valid")
