"""Scenes of the synthetic videos: actors that move before a backdrop under a moving camera, rendered frame by frame.

All motions are bounded functions of the frame number and all lengths are in frame heights, so that any frame can be
rendered alone, in any order and at any size, with the mask of the visible part of every actor.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from eosvos.data.synthetic.backdrop import CANVAS, Backdrop, paint_backdrop
from eosvos.data.synthetic.shapes import Part
from eosvos.data.synthetic.textures import Texture, paint
from eosvos.seeds import numpy_generator

_SS = 4  # sub-pixels per pixel and axis under every outline
_FINE = 16  # sub-sub-pixels of cv2's fixed-point coordinates


@dataclass
class Motion:
    """How an actor moves; wave(t) = amplitude * (sin(rate * t + phase) - sin(phase)) is zero in frame 0."""

    start: tuple[float, float]
    drift: tuple[float, float] = (0.0, 0.0)  # frame heights per frame
    sweep: tuple[float, float, float, float] = (0.0, 0.0, 0.1, 0.0)  # x, y, rate, phase
    turn: tuple[float, float, float, float] = (0.0, 0.1, 0.0, 0.0)  # amplitude, rate, phase, spin per frame
    grow: tuple[float, float, float] = (0.0, 0.1, 0.0)  # of the logarithm of the scale
    squash: tuple[float, float, float] = (0.0, 0.1, 0.0)  # of the width: turning out of the image plane
    bend: tuple[float, float, float, float] = (0.0, 3.0, 0.2, 0.0)  # amplitude, wave number, rate, phase: soft bodies
    gait: float = 0.5  # radians per frame
    follow: float = 0.0  # 1: moves along with the camera, 0: stands in the world, -0.4: nearer than the world


@dataclass
class Actor:
    """A moving figure: its parts, surfaces, size and motion. `number` < 0: it is no object of the annotation."""

    number: int
    parts: list[Part]
    surfaces: list[Texture]
    colours: list[np.ndarray]  # of decals, RGB
    scale: float  # frame heights per unit of the figure
    motion: Motion
    facing: float = 1.0
    depth: float = 0.0
    shade: tuple[float, float] = (0.0, 0.0)  # change of brightness per frame height, along x and y
    shadow: float = 0.0
    soft: float = 0.0  # defocus, frame heights
    kind: str = ""
    skins: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        loops = [loop for part in self.parts for loop in (part.points, part.hole) if loop is not None]
        owners = [i for i, part in enumerate(self.parts) for loop in (part.points, part.hole) if loop is not None]
        lengths = np.array([len(loop) for loop in loops])
        self.cuts = np.cumsum(lengths)[:-1]
        self.owners = np.repeat(owners, lengths)
        self.loops_of = [[k for k, owner in enumerate(owners) if owner == i] for i in range(len(self.parts))]
        self.order = sorted(range(len(self.parts)), key=lambda i: self.parts[i].depth)
        self.points = np.concatenate(loops) @ np.array([1, 1j])
        self.middles = np.array([part.points.mean(0) @ np.array([1, 1j]) for part in self.parts])
        turns, shifts = self.joints(0.0)
        rest = turns[self.owners] * self.points + shifts[self.owners]
        self.centre = complex((rest.real.min() + rest.real.max()) / 2, (rest.imag.min() + rest.imag.max()) / 2)
        self.extent = (float(np.ptp(rest.real)), float(np.ptp(rest.imag)))

    def joints(self, t: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the rigid motion of every part into the figure at time t, as complex rotation and shift (P,)."""
        turns: list[complex] = []
        shifts: list[complex] = []
        gait = self.motion.gait
        for part in self.parts:
            angle = part.angle + part.spin * t + part.swing * np.sin(part.rate * gait * t + part.phase)
            turn, shift = complex(np.cos(angle), np.sin(angle)), complex(*part.joint)
            if part.parent >= 0:
                shift = turns[part.parent] * shift + shifts[part.parent]
                turn *= turns[part.parent]
            turns.append(turn)
            shifts.append(shift)
        return np.array(turns), np.array(shifts)

    def bent(self, places: np.ndarray, t: float) -> np.ndarray:
        """Deform figure coordinates (complex) smoothly."""
        amplitude, wave, rate, phase = self.motion.bend
        if not amplitude:
            return places
        reach = amplitude * max(self.extent)
        u, v = places.real * (wave / max(self.extent)), places.imag * (wave / max(self.extent))
        lag = rate * t + phase
        return places + reach * (np.sin(v * 1.3 + 0.6 * u + lag) + 1j * np.sin(u - 0.4 * v + 1.7 * lag + 1))


def _wave(t: float, amplitude: float, rate: float, phase: float) -> float:
    return amplitude * float(np.sin(rate * t + phase) - np.sin(phase))


