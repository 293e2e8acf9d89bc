"""Frames of runs: a contact sheet of the best, median and worst ones, and videos of runs side by side."""

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

# Opens the sequences of these names that a run was made of; raises UserError if they are gone.
Reopen = Callable[[Run, Sequence[str]], list[VideoSequence]]
Drawing = Callable[[Path], None]  # writes an image or a video

PANEL = (400, 300)  # pixels at most, width and height, of a frame in a picture; smaller ones are enlarged to it
STRIP = 22  # pixels of the line of text above a frame
GAP = 6
FPS = 12.0  # of videos: half the speed of DAVIS, so that the eye can follow two panels
LONGEST = 120  # frames of an animation, which is held in memory as a whole


@dataclass(frozen=True)
class Masks:
    """A run's id masks of a video: indices of the frames that have one, and a function that reads it, uint8 (H, W)."""

    frames: frozenset[int]
    read: Callable[[int], np.ndarray]


@dataclass(frozen=True)
class Frame:
    """A scored frame of a run and its J, the mean over the objects that count in it."""

    sequence: str
    name: str
    region: float


def contact_sheets(runs: Sequence[Run], reopen: Reopen) -> Iterator[tuple[str, Drawing]]:
    """Yield file name and drawing function of a contact sheet for each run whose frames are available."""
    for k, run in enumerate(runs):
        names = sorted({frame.sequence for row in pick_frames(run).values() for frame in row})
        videos_found = reopened([run], reopen, names)
        if names and videos_found:
            number = f"-{k + 1}" if len(runs) > 1 else ""
            yield (
                f"contact_sheet{number}.png",
                partial(contact_sheet, run, {video.name: video for video in videos_found}),
            )


def videos(runs: Sequence[Run], reopen: Reopen, names: Sequence[str]) -> Iterator[tuple[str, Drawing]]:
    """Yield file name and drawing function of a video of the runs side by side, for each available sequence.

    Args:
        runs: the runs to compare.
        reopen: opens the sequences.
        names: of the sequences; empty: `pick_sequences`. Without PyAV the videos are animated WebP files.
    """
    videos_found = reopened(runs, reopen, names or pick_sequences(runs))
    ending = "mp4" if importlib.util.find_spec("av") else "webp"
    if videos_found and ending == "webp":
        _say("video: animated .webp instead of .mp4, for want of PyAV: pip install 'eosvos[video]'")
    for video in videos_found:
        yield f"side_by_side/{video.name}.{ending}", partial(side_by_side, runs, video)


def pick_frames(run: Run, count: int = 4) -> dict[str, list[Frame]]:
    """Choose the best, median and worst frames of a run by J, `count` of each, if possible of different sequences."""
    videos_found = [
        Frame(result.name, name, float(j))
        for result in run.measured
        for name, j in zip(result.scored, per_frame(result), strict=True)
        if not math.isnan(j)
    ]
    median = float(np.median([frame.region for frame in videos_found])) if videos_found else math.nan
    orders: dict[str, Callable[[Frame], tuple[bool, float] | float]] = {
        # Exactly 1 has nearly no frame but those without the object, which show nothing.
        "best": lambda frame: (frame.region == 1, -frame.region),
        "median": lambda frame: abs(frame.region - median),
        "worst": lambda frame: frame.region,
    }
    return {word: _of_many(sorted(videos_found, key=order), count) for word, order in orders.items()}


