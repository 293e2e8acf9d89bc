"""Outlines of the synthetic videos: blobs, limbs, boxes, rings, and the jointed parts that figures are made of.

Units are arbitrary, y points down.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np


@dataclass
class Part:
    """A rigid piece of a figure; it turns about its joint by `angle + swing * sin(rate * t + phase)`."""

    points: np.ndarray  # (N, 2) in the part's frame
    parent: int = -1  # index of an earlier part, -1: the figure itself
    joint: tuple[float, float] = (0.0, 0.0)  # in the parent's frame
    angle: float = 0.0  # radians
    swing: float = 0.0  # radians
    phase: float = 0.0
    rate: float = 1.0  # of the figure's gait; 0 with `spin`: turns all the time
    spin: float = 0.0
    surface: int = 0  # which of the figure's surfaces covers it
    depth: float = 0.0  # painted in ascending order
    hole: np.ndarray | None = None
    decals: list[tuple[np.ndarray, int]] = field(
        default_factory=list
    )  # painted on it: polygon, surface (its second colour)


def rough_outline(rng: np.random.Generator, count: int, roughness: float, modes: int = 6) -> np.ndarray:
    """A smooth random closed radius around 1, (count,): the outline of blobs, bushes and stones."""
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    order = np.arange(2, 2 + modes)
    amplitude = rng.normal(0, roughness, modes) / order**0.7
    return np.maximum(1 + np.cos(angle[:, None] * order + rng.uniform(0, 6.3, modes)) @ amplitude, 0.25)


def blob(
    rng: np.random.Generator,
    x: float,
    y: float,
    rx: float,
    ry: float,
    roughness: float,
    modes: int = 6,
    count: int = 28,
) -> np.ndarray:
    """A closed smooth polygon (count, 2) around (x, y)."""
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    radius = rough_outline(rng, count, roughness, modes)
    return np.stack([x + rx * radius * np.cos(angle), y + ry * radius * np.sin(angle)], 1)


def limb(rng: np.random.Generator, length: float, start: float, end: float, bend: float = 0.0) -> np.ndarray:
    """A capsule from the joint along x, `start` and `end` its half widths, with a slightly uneven outline."""
    u = np.linspace(0, 1, 6)
    width = start + (end - start) * u + (start + end) * 0.12 * rng.normal(0, 1, 6)
    middle = bend * length * np.sin(np.pi * u)
    cap = np.linspace(-np.pi / 2, np.pi / 2, 5)[1:-1]
    tip = np.stack([length + end * np.cos(cap), middle[-1] + end * np.sin(cap)], 1)
    butt = np.stack([-start * np.cos(cap), -start * np.sin(cap)], 1)
    top, low = np.stack([u * length, middle - width], 1), np.stack([u * length, middle + width], 1)
    return np.concatenate([top, tip, low[::-1], butt[::-1] * (1, -1)])


def box(x: float, y: float, w: float, h: float) -> np.ndarray:
    """Return the corners of an axis-parallel box, (4, 2)."""
    return np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]], float)


def ring(radius: float, count: int = 26) -> np.ndarray:
    """Return a regular polygon around the origin, (count, 2)."""
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return radius * np.stack([np.cos(angle), np.sin(angle)], 1)


def graft(parts: list[Part], others: list[Part], depth: float) -> None:
    """Append another figure's parts, its root fixed to this figure."""
    shift = len(parts)
    for part in others:
        part.parent += shift if part.parent >= 0 else 0
        part.depth += depth
    parts += others


def refine(points: np.ndarray, step: float = 0.06) -> np.ndarray:
    """Add points along long edges, so that bending the figure bends them too."""
    edges = np.roll(points, -1, axis=0) - points
    counts = np.maximum((np.hypot(edges[:, 0], edges[:, 1]) / step).astype(int), 1)
    along = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(points, counts, axis=0) + np.repeat(edges / counts[:, None], counts, axis=0) * along[:, None]


def area(outlines: list[np.ndarray], resolution: int = 96) -> float:
    """Rasterize polygons and return the area of their union (holes ignored), in their units squared."""
    points = np.concatenate(outlines)
    low, span = points.min(0), float(np.ptp(points, axis=0).max())
    canvas = np.zeros((resolution, resolution), np.uint8)
    for outline in outlines:
        cv2.fillPoly(canvas, [np.round((outline - low) * ((resolution - 1) / span)).astype(np.int32)], 1)
    return float(canvas.sum()) * (span / (resolution - 1)) ** 2
