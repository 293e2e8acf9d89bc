"""Procedural backdrops of the synthetic videos: sky or wall, ridges, buildings, foliage, ground, clutter, light.

A backdrop is planned in units of the frame height and painted at any resolution.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from eosvos.data.synthetic.shapes import blob
from eosvos.data.synthetic.textures import NATURAL, Texture, colour, draw_texture, near, paint

CANVAS = (1.7, 1.0)  # half width and half height of the backdrop, in frame heights
GROUNDS = ("noise", "rough", "fine", "cloud", "leaves", "fur", "bricks", "dead")
WALLS = ("noise", "cloud", "bricks", "boxes", "dead", "fine", "rough", "stripes")


@dataclass(frozen=True)
class Layer:
    """One part of the scenery: a polygon (None: everywhere) with a texture, shaded from `top` to `bottom`."""

    points: np.ndarray | None  # (N, 2) in frame heights
    texture: Texture
    top: float
    bottom: float


@dataclass(frozen=True)
class Backdrop:
    """A planned scenery; `colours` are those of its large surfaces."""

    layers: tuple[Layer, ...]
    flats: tuple[tuple[int, np.ndarray, np.ndarray], ...]  # small clutter: painted before which layer, polygon, RGB
    colours: tuple[np.ndarray, ...]
    ground: float  # y of the horizon, in frame heights from the middle
    light: Texture
    light_strength: float
    blur: float  # frame heights


def _skyline(rng: np.random.Generator, level: float, height: float) -> np.ndarray:
    """A polygon below a fractal line: ridge, tree line, bank, kerb."""
    x = np.linspace(-1.1 * CANVAS[0], 1.1 * CANVAS[0], 65)
    waves = np.arange(1, 25)
    line = np.cos(x[:, None] * waves * 1.8 + rng.uniform(0, 6.3, 24)) @ (rng.normal(0, 1, 24) / waves)
    low = 1.2 * CANVAS[1]
    return np.concatenate([np.stack([x, level + height * line], 1), [[x[-1], low], [x[0], low]]])


def _box(x: float, y: float, w: float, h: float, lean: float = 0.0) -> np.ndarray:
    return np.array([[x, y], [x + w, y + lean * w], [x + w, y + h + lean * w], [x, y + h]])


def plan_backdrop(rng: np.random.Generator) -> Backdrop:
    """Plan a scenery: sky or wall, ridges, buildings or foliage, ground in perspective, clutter, light and shadow."""
    horizon = float(rng.choice([rng.uniform(-0.35, 0.15), rng.uniform(-0.1, 0.35), -1.2], p=[0.55, 0.3, 0.15]))
    far, soil = colour(rng, 0.9), colour(rng, 1.0)
    layers, colours, flats = [], [far, soil], []
    if rng.random() < 0.45 and horizon > -1:
        sky = near(rng, NATURAL[[8, 9, 13, 18][rng.integers(4)]], 15)
        texture = draw_texture(rng, sky, near(rng, sky, 25), ("cloud",), 2.5, hard=5, flatten=2)
        layers.append(Layer(None, texture, rng.uniform(0.75, 1.0), rng.uniform(1.0, 1.2)))
        colours.append(sky)
    else:
        texture = draw_texture(rng, far, near(rng, far, 45), WALLS, rng.uniform(0.4, 1.5), turn=0.05)
        layers.append(Layer(None, texture, rng.uniform(0.6, 1.2), rng.uniform(0.6, 1.2)))
    for _ in range(rng.integers(0, 3) if horizon > -1 else 0):  # ridges and tree lines
        hill = colour(rng, 1.0)
        texture = draw_texture(rng, hill, near(rng, hill, 40), ("leaves", "rough", "noise", "dead"), 0.7)
        level = horizon - rng.uniform(0, 0.25)
        layers.append(Layer(_skyline(rng, level, rng.uniform(0.01, 0.12)), texture, rng.uniform(0.8, 1.3), 0.8))
        colours.append(hill)
    for _ in range(rng.integers(0, 6) if horizon > -1 and rng.random() < 0.6 else 0):  # buildings, walls, boards
        face, w, h = colour(rng, 0.7), rng.uniform(0.1, 0.7), rng.uniform(0.1, 0.6)
        x, y = rng.uniform(-1.5, 1.3), horizon - h + rng.uniform(0, 0.08)
        texture = draw_texture(
            rng, face, near(rng, face, 30), ("bricks", "boxes", "plaid", "noise", "cloud"), 0.5, turn=0
        )
        layers.append(
            Layer(_box(x, y, w, h, rng.normal(0, 0.05)), texture, rng.uniform(0.7, 1.2), rng.uniform(0.6, 1.1))
        )
        dark, columns, rows = near(rng, face * rng.choice([0.45, 1.4]), 8), rng.integers(1, 7), rng.integers(1, 5)
        for i in range(columns * rows if rng.random() < 0.6 else 0):
            u, v = (i % columns + 0.25) * w / columns, (i // columns + 0.25) * h / rows
            flats.append((len(layers), _box(x + u, y + v, 0.5 * w / columns, 0.5 * h / rows), dark))
    if rng.random() < 0.85 or horizon < -1:
        second = near(rng, soil, 35)
        texture = draw_texture(rng, soil, second, GROUNDS, rng.uniform(0.4, 1.6), flatten=rng.uniform(1.2, 4), turn=0.3)
        layers.append(
            Layer(_skyline(rng, horizon, rng.uniform(0, 0.03)), texture, rng.uniform(0.7, 1.25), rng.uniform(0.7, 1.1))
        )
        for _ in range(rng.integers(0, 4)):  # paths, puddles, patches of grass
            patch = near(rng, soil if rng.random() < 0.5 else colour(rng, 1.0), 30)
            texture = draw_texture(rng, patch, near(rng, patch, 30), GROUNDS, 0.6, flatten=3)
            area = blob(
                rng,
                rng.uniform(-1.5, 1.5),
                rng.uniform(max(horizon, -0.5) + 0.1, 0.9),
                rng.uniform(0.2, 1.2),
                rng.uniform(0.03, 0.2),
                0.2,
            )
            layers.append(Layer(area, texture, 1.0, rng.uniform(0.8, 1.1)))
    for _ in range(rng.integers(2, 14) if rng.random() < 0.55 else 0):  # bushes, stones, trees, crates
        thing, size = (
            near(rng, [colour(rng, 1.0), soil, far][rng.integers(3)], 15),
            np.exp(rng.normal(np.log(0.12), 0.5)),
        )
        x, y = rng.uniform(-1.6, 1.6), rng.uniform(max(horizon, -0.6) - 0.1, 0.8)
        kinds = ("leaves", "rough", "noise", "fur", "dead")
        texture = draw_texture(rng, thing, near(rng, thing, 50), kinds, rng.uniform(0.2, 0.6))
        if rng.random() < 0.25:
            outline = _box(x, y - size, size * rng.uniform(0.2, 1.5), size, rng.normal(0, 0.1))
        else:
            outline = blob(rng, x, y, size * rng.uniform(0.6, 1.8), size, rng.uniform(0.05, 0.35), 12, 40)
        layers.append(Layer(outline, texture, rng.uniform(0.9, 1.35), rng.uniform(0.45, 0.9)))
    for _ in range(int(rng.choice([0, 15, 50], p=[0.3, 0.4, 0.3]))):  # small clutter, posts, lines
        x, y, size = rng.uniform(-1.6, 1.6), rng.uniform(max(horizon, -0.9) - 0.15, 0.9), np.exp(rng.normal(-3.6, 0.6))
        shape = rng.integers(4)
        if shape == 0:
            outline = _box(x, y - 6 * size, 0.3 * size, 6 * size)
        elif shape == 1:
            outline = _box(x, y, size * rng.uniform(0.5, 4), size * rng.uniform(0.1, 1), rng.normal(0, 0.3))
        else:
            outline = blob(rng, x, y, size * rng.uniform(0.4, 1.5), size, 0.3, 5, 12)
        flats.append((len(layers), outline, near(rng, colour(rng, 0.75), 5)))
    light = draw_texture(rng, np.zeros(3), np.full(3, 255.0), ("cloud",), 2.5, hard=rng.choice([4, 20.0]))
    blur = float(rng.choice([0, rng.uniform(0.001, 0.004), rng.uniform(0.004, 0.015)], p=[0.72, 0.14, 0.14]))
    order = sorted(range(len(flats)), key=lambda i: flats[i][0])
    return Backdrop(
        tuple(layers),
        tuple(flats[i] for i in order),
        tuple(colours),
        max(horizon, -0.5),
        light,
        float(rng.uniform(0, 0.55)),
        blur,
    )


def paint_backdrop(plan: Backdrop, density: float) -> np.ndarray:
    """Paint the scenery over [-CANVAS, CANVAS], uint8 (h, w, 3), at `density` pixels per frame height."""
    shape = (int(2 * CANVAS[1] * density), int(2 * CANVAS[0] * density))
    to_local = np.array([[1 / density, 0, 0.5 / density - CANVAS[0]], [0, 1 / density, 0.5 / density - CANVAS[1]]])
    canvas = np.zeros((*shape, 3), np.float32)
    flats = list(plan.flats)
    for number, layer in enumerate(plan.layers):
        while flats and flats[0][0] <= number:
            _, points, rgb = flats.pop(0)
            _fill(canvas, points, rgb, density)
        x0, y0, x1, y1 = 0, 0, shape[1], shape[0]
        if layer.points is not None:
            pixels = (layer.points + CANVAS) * density
            x0, y0 = np.maximum(np.floor(pixels.min(0)).astype(int) - 1, 0)
            x1, y1 = np.minimum(np.ceil(pixels.max(0)).astype(int) + 2, (shape[1], shape[0]))
            if x0 >= x1 or y0 >= y1:
                continue
        moved = to_local.copy()
        moved[:, 2] += np.array([x0, y0]) / density
        patch = paint(layer.texture, moved, (y1 - y0, x1 - x0))
        patch *= np.linspace(layer.top, layer.bottom, y1 - y0, dtype=np.float32)[:, None, None]
        if layer.points is None:
            canvas[:] = patch
            continue
        cover = np.zeros((y1 - y0, x1 - x0), np.uint8)
        cv2.fillPoly(cover, [np.round((pixels - (x0 + 0.5, y0 + 0.5)) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        region = canvas[y0:y1, x0:x1]
        region += (patch - region) * (cover.astype(np.float32) / 255)[..., None]
    for _, points, rgb in flats:
        _fill(canvas, points, rgb, density)
    light = paint(plan.light, to_local, shape)[..., :1] * (1.6 * plan.light_strength / 255) + (1 - plan.light_strength)
    canvas *= light
    if plan.blur * density > 0.3:
        canvas[:] = cv2.GaussianBlur(canvas, (0, 0), plan.blur * density)
    return np.clip(canvas, 0, 255).astype(np.uint8)


def _fill(canvas: np.ndarray, points: np.ndarray, rgb: np.ndarray, density: float) -> None:
    pixels = np.round(((points + CANVAS) * density - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(canvas, [pixels], [float(c) for c in rgb], cv2.LINE_8, 4)
