"""J and F equal the official toolkit's, and an independent formula's where that toolkit was not run."""

import json
import math

import cv2
import numpy as np
import pytest

from eosvos.evaluation import metrics


def slow_contour(mask):
    """The official rule, pixel by pixel."""
    height, width = mask.shape
    points = []
    for y in range(height):
        for x in range(width):
            others = []
            if x + 1 < width:
                others.append((y, x + 1))
            if y + 1 < height:
                others.append((y + 1, x))
            if x + 1 < width and y + 1 < height:
                others.append((y + 1, x + 1))
            if any(mask[y, x] != mask[other] for other in others):
                points.append((y, x))
    return np.array(points, dtype=float).reshape(-1, 2)


def slow_f(prediction, truth, radius):
    """Every contour pixel against every other: it matches within the radius."""
    a, b = slow_contour(prediction), slow_contour(truth)
    if not len(a) or not len(b):
        return float(len(a) == len(b))
    distance = np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))
    precision, recall = (distance.min(1) <= radius).mean(), (distance.min(0) <= radius).mean()
    return 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)


def random_mask(rng, shape):
    kind = rng.integers(7)
    mask = np.zeros(shape, bool)
    if kind == 1:
        mask[:] = True
    elif kind == 2:
        mask[rng.integers(shape[0]), rng.integers(shape[1])] = True
    elif kind == 3:
        mask = rng.random(shape) < rng.random()
    elif kind >= 4:  # a box, often at the border
        ys, xs = np.sort(rng.integers(-3, shape[0] + 3, 2)).clip(0), np.sort(rng.integers(-3, shape[1] + 3, 2)).clip(0)
        mask[ys[0] : ys[1] + 1, xs[0] : xs[1] + 1] = True
        if kind == 6:
            mask ^= rng.random(shape) < 0.03
    return mask


def test_contour_accuracy_equals_the_slow_formula():
    rng = np.random.default_rng(0)
    for _ in range(400):
        shape = tuple(rng.integers(1, 25, 2))
        tolerance = float(rng.choice([0.008, 0.05, 0.1, 3, 5]))
        a, b = random_mask(rng, shape), random_mask(rng, shape)
        radius = math.ceil(tolerance if tolerance >= 1 else tolerance * np.linalg.norm(shape))
        assert metrics.contour_accuracy(a, b, tolerance=tolerance) == pytest.approx(slow_f(a, b, radius), abs=1e-12)


def test_region_similarity_counts_pixels():
    rng = np.random.default_rng(1)
    for _ in range(100):
        a, b = random_mask(rng, (9, 13)), random_mask(rng, (9, 13))
        sa, sb = set(zip(*np.nonzero(a), strict=True)), set(zip(*np.nonzero(b), strict=True))
        assert metrics.region_similarity(a, b) == (len(sa & sb) / len(sa | sb) if sa | sb else 1.0)


@pytest.mark.parametrize("measure", [metrics.region_similarity, metrics.contour_accuracy])
def test_empties_and_identity(measure):
    empty, box = np.zeros((30, 40), bool), np.zeros((30, 40), bool)
    box[5:20, 8:30] = True
    assert measure(empty, empty) == measure(box, box) == 1
    assert measure(empty, box) == measure(box, empty) == 0


@pytest.mark.parametrize("measure", [metrics.region_similarity, metrics.contour_accuracy])
def test_void_is_taken_from_both(measure):
    rng = np.random.default_rng(2)
    a, b, void = (rng.random((20, 30)) < p for p in (0.6, 0.5, 0.3))
    assert measure(a, b, void) == measure(a & ~void, b & ~void)
    assert measure(a, b, np.ones_like(void)) == 1


@pytest.mark.parametrize("measure", [metrics.region_similarity, metrics.contour_accuracy])
def test_integers_serve_and_wrong_input_is_named(measure):
    a, b = np.zeros((10, 12), bool), np.zeros((10, 12), bool)
    a[2:8, 3:9] = b[3:9, 3:9] = True
    assert measure(a.astype(np.uint8), b.astype(int)) == measure(a, b)
    with pytest.raises(ValueError, match=r"\(10, 12\).*\(12, 10\)"):
        measure(a, b.T)
    with pytest.raises(ValueError, match=r"\(1, 10, 12\)"):
        measure(a[None], b[None])
    with pytest.raises(ValueError, match="255"):
        measure(a.astype(np.uint8) * 255, b)
    with pytest.raises(ValueError, match="float"):
        measure(a, b.astype(float))
    with pytest.raises(ValueError, match="void"):
        measure(a, b, np.zeros((3, 3), bool))


