"""Endless procedural videos with exact masks, for meta-training without a download and for a fixed held-out test.

Jointed `figures` in many-coloured `textures` walk, turn, deform and occlude each other before a `backdrop` under a
moving camera (`scenes`), with look-alikes, thin things in front, shadows, motion blur, changing light, noise and
compression. Every draw comes from (VERSION, split, seed, index); nothing is stored.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np

from eosvos.data.sequence import VideoSequence
from eosvos.data.synthetic.backdrop import Backdrop, plan_backdrop
from eosvos.data.synthetic.figures import draw_figure
from eosvos.data.synthetic.scenes import Actor, Motion, Scene
from eosvos.data.synthetic.shapes import Part, area, blob, box, limb
from eosvos.data.synthetic.textures import Texture, colour, draw_texture, near
from eosvos.errors import UserError
from eosvos.seeds import numpy_generator

VERSION = 1
VISIBLE = 0.003  # an object appears when it shows this part of the frame
FIRST = 0.01  # some object shows this part of frame 0
_SPLITS = {"train": 0, "val": 1, "test": 2}  # second word of every seed: training can never meet a held-out video
_ASPECT = 1.75  # width over height that areas are planned for
_SCAN = 54  # rows of the small masks in which appearances are found
_KINDS = tuple("cloud cloud noise noise rough fur spots dead stripes plaid cells fine leaves".split())


def make_sequence(seed: int, index: int, *, size: tuple[int, int] = (128, 224), length: int = 24) -> VideoSequence:
    """Return training video `index` of the endless stream `seed`.

    Every actor that moves by itself is an object, look-alikes included; thin things in front of them are not. There are
    1 to 5, with ids 1, 2, ... by first appearance, which is when an object first covers 0.3 % of the image; before that
    it is absent from the mask. Frame 0 shows at least one. The same seed and index give the same scene at every size
    and length.

    Args:
        seed: number of the stream, 0 or more.
        index: number of the video, 0 or more.
        size: height and width in pixels, 16 or more.
        length: number of frames.

    Raises:
        ValueError: for values out of range.
    """
    if seed < 0 or index < 0:
        raise ValueError(f"make_sequence: seed {seed}, index {index}: expected both >= 0")
    return _sequence("train", seed, index, size, length)


def held_out(
    split: str = "test", *, count: int = 20, size: tuple[int, int] = (240, 432), length: int = 24
) -> list[VideoSequence]:
    """The first `count` videos of the fixed split "val" or "test", which training never meets; 1 to 3 objects each.

    Raises UserError for another split.
    """
    if split not in ("val", "test"):
        raise UserError(f"synthetic videos: split {split!r} does not exist; expected 'val' or 'test'")
    return [_sequence(split, 0, index, size, length) for index in range(count)]


def _sequence(split: str, seed: int, index: int, size: tuple[int, int], length: int) -> VideoSequence:
    if min(size) < 16 or length < 1:
        raise ValueError(f"synthetic videos: size {size}, length {length}: expected sides >= 16 and length >= 1")
    size = (int(size[0]), int(size[1]))
    for attempt in range(50):
        path = (VERSION, _SPLITS[split], seed, index, attempt)
        scene = _plan(path, size, most=5 if split == "train" else 4)
        first = _appearances(scene, length)
        if 0 in first.values():
            break
    else:
        raise AssertionError(f"no scene of {split}, seed {seed}, index {index} shows an object in frame 0")
    order = sorted(first, key=lambda number: (first[number], number))
    if split != "train":
        order = order[: 1 + index % 3]
    scene.ids = {number: (k, first[number]) for k, number in enumerate(order, 1)}
    middle = "" if split == "train" else f"-{split}"
    return VideoSequence(
        f"synthetic-v{VERSION}{middle}-{seed}-{index:05d}",
        tuple(f"{i:05d}" for i in range(length)),
        size,
        {k: first[number] for k, number in enumerate(order, 1)},
        scene.read_frame,
        scene.read_mask,
    )


def _appearances(scene: Scene, length: int) -> dict[int, int]:
    """Actor's number -> first frame in which it is visible, found in small masks; {} if frame 0 is too empty."""
    size = (_SCAN, round(_SCAN * scene.size[1] / scene.size[0]))
    wanted = {actor.number for actor in scene.actors if actor.number >= 0}
    first: dict[int, int] = {}
    for t in range(length):
        counts = np.bincount(scene.cover(scene.poses(t, size), size, 2).ravel(), minlength=8) / (size[0] * size[1])
        if t == 0 and counts[1:].max() < FIRST:
            return {}
        for number in sorted(wanted):
            if counts[number + 1] >= VISIBLE:
                first[number] = t
                wanted.remove(number)
        if not wanted:
            break
    return first


