"""How good a first mask is that is made of a box, and of points where it is most wrong.

    python benchmarks/first_mask.py --data-root /data/DAVIS-2016 [--split train] [--clicks 3] [--out FILE.csv]

On the first frame of each sequence: the box is that of the true mask; each point lies where the mask is most wrong, in
the middle (farthest from the edge) of the largest connected region of false or missing pixels. J after the box and
after each point, and the seconds of one core that the slowest of these masks took.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import cv2
import numpy as np

from eosvos.data.masks import jaccard
from eosvos.data.readers.davis import open_davis
from eosvos.inference.first_mask import draw_strokes, mask_from_hints


def worst_point(mask: np.ndarray, truth: np.ndarray) -> tuple[int, int, bool]:
    """The middle (x, y) of the largest wrong region, and whether it is of the object."""
    best, found = 0, (0, 0, True)
    for wrong, inside in ((truth & ~mask, True), (mask & ~truth, False)):
        count, regions, stats, _ = cv2.connectedComponentsWithStats(wrong.astype(np.uint8), connectivity=8)
        if count > 1:
            largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
            if stats[largest, cv2.CC_STAT_AREA] > best:
                best = int(stats[largest, cv2.CC_STAT_AREA])
                depth = cv2.distanceTransform(np.pad(regions == largest, 1).astype(np.uint8), cv2.DIST_L2, 5)[
                    1:-1, 1:-1
                ]
                y, x = np.unravel_index(np.argmax(depth), depth.shape)
                found = (int(x), int(y), inside)
    return found


def measure(image: np.ndarray, truth: np.ndarray, clicks: int) -> tuple[list[float], float]:
    """J after the box and after each point, and the seconds of one core of the slowest mask."""
    rows, columns = np.flatnonzero(truth.any(1)), np.flatnonzero(truth.any(0))
    box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    size, radius = truth.shape, max(2.0, truth.shape[0] / 160)  # of a point, as the page has it
    hints: dict[bool, list[list[tuple[float, float]]]] = {True: [], False: []}
    scores, slowest = [], 0.0
    for number in range(clicks + 1):
        began = time.thread_time()
        planes = {inside: draw_strokes(strokes, radius, size) for inside, strokes in hints.items()}
        mask = mask_from_hints(image, box=box, inside=planes[True], outside=planes[False])
        slowest = max(slowest, time.thread_time() - began)
        scores.append(jaccard(mask, truth))
        if number < clicks:
            x, y, inside = worst_point(mask, truth)
            hints[inside].append([(float(x), float(y))])
    return scores, slowest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--split", default="train")
    parser.add_argument("--clicks", type=int, default=3)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    rows = []
    for video in open_davis(given.data_root, year=2016, split=given.split):
        truth = video.mask(0)
        assert truth is not None
        scores, slowest = measure(video.read_frame(0), truth > 0, given.clicks)
        rows.append((video.name, *scores, slowest))
        print(f"{video.name:<20}" + "".join(f" {score:.3f}" for score in scores) + f"   {slowest:.2f} s", flush=True)
    means = np.array([row[1:] for row in rows]).mean(0)
    print(f"{'mean':<20}" + "".join(f" {score:.3f}" for score in means[:-1]) + f"   {means[-1]:.2f} s")
    if given.out is not None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        with given.out.open("w", newline="") as file:
            names = ["sequence", "box", *(f"points_{k}" for k in range(1, given.clicks + 1)), "seconds"]
            csv.writer(file).writerows([names, *rows])


if __name__ == "__main__":
    main()
