"""Overlays: masks drawn over their frames, as a sheet of frames and as an animation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    """Draw masks over their video, as a sheet of frames and as an animation; frames with given masks are marked.

    Args:
        sequence: the video.
        masks: folder with FRAME.png.
        out: folder to write SEQUENCE.png and SEQUENCE.webp into.
        frames: largest number of frames in the animation, evenly spaced; it lasts about as long as the video at 24
            frames per second.
        columns: of the sheet.
        rows: of the sheet.
        again: whether to draw although the files are newer than the masks.

    Returns:
        The paths of sheet and animation.

    Raises:
        UserError: if a mask is missing.
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
        Image.fromarray(tile_images(tiles, columns)).save(path, format="PNG")
    return sheet, animation


def animate(frames: Iterable[np.ndarray], out: Path, fps: float) -> None:
    """Write an animated WebP, which plays in every browser; all frames are held in memory.

    Args:
        frames: uint8 (H, W, 3), RGB.
        out: the file.
        fps: frames per second.
    """
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
    """Draw an id mask over a frame, tinted and outlined in DAVIS's colours.

    Args:
        image: uint8 (H, W, 3), RGB.
        ids: id mask, uint8 (H, W).
        width: largest width of the result in pixels.
        given: whether the mask was given; the frame then gets a yellow border.
        truth: true id mask, uint8 (H, W); it is then outlined instead, in white on black.

    Returns:
        uint8 (h, w, 3), RGB.
    """
    scale = min(1.0, width / image.shape[1])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image.copy()
    ids = cv2.resize(ids, size, interpolation=cv2.INTER_NEAREST)
    tinted = image.copy()
    for i in np.unique(ids):
        if i not in (0, 255):
            tinted[ids == i] = _colour(i) if truth is None else _bright(i)
    image = cv2.addWeighted(image, 0.6, tinted, 0.4, 0)
    lines = ids if truth is None else cv2.resize(truth, size, interpolation=cv2.INTER_NEAREST)
    for i in np.unique(lines):
        if i not in (0, 255):
            contours, _ = cv2.findContours((lines == i).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
            for colour, thickness in [(_bright(i), 1)] if truth is None else [((0, 0, 0), 3), ((255, 255, 255), 1)]:
                cv2.drawContours(image, contours, -1, colour, thickness, cv2.LINE_AA)
    if given:
        cv2.rectangle(image, (0, 0), (size[0] - 1, size[1] - 1), GIVEN, 5)
        image = _write(image, "given", (size[0] - 46, 5))
    return image


def _colour(i: int) -> np.ndarray:
    return DAVIS_PALETTE[i]


def _bright(i: int) -> tuple[int, ...]:
    return tuple(int(value) for value in np.minimum(_colour(i).astype(int) * 2, 255))


def _spread(length: int, count: int) -> list[int]:
    """Return at most `count` evenly spaced indices, with the first and the last."""
    return sorted(set(np.linspace(0, length - 1, min(count, length)).round().astype(int).tolist()))


def _write(image: np.ndarray, text: str, at: tuple[int, int]) -> np.ndarray:
    """Write white text with a dark outline; by Pillow, as OpenCV spaces letters by their thickness."""
    drawing = Image.fromarray(image)
    ImageDraw.Draw(drawing).text(
        at, text, (255, 255, 255), ImageFont.load_default(13), stroke_width=2, stroke_fill=(0, 0, 0)
    )
    return np.array(drawing)


def tile_images(tiles: Sequence[np.ndarray], columns: int, gap: int = 4) -> np.ndarray:
    """Arrange images of one size in rows, on white.

    Args:
        tiles: uint8 (H, W, 3) each.
        columns: images in a row.
        gap: pixels between two images.

    Returns:
        uint8 (h, w, 3).
    """
    height, width = tiles[0].shape[:2]
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for k, tile in enumerate(tiles):
        y, x = k // columns * (height + gap), k % columns * (width + gap)
        sheet[y : y + height, x : x + width] = tile
    return sheet
