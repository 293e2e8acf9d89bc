"""What every method does alike, each with a very small network: a new method is one line in `METHODS`."""

from __future__ import annotations

import gc
import pickle
import sys
import zlib
from functools import cache
from io import BytesIO

import numpy as np
import pytest
import torch

from eosvos.data.masks import merge, read_mask
from eosvos.data.sequence import VideoSequence, to_tensor
from eosvos.errors import UserError
from eosvos.evaluation import benchmark
from eosvos.inference import state_file
from eosvos.inference.segmenter import Segmenter
from eosvos.inference.stream import walk
from eosvos.meta.learner import Learner
from eosvos.methods.baselines import CopyFirst, Flow
from eosvos.methods.eosvos.method import EOSVOS
from eosvos.methods.eosvos.settings import Propagation
from eosvos.methods.osmn.method import OSMN
from eosvos.methods.osvos.method import OSVOS
from eosvos.methods.protocol import LearningMethod
from eosvos.models import mask_rcnn, osmn, osvos
from eosvos.seeds import derive

HEIGHT, WIDTH = 32, 48


@cache
def mask_rcnn_learner() -> Learner:
    torch.manual_seed(0)
    model = mask_rcnn.build(
        "tiny",
        short=32,
        long=48,
        widths=(8, 8, 8, 8),
        fpn=8,
        hidden=8,
        groups=4,
        mask_layers=1,
        mask_roi=7,
        box_roi=3,
        anchors=(8, 16, 24, 32),
        rpn_pre=10,
        rpn_post=5,
        rpn_batch=16,
        roi_batch=8,
        score=0.0,
    )
    return Learner.create(model, 0.02, "neuron", {"model": model.spec})


@cache
def osvos_learner() -> Learner:
    torch.manual_seed(0)
    model = osvos.build("tiny", short=32, long=48, widths=(2, 2, 2, 2, 2), groups=1, path=2)
    return Learner.create(model, 1e-7, "single", {"network": "osvos", "model": model.spec})


@cache
def osmn_learner() -> Learner:
    torch.manual_seed(0)
    model = osmn.build(
        "tiny",
        short=32,
        long=48,
        widths=(2, 2, 2, 2, 2),
        groups=1,
        path=2,
        guide=32,
        guide_widths=(4, 4, 4, 4, 4),
        pooled=1,
        hidden=8,
    )
    assert model.visual is not None
    torch.nn.init.normal_(model.visual.last.weight)  # as after training: another gamma for another guide
    return Learner.create(model, 0.02, "single", {"network": "osmn", "model": model.spec})


METHODS = {
    "copy_first": lambda seed: CopyFirst(),
    "flow": lambda seed: Flow(),
    "eosvos": lambda seed: EOSVOS(mask_rcnn_learner(), iters=2, seed=seed, propagation=Propagation(boxes=5)),
    "osvos": lambda seed: OSVOS(osvos_learner(), iters=2, seed=seed),
    "osmn": lambda seed: OSMN(osmn_learner(), seed=seed),
    "osmn, fine-tuned": lambda seed: OSMN(osmn_learner(), iters=2, seed=seed),
}


@pytest.fixture(params=METHODS)
def make(request):
    return METHODS[request.param]


def ids_at(index):
    """Object 7 from frame 0 on, 3 from frame 2 on; both move."""
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    ids[4:18, 4 + index : 20 + index] = 7
    if index >= 2:
        ids[16:28, 40 - index : 47 - index] = 3
    return ids


def image_at(index):
    """uint8 (H, W, 3): the objects before a pattern."""
    image = np.random.default_rng(0).integers(60, 160, (HEIGHT, WIDTH, 3), np.uint8)
    image[ids_at(index) == 7] = (250 - 5 * index, 220, 30)  # no two frames show the same
    image[ids_at(index) == 3] = (10, 20, 90)
    return image


def video(length=6, given=()):
    names = tuple(f"{k:05d}" for k in range(length))
    return VideoSequence("made", names, (HEIGHT, WIDTH), {7: 0, 3: 2}, image_at, ids_at, prompt_frames=given)


