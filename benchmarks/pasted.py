"""Real videos with two objects: the object of each sequence pasted into another one, as a folder for dataset=folder.

    python benchmarks/pasted.py --data-root /data --out pasted
    python -m eosvos.eval dataset=folder data_root=pasted learner=runs/real/neuron/learner.safetensors

From the six sequences of DAVIS 2016 that taskset=real-small leaves out, or from `--sequences`, to choose settings on
others than those that judge them. A video with one object shows whether a network
finds objects; one with two, whether it was adapted to the right one. Object 1 is the video's own, object 2 the pasted
one, at `--scale` of its size, mirrored and moved, once for the video, to where it hides the least of object 1.
"""

from __future__ import annotations

import argparse
import sys
from itertools import product
from pathlib import Path

import cv2
import numpy as np

from eosvos.data.masks import write_mask
from eosvos.data.readers.davis import open_davis
from eosvos.data.sequence import VideoSequence

NAMES = ["breakdance-flare", "bus", "dog-agility", "hike", "motocross-bumps", "rhino"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", required=True, help="holds DAVIS-2016")
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    parser.add_argument("--scale", type=float, default=0.7)
    parser.add_argument("--sequences", nargs="+", default=NAMES, help="of the training split; each gets the next one's")
    given = parser.parse_args()
    if given.out.exists():
        parser.error(f"{given.out} exists; give a new folder")
    if len(set(given.sequences)) < 2:
        parser.error("--sequences: expected two or more, as each gets the object of the next one")
    videos = open_davis(given.data_root, year=2016, sequences=given.sequences)
    for k, video in enumerate(videos):
        paste(video, videos[(k + 1) % len(videos)], given.scale, given.out)
    return 0


def paste(video: VideoSequence, other: VideoSequence, scale: float, out: Path) -> None:
    """Write `video` with the object of `other` before it, as long as both last."""
    length = min(len(video), len(other))
    flip, move = best_place(video, other, scale, range(0, length, 8))
    name = f"{video.name}+{other.name}"
    for index in range(length):
        own, picture = video.mask(index) == 1, video.read_frame(index)
        theirs = placed((other.mask(index) == 1).astype(np.uint8), flip, move, scale, video.size, cv2.INTER_NEAREST)
        front = placed(other.read_frame(index), flip, move, scale, video.size, cv2.INTER_AREA)
        ids = np.where(theirs == 1, 2, own).astype(np.uint8)
        path = out / "JPEGImages" / name / f"{index:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        shown = np.where(theirs[..., None] == 1, front, picture)
        cv2.imwrite(str(path), shown[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
        write_mask(out / "Annotations" / name / f"{index:05d}.png", ids)
    print(f"{name}: {length} frames, mirrored: {flip}, moved by {move}", flush=True)


def best_place(video: VideoSequence, other: VideoSequence, scale: float, frames: range) -> tuple[bool, tuple[int, int]]:
    """Mirrored or not and (x, y) of the pasted picture's corner, where the object hides least and is seen most."""
    height, width = video.size
    steps = [round(s * (1 - scale)) for s in (width, height)]
    shifts = [(x, y) for x in np.linspace(-steps[0], 2 * steps[0], 7) for y in np.linspace(-steps[1], 2 * steps[1], 7)]

    def cost(flip: bool, move: tuple[int, int]) -> float:
        total = 0.0
        for index in frames:
            own, whole = video.mask(index) == 1, other.mask(index) == 1
            theirs = placed(whole.astype(np.uint8), flip, move, scale, video.size, cv2.INTER_NEAREST) == 1
            hidden = (own & theirs).sum() / max(own.sum(), 1)
            outside = 1 - theirs.sum() / max(whole.sum() * scale**2, 1)
            total += hidden + outside
        return total

    places = [(flip, (int(x), int(y))) for flip, (x, y) in product((False, True), shifts)]
    return min(places, key=lambda place: cost(*place))


def placed(
    picture: np.ndarray, flip: bool, move: tuple[int, int], scale: float, size: tuple[int, int], how: int
) -> np.ndarray:
    """The picture, scaled, mirrored and moved within a black one of `size` (H, W)."""
    if flip:
        picture = picture[:, ::-1]
    small = cv2.resize(np.ascontiguousarray(picture), None, fx=scale, fy=scale, interpolation=how)
    matrix = np.array([[1, 0, move[0]], [0, 1, move[1]]], np.float32)
    return cv2.warpAffine(small, matrix, (size[1], size[0]), flags=cv2.INTER_NEAREST)


if __name__ == "__main__":
    sys.exit(main())
