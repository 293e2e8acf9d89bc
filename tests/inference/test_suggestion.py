"""The suggested frame brings uncertain frames nearer to an annotated one, and is there to be annotated."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import torch

from eosvos.inference.suggestion import suggest, uncertainty


def test_uncertainty_is_what_drawn_truths_show():
    """Truths drawn pixel by pixel from the probabilities overlap the mask by 1 - uncertainty, in the mean."""
    generator = torch.Generator().manual_seed(0)
    planes = torch.rand(3, 40, 60, generator=generator) ** torch.tensor([0.2, 1.0, 4.0])[:, None, None]
    mask = planes >= 0.5
    overlaps = []
    for _ in range(200):
        truth = torch.rand(planes.shape, generator=generator) < planes
        overlaps.append((mask & truth).sum((1, 2)) / (mask | truth).sum((1, 2)))
    assert uncertainty(planes) == pytest.approx((1 - torch.stack(overlaps).mean(0)).tolist(), abs=5e-3)


def test_certain_masks_have_none_and_absent_objects_all_of_it():
    planes = torch.zeros(3, 8, 8)
    planes[0, 2:5, 2:5] = 1
    planes[1] = 0.49
    assert uncertainty(planes) == [0, 1, 1] and uncertainty(planes[:0]) == []


def test_it_lies_within_the_stretch_that_is_uncertain_not_on_a_single_odd_frame():
    values = np.full(60, 0.02)
    values[30:41] = 0.5  # its middle is 35
    values[12] = 0.9
    assert suggest({1: values}, {0}, range(60)) in range(34, 39)
    assert suggest({1: values}, {0, 35}, range(60)) in (12, 30, 40)


def test_of_equal_frames_the_one_that_is_nearest_to_most_of_those_far_from_annotated_ones():
    values = {1: [0.2] * 41}
    assert suggest(values, {0}, range(41)) == 27  # two thirds: no way to an annotated frame is longer than a third
    assert suggest(values, {40}, range(41)) == 13
    assert suggest(values, {0, 40}, range(41)) in (19, 20, 21)
    assert suggest(values, {0, 40, 20}, range(41)) in (9, 10, 11)
    assert suggest(values, (), range(41)) in range(15, 27)
    assert suggest(values, {0}, range(0, 41, 8)) == 24 and suggest(values, {0}, [0, 3]) == 3
    assert suggest(values, {0, 3}, [0, 3]) is None and suggest({}, {0}, range(41)) is None


def test_it_takes_most_off_the_uncertainty_times_distance():
    draws = np.random.default_rng(0)
    for _ in range(100):
        count = int(draws.integers(2, 40))
        values, frames = draws.random(count), np.arange(count)
        given = draws.choice(count, int(draws.integers(1, min(4, count))), replace=False)

        def cost(marks, values=values, frames=frames):
            return float(values @ np.abs(frames[:, None] - marks).min(1))

        costs = {k: cost(np.append(given, k)) for k in range(count) if k not in given}
        found = suggest({1: values}, set(given.tolist()), range(count))
        assert costs[found] == pytest.approx(min(costs.values()))


def test_a_film_of_two_hours_takes_no_time():
    values, began = {1: np.random.default_rng(0).random(180_000)}, time.process_time()
    assert suggest(values, range(0, 180_000, 1000), range(180_000)) is not None
    assert time.process_time() - began < 2


def test_objects_count_where_they_are():
    late = [math.nan] * 20 + [0.9] * 21
    assert suggest({1: [0.1] * 41, 2: late}, {0, 40}, range(41)) in range(20, 40)
    assert suggest({2: [math.nan] * 41}, {0}, range(41)) == 27
