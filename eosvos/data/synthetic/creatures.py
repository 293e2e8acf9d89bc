"""Figures of the synthetic videos that walk and fly: people, four-legged animals, birds."""

from __future__ import annotations

import numpy as np

from eosvos.data.synthetic.shapes import Part, blob, graft, limb


def person(rng: np.random.Generator, at: tuple[float, float] = (0, 0), seated: bool = False) -> list[Part]:
    """Torso, head, arms and legs of two pieces, hair, sometimes a hat, a bag, a skirt or a stick."""
    stout, gait = rng.uniform(0.75, 1.5), rng.uniform(0.1, 0.7)
    torso = limb(rng, 0.3, 0.07 * stout, 0.085 * stout, rng.normal(0, 0.08))
    lean = rng.normal(0, 0.2) + 0.35 * seated
    parts = [Part(torso, -1, at, -np.pi / 2 + lean, 0.06, rng.uniform(0, 6), 1, surface=0, depth=0)]
    parts.append(
        Part(blob(rng, 0.08, 0, 0.075, 0.06, 0.04), 0, (0.31, 0), rng.normal(0, 0.15), 0.1, surface=2, depth=1)
    )
    cut = blob(rng, 0.11, -0.01, rng.uniform(0.03, 0.07), rng.uniform(0.05, 0.08), 0.1)
    parts.append(Part(cut, 1, (0.005, rng.normal(0, 0.02)), surface=3, depth=1.1))
    phase = rng.uniform(0, 6)
    for side in (-1, 1):
        raised = rng.choice([0, rng.uniform(0.3, 2.4)], p=[0.7, 0.3])
        arm = np.pi - (0.9 * seated + raised) * rng.choice([1, 1, -1])
        parts.append(
            Part(
                limb(rng, 0.17, 0.035, 0.027),
                0,
                (0.27, 0.0),
                arm,
                gait,
                phase + np.pi * (side > 0),
                surface=0,
                depth=2 * side,
            )
        )
        parts.append(
            Part(
                limb(rng, 0.16, 0.026, 0.02),
                len(parts) - 1,
                (0.17, 0),
                -rng.uniform(0, 1.2),
                0.3 * gait,
                phase,
                surface=int(rng.choice([0, 2])),
                depth=2 * side + 0.1,
            )
        )
        leg = np.pi - lean - 1.2 * seated * (1 + 0.2 * side)
        parts.append(
            Part(
                limb(rng, 0.25, 0.058 * stout**0.5, 0.042),
                0,
                (0.0, 0.0),
                leg,
                gait,
                phase + np.pi * (side < 0),
                surface=1,
                depth=1.5 * side - 0.3,
            )
        )
        knee = len(parts) - 1
        parts.append(
            Part(
                limb(rng, 0.25, 0.04, 0.028),
                knee,
                (0.25, 0),
                0.15 + 1.2 * seated,
                0.5 * gait,
                phase + side,
                surface=int(rng.choice([1, 1, 2])),
                depth=1.5 * side - 0.2,
            )
        )
        parts.append(
            Part(
                limb(rng, 0.08, 0.028, 0.02), knee + 1, (0.25, 0.0), -1.4, 0.2, phase, surface=3, depth=1.5 * side - 0.1
            )
        )
    if rng.random() < 0.3:  # rucksack
        parts.append(Part(blob(rng, 0.17, -0.09, 0.12, 0.06, 0.08), 0, (0, 0), surface=3, depth=0.5))
    if rng.random() < 0.25 and not seated:  # skirt or coat
        skirt = np.array([[0.05, -0.08], [0.05, 0.08], [-0.25, rng.uniform(0.1, 0.2)], [-0.27, 0], [-0.25, -0.15]])
        parts.append(Part(skirt, 0, (0, 0), -lean, 0.1, surface=1, depth=2.5))
    if rng.random() < 0.12:
        parts.append(
            Part(limb(rng, rng.uniform(0.3, 0.6), 0.012, 0.012), 4, (0.15, 0), rng.normal(0, 1), surface=3, depth=3)
        )
    return parts