def frame(index):
    return to_tensor(image_at(index))


def masks(index, *ids):
    return {i: ids_at(index) == i for i in ids}


def check(method, found, ids):
    """`found` is the id mask of the method's probabilities."""
    assert found.dtype == np.uint8 and found.shape == (HEIGHT, WIDTH) and method.object_ids == ids
    planes = method.probabilities
    assert planes.dtype == torch.float32 and planes.shape == (len(ids), HEIGHT, WIDTH)
    assert float(planes.min()) >= 0 and float(planes.max()) <= 1
    assert np.array_equal(found, merge(planes, ids))


def test_objects_come_in_any_order_late_too_and_win_on_their_frame(make):
    method = make(0)
    found = method.start(frame(2), masks(2, 7, 3))
    check(method, found, [7, 3])  # as given, not sorted
    assert np.array_equal(found, ids_at(2))
    method = make(0)
    check(method, method.start(frame(0), masks(0, 7)), [7])
    check(method, method.step(frame(1)), [7])
    method.step(frame(2))
    found = method.add(frame(2), masks(2, 3))
    check(method, found, [7, 3])
    assert np.array_equal(found == 3, ids_at(2) == 3)
    check(method, method.step(frame(3)), [7, 3])
    found = method.add(frame(3), {200: ids_at(3) == 7})  # on what another object was on
    check(method, found, [7, 3, 200])
    assert np.array_equal(found == 200, ids_at(3) == 7)
    assert method.adapt_seconds >= 0


def test_an_object_of_one_pixel_which_the_network_does_not_see_is_taken(make):
    frame = torch.rand(3, 8 * HEIGHT, 8 * WIDTH, generator=torch.Generator().manual_seed(0))
    mask = np.zeros((8 * HEIGHT, 8 * WIDTH), bool)
    mask[201, 303] = True
    method = make(0)
    assert np.array_equal(method.start(frame, {1: mask}) == 1, mask)
    method.step(frame)
    assert method.probabilities.isfinite().all()


def test_corrections_win_on_their_frame_also_empty_ones(make):
    method = make(0)
    method.start(frame(2), masks(2, 7, 3))
    method.step(frame(3))
    found = method.correct(frame(3), masks(3, 7))
    check(method, found, [7, 3])
    assert np.array_equal(found == 7, ids_at(3) == 7)
    method.step(frame(4))
    found = method.correct(frame(4), {7: np.zeros((HEIGHT, WIDTH), bool), 3: ids_at(4) == 3})
    assert not (found == 7).any() and np.array_equal(found == 3, ids_at(4) == 3)
    check(method, method.step(frame(5)), [7, 3])


def test_a_new_start_forgets_the_video_before(make):
    fresh, used = make(0), make(0)
    used.start(frame(2), masks(2, 3))
    used.step(frame(3))
    results = []
    for method in (fresh, used):
        method.start(frame(0), masks(0, 7))
        results.append(method.step(frame(1)))
        check(method, results[-1], [7])
    assert np.array_equal(*results) and torch.equal(fresh.probabilities, used.probabilities)


def test_the_same_seed_gives_the_same_and_no_global_draw_is_made(make):
    torch.manual_seed(1)
    state, planes = torch.random.get_rng_state(), []
    for _ in range(2):
        method = make(4)
        method.start(frame(0), masks(0, 7))
        method.step(frame(1))
        planes.append(method.probabilities)
        assert torch.equal(state, torch.random.get_rng_state())
        torch.manual_seed(2)
        state = torch.random.get_rng_state()
    assert torch.equal(*planes)


def test_what_is_handed_out_is_the_callers(make):
    method, other = make(0), make(0)
    for one, spoil in ((method, True), (other, False)):
        found = one.start(frame(0), given := masks(0, 7))
        if spoil:
            found[:] = 9
            given[7][:] = False
    assert np.array_equal(method.step(frame(1)), other.step(frame(1)))


