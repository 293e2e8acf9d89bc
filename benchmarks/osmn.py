"""Time per frame of OSMN beside its own segmentation network alone: the modulation is to cost next to nothing.

    python benchmarks/osmn.py [--size tiny] [--frames 24] [--rounds 5]

Both sides see the same frames, resize them, run on the same threads and end with a probability in every pixel; the
plain side has nothing else to do, ours takes the mean and deviation of its last mask and modulates nine layers. They
take turns, and the medians are compared, of random weights: no weight changes the time. The paper: "about the same".
"""

from __future__ import annotations

import argparse
import statistics
import time

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from eosvos.data.masks import merge
from eosvos.data.synthetic.videos import held_out
from eosvos.data.transforms import fit
from eosvos.meta.learner import Learner
from eosvos.methods.osmn.method import OSMN
from eosvos.models import osmn


@torch.no_grad()
def plain(network: osmn.OSMN, frames: list[torch.Tensor]) -> float:
    """Seconds of CPU time for the segmentation network without its modulators."""
    began, spec = time.process_time(), network.network_spec
    for frame in frames:
        height, width = frame.shape[-2:]
        image, _ = fit(frame, np.zeros((0, height, width), bool), size=(spec.short, spec.long))
        logits = network.segmentation(image[None])[0]
        planes = F.interpolate(logits, (height, width), mode="bilinear", align_corners=False).sigmoid()[:, 0]
        merge(planes, [1])
    return time.process_time() - began


def modulated(method: OSMN, frames: list[torch.Tensor]) -> float:
    began = time.process_time()
    for frame in frames:
        method.step(frame)
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="tiny", choices=list(osmn.SIZES))
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    torch.manual_seed(0)
    network = osmn.build(given.size).eval()
    sequence = held_out("test", count=1, size=(480, 854), length=given.frames + 1)[0]
    frames = [sequence.frame(index) for index in range(given.frames + 1)]
    method = OSMN(Learner.create(network, 0.0, "single", {"model": network.spec}))
    object_id, mask = next(iter(sequence.new_objects(0).items()))
    method.start(frames[0], {object_id: mask})
    print(f"the visual modulator, once per object: {1000 * method.adapt_seconds:.0f} ms")
    method.step(frames[1])
    plain(network, frames[1:2])  # the first pass of each is slow
    rounds = [(plain(network, frames[1:]), modulated(method, frames[1:])) for _ in range(given.rounds)]
    first, second = (1000 * statistics.median(times) / given.frames for times in zip(*rounds, strict=True))
    print(f"{given.size}: plain {first:.1f} ms a frame, modulated {second:.1f} ms, ratio {second / first:.2f}")


if __name__ == "__main__":
    main()
