"""Procedural surfaces of the synthetic videos: colours and textures.

Everything is planned in units of the frame height and painted at any resolution, so a plan looks the same at every
size. The textures are crops of a fixed bank of periodic tiles (1/f noise, dead leaves, stripes, bricks, fur, ...) under
a random similarity and a random colour ramp: a new surface costs one small warp.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

TILE = 256  # texels along one period of a tile

# Colours that fill real footage: foliage, earth, asphalt, stone, sky, water, wood, sand, skin, cloth.
NATURAL = np.array(
    [
        [70, 90, 40],
        [95, 115, 60],
        [45, 60, 35],
        [120, 95, 70],
        [85, 65, 50],
        [110, 110, 112],
        [75, 77, 82],
        [150, 145, 135],
        [175, 200, 225],
        [125, 160, 200],
        [60, 95, 115],
        [135, 100, 65],
        [190, 170, 135],
        [205, 205, 200],
        [200, 155, 130],
        [120, 80, 60],
        [35, 35, 40],
        [25, 30, 45],
        [230, 228, 225],
        [160, 60, 45],
    ],
    np.float32,
)


def colour(rng: np.random.Generator, natural: float = 0.6) -> np.ndarray:
    """Draw a random RGB colour, float32 (3,), 0 to 255; `natural` is the probability of one that is common outdoors."""
    if rng.random() < natural:
        rgb = NATURAL[rng.integers(len(NATURAL))] * rng.uniform(0.65, 1.3) + rng.normal(0, 9, 3)
    else:
        hue, saturation, value = 6 * rng.random() ** 1.3, rng.beta(1.2, 2.2), rng.uniform(0.12, 1)
        ramp = np.clip(np.abs((hue + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
        rgb = 255 * value * (1 - saturation * (1 - ramp))
    return np.clip(rgb, 4, 250).astype(np.float32)


def near(rng: np.random.Generator, rgb: np.ndarray, spread: float) -> np.ndarray:
    """Draw a colour close to `rgb`, with brightness and tint changed by about `spread` grey levels."""
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
                if kind:
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
    "cloud": (0, 1, 2),
    "noise": (3, 4, 5),
    "rough": (6, 7),
    "fur": (8, 9),
    "spots": (10, 11),
    "leaves": (12, 13),
    "dead": (14, 15, 16),
    "boxes": (17, 18),
    "stripes": (19, 20),
    "plaid": (21, 22),
    "bricks": (23,),
    "cells": (24,),
    "fine": (25, 26),
}


_RELIEFS = (0, 1, 3, 3, 4, 5, 6, 7, 6, 7, 8, 9, 12, 13, 14, 15)  # tiles of light and dark


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
    seeds = (rng.random((70, 2)) * TILE).astype(np.float32)
    gap = np.abs(np.mgrid[0:TILE, 0:TILE].transpose(1, 2, 0)[:, :, None].astype(np.float32) - seeds)
    gap = np.minimum(gap, TILE - gap)
    order = np.partition(np.hypot(gap[..., 0], gap[..., 1]), 1, axis=2)
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
    rng: np.random.Generator,
    first: np.ndarray,
    second: np.ndarray,
    kinds: tuple[str, ...],
    size: float = 1.0,
    hard: float | None = None,
    flatten: float = 1.0,
    turn: float = np.pi,
) -> Texture:
    """Draw a random texture between two colours; one period of its tile spans about `size` frame heights."""
    kind = kinds[rng.integers(len(kinds))]
    period = size * np.exp(rng.normal(0, 0.35))
    angle = rng.uniform(-turn, turn)
    turned = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    steep = hard if hard is not None else np.exp(rng.uniform(np.log(3), np.log(30)))
    weight = 1 / (1 + np.exp(-steep * (np.linspace(0, 1, 256) - rng.uniform(0.35, 0.65))))[:, None]
    ramp = np.clip(first * (1 - weight) + second * weight, 0, 255).astype(np.uint8)[:, None]
    tiles = KINDS[kind]
    return Texture(
        ramp,
        int(tiles[rng.integers(len(tiles))]),
        turned @ np.diag([1, flatten]) / period,
        rng.random(2),
        float(rng.uniform(0.1, 0.6)),
        int(_RELIEFS[rng.integers(len(_RELIEFS))]),
        float(np.exp(rng.uniform(-0.5, 1.3))),
    )


def _sample(tile: int, matrix: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    texels = np.sqrt(abs(matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0])) * TILE
    mips = _bank()[tile]
    mip = mips[int(np.clip(np.log2(max(texels, 1e-6)), 0, len(mips) - 1))]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(mip, matrix * mip.shape[0], shape[::-1], flags=flags, borderMode=cv2.BORDER_WRAP)


def paint(texture: Texture, to_local: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Paint the texture over a patch: float32 (h, w, 3), 0 to 255. `to_local` (2, 3) maps pixels to frame heights."""
    matrix = texture.matrix @ to_local
    matrix[:, 2] += texture.offset
    image = cv2.applyColorMap(_sample(texture.tile, matrix, shape), texture.ramp).astype(np.float32)
    relief = _sample(texture.relief_tile, matrix * texture.relief_scale, shape)
    gain = relief.astype(np.float32) * (2 * texture.relief / 255) + (1 - texture.relief)
    return image * gain[..., None]
