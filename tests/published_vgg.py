"""A file with the keys of torchvision's VGG16 of ImageNet, with as many channels as wanted."""

from __future__ import annotations

from pathlib import Path

import torch

PLACES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)


def vgg16_file(path: Path, widths: tuple[int, ...]) -> None:
    """That of its authors: numbers in the features, none in the classifier."""
    draws, state, into = torch.Generator().manual_seed(0), {}, 3
    outs = [width for width, depth in zip(widths, (2, 2, 3, 3, 3), strict=True) for _ in range(depth)]
    for place, width in zip(PLACES, outs, strict=True):
        state[f"features.{place}.weight"] = torch.randn(width, into, 3, 3, generator=draws) * 0.1
        state[f"features.{place}.bias"] = torch.randn(width, generator=draws)
        into = width
    for k in (0, 3, 6):
        state[f"classifier.{k}.weight"] = torch.full((2, 2), float("nan"))
    torch.save(state, path)
