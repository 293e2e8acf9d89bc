"""Pictures of modulation parameters: places that keep distances, neighbours of one group."""

import numpy as np
import pytest
from PIL import Image

from eosvos.plots.osmn_modulation import draw_embedding, draw_spread, embedding, neighbour_agreement


def two_groups(count=12, channels=30):
    draws = np.random.default_rng(0)
    centres = draws.normal(size=(2, channels)) * 3
    groups = ["cat" if k % 2 else "bus" for k in range(count)]
    return np.stack([centres[k % 2] + draws.normal(size=channels) for k in range(count)]).astype(np.float32), groups


def test_the_embedding_keeps_the_distances_of_what_lies_in_a_plane():
    draws = np.random.default_rng(1)
    plane, axes = draws.normal(size=(9, 2)), np.linalg.qr(draws.normal(size=(20, 2)))[0]
    gammas = plane @ axes.T + draws.normal(size=20)

    def distances(points):
        return np.linalg.norm(points[:, None] - points, axis=-1)

    np.testing.assert_allclose(distances(embedding(gammas)), distances(plane), atol=1e-9)
    assert embedding(gammas[:1]).shape == embedding(gammas[:1, :1]).shape == (1, 2)


def test_neighbours_of_one_group_are_counted_beside_chance():
    gammas, groups = two_groups()
    assert neighbour_agreement(gammas, groups) == (1.0, pytest.approx(5 / 11))
    found, chance = neighbour_agreement(np.array([[0.0], [1.0], [1.1], [5.0]]), ["a", "a", "b", "c"])
    assert (found, chance) == (pytest.approx(0.5), pytest.approx(1 / 3))  # b and c have no mate
    assert all(np.isnan(neighbour_agreement(gammas[:2], ["a", "b"])))


def test_the_pictures_are_drawn(tmp_path):
    gammas, groups = two_groups()
    guides = np.random.default_rng(0).integers(0, 256, (12, 20, 20, 3), np.uint8)
    paths = [
        draw_embedding(gammas, guides, groups, tmp_path / "embedding.png"),
        draw_spread(np.split(np.abs(gammas[0]), 3), ["a", "b", "c"], "spread", tmp_path / "spread.png"),
    ]
    for path in paths:
        with Image.open(path) as image:
            assert image.format == "PNG" and np.asarray(image).std() > 1