def _plan(path: tuple[int, ...], size: tuple[int, int], most: int) -> Scene:
    rng = numpy_generator(*path, 1)
    backdrop = plan_backdrop(rng)
    count = int(rng.choice(5, p=[0.12, 0.27, 0.29, 0.19, 0.13])) + 1
    tracked = float(rng.choice([0, 0.9, 1.0], p=[0.45, 0.25, 0.3]))  # how well the camera keeps to the objects
    actors: list[Actor] = []
    for number in range(min(count, most)):
        late = number > 0 and rng.random() < 0.18
        actors.append(_actor(rng, number, backdrop, actors, tracked, late))
    busy = int(rng.choice(4, p=[0.55, 0.25, 0.13, 0.07]))
    actors += [_foreground(rng, backdrop, -1 - k) for k in range(busy)]
    actors.sort(key=lambda actor: actor.depth)
    fast = float(rng.choice([0, np.exp(rng.normal(-2.8, 0.8)), np.exp(rng.normal(-1.4, 0.5))], p=[0.25, 0.45, 0.3]))
    fast = min(fast, 0.45) * rng.choice([-1, 1])
    return Scene(
        path=path,
        size=size,
        backdrop=backdrop,
        actors=actors,
        pan=(fast, min(0.2 * abs(fast), 0.08), rng.uniform(0.02, 0.1), rng.uniform(0.02, 0.1), rng.uniform(0, 6.3)),
        zoom=(
            rng.uniform(-0.05, 0.25),
            float(rng.choice([0, rng.uniform(0, 0.12)])),
            rng.uniform(0.03, 0.1),
            rng.uniform(0, 6.3),
        ),
        shake=(float(rng.choice([0, np.exp(rng.normal(-6, 0.6))])), float(rng.choice([0, rng.uniform(0, 0.05)]))),
        lamp=(float(rng.choice([0, rng.uniform(0, 0.15)], p=[0.4, 0.6])), rng.uniform(0.02, 0.4), rng.uniform(0, 6.3)),
        tint=np.clip(rng.normal(1.12, 0.14), 0.75, 1.6) * (1 + rng.normal(0, 0.04, 3)),
        contrast=float(rng.uniform(0.7, 1.1)),
        shutter=float(rng.uniform(0.1, 0.7)),
        blur=float(rng.choice([0, rng.uniform(0.001, 0.005)], p=[0.75, 0.25])),
        noise=float(rng.choice([0, rng.uniform(0.5, 6)])),
        quality=int(rng.choice([0, int(rng.integers(35, 92))])),
    )


def _dress(
    rng: np.random.Generator, scale: float, backdrop: Backdrop, kind: str
) -> tuple[list[Texture], list[np.ndarray]]:
    """Six surfaces and the colours of decals: few colours that recur, sometimes those of the scenery (camouflage)."""
    if rng.random() < 0.2:
        base = [near(rng, backdrop.colours[rng.integers(len(backdrop.colours))], 14) for _ in range(3)]
    else:
        base = [colour(rng, 0.6) for _ in range(3)]
    if kind in ("beast", "bird"):  # one coat, in shades
        base[1] = near(rng, base[0], 20)
        base[2] = near(rng, base[0], 45) if rng.random() < 0.7 else base[2]
    colours = [
        base[0],
        base[1],
        base[2],
        near(rng, base[rng.integers(3)] * 0.35, 10),
        np.full(3, rng.choice([25, 40, 60, 150]), np.float32),
        colour(rng, 0.3),
    ]
    if kind == "person":
        skin = np.array([[215, 165, 140], [190, 135, 105], [120, 80, 60], [75, 50, 40]], np.float32)[rng.integers(4)]
        colours[2] = near(rng, skin, 8)
    plain = rng.random() < 0.35
    surfaces = []
    for k, rgb in enumerate(colours):
        other = near(rng, rgb, 12) if plain or k == 2 else near(rng, rgb, 55)
        if not plain and rng.random() < 0.3:
            other = colours[rng.integers(6)]
        surfaces.append(draw_texture(rng, rgb, other, _KINDS, float(np.clip(scale * rng.uniform(0.3, 1.5), 0.08, 1))))
    return surfaces, colours


