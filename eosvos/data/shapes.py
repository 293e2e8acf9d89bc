"""Articulated figures of the synthetic videos: people, animals, vehicles, bicycles, boats, furniture, loose compounds.

A figure is a tree of flat parts (outline polygons in the frame of their joint, x along the limb, y down), each with its
own surface and swing, so that its silhouette is rarely convex and changes over time. Units are arbitrary.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from eosvos.data.textures import blob


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
    decals: list[tuple[np.ndarray, int]] = field(default_factory=list)  # painted on it: polygon, surface (its second colour)


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
    return np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]], float)


def ring(radius: float, count: int = 26) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return radius * np.stack([np.cos(angle), np.sin(angle)], 1)


def person(rng: np.random.Generator, at: tuple[float, float] = (0, 0), seated: bool = False) -> list[Part]:
    """Torso, head, arms and legs of two pieces, hair, sometimes a hat, a bag, a skirt or a stick."""
    stout, gait = rng.uniform(0.75, 1.5), rng.uniform(0.1, 0.7)
    torso = limb(rng, 0.3, 0.07 * stout, 0.085 * stout, rng.normal(0, 0.08))
    lean = rng.normal(0, 0.2) + 0.35 * seated
    parts = [Part(torso, -1, at, -np.pi / 2 + lean, 0.06, rng.uniform(0, 6), 1, surface=0, depth=0)]
    parts.append(Part(blob(rng, 0.08, 0, 0.075, 0.06, 0.04), 0, (0.31, 0), rng.normal(0, 0.15), 0.1, surface=2, depth=1))
    cut = blob(rng, 0.11, -0.01, rng.uniform(0.03, 0.07), rng.uniform(0.05, 0.08), 0.1)
    parts.append(Part(cut, 1, (0.005, rng.normal(0, 0.02)), surface=3, depth=1.1))
    phase = rng.uniform(0, 6)
    for side in (-1, 1):
        raised = rng.choice([0, rng.uniform(0.3, 2.4)], p=[0.7, 0.3])
        arm = np.pi - (0.9 * seated + raised) * rng.choice([1, 1, -1])
        parts.append(Part(limb(rng, 0.17, 0.035, 0.027), 0, (0.27, 0.0), arm, gait, phase + np.pi * (side > 0), surface=0,
                          depth=2 * side))  # fmt: skip
        parts.append(Part(limb(rng, 0.16, 0.026, 0.02), len(parts) - 1, (0.17, 0), -rng.uniform(0, 1.2), 0.3 * gait, phase,
                          surface=int(rng.choice([0, 2])), depth=2 * side + 0.1))  # fmt: skip
        leg = np.pi - lean - 1.2 * seated * (1 + 0.2 * side)
        parts.append(Part(limb(rng, 0.25, 0.058 * stout**0.5, 0.042), 0, (0.0, 0.0), leg, gait, phase + np.pi * (side < 0),
                          surface=1, depth=1.5 * side - 0.3))  # fmt: skip
        knee = len(parts) - 1
        parts.append(Part(limb(rng, 0.25, 0.04, 0.028), knee, (0.25, 0), 0.15 + 1.2 * seated, 0.5 * gait, phase + side,
                          surface=int(rng.choice([1, 1, 2])), depth=1.5 * side - 0.2))  # fmt: skip
        parts.append(Part(limb(rng, 0.08, 0.028, 0.02), knee + 1, (0.25, 0.0), -1.4, 0.2, phase, surface=3,
                          depth=1.5 * side - 0.1))  # fmt: skip
    if rng.random() < 0.3:  # rucksack
        parts.append(Part(blob(rng, 0.17, -0.09, 0.12, 0.06, 0.08), 0, (0, 0), surface=3, depth=0.5))
    if rng.random() < 0.25 and not seated:  # skirt or coat
        skirt = np.array([[0.05, -0.08], [0.05, 0.08], [-0.25, rng.uniform(0.1, 0.2)], [-0.27, 0], [-0.25, -0.15]])
        parts.append(Part(skirt, 0, (0, 0), -lean, 0.1, surface=1, depth=2.5))
    if rng.random() < 0.12:
        parts.append(Part(limb(rng, rng.uniform(0.3, 0.6), 0.012, 0.012), 4, (0.15, 0), rng.normal(0, 1), surface=3, depth=3))
    return parts


def beast(rng: np.random.Generator) -> list[Part]:
    """A four-legged animal, from dachshund to giraffe."""
    long, fat, tall = rng.uniform(0.25, 0.42), rng.uniform(0.1, 0.22), rng.uniform(0.12, 0.34)
    gait, phase, thin = rng.uniform(0.1, 0.6), rng.uniform(0, 6), rng.uniform(0.02, 0.05)
    parts = [Part(blob(rng, 0, 0, long, fat, 0.08), swing=0.05, phase=phase, surface=0)]
    for i, x in enumerate((-0.72, -0.6, 0.6, 0.72)):
        step = phase + (0, np.pi, np.pi * 0.8, 0.2)[i]
        near_side = i in (0, 3)
        parts.append(Part(limb(rng, tall * 0.55, thin * 1.8, thin), 0, (x * long, 0.45 * fat), np.pi / 2, gait, step,
                          surface=0 if near_side else 1, depth=1 if near_side else -1))  # fmt: skip
        bend = 0.3 if x < 0 else -0.1
        parts.append(Part(limb(rng, tall * 0.6, thin, thin * 0.7), len(parts) - 1, (tall * 0.55, 0), bend, gait * 0.7,
                          step + 1, surface=int(rng.choice([0, 1, 2])), depth=1.1 if near_side else -0.9))  # fmt: skip
    reach = rng.uniform(0.08, 0.35)
    parts.append(Part(limb(rng, reach, fat * 0.65, fat * 0.38), 0, (0.78 * long, -0.25 * fat), -rng.uniform(0.1, 1.2), 0.15,
                      phase, surface=int(rng.choice([0, 0, 1])), depth=0.5))  # fmt: skip
    neck, head = len(parts) - 1, rng.uniform(0.07, 0.13)
    tilt = rng.uniform(0.2, 1.2)
    parts.append(Part(limb(rng, head * 1.4, head * 0.65, head * 0.35), neck, (reach, 0), tilt, 0.15, phase + 2, surface=0,
                      depth=0.6))  # fmt: skip
    for side in (0.6, 0.8):
        parts.append(Part(blob(rng, 0.04, 0, 0.06 * rng.uniform(0.5, 1.5), 0.022, 0.1), len(parts) - 1 - (side > 0.7),
                          (0, -head * 0.5), -1.8 * side, 0.2, surface=1, depth=side))  # fmt: skip
    parts.append(Part(limb(rng, rng.uniform(0.1, 0.35), 0.025, 0.012, rng.normal(0, 0.3)), 0, (-0.95 * long, -0.3 * fat),
                      np.pi + rng.uniform(-1.2, 0.6), 0.4, phase, 2, surface=1, depth=-0.5))  # fmt: skip
    if rng.random() < 0.15:  # a rider
        graft(parts, person(rng, (0, -fat * 0.7), True), 2.2)
    return parts


def bird(rng: np.random.Generator) -> list[Part]:
    """Body, neck and head, tail, two wings that beat or rest, thin legs."""
    phase, neck = rng.uniform(0, 6), rng.uniform(0.05, 0.4)
    flies = rng.random() < 0.5
    parts = [Part(blob(rng, 0, 0, 0.2, rng.uniform(0.08, 0.14), 0.06), surface=0)]
    parts.append(Part(limb(rng, neck, 0.055, 0.025, rng.normal(0, 0.25)), 0, (0.15, -0.04), -rng.uniform(0.1, 1.5), 0.25, phase))
    parts.append(Part(blob(rng, 0.03, 0, 0.055, 0.04, 0.05), 1, (neck, 0), rng.uniform(0, 1), 0.2, phase, surface=1, depth=0.1))
    beak = np.array([[0.07, -0.015], [0.14, 0.01], [0.07, 0.02]])
    parts.append(Part(beak, 2, surface=3, depth=0.2))
    parts.append(Part(limb(rng, 0.16, 0.03, 0.06), 0, (-0.17, 0), np.pi + rng.normal(0, 0.3), 0.1, surface=1, depth=-0.1))
    for side in (-1, 1):
        span = rng.uniform(0.15, 0.22) if not flies else rng.uniform(0.3, 0.5)
        wing = np.array([[0.06, -0.02], [0.02, -0.04], [-0.05, span * 0.6], [-0.12, span], [-0.16, span * 0.7], [-0.15, 0.0]])
        rest = rng.uniform(1.0, 2.2) if not flies else np.pi * 0.9 * (side > 0) + 0.4
        parts.append(Part(wing, 0, (0.03, -0.03), rest, 0.8 if flies else 0.08, phase, 2, surface=1 + (side > 0), depth=side))
        if not flies or rng.random() < 0.3:
            parts.append(Part(limb(rng, rng.uniform(0.1, 0.3), 0.012, 0.01), 0, (0.02 * side, 0.07), np.pi / 2, 0.3,
                              phase + side, surface=3, depth=-0.5))  # fmt: skip
    return parts


def _wheel(rng: np.random.Generator, x: float, y: float, radius: float, hollow: bool, surface: int) -> list[Part]:
    spin = rng.uniform(0.2, 0.6)
    hole = ring(radius * rng.uniform(0.78, 0.88)) if hollow else None
    wheel = Part(ring(radius), -1, (x, y), spin=spin, surface=surface, depth=1, hole=hole)
    if hollow:
        spokes = [Part(box(-radius, -0.05 * radius, 2 * radius, 0.07 * radius), -1, (x, y), k, spin=spin, surface=surface,
                       depth=0.9) for k in (0, 1.05, 2.1)]  # fmt: skip
        return [wheel, *spokes[: rng.integers(0, 4)]]
    wheel.decals = [(ring(radius * 0.55), 4), (box(-radius * 0.5, -0.08 * radius, radius, 0.16 * radius), 3)]
    return [wheel]


def car(rng: np.random.Generator) -> list[Part]:
    """Car, van, bus or lorry from the side: a profile, windows, wheels, lamps."""
    long, high = rng.uniform(0.35, 0.6), rng.uniform(0.1, 0.3)
    a, b, roof = rng.uniform(-0.95, -0.3), rng.uniform(0.2, 0.95), rng.uniform(0.05, 0.16)
    rake = rng.uniform(0.02, 0.25)
    body = np.array([[-1, 0.8], [-1, -0.1], [-0.96, -0.3], [a - rake, -0.4], [a, -0.5], [b, -0.5], [b + rake, -0.35], [0.98, -0.1], [1, 0.8]])
    body = body * (long, high)
    body[3:7, 1] -= np.array([0, roof, roof, 0])
    top = -0.5 * high - roof
    windows = []
    for i in range(int(rng.integers(1, 6))):
        count = rng.integers(2, 6)
        x0 = a * long + (b - a) * long * (i % count) / count
        windows.append((box(x0 + 0.01, top + 0.15 * roof, (b - a) * long / count * 0.85, 0.7 * roof + 0.1 * high), 4))
    stripe = (box(-long, rng.uniform(-0.3, 0.4) * high, 2 * long, rng.uniform(0.05, 0.35) * high), 2)
    lamps = [(box(0.9 * long, 0.0, 0.1 * long, 0.25 * high), 5), (box(-long, 0, 0.06 * long, 0.3 * high), 3)]
    parts = [Part(body, surface=0, decals=windows + [stripe] * (rng.random() < 0.5) + lamps, swing=0.01, rate=2)]
    radius = rng.uniform(0.06, 0.11)
    for x in (-0.62, 0.62):
        parts += _wheel(rng, x * long, 0.75 * high, radius, False, 3)
    if rng.random() < 0.3:
        parts.append(Part(box(a * long, top - 0.05, (b - a) * long * rng.uniform(0.3, 1), 0.06), surface=1, depth=-0.5))
    return parts


def bike(rng: np.random.Generator) -> list[Part]:
    """Bicycle, motorbike or scooter, mostly with a rider."""
    heavy, base, radius = rng.random() < 0.4, rng.uniform(0.2, 0.3), rng.uniform(0.12, 0.18)
    parts = _wheel(rng, -base, 0.25, radius, not heavy or rng.random() < 0.5, 5) + _wheel(rng, base, 0.25, radius, not heavy, 5)
    thick = 0.014 if not heavy else 0.03
    for start, end in (((-base, 0.25), (-0.08, 0.0)), ((-0.08, 0.0), (base * 0.75, -0.02)), ((base * 0.7, -0.12), (base, 0.25)),
                       ((0, 0.24), (base * 0.75, -0.02)), ((0, 0.24), (-0.1, -0.05))):  # fmt: skip
        dx, dy = end[0] - start[0], end[1] - start[1]
        parts.append(Part(limb(rng, float(np.hypot(dx, dy)), thick, thick), -1, start, float(np.arctan2(dy, dx)), surface=4, depth=1.2))
    if heavy:
        parts.append(Part(blob(rng, 0.02, 0.12, 0.2, 0.11, 0.12), surface=4, depth=1.3))
    if rng.random() < 0.85:
        graft(parts, person(rng, (-0.08, -0.08), True), 1.5)
    return parts


def graft(parts: list[Part], others: list[Part], depth: float) -> None:
    """Append another figure's parts, its root fixed to this figure."""
    shift = len(parts)
    for part in others:
        part.parent += shift if part.parent >= 0 else 0
        part.depth += depth
    parts += others