def pick_sequences(runs: Sequence[Run]) -> list[str]:
    """Choose three sequences: of one run the worst, median and best by J; of several those with the lowest, median and
    highest gain in J of the first run over the second. If nothing is scored, the first one."""
    first, *others = [{result.name: means(result)[0] for result in run.measured} for run in runs[:2]]
    other = others[0] if others else dict.fromkeys(first, 0.0)
    gain = {name: j - other[name] for name, j in first.items() if name in other}
    names = sorted(gain, key=lambda name: (gain[name], name))
    if not names:
        return [result.name for result in runs[0].results.sequences[:1]]
    return list(dict.fromkeys([names[0], names[len(names) // 2], names[-1]]))


def frames_with_masks(runs: Sequence[Run], video: VideoSequence) -> list[int]:
    """Return the indices of the frames for which every run has a mask."""
    with ExitStack() as stack:
        return _common([stack.enter_context(open_masks(run, [video]))[video.name] for run in runs], video)


def contact_sheet(run: Run, videos: Mapping[str, VideoSequence], out: Path, *, count: int = 4) -> None:
    """Draw the best, median and worst frames of a run in a row each: its masks tinted, true contours in white.

    Args:
        run: the run.
        videos: its sequences by name.
        out: the PNG file.
        count: frames per row.
    """
    rows = []
    with open_masks(run, list(videos.values())) as masks:
        for word, frames in pick_frames(run, count).items():
            tiles: list[tuple[np.ndarray, str]] = []
            for frame in frames:
                video = videos[frame.sequence]
                index = video.frame_names.index(frame.name)
                image = panel(video.read_frame(index), masks[video.name].read(index), video.mask(index))
                tiles.append((image, f"J {frame.region:.2f}  {frame.sequence} {frame.name}"))
            size = (PANEL[0], max(image.shape[0] for image, _ in tiles))
            rows.append((f"{word} frames by J", [titled(image, text, size) for image, text in tiles]))
    width = max(len(tiles) for _, tiles in rows) * (PANEL[0] + GAP) - GAP
    title = f"{run.label}: tint: its masks; white line: the truth; frames of different sequences where there are"
    parts = [text_line(title, width, 15)]
    for text, row in rows:
        parts += [text_line("", width, 7), text_line(text, width, 17), tile_images(row, len(row), GAP)]
    widest = max(part.shape[1] for part in parts)
    sheet = np.concatenate([np.pad(p, ((0, 0), (0, widest - p.shape[1]), (0, 0)), constant_values=255) for p in parts])
    with atomic(out) as path:
        Image.fromarray(sheet).save(path, format="PNG")


def side_by_side(runs: Sequence[Run], video: VideoSequence, out: Path) -> None:
    """Write a video of the runs' masks side by side, of a single run beside the truth.

    Each panel has the true contour and the frame's J, if known. Frames without a mask are left out.

    Args:
        runs: the runs to compare.
        video: the sequence.
        out: an .mp4 file or an animated .webp file.
    """
    videos_found = [{result.name: result for result in run.results.sequences}.get(video.name) for run in runs]
    region = [{} if r is None else dict(zip(r.scored, per_frame(r), strict=True)) for r in videos_found]

    def drawn(masks: Sequence[Masks], frames: Sequence[int]) -> Iterator[np.ndarray]:
        for index in frames:
            image, truth, name = video.read_frame(index), video.mask(index), video.frame_names[index]
            else_told = "given" if index in video.first_frame.values() else ""
            tiles = []
            if len(runs) == 1:
                empty = np.zeros(video.size, np.uint8)
                text = "truth" if truth is not None else "no truth for this frame"
                tiles = [titled(panel(image, empty if truth is None else truth, truth), f"{name}  {text}")]
            for run, values, of in zip(runs, region, masks, strict=True):
                ids = of.read(index)
                j = values.get(name, math.nan)
                figure = else_told if math.isnan(j) else f"J {j:.2f}"
                tiles.append(titled(panel(image, ids, truth), f"{figure}  {run.label}".strip()))
            yield tile_images(tiles, len(tiles) if len(tiles) < 4 else -(-len(tiles) // 2), GAP)

    with ExitStack() as stack:
        masks = [stack.enter_context(open_masks(run, [video]))[video.name] for run in runs]
        every = _common(masks, video)
        if out.suffix == ".webp":
            chosen = np.linspace(0, len(every) - 1, min(len(every), LONGEST)).round().astype(int)
            animate(drawn(masks, [every[k] for k in chosen]), out, FPS * len(chosen) / len(every))
        else:
            write_video(out, drawn(masks, every), FPS)


def reopened(runs: Sequence[Run], reopen: Reopen, names: Sequence[str]) -> list[VideoSequence]:
    """Open sequences of the first run; returns none, with a message, if the data or all masks of one are gone."""
    try:
        videos_found = reopen(runs[0], names)
        bare = [video.name for video in videos_found if not frames_with_masks(runs, video)]
    except UserError as error:
        _say(f"{runs[0].label}: no pictures of frames: {error}; if the data has moved, give its folder with data_root=")
        return []
    if bare:
        _say(f"{runs[0].label}: no pictures of frames: there are no masks of {several(bare)} any more")
    return [] if bare else videos_found


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextmanager
def open_masks(run: Run, videos: Sequence[VideoSequence]) -> Iterator[dict[str, Masks]]:
    """Open the masks of sequences, by name: those of the run, or the scored ones of another program.

    Raises UserError if the latter are gone.
    """
    fingerprint = run.results.fingerprint
    if "results" not in fingerprint:
        yield {video.name: _own(run.results.out / "masks" / video.name, video) for video in videos}
        return
    out, binary = run.results.out, fingerprint.get("binary")
    scored = open_predictions(
        fingerprint["results"], videos, ScoringRules(), out=out, dataset="this run", missing="empty", binary=binary
    )
    with scored as (videos_found, _):
        every = fingerprint.get("missing") == "empty"
        there = {name: set() if video.masks is None else set(video.masks.files) for name, video in videos_found.items()}
        yield {
            video.name: Masks(
                frozenset(k for k, name in enumerate(video.frame_names) if every or name in there[video.name]),
                videos_found[video.name],
            )
            for video in videos
        }


def _common(videos_found: Sequence[Masks], video: VideoSequence) -> list[int]:
    return [k for k in range(len(video)) if all(k in masks.frames for masks in videos_found)]


def _own(folder: Path, video: VideoSequence) -> Masks:
    there = {Path(name).stem for name in listed(folder, ".png")}
    frames = frozenset(k for k, name in enumerate(video.frame_names) if name in there)
    return Masks(frames, lambda index: read_mask(folder / f"{video.frame_names[index]}.png", size=video.size))


def _of_many(frames: Sequence[Frame], count: int) -> list[Frame]:
    """Return the first `count` frames, one per sequence before a second one of any."""
    firsts = list({frame.sequence: frame for frame in reversed(frames)}.values())[::-1]
    ranked = sorted(firsts, key=frames.index)[:count]
    ranked += [frame for frame in frames if frame not in ranked][: count - len(ranked)]
    return sorted(ranked, key=frames.index)


def panel(image: np.ndarray, ids: np.ndarray, truth: np.ndarray | None) -> np.ndarray:
    """Draw a frame with masks to fit PANEL; small frames are enlarged by an integer factor first."""
    height, width = image.shape[:2]
    times = max(1, min(-(-PANEL[0] // width), -(-PANEL[1] // height)))

    def large(pixels: np.ndarray) -> np.ndarray:
        return pixels.repeat(times, 0).repeat(times, 1)

    within = max(1, min(PANEL[0], round(PANEL[1] * width / height)))
    return draw(large(image), large(ids), within, truth=None if truth is None else large(truth))


def titled(image: np.ndarray, text: str, size: tuple[int, int] | None = None) -> np.ndarray:
    """Put a line of text above an image, which is centred on white in a tile of `size` (width, height)."""
    width, height = size or (image.shape[1], image.shape[0])
    tile = np.full((height, width, 3), 255, np.uint8)
    y, x = 0, (width - image.shape[1]) // 2
    tile[y : y + image.shape[0], x : x + image.shape[1]] = image
    return np.concatenate([text_line(text, width, 13), tile])


def text_line(text: str, width: int, size: int) -> np.ndarray:
    """Draw black text on white, uint8 (h, width, 3), shortened in the middle if it is too long."""
    font = _font(size)
    strip = Image.new("RGB", (width, STRIP * size // 13), "white")
    fitting = readable(text, width - 6, font.getlength)
    ImageDraw.Draw(strip).text((3, strip.height // 2), fitting, "black", font, anchor="lm")
    return np.array(strip)


@lru_cache(maxsize=4)
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(font_file()), size)
