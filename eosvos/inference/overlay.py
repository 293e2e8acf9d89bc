"""Pictures: masks over their video (a sheet of frames and an animation), and the curves of a training."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from eosvos.data.masks import read_mask
from eosvos.data.palette import DAVIS_PALETTE
from eosvos.data.sequence import Sequence
from eosvos.errors import UserError
from eosvos.files import atomic, listed

WIDTH = 432  # pixels, of the animation; half of DAVIS' 480p
TILE = 288  # pixels, of one frame on the sheet
GIVEN = (255, 220, 0)  # the border of a frame whose mask was given


def overlay(
    sequence: Sequence,
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
        return draw(sequence.read_frame(index), ids, width, given=index in sequence.objects.values())

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


def curves(jsonl: str | Path, out: str | Path) -> Path:
    """Draw a training log: losses, J of the validation and the mean learning rate against the iteration.

    `jsonl`: one JSON object per line, with `iteration` and any of `loss`, `J`, `rate_mean`, ... (lines without a key
    are left out of its curve). `out`: the PNG to write; it is returned. Raises UserError where the log is missing,
    broken before its last line, or has nothing to draw.
    """
    jsonl, out = Path(jsonl), Path(out)
    lines = _read_log(jsonl)
    panels: list[tuple[str, Callable[[str], bool], bool]] = [
        ("loss", lambda key: "loss" in key, False),
        ("J", lambda key: key == "J" or key.startswith(("J_", "J/", "J@")), False),
        ("learning rate", lambda key: key == "rate_mean" or key.startswith("rate_mean"), True),
    ]
    series = {
        key: _series(lines, key) for key in dict.fromkeys(key for line in lines for key in line) if key != "iteration"
    }
    shown = [(title, [key for key in series if wanted(key) and series[key][0]], log) for title, wanted, log in panels]
    shown = [panel for panel in shown if panel[1]]
    if not shown:
        raise UserError(f"{jsonl}: no line has an iteration with a loss, J or rate_mean; give the log of a training")
    figure, axes = subplots(1, len(shown), figsize=(4.6 * len(shown), 3.4))
    for axis, (title, keys, log) in zip(axes[0], shown, strict=True):
        for key in keys:
            x, y = series[key]
            marker = "o" if len(x) <= 40 else None
            (line,) = axis.plot(x, y, alpha=0.3 if len(x) > 100 else 1, linewidth=1.2, marker=marker, markersize=3)
            if len(x) > 100:  # a running mean is what the eye can follow
                axis.plot(x, _smooth(y), color=line.get_color(), label=key)
            else:
                line.set_label(key)
        axis.set(title=title, xlabel="iteration")
        if log and all(value > 0 for key in keys for value in series[key][1]):
            axis.set_yscale("log")
            plain_ticks(axis.yaxis)
        if len(keys) > 1:
            axis.legend(fontsize=8, frameon=False)
        axis.grid(alpha=0.25)
    with atomic(out) as path:
        figure.savefig(path, dpi=120, format="png")
    return out


def subplots(rows: int = 1, columns: int = 1, *, figsize=None, dpi=None, **more):
    """A figure without a screen and its axes (rows, columns); more: settings of `Figure.subplots`.

    Apart from pyplot, whose backend and open figures are those of the program around us. Imported where something is
    drawn: it takes half a second.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=figsize, dpi=dpi, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **more)


def plain_ticks(axis) -> None:
    """Numbers as 0.02 and 30, not as powers, on a logarithmic axis; not more of them than can be read."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _read_log(path: Path) -> list[dict]:
    try:
        text = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UserError(f"{path}: this log cannot be read ({error.strerror}); give the log of a training") from error
    lines = []
    for number, line in enumerate(text, 1):
        try:
            content = json.loads(line)
            if isinstance(content, dict) and "iteration" in content:
                lines.append(content)
        except ValueError as error:
            if number < len(text):  # the last line may be in the making
                raise UserError(f"{path}: line {number} is no JSON; give the log of a training") from error
    return lines


def _series(lines: list[dict], key: str) -> tuple[list[float], list[float]]:
    """Iterations and values where `key` has a finite number; a resumed training's later line wins."""
    found = {}
    for line in lines:
        value = line.get(key)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and np.isfinite(value):
            found[float(line["iteration"])] = float(value)
    return sorted(found), [found[x] for x in sorted(found)]


def _smooth(values: list[float]) -> np.ndarray:
    half = max(1, len(values) // 40)
    padded = np.pad(values, half, mode="edge")
    return np.convolve(padded, np.ones(2 * half + 1) / (2 * half + 1), mode="valid")


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
