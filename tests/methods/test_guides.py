"""What OSMN is told of an object: cut-outs, priors and their Gaussians, and how training draws them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from eosvos.data.mixed_tasks import MixedTaskset
from eosvos.data.sequence import VideoSequence
from eosvos.data.synthetic.taskset import SyntheticTaskset
from eosvos.data.task_stream import TaskStream
from eosvos.data.tasks import VideoTaskset
from eosvos.data.transforms import PADDING
from eosvos.errors import UserError
from eosvos.methods.osmn.guides import Guidance, GuidedTasks, heat_map, moved_prior, prior_of, visual_guide

HEIGHT, WIDTH = 48, 80
STILL = {"scale": (1.0, 1.0), "rotation": 0.0, "translation": 0.0, "flip": False, "colour": 0.0}
PLAIN = Guidance(min_area=0, guide_scale=0, guide_rotation=0, prior_shift=0, prior_scale=0, squares=())


def rectangle(left, top, width, height, shape=(HEIGHT, WIDTH)):
    mask = np.zeros(shape, bool)
    mask[top : top + height, left : left + width] = True
    return mask


def film(length=6, step=5, ids=(1,), name="film"):
    """A rectangle of 20 x 10 pixels that moves right by `step`; the frames' red is their index."""

    def frame(i):
        image = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
        image[..., 0] = i
        return image

    def mask(i):
        return np.uint8(ids[0]) * rectangle(4 + step * i, 20, 20, 10)

    names = tuple(f"{i:05d}" for i in range(length))
    return VideoSequence(name, names, (HEIGHT, WIDTH), {i: 0 for i in ids}, frame, mask, categories={ids[0]: "box"})


def test_a_guide_is_the_box_resized_with_the_background_at_the_mean():
    """A triangle's box, 30 x 20 pixels, at 60 x 60: every second column and third row is a pixel of the frame."""
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    mask = rectangle(12, 6, 30, 20) & (np.arange(WIDTH) - 12 < 30 - np.arange(HEIGHT)[:, None] + 6)
    guide = visual_guide(image, mask, 60)
    assert guide.shape == (3, 60, 60) and guide.dtype == torch.float32
    inside = torch.from_numpy(np.kron(mask[6:26, 12:42], np.ones((3, 2), bool)))
    mean = torch.tensor(PADDING)[:, None]
    assert torch.equal(guide[:, ~inside], mean.expand(-1, int((~inside).sum())))
    # bilinear: the middle row of each three lies on the frame's row, a column a quarter of a pixel beside its own
    rows = torch.from_numpy(image[6:26, 11:43].astype(np.float32) / 255).permute(2, 0, 1)
    right, left = 0.75 * rows[:, :, 1:-1] + 0.25 * rows[:, :, 2:], 0.75 * rows[:, :, 1:-1] + 0.25 * rows[:, :, :-2]
    expected = torch.stack([left, right], -1).flatten(2)
    seen = inside[1::3]
    assert torch.allclose(guide[:, 1::3][:, seen], expected[:, seen], atol=0.02)


def test_turn_and_zoom_act_about_the_middle_of_the_box():
    image = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    mask = rectangle(20, 10, 24, 24)
    plain = visual_guide(image, mask, 48)
    assert (plain == 1).all()
    turned = visual_guide(image, mask, 48, turn=45.0)
    small = visual_guide(image, mask, 48, zoom=0.5)
    white, shrunk = (turned == 1).all(0), (small == 1).all(0)
    assert float(shrunk.float().mean()) == pytest.approx(0.25, abs=0.02) and shrunk[24, 24] and not shrunk[24, 4]
    assert not white[1, 1] and white[24, 1] and white[1, 24]  # the corners of the window see past those of the square
    assert torch.equal(visual_guide(torch.from_numpy(image).permute(2, 0, 1) / 255, mask, 48, turn=45.0), turned)


