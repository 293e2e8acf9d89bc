"""Tasks: what is drawn, how often, and that only (seed, iteration, index) decide."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from eosvos.data.sequence import VideoSequence
from eosvos.data.synthetic.taskset import SyntheticTaskset
from eosvos.data.task_stream import TaskStream
from eosvos.data.tasks import Sample, Task, VideoTaskset
from eosvos.errors import UserError

SIZE = (48, 80)
STILL = {"scale": (1.0, 1.0), "rotation": 0.0, "translation": 0.0, "flip": False, "colour": False}


class Film:
    """Squares of the ids on frames whose grey value is the frame's index; `shown[i]` are the ids of frame i."""

    def __init__(self, shown: list[tuple[int, ...] | None], side: int = 12, void: bool = False):
        self.shown, self.side, self.void, self.read = shown, side, void, Counter()

    def frame(self, i: int) -> np.ndarray:
        self.read["frame"] += 1
        return np.full((*SIZE, 3), i, np.uint8)

    def mask(self, i: int) -> np.ndarray | None:
        ids = self.shown[i]
        if ids is None:
            return None
        self.read["mask"] += 1
        mask = np.zeros(SIZE, np.uint8)
        for k in ids:
            mask[10 : 10 + self.side, 15 * k : 15 * k + self.side] = k
        if self.void:
            mask[-5:] = 255
        return mask

    def sequence(self, name: str) -> VideoSequence:
        objects: dict[int, int] = {}
        for i, ids in enumerate(self.shown):
            for k in ids or ():
                objects.setdefault(k, i)
        names = tuple(f"{i:05d}" for i in range(len(self.shown)))
        return VideoSequence(name, names, SIZE, objects, self.frame, self.mask)


def drawn(sample: Sample) -> int:
    """The index of the frame that an untransformed sample shows."""
    return round(float(sample.image[0, 0, 0]) * 255)


def same(a: Task | Sample, b: Task | Sample) -> bool:
    if isinstance(a, Task):
        pairs = [*zip(a.train, b.train, strict=True), (a.meta, b.meta)]
        return (a.name, a.object_id) == (b.name, b.object_id) and all(same(x, y) for x, y in pairs)
    ignores = (a.ignore is None) == (b.ignore is None) and (a.ignore is None or torch.equal(a.ignore, b.ignore))
    return torch.equal(a.image, b.image) and torch.equal(a.masks, b.masks) and ignores


@pytest.fixture
def taskset() -> VideoTaskset:
    films = [Film([(1,)] * 6), Film([(1, 2, 3)] * 5), Film([(2,)])]
    return VideoTaskset([f.sequence(f"film{i}") for i, f in enumerate(films)], size=SIZE)


def test_shapes_and_types(taskset):
    task = taskset.task(0, 3, 1)
    assert isinstance(task, Task) and len(task.train) == 1
    for sample in (*task.train, task.meta):
        assert sample.image.shape == (3, *SIZE) and sample.image.dtype == torch.float32
        assert sample.masks.shape == (1, *SIZE) and sample.masks.dtype == torch.bool and sample.masks.any()
        assert sample.ignore is None


def test_pairs_are_drawn_uniformly(taskset):
    counts = Counter((t.name, t.object_id) for t in (taskset.task(1, i, 0) for i in range(500)))
    assert len(counts) == 5
    chi2 = sum((n - 100) ** 2 / 100 for n in counts.values())
    assert chi2 < 18.5  # 0.1 % of a chi-square with 4 degrees of freedom


def test_train_and_meta_frames_are_two_random_ones():
    taskset = VideoTaskset([Film([(1,)] * 4).sequence("f")], size=SIZE, transform=STILL)
    tasks = [taskset.task(0, i, 0) for i in range(240)]
    pairs = Counter((drawn(t.train[0]), drawn(t.meta)) for t in tasks)
    assert len(pairs) == 12 and all(a != b for a, b in pairs) and min(pairs.values()) > 5


def test_one_frame_is_used_twice_with_two_transforms():
    taskset = VideoTaskset([Film([(1,)]).sequence("f")], size=SIZE)
    task = taskset.task(0, 0, 0)
    assert not torch.equal(task.train[0].image, task.meta.image)


def test_frames_without_the_object_or_a_mask_are_not_drawn():
    shown = [(2,), None, (2,), (1, 2), None, (1,), (), (2,)]
    taskset = VideoTaskset([Film(shown).sequence("f")], size=SIZE, transform=STILL)
    for i in range(60):
        task = taskset.task(0, i, 0)
        frames = {drawn(task.train[0]), drawn(task.meta)}
        assert frames == {3, 5} if task.object_id == 1 else frames < {0, 2, 3, 7} and len(frames) == 2
        where = task.meta.masks[0].nonzero()[:, 1].min()
        assert where == 15 * task.object_id  # the mask of this object