@dataclass
class Pose:
    """An actor in one frame: its outlines in pixels, and the transform to them."""

    actor: Actor
    pixels: np.ndarray  # (N, 2), x y, continuous: pixel i covers [i, i + 1)
    low: np.ndarray  # (2,) corners of the bounding box
    high: np.ndarray
    whole: np.ndarray  # (2, 3), figure -> pixels
    turns: np.ndarray  # complex (P,), part -> figure
    shifts: np.ndarray


@dataclass
class Scene:
    """A planned video. `read_frame` and `read_mask` render frame by frame, keeping only the last."""

    path: tuple[int, ...]  # of the seed
    size: tuple[int, int]
    backdrop: Backdrop
    actors: list[Actor]  # from far to near
    pan: tuple[float, float, float, float, float]  # amplitude x, y, rate x, y, phase: frame heights
    zoom: tuple[float, float, float, float]  # log scale, amplitude, rate, phase
    shake: tuple[float, float]  # frame heights, radians
    lamp: tuple[float, float, float]  # light over time: amplitude, rate, phase
    tint: np.ndarray
    contrast: float
    shutter: float  # part of the time between frames
    blur: float  # frame heights
    noise: float  # grey levels
    quality: int  # of JPEG, 0: none
    ids: dict[int, tuple[int, int]] = field(default_factory=dict)  # actor's number -> (object id, first frame)

    def __post_init__(self) -> None:
        self._canvas: np.ndarray | None = None
        self._last: tuple[int, np.ndarray, np.ndarray] | None = None

    def camera(self, t: float, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Return world -> pixels at time t, (2, 3), and the camera's shift since frame 0 in frame heights, (2,)."""
        px, py, rx, ry, phase = self.pan
        way = np.array([_wave(t, px, rx, phase), _wave(t, py, ry, phase + 1)])
        jitter, roll = self.shake
        shaken = jitter * np.array(
            [np.sin(1.9 * t + phase) + np.sin(3.1 * t), np.sin(2.3 * t + 2 * phase) + np.sin(2.9 * t)]
        )
        angle = roll * np.sin(0.07 * t + phase) + jitter * 0.3 * np.sin(1.3 * t + phase)
        base, amplitude, rate, lag = self.zoom
        z = np.exp(base + _wave(t, amplitude, rate, lag)) * size[0]
        turn = z * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        return np.column_stack([turn, np.array([size[1], size[0]]) / 2 - turn @ (way + shaken)]), way

    def place(self, actor: Actor, t: float, size: tuple[int, int]) -> np.ndarray:
        """Return the transform from figure to pixels at time t, (2, 3)."""
        view, way = self.camera(t, size)
        motion = actor.motion
        x, y, rate, phase = motion.sweep
        place = np.array(motion.start) + np.array(motion.drift) * t + motion.follow * way
        place = place + (_wave(t, x, rate, phase), _wave(t, y, rate * 1.6, phase))
        size_now = actor.scale * np.exp(_wave(t, *motion.grow))
        amplitude, rate, phase, spin = motion.turn
        angle = _wave(t, amplitude, rate, phase) + spin * t
        deep, rate, phase = motion.squash
        width = actor.facing * (1 - deep * (0.5 - 0.5 * np.cos(rate * t + phase)))
        turn = size_now * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        turn = turn @ np.array([[width, 0.25 * deep * np.sin(rate * t + phase)], [0, 1]])
        whole = np.empty((2, 3))
        whole[:, :2] = view[:, :2] @ turn
        whole[:, 2] = view[:, :2] @ (place - turn @ (actor.centre.real, actor.centre.imag)) + view[:, 2]
        return whole

    def poses(self, t: int, size: tuple[int, int]) -> list[Pose]:
        """Return every actor at frame t, from far to near."""
        poses = []
        for actor in self.actors:
            whole = self.place(actor, t, size)
            turns, shifts = actor.joints(t)
            points = actor.bent(turns[actor.owners] * actor.points + shifts[actor.owners], t)
            pixels = np.stack([points.real, points.imag], 1) @ whole[:, :2].T + whole[:, 2]
            poses.append(Pose(actor, pixels, pixels.min(0), pixels.max(0), whole, turns, shifts))
        return poses

    def cover(self, poses: list[Pose], size: tuple[int, int], ss: int = _SS) -> np.ndarray:
        """Return the number + 1 of the actor visible in every pixel (0: none, or one without a number), uint8."""
        canvas = np.zeros((size[0] * ss, size[1] * ss), np.uint8)
        for pose in poses:
            if pose.low[0] >= size[1] or pose.low[1] >= size[0] or pose.high[0] <= 0 or pose.high[1] <= 0:
                continue
            actor = pose.actor
            loops = np.split(_fixed(pose.pixels, ss), actor.cuts)
            for i in actor.order:
                cv2.fillPoly(canvas, [loops[k] for k in actor.loops_of[i]], max(actor.number + 1, 0), cv2.LINE_8, 4)
        return canvas[ss // 2 :: ss, ss // 2 :: ss]

    def read_mask(self, index: int) -> np.ndarray:
        """Render the id mask of a frame, uint8 (H, W)."""
        if self._last is not None and self._last[0] == index:
            return self._last[2].copy()
        return self._identify(index, self.poses(index, self.size))

    def read_frame(self, index: int) -> np.ndarray:
        """Render a frame, uint8 (H, W, 3), RGB."""
        if self._last is None or self._last[0] != index:
            poses = self.poses(index, self.size)
            self._last = (index, self._render(index, poses), self._identify(index, poses))
        return self._last[1].copy()

    def _identify(self, index: int, poses: list[Pose]) -> np.ndarray:
        table = np.zeros(256, np.uint8)
        for number, (identity, first) in self.ids.items():
            table[number + 1] = identity if index >= first else 0
        return table[self.cover(poses, self.size)]

    def _render(self, t: int, poses: list[Pose]) -> np.ndarray:
        height, width = self.size
        if self._canvas is None:
            self._canvas = paint_backdrop(self.backdrop, height)
        view = self.camera(t, self.size)[0]
        matrix = view[:, :2] / height
        shift = matrix @ (0.5 - np.array(CANVAS) * height) + view[:, 2] - 0.5
        matrix = np.column_stack([matrix, shift])
        frame = cv2.warpAffine(
            self._canvas, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )
        frame = frame.astype(np.float32)
        ahead, behind = (self.camera(t + d, self.size)[0] @ (0, 0, 1) for d in (0.5, -0.5))
        frame = _smear(frame, (ahead - behind) * self.shutter)
        for pose in poses:
            self._draw(frame, pose, t)
        if self.blur * height > 0.25:
            frame = cv2.GaussianBlur(frame, (0, 0), self.blur * height)
        gain = (self.tint * np.exp(_wave(t, *self.lamp))).astype(np.float32)
        frame = (frame * self.contrast + 118 * (1 - self.contrast)) * gain
        rng = numpy_generator(*self.path, 1000 + t)
        if self.noise > 0:
            grain = rng.standard_normal((*self.size, 1), np.float32)
            frame += self.noise * grain
        image = np.clip(frame, 0, 255).astype(np.uint8)
        if self.quality:
            coded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, self.quality])[1]
            image = np.ascontiguousarray(np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)[..., ::-1])
        return image

    def _draw(self, frame: np.ndarray, pose: Pose, t: int) -> None:
        """Paint an actor into the frame (in place), in its own bounding box."""
        height, width = self.size
        actor, whole, turns = pose.actor, pose.whole, pose.turns
        ways = [self.place(actor, t + d, self.size) @ (actor.centre.real, actor.centre.imag, 1) for d in (0.5, -0.5)]
        step = np.clip((ways[0] - ways[1]) * self.shutter, -0.12 * height, 0.12 * height)
        pad = int(np.abs(step).max() / 2 + 3 * actor.soft * height) + 2
        low = np.maximum(np.floor(pose.low).astype(int) - pad, 0)
        high = np.minimum(np.ceil(pose.high).astype(int) + pad + 1, (width, height))
        if (low >= high).any():
            return
        if actor.shadow:
            _shadow(frame, pose.low, pose.high, actor.shadow)
        shape = (int(high[1] - low[1]), int(high[0] - low[0]))
        patch = np.zeros((*shape, 4), np.float32)  # premultiplied colour and cover
        loops = np.split(pose.pixels - low, actor.cuts)
        middles = turns * actor.middles + pose.shifts
        shifts = pose.shifts + actor.bent(middles, t) - middles
        for i in actor.order:
            outline = loops[actor.loops_of[i][0]]
            x0, y0 = np.maximum(np.floor(outline.min(0)).astype(int), 0)
            x1, y1 = np.minimum(np.ceil(outline.max(0)).astype(int) + 1, (shape[1], shape[0]))
            if x0 >= x1 or y0 >= y1:
                continue
            fine = np.zeros(((y1 - y0) * _SS, (x1 - x0) * _SS), np.uint8)
            cv2.fillPoly(fine, [_fixed(loops[k] - (x0, y0), _SS) for k in actor.loops_of[i]], 255, cv2.LINE_8, 4)
            cover = cv2.resize(fine, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
            skin, to_part = self._skin(actor, i)
            joint = np.array([[turns[i].real, -turns[i].imag], [turns[i].imag, turns[i].real]])
            chain = whole[:, :2] @ joint
            offset = whole[:, :2] @ (shifts[i].real, shifts[i].imag) + whole[:, 2] - low - (x0 + 0.5, y0 + 0.5)
            matrix = np.column_stack([chain @ to_part[:, :2], chain @ to_part[:, 2] + offset])
            paint4 = cv2.warpAffine(
                skin, matrix, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
            region = patch[y0:y1, x0:x1]
            region += (paint4.astype(np.float32) - region) * cover[..., None]
        patch = _smear(patch, step)
        if actor.soft * height > 0.25:
            patch[:] = cv2.GaussianBlur(patch, (0, 0), actor.soft * height)
        x = np.arange(shape[1], dtype=np.float32)[None] - shape[1] / 2
        y = np.arange(shape[0], dtype=np.float32)[:, None] - shape[0] / 2
        gain = np.clip(1 + (actor.shade[0] * x + actor.shade[1] * y) / height, 0.3, 1.7)
        region = frame[low[1] : high[1], low[0] : high[0]]
        region *= 1 - patch[..., 3:] / 255
        region += patch[..., :3] * gain[..., None]

    def _skin(self, actor: Actor, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Paint the surface of a part: uint8 (h, w, 4) with full cover, and its pixels -> the part, (2, 3)."""
        if i not in actor.skins:
            part = actor.parts[i]
            low, high = part.points.min(0), part.points.max(0)
            margin = 0.12 * (high - low) + 1e-3
            low, span = low - margin, high - low + 2 * margin
            density = min(actor.scale * self.size[0], 256 / float(span.max()))
            shape = (max(int(span[1] * density), 4), max(int(span[0] * density), 4))
            to_part = np.array([[span[0] / shape[1], 0, low[0]], [0, span[1] / shape[0], low[1]]])
            to_part[:, 2] += 0.5 * to_part[:, :2] @ (1, 1)
            away = np.array([[0.37 * i], [0.71 * i]])  # so that two parts of one cloth do not show the same piece of it
            image = paint(
                actor.surfaces[part.surface], to_part * actor.scale + np.hstack([np.zeros((2, 2)), away]), shape
            )
            for outline, surface in part.decals:
                spots = np.round(((outline - low) / span * (shape[1], shape[0]) - 0.5) * _FINE).astype(np.int32)
                cv2.fillPoly(image, [spots], [float(c) for c in actor.colours[surface]], cv2.LINE_8, 4)
            across = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None, None]
            image *= 1.08 - 0.35 * across**2 + 0.12 * across
            skin = np.full((*shape, 4), 255, np.uint8)
            skin[..., :3] = np.clip(image, 0, 255)
            actor.skins[i] = (skin, to_part)
        return actor.skins[i]


def _fixed(pixels: np.ndarray, ss: int) -> np.ndarray:
    """Convert continuous pixel coordinates to cv2's fixed-point indices on a grid `ss` times finer."""
    return np.round(np.clip(pixels * ss - 0.5, -8000, 16000) * _FINE).astype(np.int32)


def _smear(image: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Blur along `step` (pixels), the motion while the shutter is open."""
    reach = int(np.ceil(np.abs(step).max() / 2))
    if np.hypot(*step) < 1.2:
        return image
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    for u in np.linspace(-0.5, 0.5, 4 * reach + 1):
        x, y = step * u + reach
        x0, y0 = min(int(x), 2 * reach - 1), min(int(y), 2 * reach - 1)
        fx, fy = x - x0, y - y0
        kernel[y0 : y0 + 2, x0 : x0 + 2] += np.outer([1 - fy, fy], [1 - fx, fx])
    return cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)


def _shadow(frame: np.ndarray, low_corner: np.ndarray, high_corner: np.ndarray, strength: float) -> None:
    """Darken the ground under an actor (in place)."""
    (left, top), (right, low) = low_corner, high_corner
    rx, ry = 0.5 * (right - left), 0.07 * (right - left) + 0.03 * (low - top)
    x0, y0 = max(int(left - 0.2 * rx), 0), max(int(low - 2.2 * ry), 0)
    x1, y1 = min(int(right + 0.2 * rx) + 1, frame.shape[1]), min(int(low + 1.8 * ry) + 1, frame.shape[0])
    if x0 >= x1 or y0 >= y1:
        return
    x = (np.arange(x0, x1, dtype=np.float32) - (left + right) / 2) / max(rx, 1)
    y = (np.arange(y0, y1, dtype=np.float32) - low + 0.3 * ry) / max(ry, 1)
    distance = x[None] ** 2 + y[:, None] ** 2
    frame[y0:y1, x0:x1] *= (1 - strength * np.clip(1.2 - distance, 0, 1))[..., None]
