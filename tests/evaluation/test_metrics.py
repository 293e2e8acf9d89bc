"""J and F equal the official toolkit's, and an independent formula's where that toolkit was not run."""

import itertools
import json
import math
import tracemalloc

import cv2
import numpy as np
import pytest

from eosvos.evaluation.metrics import bit_planes, boxes_errors, region_contour, temporal_stability


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


def official_contour(mask):
    """The one-pixel contour as the official toolkit makes it: shifted copies of the whole frame."""
    e, s, se = np.zeros_like(mask), np.zeros_like(mask), np.zeros_like(mask)
    e[:, :-1], s[:-1], se[:-1, :-1] = mask[:, 1:], mask[1:], mask[1:, 1:]
    contour = (mask ^ e) | (mask ^ s) | (mask ^ se)
    contour[-1] = mask[-1] ^ e[-1]
    contour[:, -1] = mask[:, -1] ^ s[:, -1]
    contour[-1, -1] = False
    return contour


def official(prediction, truth, radius):
    """J and F in the official arithmetic: float64 counts over the full frame, dilation by every offset of the disk."""
    union = np.sum(prediction | truth)
    j = 1.0 if union == 0 else np.sum(prediction & truth) / union
    edges = [official_contour(mask) for mask in (prediction, truth)]
    (h, w), dilated = truth.shape, []
    for contour in edges:
        padded, near = np.pad(contour, radius), np.zeros_like(contour)
        for dy in range(-radius, radius + 1):
            for dx in range(-radius, radius + 1):
                if dx * dx + dy * dy <= radius * radius:
                    near |= padded[radius + dy : radius + dy + h, radius + dx : radius + dx + w]
        dilated.append(near)
    predicted, true = (float(np.sum(contour)) for contour in edges)
    precision, recall = 1.0, 1.0
    if predicted == 0 and true > 0:
        recall = 0.0
    elif predicted > 0 and true == 0:
        precision = 0.0
    elif predicted > 0:
        precision = np.sum(edges[0] & dilated[1]) / predicted
        recall = np.sum(edges[1] & dilated[0]) / true
    return j, 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)


def test_the_official_arithmetic_is_that_of_single_pixels():
    rng = np.random.default_rng(0)
    for _ in range(100):
        shape, radius = tuple(rng.integers(1, 25, 2)), int(rng.integers(1, 6))
        a, b = random_mask(rng, shape), random_mask(rng, shape)
        assert official(a, b, radius)[1] == pytest.approx(slow_f(a, b, radius), abs=1e-12)


def test_a_dilated_pixel_is_a_disk():
    for radius in range(32):
        side = 2 * radius + 1
        axis = np.arange(side) - radius
        disk = axis[:, None] ** 2 + axis**2 <= radius**2
        stride = side + radius
        for y, x in {(radius, radius), (0, 0), (side - 1, side - 1), (0, side - 1)}:
            line = np.zeros(side * stride + radius, np.uint8)
            line[radius + y * stride + x] = 5
            image = bit_planes._dilate(line, stride, radius)[radius:].reshape(side, stride)[:, :side]
            shifted = np.pad(disk, radius)[side - 1 - y :, side - 1 - x :][:side, :side]
            np.testing.assert_array_equal(image, shifted * 5)


