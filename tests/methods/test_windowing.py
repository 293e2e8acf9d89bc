"""e-OSVOS with a window about the object: where it looks, what it does at loss, at the edge, and for tiny objects."""

import numpy as np
import pytest
import torch

from eosvos.meta.learner import Learner
from eosvos.methods.eosvos.method import EOSVOS
from eosvos.methods.eosvos.settings import FineTuning, Online, Propagation, Windowing
from eosvos.methods.snapping import GrabCut
from eosvos.models import mask_rcnn

HEIGHT, WIDTH = 240, 420
PLAIN = {"snapping": GrabCut(band=0), "windowing": Windowing(size=3)}


@pytest.fixture(scope="module")
def learner():
    torch.manual_seed(0)
    model = mask_rcnn.build("tiny", short=64, long=112, score=0.05)
    return Learner.create(model, 0.02, "neuron", {"model": model.spec})


def square(x, y, side=12, ids=3, size=(HEIGHT, WIDTH)):
    """A bright square on noise, and its id mask."""
    back = torch.rand(3, *size, generator=torch.Generator().manual_seed(0)) * 0.3 + 0.3
    mask = np.zeros(size, np.uint8)
    back[:, y : y + side, x : x + side] = torch.tensor([1.0, 0.9, 0.1])[:, None, None]
    mask[y : y + side, x : x + side] = ids
    return back, mask


def similarity(found, mask):
    return (found & (mask > 0)).sum() / max(1, (found | (mask > 0)).sum())


def test_a_small_object_is_found_in_a_window_and_not_in_the_whole_frame(learner):
    frame, mask = square(300, 60)
    later, truth = square(304, 62)
    result = {}
    for size in (0.0, 3.0):
        settings = {"fine_tuning": FineTuning(spatial=False), "windowing": Windowing(size=size)}
        method = EOSVOS(learner, iters=60, snapping=GrabCut(band=0), **settings)
        method.start(frame, {3: mask == 3})
        result[size] = similarity(method.step(later) == 3, truth)
    assert result[3.0] > 0.3 > result[0.0]


def test_two_objects_have_a_window_each_and_their_masks_their_place(learner):
    frame, mask = square(40, 40)
    other, second = square(350, 180, ids=7)
    frame[:, 180:192, 350:362] = other[:, 180:192, 350:362]
    settings = {**PLAIN, "fine_tuning": FineTuning(spatial=False)}
    method = EOSVOS(learner, iters=40, **settings)
    method.start(frame, {3: mask == 3, 7: second == 7})
    found = method.step(frame)
    first, last = (thing.window for thing in method._objects.values())
    assert first[2] < last[0]  # side by side
    assert not (found[:, 210:] == 3).any() and not (found[:, :210] == 7).any()
    assert similarity(found == 3, mask) > 0.4 and similarity(found == 7, second) > 0.4


def test_a_window_widens_while_nothing_is_found_and_narrows_again(learner):
    frame, mask = square(200, 100)
    # no detection scores above 1: the object is lost
    method = EOSVOS(learner, iters=1, score=1.0, propagation=Propagation(boxes=0), **PLAIN)
    method.start(frame, {3: mask == 3})
    widths = []
    for _ in range(10):
        assert not method.step(frame).any()
        x0, _, x1, _ = method._objects[3].window
        widths.append(x1 - x0)
    assert widths == sorted(widths) and widths[0] < WIDTH / 4 and widths[-1] == WIDTH
    method.correct(frame, {3: mask == 3})  # found again, by being told
    method.step(frame)
    x0, _, x1, _ = method._objects[3].window
    assert x1 - x0 == widths[0]


