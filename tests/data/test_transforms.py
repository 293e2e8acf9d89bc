"""Image and masks move together, as an independent formula says, and every draw comes from the generator."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import torch

from eosvos.data import transforms
from eosvos.data.transforms import augment, fit, jitter, network_size


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def disc(height: int, width: int, radius: float = 0.25, x: float = 0.5, y: float = 0.5) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return ((columns - x * width) ** 2 + (rows - y * height) ** 2 <= (radius * height) ** 2)[None]


def overlap(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_an_object_of_one_pixel_is_not_lost_when_it_shrinks():
    picture = torch.zeros(3, 40, 60)
    for y, x in [(0, 0), (39, 59), (17, 31), (20, 30), (39, 0), (6, 58)]:
        mask = torch.zeros(1, 40, 60, dtype=torch.bool)
        mask[0, y, x] = True
        _, small = fit(picture, mask, size=(10, 15))
        assert small.nonzero().tolist() == [[0, y // 4, x // 4]]
        # no draw shows it, so it is the plain picture in the end
        assert augment(picture, mask, draws(), size=(10, 15), scale=(0.01, 0.01))[1].sum() == 1
    assert not fit(picture, torch.zeros(1, 40, 60, dtype=torch.bool), size=(10, 15))[1].any()


@pytest.mark.parametrize("height,width", [(480, 854), (240, 432), (854, 480), (9, 9), (128, 224), (64, 640), (1, 9)])
def test_network_size_keeps_the_aspect_and_the_limits(height, width):
    h, w = network_size(height, width, (128, 224))
    assert min(h, w) <= 128 and max(h, w) <= 224 and (min(h, w) == 128 or max(h, w) == 224)
    assert abs(h / w - height / width) <= (1 + height / width) * 0.5 / w + 1e-9 or min(h, w) == 1
    assert network_size(h, w, (128, 224)) == (h, w)


def test_fit_keeps_a_picture_of_the_right_size_and_averages_a_larger_one():
    image, masks = torch.rand(3, 128, 224), disc(128, 224)
    out, moved = fit(image, masks, size=(128, 224))
    assert torch.equal(out, image) and torch.equal(moved, masks)
    large = torch.rand(3, 256, 448)
    out, moved = fit(large, disc(256, 448), size=(128, 224))
    assert torch.allclose(out, torch.nn.functional.avg_pool2d(large, 2), atol=1e-5)
    assert overlap(moved, disc(128, 224)) > 0.97


def test_bytes_and_floats_are_the_same_picture():
    image = torch.randint(0, 256, (240, 432, 3), generator=draws(), dtype=torch.uint8)
    floats = image.permute(2, 0, 1).float() / 255
    masks = torch.cat([disc(240, 432), disc(240, 432, 0.1, 0.2, 0.3)])
    for first, second in (
        (fit(image.numpy(), masks.numpy(), size=(128, 224)), fit(floats, masks, size=(128, 224))),
        (augment(image.numpy(), masks.numpy(), draws()), augment(floats, masks, draws())),
    ):
        assert torch.equal(first[1], second[1])
        assert (first[0] - second[0]).abs().max() < 3 / 255
        assert first[0].dtype == torch.float32 and first[1].dtype == torch.bool and first[0].is_contiguous()


@pytest.mark.parametrize("height,width", [(240, 432), (128, 224), (90, 60)])
def test_a_white_object_stays_equal_to_its_mask(height, width):
    masks = disc(height, width, 0.2, 0.4, 0.55) & (torch.arange(width) < 0.45 * width)  # no symmetry left
    image = masks.float().expand(3, -1, -1)
    for seed in range(25):
        out, moved = augment(image, masks, draws(seed), colour=False)
        assert out.shape[1:] == moved.shape[1:] == network_size(height, width, (128, 224))
        assert overlap(out[:1] > 0.5, moved) > 0.95, seed  # padding is below 0.5


def test_the_warp_is_the_one_that_the_formula_says():
    """One pixel's way: scale to the network, mirror, turn about the centre, zoom, shift."""
    height, width, out = 200, 300, (128, 192)
    matrix = transforms._matrix((height, width), out, True, 20.0, 1.1, 7.0, -4.0)
    x, y = 40.5, 150.5  # the centre of pixel (40, 150)
    u, v = x * 192 / 300 - 96, y * 128 / 200 - 64
    u = -u
    angle = math.radians(20.0)
    u, v = 1.1 * (math.cos(angle) * u - math.sin(angle) * v), 1.1 * (math.sin(angle) * u + math.cos(angle) * v)
    there = np.array([u + 96 + 7, v + 64 - 4, 1.0])
    assert (matrix @ there)[:2] == pytest.approx([x, y])
    masks = np.zeros((1, height, width), np.uint8)
    masks[0, 147:154, 37:44] = 1
    moved = transforms.warp_masks(masks, matrix, out)[0].nonzero().double() + 0.5
    assert moved.mean(0).tolist() == pytest.approx([there[1], there[0]], abs=0.35)


def test_identity_settings_give_fit():
    image, masks = torch.rand(3, 120, 200), disc(120, 200)
    still = {"scale": (1.0, 1.0), "rotation": 0.0, "translation": 0.0, "flip": False, "colour": False}
    out, moved = augment(image, masks, draws(), size=(120, 200), **still)
    assert torch.allclose(out, image, atol=1e-5) and torch.equal(moved, masks)