def boat(rng: np.random.Generator) -> list[Part]:
    """Hull, cabin, mast, sail, sometimes a person."""
    hull = np.array([[-0.4, -0.05], [0.45, -rng.uniform(0.06, 0.15)], [0.32, 0.1], [-0.35, 0.1]])
    parts = [Part(hull, surface=0, swing=0.05, decals=[(box(-0.5, 0.02, 1.1, 0.03), 2)])]
    if rng.random() < 0.7:
        w, h = rng.uniform(0.1, 0.4), rng.uniform(0.06, 0.2)
        parts.append(Part(box(rng.uniform(-0.35, 0), -0.04 - h, w, h), 0, surface=1, depth=-0.1, decals=[(box(-0.3, -h, 0.6, h * 0.4), 4)]))
    if rng.random() < 0.6:
        mast, x = rng.uniform(0.2, 0.6), rng.uniform(-0.2, 0.2)
        parts.append(Part(limb(rng, mast, 0.012, 0.01), 0, (x, -0.03), -np.pi / 2, surface=3, depth=-0.2))
        if rng.random() < 0.6:
            sail = np.array([[x + 0.01, -mast], [x + rng.uniform(0.1, 0.3), -0.08], [x + 0.01, -0.07]])
            parts.append(Part(sail, 0, surface=2, depth=0.1))
    if rng.random() < 0.4:
        graft(parts, person(rng, (rng.uniform(-0.2, 0.2), -0.05), True), -1.5)
    return parts


