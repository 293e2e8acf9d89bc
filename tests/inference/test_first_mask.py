"""A mask from a box, points and scribbles."""

from __future__ import annotations

import numpy as np
import pytest

from eosvos.data.masks import jaccard
from eosvos.inference.first_mask import draw_strokes, mask_from_hints

SIZE = (90, 140)


@pytest.fixture
def scene():
    """A frame with a noisy red disk on a noisy green ground, a second disk at its side, and both masks."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    disk, other = (((rows - 45) ** 2 + (columns - x) ** 2) <= 24**2 for x in (45, 105))
    image = np.where((disk | other)[..., None], (200, 60, 50), (60, 150, 70))
    noise = np.random.default_rng(0).integers(-20, 20, (*SIZE, 3))
    return (image + noise).clip(0, 255).astype(np.uint8), disk, other


def dot(x, y, radius=3):
    return draw_strokes([[(x, y)]], radius, SIZE)


def test_a_box_becomes_the_mask_of_what_is_in_it(scene):
    image, disk, _ = scene
    found = mask_from_hints(image, box=(20, 20, 70, 70))
    assert jaccard(found, disk) > 0.9 and not found[:, 72:].any()
    assert np.array_equal(found, mask_from_hints(image, box=(20, 20, 70, 70)))


def test_points_alone_and_scribbles_are_kept_to(scene):
    image, disk, other = scene
    assert jaccard(mask_from_hints(image, inside=dot(45, 45)), disk) > 0.8
    taken, given = draw_strokes([[(38, 30), (52, 30)]], 2, SIZE), draw_strokes([[(30, 10), (60, 10)]], 2, SIZE)
    found = mask_from_hints(image, box=(20, 5, 70, 70), inside=given, outside=taken)
    assert found[given].all() and not found[taken].any()


def test_a_mask_is_corrected_near_the_hints_and_stays_far_from_them(scene):
    image, disk, other = scene
    start = disk | other
    start[40:50, 41:50] = False  # a hole to mend; the far disk, though of the same colour, is not asked about
    start[60:64, 120:124] = False
    found = mask_from_hints(image, start=start, inside=dot(45, 45))
    assert found[40:50, 41:50].all()
    far = np.zeros(SIZE, bool)
    far[:, 112:] = True
    assert np.mean((found ^ start)[far]) < 0.02


def test_hints_at_the_border_of_the_frame_and_of_one_pixel_make_a_mask(scene):
    image = scene[0]
    for box in ((-5.0, -5.0, 200.0, 200.0), (0.2, 0.2, 0.4, 0.4), (139.5, 89.5, 150.0, 99.0)):
        assert mask_from_hints(image, box=box).shape == SIZE
    assert mask_from_hints(np.zeros((2, 2, 3), np.uint8), box=(0, 0, 2, 2)).shape == (2, 2)
    assert mask_from_hints(image, inside=dot(0, 0, 0))[0, 0]


def test_what_gives_no_place_is_refused(scene):
    image, disk, _ = scene
    with pytest.raises(ValueError, match="no hint where the object is: give a box, or points inside"):
        mask_from_hints(image, outside=disk)
    with pytest.raises(ValueError, match=r"a plane of hints is \(3, 3\), the image \(90, 140\)"):
        mask_from_hints(image, inside=np.ones((3, 3), bool))
