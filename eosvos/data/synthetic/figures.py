"""Articulated figures of the synthetic videos: `creatures`, vehicles, bicycles, boats, furniture, loose compounds.

A figure is a tree of flat parts (outline polygons in the frame of their joint, x along the limb, y down), each with its
own surface and swing, so that its silhouette is rarely convex and changes over time. Units are arbitrary.
"""

from __future__ import annotations

import numpy as np

from eosvos.data.synthetic.creatures import beast, bird, person
from eosvos.data.synthetic.shapes import Part, blob, box, graft, limb, refine, ring


def _wheel(rng: np.random.Generator, x: float, y: float, radius: float, hollow: bool, surface: int) -> list[Part]:
    spin = rng.uniform(0.2, 0.6)
    hole = ring(radius * rng.uniform(0.78, 0.88)) if hollow else None
    wheel = Part(ring(radius), -1, (x, y), spin=spin, surface=surface, depth=1, hole=hole)
    if hollow:
        spokes = [
            Part(
                box(-radius, -0.05 * radius, 2 * radius, 0.07 * radius),
                -1,
                (x, y),
                k,
                spin=spin,
                surface=surface,
                depth=0.9,
            )
            for k in (0, 1.05, 2.1)
        ]
        return [wheel, *spokes[: rng.integers(0, 4)]]
    wheel.decals = [(ring(radius * 0.55), 4), (box(-radius * 0.5, -0.08 * radius, radius, 0.16 * radius), 3)]
    return [wheel]


def car(rng: np.random.Generator) -> list[Part]:
    """Car, van, bus or lorry from the side: a profile, windows, wheels, lamps."""
    long, high = rng.uniform(0.35, 0.6), rng.uniform(0.1, 0.3)
    a, b, roof = rng.uniform(-0.95, -0.3), rng.uniform(0.2, 0.95), rng.uniform(0.05, 0.16)
    rake = rng.uniform(0.02, 0.25)
    body = np.array(
        [
            [-1, 0.8],
            [-1, -0.1],
            [-0.96, -0.3],
            [a - rake, -0.4],
            [a, -0.5],
            [b, -0.5],
            [b + rake, -0.35],
            [0.98, -0.1],
            [1, 0.8],
        ]
    )
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
    parts = _wheel(rng, -base, 0.25, radius, not heavy or rng.random() < 0.5, 5) + _wheel(
        rng, base, 0.25, radius, not heavy, 5
    )
    thick = 0.014 if not heavy else 0.03
    for start, end in (
        ((-base, 0.25), (-0.08, 0.0)),
        ((-0.08, 0.0), (base * 0.75, -0.02)),
        ((base * 0.7, -0.12), (base, 0.25)),
        ((0, 0.24), (base * 0.75, -0.02)),
        ((0, 0.24), (-0.1, -0.05)),
    ):
        dx, dy = end[0] - start[0], end[1] - start[1]
        parts.append(
            Part(
                limb(rng, float(np.hypot(dx, dy)), thick, thick),
                -1,
                start,
                float(np.arctan2(dy, dx)),
                surface=4,
                depth=1.2,
            )
        )
    if heavy:
        parts.append(Part(blob(rng, 0.02, 0.12, 0.2, 0.11, 0.12), surface=4, depth=1.3))
    if rng.random() < 0.85:
        graft(parts, person(rng, (-0.08, -0.08), True), 1.5)
    return parts


def boat(rng: np.random.Generator) -> list[Part]:
    """Hull, cabin, mast, sail, sometimes a person."""
    hull = np.array([[-0.4, -0.05], [0.45, -rng.uniform(0.06, 0.15)], [0.32, 0.1], [-0.35, 0.1]])
    parts = [Part(hull, surface=0, swing=0.05, decals=[(box(-0.5, 0.02, 1.1, 0.03), 2)])]
    if rng.random() < 0.7:
        w, h = rng.uniform(0.1, 0.4), rng.uniform(0.06, 0.2)
        parts.append(
            Part(
                box(rng.uniform(-0.35, 0), -0.04 - h, w, h),
                0,
                surface=1,
                depth=-0.1,
                decals=[(box(-0.3, -h, 0.6, h * 0.4), 4)],
            )
        )
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
        parts.append(
            Part(box(-w, -h - 0.3, rng.uniform(0.05, 2 * w), 0.31), surface=2, angle=rng.normal(0, 0.1), depth=-0.5)
        )
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
            piece = limb(
                rng, rng.uniform(0.1, 0.4), rng.uniform(0.02, 0.1), rng.uniform(0.012, 0.06), rng.normal(0, 0.2)
            )
        else:
            piece = blob(rng, rng.uniform(0, 0.1), 0, rng.uniform(0.06, 0.22), rng.uniform(0.05, 0.18), 0.2)
        parts.append(
            Part(
                piece,
                parent,
                (float(anchor[0]), float(anchor[1])),
                toward,
                rng.uniform(0, 0.6),
                rng.uniform(0, 6),
                rng.uniform(0.5, 1.5),
                surface=int(rng.integers(4)),
                depth=rng.normal(),
            )
        )
    return parts


FIGURES = (person, beast, bird, car, bike, boat, furniture, compound)
CHANCES = (0.25, 0.17, 0.07, 0.12, 0.1, 0.05, 0.06, 0.18)


def draw_figure(rng: np.random.Generator) -> tuple[list[Part], str]:
    """A random figure, finely outlined, sometimes frayed (fur, leaves, cloth); and the name of its kind."""
    build = FIGURES[rng.choice(len(FIGURES), p=CHANCES)]
    parts = build(rng)
    fray = float(rng.choice([0, rng.uniform(0.004, 0.018)], p=[0.6, 0.4]))
    for part in parts:
        part.points = refine(part.points)
        if fray and len(part.points) > 12:
            part.points = part.points + rng.normal(0, fray, part.points.shape)
    return parts, build.__name__