def furniture(rng: np.random.Generator) -> list[Part]:
    """Boards and posts: chair, trolley, pram, sign, gate. The gaps show the background."""
    w, h = rng.uniform(0.2, 0.45), rng.uniform(0.04, 0.25)
    parts = [Part(box(-w, -h, 2 * w, h), surface=0)]
    for x in np.linspace(-w, w * 0.93, rng.integers(2, 5)):
        parts.append(Part(box(x, 0, 0.07 * w + 0.02, rng.uniform(0.25, 0.35)), surface=1, depth=-1))
    if rng.random() < 0.6:
        parts.append(Part(box(-w, -h - 0.3, rng.uniform(0.05, 2 * w), 0.31), surface=2, angle=rng.normal(0, 0.1), depth=-0.5))
    if rng.random() < 0.5:
        parts += _wheel(rng, -0.7 * w, 0.3, 0.07, False, 3) + _wheel(rng, 0.7 * w, 0.3, 0.07, False, 3)
    if rng.random() < 0.5:
        parts.append(Part(blob(rng, rng.normal(0, 0.15), -h - 0.08, 0.15, 0.12, 0.25), surface=3, depth=0.5, swing=0.1))
    return parts


def compound(rng: np.random.Generator) -> list[Part]:
    """Anything: a rough blob or polygon with lobes, limbs and sometimes a hole."""
    outline = blob(rng, 0, 0, rng.uniform(0.15, 0.35), rng.uniform(0.12, 0.3), rng.uniform(0.05, 0.3), 5, 36)
    if rng.random() < 0.35:
        outline = outline[np.sort(rng.choice(36, rng.integers(4, 9), replace=False))]
    hole = 0.35 * outline * rng.uniform(0.8, 1.6) if rng.random() < 0.15 else None
    parts = [Part(outline, surface=0, hole=hole, swing=0.1)]
    for _ in range(rng.integers(0, 6)):
        parent = int(rng.integers(len(parts)))
        anchor = parts[parent].points[rng.integers(len(parts[parent].points))] * 0.75
        toward = float(np.arctan2(anchor[1], anchor[0])) + rng.normal(0, 0.4)
        if rng.random() < 0.55:
            piece = limb(rng, rng.uniform(0.1, 0.4), rng.uniform(0.02, 0.1), rng.uniform(0.012, 0.06), rng.normal(0, 0.2))
        else:
            piece = blob(rng, rng.uniform(0, 0.1), 0, rng.uniform(0.06, 0.22), rng.uniform(0.05, 0.18), 0.2)
        parts.append(Part(piece, parent, (float(anchor[0]), float(anchor[1])), toward, rng.uniform(0, 0.6), rng.uniform(0, 6),
                          rng.uniform(0.5, 1.5), surface=int(rng.integers(4)), depth=rng.normal()))  # fmt: skip
    return parts


