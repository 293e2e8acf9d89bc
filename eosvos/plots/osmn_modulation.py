"""Plots of OSMN's modulation parameters (Yang et al., CVPR 2018, section 4.2, Figures 5, 6 and 7)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eosvos.plots.style import save, subplots

GROUPS = 10  # colours of their own; further groups are grey


def embedding(gammas: np.ndarray) -> np.ndarray:
    """Embed objects in the plane by their parameters, preserving distances as well as possible.

    Classical multidimensional scaling of Euclidean distances, as in Figure 5: the projection on the first two principal
    components.

    Args:
        gammas: (N, C).

    Returns:
        float64 (N, 2).
    """
    centred = gammas.astype(np.float64) - gammas.mean(0)
    left, lengths, _ = np.linalg.svd(centred, full_matrices=False)
    places = (left * lengths)[:, :2]
    return np.pad(places, ((0, 0), (0, 2 - places.shape[1])))


def neighbour_agreement(gammas: np.ndarray, groups: Sequence[str]) -> tuple[float, float]:
    """Measure how often an object's nearest neighbour is of its group.

    Args:
        gammas: (N, C).
        groups: name of each object's group.

    Returns:
        The share for the nearest neighbour and the expected share for a random one, over the objects whose group has
        another member; nan without any.
    """
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
    """Draw Figure 5: the objects' visual guides at their places in the embedding, framed in the colour of their group.

    Args:
        gammas: (N, C).
        guides: uint8 (N, side, side, 3).
        groups: name of each object's group.
        out: the file, .png, .pdf or .svg, which is returned.
    """
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
            OffsetImage(guide, zoom=30 / guide.shape[0]),
            tuple(place),
            pad=0.12,
            bboxprops={"edgecolor": colours.get(name, "grey"), "linewidth": 2},
        )
        axis.add_artist(box)
    if 1 < len(counts) <= GROUPS:
        for name in named:
            axis.scatter([], [], marker="s", color=colours[name], label=name)
        axis.legend(fontsize=8, frameon=False)
    axis.set(title=f"visual modulator: gamma of {len(groups)} objects", xlabel="first principal component")
    axis.set_ylabel("second")
    axis.margins(0.1)
    return save(figure, out, dpi=120)


def draw_spread(values: Sequence[np.ndarray], layers: Sequence[str], title: str, out: Path) -> Path:
    """Draw Figures 6 and 7: a histogram of each layer's channel values, with its mean, on the same scale.

    Args:
        values: per layer, (C,) numbers >= 0.
        layers: name of each layer.
        title: of the plot.
        out: the file, .png, .pdf or .svg, which is returned.
    """
    top = max(float(v.max()) for v in values) or 1.0
    figure, axes = subplots(len(values), figsize=(6, 0.8 * len(values) + 1), sharex=True)
    for axis, layer, layer_values in zip(axes[:, 0], layers, values, strict=True):
        axis.hist(layer_values, bins=40, range=(0, top), weights=np.full(len(layer_values), 1 / len(layer_values)))
        axis.axvline(float(layer_values.mean()), color="black", linewidth=1, linestyle=":")
        axis.set_ylabel(layer, rotation=0, ha="right", va="center", fontsize=9)
        axis.set_yticks([])
        for side in ("top", "left", "right"):
            axis.spines[side].set_visible(False)
    figure.suptitle(title, fontsize=11)
    return save(figure, out, dpi=120)