def test_evaluation_gives_what_a_stream_of_frames_gives(make, tmp_path):
    sequence = video()
    results = benchmark.run(make, [sequence], tmp_path / "run", fingerprint={}, progress=False)
    method = make(derive(0, zlib.crc32(b"made")))
    stream = [method.start(frame(0), masks(0, 7))]
    for index in range(1, len(sequence)):
        stream.append(method.step(frame(index)))
        if index == 2:
            stream[-1] = method.add(frame(2), masks(2, 3))
    for name, mask in zip(sequence.frame_names, stream, strict=True):
        assert np.array_equal(read_mask(tmp_path / "run/masks/made" / f"{name}.png"), mask)
    assert results.sequences[0].objects == [7, 3]


def test_further_annotated_frames_are_learned_or_refused(make):
    """Learned before the video or in it, they are the same; a correction learns and shows."""
    method = make(0)
    if not isinstance(method, LearningMethod):
        with pytest.raises(UserError, match=f"{type(method).__name__} cannot learn"):
            list(walk(method, video(given=(4,))))
        return
    before, after, plain, corrected = method, make(0), make(0), make(0)
    before.learn(frame(4), masks(4, 7, 3))
    for one in (before, after, plain, corrected):
        one.start(frame(0), masks(0, 7))
    after.learn(frame(4), masks(4, 7, 3))
    steps = [one.step(frame(1)) for one in (before, after, plain)]
    assert np.array_equal(steps[0], steps[1]) and torch.equal(before.probabilities, after.probabilities)
    assert not torch.equal(before.probabilities, plain.probabilities)
    for one in (before, after):  # what was learned of an object that comes later waits for it
        one.step(frame(2))
        one.add(frame(2), masks(2, 3))
    assert torch.equal(before.probabilities, after.probabilities)
    before.step(frame(3))
    shown = before.show(frame(3), masks(3, 3))
    assert np.array_equal(shown == 3, ids_at(3) == 3)
    corrected.step(frame(1))
    plain.learn(frame(1), masks(1, 7))
    assert np.array_equal(corrected.correct(frame(1), masks(1, 7)), plain.show(frame(1), masks(1, 7)))
    assert np.array_equal(corrected.step(frame(2)), plain.step(frame(2)))
    assert torch.equal(corrected.probabilities, plain.probabilities)
    shown = list(walk(make(0), video(given=(4, 1))))  # 3 is not there yet in frame 1: only 7 is given
    assert np.array_equal(shown[4], ids_at(4)) and np.array_equal(shown[1], ids_at(1))


def test_what_does_not_fit_is_refused_and_named(make):
    method, empty = make(0), np.zeros((HEIGHT, WIDTH), bool)
    with pytest.raises(ValueError, match="call start"):
        method.step(frame(0))
    with pytest.raises(ValueError, match="first mask of object 7 is empty"):
        method.start(frame(0), {7: empty})
    method.start(frame(0), masks(0, 7))
    with pytest.raises(ValueError, match=r"frame is \(32, 40\), the video began with \(32, 48\)"):
        method.step(frame(1)[..., :40])
    method.step(frame(1))
    for call in (method.add, method.correct):
        with pytest.raises(ValueError, match=r"frame is \(32, 40\)"):
            call(frame(1)[..., :40], masks(1, 7))
    with pytest.raises(ValueError, match="object 7 is known already"):
        method.add(frame(1), masks(1, 7))
    with pytest.raises(ValueError, match="object 3 is unknown; known are"):
        method.correct(frame(1), {3: empty})
    with pytest.raises(ValueError, match=r"object 3: the mask is \(32, 40\)"):
        method.add(frame(1), {3: ~empty[:, :40]})
    with pytest.raises(ValueError, match="1 to 254, found 255"):
        method.add(frame(1), {255: ~empty})
    check(method, method.step(frame(1)), [7])  # nothing of it was taken in


class State(pickle.Pickler):
    """Writes what an object holds, but for OpenCV's, which have no state that lasts."""

    def reducer_override(self, thing):
        return (int, ()) if type(thing).__module__.partition(".")[0] == "cv2" else NotImplemented


def held(method):
    """Bytes that the method holds, and small objects that the interpreter does."""
    gc.collect()
    state = BytesIO()
    State(state).dump(method)
    return state.tell(), sys.getallocatedblocks()


