"""Masks follow a picture that moves in a known way."""

import numpy as np
import torch
from torch.nn.functional import interpolate

from eosvos.methods.baselines import Flow

HEIGHT, WIDTH = 60, 100


def texture(seed):
    """Smooth random RGB, float32 (3, 90, 200)."""
    noise = torch.rand(1, 3, 18, 40, generator=torch.Generator().manual_seed(seed))
    return interpolate(noise, size=(90, 200), mode="bicubic").clamp(0, 1)[0]


def box(y, x, h, w):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[max(y, 0) : y + h, max(x, 0) : max(x + w, 0)] = True
    return mask


def overlap(a, b):
    return (a & b).sum() / (a | b).sum()


def test_objects_follow_what_they_are_on():
    """The picture moves to the right and down; what comes in from outside is nobody's."""
    back, method = texture(0), Flow()

    def frame(t):
        return back[:, 20 - t : 20 - t + HEIGHT, 40 - 3 * t : 40 - 3 * t + WIDTH]

    first = method.start(frame(0), {9: box(10, 55, 30, 25), 4: box(15, 0, 20, 20)})
    assert (first == 9).sum() == 750 and method.object_ids == [9, 4]
    for t in range(1, 6):
        ids = method.step(frame(t))
        assert ids.dtype == np.uint8 and set(np.unique(ids)) == {0, 4, 9}
        assert overlap(ids == 9, box(10 + t, 55 + 3 * t, 30, 25)) > 0.9
        assert overlap(ids == 4, box(15 + t, 3 * t, 20, 20)) > 0.85
    assert method.probabilities.shape == (2, HEIGHT, WIDTH)


def test_an_object_that_left_is_lost_until_it_is_given_again():
    back, method = texture(2), Flow()

    def frame(t):
        return back[:, :HEIGHT, 4 * t : 4 * t + WIDTH]

    method.start(frame(0), {1: box(20, 2, 20, 16)})
    areas = [(method.step(frame(t)) == 1).sum() for t in [1, 2, 3, 4, 5, 6, 7, 6, 5, 4, 3, 2]]
    assert areas[0] > 200 and areas[1] > 100 and not any(areas[6:])
    assert (method.correct(frame(2), {1: box(20, 0, 20, 10)}) == 1).sum() == 200
    assert overlap(method.step(frame(1)) == 1, box(20, 4, 20, 10)) > 0.8


def test_probabilities_are_looked_up_between_pixels():
    """With half a pixel of flow to the left, each pixel takes the mean of its own and its left neighbour's."""

    class Half:
        def calc(self, now, before, _):
            flow = np.zeros((*now.shape, 2), np.float32)
            flow[..., 0] = -0.5
            return flow

    method = Flow()
    method._flow = Half()
    frame = torch.zeros(3, HEIGHT, WIDTH)
    method.start(frame, {1: box(10, 10, 20, 20)})
    method.step(frame)
    before = np.pad(box(10, 10, 20, 20), ((0, 0), (1, 0))).astype(np.float32)
    assert np.array_equal(method.probabilities[0].numpy(), (before[:, 1:] + before[:, :-1]) / 2)