def test_an_empty_mask_gives_neither_guide_nor_prior():
    empty = np.zeros((HEIGHT, WIDTH), bool)
    assert prior_of(empty) is None
    with pytest.raises(ValueError, match="empty"):
        visual_guide(np.zeros((HEIGHT, WIDTH, 3), np.uint8), empty, 8)


def test_a_prior_is_mean_and_deviation_of_the_pixels():
    mask = np.random.default_rng(1).random((HEIGHT, WIDTH)) < 0.1
    y, x = np.nonzero(mask)
    expected = [(x.mean() + 0.5) / WIDTH, (y.mean() + 0.5) / HEIGHT, x.std() / WIDTH, y.std() / HEIGHT]
    assert prior_of(mask).tolist() == pytest.approx(expected, abs=2e-4)
    # of a whole rectangle the deviation is exactly that of the area
    box = prior_of(rectangle(10, 6, 30, 12)).tolist()
    assert box == pytest.approx([25 / WIDTH, 12 / HEIGHT, 30 / WIDTH / math.sqrt(12), 12 / HEIGHT / math.sqrt(12)])
    assert min(prior_of(rectangle(3, 3, 1, 1))[2:].tolist()) > 0
    assert torch.equal(prior_of(torch.from_numpy(mask)), prior_of(mask))


def test_the_heat_map_is_the_gaussian_of_the_formula():
    prior = torch.tensor([0.3, 0.6, 0.1, 0.05])
    found = heat_map(prior, (24, 40))
    assert found.shape == (1, 24, 40)
    for row, column in ((0, 0), (14, 12), (20, 39)):
        dx, dy = ((column + 0.5) / 40 - 0.3) / 0.1, ((row + 0.5) / 24 - 0.6) / 0.05
        assert float(found[0, row, column]) == pytest.approx(math.exp(-(dx * dx + dy * dy) / 2), abs=1e-6)
    # its own mean and deviation are the prior's
    y, x = torch.meshgrid(torch.arange(240), torch.arange(400), indexing="ij")
    weight = heat_map(torch.tensor([0.4, 0.5, 0.1, 0.05]), (240, 400))[0]
    mean = float((weight * x).sum() / weight.sum())
    assert (mean + 0.5) / 400 == pytest.approx(0.4, abs=1e-3)
    assert float((weight * (x - mean) ** 2).sum() / weight.sum()) ** 0.5 / 400 == pytest.approx(0.1, abs=1e-3)


def test_moved_priors_stay_in_their_bounds_and_use_them():
    prior, draws = prior_of(rectangle(20, 12, 32, 16)), torch.Generator().manual_seed(0)
    found = torch.stack([moved_prior(prior, Guidance(), draws) for _ in range(400)])
    shift = (found[:, :2] - prior[:2]) / torch.tensor([32 / WIDTH, 16 / HEIGHT])
    factor = found[:, 2:] / prior[2:]
    for part, low, high in ((shift, -0.2, 0.2), (factor, 1 / 1.4, 1.4)):
        assert (part.amin(0) >= low - 1e-5).all() and (part.amax(0) <= high + 1e-5).all()
        assert (part.amin(0) < low + 0.03 * high).all() and (part.amax(0) > 0.96 * high).all()
    assert abs(float(torch.corrcoef(factor.T)[0, 1])) < 0.2  # each direction by itself
    assert torch.equal(moved_prior(prior, PLAIN, draws), prior)


def test_the_prior_is_of_the_frame_before_and_the_guide_of_another_frame():
    tasks = GuidedTasks(VideoTaskset([film()], size=(HEIGHT, WIDTH), transform=STILL), 16, PLAIN)
    seen = set()
    for k in range(40):
        item = tasks.guided(0, k, 0)
        now, other = round(float(item.sample.image[0, 0, 0]) * 255), round(float(item.guide[0, 8, 8]) * 255)
        assert now != other
        seen.add((now, other))
        expected = prior_of(rectangle(4 + 5 * max(now - 1, 0), 20, 20, 10))  # the first frame has only itself
        assert torch.allclose(item.prior, expected)
        assert torch.equal(item.sample.masks[0], torch.from_numpy(rectangle(4 + 5 * now, 20, 20, 10)))
        assert (item.name, item.object_id, item.category) == ("film", 1, "box")
    assert len(seen) > 15


