"""Frames per second of e-OSVOS against ordinary torchvision inference of the same network over the same frames.

    python benchmarks/speed.py [--learner LEARNER] [--root DAVIS] [--iters 10]

Both sides decode the same files, run the network on the same threads and end with a mask at full size; they take turns,
sequence by sequence. The ordinary side has nothing else to do; ours fine-tunes, propagates boxes and merges, and, with
--snapping, draws the masks to the edges, too.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable

import cv2
import torch

from eosvos.data.readers.davis import open_davis
from eosvos.data.sequence import VideoSequence
from eosvos.data.synthetic.videos import held_out
from eosvos.inference.stream import walk
from eosvos.meta.adapt import Params
from eosvos.meta.learner import Learner
from eosvos.methods.eosvos.method import EOSVOS
from eosvos.methods.snapping import GrabCut
from eosvos.models import mask_rcnn


@torch.no_grad()
def ordinary(learner: Learner, phi: Params, sequence: VideoSequence) -> float:
    """Seconds for torchvision's own forward pass (resize, detect, paste) over all frames, with fine-tuned weights: the
    untuned network finds nothing, and has no mask to compute and paste."""
    model = mask_rcnn.build(**learner.spec["model"]).eval()
    model.load_state_dict(phi)
    began = time.perf_counter()
    for index in range(len(sequence)):
        super(mask_rcnn.MaskRCNN, model).forward([sequence.frame(index)])
    return time.perf_counter() - began


def ours(learner: Learner, sequence: VideoSequence, iters: int, snapping: GrabCut) -> tuple[float, float, Params]:
    """Seconds for the whole sequence, those of them spent on fine-tuning, and the weights it ended with."""
    method = EOSVOS(learner, iters=iters, snapping=snapping)
    began = time.perf_counter()
    for _ in walk(method, sequence):
        pass
    return time.perf_counter() - began, method.adapt_seconds, next(iter(method.parameters_in_use.values()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--learner", default="runs/meta/tiny/learner.safetensors")
    parser.add_argument("--root", help="DAVIS 2016; without it the synthetic test videos")
    parser.add_argument("--split", default="train")
    parser.add_argument("--iters", type=int, default=10)
    parser.add_argument("--count", type=int, default=10, help="sequences")
    parser.add_argument("--threads", type=int, default=1, help="of torch; eval runs one process a core, each on one")
    parser.add_argument("--snapping", action="store_true", help="with the default one")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    cv2.setNumThreads(0)
    learner = Learner.load(given.learner)
    sequences: Iterable[VideoSequence]
    sequences = open_davis(given.root, year=2016, split=given.split) if given.root else held_out("test")
    totals = [0.0, 0.0, 0.0]
    frames = 0
    for sequence in list(sequences)[: given.count]:
        mine, tuning, phi = ours(learner, sequence, given.iters, GrabCut() if given.snapping else GrabCut(band=0))
        base = ordinary(learner, phi, sequence)
        frames += len(sequence)
        for place, seconds in enumerate((base, mine, tuning)):
            totals[place] += seconds
        print(
            f"{sequence.name:<24} {len(sequence):>4} frames  ordinary {len(sequence) / base:6.1f} fps"
            f"  ours {len(sequence) / mine:6.1f} fps  ratio {base / mine:.2f}",
            flush=True,
        )
    base, mine, tuning = totals
    print(
        f"{'all':<24} {frames:>4} frames  ordinary {frames / base:6.1f} fps  ours {frames / mine:6.1f} fps"
        f"  ratio {base / mine:.3f}  (fine-tuning {tuning / mine:.0%} of our time)"
    )


if __name__ == "__main__":
    main()
