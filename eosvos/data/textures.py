"""Procedural surfaces and backdrops of the synthetic videos: colours, textures, scenery.

Everything is planned in units of the frame height and painted at any resolution, so a plan shows the same picture at
every size. The textures are crops of a fixed bank of periodic tiles (1/f noise, dead leaves, stripes, bricks, fur ...)
under a random similarity and a random colour ramp: a fresh surface costs one small warp.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

TILE = 256  # texels along one period of a tile
CANVAS = (1.7, 1.0)  # half width and half height of the backdrop, in frame heights

# Colours that fill real footage: foliage, earth, asphalt, stone, sky, water, wood, sand, skin, cloth.
NATURAL = np.array(
    [[70, 90, 40], [95, 115, 60], [45, 60, 35], [120, 95, 70], [85, 65, 50], [110, 110, 112], [75, 77, 82],
     [150, 145, 135], [175, 200, 225], [125, 160, 200], [60, 95, 115], [135, 100, 65], [190, 170, 135], [205, 205, 200],
     [200, 155, 130], [120, 80, 60], [35, 35, 40], [25, 30, 45], [230, 228, 225], [160, 60, 45]],
    np.float32,
)  # fmt: skip


def colour(rng: np.random.Generator, natural: float = 0.6) -> np.ndarray:
    """A random RGB colour, float32 (3,), 0 to 255; `natural` is the chance of one that is common outdoors."""
    if rng.random() < natural:
        rgb = NATURAL[rng.integers(len(NATURAL))] * rng.uniform(0.65, 1.3) + rng.normal(0, 9, 3)
    else:
        hue, saturation, value = rng.random() * 6, rng.beta(1.4, 1.6), rng.uniform(0.12, 1)
        ramp = np.clip(np.abs((hue + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
        rgb = 255 * value * (1 - saturation * (1 - ramp))
    return np.clip(rgb, 4, 250).astype(np.float32)


def near(rng: np.random.Generator, rgb: np.ndarray, spread: float) -> np.ndarray:
    """A colour close to `rgb`: brightness and tint moved by about `spread` grey levels."""
    return np.clip(rgb + rng.normal(0, spread) + rng.normal(0, spread / 3, 3), 4, 250).astype(np.float32)


def _spectral(rng: np.random.Generator, slope: float, stretch: float = 1.0, band: float = 0.0) -> np.ndarray:
    fy, fx = np.meshgrid(np.fft.fftfreq(TILE) * TILE, np.fft.rfftfreq(TILE) * TILE, indexing="ij")
    radius = np.hypot(fy * stretch, fx / stretch)
    radius[0, 0] = 1
    gain = np.exp(-(((radius - band) / (0.25 * band)) ** 2)) if band else radius**-slope
    gain[0, 0] = 0
    return np.fft.irfft2(np.fft.rfft2(rng.normal(size=(TILE, TILE))) * gain, s=(TILE, TILE))


def _dead_leaves(rng: np.random.Generator, count: int, small: float, large: float, kind: int) -> np.ndarray:
    """Occluding shapes with power-law sizes: the simplest model with the edges and the statistics of natural images."""
    tile = np.full((TILE, TILE), 0.5, np.float32)
    for _ in range(count):
        radius = TILE * (small**-2 - rng.random() * (small**-2 - large**-2)) ** -0.5
        x, y, angle, value = rng.random() * TILE, rng.random() * TILE, rng.random() * 180, float(rng.random())
        flat = rng.uniform(0.25, 1)
        for dx in (-TILE, 0, TILE):
            for dy in (-TILE, 0, TILE):
                if kind and rng.random() < 2:
                    box = cv2.boxPoints(((x + dx, y + dy), (2 * radius, 2 * radius * flat), angle * (kind > 1)))
                    cv2.fillPoly(tile, [np.round(box * 16).astype(np.int32)], value, cv2.LINE_8, 4)
                else:
                    centre, axes = (int(16 * (x + dx)), int(16 * (y + dy))), (int(16 * radius), int(16 * radius * flat))
                    cv2.ellipse(tile, centre, axes, angle, 0, 360, value, -1, cv2.LINE_8, 4)
    return tile


def _level(tile: np.ndarray) -> np.ndarray:
    spread = (tile - tile.mean()) / (tile.std() + 1e-9)
    return np.clip(127.5 + 58 * spread, 0, 255).astype(np.uint8)


KINDS = {
    "cloud": (0, 1, 2), "noise": (3, 4, 5), "rough": (6, 7), "fur": (8, 9), "spots": (10, 11), "leaves": (12, 13),
    "dead": (14, 15, 16), "boxes": (17, 18), "stripes": (19, 20), "plaid": (21, 22), "bricks": (23,), "cells": (24,),
    "fine": (25, 26),
}  # fmt: skip


@lru_cache(maxsize=1)
def _bank() -> tuple[tuple[np.ndarray, ...], ...]:
    """The tiles, uint8, each with its halvings so that a shrunken texture does not alias. The same in every process."""
    rng = np.random.default_rng(20250101)
    tiles = [_spectral(rng, 1.9) for _ in range(3)] + [_spectral(rng, 1.3) for _ in range(3)]
    tiles += [_spectral(rng, 0.8) for _ in range(2)] + [_spectral(rng, 1.0, 2.2), _spectral(rng, 0.8, 3.0)]
    tiles += [np.tanh(2.5 * field / field.std()) for field in (_spectral(rng, 0, 1, 7), _spectral(rng, 0, 1, 12))]
    tiles += [_dead_leaves(rng, 2500, 0.008, 0.03, 0), _dead_leaves(rng, 900, 0.012, 0.08, 0)]
    tiles += [_dead_leaves(rng, 500, 0.012, 0.3, k) for k in (0, 2, 0)]
    tiles += [_dead_leaves(rng, 300, 0.015, 0.3, 1), _dead_leaves(rng, 120, 0.03, 0.3, 1)]
    y, x = np.mgrid[0:TILE, 0:TILE] * (2 * np.pi / TILE)
    for periods, sway in ((7, 0.7), (9, 0.2)):
        field = _spectral(rng, 1.9)
        tiles.append(np.tanh(2 * np.sin(periods * x + sway * 2 * field / field.std())))
    for steps in (16, 32):
        threads = np.repeat(rng.random((2, steps)), TILE // steps, axis=1)
        tiles.append(threads[0][None] + threads[1][:, None])
    row = (np.arange(TILE) // 32)[:, None]
    shifted = (np.arange(TILE)[None] + 32 * (row % 2)) % TILE
    tone = rng.random((8, 4))[row, shifted // 64]
    tiles.append(np.where((shifted % 64 < 4) | (np.arange(TILE)[:, None] % 32 < 4), -0.6, tone))
    seeds = rng.random((70, 2)) * TILE
    gap = np.abs(np.mgrid[0:TILE, 0:TILE].transpose(1, 2, 0)[:, :, None].astype(np.float32) - seeds)
    gap = np.minimum(gap, TILE - gap)
    order = np.sort(np.hypot(gap[..., 0], gap[..., 1]), axis=2)
    tiles.append(np.minimum(order[..., 1] - order[..., 0], 8))
    tiles += [_spectral(rng, 0.35), _spectral(rng, 0.5, 1.6)]
    bank = []
    for tile in tiles:
        mips = [_level(tile)]
        while mips[-1].shape[0] > 16:
            mips.append(cv2.resize(mips[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
        bank.append(tuple(mips))
    return tuple(bank)


@dataclass(frozen=True)
class Texture:
    """A surface: a tile under a linear map and a colour ramp, times a relief of light and dark."""

    ramp: np.ndarray  # uint8 (256, 1, 3)
    tile: int
    matrix: np.ndarray  # float64 (2, 2), frame heights -> periods of the tile
    offset: np.ndarray  # float64 (2,), periods
    relief: float
    relief_tile: int
    relief_scale: float


def draw_texture(
    rng: np.random.Generator, first: np.ndarray, second: np.ndarray, kinds: tuple[str, ...], size: float = 1.0,
    hard: float | None = None, flatten: float = 1.0, turn: float = np.pi,
) -> Texture:  # fmt: skip
    """A random texture between two colours; one period of its tile spans about `size` frame heights."""
    kind = kinds[rng.integers(len(kinds))]
    period = size * np.exp(rng.normal(0, 0.35))
    angle = rng.uniform(-turn, turn)
    turned = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    steep = hard if hard is not None else np.exp(rng.uniform(np.log(3), np.log(30)))
    weight = 1 / (1 + np.exp(-steep * (np.linspace(0, 1, 256) - rng.uniform(0.35, 0.65))))[:, None]
    ramp = np.clip(first * (1 - weight) + second * weight, 0, 255).astype(np.uint8)[:, None]
    tiles = KINDS[kind]
    return Texture(
        ramp, int(tiles[rng.integers(len(tiles))]), turned @ np.diag([1, flatten]) / period, rng.random(2),
        float(rng.uniform(0.05, 0.5)), int(rng.integers(0, 10)), float(np.exp(rng.uniform(-0.7, 1.2))),
    )  # fmt: skip


def _sample(tile: int, matrix: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    texels = np.sqrt(abs(matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0])) * TILE
    mips = _bank()[tile]
    mip = mips[int(np.clip(np.log2(max(texels, 1e-6)), 0, len(mips) - 1))]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(mip, matrix * mip.shape[0], shape[::-1], flags=flags, borderMode=cv2.BORDER_WRAP)


def paint(texture: Texture, to_local: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The texture over a patch, float32 (h, w, 3), 0 to 255; `to_local` (2, 3) takes pixels to frame heights."""
    matrix = texture.matrix @ to_local
    matrix[:, 2] += texture.offset
    image = cv2.applyColorMap(_sample(texture.tile, matrix, shape), texture.ramp).astype(np.float32)
    relief = _sample(texture.relief_tile, matrix * texture.relief_scale, shape)
    gain = relief.astype(np.float32) * (2 * texture.relief / 255) + (1 - texture.relief)
    return image * gain[..., None]