@pytest.mark.parametrize("n", [1, 2, 3, 7, 48, 255, 256, 300, 1000])
def test_decay_compares_first_and_last_quarter(n):
    values = np.random.default_rng(n).random(n)
    quarter = [math.floor(1 + (n - 1) * k / 4 + 0.5) - 1 for k in range(5)]  # halves go up: 1e-10
    found = metrics.statistics(values)
    assert found.decay == pytest.approx(values[: quarter[1] + 1].mean() - values[quarter[3] :].mean(), abs=1e-12)
    assert found.mean == pytest.approx(values.mean()) and found.recall == (values > 0.5).sum() / n


def test_statistics_of_nothing_and_of_a_half():
    assert all(math.isnan(value) for value in metrics.statistics([]))
    assert metrics.statistics([0.5, 0.5]).recall == 0  # strictly above


def read_binary(path):
    return (cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 0).astype(np.uint8)


def test_figures_equal_the_official_toolkits(shared_data):
    root = shared_data / "metrics-golden"
    expected = json.loads((root / "expected.json").read_text())
    assert expected
    for name, figures in expected.items():
        scores = metrics.score_sequence(
            lambda i, name=name: read_binary(root / "predictions" / name / f"{i:05d}.png"),
            lambda i, name=name: read_binary(root / "annotations" / name / f"{i:05d}.png"),
            [1],
            range(figures["frames"]),
        )
        assert scores.frames == list(range(1, figures["frames"] - 1))
        for values, key in ((scores.region[1], "J"), (scores.contour[1], "F")):
            np.testing.assert_allclose(values, figures[f"{key}_frames"], rtol=0, atol=1e-9)
            np.testing.assert_allclose(metrics.statistics(values), figures[key], rtol=0, atol=1e-9)


def masks(rng, n=6, shape=(24, 32)):
    return [rng.integers(0, 3, shape).astype(np.uint8) for _ in range(n)]


def test_a_sequence_is_its_frames():
    rng = np.random.default_rng(3)
    predicted, true = masks(rng), masks(rng)
    true[2][:5] = 255
    for skip in (True, False):
        scores = metrics.score_sequence(predicted.__getitem__, true.__getitem__, [1, 2], range(6), skip_ends=skip)
        assert scores.frames == (list(range(1, 5)) if skip else list(range(6)))
        for i in (1, 2):
            expected = [metrics.region_similarity(predicted[k] == i, true[k] == i) for k in scores.frames]
            assert scores.region[i] == expected
    void = metrics.score_sequence(predicted.__getitem__, true.__getitem__, [1, 2], range(6), use_void=True)
    assert void.region[1][1] == metrics.region_similarity(predicted[2] == 1, true[2] == 1, true[2] == 255)


def test_frames_without_truth_are_left_out():
    rng = np.random.default_rng(4)
    predicted, true = masks(rng, 9), masks(rng, 9)
    annotated = {1, 3, 4, 7}
    scores = metrics.score_sequence(
        predicted.__getitem__, lambda i: true[i] if i in annotated else None, [1, 2], range(9)
    )
    assert scores.frames == [3, 4]
    nothing = metrics.score_sequence(predicted.__getitem__, lambda i: true[0] if i == 0 else None, [1, 2], range(9))
    assert nothing.frames == [] and nothing.region == {1: [], 2: []}


def test_strange_ids_and_sizes_are_refused():
    rng = np.random.default_rng(5)
    true = masks(rng)
    predicted = [mask.copy() for mask in true]
    predicted[3][0, 0] = 7
    with pytest.raises(ValueError, match=r"frame 3.*\[7\].*\[1, 2\]"):
        metrics.score_sequence(predicted.__getitem__, true.__getitem__, [1, 2], range(6))
    predicted[1] = predicted[1][:-1]
    with pytest.raises(ValueError, match=r"frame 1.*\(23, 32\).*\(24, 32\)"):
        metrics.score_sequence(predicted.__getitem__, true.__getitem__, [1, 2], range(6))
