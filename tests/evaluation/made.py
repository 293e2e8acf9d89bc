"""Small made videos and methods for the tests of this folder; at the top of a module, so that they can be pickled."""

import time

import numpy as np
import torch

from eosvos.data.sequence import Sequence
from eosvos.methods.copy_first import CopyFirst

SIZE = (24, 32)


class Video:
    """`length` frames in which object 1 moves; object 3 comes in frame `late` and has a void edge."""

    def __init__(self, seed, length, late=None, annotated=None, first=0):
        self.seed, self.length, self.late, self.annotated, self.first = seed, length, late, annotated, first

    def read_frame(self, index):
        return np.random.default_rng([self.seed, index]).integers(0, 256, (*SIZE, 3), np.uint8)

    def ids(self, index):
        mask = np.zeros(SIZE, np.uint8)
        if index >= self.first:
            mask[3:12, 2 + index : 10 + index] = 1
        if self.late is not None and index >= self.late:
            mask[14:20, 4:28] = 255
            mask[15:19, 5 + index : 20] = 3
        return mask

    def read_mask(self, index):
        return self.ids(index) if self.annotated is None or index in self.annotated else None


def video(name, seed=0, length=8, late=None, annotated=None, first=0):
    made = Video(seed, length, late, annotated, first)
    objects = {1: first} if late is None else {1: first, 3: late}
    names = tuple(f"{index:05d}" for index in range(length))
    return Sequence(name, names, SIZE, objects, made.read_frame, made.read_mask)


class Noisy:
    """A method whose masks depend on its seed, every frame so far, and its calls; it writes into one array."""

    def __init__(self, seed):
        self.generator = torch.Generator().manual_seed(seed)
        self.object_ids, self.adapt_seconds = [], 0.0

    def start(self, frame, masks):
        self.object_ids, self.mask = [], np.zeros(tuple(frame.shape[-2:]), np.uint8)
        return self.add(frame, masks)

    def step(self, frame):
        self.state = self.state * 0.5 + frame.mean(0)
        noise = torch.rand(self.state.shape, generator=self.generator) + self.state
        self.mask[:] = np.array([0, *self.object_ids], np.uint8)[
            (noise * 10).long().numpy() % (len(self.object_ids) + 1)
        ]
        return self.mask

    def add(self, frame, masks):
        begin = time.perf_counter()
        self.state = frame.mean(0)
        for i, mask in masks.items():
            self.object_ids.append(i)
            self.mask[mask] = i
        self.adapt_seconds += time.perf_counter() - begin
        return self.mask


class Perfect(CopyFirst):
    """Knows the truth of `made`, and how it was called."""

    def __init__(self, made):
        super().__init__()
        self.made, self.calls = made, []

    def start(self, frame, masks):
        self.index = min(self.made.objects.values())
        self.calls.append(("start", self.index, tuple(masks)))
        return super().start(frame, masks)

    def step(self, frame):
        self.index += 1
        self.calls.append(("step", self.index))
        ids = self.made.read_mask(self.index)
        return np.where(np.isin(ids, self.object_ids), ids, 0).astype(np.uint8)

    def add(self, frame, masks):
        if self.object_ids:
            self.calls.append(("add", self.index, tuple(masks)))
            super().add(frame, masks)
            ids = self.made.read_mask(self.index)
            return np.where(ids == 255, 0, ids).astype(np.uint8)
        return super().add(frame, masks)


def noisy(seed):
    return Noisy(seed)


def copy_first(seed):
    return CopyFirst()
