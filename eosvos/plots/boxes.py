"""Frames with masks and detected boxes (e-OSVOS, supplement, Figure 1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from eosvos.data.palette import DAVIS_PALETTE
from eosvos.data.sequence import VideoSequence
from eosvos.errors import UserError
from eosvos.files import atomic
from eosvos.inference.overlay import tile_images
from eosvos.plots.frames import (
    GAP,
    PANEL,
    Drawing,
    Reopen,
    open_masks,
    panel,
    pick_sequences,
    reopened,
    text_line,
    titled,
)
from eosvos.plots.runs import Run

COLUMNS = 4  # frames of a sequence: the first one with its given mask, and others at equal distances


def box_sheets(runs: Sequence[Run], reopen: Reopen, names: Sequence[str]) -> Iterator[tuple[str, Drawing]]:
    """Yield file name and drawing function of a sheet of frames with boxes for each run whose frames are available.

    Args:
        runs: the runs.
        reopen: opens the sequences.
        names: of the sequences; empty: the worst, median and best one of each run.

    Raises:
        UserError: if a run has no boxes.
    """
    for k, run in enumerate(runs):
        if not any(result.boxes for result in run.results.sequences):
            raise UserError(
                f"{run.results.out}: no detected boxes are stored in this run; eosvos.eval stores those of "
                "method=eosvos: evaluate again with another out=, or leave out pictures=[boxes]"
            )
        videos_found = reopened([run], reopen, names or pick_sequences([run]))
        if videos_found:
            yield f"boxes{f'-{k + 1}' if len(runs) > 1 else ''}.png", partial(draw_boxes, run, videos_found)


def draw_boxes(run: Run, videos: Sequence[VideoSequence], out: Path) -> None:
    """Draw frames of sequences in a row each, with the run's masks tinted and its detected boxes in their colours.

    Args:
        run: the run.
        videos: its sequences.
        out: the PNG file.
    """
    boxes_of = {result.name: result.boxes for result in run.results.sequences}
    width = COLUMNS * (PANEL[0] + GAP) - GAP
    parts = [text_line(f"{run.label}: tint: its masks; frames: boxes that the network detected", width, 15)]
    with open_masks(run, videos) as masks:
        for video in videos:
            first = min(video.first_frame.values())
            shown = sorted(set(np.linspace(first, len(video) - 1, COLUMNS).round().astype(int).tolist()))
            tiles = []
            for index in shown:
                image = video.read_frame(index)
                small = panel(image, masks[video.name].read(index), None)
                boxes = {i: values[index] for i, values in boxes_of[video.name].items()}
                for i, box in boxes.items():
                    if box is not None:
                        draw_box(small, box, small.shape[1] / image.shape[1], i)
                text = "given" if index in video.first_frame.values() else "" if any(boxes.values()) else "no box"
                tiles.append((small, f"{video.frame_names[index]}  {text}".strip()))
            size = (PANEL[0], max(image.shape[0] for image, _ in tiles))
            row = [titled(image, text, size) for image, text in tiles]
            parts += [text_line("", width, 7), text_line(video.name, width, 17), tile_images(row, COLUMNS, GAP)]
    sheet = np.concatenate([np.pad(p, ((0, 0), (0, width - p.shape[1]), (0, 0)), constant_values=255) for p in parts])
    with atomic(out) as path:
        Image.fromarray(sheet).save(path, format="PNG")


def draw_box(image: np.ndarray, box: Sequence[float], scale: float, object_id: int) -> None:
    """Draw a box with a dark edge into an image.

    Args:
        image: uint8 (H, W, 3), changed in place.
        box: xyxy in pixels of the frame.
        scale: size of the image / size of the frame.
        object_id: gives the colour.
    """
    x0, y0, x1, y1 = (round(side * scale) for side in box)
    colour = tuple(int(value) for value in np.minimum(DAVIS_PALETTE[object_id].astype(int) * 2, 255))
    for line, thickness in (((0, 0, 0), 4), (colour, 2)):
        cv2.rectangle(image, (x0, y0), (max(x0, x1 - 1), max(y0, y1 - 1)), line, thickness)
