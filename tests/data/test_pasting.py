"""Objects pasted into tasks: consistent over the frames of a task, reproducible, and never in place of the object."""

import numpy as np
import pytest
import torch

from eosvos.data.mixed_tasks import MixedTaskset
from eosvos.data.pasting import PastedTasks, Pasting
from eosvos.data.synthetic.videos import held_out
from eosvos.data.tasks import VideoTaskset


@pytest.fixture(scope="module")
def plain():
    videos = held_out("val", count=3, size=(96, 168), length=6)
    settings = {"size": (96, 168), "meta_frames": 2, "transform": {"rotation": 0.0, "colour": 0.0}}
    return MixedTaskset([VideoTaskset(videos[:2], **settings), VideoTaskset(videos[2:], **settings)], [1, 1])


def always(**settings):
    return Pasting(**{"share": 1.0, "swap": 0.0, **settings})


def test_without_a_share_tasks_and_pictures_stay_as_they_are(plain):
    pasted = PastedTasks(plain, Pasting(share=0.0))
    for index in range(3):
        assert torch.equal(pasted.task(1, 2, index).meta.image, plain.task(1, 2, index).meta.image)
        assert torch.equal(pasted.image(1, 2, index).image, plain.image(1, 2, index).image)


def test_equal_numbers_give_equal_tasks_whatever_was_drawn_before(plain):
    first, second = PastedTasks(plain, always()), PastedTasks(plain, always())
    second.task(1, 9, 0)
    one, two = first.task(1, 4, 1), second.task(1, 4, 1)
    assert torch.equal(one.train[0].image, two.train[0].image) and torch.equal(one.meta.masks, two.meta.masks)


def test_pasted_objects_change_the_picture_and_hide_no_more_than_their_share(plain):
    pasted, changed = PastedTasks(plain, always()), 0
    for index in range(12):
        before, after = plain.source(1, "task", 3, index).draw_task(1, 3, index), pasted.draw_task(1, 3, index)
        for old, new in zip(before.frames, after.frames, strict=True):
            was, is_ = old.mask == before.object_id, new.mask == after.object_id
            assert after.object_id == before.object_id
            assert np.count_nonzero(is_) >= 0.3 * np.count_nonzero(was)
            assert not (is_ & ~was).any()  # the object itself does not grow
            changed += int((new.image != old.image).any())
    assert changed > 12


def test_a_swapped_task_asks_for_the_pasted_object_in_all_of_its_frames(plain):
    pasted, swapped = PastedTasks(plain, always(swap=1.0, most=1)), 0
    for index in range(12):
        before, after = plain.source(1, "task", 3, index).draw_task(1, 3, index), pasted.draw_task(1, 3, index)
        if after.object_id != before.object_id:
            swapped += 1
            assert all((frame.mask == after.object_id).any() for frame in after.frames)
            assert not any((frame.mask == after.object_id).any() for frame in before.frames)
    assert swapped > 3


def test_pasted_pictures_have_the_pasted_objects_as_instances(plain):
    pasted = PastedTasks(plain, always())
    more = [len(pasted.image(1, k, 0).masks) - len(plain.image(1, k, 0).masks) for k in range(8)]
    assert sum(more) > 4
