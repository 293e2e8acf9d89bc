"""Real videos as other cameras see them: grey, inverted, and dark with noise; a folder of DAVIS's layout for each.

    python benchmarks/domains.py --data-root /data/DAVIS-2016 --out domains
    python -m eosvos.eval dataset=real-small-test data_root=domains/grey iters=10

Of the six sequences of DAVIS 2016 that taskset=real leaves out, or of `--sequences`. Dark is a quarter of the light and
Gaussian noise with a standard deviation of 8 of 255, by seed 0.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import numpy as np
from pasted import NAMES
from PIL import Image

LUMA = np.array([[0.299], [0.587], [0.114]], np.float32)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True, help="DAVIS-2016")
    parser.add_argument("--out", type=Path, required=True, help="gets grey/, inverted/ and dark/")
    parser.add_argument("--sequences", nargs="+", default=NAMES)
    given = parser.parse_args()
    if given.out.exists():
        parser.error(f"--out {given.out}: exists; nothing is overwritten")
    draws = np.random.default_rng(0)
    for kind in ("grey", "inverted", "dark"):
        for name in given.sequences:
            shutil.copytree(given.data_root / "Annotations/480p" / name, given.out / kind / "Annotations/480p" / name)
            frames = given.out / kind / "JPEGImages/480p" / name
            frames.mkdir(parents=True)
            for path in sorted((given.data_root / "JPEGImages/480p" / name).glob("*.jpg")):
                with Image.open(path) as image:
                    pixels = np.array(image.convert("RGB")).astype(np.float32)
                changed = changed_pixels(pixels, kind, draws).clip(0, 255).astype(np.uint8)
                Image.fromarray(changed).save(frames / path.name, quality=95)
    return 0


def changed_pixels(pixels: np.ndarray, kind: str, draws: np.random.Generator) -> np.ndarray:
    """Change an image, float32 (H, W, 3) in [0, 255]."""
    if kind == "grey":
        return np.repeat(pixels @ LUMA, 3, -1)
    if kind == "inverted":
        return 255 - pixels
    return pixels * 0.25 + draws.normal(0, 8, pixels.shape)


if __name__ == "__main__":
    sys.exit(main())