FIGURES = (person, beast, bird, car, bike, boat, furniture, compound)
CHANCES = (0.25, 0.17, 0.07, 0.12, 0.1, 0.05, 0.06, 0.18)


def draw_figure(rng: np.random.Generator) -> tuple[list[Part], str]:
    """A random figure, its parts finely outlined, some of them frayed (fur, leaves, cloth); and the name of its kind."""
    build = FIGURES[rng.choice(len(FIGURES), p=CHANCES)]
    parts = build(rng)
    fray = float(rng.choice([0, rng.uniform(0.004, 0.018)], p=[0.6, 0.4]))
    for part in parts:
        part.points = refine(part.points)
        if fray and len(part.points) > 12:
            part.points = part.points + rng.normal(0, fray, part.points.shape)
    return parts, build.__name__


def refine(points: np.ndarray, step: float = 0.06) -> np.ndarray:
    """Points added along long edges, so that bending the figure bends them too."""
    edges = np.roll(points, -1, axis=0) - points
    counts = np.maximum((np.hypot(edges[:, 0], edges[:, 1]) / step).astype(int), 1)
    along = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(points, counts, axis=0) + np.repeat(edges / counts[:, None], counts, axis=0) * along[:, None]


def area(outlines: list[np.ndarray], resolution: int = 96) -> float:
    """The area of the union of polygons (holes ignored), in their units squared, by rasterizing."""
    points = np.concatenate(outlines)
    low, span = points.min(0), float(np.ptp(points, axis=0).max())
    canvas = np.zeros((resolution, resolution), np.uint8)
    for outline in outlines:
        cv2.fillPoly(canvas, [np.round((outline - low) * ((resolution - 1) / span)).astype(np.int32)], 1)
    return float(canvas.sum()) * (span / (resolution - 1)) ** 2
