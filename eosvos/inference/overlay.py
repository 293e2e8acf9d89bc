"""Masks drawn over their video: a sheet of frames and an animation."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from eosvos.data.masks import read_mask
from eosvos.data.palette import DAVIS_PALETTE
from eosvos.data.sequence import VideoSequence
from eosvos.files import atomic, listed

WIDTH = 432  # pixels, of the animation; half of DAVIS' 480p
TILE = 288  # pixels, of one frame on the sheet
GIVEN = (255, 220, 0)  # the border of a frame whose mask was given


def overlay(
    sequence: VideoSequence,
    masks: Path,
    out: Path,
    *,
    frames: int = 48,
    columns: int = 4,
    rows: int = 3,
    again: bool = False,
) -> tuple[Path, Path]:
    """Draw a run's masks over its video: `out`/<sequence>.png, a sheet of frames, and `out`/<sequence>.webp, animated.

    `masks`: the folder with <frame>.png. `frames`: how many, evenly spaced, the animation has at most; it lasts about
    as long as the video at 24 frames per second. Frames whose masks were given are marked. Pictures that are there and
    newer than the masks are left unless `again`. Returns the two paths. Raises UserError where a mask is missing.
    """
    sheet, animation = out / f"{sequence.name}.png", out / f"{sequence.name}.webp"
    newest = max(((masks / name).stat().st_mtime for name in listed(masks, ".png")), default=0.0)
    if not again and all(path.exists() and path.stat().st_mtime >= newest for path in (sheet, animation)):
        return sheet, animation

    def drawn(index: int, width: int) -> np.ndarray:
        ids = read_mask(masks / f"{sequence.frame_names[index]}.png")
        return draw(sequence.read_frame(index), ids, width, given=index in sequence.first_frame.values())

    spread = _spread(len(sequence), frames)
    animate((drawn(index, WIDTH) for index in spread), animation, 24 * len(spread) / len(sequence))
    shown = _spread(len(sequence), columns * rows)
    tiles = [_write(drawn(index, TILE), sequence.frame_names[index], (7, 5)) for index in shown]
    with atomic(sheet) as path:
        Image.fromarray(_tiled(tiles, columns)).save(path, format="PNG")
    return sheet, animation


def animate(frames: Iterable[np.ndarray], out: Path, fps: float) -> None:
    """Write frames, uint8 (H, W, 3) RGB, as an animated WebP of `fps` frames per second, which plays in every browser;
    all are held at once."""
    moving = [Image.fromarray(frame) for frame in frames]
    with atomic(out) as path:
        moving[0].save(
            path,
            format="WEBP",
            save_all=True,
            append_images=moving[1:],
            duration=round(1000 / fps),
            loop=0,
            quality=75,
            method=2,
        )


def draw(
    image: np.ndarray,
    ids: np.ndarray,
    width: int = WIDTH,
    *,
    given: bool = False,
    truth: np.ndarray | None = None,
) -> np.ndarray:
    """A frame, uint8 (H, W, 3) RGB, with its id mask, uint8 (H, W), tinted and outlined in the DAVIS colours.

    At most `width` pixels wide. A frame whose mask was `given` has a yellow border. `truth`: the true id mask; it is
    then the one outlined, in white on black. Returns uint8 (h, w, 3).
    """
    scale = min(1.0, width / image.shape[1])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    picture = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image.copy()
    ids = cv2.resize(ids, size, interpolation=cv2.INTER_NEAREST)
    tinted = picture.copy()
    for i in np.unique(ids):
        if i not in (0, 255):
            tinted[ids == i] = _colour(i) if truth is None else _bright(i)
    picture = cv2.addWeighted(picture, 0.6, tinted, 0.4, 0)
    lines = ids if truth is None else cv2.resize(truth, size, interpolation=cv2.INTER_NEAREST)
    for i in np.unique(lines):
        if i not in (0, 255):
            contours, _ = cv2.findContours((lines == i).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
            for colour, thickness in [(_bright(i), 1)] if truth is None else [((0, 0, 0), 3), ((255, 255, 255), 1)]:
                cv2.drawContours(picture, contours, -1, colour, thickness, cv2.LINE_AA)
    if given:
        cv2.rectangle(picture, (0, 0), (size[0] - 1, size[1] - 1), GIVEN, 5)
        picture = _write(picture, "given", (size[0] - 46, 5))
    return picture


def _colour(i: int) -> np.ndarray:
    return DAVIS_PALETTE[i]


def _bright(i: int) -> tuple[int, ...]:
    return tuple(int(value) for value in np.minimum(_colour(i).astype(int) * 2, 255))


def _spread(length: int, count: int) -> list[int]:
    """At most `count` indices, evenly spaced, with the first and the last."""
    return sorted(set(np.linspace(0, length - 1, min(count, length)).round().astype(int).tolist()))


def _write(picture: np.ndarray, text: str, at: tuple[int, int]) -> np.ndarray:
    """White on a dark edge; Pillow, because OpenCV's letters are spaced by their thickness."""
    image = Image.fromarray(picture)
    ImageDraw.Draw(image).text(
        at, text, (255, 255, 255), ImageFont.load_default(13), stroke_width=2, stroke_fill=(0, 0, 0)
    )
    return np.array(image)


def _tiled(tiles: list[np.ndarray], columns: int) -> np.ndarray:
    height, width = tiles[0].shape[:2]
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    gap = 4
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for k, tile in enumerate(tiles):
        y, x = k // columns * (height + gap), k % columns * (width + gap)
        sheet[y : y + height, x : x + width] = tile
    return sheet