def beast(rng: np.random.Generator) -> list[Part]:
    """A four-legged animal, from dachshund to giraffe."""
    long, fat, tall = rng.uniform(0.25, 0.42), rng.uniform(0.1, 0.22), rng.uniform(0.12, 0.34)
    gait, phase, thin = rng.uniform(0.1, 0.6), rng.uniform(0, 6), rng.uniform(0.02, 0.05)
    parts = [Part(blob(rng, 0, 0, long, fat, 0.08), swing=0.05, phase=phase, surface=0)]
    for i, x in enumerate((-0.72, -0.6, 0.6, 0.72)):
        step = phase + (0, np.pi, np.pi * 0.8, 0.2)[i]
        near_side = i in (0, 3)
        parts.append(
            Part(
                limb(rng, tall * 0.55, thin * 1.8, thin),
                0,
                (x * long, 0.45 * fat),
                np.pi / 2,
                gait,
                step,
                surface=0 if near_side else 1,
                depth=1 if near_side else -1,
            )
        )
        bend = 0.3 if x < 0 else -0.1
        parts.append(
            Part(
                limb(rng, tall * 0.6, thin, thin * 0.7),
                len(parts) - 1,
                (tall * 0.55, 0),
                bend,
                gait * 0.7,
                step + 1,
                surface=int(rng.choice([0, 1, 2])),
                depth=1.1 if near_side else -0.9,
            )
        )
    reach = rng.uniform(0.08, 0.35)
    parts.append(
        Part(
            limb(rng, reach, fat * 0.65, fat * 0.38),
            0,
            (0.78 * long, -0.25 * fat),
            -rng.uniform(0.1, 1.2),
            0.15,
            phase,
            surface=int(rng.choice([0, 0, 1])),
            depth=0.5,
        )
    )
    neck, head = len(parts) - 1, rng.uniform(0.07, 0.13)
    tilt = rng.uniform(0.2, 1.2)
    parts.append(
        Part(
            limb(rng, head * 1.4, head * 0.65, head * 0.35),
            neck,
            (reach, 0),
            tilt,
            0.15,
            phase + 2,
            surface=0,
            depth=0.6,
        )
    )
    for side in (0.6, 0.8):
        parts.append(
            Part(
                blob(rng, 0.04, 0, 0.06 * rng.uniform(0.5, 1.5), 0.022, 0.1),
                len(parts) - 1 - (side > 0.7),
                (0, -head * 0.5),
                -1.8 * side,
                0.2,
                surface=1,
                depth=side,
            )
        )
    parts.append(
        Part(
            limb(rng, rng.uniform(0.1, 0.35), 0.025, 0.012, rng.normal(0, 0.3)),
            0,
            (-0.95 * long, -0.3 * fat),
            np.pi + rng.uniform(-1.2, 0.6),
            0.4,
            phase,
            2,
            surface=1,
            depth=-0.5,
        )
    )
    if rng.random() < 0.15:  # a rider
        graft(parts, person(rng, (0, -fat * 0.7), True), 2.2)
    return parts


def bird(rng: np.random.Generator) -> list[Part]:
    """Body, neck and head, tail, two wings that beat or rest, thin legs."""
    phase, neck = rng.uniform(0, 6), rng.uniform(0.05, 0.4)
    flies = rng.random() < 0.5
    parts = [Part(blob(rng, 0, 0, 0.2, rng.uniform(0.08, 0.14), 0.06), surface=0)]
    parts.append(
        Part(limb(rng, neck, 0.055, 0.025, rng.normal(0, 0.25)), 0, (0.15, -0.04), -rng.uniform(0.1, 1.5), 0.25, phase)
    )
    parts.append(
        Part(blob(rng, 0.03, 0, 0.055, 0.04, 0.05), 1, (neck, 0), rng.uniform(0, 1), 0.2, phase, surface=1, depth=0.1)
    )
    beak = np.array([[0.07, -0.015], [0.14, 0.01], [0.07, 0.02]])
    parts.append(Part(beak, 2, surface=3, depth=0.2))
    parts.append(
        Part(limb(rng, 0.16, 0.03, 0.06), 0, (-0.17, 0), np.pi + rng.normal(0, 0.3), 0.1, surface=1, depth=-0.1)
    )
    for side in (-1, 1):
        span = rng.uniform(0.15, 0.22) if not flies else rng.uniform(0.3, 0.5)
        wing = np.array(
            [[0.06, -0.02], [0.02, -0.04], [-0.05, span * 0.6], [-0.12, span], [-0.16, span * 0.7], [-0.15, 0.0]]
        )
        rest = rng.uniform(1.0, 2.2) if not flies else np.pi * 0.9 * (side > 0) + 0.4
        parts.append(
            Part(wing, 0, (0.03, -0.03), rest, 0.8 if flies else 0.08, phase, 2, surface=1 + (side > 0), depth=side)
        )
        if not flies or rng.random() < 0.3:
            parts.append(
                Part(
                    limb(rng, rng.uniform(0.1, 0.3), 0.012, 0.01),
                    0,
                    (0.02 * side, 0.07),
                    np.pi / 2,
                    0.3,
                    phase + side,
                    surface=3,
                    depth=-0.5,
                )
            )
    return parts
