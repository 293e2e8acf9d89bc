"""OSMN's modulation parameters as pictures (Yang et al., CVPR 2018, section 4.2, Figures 5, 6 and 7)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eosvos.files import atomic
from eosvos.plots.style import subplots

GROUPS = 10  # colours of their own; further groups are grey


def embedding(gammas: np.ndarray) -> np.ndarray:
    """Places float64 (N, 2) of N objects by their parameters (N, C), so that distances stay as well as they can.

    Classical multidimensional scaling of Euclidean distances, as in the paper's Figure 5, which is their projection on
    the first two principal components.
    """
    centred = gammas.astype(np.float64) - gammas.mean(0)
    left, lengths, _ = np.linalg.svd(centred, full_matrices=False)
    places = (left * lengths)[:, :2]
    return np.pad(places, ((0, 0), (0, 2 - places.shape[1])))


def neighbour_agreement(gammas: np.ndarray, groups: Sequence[str]) -> tuple[float, float]:
    """(found, chance): how often the nearest of all objects is of the same group, and how often a random one is, over
    the objects whose group has another member."""
    names, others = np.array(groups), len(groups) - 1
    squares = (gammas.astype(np.float64) ** 2).sum(1)
    distances = squares[:, None] + squares - 2 * gammas.astype(np.float64) @ gammas.T
    np.fill_diagonal(distances, np.inf)
    mates = (names[:, None] == names).sum(1) - 1
    judged = mates > 0
    if not judged.any():
        return float("nan"), float("nan")
    same = names[distances.argmin(1)] == names
    return float(same[judged].mean()), float((mates[judged] / others).mean())


def draw_embedding(gammas: np.ndarray, guides: np.ndarray, groups: Sequence[str], out: Path) -> Path:
    """Figure 5: the objects' guides, uint8 (N, side, side, 3), at their places, framed in the colour of their group."""
    from matplotlib import colormaps
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    places = embedding(gammas)
    counts = {name: list(groups).count(name) for name in dict.fromkeys(groups)}
    named = sorted(counts, key=lambda name: -counts[name])[:GROUPS]
    colours = {name: colormaps["tab10"](k) for k, name in enumerate(named)}
    figure, ((axis,),) = subplots(figsize=(9, 7))
    axis.scatter(*places.T, s=0)
    for place, guide, name in zip(places, guides, groups, strict=True):
        box = AnnotationBbox(
            OffsetImage(guide, zoom=30 / guide.shape[0]), tuple(place), pad=0.12,
            bboxprops={"edgecolor": colours.get(name, "grey"), "linewidth": 2},
        )  # fmt: skip
        axis.add_artist(box)
    if 1 < len(counts) <= GROUPS:
        for name in named:
            axis.scatter([], [], marker="s", color=colours[name], label=name)
        axis.legend(fontsize=8, frameon=False)
    axis.set(title=f"visual modulator: gamma of {len(groups)} objects", xlabel="first principal component")
    axis.set_ylabel("second")
    axis.margins(0.1)
    return _saved(figure, out)


def draw_spread(values: Sequence[np.ndarray], layers: Sequence[str], title: str, out: Path) -> Path:
    """Figures 6 and 7: a histogram of the values of each layer's channels, one below another, on the same scale.

    values: per layer, (C,) numbers >= 0. The mean of each is marked.
    """
    top = max(float(v.max()) for v in values) or 1.0
    figure, axes = subplots(len(values), figsize=(6, 0.8 * len(values) + 1), sharex=True)
    for axis, layer, found in zip(axes[:, 0], layers, values, strict=True):
        axis.hist(found, bins=40, range=(0, top), weights=np.full(len(found), 1 / len(found)))
        axis.axvline(float(found.mean()), color="black", linewidth=1, linestyle=":")
        axis.set_ylabel(layer, rotation=0, ha="right", va="center", fontsize=9)
        axis.set_yticks([])
        for side in ("top", "left", "right"):
            axis.spines[side].set_visible(False)
    figure.suptitle(title, fontsize=11)
    return _saved(figure, out)


def _saved(figure, out: Path) -> Path:
    with atomic(out) as path:
        figure.savefig(path, dpi=120, format="png")
    return out