def test_meta_frames_are_different_ones_and_begin_with_those_of_fewer():
    film = Film([(1,), (1,), (2,), (1,)]).sequence("f")
    one = VideoTaskset([film], size=SIZE, transform=STILL)
    several = VideoTaskset([film], size=SIZE, transform=STILL, meta_frames=4)
    seen = set()
    for i in range(60):
        task, single = several.task(0, i, 0), one.task(0, i, 0)
        frames = [drawn(sample) for sample in (task.meta, *task.extra_meta)]
        assert drawn(task.train[0]) == drawn(single.train[0]) and drawn(task.meta) == drawn(single.meta)
        assert torch.equal(task.meta.image, single.meta.image) and single.extra_meta == () and len(frames) == 4
        if task.object_id == 1:  # of which there are two others: they are used again, each under its own transform
            assert frames[:2] == frames[2:] and {drawn(task.train[0]), *frames} == {0, 1, 3}
        seen |= {(task.object_id, frame) for frame in frames}
    assert seen == {(1, 0), (1, 1), (1, 3), (2, 2)}
    with pytest.raises(UserError, match="meta_frames=0"):
        VideoTaskset([film], meta_frames=0)


def test_first_to_later():
    shown = [(2,), (2,), (1, 2), (1, 2), (1,)]
    taskset = VideoTaskset([Film(shown).sequence("f")], size=SIZE, transform=STILL, first_to_later=True)
    seen = Counter((t.object_id, drawn(t.train[0]), drawn(t.meta)) for t in (taskset.task(0, i, 0) for i in range(80)))
    assert set(seen) == {(1, 2, 3), (1, 2, 4), (2, 0, 1), (2, 0, 2), (2, 0, 3)}


def test_train_copies(taskset):
    several = VideoTaskset([Film([(1,)] * 5).sequence("f")], size=SIZE, train_copies=3)
    task = several.task(0, 0, 0)
    assert len(task.train) == 3
    assert len({s.image.numpy().tobytes() for s in (*task.train, task.meta)}) == 4
    still = VideoTaskset([Film([(1,)] * 5).sequence("f")], size=SIZE, train_copies=3, transform=STILL)
    assert len({drawn(s) for s in still.task(0, 0, 0).train}) == 1
    with pytest.raises(UserError, match="train_copies=0"):
        VideoTaskset([Film([(1,)]).sequence("f")], train_copies=0)


def test_objects_too_small_give_way_and_the_search_is_bounded():
    tiny, large = Film([(1,)] * 500, side=2), Film([(1,)] * 3)
    taskset = VideoTaskset([tiny.sequence("tiny"), large.sequence("large")], size=SIZE, min_area=0.01)
    assert {taskset.task(0, i, 0).name for i in range(10)} == {"large"}
    assert tiny.read["mask"] <= 240 and tiny.read["frame"] == 0
    alone = VideoTaskset([tiny.sequence("tiny")], size=SIZE, min_area=0.01)
    with pytest.raises(UserError, match="lower min_area"):
        alone.task(0, 0, 0)
    with pytest.raises(UserError, match="lower min_area"):
        alone.image(0, 0, 0)
    with pytest.raises(UserError, match="without a single object"):
        VideoTaskset([Film([()]).sequence("empty")])


def test_two_frames_are_read_for_a_task():
    film = Film([(1, 2)] * 50)
    taskset = VideoTaskset([film.sequence("f")], size=SIZE, train_copies=4)
    for i in range(5):
        taskset.task(0, i, 0)
    assert film.read == {"frame": 10, "mask": 10}


def test_pictures_show_all_objects_and_void_is_ignored():
    taskset = VideoTaskset([Film([(1, 2, 4)] * 3, void=True).sequence("f")], size=SIZE, transform=STILL)
    picture = taskset.image(0, 0, 0)
    assert picture.masks.shape == (3, *SIZE) and (picture.masks.sum((1, 2)) == 144).all()
    assert [int(m.nonzero()[:, 1].min()) for m in picture.masks] == [15, 30, 60]
    assert picture.ignore[-5:].all() and not picture.ignore[:-5].any()
    task = taskset.task(0, 0, 0)
    assert task.meta.masks.shape[0] == 1 and task.meta.ignore[-5:].all()