@dataclass(frozen=True)
class Layer:
    """One thing of the scenery: a polygon (None: everywhere) with a texture, shaded from `top` to `bottom`."""

    points: np.ndarray | None  # (N, 2) in frame heights
    texture: Texture
    top: float
    bottom: float


@dataclass(frozen=True)
class Backdrop:
    """A planned scenery; `colours` are those of its large surfaces."""

    layers: tuple[Layer, ...]
    flats: tuple[tuple[np.ndarray, np.ndarray], ...]  # small clutter: polygon, RGB
    colours: tuple[np.ndarray, ...]
    ground: float  # y of the horizon, in frame heights from the middle
    light: Texture
    light_strength: float
    blur: float  # frame heights


def rough_outline(rng: np.random.Generator, count: int, roughness: float, modes: int = 6) -> np.ndarray:
    """A smooth random closed radius around 1, (count,): the outline of blobs, bushes and stones."""
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    order = np.arange(2, 2 + modes)
    amplitude = rng.normal(0, roughness, modes) / order**0.7
    return np.maximum(1 + np.cos(angle[:, None] * order + rng.uniform(0, 6.3, modes)) @ amplitude, 0.25)


def blob(rng: np.random.Generator, x: float, y: float, rx: float, ry: float, roughness: float, modes: int = 6,
         count: int = 28) -> np.ndarray:  # fmt: skip
    """A closed smooth polygon (count, 2) around (x, y)."""
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    radius = rough_outline(rng, count, roughness, modes)
    return np.stack([x + rx * radius * np.cos(angle), y + ry * radius * np.sin(angle)], 1)


