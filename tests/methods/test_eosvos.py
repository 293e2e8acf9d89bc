"""The method on a moving square: protocol, determinism, streaming, guards. The network is untrained but small."""

import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from eosvos.data.tasks import Sample
from eosvos.data.transforms import fit
from eosvos.inference import state_file
from eosvos.meta.learner import Learner
from eosvos.methods.eosvos import method, online_adaptation
from eosvos.methods.eosvos.box_propagation import jittered_boxes
from eosvos.methods.eosvos.method import EOSVOS
from eosvos.methods.eosvos.settings import FineTuning, Online, Propagation
from eosvos.methods.snapping import GrabCut
from eosvos.models import mask_rcnn

HEIGHT, WIDTH = 60, 100


@pytest.fixture(scope="module")
def learner():
    torch.manual_seed(0)
    model = mask_rcnn.build("tiny", short=64, long=112, score=0.05)
    return Learner.create(model, 0.02, "neuron", {"model": model.spec})


def clip(length=6, seed=0):
    """A bright square (id 3) and a dark one (id 7) on noise, moving right and down."""
    draws = torch.Generator().manual_seed(seed)
    back = torch.rand(3, HEIGHT, WIDTH, generator=draws) * 0.3 + 0.3
    frames, masks = [], []
    for t in range(length):
        frame, ids = back.clone(), np.zeros((HEIGHT, WIDTH), np.uint8)
        frame[:, 10:30, 10 + 3 * t : 35 + 3 * t] = torch.tensor([1.0, 0.9, 0.1])[:, None, None]
        ids[10:30, 10 + 3 * t : 35 + 3 * t] = 3
        frame[:, 32 + 2 * t : 48 + 2 * t, 60:85] = 0.0
        ids[32 + 2 * t : 48 + 2 * t, 60:85] = 7
        frames.append(frame)
        masks.append(ids)
    return frames, masks


def run(learner, frames, first, **settings):
    method = EOSVOS(learner, **{"iters": 2, "seed": 5, **settings})
    return [method.start(frames[0], first)] + [method.step(f) for f in frames[1:]], method


def given(ids, *wanted):
    return {i: ids == i for i in wanted}


def test_the_given_mask_wins_on_its_frame_and_ids_come_back(learner):
    frames, masks = clip(3)
    out, method = run(learner, frames, given(masks[0], 3, 7))
    assert np.array_equal(out[0], masks[0])
    assert method.object_ids == [3, 7]
    assert all(o.dtype == np.uint8 and o.shape == (HEIGHT, WIDTH) and set(np.unique(o)) <= {0, 3, 7} for o in out)
    assert method.probabilities.shape == (2, HEIGHT, WIDTH)
    assert method.adapt_seconds > 0


def test_fine_tuning_on_one_frame_segments_the_next(learner):
    """Even from random weights, enough steps on one frame find the object in the next."""
    frames, masks = clip(3)
    settings = {"iters": 60, "fine_tuning": FineTuning(spatial=False), "snapping": GrabCut(band=0)}
    out, _ = run(learner, frames, given(masks[0], 3), **settings)
    untuned, _ = run(learner, frames, given(masks[0], 3), iters=0, snapping=GrabCut(band=0))

    def similarity(prediction):
        return (prediction & (masks[1] == 3)).sum() / (prediction | (masks[1] == 3)).sum()

    assert similarity(out[1] == 3) > 0.5
    assert similarity(untuned[1] == 3) < similarity(out[1] == 3)


@pytest.mark.parametrize("ona", [False, True])
def test_same_seed_same_masks_other_seed_other_probabilities(learner, ona):
    frames, masks = clip(6)
    settings = {"ona": ona, "online": Online(every=2, steps=2)}
    a, one = run(learner, frames, given(masks[0], 3), **settings)
    b, two = run(learner, frames, given(masks[0], 3), **settings)
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    assert torch.equal(one.probabilities, two.probabilities)
    _, other = run(learner, frames, given(masks[0], 3), seed=6, **settings)
    assert not torch.equal(one.probabilities, other.probabilities)


def test_the_global_random_state_is_neither_used_nor_moved(learner):
    frames, masks = clip(3)
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    _, one = run(learner, frames, given(masks[0], 3), ona=True, online=Online(every=1, steps=1))
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(2)
    _, two = run(learner, frames, given(masks[0], 3), ona=True, online=Online(every=1, steps=1))
    assert torch.equal(one.probabilities, two.probabilities)


