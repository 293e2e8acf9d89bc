"""The floor repeats what it is given, through every part of the protocol."""

import numpy as np
import pytest
import torch

from eosvos.methods.baselines import CopyFirst

FRAME = torch.zeros(3, 8, 10)


def box(y, x, h=3, w=3):
    mask = np.zeros((8, 10), bool)
    mask[y : y + h, x : x + w] = True
    return mask


def test_given_masks_are_repeated():
    method = CopyFirst()
    first = method.start(FRAME, {3: box(0, 0), 1: box(4, 5)})
    assert first.dtype == np.uint8 and method.object_ids == [3, 1]
    assert ((first == 3) == box(0, 0)).all() and ((first == 1) == box(4, 5)).all()
    first[:] = 9  # what is handed out is the caller's
    again = method.step(FRAME)
    assert set(np.unique(again)) == {0, 1, 3} and (again == method.step(FRAME)).all()
    assert method.probabilities.dtype == torch.float32 and method.probabilities.shape == (2, 8, 10)
    assert (method.probabilities[0].numpy() == box(0, 0)).all()


def test_objects_are_added_and_corrected():
    method = CopyFirst()
    method.start(FRAME, {1: box(0, 0)})
    method.step(FRAME)
    added = method.add(FRAME, {2: box(1, 1)})
    assert method.object_ids == [1, 2] and ((added == 2) == box(1, 1)).all() and added[0, 0] == 1
    method.step(FRAME)
    corrected = method.correct(FRAME, {1: box(5, 5), 2: np.zeros((8, 10), bool)})
    assert ((corrected == 1) == box(5, 5)).all() and not (corrected == 2).any()
    assert (method.step(FRAME) == corrected).all() and method.probabilities.shape[0] == 2


def test_a_new_start_forgets():
    method = CopyFirst()
    method.start(FRAME, {1: box(0, 0)})
    assert not (method.start(torch.zeros(3, 8, 10), {2: box(3, 3)}) == 1).any() and method.object_ids == [2]


def test_misuse_is_named():
    method = CopyFirst()
    with pytest.raises(ValueError, match="start"):
        method.step(FRAME)
    method.start(FRAME, {1: box(0, 0)})
    with pytest.raises(ValueError, match="object 1 is known already"):
        method.add(FRAME, {1: box(0, 0)})
    with pytest.raises(ValueError, match="object 2 is unknown"):
        method.correct(FRAME, {2: box(0, 0)})
    with pytest.raises(ValueError, match=r"\(4, 10\).*\(8, 10\)"):
        method.step(torch.zeros(3, 4, 10))
    with pytest.raises(ValueError, match=r"object 2.*\(2, 2\)"):
        method.add(FRAME, {2: np.ones((2, 2), bool)})
    with pytest.raises(ValueError, match="255"):
        method.add(FRAME, {255: box(0, 0)})
