"""The synthetic videos: repeatable, consistent with their masks, the same scene at every size, disjoint splits."""

from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from eosvos.data.synthetic.videos import held_out, make_sequence
from eosvos.errors import UserError

SMALL = (64, 112)


def digest(seed: int, index: int, order: list[int]) -> str:
    """A hash of the frames and masks of a video, read in the given order, joined in the order of time."""
    sequence = make_sequence(seed, index, size=SMALL, length=8)
    parts = {}
    for i in order:
        if i % 2:  # the mask alone and the mask after its frame must be the same
            parts[i] = sequence.mask(i).tobytes() + sequence.read_frame(i).tobytes()
        else:
            frame = sequence.read_frame(i).tobytes()
            parts[i] = sequence.mask(i).tobytes() + frame
    return hashlib.sha256(b"".join(parts[i] for i in sorted(parts))).hexdigest()


def test_same_bits_in_any_order_and_process() -> None:
    threads = cv2.getNumThreads()
    expected = [digest(3, index, [0, 3, 5]) for index in (0, 1)]
    cv2.setNumThreads(1 if threads != 1 else 2)
    try:
        assert [digest(3, index, [5, 0, 3]) for index in (0, 1)] == expected
    finally:
        cv2.setNumThreads(threads)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from test_synthetic import digest; print(digest(3, 0, [3, 5, 0]))"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == expected[:1]


def test_what_is_returned_may_be_changed() -> None:
    sequence = make_sequence(3, 2, size=SMALL)
    frame, mask = sequence.read_frame(1), sequence.mask(1)
    before = frame.copy(), mask.copy()
    frame[:], mask[:] = 0, 0
    assert np.array_equal(sequence.read_frame(1), before[0]) and np.array_equal(sequence.mask(1), before[1])


@pytest.mark.parametrize("index", range(8))
def test_objects_agree_with_masks(index: int) -> None:
    sequence = make_sequence(1, index, size=(96, 168), length=24)
    assert sequence.name == f"synthetic-v1-1-{index:05d}" and len(sequence) == 24
    assert (
        list(sequence.first_frame) == list(range(1, len(sequence.first_frame) + 1)) and len(sequence.first_frame) <= 5
    )
    firsts = list(sequence.first_frame.values())
    assert firsts == sorted(firsts) and firsts[0] == 0
    for i in sorted({0, 5, 12, 23, *firsts, *(max(first - 1, 0) for first in firsts)}):
        mask = sequence.mask(i)
        assert mask.dtype == np.uint8 and mask.shape == (96, 168)
        assert set(np.unique(mask)) <= {0, *(k for k, first in sequence.first_frame.items() if first <= i)}
    for first in set(firsts):
        for mask in sequence.new_objects(first).values():
            assert mask.mean() >= 0.002  # 0.3 % in the small masks that decide


def test_frames_are_pictures() -> None:
    for index in range(6):
        sequence = make_sequence(2, index, size=SMALL)
        a, b = sequence.read_frame(0), sequence.read_frame(6)
        assert a.dtype == np.uint8 and a.shape == (*SMALL, 3) and a.flags["C_CONTIGUOUS"]
        assert a.std() > 8 and np.abs(a.astype(int) - b).mean() > 0.5
        assert sequence.frame(0).shape == (3, *SMALL)


def test_objects_move() -> None:
    moved = []
    for index in range(10):
        sequence = make_sequence(4, index, size=SMALL)
        moved.append((sequence.mask(0) != sequence.mask(8)).mean() / (sequence.mask(0) > 0).mean())
    assert min(moved) > 0 and np.mean(moved) > 0.1


def test_the_same_scene_at_every_size() -> None:
    overlaps, differences = [], []
    for index in range(8):
        small, large = (make_sequence(5, index, size=size) for size in ((96, 168), (192, 336)))
        assert small.first_frame == large.first_frame
        one = np.repeat(np.repeat(small.mask(6), 2, 0), 2, 1)
        two = large.mask(6)
        for k in small.first_frame:
            if (two == k).mean() > 0.003:
                overlaps.append(((one == k) & (two == k)).sum() / ((one == k) | (two == k)).sum())
        if index < 3:
            shrunk = cv2.resize(large.read_frame(6), (168, 96), interpolation=cv2.INTER_AREA).astype(float)
            differences.append(np.abs(cv2.GaussianBlur(shrunk - small.read_frame(6), (0, 0), 2)).mean())
    assert np.mean(overlaps) > 0.8
    assert np.mean(differences) < 12


def test_areas_are_those_of_real_videos() -> None:
    areas = []
    for index in range(40):
        sequence = make_sequence(6, index, size=SMALL)
        mask = sequence.mask(0)
        areas += [(mask == k).mean() for k, first in sequence.first_frame.items() if first == 0]
    assert 0.025 < np.median(areas) < 0.12
    assert np.mean([0.01 < area < 0.35 for area in areas]) > 0.8 and max(areas) < 0.5


def test_distinct_objects_differ() -> None:
    seen = set()
    for index in range(15):
        sequence = make_sequence(7, index, size=SMALL)
        mask = sequence.mask(0)
        seen |= {(mask == k).tobytes() for k, first in sequence.first_frame.items() if first == 0}
    assert len(seen) > 15
    assert not np.array_equal(make_sequence(7, 0).read_frame(0), make_sequence(8, 0).read_frame(0))


def test_held_out_splits_are_fixed_and_disjoint() -> None:
    splits = {split: held_out(split, count=4, size=SMALL) for split in ("val", "test")}
    again = held_out("test", count=2, size=SMALL)
    frames = {}
    for split, sequences in splits.items():
        for index, sequence in enumerate(sequences):
            assert 1 <= len(sequence.first_frame) <= 3 and 0 in sequence.first_frame.values()
            assert set(np.unique(sequence.mask(12))) <= {0, 1, 2, 3}
            frames[split, index] = sequence.read_frame(0).tobytes()
    for seed in range(3):
        for index in range(4):
            frames["train", seed, index] = make_sequence(seed, index, size=SMALL).read_frame(0).tobytes()
    assert len(set(frames.values())) == len(frames)
    assert len({s.name for sequences in splits.values() for s in sequences}) == 8
    assert [s.read_frame(0).tobytes() for s in again] == [frames["test", 0], frames["test", 1]]


def test_errors() -> None:
    with pytest.raises(UserError, match="'val' or 'test'"):
        held_out("train")
    for seed, index in ((-1, 0), (0, -1)):
        with pytest.raises(ValueError, match=">= 0"):
            make_sequence(seed, index)
    with pytest.raises(ValueError, match="length"):
        make_sequence(0, 0, length=0)


def test_a_video_can_be_sent_to_a_worker() -> None:
    sequence = make_sequence(3, 4, size=SMALL)
    other = pickle.loads(pickle.dumps(sequence))
    assert np.array_equal(other.read_frame(2), sequence.read_frame(2))
