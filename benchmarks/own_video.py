"""What a user of a video of their own waits for, and whether memory stays bounded.

    python benchmarks/own_video.py first --data-root /data/DAVIS-2016
    python benchmarks/own_video.py memory [--frames 10000]
    python benchmarks/own_video.py opening
    python benchmarks/own_video.py objects --data-root /data/DAVIS-2016

first: seconds to the first mask, of the command and of Segmenter.start. memory: resident, at frame 500 and at the end.
opening: seconds to the first frame of files of 1 and of 120 minutes. objects: seconds a frame for 1 object and for 5.
T=10, the learner that ships, the CPU. `first` is of a 480p clip, the command from its cold start: imports included.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import numpy as np

SIZE = (48, 64)  # of the long files: opening one does not depend on it


def first(root: Path) -> None:
    from eosvos import Segmenter, open_davis

    video = open_davis(root, year=2016, split="train")[0]
    frames, mask = root / "JPEGImages" / "480p" / video.name, root / "Annotations" / "480p" / video.name
    with tempfile.TemporaryDirectory(prefix="eosvos-") as out:
        began = time.perf_counter()
        command = [sys.executable, "-m", "eosvos.segment", f"video={frames}", f"mask={mask}/{video.frame_names[0]}.png",
                   "iters=10", "device=cpu", "outputs=[]", f"out={out}/run"]  # fmt: skip
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not list(Path(out).glob("run/masks/*.png")):
            if process.poll() is not None:
                sys.exit(f"the command ended with {process.returncode} without a mask")
            time.sleep(0.01)
        print(f"command, from its start to the first mask on disk: {time.perf_counter() - began:.2f} s")
        process.terminate()
        process.wait()
    segmenter, image, ids = Segmenter(), video.read_frame(0), video.mask(0)
    assert ids is not None
    for attempt in ("first", "second"):
        began = time.perf_counter()
        segmenter.start(image, (ids > 0).astype(np.uint8))
        print(f"Segmenter.start, {attempt} time in the process: {time.perf_counter() - began:.2f} s")


def memory(frames: int) -> None:
    from eosvos import Segmenter
    from eosvos.data.synthetic import held_out

    video = held_out("test", count=1, size=(240, 432), length=48)[0]
    kept = [(video.read_frame(index), video.mask(index)) for index in range(len(video))]
    there = sorted(video.new_objects(0))
    segmenter, at_500 = Segmenter(), 0.0
    mask = kept[0][1]
    assert mask is not None
    segmenter.start(kept[0][0], np.where(np.isin(mask, there), mask, 0))
    forth_and_back = cycle([*range(1, len(kept)), *range(len(kept) - 2, -1, -1)])
    for number, index in enumerate(islice(forth_and_back, frames), 1):
        segmenter.step(kept[index][0])
        if number == 500:
            at_500 = _resident()
        if number % 1000 == 0:
            print(f"frame {number}: {_resident():.1f} MiB", flush=True)
    print(f"frame 500: {at_500:.1f} MiB; frame {frames}: {_resident():.1f} MiB, {_resident() / at_500 - 1:+.2%}")


def opening() -> None:
    from eosvos.data.video import open_video, write_video

    with tempfile.TemporaryDirectory(prefix="eosvos-") as folder:
        for suffix in (".mp4", ".mkv"):
            for minutes in (1, 120):
                path = Path(folder, f"{minutes}{suffix}")
                write_video(path, _noise(minutes * 60 * 25), 25)
                seconds = []
                for _ in range(5):
                    began = time.perf_counter()
                    video = open_video(path)
                    video.read_frame(0)
                    seconds.append(time.perf_counter() - began)
                print(f"{suffix} of {minutes} minutes, {len(video)} frames, {path.stat().st_size / 2**20:.0f} MiB: "
                      f"{min(seconds):.3f} s to the first frame", flush=True)  # fmt: skip


def objects(root: Path) -> None:
    from eosvos import Segmenter, open_davis

    video = open_davis(root, year=2016, split="train")[0]
    ids = video.mask(0)
    assert ids is not None
    rows, columns = np.nonzero(ids)
    parts = np.zeros_like(ids)
    edges = np.quantile(columns, np.linspace(0, 1, 6))
    parts[rows, columns] = np.clip(np.searchsorted(edges, columns, side="right"), 1, 5)  # the object in five
    for mask in ((ids > 0).astype(np.uint8), parts) * 2:
        segmenter = Segmenter()
        began = time.perf_counter()
        segmenter.start(video.read_frame(0), mask)
        started = time.perf_counter()
        for index in range(1, 31):
            segmenter.step(video.read_frame(index))
        count = len(segmenter.object_ids)
        print(f"{count} objects: start {started - began:.2f} s, {(time.perf_counter() - started) / 30:.4f} s a frame")


def _noise(frames: int) -> Iterator[np.ndarray]:
    draws = np.random.default_rng(0)
    picture = draws.integers(0, 256, (*SIZE, 3), np.uint8)
    for index in range(frames):
        yield np.roll(picture, index, 1)


def _resident() -> float:
    """MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["first", "memory", "opening", "objects"])
    parser.add_argument("--data-root", type=Path, help="holds JPEGImages and Annotations")
    parser.add_argument("--frames", type=int, default=10000)
    given = parser.parse_args()
    if given.what in ("first", "objects"):
        if given.data_root is None:
            parser.error(f"{given.what} needs --data-root")
        {"first": first, "objects": objects}[given.what](given.data_root)
    elif given.what == "memory":
        memory(given.frames)
    else:
        opening()


if __name__ == "__main__":
    main()