def test_the_prior_goes_through_the_same_transform_as_the_picture():
    moving = {"scale": (0.8, 1.25), "rotation": 20.0, "translation": 0.1, "flip": True, "colour": 0.0}
    tasks = GuidedTasks(VideoTaskset([film(1)], size=(HEIGHT, WIDTH), transform=moving), 16, PLAIN)
    for k in range(10):  # a still image: the frame before is itself
        item = tasks.guided(0, k, 0)
        assert torch.allclose(item.prior, prior_of(item.sample.masks[0]))


def test_pictures_are_squeezed_into_squares_of_all_the_sizes():
    guidance = replace(PLAIN, squares=(32, 40, 64))
    tasks = GuidedTasks(VideoTaskset([film(1)], size=(HEIGHT, WIDTH), transform=STILL), 16, guidance)
    items = [tasks.guided(0, k, 0) for k in range(20)]
    assert {tuple(item.sample.image.shape) for item in items} == {(3, s, s) for s in (32, 40, 64)}
    for item in items:  # squeezed, not cut: shares of the picture stay
        assert item.prior.tolist() == pytest.approx(prior_of(rectangle(4, 20, 20, 10)).tolist(), abs=0.03)


def test_items_depend_on_their_numbers_only():
    mixed = MixedTaskset([VideoTaskset([film(ids=(2,))]), SyntheticTaskset(length=4, render=(40, 64))], [1, 1])
    tasks = GuidedTasks(mixed, 16)
    stream = list(TaskStream(tasks, "guided", seed=3, batch=2, stop=4))
    again = list(TaskStream(tasks, "guided", seed=3, batch=2, start=2, stop=4))
    assert {item.name == "film" for item in stream} == {True, False}
    for a, b in zip(stream[4:], again, strict=True):
        assert torch.equal(a.sample.image, b.sample.image) and torch.equal(a.guide, b.guide)
        assert torch.equal(a.prior, b.prior) and torch.equal(a.sample.masks, b.sample.masks)
    assert not torch.equal(stream[0].guide, tasks.guided(4, 0, 0).guide)


def test_objects_cover_as_much_as_is_asked_for():
    tasks = VideoTaskset([film(1), film(1, ids=(2,), name="other")], size=(HEIGHT, WIDTH), transform=STILL)
    share = 20 * 10 / (HEIGHT * WIDTH)
    assert GuidedTasks(tasks, 16, replace(PLAIN, min_area=share)).guided(0, 0, 0)
    with pytest.raises(UserError, match="no object"):
        GuidedTasks(tasks, 16, replace(PLAIN, min_area=share + 1e-6)).guided(0, 0, 0)


def test_void_is_left_out_and_nothing_to_find_is_said():
    sequence = film(1)

    def mask(i):
        ids = sequence.read_mask(i)
        ids[-4:] = 255
        return ids

    marked = VideoSequence("marked", ("0",), (HEIGHT, WIDTH), {1: 0}, sequence.read_frame, mask)
    item = GuidedTasks(VideoTaskset([marked], size=(HEIGHT, WIDTH), transform=STILL), 16, PLAIN).guided(0, 0, 0)
    assert item.sample.ignore[-4:].all() and not item.sample.ignore[:-4].any()
    bare = VideoSequence("bare", ("0",), (HEIGHT, WIDTH), {9: 0}, sequence.read_frame, sequence.read_mask)
    with pytest.raises(UserError, match="no object"):
        GuidedTasks(VideoTaskset([bare]), 16).guided(0, 0, 0)