def test_the_windows_size_follows_the_box_by_half_a_step_and_its_middle_at_once(learner):
    frame, mask = square(200, 100, side=20)
    method = EOSVOS(learner, iters=0, **PLAIN)
    method.start(frame, {3: mask == 3})
    thing = method._objects[3]
    method._update_box(thing, torch.tensor([100.0, 50, 140, 110]))
    assert thing.sides.tolist() == [30, 40]  # from 20 x 20 half way to 40 x 60
    x0, y0, x1, y1 = method._window_of(thing, frame)
    assert abs((x0 + x1) / 2 - 120) <= 1 and abs((y0 + y1) / 2 - 80) <= 1


@pytest.mark.parametrize("place", [(0, 0), (WIDTH - 12, HEIGHT - 12), (0, HEIGHT - 12)])
def test_objects_at_the_edge_of_the_frame(learner, place):
    frame, mask = square(*place)
    method = EOSVOS(learner, iters=40, ona=True, online=Online(every=1, steps=2), **PLAIN)
    method.start(frame, {3: mask == 3})
    for _ in range(2):
        found = method.step(frame)
    assert found.shape == mask.shape and similarity(found == 3, mask) > 0.3


def test_what_the_learner_was_trained_with_is_the_default(learner):
    trained = Learner(learner.theta, learner.rates, "neuron", {**learner.spec, "rules": {"window": 2.5}})
    assert EOSVOS(trained).window == 2.5 and EOSVOS(learner).window == 0
    assert EOSVOS(trained, windowing=Windowing(size=0)).window == 0


def test_an_object_that_fills_the_frame_is_seen_as_without_a_window(learner):
    frame, mask = square(20, 10, side=220)
    found = []
    for size in (0.0, 3.0):
        method = EOSVOS(learner, iters=3, snapping=GrabCut(band=0), windowing=Windowing(size=size))
        method.start(frame, {3: mask == 3})
        found.append(method.step(frame))
    assert np.array_equal(*found)


def test_the_empty_mask_of_a_known_object_is_learned_where_it_was_looked_for(learner):
    frame, mask = square(200, 100)
    method = EOSVOS(learner, iters=2, **PLAIN)
    method.start(frame, {3: mask == 3})
    method.step(frame)
    method.correct(frame, {3: np.zeros_like(mask, bool)})
    given = method._objects[3].given
    assert len(given) == 2 and not given[1].sample.masks.any()
    assert float((given[1].sample.image[0] > 0.9).float().mean()) > 0.03  # the bright square fills much of the view


def test_a_saved_state_goes_on_with_the_same_window(learner, tmp_path):
    from eosvos.inference import state_file

    frame, mask = square(200, 100)
    one = EOSVOS(learner, iters=5, **PLAIN)
    one.start(frame, {3: mask == 3})
    one.step(frame)
    packed = state_file.pack({name: getattr(one, name) for name in EOSVOS.STATE})
    two = EOSVOS(learner, iters=5, **PLAIN)
    for name, value in state_file.unpack(packed, EOSVOS.PARTS).items():
        setattr(two, name, value)
    assert np.array_equal(one.step(frame), two.step(frame))
    assert one._objects[3].window == two._objects[3].window


def test_after_a_frame_without_the_object_only_a_sure_detection_is_taken(learner, monkeypatch):
    from eosvos.methods.eosvos import method as module

    frame, mask = square(200, 100)
    method = EOSVOS(learner, iters=0, **PLAIN)
    method.start(frame, {3: mask == 3})
    scores = iter([0.1, None, 0.4, 0.6, 0.1])

    def detections(model, phi, images, arguments, tie_weights):
        score, (height, width) = next(scores), arguments["output_sizes"][0]
        found = 0 if score is None else 1
        masks = torch.zeros(found, 1, height, width)
        masks[:, :, height // 3 : -height // 3, width // 3 : -width // 3] = 1
        scored = torch.tensor([] if score is None else [score])
        return [{"boxes": torch.zeros(found, 4), "scores": scored, "masks": masks}]

    monkeypatch.setattr(module, "functional_call", detections)
    assert [bool(method.step(frame).any()) for _ in range(5)] == [True, False, False, True, True]
