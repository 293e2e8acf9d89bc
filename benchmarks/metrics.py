"""Measuring J and F beside the plain formulation of the official toolkit, from files to figures.

    python benchmarks/metrics.py [--data ../shared/data] [--processes 2] [--turns 5] [--sequences bear boat ...]

Truth: the annotations of DAVIS 2016 (480p, 30 sequences, 2,079 masks). Predictions: made of them before any clock runs
(shifted, eroded, with noise at the contour, now and then nothing), written as PNG.

The plain formulation, as davis2017-evaluation does its work: one process; of a sequence all masks at once, as float64
(T, H, W) and then one bool mask per object (objects, T, H, W); J of the whole array, F frame by frame by two dilations
of the full frame with OpenCV (the fast form: older toolkits dilate with scikit-image, forty times slower). Its extra
passes for void pixels are left out. Ours: data set opened and its files checked, masks streamed, started processes
included. The sequences are dealt into `--turns` parts, and both sides take turns on each, so that whatever else the
machine does slows both. Before that, the arithmetic alone, of one frame in memory. Ends with status 1 if a figure
differs by more than 1e-12.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from eosvos.data.masks import read_mask, write_mask
from eosvos.data.readers.davis import open_davis
from eosvos.evaluation.metrics.region_contour import score_sequence, statistics
from eosvos.evaluation.score_sequence import score_sequences

Figures = dict[str, tuple[np.ndarray, np.ndarray]]  # sequence -> J and F of each measured frame
Side = Callable[[list[str]], Figures]  # measures some sequences


def predict(truth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A prediction as methods make them: mostly good, sometimes lost."""
    mask = np.roll(truth, (int(rng.integers(-3, 4)), int(rng.integers(-5, 6))), (0, 1))
    if rng.random() < 0.5:
        mask = cv2.erode(mask, np.ones((int(rng.integers(2, 7)),) * 2, np.uint8))
    coarse = rng.random((truth.shape[0] // 8 + 1, truth.shape[1] // 8 + 1)).astype(np.float32)
    noise = cv2.resize(coarse, truth.shape[::-1]) - 0.5
    blurred = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 4)
    mask = (blurred + 0.6 * noise > 0.5).astype(np.uint8)  # frayed, with spots
    return mask * np.uint8(rng.random() > 0.01)


def plain(annotations: Path, predictions: Path, names: list[str]) -> Figures:
    """The official arithmetic in its plain form; the first and last frame are left out."""
    figures = {}
    for name in names:
        files = sorted((annotations / name).glob("*.png"))
        truth = whole(files)[:, 1:-1]
        prediction = whole([predictions / name / file.name for file in files])[:, 1:-1]
        union = np.sum(prediction | truth, (-2, -1))
        with np.errstate(invalid="ignore"):
            region = np.sum(prediction & truth, (-2, -1)) / union
        region[np.isclose(union, 0)] = 1
        contour = np.zeros(region.shape)
        for i in range(truth.shape[0]):
            for t in range(truth.shape[1]):
                contour[i, t] = plain_contour_accuracy(prediction[i, t], truth[i, t])
        figures[name] = region[0], contour[0]
    return figures


def whole(files: list[Path]) -> np.ndarray:
    """All masks of a sequence at once: bool (objects, T, H, W)."""
    masks = np.zeros((len(files), *read_plain(files[0]).shape))
    for t, file in enumerate(files):
        masks[t] = read_plain(file)
    objects = max(int(masks.max()), 1)
    ids = np.ones((objects, *masks.shape)) * np.arange(1, objects + 1)[:, None, None, None]
    return ids == masks[None]


def read_plain(file: Path) -> np.ndarray:
    mask = np.array(Image.open(file))
    return (mask if mask.ndim == 2 else mask[..., 0]) > 0  # one annotation of DAVIS 2016 is stored with four channels


def plain_contour_accuracy(prediction: np.ndarray, truth: np.ndarray) -> float:
    radius = math.ceil(0.008 * np.linalg.norm(truth.shape))
    axis = np.arange(-radius, radius + 1)
    disk = (axis[:, None] ** 2 + axis**2 <= radius**2).astype(np.uint8)
    predicted, true = plain_contour(prediction), plain_contour(truth)
    near_predicted = cv2.dilate(predicted.astype(np.uint8), disk)
    near_true = cv2.dilate(true.astype(np.uint8), disk)
    n_predicted, n_true = np.sum(predicted), np.sum(true)
    if n_predicted == 0 or n_true == 0:
        return float(n_predicted == n_true)
    precision, recall = np.sum(predicted * near_true) / n_predicted, np.sum(true * near_predicted) / n_true
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def plain_contour(mask: np.ndarray) -> np.ndarray:
    east, south, both = np.zeros_like(mask), np.zeros_like(mask), np.zeros_like(mask)
    east[:, :-1], south[:-1], both[:-1, :-1] = mask[:, 1:], mask[1:], mask[1:, 1:]
    contour = mask ^ east | mask ^ south | mask ^ both
    contour[-1] = mask[-1] ^ east[-1]
    contour[:, -1] = mask[:, -1] ^ south[:, -1]
    contour[-1, -1] = False
    return contour


def ours(data: Path, predictions: Path, names: list[str], processes: int) -> Figures:
    """From opening the data set on."""
    sequences = open_davis(data, year=2016, sequences=names)
    items = [(sequence, partial(read, predictions / sequence.name, sequence.frame_names)) for sequence in sequences]
    scores = dict(score_sequences(items, processes))
    return {name: (np.array(scores[name].region[1]), np.array(scores[name].contour[1])) for name in names}


def read(folder: Path, names: tuple[str, ...], index: int) -> np.ndarray:
    return read_mask(folder / f"{names[index]}.png")


def arithmetic(name: str, size: tuple[int, int], truth: np.ndarray, objects: int) -> str:
    """CPU milliseconds for J and F of one frame, files aside: the least of 15, for `objects` parts of a mask."""
    true = cv2.resize(truth, size[::-1], interpolation=cv2.INTER_NEAREST)
    left, _, width, _ = cv2.boundingRect(true)
    true *= ((np.arange(size[1]) - left) * objects // width).clip(0, objects - 1).astype(np.uint8) + 1  # side by side
    prediction = np.roll(true, (2, -3), (0, 1))
    ids = dict.fromkeys(range(1, objects + 1), 0)

    def plainly() -> list[float]:
        values = []
        for i in ids:
            a, b = prediction == i, true == i
            union = np.sum(a | b)
            values += [np.sum(a & b) / union if union else 1.0, plain_contour_accuracy(a, b)]
        return values

    def together() -> list[float]:
        scores = score_sequence(lambda _: prediction, lambda _: true, ids, [0], ends="keep")
        return [values[i][0] for i in ids for values in (scores.region, scores.contour)]

    assert np.allclose(plainly(), together(), rtol=0, atol=1e-12)
    least = []
    for function in (plainly, together):
        times = []
        for _ in range(15):
            began = time.process_time()
            function()
            times.append(time.process_time() - began)
        least.append(min(times) * 1e3)
    return f"{name}, {objects} object{'s' * (objects > 1)}: plain {least[0]:.2f} ms, ours {least[1]:.2f} ms"


def timed(function: Callable[[], Figures]) -> tuple[Figures, float, float]:
    """Its result, wall and CPU seconds; those of processes that it started and that ended count."""
    before, began = os.times(), time.perf_counter()
    figures = function()
    wall, after = time.perf_counter() - began, os.times()
    return figures, wall, sum(after[:4]) - sum(before[:4])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--sequences", nargs="*")
    arguments = parser.parse_args()
    annotations = arguments.data / "DAVIS-2016" / "Annotations" / "480p"
    names = arguments.sequences or sorted(folder.name for folder in annotations.iterdir())

    truth = read_mask(sorted((annotations / names[0]).glob("*.png"))[20], binary=True)
    for size, objects in (((480, 854), 1), ((480, 854), 4), ((1080, 1920), 1), ((1080, 1920), 4)):
        print(arithmetic(f"{size[1]}x{size[0]}", size, truth, objects))
    with tempfile.TemporaryDirectory() as folder:
        predictions, rng = Path(folder), np.random.default_rng(0)
        for name in names:
            for file in sorted((annotations / name).glob("*.png")):
                write_mask(predictions / name / file.name, predict(read_mask(file, binary=True), rng))
        sides: dict[str, Side] = {
            "plain, one process": lambda part: plain(annotations, predictions, part),
            f"ours, {arguments.processes} processes": lambda part: ours(
                arguments.data, predictions, part, arguments.processes
            ),
        }
        figures: dict[str, Figures] = {side: {} for side in sides}
        spent = {side: np.zeros(2) for side in sides}
        for turn in range(arguments.turns):
            part = names[turn :: arguments.turns]
            for side in list(sides)[:: 1 if turn % 2 else -1]:
                found, wall, cpu = timed(partial(sides[side], part))
                figures[side] |= found
                spent[side] += wall, cpu
                print(f"{side}, part {turn + 1}: {wall:.2f} s wall, {cpu:.2f} s CPU", flush=True)

    expected, found = figures.values()
    frames = sum(len(values[0]) for values in expected.values())
    pairs = [(a, b) for name in names for a, b in zip(expected[name], found[name], strict=True)]
    worst = max(float(np.abs(a - b).max()) for a, b in pairs)
    worst = max(worst, *(float(np.abs(np.subtract(statistics(a), statistics(b))).max()) for a, b in pairs))
    for side, (wall, cpu) in spent.items():
        print(f"{side:24} {frames / wall:7.0f} objects/s   {wall:7.2f} s wall   {cpu:6.2f} s CPU")
    wall, cpu = np.divide(*spent.values())
    j, f = (np.mean([statistics(values[k]).mean for values in found.values()]) for k in (0, 1))
    print(f"{len(names)} sequences, {frames} masks, J {j:.3f}, F {f:.3f}")
    print(f"{wall:.2f} times as many objects per second, {cpu:.2f} times less CPU")
    print(f"greatest difference of a figure: {worst:.1e}")
    sys.exit(worst > 1e-12)


if __name__ == "__main__":
    main()