def test_flips_scales_turns_and_shifts_stay_in_their_bounds():
    masks = torch.cat([disc(128, 224, 0.15), disc(128, 224, 0.06, 0.62, 0.5)])  # a second one to the right
    image, flips, angles, areas, rights = torch.zeros(3, 128, 224), 0, [], [], []
    for seed in range(300):
        moved = augment(image, masks, draws(seed), colour=False)[1]
        (y, x), (b, a) = (m.nonzero().double().mean(0).add(0.5).tolist() for m in moved)
        flips += a < x
        angles.append(math.degrees(math.atan2(b - y, abs(a - x))))
        areas.append(float(moved[0].sum() / masks[0].sum()))
        rights.append((x - 112) / 224)
    assert 120 <= flips <= 180
    assert -33 < min(angles) < -25 and 25 < max(angles) < 33
    assert 0.75**2 * 0.93 < min(areas) < 0.62 and 1.45 < max(areas) < 1.25**2 * 1.07
    assert -0.105 < min(rights) < -0.09 and 0.09 < max(rights) < 0.105


def test_what_lies_outside_is_padding_and_no_object():
    masks = torch.ones(1, 128, 224, dtype=torch.bool)
    shrunk = {"scale": (0.5, 0.5), "rotation": 0.0, "translation": 0.0, "colour": False}
    out, moved = augment(torch.zeros(3, 128, 224), masks, draws(), **shrunk)
    assert moved[0, 32:96, 56:168].all() and moved.sum() == 64 * 112
    assert torch.allclose(out[:, 0, 0], torch.tensor(transforms.PADDING)) and not out[:, 64, 112].any()


def test_the_target_stays_in_sight():
    corner = torch.zeros(2, 128, 224, dtype=torch.bool)
    corner[0, :5, :5], corner[1, 60:70, 100:120] = True, True
    for seed in range(60):
        assert augment(torch.zeros(3, 128, 224), corner, draws(seed), translation=0.5)[1][0].any()
    away = {"translation": 0.0, "rotation": 0.0, "scale": (4.0, 4.0), "colour": False, "flip": False}
    image = torch.rand(3, 128, 224)
    out, moved = augment(image, corner, draws(), **away)  # can never be seen: fit
    assert torch.equal(moved, corner) and torch.equal(out, image)
    assert not augment(image, corner, draws(), target=None, **away)[1][0].any()  # the other one is seen
    assert augment(image, corner, draws(), target=1, **away)[1][1].sum() > 1000


def test_no_masks_and_empty_masks_are_legal():
    image = torch.rand(3, 60, 100)
    assert augment(image, torch.zeros(0, 60, 100, dtype=torch.bool), draws(), target=None)[1].shape[0] == 0
    assert augment(image, torch.zeros(0, 60, 100, dtype=torch.bool), draws())[1].shape[0] == 0
    assert not augment(image, torch.zeros(2, 60, 100, dtype=torch.bool), draws())[1].any()


def test_only_the_generator_is_drawn_from():
    image, masks = torch.rand(3, 120, 200), disc(120, 200)
    before = image.clone()
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    a = augment(image, masks, draws(5))
    torch.rand(3)
    b, c = augment(image, masks, draws(5)), augment(image, masks, draws(6))
    assert torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) and not torch.equal(a[0], c[0])
    assert torch.equal(image, before)
    torch.set_rng_state(state)
    augment(image, masks, draws(5))
    assert torch.equal(torch.get_rng_state(), state) and (np.random.get_state()[1] == numpy_state).all()


def test_jitter_against_one_step_after_the_other():
    pixels = torch.rand(20, 30, 3, generator=draws(1)).mul(0.2).add(0.35).numpy()  # far from the clip
    grey = np.array([0.299, 0.587, 0.114], np.float32)
    for seed in range(5):
        b, c, s, _ = (torch.rand(4, generator=draws(seed), dtype=torch.float64) * 2 - 1).tolist()
        expected = pixels * (1 + 0.2 * b)
        expected = (expected - (expected @ grey).mean()) * (1 + 0.2 * c) + (expected @ grey).mean()
        level = (expected @ grey)[..., None]
        expected = level + (expected - level) * (1 + 0.2 * s)
        assert np.allclose(jitter(pixels, draws(seed), hue=0.0), expected, atol=1e-3)
        assert np.allclose(jitter(pixels, draws(seed)) @ grey, expected @ grey, atol=1e-3)  # a hue keeps the luminance
        assert not np.allclose(jitter(pixels, draws(seed)), expected, atol=1e-3)
    wild = jitter(torch.rand(20, 30, 3).numpy(), draws(0))
    assert wild.dtype == np.float32 and wild.min() >= 0 and wild.max() <= 1


def test_it_is_fast():
    image, masks = torch.rand(3, 240, 432), disc(240, 432)
    times = []
    for seed in range(30):
        start = time.perf_counter()
        augment(image, masks, draws(seed))
        times.append(time.perf_counter() - start)
    assert min(times) < 0.010  # about 0.001; loose, as other work may run beside
