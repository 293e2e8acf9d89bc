"""The palette of PASCAL VOC, which DAVIS uses too: the colour of id i is spread over the bits of i."""

from __future__ import annotations

import numpy as np


def _pascal_palette() -> np.ndarray:
    ids = np.arange(256)
    palette = np.zeros((256, 3), np.uint8)
    for shift in range(8):  # three bits of the id at a time go to the next lower bit of red, green and blue
        for channel in range(3):
            palette[:, channel] |= (((ids >> (3 * shift + channel)) & 1) << (7 - shift)).astype(np.uint8)
    return palette


DAVIS_PALETTE = _pascal_palette()
"""uint8 (256, 3) RGB; 0 black, 1 (128, 0, 0), 2 (0, 128, 0), ..."""