def test_online_adaptation_changes_phi_and_starts_from_the_first_frame_state(learner):
    frames, masks = clip(6)
    method = EOSVOS(learner, iters=1, ona=True, online=Online(every=2, steps=1, min_area=0.0))
    method.start(frames[0], given(masks[0], 3))
    first = {k: p.clone() for k, p in method._objects[3].first.items()}
    for frame in frames[1:]:
        method.step(frame)
    thing = method._objects[3]
    assert thing.adaptations == 2
    assert all(torch.equal(first[k], thing.first[k]) for k in first)
    assert any(not torch.equal(first[k], thing.phi[k]) for k in first)


def test_every_given_frame_has_its_own_steps(learner):
    """T for each: a further annotation takes nothing from the first one."""
    frames, masks = clip(3)
    method, told = EOSVOS(learner, iters=3), []
    method.watch = lambda step, steps, loss: told.append((step, steps))
    method.learn(frames[2], given(masks[2], 3))
    method.start(frames[0], given(masks[0], 3))
    assert told == [(k, 6) for k in range(1, 7)]
    method.step(frames[1])
    method.correct(frames[1], given(masks[1], 3))
    assert told[6:] == [(k, 9) for k in range(1, 10)]


def test_past_frames_count_by_their_weight(learner):
    """One step down the gradient of the mean of the losses, the given frame's counting 1, every past one's `weight`."""
    frames, masks = clip(4)

    def moved(**online):
        method = EOSVOS(
            learner,
            iters=0,
            ona=True,
            fine_tuning=FineTuning(clip=math.inf),
            online=Online(every=3, steps=1, stride=1, min_area=0.0, **online),
        )
        method.start(frames[0], given(masks[0], 3))
        thing = method._objects[3]
        for k in (1, 2):
            thing.past.append(Sample(*fit(frames[k], masks[k][None] == 3, size=method.size)))
        method._adapt_online(thing)
        return {name: thing.phi[name] - p for name, p in learner.theta.items()}

    alone, both, equal = moved(past=0), moved(weight=0.05), moved(weight=1.0)
    assert any(not torch.allclose(alone[k], both[k], atol=1e-7) for k in alone)
    for name, step in alone.items():
        past = equal[name] * 3 - step  # equal: (given + 2 past) / 3
        assert torch.allclose(both[name], (step + 0.05 * past) / 1.1, atol=1e-6)


def test_past_frames_that_join_few_steps_have_the_same_share_of_all(learner, monkeypatch):
    frames, masks = clip(4)
    weighed, mean_of = [], online_adaptation.mean_of
    monkeypatch.setattr(
        online_adaptation, "mean_of", lambda parts: weighed.append([w for w, _ in parts]) or mean_of(parts)
    )

    def weights(**online):
        method = EOSVOS(learner, iters=0, ona=True, online=Online(every=1000, stride=1, min_area=0.0, **online))
        method.start(frames[0], given(masks[0], 3))
        thing = method._objects[3]
        for k in (1, 2):
            thing.past.append(Sample(*fit(frames[k], masks[k][None] == 3, size=method.size)))
        weighed.clear()
        method._adapt_online(thing)
        return weighed

    assert weights(steps=10, joining=10, weight=0.1) == [[1.0, pytest.approx(0.2)]] * 10
    assert weights(steps=10, joining=2, weight=0.1) == [[1.0, pytest.approx(1.0)]] * 2
    assert weights(steps=3, joining=5, weight=0.1) == [[1.0, pytest.approx(0.2)]] * 3
    assert weights(steps=3, joining=0) == weights(steps=3, past=0) == []


@pytest.mark.parametrize("reset", [True, False])
def test_steps_that_are_the_same_every_time_are_made_once(learner, monkeypatch, reset):
    """With the same result as made anew, and anew where the object was fine-tuned anew."""
    frames, masks = clip(8)
    taken, adapt = [], method.adapt
    monkeypatch.setattr(method, "adapt", lambda *a, **k: taken.append(len(a[2])) or adapt(*a, **k))

    def run(forget):
        method = EOSVOS(learner, iters=2, ona=True, online=Online(every=2, steps=4, min_area=0.0, reset=reset))
        method.start(frames[0], given(masks[0], 3))
        taken.clear()
        for k in range(1, 8):
            if forget:
                method._online_start.clear()
            method.step(frames[k])
            if k == 4:
                method.correct(frames[k], given(masks[k], 3))
        return method.parameters_in_use[3]

    kept, steps = run(forget=False), list(taken)
    anew = run(forget=True)
    assert all(torch.equal(kept[name], anew[name]) for name in kept)
    assert taken == [2, 2, 4, 2, 2, 2, 2]  # the fine-tuning of the correction between the first and the second
    assert steps == ([2, 2, 4, 2, 2, 2] if reset else taken)


