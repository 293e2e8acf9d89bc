"""Plots of learned learning rates: per layer of a learner, and per part of the network over a training."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from eosvos.errors import UserError
from eosvos.learners import path_of
from eosvos.meta.checkpoint import LAST, LOG
from eosvos.meta.learner import Learner
from eosvos.plots.style import COLOURS, canvas, plain_ticks, readable
from eosvos.plots.training_curves import read_log, series

_NAMED = 40  # layers whose names are written; of more, those of the network's parts
_WEIGHTS, _OTHERS = COLOURS[0], COLOURS[1]


class LearnedRates(NamedTuple):
    """The learning rates of a learner, and the log of its training if it was given by the training's folder."""

    path: Path
    rates: dict[str, np.ndarray]  # by parameter name
    log: Path | None


def read_rates(given: str) -> LearnedRates:
    """Read the rates of a learner.

    Args:
        given: path of a learner, name of one that ships, or folder of a training, of which its last learner is read.

    Raises:
        UserError: if there is no such learner.
    """
    path, log = path_of(given, "learners"), None
    if path.is_dir():
        path, log = path / LAST, path / LOG
    return LearnedRates(path, {name: rate.numpy() for name, rate in Learner.load(path).rates.items()}, log)


def per_layer(rates: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Group learning rates by layer: layer -> "weight", "bias", ... -> rates (N,), sorted by name, 2 before 10."""
    layers: dict[str, dict[str, np.ndarray]] = {}
    for name, values in sorted(rates.items(), key=lambda item: _natural(item[0])):
        layer, _, kind = name.rpartition(".")
        layers.setdefault(layer, {})[kind] = np.asarray(values, np.float64).ravel()
    return layers


def draw_rates(rates: Mapping[str, np.ndarray], title: str, out: Path) -> None:
    """Draw the learning rates of every layer: their mean as a dot, the 5th to the 95th percentile as a line.

    Args:
        rates: learning rates >= 0 by parameter name, of any shape.
        title: of the plot.
        out: the file, .png, .pdf or .svg.

    Raises:
        UserError: if there are none.
    """
    layers = per_layer(rates)
    if not layers:
        raise UserError(f"{title}: has no learning rates to draw; give a learner")
    every = np.concatenate([values for kinds in layers.values() for values in kinds.values()])
    notes = [f"{every.size} rates: mean {every.mean():.3g}, largest {every.max():.3g}, {(every == 0).mean():.1%} are 0"]
    with canvas(out, notes, figsize=(min(22.0, 4 + 0.16 * len(layers)), 4.6)) as (_, axes):
        axis = axes[0, 0]
        shown: set[str] = set()
        for x, kinds in enumerate(layers.values()):
            for kind, values in kinds.items():
                word = "weights" if kind == "weight" else "biases and others"
                colour = _WEIGHTS if kind == "weight" else _OTHERS
                at = x + (0 if kind == "weight" else 0.3)
                axis.plot([at, at], np.percentile(values, [5, 95]), color=colour, linewidth=1.5, alpha=0.5)
                name = None if word in shown else word
                axis.plot(at, values.mean(), "o", color=colour, markersize=3.5, label=name)
                shown.add(word)
        _name_layers(axis, list(layers))
        axis.set(title=readable(title, 120), ylabel="learning rate", ylim=(0, None), xlim=(-1, len(layers)))
        axis.grid(axis="y", alpha=0.25)
        handles = sorted(axis.get_legend_handles_labels()[0], key=lambda line: line.get_label(), reverse=True)
        axis.legend(handles=handles, fontsize=8, frameon=False)


def draw_training(log: Path, out: Path) -> None:
    """Draw the mean learning rate of each part of the network against the iteration of a training.

    Args:
        log: of the training, one JSON object per line.
        out: the file, .png, .pdf or .svg.

    Raises:
        UserError: if the log is missing or tells of no learning rates.
    """
    lines = read_log(log)
    keys = list(dict.fromkeys(key for line in lines for key in line if key.startswith("rate/") or key == "rate_mean"))
    if not keys:
        raise UserError(f"{log}: tells of no learning rates; give the folder of a training by eosvos.meta_train")
    with canvas(out, [], figsize=(8, 4.6)) as (_, axes):
        axis, positive = axes[0, 0], True
        for k, key in enumerate(keys):
            x, y = series(lines, key)
            if not x:
                continue
            whole = key == "rate_mean"
            name = "all" if whole else key.removeprefix("rate/")
            style = {"color": "black", "linewidth": 2.4} if whole else {"color": f"C{k % 10}", "linewidth": 1.2}
            axis.plot(x, y, label=readable(name, 60), marker="o" if len(x) <= 40 else None, markersize=3, **style)
            positive = positive and min(y) > 0
        axis.set(xlabel="iteration", ylabel="mean learning rate")
        if positive:
            axis.set_yscale("log")
            plain_ticks(axis.yaxis)
        axis.grid(alpha=0.25)
        axis.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _name_layers(axis, layers: list[str]) -> None:
    """Write the layers' names below the axis or, of many layers, those of the parts that begin there."""
    if len(layers) <= _NAMED:
        ticks = list(range(len(layers)))
        names = layers
    else:
        parts = [".".join(layer.split(".")[: 3 if layer.startswith("backbone") else 2]) for layer in layers]
        ticks = [k for k, part in enumerate(parts) if k == 0 or part != parts[k - 1]]
        names = [parts[k] for k in ticks]
        for k in ticks[1:]:
            axis.axvline(k - 0.5, color="0.85", linewidth=0.8, zorder=0)
    shown = [readable(name, 34) for name in names]
    axis.set_xticks(ticks, shown, rotation=60, ha="right", rotation_mode="anchor", fontsize=7)