def _actor(
    rng: np.random.Generator, number: int, backdrop: Backdrop, others: list[Actor], tracked: float, late: bool
) -> Actor:
    """A new object: a figure of its own, or one like an earlier one in shape, in surface, or in nearly all."""
    resemblance = rng.choice(["none", "shape", "surface", "twin"], p=[0.6, 0.13, 0.09, 0.18]) if others else "none"
    model = others[rng.integers(len(others))] if others else None
    if model is not None and resemblance in ("shape", "twin"):
        parts, kind = deepcopy(model.parts), model.kind
        lag = rng.uniform(0, 6.3)
        for part in parts:
            part.phase += lag
        scale = model.scale * float(np.exp(rng.normal(0, 0.2)))
    else:
        parts, kind = draw_figure(rng)
        share = np.clip(np.exp(rng.normal(np.log(0.075), 0.7)), 0.014, 0.35)
        scale = float(np.sqrt(share * _ASPECT / _figure_area(parts)))
    if model is not None and resemblance in ("surface", "twin"):
        surfaces, colours = list(model.surfaces), list(model.colours)
        if resemblance == "twin":
            surfaces, colours = _recoloured(rng, surfaces, colours)
    else:
        surfaces, colours = _dress(rng, scale, backdrop, kind)
    actor = Actor(number, parts, surfaces, colours, scale, Motion((0.0, 0.0)), kind=kind)
    w, h = actor.extent
    actor.scale = scale = float(min(scale, 0.95 / h, 1.4 / w))
    w, h = w * scale, h * scale
    grounded = kind not in ("bird", "compound") or rng.random() < 0.4
    x = rng.uniform(-0.85, 0.85) * max(0.9 - w / 2, 0.25)
    if grounded:
        base = (
            float(rng.uniform(max(backdrop.ground, -0.2) + 0.05, 0.5)) if rng.random() < 0.9 else rng.uniform(0.4, 0.7)
        )
        y = max(base, h - 0.5) - h / 2
    else:
        y = rng.uniform(-0.8, 0.8) * max(0.5 - h / 2, 0.1)
    actor.facing = float(rng.choice([-1, 1]))
    actor.motion = _motion(rng, x, y, kind, actor.facing, tracked)
    if late:
        side, entry = float(rng.choice([-1, 1])), int(rng.integers(2, 16))
        speed = rng.uniform(0.012, 0.05)
        actor.facing = -side
        actor.motion.sweep, actor.motion.follow = (0, 0, 0.1, 0), 1.0
        actor.motion.start = (side * (0.88 + w / 2 + speed * entry), y)
        actor.motion.drift = (-side * speed, 0.0)
    actor.depth = y + h / 2 + rng.normal(0, 0.08)
    actor.shade = (float(rng.normal(0, 0.5)), float(rng.normal(0.2, 0.5)))
    actor.shadow = float(rng.uniform(0.15, 0.6)) if grounded and rng.random() < 0.7 else 0.0
    actor.soft = float(rng.choice([0, rng.uniform(0.001, 0.005)], p=[0.75, 0.25]))
    return actor


def _figure_area(parts: list[Part]) -> float:
    figure = Actor(0, parts, [], [], 1.0, Motion((0.0, 0.0)))
    turns, shifts = figure.joints(0.0)
    places = turns[figure.owners] * figure.points + shifts[figure.owners]
    loops = np.split(np.stack([places.real, places.imag], 1), figure.cuts)
    return area(loops)


def _recoloured(
    rng: np.random.Generator, surfaces: list[Texture], colours: list[np.ndarray]
) -> tuple[list[Texture], list[np.ndarray]]:
    """The same surfaces with a small change: one of them in another colour, or all a little lighter or redder."""
    shift = rng.normal(0, 12) + rng.normal(0, 10, 3)
    only = int(rng.integers(3)) if rng.random() < 0.5 else None
    if only is not None:
        shift = colour(rng, 0.3) - colours[only]
    changed = [k for k in range(len(surfaces)) if only is None or k == only]
    surfaces, colours = list(surfaces), list(colours)
    for k in changed:
        ramp = np.clip(surfaces[k].ramp.astype(np.float32) + shift, 0, 255).astype(np.uint8)
        surfaces[k] = replace(surfaces[k], ramp=ramp, offset=rng.random(2))
        colours[k] = np.clip(colours[k] + shift, 0, 255)
    return surfaces, colours


