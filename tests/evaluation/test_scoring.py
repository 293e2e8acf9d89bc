"""Sequences over several processes are measured as by one, and by processes that start quickly."""

import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import pytest
from PIL import Image

from eosvos.data.masks import read_mask, write_mask
from eosvos.data.readers.davis import open_davis
from eosvos.errors import UserError
from eosvos.evaluation.metrics.region_contour import score_sequence
from eosvos.evaluation.processes import map_in_processes
from eosvos.evaluation.score_sequence import score_sequences


def read(folder, index):
    return read_mask(folder / f"{index:05d}.png")


def read_and_tell(folder, index):
    assert "torch" not in sys.modules  # it would take most of the time
    return read(folder, index)


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    """Three sequences in DAVIS layout, of 4 to 8 frames with two objects, and predictions of them."""
    root = tmp_path_factory.mktemp("DAVIS")
    rng = np.random.default_rng(0)
    lengths = {"short": 4, "long": 8, "middle": 6}
    for name, length in lengths.items():
        for index in range(length):
            ids = np.zeros((40, 60), np.uint8)
            ids[5:20, 3 + index : 20 + index] = 1
            ids[15:35, 30:50] = 2
            write_mask(root / "Annotations" / "480p" / name / f"{index:05d}.png", ids)
            ids[rng.random(ids.shape) < 0.05] = 0
            write_mask(root / "predictions" / name / f"{index:05d}.png", np.roll(ids, int(rng.integers(-2, 3)), 1))
            frame = root / "JPEGImages" / "480p" / name / f"{index:05d}.jpg"
            frame.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(frame)
    sequences = open_davis(root, year=2017, sequences=list(lengths))
    return [(sequence, root / "predictions" / sequence.name) for sequence in sequences]


def test_several_processes_find_what_one_finds(items):
    expected = {
        sequence.name: score_sequence(
            partial(read, folder),
            sequence.mask,
            sequence.first_frame,
            range(len(sequence)),
            ends="keep",
            extra_metrics=["boxes"],
        )
        for sequence, folder in items
    }
    one = [(sequence, partial(read, folder)) for sequence, folder in items]
    two = [(sequence, partial(read_and_tell, folder)) for sequence, folder in items]
    for processes, given in ((1, one), (2, two)):
        found = list(score_sequences(given, processes, ends="keep", extra_metrics=["boxes"]))
        assert dict(found) == expected and len(found) == 3
        assert processes == 2 or [name for name, _ in found] == ["long", "middle", "short"]
    assert all(0 < value < 1 for values in expected["long"].region.values() for value in values)


def test_an_error_names_the_sequence(items):
    given = [(sequence, lambda index: np.zeros((40, 61), np.uint8)) for sequence, _ in items]
    with pytest.raises(ValueError, match=r"long, frame 1: .*\(40, 61\).*\(40, 60\)"):
        list(score_sequences(given))
    with pytest.raises(UserError, match="00001.png: this mask is missing"):
        list(score_sequences([(items[0][0], partial(read, items[0][1].parent / "none"))]))
    with pytest.raises(UserError, match="processes=0"):
        list(score_sequences(given, 0))


def fail(number):
    if number == 1:
        raise UserError("number 1 fails")
    if number == 7:
        os._exit(3)
    return number


def test_a_pool_still_tells_its_processes():
    """By a private attribute; Python 3.14 has `terminate_workers` for what it is needed for."""
    pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    pid = pool.submit(os.getpid).result()
    told = [process.pid for process in (getattr(pool, "_processes", None) or {}).values()]
    pool.shutdown()
    assert told == [pid], f"Python {sys.version} has changed it: adapt `_terminate` of evaluation/processes.py"


def test_a_failing_and_a_lost_process_are_told():
    with pytest.raises(UserError, match="number 1 fails"):
        list(map_in_processes(fail, [0, 1, 2, 3], 2))
    with pytest.raises(UserError, match="killed from outside.*processes=1"):
        list(map_in_processes(fail, [7, 7], 2))