def test_slivers_are_ignored_in_pictures():
    class Slivers(Film):
        def mask(self, i):
            mask = super().mask(i)
            mask[0, :5] = 9
            return mask

    picture = VideoTaskset([Slivers([(1,)] * 3).sequence("f")], size=SIZE, transform=STILL).image(0, 0, 0)
    assert len(picture.masks) == 1 and picture.ignore.sum() == 5 and picture.ignore[0, :5].all()


def test_draws_depend_on_their_numbers_only(taskset):
    first = taskset.task(7, 2, 3)
    taskset.task(7, 0, 0)
    torch.rand(5)
    assert same(taskset.task(7, 2, 3), first)
    for other in ((8, 2, 3), (7, 3, 3), (7, 2, 2), (7, 3, 2)):
        assert not same(taskset.task(*other), first)


@pytest.mark.parametrize("kind", ["task", "image"])
def test_streams_are_the_same_with_any_number_of_workers(taskset, kind):
    stream = TaskStream(taskset, kind, seed=5, batch=3, start=2, stop=5)
    assert len(stream) == 9
    direct = [getattr(taskset, kind)(5, i, k) for i in (2, 3, 4) for k in range(3)]
    for workers in (0, 2):
        got = list(DataLoader(stream, batch_size=None, num_workers=workers))
        assert len(got) == 9 and all(same(a, b) for a, b in zip(got, direct, strict=True)), workers


def test_a_resumed_stream_goes_on_where_it_was(taskset):
    whole = list(TaskStream(taskset, seed=1, batch=2, stop=4))
    rest = TaskStream(taskset, seed=1, batch=2, start=2, stop=4)
    assert all(same(a, b) for a, b in zip(whole[4:], rest, strict=True))
    assert len(TaskStream(taskset, seed=1, batch=2, start=4, stop=4)) == 0


@pytest.mark.parametrize("world,batch", [(2, 4), (2, 3), (3, 4)])
def test_processes_share_a_batch_out(taskset, world, batch):
    whole = list(TaskStream(taskset, seed=1, batch=batch, stop=2))
    dealt = {}
    for rank in range(world):
        stream = TaskStream(taskset, seed=1, batch=batch, stop=2, rank=rank, world=world)
        assert len(stream) == 2 * stream.per_rank
        for item in range(len(stream)):
            iteration, place = divmod(item, stream.per_rank)
            dealt[iteration * batch + rank + world * place] = stream[item]
    assert sorted(dealt) == list(range(2 * batch)) and all(same(dealt[i], whole[i]) for i in dealt)


def test_a_process_may_be_left_without_tasks(taskset):
    shares = [TaskStream(taskset, seed=0, batch=2, stop=5, rank=rank, world=3) for rank in range(3)]
    assert [len(share) for share in shares] == [5, 5, 0]


def test_streams_refuse_nonsense(taskset):
    with pytest.raises(ValueError, match="kind='tasks'"):
        TaskStream(taskset, "tasks", seed=0, batch=1, stop=1)
    with pytest.raises(IndexError):
        TaskStream(taskset, seed=0, batch=1, stop=1)[1]


def test_synthetic_tasks_are_endless_and_repeatable():
    taskset = SyntheticTaskset(size=(64, 112), render=(72, 128), length=8)
    tasks = [taskset.task(0, i, k) for i in range(2) for k in range(2)]
    assert len({t.train[0].image.numpy().tobytes() for t in tasks}) == 4
    for task in tasks:
        assert task.meta.image.shape[1:] == task.meta.masks.shape[1:] and task.meta.masks.any()
        assert min(task.meta.image.shape[1:]) <= 64 and max(task.meta.image.shape[1:]) <= 112
    assert same(taskset.task(0, 1, 1), tasks[3]) and not same(taskset.task(1, 1, 1), tasks[3])
    picture = taskset.image(0, 0, 0)
    assert len(picture.masks) >= 1 and picture.masks.flatten(1).any(1).all()
    got = list(DataLoader(TaskStream(taskset, seed=0, batch=2, stop=2), batch_size=None, num_workers=2))
    assert all(same(a, b) for a, b in zip(got, tasks, strict=True))


def test_real_sequences_give_tasks(shared_data):
    from eosvos.data.readers.davis import open_davis

    root = shared_data / "DAVIS-2016"
    if not root.is_dir():
        pytest.skip(f"{root} is absent")
    taskset = VideoTaskset(open_davis(root, year=2016, sequences=["bmx-bumps", "tennis"]), size=(128, 224))
    for i in range(3):
        task = taskset.task(0, i, 0)
        assert task.train[0].image.shape == (3, 126, 224) and task.train[0].masks.any() and task.meta.masks.any()