def _skyline(rng: np.random.Generator, level: float, height: float) -> np.ndarray:
    """A polygon below a fractal line: ridge, tree line, bank, kerb."""
    x = np.linspace(-1.1 * CANVAS[0], 1.1 * CANVAS[0], 65)
    waves = np.arange(1, 25)
    line = np.cos(x[:, None] * waves * 1.8 + rng.uniform(0, 6.3, 24)) @ (rng.normal(0, 1, 24) / waves)
    low = 1.2 * CANVAS[1]
    return np.concatenate([np.stack([x, level + height * line], 1), [[x[-1], low], [x[0], low]]])


def _box(x: float, y: float, w: float, h: float, lean: float = 0.0) -> np.ndarray:
    return np.array([[x, y], [x + w, y + lean * w], [x + w, y + h + lean * w], [x, y + h]])


GROUNDS = ("noise", "rough", "fine", "cloud", "leaves", "fur", "bricks", "dead")
WALLS = ("noise", "cloud", "bricks", "boxes", "dead", "fine", "rough", "stripes")


def plan_backdrop(rng: np.random.Generator) -> Backdrop:
    """A random scenery: sky or wall, ridges, buildings or foliage, ground in perspective, clutter, light and shadow."""
    horizon = float(rng.choice([rng.uniform(-0.35, 0.15), rng.uniform(-0.1, 0.35), -1.2], p=[0.55, 0.3, 0.15]))
    far, soil = colour(rng, 0.85), colour(rng, 0.95)
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
        hill = colour(rng, 0.95)
        texture = draw_texture(rng, hill, near(rng, hill, 40), ("leaves", "rough", "noise", "dead"), 0.7)
        level = horizon - rng.uniform(0, 0.25)
        layers.append(Layer(_skyline(rng, level, rng.uniform(0.01, 0.12)), texture, rng.uniform(0.8, 1.3), 0.8))
        colours.append(hill)
    for _ in range(rng.integers(0, 6) if horizon > -1 and rng.random() < 0.6 else 0):  # buildings, walls, boards
        face, w, h = colour(rng, 0.7), rng.uniform(0.1, 0.7), rng.uniform(0.1, 0.6)
        x, y = rng.uniform(-1.5, 1.3), horizon - h + rng.uniform(0, 0.08)
        texture = draw_texture(rng, face, near(rng, face, 30), ("bricks", "boxes", "plaid", "noise", "cloud"), 0.5, turn=0)
        layers.append(Layer(_box(x, y, w, h, rng.normal(0, 0.05)), texture, rng.uniform(0.7, 1.2), rng.uniform(0.6, 1.1)))
        dark, columns, rows = near(rng, face * rng.choice([0.45, 1.4]), 8), rng.integers(1, 7), rng.integers(1, 5)
        for i in range(columns * rows if rng.random() < 0.6 else 0):
            u, v = (i % columns + 0.25) * w / columns, (i // columns + 0.25) * h / rows
            flats.append((len(layers), _box(x + u, y + v, 0.5 * w / columns, 0.5 * h / rows), dark))
    if rng.random() < 0.85 or horizon < -1:
        second = near(rng, soil, 35)
        texture = draw_texture(rng, soil, second, GROUNDS, rng.uniform(0.4, 1.6), flatten=rng.uniform(1.2, 4), turn=0.3)
        layers.append(Layer(_skyline(rng, horizon, rng.uniform(0, 0.03)), texture, rng.uniform(0.7, 1.25), rng.uniform(0.7, 1.1)))
        for _ in range(rng.integers(0, 4)):  # paths, puddles, patches of grass
            patch = near(rng, colour(rng, 0.95), 10)
            texture = draw_texture(rng, patch, near(rng, patch, 30), GROUNDS, 0.6, flatten=3)
            area = blob(rng, rng.uniform(-1.5, 1.5), rng.uniform(max(horizon, -0.5) + 0.1, 0.9), rng.uniform(0.2, 1.2),
                        rng.uniform(0.03, 0.2), 0.2)  # fmt: skip
            layers.append(Layer(area, texture, 1.0, rng.uniform(0.8, 1.1)))
    for _ in range(rng.integers(2, 14) if rng.random() < 0.55 else 0):  # bushes, stones, trees, crates
        thing, size = colour(rng, 0.85), np.exp(rng.normal(np.log(0.12), 0.5))
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
    light = draw_texture(rng, np.zeros(3), np.full(3, 255.0), ("cloud", "cloud", "dead"), 2.5, hard=rng.choice([4, 25.0]))
    blur = float(rng.choice([0, rng.uniform(0.001, 0.004), rng.uniform(0.004, 0.015)], p=[0.55, 0.25, 0.2]))
    order = sorted(range(len(flats)), key=lambda i: flats[i][0])
    return Backdrop(
        tuple(layers), tuple(flats[i] for i in order), tuple(colours), max(horizon, -0.5), light,
        float(rng.uniform(0, 0.55)), blur,
    )  # fmt: skip


def paint_backdrop(plan: Backdrop, density: float) -> np.ndarray:
    """The scenery over [-CANVAS, CANVAS], float32 (h, w, 3), 0 to 255, at `density` pixels per frame height."""
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
        canvas = cv2.GaussianBlur(canvas, (0, 0), plan.blur * density)
    return np.clip(canvas, 0, 255)


def _fill(canvas: np.ndarray, points: np.ndarray, rgb: np.ndarray, density: float) -> None:
    pixels = np.round(((points + CANVAS) * density - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(canvas, [pixels], [float(c) for c in rgb], cv2.LINE_8, 4)