def test_what_was_kept_for_a_removed_object_goes(learner):
    frames, masks = clip(8)
    method = EOSVOS(learner, iters=1, ona=True, online=Online(every=1, steps=2, joining=0))
    method.start(frames[0], given(masks[0], 3))
    for k in range(1, 4):
        method.step(frames[k])
    method.add(frames[3], {1: masks[3] == 3})
    method.remove([3])
    method.step(frames[4])
    assert [index for index, _ in method._online_start] == [1]


def test_the_parameters_in_use_are_the_mean_of_the_last_steps(learner):
    """A run of fewer steps draws the same samples: the mean over the last two of four is that of runs of 3 and 4."""
    frames, masks = clip(1)

    def phi(iters, average):
        method = EOSVOS(learner, iters=iters, fine_tuning=FineTuning(average=average))
        method.start(frames[0], given(masks[0], 3))
        return method.parameters_in_use[3]

    third, fourth, mean, one = phi(3, 0), phi(4, 0), phi(4, 0.5), phi(1, 0.5)
    assert all(torch.allclose((third[k] + fourth[k]) / 2, mean[k], atol=1e-6) for k in mean)
    assert any(not torch.equal(fourth[k], mean[k]) for k in mean)
    assert all(torch.equal(p, one[k]) for k, p in phi(1, 0).items())  # T=1 has nothing to average
    assert all(torch.equal(p, learner.theta[k]) for k, p in phi(0, 0.5).items())


def test_memory_of_past_frames_is_bounded(learner):
    frames, masks = clip(3)
    method = EOSVOS(learner, iters=0, ona=True, online=Online(every=1000, past=2, stride=2))
    method.start(frames[0], given(masks[0], 3))
    for _ in range(20):
        method.step(frames[1])
    assert len(method._objects[3].past) == 4


def test_masks_are_snapped_and_boxes_are_not(learner):
    """A cut that went wrong must not lead the proposals of the next frame astray."""
    frames, masks = clip(4)
    plain, one = run(learner, frames, given(masks[0], 3), snapping=GrabCut(band=0))
    cut, two = run(learner, frames, given(masks[0], 3), snapping=GrabCut())
    assert torch.equal(one._objects[3].box, two._objects[3].box)
    assert all(torch.equal(one._objects[3].phi[k], p) for k, p in two._objects[3].phi.items())
    assert any(not np.array_equal(a, b) for a, b in zip(plain[1:], cut[1:], strict=True))
    assert torch.equal(GrabCut()(frames[-1], one.probabilities), two.probabilities)


def test_objects_that_the_trial_fails_are_not_snapped(learner, monkeypatch):
    """By the mean over all their given masks; an empty one tells nothing."""
    frames, masks = clip(4)
    first = {3: masks[0] == 3, 7: masks[0] == 7}
    gains = {1: 0.1, 0: -0.1}  # of object 3, which has that pixel, and of 7

    def last(*corrections, **snapping):
        monkeypatch.setattr(GrabCut, "gain", lambda self, frame, mask: gains[int(mask[12, 20])])
        method = EOSVOS(learner, iters=1, snapping=GrabCut(**snapping))
        method.start(frames[0], first)
        for k in (1, 2):
            method.step(frames[k])
        for gain in corrections:
            monkeypatch.setattr(GrabCut, "gain", lambda self, frame, mask, gain=gain: gain)
            method.correct(frames[2], {7: masks[2] == 7})
        method.step(frames[3])
        return [thing.snaps for thing in method._objects.values()], method.probabilities

    told, some = last()
    _, none = last(band=0)
    _, every = last(trial=False)
    assert told == [True, False]
    assert torch.equal(some[0], every[0]) and not torch.equal(some[0], none[0])
    assert torch.equal(some[1], none[1]) and not torch.equal(some[1], every[1])
    assert last(0.05)[0] == [True, False]
    assert last(0.05, math.nan, 0.1)[0] == [True, True]


def test_late_objects_are_added_and_known_ones_corrected(learner):
    frames, masks = clip(4)
    method = EOSVOS(learner, iters=1)
    method.start(frames[0], given(masks[0], 3))
    method.step(frames[1])
    shown = method.add(frames[1], given(masks[1], 7))
    assert method.object_ids == [3, 7] and np.array_equal(shown == 7, masks[1] == 7)
    method.step(frames[2])
    shown = method.correct(frames[2], given(masks[2], 3))
    assert np.array_equal(shown == 3, masks[2] == 3)
    assert len(method._objects[3].given) == 2
    absent = method.correct(frames[2], {3: np.zeros((HEIGHT, WIDTH), bool)})
    assert not (absent == 3).any()
    with pytest.raises(ValueError, match="object 3 is known already"):
        method.add(frames[2], given(masks[2], 3))
    with pytest.raises(ValueError, match="object 9 is unknown"):
        method.correct(frames[2], {9: masks[2] == 3})
    with pytest.raises(ValueError, match="first mask of object 9 is empty"):
        method.add(frames[2], {9: np.zeros((HEIGHT, WIDTH), bool)})


