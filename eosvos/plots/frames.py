"""A run's frames: a sheet of its best, median and worst ones, and videos of runs side by side, with the truth's contour
in white."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from eosvos.data.image_files import several
from eosvos.data.masks import read_mask
from eosvos.data.sequence import VideoSequence
from eosvos.data.video.write import write_video
from eosvos.errors import UserError
from eosvos.evaluation.metrics.region_contour import ScoringRules
from eosvos.evaluation.predictions import open_predictions
from eosvos.files import atomic, listed
from eosvos.inference.overlay import animate, draw, tile_images
from eosvos.plots.bars_and_curves import per_frame
from eosvos.plots.runs import Run, means
from eosvos.plots.style import font_file, readable

Reopen = Callable[
    [Run, Sequence[str]], list[VideoSequence]
]  # a run's sequences of some names; UserError: they are gone
Drawing = Callable[[Path], None]  # writes a picture

PANEL = (400, 300)  # pixels at most, width and height, of a frame in a picture; smaller ones are enlarged to it
STRIP = 22  # pixels of the line of text above a frame
GAP = 6
FPS = 12.0  # of videos: half the speed of DAVIS, so that the eye can follow two panels
LONGEST = 120  # frames of an animation, which is held in memory as a whole


@dataclass(frozen=True)
class Masks:
    """A run's id masks uint8 (H, W) of a video: the frames that have one, and what reads it."""

    frames: frozenset[int]
    read: Callable[[int], np.ndarray]


@dataclass(frozen=True)
class Frame:
    """A measured frame of a run and its J, the mean over the objects that count there."""

    sequence: str
    name: str
    region: float


def contact_sheets(runs: Sequence[Run], reopen: Reopen) -> Iterator[tuple[str, Drawing]]:
    """The contact sheet of each run of which frames can be had: the picture's name, and what draws it."""
    for k, run in enumerate(runs):
        names = sorted({frame.sequence for row in pick_frames(run).values() for frame in row})
        found = _reopened([run], reopen, names)
        if names and found:
            number = f"-{k + 1}" if len(runs) > 1 else ""
            yield f"contact_sheet{number}.png", partial(contact_sheet, run, {one.name: one for one in found})


def videos(runs: Sequence[Run], reopen: Reopen, names: Sequence[str]) -> Iterator[tuple[str, Drawing]]:
    """A video of the runs side by side for each of the sequences `names`, where they can be had; animated where PyAV is
    not installed."""
    found = _reopened(runs, reopen, names or pick_sequences(runs))
    ending = "mp4" if importlib.util.find_spec("av") else "webp"
    if found and ending == "webp":
        _say("video: animated .webp instead of .mp4, for want of PyAV: pip install 'eosvos[video]'")
    for one in found:
        yield f"side_by_side/{one.name}.{ending}", partial(side_by_side, runs, one)


def pick_frames(run: Run, count: int = 4) -> dict[str, list[Frame]]:
    """The best, median and worst frames of a run by J, `count` of each: of different sequences as far as there are."""
    found = [
        Frame(result.name, name, float(j))
        for result in run.measured
        for name, j in zip(result.scored, per_frame(result), strict=True)
        if not math.isnan(j)
    ]
    median = float(np.median([frame.region for frame in found])) if found else math.nan
    orders: dict[str, Callable[[Frame], tuple[bool, float] | float]] = {
        # Exactly 1 has nearly no frame but those without the object, which show nothing.
        "best": lambda frame: (frame.region == 1, -frame.region),
        "median": lambda frame: abs(frame.region - median),
        "worst": lambda frame: frame.region,
    }
    return {word: _of_many(sorted(found, key=order), count) for word, order in orders.items()}