def _motion(rng: np.random.Generator, x: float, y: float, kind: str, facing: float, tracked: float) -> Motion:
    tempo = float(np.exp(rng.uniform(np.log(0.15), 0)))  # of everything it does: real things are mostly slow
    reach = float(np.clip(np.exp(rng.normal(np.log(0.22), 0.8)), 0.02, 0.9))
    loose, stiff = kind in ("compound", "bird"), kind in ("car", "furniture", "boat")
    spin = float(rng.choice([0, rng.normal(0, 0.06)])) if kind == "compound" else 0.0
    lean = rng.uniform(0, 0.5) if loose or rng.random() < 0.15 else rng.uniform(0, 0.12)
    deep = float(rng.choice([rng.uniform(0, 0.15), rng.uniform(0.15, 0.65)], p=[0.55, 0.45]))

    def wave(amplitude: float, slow: float, fast: float) -> tuple[float, float, float]:
        return float(amplitude), float(tempo * rng.uniform(slow, fast)), float(rng.uniform(0, 6.3))

    return Motion(
        start=(float(x), float(y)),
        drift=(facing * tempo * float(rng.choice([0, rng.uniform(0, 0.03)], p=[0.7, 0.3])), 0.0),
        sweep=(
            facing * reach,
            float(reach * rng.normal(0, 0.3 if loose else 0.12)),
            tempo * float(rng.uniform(0.05, 0.16)),
            float(rng.uniform(-1.2, 1.2)),
        ),  # this phase: it starts the way it faces
        turn=(*wave(lean * rng.choice([-1, 1]), 0.05, 0.3), tempo * spin),
        grow=wave(rng.choice([0.03, rng.uniform(0.05, 0.5)]), 0.04, 0.12),
        squash=wave(deep, 0.04, 0.2),
        bend=(
            float(rng.uniform(0, 0.008) if stiff else rng.uniform(0.004, 0.04)),
            float(rng.uniform(1.5, 5)),
            tempo * float(rng.uniform(0.05, 0.4)),
            float(rng.uniform(0, 6.3)),
        ),
        gait=tempo * float(rng.uniform(0.2, 0.8)),
        follow=tracked if rng.random() < 0.85 else float(rng.choice([0, 1])),
    )


def _foreground(rng: np.random.Generator, backdrop: Backdrop, number: int) -> Actor:
    """Something between the camera and the objects that carries no id: a post, a fence, a branch, a bush."""
    kind = rng.integers(4)
    x, y = float(rng.uniform(-1.1, 1.1)), 0.0
    if kind == 0:
        parts = [
            Part(
                limb(rng, 2.4, rng.uniform(0.008, 0.03), rng.uniform(0.008, 0.03)),
                angle=np.pi / 2 + rng.normal(0, 0.04),
            )
        ]
    elif kind == 1:
        gap, thick = rng.uniform(0.25, 0.6), rng.uniform(0.006, 0.015)
        parts = [Part(box(k * gap, 0, thick, 0.9)) for k in range(-4, 5)] + [Part(box(-2.5, 0.1, 5, thick))]
        y = float(rng.uniform(0.2, 0.5))
    elif kind == 2:
        parts = [
            Part(
                limb(rng, rng.uniform(0.5, 1.2), 0.025, 0.006, rng.normal(0, 0.2)),
                angle=rng.uniform(0, 6.3),
                swing=0.03,
            )
        ]
        for _ in range(rng.integers(3, 12)):
            along = (float(rng.uniform(0.1, 0.8)), float(rng.normal(0, 0.04)))
            parts.append(
                Part(
                    blob(rng, 0.03, 0, 0.05, 0.022, 0.15, 5, 14),
                    0,
                    along,
                    rng.uniform(0, 6.3),
                    0.2,
                    rng.uniform(0, 6),
                    surface=1,
                )
            )
        y = float(rng.choice([-0.5, rng.uniform(-0.5, 0.5)]))
    else:
        parts = [Part(blob(rng, 0, 0, rng.uniform(0.1, 0.4), rng.uniform(0.06, 0.16), 0.35, 14, 60), swing=0.02)]
        y = float(rng.uniform(0.42, 0.58))
    tone = (
        near(rng, backdrop.colours[rng.integers(len(backdrop.colours))], 25)
        if rng.random() < 0.5
        else colour(rng, 0.95)
    )
    surfaces = [
        draw_texture(rng, tone, near(rng, tone, 35), ("leaves", "rough", "noise", "fur"), 0.4) for _ in range(2)
    ]
    soft = float(rng.choice([0, rng.uniform(0.002, 0.01)]))
    depth = float(rng.choice([2.0, rng.uniform(0, 0.5)], p=[0.6, 0.4]))
    motion = Motion((x, y), follow=-float(rng.uniform(0, 0.5)), gait=0.3)
    return Actor(number, parts, surfaces, [], 1.0, motion, depth=depth, soft=soft)