def test_memory_does_not_grow_over_eight_hundred_frames(make):
    method = make(0)
    method.start(frame(0), masks(0, 7))
    frames = [frame(index) for index in range(20)]
    for count in range(801):
        method.step(frames[count % 20])
        if count == 100:
            state, blocks = held(method)
    assert held(method)[0] < 1.01 * state
    assert held(method)[1] < blocks + 600  # not one object per frame; elsewhere some 200 come and go


def test_saved_and_loaded_it_goes_on_as_if_nothing_had_been(make, tmp_path):
    """Also adds and corrects objects as before: what was given is kept, and the draws."""
    frames = [frame(i) for i in range(6)]
    segmenter = Segmenter(make(3))
    segmenter.start(frames[0], {7: ids_at(0) == 7})
    segmenter.step(frames[1])
    segmenter.save(tmp_path / "state.safetensors")
    loaded = Segmenter.load(tmp_path / "state.safetensors")

    def go_on(segmenter):
        out = [segmenter.step(frames[2]), segmenter.add(frames[2], {3: ids_at(2) == 3})]
        out += [segmenter.step(frames[3]), segmenter.correct(frames[3], {7: ids_at(3) == 7}), segmenter.step(frames[4])]
        return [*out, segmenter.probabilities.numpy()]

    for there, here in zip(go_on(segmenter), go_on(loaded), strict=True):
        assert np.array_equal(there, here)
    assert loaded.object_ids == segmenter.object_ids == [7, 3]
    segmenter.save(tmp_path / "one.safetensors")
    loaded.save(tmp_path / "two.safetensors")
    one, two = (state_file.read(tmp_path / f"{name}.safetensors") for name in ("one", "two"))
    timeless = [str(p.tree).split("'adapt_seconds'")[0] for p in (one, two)]
    assert timeless[0] == timeless[1]
    assert all(torch.equal(one.tensors[k], two.tensors[k]) for k in one.tensors | two.tensors)


def test_a_removed_object_is_gone_and_the_others_stay_as_they_are(make):
    """The rest sees nothing of it, whether it is the first or the last; its number may be given anew."""
    both, alone = make(3), make(3)
    masks = {7: ids_at(2) == 7, 3: ids_at(2) == 3}
    both.start(frame(2), masks)
    both.remove([3])
    alone.start(frame(2), {7: masks[7]})
    assert both.object_ids == [7]
    for index in (3, 4):
        assert np.array_equal(both.step(frame(index)), alone.step(frame(index)))
        assert torch.equal(both.probabilities, alone.probabilities)
    both.add(frame(4), {3: ids_at(4) == 3})
    both.remove([7])
    assert both.object_ids == [3] and both.probabilities.shape[0] == 1
    assert set(np.unique(both.step(frame(5)))) <= {0, 3}
    with pytest.raises(ValueError, match="object 7 is unknown; known are \\[3\\]"):
        both.remove([7])
    both.remove([3])
    assert not both.step(frame(5)).any()


def test_objects_prepared_beforehand_are_found_in_another_video(make, tmp_path):
    """What was learned stays, where it was does not; frames may be of another size."""
    segmenter = Segmenter(make(3))
    segmenter.start(frame(0), {7: ids_at(0) == 7})
    segmenter.save(tmp_path / "object.safetensors")
    if not isinstance(segmenter.method, LearningMethod):
        with pytest.raises(UserError, match="knows nothing of its objects but where they are"):
            Segmenter.load(tmp_path / "object.safetensors", new_video=True)
        return
    found = []
    for _ in range(2):
        other = Segmenter.load(tmp_path / "object.safetensors", new_video=True)
        wide = torch.nn.functional.interpolate(frame(3)[None], (48, 80), mode="bilinear")[0]
        found.append(other.step(wide))
        assert found[-1].shape == (48, 80) and set(np.unique(found[-1])) <= {0, 7}
        assert np.array_equal(other.step(wide).shape, (48, 80))
        with pytest.raises(ValueError, match="the frame is"):
            other.step(frame(3))
    assert np.array_equal(*found)
