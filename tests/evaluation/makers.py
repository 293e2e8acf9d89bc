"""Methods for the tests of this folder, at the top of a module, so that they can be pickled."""

import time

import numpy as np
import torch

from eosvos.methods.baselines import CopyFirst


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
        self.index = min(self.made.first_frame.values())
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