def random_shape(rng, k):
    """Small frames, some of one row or column; every 150th of a real size."""
    if k % 150 == 7:
        return [(120, 214), (240, 427), (480, 854)][k // 150 % 3]
    if k % 10 == 3:
        return [(1, int(rng.integers(1, 60))), (int(rng.integers(1, 60)), 1)][k // 10 % 2]
    return tuple(int(n) for n in rng.integers(1, 36, 2))


def test_1000_pairs_of_masks_equal_the_official_arithmetic():
    rng = np.random.default_rng(1)
    for k in range(1000):
        shape = random_shape(rng, k)
        tolerance = 0.008 if max(shape) > 100 else float(rng.choice([0.008, 0.05, 0.1, 2, 4, 7, 15, 21]))
        radius = math.ceil(tolerance if tolerance >= 1 else tolerance * np.linalg.norm(shape))
        a, b = random_mask(rng, shape), random_mask(rng, shape)
        expected = official(a, b, min(radius, 2 * max(shape)))
        found = region_contour.region_similarity(a, b), region_contour.contour_accuracy(a, b, tolerance=tolerance)
        assert found == pytest.approx(expected, rel=0, abs=1e-12), (k, shape, radius)


def test_1000_objects_of_id_masks_equal_the_official_arithmetic():
    """Several objects share a frame, and are measured together; ids have gaps."""
    rng = np.random.default_rng(2)
    objects = 0
    for k in itertools.count():
        shape = random_shape(rng, k)
        ids = rng.choice(np.arange(1, 255), int(rng.integers(1, 11)), replace=False)
        predicted, true = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
        for i in ids:
            predicted[random_mask(rng, shape)] = i
            true[random_mask(rng, shape)] = i
        if k % 3 == 0:  # a good prediction
            predicted = np.roll(true, 1, int(rng.integers(2)))
        if k % 4 == 0:
            true[random_mask(rng, shape) & random_mask(rng, shape)] = 255
        void = ("background", "ignore")[k % 2]
        frames = {"ends": "keep", "void": void, "objects": {int(i): 0 for i in ids}, "frames": [0]}
        scores = region_contour.score_sequence(lambda _, p=predicted: p, lambda _, t=true: t, **frames)
        keep = true != 255 if void == "ignore" else np.ones(shape, bool)
        for i in ids:
            expected = official((predicted == i) & keep, true == i, math.ceil(0.008 * np.linalg.norm(shape)))
            found = scores.region[i][0], scores.contour[i][0]
            assert found == pytest.approx(expected, rel=0, abs=1e-12), (k, shape, i)
        objects += len(ids)
        if objects >= 1000:
            break


def test_region_similarity_counts_pixels():
    rng = np.random.default_rng(1)
    for _ in range(100):
        a, b = random_mask(rng, (9, 13)), random_mask(rng, (9, 13))
        sa, sb = set(zip(*np.nonzero(a), strict=True)), set(zip(*np.nonzero(b), strict=True))
        assert region_contour.region_similarity(a, b) == (len(sa & sb) / len(sa | sb) if sa | sb else 1.0)


@pytest.mark.parametrize("measure", [region_contour.region_similarity, region_contour.contour_accuracy])
def test_empties_and_identity(measure):
    empty, box = np.zeros((30, 40), bool), np.zeros((30, 40), bool)
    box[5:20, 8:30] = True
    assert measure(empty, empty) == measure(box, box) == 1
    assert measure(empty, box) == measure(box, empty) == 0


@pytest.mark.parametrize("measure", [region_contour.region_similarity, region_contour.contour_accuracy])
def test_void_is_taken_from_both(measure):
    rng = np.random.default_rng(2)
    a, b, void = (rng.random((20, 30)) < p for p in (0.6, 0.5, 0.3))
    assert measure(a, b, void) == measure(a & ~void, b & ~void)
    assert measure(a, b, np.ones_like(void)) == 1


@pytest.mark.parametrize("measure", [region_contour.region_similarity, region_contour.contour_accuracy])
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
    values += np.linspace(0.5, 0, n)  # it falls: indices that wrap at 256 would compare other quarters
    quarter = [math.floor(1 + (n - 1) * k / 4 + 0.5) - 1 for k in range(5)]  # halves go up: 1e-10
    found = region_contour.statistics(values)
    assert found.decay == pytest.approx(values[: quarter[1] + 1].mean() - values[quarter[3] :].mean(), abs=1e-12)
    assert found.mean == pytest.approx(values.mean()) and found.recall == (values > 0.5).sum() / n


def test_statistics_of_nothing_and_of_a_half():
    assert all(math.isnan(value) for value in region_contour.statistics([]))
    assert region_contour.statistics([0.5, 0.5]).recall == 0  # strictly above


def read_binary(path):
    return (cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 0).astype(np.uint8)


def test_figures_equal_the_official_toolkits(shared_data):
    root = shared_data / "metrics-golden"
    expected = json.loads((root / "expected.json").read_text())
    assert expected
    for name, figures in expected.items():
        scores = region_contour.score_sequence(
            lambda i, name=name: read_binary(root / "predictions" / name / f"{i:05d}.png"),
            lambda i, name=name: read_binary(root / "annotations" / name / f"{i:05d}.png"),
            {1: 0},
            range(figures["frames"]),
        )
        assert scores.frames == list(range(1, figures["frames"] - 1))
        for values, key in ((scores.region[1], "J"), (scores.contour[1], "F")):
            np.testing.assert_allclose(values, figures[f"{key}_frames"], rtol=0, atol=1e-9)
            np.testing.assert_allclose(region_contour.statistics(values), figures[key], rtol=0, atol=1e-9)


OBJECTS = {1: 0, 2: 0}


def masks(rng, n=6, shape=(24, 32)):
    return [rng.integers(0, 3, shape).astype(np.uint8) for _ in range(n)]


def test_a_sequence_is_its_frames():
    rng = np.random.default_rng(3)
    predicted, true = masks(rng), masks(rng)
    true[2][:5] = 255
    for skip in (True, False):
        scores = region_contour.score_sequence(
            predicted.__getitem__, true.__getitem__, OBJECTS, range(6), ends="skip" if skip else "keep"
        )
        assert scores.frames == (list(range(1, 5)) if skip else list(range(6)))
        for i in (1, 2):
            expected = [region_contour.region_similarity(predicted[k] == i, true[k] == i) for k in scores.frames]
            assert scores.region[i] == expected
    void = region_contour.score_sequence(predicted.__getitem__, true.__getitem__, OBJECTS, range(6), void="ignore")
    assert void.region[1][1] == region_contour.region_similarity(predicted[2] == 1, true[2] == 1, true[2] == 255)


def test_frames_without_truth_are_left_out():
    rng = np.random.default_rng(4)
    predicted, true = masks(rng, 9), masks(rng, 9)
    annotated = {1, 3, 4, 7}
    scores = region_contour.score_sequence(
        predicted.__getitem__, lambda i: true[i] if i in annotated else None, OBJECTS, range(9)
    )
    assert scores.frames == [3, 4]
    nothing = region_contour.score_sequence(
        predicted.__getitem__, lambda i: true[0] if i == 0 else None, OBJECTS, range(9)
    )
    assert nothing.frames == [] and nothing.region == {1: [], 2: []}


def test_strange_ids_are_counted_and_are_nobodys():
    rng = np.random.default_rng(5)
    predicted, true = masks(rng), masks(rng)
    expected = region_contour.score_sequence(predicted.__getitem__, true.__getitem__, OBJECTS, range(6))
    for k, i in ((0, 9), (2, 7), (3, 7)):  # frame 0 is not measured
        predicted[k][predicted[k] == 0] = i
    predicted[3].flat[np.flatnonzero(predicted[3] == 7)[0]] = 255
    found = region_contour.score_sequence(predicted.__getitem__, true.__getitem__, OBJECTS, range(6))
    assert found.unknown_ids == {7: 2, 255: 1}
    assert (found.region, found.contour) == (expected.region, expected.contour) and expected.unknown_ids == {}


def test_sizes_types_and_unknown_words_are_refused():
    true = masks(np.random.default_rng(5))
    predicted = [mask[:-1] if k == 1 else mask for k, mask in enumerate(true)]
    with pytest.raises(ValueError, match=r"frame 1.*\(23, 32\).*\(24, 32\)"):
        region_contour.score_sequence(predicted.__getitem__, true.__getitem__, OBJECTS, range(6))
    with pytest.raises(ValueError, match="frame 1: the prediction must be uint8.*int64"):
        region_contour.score_sequence(lambda k: true[k].astype(np.int64), true.__getitem__, OBJECTS, range(6))
    with pytest.raises(ValueError, match=r"1 to 254.*\[1, 255\]"):
        region_contour.score_sequence(true.__getitem__, true.__getitem__, {1: 0, 255: 0}, range(6))
    for word in ({"protocol": "DAVIS"}, {"ends": "drop"}, {"void": "none"}):
        with pytest.raises(ValueError, match="{}='{}': expected one of".format(*next(iter(word.items())))):
            region_contour.score_sequence(true.__getitem__, true.__getitem__, OBJECTS, range(6), **word)
    with pytest.raises(ValueError, match="measures='box': expected one of T, boxes, errors"):
        region_contour.score_sequence(true.__getitem__, true.__getitem__, OBJECTS, range(6), extra_metrics=["box"])


def appearing():
    """Truth and prediction of 8 frames: 1 is given on frame 0 and leaves, 2 is given on 3, but predicted on 2."""
    true, predicted = ([np.zeros((20, 30), np.uint8) for _ in range(8)] for _ in range(2))
    for k in range(8):
        if k not in (5, 6):
            true[k][2:12, 2:10] = 1
            predicted[k][3:12, 2:10] = 1
        if k >= 3:
            true[k][5:18, 14:25] = 2
        if k >= 2:
            predicted[k][6:18, 15:25] = 2
    return predicted, true


@pytest.mark.parametrize(
    "protocol, frames, counted",
    [
        ("davis", range(1, 7), {1: range(1, 7), 2: range(1, 7)}),
        ("from-first-appearance", range(1, 7), {1: range(1, 7), 2: range(2, 7)}),
        ("youtube-vos", range(1, 8), {1: range(1, 8), 2: range(4, 8)}),
        ("lvos", range(1, 8), {1: range(1, 4), 2: range(4, 8)}),  # 1 ends with frame 4, of 2 no end is told
    ],
)
def test_a_protocol_tells_the_frames_that_count_for_an_object(protocol, frames, counted):
    predicted, true = appearing()
    rules = {"protocol": protocol, "last": {1: 4}}
    scores = region_contour.score_sequence(predicted.__getitem__, true.__getitem__, {1: 0, 2: 3}, range(8), **rules)
    assert scores.frames == list(frames)
    for i, where in counted.items():
        for measure, values in (
            (region_contour.region_similarity, scores.region[i]),
            (region_contour.contour_accuracy, scores.contour[i]),
        ):
            expected = [measure(predicted[k] == i, true[k] == i) if k in where else math.nan for k in frames]
            np.testing.assert_array_equal(values, expected)
            assert region_contour.statistics(values) == region_contour.statistics([v for v in expected if v == v])


def test_an_object_that_the_measured_truth_lacks_does_not_count_from_first_appearance():
    """As in vos-benchmark: it is given on the first frame, which is not measured, and predicted later."""
    predicted, true = appearing()
    for mask in true[1:]:
        mask[mask == 1] = 0
    found = region_contour.score_sequence(
        predicted.__getitem__,
        true.__getitem__,
        {1: 0, 2: 3},
        range(8),
        protocol="from-first-appearance",
        extra_metrics=["boxes"],
    )
    assert np.isnan(found.region[1]).all() and len(found.region[1]) == len(found.frames) == 6
    assert np.isnan(found.extra_metrics["boxes"][1]).all() and not np.isnan(found.contour[2]).all()


def test_each_mask_is_read_once_and_none_that_is_not_needed():
    predicted, true = appearing()
    for protocol, measured in (("davis", range(1, 7)), ("youtube-vos", range(2, 8))):
        reads = {"prediction": [], "truth": []}

        def read(kind, masks, index, reads=reads):
            reads[kind].append(index)
            return masks[index]

        region_contour.score_sequence(
            lambda k, r=read: r("prediction", predicted, k),
            lambda k, r=read: r("truth", true, k),
            {1: 1, 2: 3},
            range(8),
            protocol=protocol,
            extra_metrics=["T", "boxes", "errors"],
        )
        assert reads == {"prediction": list(measured), "truth": list(range(8))}


def test_further_measures_are_those_of_their_own_modules():
    predicted, true = appearing()
    true[4][8:10] = 255
    scores = region_contour.score_sequence(
        predicted.__getitem__,
        true.__getitem__,
        {1: 0, 2: 3},
        range(8),
        protocol="youtube-vos",
        void="ignore",
        extra_metrics=["T", "boxes", "errors"],
    )
    assert list(scores.extra_metrics) == ["T", "boxes", "near", "far", "missed"] and scores.frames == list(range(1, 8))
    for i, first in ((1, 1), (2, 4)):
        before = None
        for n, k in enumerate(scores.frames):
            found = [scores.extra_metrics[key][i][n] for key in scores.extra_metrics]
            p, t = (predicted[k] == i) & (true[k] != 255), true[k] == i
            if k < first:
                assert np.isnan(found).all()
                continue
            stability = math.nan if before is None else temporal_stability.temporal_stability(before, p)
            np.testing.assert_array_equal(
                found, [stability, boxes_errors.box_overlap(p, t), *boxes_errors.contour_errors(p, t)]
            )
            before = p


def test_memory_does_not_grow_with_the_number_of_frames():
    rng = np.random.default_rng(6)
    kept = [rng.integers(0, 4, (120, 214)).astype(np.uint8) for _ in range(2)]

    def peak(frames):
        tracemalloc.start()
        scores = region_contour.score_sequence(
            lambda k: kept[k % 2].copy(), lambda k: kept[0].copy(), {1: 0, 2: 0, 3: 0}, range(frames)
        )
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(scores.frames) == frames - 2
        return most

    peak(5)
    short, long = peak(20), peak(320)
    assert long - short < 300 * 3 * 2 * 80  # the figures; a mask more per frame would be a hundred times that