def pick_sequences(runs: Sequence[Run]) -> list[str]:
    """Three that tell most: of one run the worst, median and best by J; of several those where the first run gains
    least on the second, as much as in the median, and most. Where nothing is measured, the first one."""
    first, *others = [{result.name: means(result)[0] for result in run.measured} for run in runs[:2]]
    other = others[0] if others else dict.fromkeys(first, 0.0)
    gain = {name: j - other[name] for name, j in first.items() if name in other}
    names = sorted(gain, key=lambda name: (gain[name], name))
    if not names:
        return [result.name for result in runs[0].results.sequences[:1]]
    return list(dict.fromkeys([names[0], names[len(names) // 2], names[-1]]))


def frames_with_masks(runs: Sequence[Run], one: VideoSequence) -> list[int]:
    """The frames of a video for which every run has a mask."""
    with ExitStack() as stack:
        return _common([stack.enter_context(_masks(run, [one]))[one.name] for run in runs], one)


def contact_sheet(run: Run, videos: Mapping[str, VideoSequence], out: Path, *, count: int = 4) -> None:
    """Draw the best, median and worst frames of a run, a row each: its masks tinted, the truth's contour in white."""
    rows = []
    with _masks(run, list(videos.values())) as masks:
        for word, frames in pick_frames(run, count).items():
            tiles: list[tuple[np.ndarray, str]] = []
            for frame in frames:
                one = videos[frame.sequence]
                index = one.frame_names.index(frame.name)
                image = _panel(one.read_frame(index), masks[one.name].read(index), one.mask(index))
                tiles.append((image, f"J {frame.region:.2f}  {frame.sequence} {frame.name}"))
            size = (PANEL[0], max(image.shape[0] for image, _ in tiles))
            rows.append((f"{word} frames by J", [_titled(image, text, size) for image, text in tiles]))
    width = max(len(tiles) for _, tiles in rows) * (PANEL[0] + GAP) - GAP
    title = f"{run.label}: tint: its masks; white line: the truth; frames of different sequences where there are"
    parts = [_text(title, width, 15)]
    for text, row in rows:
        parts += [_text("", width, 7), _text(text, width, 17), tile_images(row, len(row), GAP)]
    widest = max(part.shape[1] for part in parts)
    sheet = np.concatenate([np.pad(p, ((0, 0), (0, widest - p.shape[1]), (0, 0)), constant_values=255) for p in parts])
    with atomic(out) as path:
        Image.fromarray(sheet).save(path, format="PNG")


def side_by_side(runs: Sequence[Run], one: VideoSequence, out: Path) -> None:
    """Write the masks of runs over a video beside one another, of a single run beside the truth: as an .mp4, or for
    that ending of `out` an animated .webp. Each panel has the truth's contour and the frame's J, where there is one;
    frames without a mask are left out."""
    found = [{result.name: result for result in run.results.sequences}.get(one.name) for run in runs]
    region = [{} if r is None else dict(zip(r.scored, per_frame(r), strict=True)) for r in found]

    def drawn(masks: Sequence[Masks], frames: Sequence[int]) -> Iterator[np.ndarray]:
        for index in frames:
            image, truth, name = one.read_frame(index), one.mask(index), one.frame_names[index]
            else_told = "given" if index in one.objects.values() else ""
            tiles = []
            if len(runs) == 1:
                empty = np.zeros(one.size, np.uint8)
                text = "truth" if truth is not None else "no truth for this frame"
                tiles = [_titled(_panel(image, empty if truth is None else truth, truth), f"{name}  {text}")]
            for run, values, of in zip(runs, region, masks, strict=True):
                ids = of.read(index)
                j = values.get(name, math.nan)
                figure = else_told if math.isnan(j) else f"J {j:.2f}"
                tiles.append(_titled(_panel(image, ids, truth), f"{figure}  {run.label}".strip()))
            yield tile_images(tiles, len(tiles) if len(tiles) < 4 else -(-len(tiles) // 2), GAP)

    with ExitStack() as stack:
        masks = [stack.enter_context(_masks(run, [one]))[one.name] for run in runs]
        every = _common(masks, one)
        if out.suffix == ".webp":
            chosen = np.linspace(0, len(every) - 1, min(len(every), LONGEST)).round().astype(int)
            animate(drawn(masks, [every[k] for k in chosen]), out, FPS * len(chosen) / len(every))
        else:
            write_video(out, drawn(masks, every), FPS)


def _reopened(runs: Sequence[Run], reopen: Reopen, names: Sequence[str]) -> list[VideoSequence]:
    """Sequences of the first run; none where the data or all masks of one are gone, which is said."""
    try:
        found = reopen(runs[0], names)
        bare = [one.name for one in found if not frames_with_masks(runs, one)]
    except UserError as error:
        _say(f"{runs[0].label}: no pictures of frames: {error}; if the data has moved, give its folder with data_root=")
        return []
    if bare:
        _say(f"{runs[0].label}: no pictures of frames: there are no masks of {several(bare)} any more")
    return [] if bare else found


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextmanager
def _masks(run: Run, videos: Sequence[VideoSequence]) -> Iterator[dict[str, Masks]]:
    """The masks of some sequences by name: an evaluation's own, or those of another program that were scored. Raises
    UserError where the latter are not there any more."""
    fingerprint = run.results.fingerprint
    if "results" not in fingerprint:
        yield {one.name: _own(run.results.out / "masks" / one.name, one) for one in videos}
        return
    out, binary = run.results.out, fingerprint.get("binary")
    scored = open_predictions(
        fingerprint["results"], videos, ScoringRules(), out=out, dataset="this run", missing="empty", binary=binary
    )
    with scored as (found, _):
        every = fingerprint.get("missing") == "empty"
        there = {name: set() if one.masks is None else set(one.masks.files) for name, one in found.items()}
        yield {
            one.name: Masks(
                frozenset(k for k, name in enumerate(one.frame_names) if every or name in there[one.name]),
                found[one.name],
            )
            for one in videos
        }


def _common(found: Sequence[Masks], one: VideoSequence) -> list[int]:
    return [k for k in range(len(one)) if all(k in masks.frames for masks in found)]


def _own(folder: Path, one: VideoSequence) -> Masks:
    there = {Path(name).stem for name in listed(folder, ".png")}
    frames = frozenset(k for k, name in enumerate(one.frame_names) if name in there)
    return Masks(frames, lambda index: read_mask(folder / f"{one.frame_names[index]}.png", size=one.size))


def _of_many(frames: Sequence[Frame], count: int) -> list[Frame]:
    """The first `count`, one of each sequence before a second of any."""
    firsts = list({frame.sequence: frame for frame in reversed(frames)}.values())[::-1]
    ranked = sorted(firsts, key=frames.index)[:count]
    ranked += [frame for frame in frames if frame not in ranked][: count - len(ranked)]
    return sorted(ranked, key=frames.index)


def _panel(image: np.ndarray, ids: np.ndarray, truth: np.ndarray | None) -> np.ndarray:
    """A frame with masks that fits into PANEL; smaller ones are enlarged by a whole factor, and then scaled down."""
    height, width = image.shape[:2]
    times = max(1, min(-(-PANEL[0] // width), -(-PANEL[1] // height)))

    def large(pixels: np.ndarray) -> np.ndarray:
        return pixels.repeat(times, 0).repeat(times, 1)

    within = max(1, min(PANEL[0], round(PANEL[1] * width / height)))
    return draw(large(image), large(ids), within, truth=None if truth is None else large(truth))


def _titled(image: np.ndarray, text: str, size: tuple[int, int] | None = None) -> np.ndarray:
    """A line of text above a picture; centred on white in a tile of `size` (width, height) where that is given."""
    width, height = size or (image.shape[1], image.shape[0])
    tile = np.full((height, width, 3), 255, np.uint8)
    y, x = 0, (width - image.shape[1]) // 2
    tile[y : y + image.shape[0], x : x + image.shape[1]] = image
    return np.concatenate([_text(text, width, 13), tile])


def _text(text: str, width: int, size: int) -> np.ndarray:
    """Black on white, uint8 (h, width, 3); what does not fit is shortened in the middle."""
    font = _font(size)
    strip = Image.new("RGB", (width, STRIP * size // 13), "white")
    fitting = readable(text, width - 6, font.getlength)
    ImageDraw.Draw(strip).text((3, strip.height // 2), fitting, "black", font, anchor="lm")
    return np.array(strip)


@lru_cache(maxsize=4)
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(font_file()), size)
