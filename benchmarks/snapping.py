"""What cutting masks along edges gains, by its settings, and what the trial on the given mask tells of that.

    python -m eosvos.eval dataset=davis16 split=train data_root=/data/DAVIS-2016 iters=30 snapping.band=0 out=runs/plain
    python benchmarks/snapping.py --data-root /data/DAVIS-2016 --masks runs/plain/masks band=0 side=160 rounds=2
    python benchmarks/snapping.py --data-root /data/DAVIS-2016 --masks runs/plain/masks --trial

Each setting is of `methods.snapping.GrabCut`, applied to every mask by itself: J, F and milliseconds, means over the
sequences that have masks. --trial: for each sequence its gain in J on the given mask and in the
video, in colour and in grey.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from eosvos.data.masks import read_mask
from eosvos.data.readers.davis import open_davis
from eosvos.data.sequence import VideoSequence
from eosvos.evaluation.metrics.region_contour import contour_accuracy, region_similarity
from eosvos.methods.snapping import GrabCut


def pairs(sequence: VideoSequence, masks: Path, every: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Frame, mask and truth of every so many frames, the first and the last left out."""
    found = []
    for index in range(4, len(sequence) - 1, every):
        truth = sequence.mask(index)
        assert truth is not None
        mask = read_mask(masks / sequence.name / f"{sequence.frame_names[index]}.png")
        found.append((sequence.read_frame(index), mask > 0, truth > 0))
    return found


def settings(text: str) -> GrabCut:
    values = dict(part.split("=") for part in text.split(","))
    kinds = {name: type(getattr(GrabCut(band=0.1), name)) for name in values}
    return GrabCut(**{name: kinds[name](value) for name, value in values.items()})


def grey(image: np.ndarray) -> np.ndarray:
    return np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="*", default=["band=0", "band=0.1"])
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--masks", type=Path, required=True, help="of a run without snapping")
    parser.add_argument("--every", type=int, default=8)
    parser.add_argument("--trial", action="store_true")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    videos = [s for s in open_davis(given.data_root, year=2016, split="train") if (given.masks / s.name).is_dir()]
    if given.trial:
        cut = GrabCut()
        for video in videos:
            image, first, found = video.read_frame(0), video.mask(0), pairs(video, given.masks, given.every)
            assert first is not None
            line = f"{video.name:<20}"
            for name, change in (("colour", lambda i: i), ("grey", grey)):
                frame = torch.from_numpy(np.ascontiguousarray(change(image))).permute(2, 0, 1).float() / 255
                gains = [region_similarity(cut.cut(change(i), m), t) - region_similarity(m, t) for i, m, t in found]
                line += f"  {name}: trial {cut.gain(frame, first > 0):+.3f}, video {np.mean(gains):+.3f}"
            print(line, flush=True)
        return
    for text in given.settings:
        cut, rows, seconds, count = settings(text), [], 0.0, 0
        for video in videos:
            found = pairs(video, given.masks, given.every)
            began = time.perf_counter()
            results = [cut.cut(image, mask) if cut.share else mask for image, mask, _ in found]
            seconds, count = seconds + time.perf_counter() - began, count + len(found)
            truths = [truth for _, _, truth in found]
            both = zip(results, truths, strict=True)
            rows.append(np.mean([(region_similarity(r, t), contour_accuracy(r, t)) for r, t in both], 0))
        j, f = np.mean(rows, 0)
        print(f"{text:<32} J {j:.3f}  F {f:.3f}  {1e3 * seconds / count:.0f} ms", flush=True)


if __name__ == "__main__":
    main()
