"""Smaller frames and kept ones: the cache is bounded, and changes nothing."""

from __future__ import annotations

from collections import Counter

import numpy as np

from eosvos.data.cache import FrameCache, resized_sequence
from eosvos.data.sequence import VideoSequence


def video(read: Counter, size=(40, 60)) -> VideoSequence:
    draws = np.random.default_rng(0)
    frames = draws.integers(0, 256, (4, *size, 3), np.uint8)
    masks = (draws.random((4, *size)) < 0.5).astype(np.uint8) * 7

    def frame(index: int) -> np.ndarray:
        read["frame", index] += 1
        return frames[index].copy()

    def mask(index: int) -> np.ndarray | None:
        read["mask", index] += 1
        return None if index == 3 else masks[index].copy()

    return VideoSequence("video", ("0", "1", "2", "3"), size, {7: 0}, frame, mask)


def test_frames_are_averaged_and_masks_keep_their_ids():
    plain = video(Counter())
    half = resized_sequence(plain, 0, (20, 30), FrameCache(0))
    assert half.size == (20, 30) and half.first_frame == plain.first_frame and len(half) == 4
    blocks = plain.read_frame(1).reshape(20, 2, 30, 2, 3).mean((1, 3))
    assert np.abs(half.read_frame(1) - blocks).max() <= 0.5
    mask = half.read_mask(1)
    assert set(np.unique(mask)) == {0, 7} and half.read_mask(3) is None
    rows, columns = np.arange(20) * 2, np.arange(30) * 2
    full = plain.read_mask(1)  # the nearest of four pixels around the centre
    candidates = [full[np.ix_(rows + i, columns + j)] for i in (0, 1) for j in (0, 1)]
    assert any((mask == one).all() for one in candidates)


def test_nothing_is_enlarged():
    for size in (None, (80, 120)):
        same = resized_sequence(video(Counter()), 0, size, FrameCache(0))
        assert same.size == (40, 60) and (same.read_frame(2) == video(Counter()).read_frame(2)).all()


def test_the_cache_is_bounded_and_changes_nothing():
    frame, mask = 20 * 30 * 3, 20 * 30
    order = [0, 1, 0, 2, 3, 0, 1, 1, 2]
    outcomes = []
    for limit in (0, frame + mask, 3 * (frame + mask), 10**6):
        read, cache = Counter(), FrameCache(limit)
        videos = [resized_sequence(video(read), k, (20, 30), cache) for k in range(2)]
        seen = []
        for index in order:
            for one in videos:
                seen += [one.read_frame(index).tobytes(), None if index == 3 else one.read_mask(index).tobytes()]
                assert cache.bytes <= limit and cache.bytes == sum(
                    v.nbytes for v in cache.kept.values() if v is not None
                )
        outcomes.append((seen, sum(read.values())))
    assert all(seen == outcomes[0][0] for seen, _ in outcomes)
    reads = [count for _, count in outcomes]
    assert reads == sorted(reads, reverse=True) and reads[0] > reads[2] > reads[3] == 2 * 7