def test_an_object_does_not_depend_on_the_others_but_for_the_merge(learner):
    frames, masks = clip(3)
    _, both = run(learner, frames, given(masks[0], 3, 7))
    _, alone = run(learner, frames, given(masks[0], 3))
    assert torch.equal(both.probabilities[0], alone.probabilities[0])


def test_propagated_boxes_surround_the_last_box_and_stay_in_the_picture():
    box, size = torch.tensor([10.0, 10.0, 35.0, 30.0]), (HEIGHT, WIDTH)
    for settings in (Propagation(boxes=30, jitter=0.3), Propagation(boxes=30, jitter=0.1, outward=True)):
        boxes = jittered_boxes(box, size, settings, torch.Generator().manual_seed(0))
        assert len(boxes) == 30 and torch.equal(boxes[0], box)
        moved = (boxes - box).abs() / torch.tensor([25.0, 20.0, 25.0, 20.0])
        assert 0.5 * settings.jitter < float(moved.max()) <= settings.jitter + 1e-6
        if settings.outward:
            assert bool((boxes[:, :2] <= box[:2]).all()) and bool((boxes[:, 2:] >= box[2:]).all())
    corner = jittered_boxes(torch.tensor([90.0, 50.0, 100.0, 60.0]), size, Propagation(jitter=0.9), torch.Generator())
    assert float(corner[:, 2].max()) <= WIDTH and float(corner[:, 3].max()) <= HEIGHT


def test_continuity_keeps_the_object_that_was_followed(learner):
    """Two equal squares: without a preference for the last box either may win, with a strong one the given one does."""
    frames, masks = [], []
    back = torch.full((3, HEIGHT, WIDTH), 0.4)
    for t in range(5):
        frame, ids = back.clone(), np.zeros((HEIGHT, WIDTH), np.uint8)
        frame[0, 10:30, 8 + t : 28 + t] = frame[0, 30:50, 70 - t : 90 - t] = 1.0
        ids[10:30, 8 + t : 28 + t] = 1
        frames.append(frame)
        masks.append(ids)
    settings = {"iters": 30, "fine_tuning": FineTuning(spatial=False), "propagation": Propagation(continuity=10.0)}
    out, method = run(learner, frames, given(masks[0], 1), **settings)
    assert [bool((o[:, :50] == 1).any()) for o in out] == [True] * 5
    assert not any((o[:, 60:] == 1).any() for o in out)


def test_an_object_that_is_not_found_gives_an_empty_mask(learner):
    frames, masks = clip(2)
    out, method = run(learner, frames, given(masks[0], 3), score=1.0)
    assert not out[1].any()
    assert torch.equal(method._objects[3].box, torch.tensor([10.0, 10.0, 35.0, 30.0]))


def test_objects_given_on_a_frame_share_its_picture_and_a_state_is_written_without_a_copy(learner, tmp_path):
    frames, masks = clip(2)
    _, method = run(learner, frames, given(masks[0], 3, 7), ona=True, iters=1)
    method.learn(frames[1].clone(), given(masks[1], 3))
    method.learn(frames[1].clone(), given(masks[1], 7))
    mine, other = (method._objects[i].given for i in (3, 7))
    assert len(mine) == len(other) == 2
    for a, b in zip(mine, other, strict=True):
        assert a.sample.image is b.sample.image and a.source.image is b.source.image
    assert not torch.equal(mine[0].sample.image, mine[1].sample.image)
    packed = state_file.pack(
        {"objects": method._objects, "flags": torch.tensor([True, False, True]), "half": torch.ones(3).half()}
    )
    there = {t.data_ptr() for t in packed.tensors.values()}
    assert {p.data_ptr() for phi in method.parameters_in_use.values() for p in phi.values()} <= there
    state_file.write(tmp_path / "state.safetensors", packed)
    found = load_file(tmp_path / "state.safetensors")  # the library's own reader
    assert found.keys() == packed.tensors.keys()
    assert all(torch.equal(found[k], t) and found[k].dtype == t.dtype for k, t in packed.tensors.items())
    assert state_file.read(tmp_path / "state.safetensors").tree == packed.tree


def test_masks_snapped_a_few_at_a_time_are_those_of_all_at_once(learner, monkeypatch):
    frames, masks = clip(3)
    once = run(learner, frames, given(masks[0], 3, 7), snapping=GrabCut(trial=False))[0]
    monkeypatch.setattr(method, "_AT_ONCE", 1)
    apart = run(learner, frames, given(masks[0], 3, 7), snapping=GrabCut(trial=False))[0]
    assert all(np.array_equal(a, b) for a, b in zip(once, apart, strict=True))
