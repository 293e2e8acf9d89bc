"""Windows about an object: where they lie, and that samples show the same part of the frame by every way."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eosvos.data.transforms import augment, fit
from eosvos.data.window import SMALLEST, widened, window_about

NETWORK = (192, 336)


@settings(deadline=None, max_examples=300)
@given(
    st.tuples(st.floats(-50, 900), st.floats(-50, 500), st.floats(0, 600), st.floats(0, 600)),
    st.tuples(st.integers(1, 600), st.integers(1, 1000)),
    st.floats(1, 8),
)
def test_a_window_lies_within_the_frame_and_holds_so_many_sizes_of_the_box(box, frame, factor):
    x, y, wide, high = box
    x0, y0, x1, y1 = window_about((x, y, x + wide, y + high), frame, NETWORK, factor)
    height, width = frame
    assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height
    assert x1 - x0 >= min(width, factor * wide) - 1 and y1 - y0 >= min(height, factor * high) - 1
    columns, rows = NETWORK[::-1] if width >= height else NETWORK
    assert x1 - x0 >= min(width, SMALLEST * columns) - 1 and y1 - y0 >= min(height, SMALLEST * rows) - 1


def test_a_window_has_the_networks_aspect_and_the_box_in_its_middle_where_the_frame_allows_it():
    x0, y0, x1, y1 = window_about((400, 220, 440, 300), (480, 854), NETWORK, 3)
    assert (y1 - y0) == 240 and (x1 - x0) == 420  # three times 80, at 192 to 336
    assert (x0 + x1) / 2 == 420 and (y0 + y1) / 2 == 260


def test_a_window_at_the_edge_of_the_frame_is_moved_not_cut():
    x0, y0, x1, y1 = window_about((0, 0, 60, 60), (480, 854), NETWORK, 3)
    assert (x0, y0) == (0, 0) and (x1 - x0, y1 - y0) == (315, 180)


def test_an_object_that_fills_the_frame_and_a_factor_of_zero_give_the_whole_frame():
    assert window_about((10, 10, 800, 470), (480, 854), NETWORK, 2.5) == (0, 0, 854, 480)
    assert window_about((10, 10, 20, 20), (480, 854), NETWORK, 0) == (0, 0, 854, 480)


def test_a_48_pixel_object_in_a_4k_frame_is_seen_at_more_than_its_own_size():
    x0, y0, x1, y1 = window_about((2000, 1000, 2048, 1048), (2160, 3840), NETWORK, 2.5)
    assert (y1 - y0) == pytest.approx(120, abs=1) and NETWORK[0] / (y1 - y0) > 1.5


def test_a_portrait_frame_has_a_portrait_window():
    x0, y0, x1, y1 = window_about((200, 300, 240, 340), (854, 480), NETWORK, 3)
    assert (x1 - x0) * 336 == pytest.approx((y1 - y0) * 192, rel=0.02)


def test_widened_windows_grow_about_their_middle_and_end_at_the_frame():
    assert widened((100, 100, 200, 150), (480, 854), 2) == (50, 75, 250, 175)
    assert widened((0, 0, 854, 480), (480, 854), 2) == (0, 0, 854, 480)


def test_an_unmoved_augmentation_of_a_window_is_the_fit_of_its_crop():
    draws = np.random.default_rng(0)
    image = draws.integers(0, 256, (240, 432, 3), dtype=np.uint8)
    masks = np.zeros((1, 240, 432), bool)
    masks[0, 80:140, 100:180] = True
    x0, y0, x1, y1 = window = window_about((100, 80, 180, 140), (240, 432), (96, 168), 2)
    still = {"scale": (1.0, 1.0), "rotation": 0.0, "translation": 0.0, "flip": False, "colour": 0.0}
    pixels, moved = augment(image, masks, torch.Generator(), size=(96, 168), window=window, **still)
    wanted, wanted_masks = fit(image[y0:y1, x0:x1], masks[:, y0:y1, x0:x1], size=(96, 168))
    assert pixels.shape == wanted.shape
    assert float((moved ^ wanted_masks).float().mean()) < 0.01
    assert float((pixels - wanted).abs().mean()) < 0.06  # of noise: a warp and an average over areas differ


def test_a_shifted_augmentation_shows_what_lies_beside_the_window():
    image = np.full((240, 432, 3), 40, np.uint8)
    image[:, 200:] = 200  # beside the window
    masks = np.zeros((1, 240, 432), bool)
    masks[0, 100:130, 90:110] = True
    moves = {"scale": (0.5, 0.5), "rotation": 0.0, "translation": 0.0, "flip": False, "colour": 0.0}
    pixels, _ = augment(image, masks, torch.Generator(), size=(96, 168), window=(40, 80, 170, 154), **moves)
    assert float(pixels.max()) > 0.7
