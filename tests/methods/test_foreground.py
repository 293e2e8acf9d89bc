"""Targets of a network of one logit per pixel: what any instance covers, and contours by a loop."""

from __future__ import annotations

import torch

from eosvos.data.tasks import Sample
from eosvos.methods.osvos.loss import target_mask


def sample(masks):
    return Sample(torch.zeros(3, *masks.shape[-2:]), masks)


def test_the_foreground_is_what_any_instance_covers():
    masks = torch.rand(3, 6, 8, generator=torch.Generator().manual_seed(0)) < 0.2
    assert torch.equal(target_mask(sample(masks)), masks[0] | masks[1] | masks[2])
    empty = target_mask(sample(masks[:0]))
    assert empty.shape == (6, 8) and empty.dtype == torch.bool and not empty.any()


def test_contours_are_the_pixels_on_both_sides_of_every_border():
    masks = torch.zeros(2, 9, 12, dtype=torch.bool)
    masks[0, 2:7, 1:6] = True
    masks[1, 3:8, 6:10] = True  # touches the first: the border between two objects is a contour, too
    labels = masks[0] * 1 + masks[1] * 2
    expected = torch.zeros(9, 12, dtype=torch.bool)
    for y in range(9):
        for x in range(12):
            near = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
            expected[y, x] = any(0 <= a < 9 and 0 <= b < 12 and labels[a, b] != labels[y, x] for a, b in near)
    found = target_mask(sample(masks), "contours")
    assert torch.equal(found, expected) and found[4, 5] and found[4, 6] and not found[4, 3]
    assert not target_mask(sample(masks[:0]), "contours").any()
