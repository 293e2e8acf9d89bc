"""Peak memory against the number of objects: python benchmarks/objects.py 2 22 [--ona].

Squares on a grey 480p frame, the learner that ships, two frames, then `save`, `load` and one frame more; each count in
a process of its own.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from eosvos import Segmenter

HEIGHT, WIDTH, HALF = 480, 854, 10


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("counts", type=int, nargs="+")
    parser.add_argument("--ona", action="store_true", help="with online adaptation, eight frames")
    given = parser.parse_args()
    if len(given.counts) == 1:
        measure(given.counts[0], given.ona)
        return 0
    for count in given.counts:
        subprocess.run([sys.executable, __file__, str(count), *["--ona"] * given.ona], check=True)
    return 0


def measure(count: int, ona: bool) -> None:
    segmenter = Segmenter(iters=3, ona=ona)
    tell(count, "the network")
    segmenter.start(*picture(count, 0))
    for t in range(1, 9 if ona else 3):
        segmenter.step(picture(count, t)[0])
    tell(count, "segmenting")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.safetensors"
        segmenter.save(path)
        tell(count, "saving", f"; the file has {path.stat().st_size / 2**20:.0f} MiB")
        del segmenter
        Segmenter.load(path).step(picture(count, 9)[0])
        tell(count, "loading and segmenting")


def picture(count: int, t: int) -> tuple[np.ndarray, np.ndarray]:
    """A frame uint8 (H, W, 3) at time t, and its ids (H, W)."""
    image, ids = np.full((HEIGHT, WIDTH, 3), 40, np.uint8), np.zeros((HEIGHT, WIDTH), np.uint8)
    draws = np.random.default_rng(1)
    columns = int(np.ceil(np.sqrt(count * WIDTH / HEIGHT)))
    rows = int(np.ceil(count / columns))
    for k in range(count):
        y, x = int((k // columns + 0.5) * HEIGHT / rows), int((k % columns + 0.5) * WIDTH / columns) + t
        place = slice(y - HALF, y + HALF), slice(max(x - HALF, 0), x + HALF)
        image[place], ids[place] = draws.integers(90, 255, 3), k + 1
    return image, ids


def tell(count: int, what: str, more: str = "") -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{count} objects, peak after {what}: {peak:.0f} MiB{more}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
