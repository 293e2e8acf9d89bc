"""What "the object is not here" gains: false masks of an absent object before and after one empty mask.

    python benchmarks/absent.py --data-root /data/DAVIS-2016 [--split train] [--learner FILE] [--iters 50]

Every video is cut, after its first half, to the second half of the next one by name, as a film is: the object is gone.
Each is segmented twice from its first mask: with nothing else; and with an empty mask given on the first frame after
the cut. A false mask covers more than 0.1 % of a frame after the cut; that frame itself does not count. J before the
cut tells what the empty mask costs where the object is there.
"""

from __future__ import annotations

import argparse
import zlib
from pathlib import Path

import cv2
import numpy as np

from eosvos import EOSVOS, Learner, Segmenter, VideoSequence, open_davis
from eosvos.evaluation.metrics.region_contour import region_similarity
from eosvos.files import write_text
from eosvos.seeds import derive

FALSE = 0.001  # share of the frame


def watch(
    video: VideoSequence, other: VideoSequence, learner: Learner, iters: int, told: bool, every: int
) -> dict[str, float]:
    """Mean J before the cut; after it the share of frames with a false mask, and the false masks' mean area."""
    segmenter = Segmenter(EOSVOS(learner, iters=iters, seed=derive(0, zlib.crc32(video.name.encode()))))
    half, after = len(video) // 2, range(len(other) // 2, len(other), every)
    height, width = video.size

    def later(index: int) -> np.ndarray:
        return cv2.resize(other.read_frame(index), (width, height), interpolation=cv2.INTER_AREA)

    first = video.mask(0)
    assert first is not None
    mask = (first > 0).astype(np.uint8)
    if told:
        segmenter.learn(later(after[0]), {1: np.zeros(video.size, bool)})
    segmenter.start(video.read_frame(0), mask)
    overlaps = []
    for index in range(1, half):
        found, truth = segmenter.step(video.read_frame(index)), video.mask(index)
        if truth is not None:
            overlaps.append(region_similarity(found > 0, truth > 0))
    segmenter.step(later(after[0]))
    shares = [float((segmenter.step(later(index)) > 0).mean()) for index in after[1:]]
    return {
        "J": float(np.mean(overlaps)),
        "false": float(np.mean([share > FALSE for share in shares])),
        "area": float(np.mean(shares)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--split", default="train")
    parser.add_argument("--learner", type=Path)
    parser.add_argument("--iters", type=int, default=50)
    parser.add_argument("--every", type=int, default=2, help="of the frames after the cut, this one")
    parser.add_argument("--out", type=Path, default=Path("runs/absent.csv"))
    given = parser.parse_args()
    videos = open_davis(given.data_root, year=2016, split=given.split)
    learner = Learner.shipped() if given.learner is None else Learner.load(given.learner)
    keys, rows = ("J", "false", "area"), []
    for video, other in zip(videos, [*videos[1:], videos[0]], strict=True):
        found = [watch(video, other, learner, given.iters, told, given.every) for told in (False, True)]
        rows.append([found[told][key] for key in keys for told in (0, 1)])
        print(f"{video.name} -> {other.name}: {_words(rows[-1])}", flush=True)
    head = ",".join(["video", *(f"{key}-{name}" for key in keys for name in ("alone", "told"))])
    lines = [",".join([v.name, *(f"{value:.6f}" for value in row)]) for v, row in zip(videos, rows, strict=True)]
    write_text(given.out, "\n".join([head, *lines, ""]))
    print(f"mean of {len(videos)}: {_words(np.mean(rows, 0).tolist())}")


def _words(row: list[float]) -> str:
    j, false, area = (f"{a:.3f} -> {b:.3f}" for a, b in zip(row[::2], row[1::2], strict=True))
    return f"false masks on {false} of the frames, their area {area}, J before the cut {j}"


if __name__ == "__main__":
    main()
