"""Small made videos for the tests of this folder; at the top of a module, so that they can be pickled, and without
torch, so that processes that only measure start quickly. Methods for them are in makers.py."""

import numpy as np

from eosvos.data.sequence import VideoSequence

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
    return VideoSequence(name, names, SIZE, objects, made.read_frame, made.read_mask)
