"""Fine-tuning follows the rules of the learner's training unless it is told otherwise."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from eosvos.data.tasks import Sample, Task
from eosvos.meta.learner import FROM_LEARNER, Learner
from eosvos.methods.eosvos import training
from eosvos.methods.eosvos.method import EOSVOS
from eosvos.methods.eosvos.settings import Detection, FineTuning, Online, Windowing
from eosvos.methods.osmn.method import OSMN, Modulation
from eosvos.methods.osvos.method import OSVOS, Tuning
from eosvos.methods.snapping import GrabCut
from eosvos.models import mask_rcnn
from tests.methods.test_protocol import osmn_learner, osvos_learner

HEIGHT, WIDTH, STEPS = 32, 48, 3


def mask_rcnn_learner(rules: dict | None, rate: float = 0.05, **settings) -> Learner:
    torch.manual_seed(0)
    model = mask_rcnn.build(
        "tiny",
        **{
            "short": 32,
            "long": 48,
            "widths": (8, 8, 8, 8),
            "fpn": 8,
            "hidden": 8,
            "groups": 4,
            "mask_layers": 1,
            "mask_roi": 7,
            "box_roi": 3,
            "anchors": (8, 16, 24, 32),
            "rpn_pre": 10,
            "rpn_post": 5,
            "score": 0.0,
            "rpn_batch": 100_000,
            "roi_batch": 100_000,  # all of them, so that no draw decides
            **settings,
        },
    )
    with torch.no_grad():
        for p in model.parameters():
            p *= 1.5  # gradients of norms between the limits that are tried
    return Learner.create(model, rate, "neuron", {"model": model.spec, **({} if rules is None else {"rules": rules})})


@pytest.fixture(scope="module")
def picture() -> tuple[torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(1)
    frame, mask = torch.rand(3, HEIGHT, WIDTH, generator=draws), torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    frame[:, 8:24, 10:30] += 1
    mask[8:24, 10:30] = True
    return frame / 2, mask


def in_training(learner: Learner, picture, clip: float | None, monkeypatch) -> dict[str, torch.Tensor]:
    """The parameters after the inner steps of a meta-training."""
    model, seen = mask_rcnn.build(**learner.spec["model"]), []
    sample = Sample(picture[0], picture[1][None])
    plain = training.loss_of

    def spy(*args, **settings):
        loss = plain(*args, **settings)
        return lambda phi: seen.append({name: p.detach().clone() for name, p in phi.items()}) or loss(phi)

    monkeypatch.setattr(training, "loss_of", spy)
    gradient = training.meta_gradients(model, seed=0, steps=STEPS, clip=clip)
    gradient(learner, ((0, 0), Task("v", 1, (sample,), sample)))
    return seen[-1]


def at_test_time(learner: Learner, picture, **fine_tuning) -> dict[str, torch.Tensor]:
    method = EOSVOS(learner, iters=STEPS, fine_tuning=FineTuning(spatial=False, average=0, **fine_tuning))
    method.start(picture[0], {1: picture[1].numpy()})
    return method.parameters_in_use[1]


@pytest.mark.parametrize("clip", [None, 0.3])
def test_training_and_test_time_reach_the_same_parameters(clip, picture, monkeypatch):
    learner = mask_rcnn_learner({"clip": clip, "window": 0.0})
    trained = in_training(learner, picture, clip, monkeypatch)
    found = at_test_time(learner, picture)
    moved = max(float((trained[name] - p).abs().max()) for name, p in learner.theta.items())
    assert moved > 1e-3
    for name, p in trained.items():
        torch.testing.assert_close(found[name], p, rtol=1e-4, atol=moved * 1e-4)


def test_a_setting_overrides_the_rule_and_learners_without_rules_have_a_limit_of_five(picture):
    none, low = mask_rcnn_learner({"clip": None}), mask_rcnn_learner({"clip": 0.3})
    same = lambda a, b: all(torch.equal(a[name], b[name]) for name in a)  # noqa: E731
    assert same(at_test_time(none, picture, clip=0.3), at_test_time(low, picture))
    assert same(at_test_time(low, picture, clip=None), at_test_time(none, picture))
    assert not same(at_test_time(low, picture), at_test_time(none, picture))
    assert EOSVOS(mask_rcnn_learner(None)).clip == 5.0
    assert EOSVOS(mask_rcnn_learner(None), fine_tuning=FineTuning(clip=None)).clip is None


def test_the_window_is_that_of_the_training():
    learner = mask_rcnn_learner({"window": 2.5})
    assert EOSVOS(learner).window == EOSVOS(learner, windowing=Windowing(size=None)).window == 2.5
    assert EOSVOS(learner, windowing=Windowing(size=0)).window == 0
    assert EOSVOS(mask_rcnn_learner(None)).window == 0


def with_rules(learner: Learner, rules: dict) -> Learner:
    return replace(learner, spec=learner.spec | rules)


def test_osvos_and_osmn(picture):
    frame, masks = picture[0], {1: picture[1].numpy()}
    told = [
        OSVOS(with_rules(osvos_learner(), rules), iters=3, tuning=t)
        for rules, t in (
            ({"rules": {"clip": 1.0}}, None),
            ({"rules": {"clip": None}}, Tuning(clip=1.0)),
            ({}, Tuning(clip=1.0)),
            ({"rules": {"clip": None}}, None),
            ({}, Tuning(clip=1e5)),
            ({}, None),
        )
    ]
    phis = []
    for method in told:
        method.start(frame, masks)
        phis.append(torch.cat([p.flatten() for p in method.parameters_in_use[1].values()]))
    assert phis[0].equal(phis[1]) and phis[0].equal(phis[2]) and phis[4].equal(phis[5])
    assert not phis[0].equal(phis[3])
    planes = {}
    for balance in (0.0, 0.3):
        for rules, modulation in (
            ({"rules": {"balance": balance}}, Modulation()),
            ({"rules": {"balance": 0.7}}, Modulation(balance=balance)),
        ):
            method = OSMN(with_rules(osmn_learner(), rules), modulation=modulation)
            method.start(frame, masks)
            method.step(frame)
            planes.setdefault(balance, []).append(method.probabilities)
    assert planes[0.0][0].equal(planes[0.0][1]) and planes[0.3][0].equal(planes[0.3][1])
    # The share of the log odds of the annotated mask that is subtracted from the logits.
    odds = math.log((1 - picture[1].float().mean()) / picture[1].float().mean())
    difference = planes[0.0][0].logit() - planes[0.3][0].logit()
    torch.testing.assert_close(difference, torch.full_like(difference, 0.3 * odds), rtol=1e-3, atol=1e-3)


def test_counts_of_proposals_at_test_time(picture):
    """Of fine-tuning and of frames to segment apart; what is not given is the learner's."""
    method = EOSVOS(mask_rcnn_learner(None, rpn_post_test=4), detection=Detection(rpn_post=3, rpn_pre_test=2))
    rpn, boxes = method.model.rpn, []
    method.model.roi_heads.box_roi_pool.register_forward_hook(lambda module, given, out: boxes.append(len(given[1][0])))
    assert rpn._pre_nms_top_n == {"training": 10, "testing": 2}
    assert rpn._post_nms_top_n == {"training": 3, "testing": 4}
    method.start(picture[0], {1: picture[1].numpy()})
    method.step(picture[0])
    assert boxes[0] == 3 + 1  # with the true box, as torchvision adds it
    assert boxes[-1] <= 4 + method.propagation.boxes


def test_past_frames_that_are_passed_over(picture):
    """The authors' code trains on frames t-3 and t-4."""
    from eosvos.methods.eosvos.online_adaptation import usable_past

    past = [Sample(picture[0] * k, picture[1][None]) for k in range(6)]  # frames t-6 ... t-1
    found = usable_past(past, Online(past=2, stride=1, skip=2))
    assert [next(k for k in range(6) if past[k] is sample) - 6 for sample in found] == [-3, -4]
    method = EOSVOS(
        mask_rcnn_learner(None), iters=1, ona=True, snapping=GrabCut(band=0), online=Online(past=2, stride=1, skip=2)
    )
    method.start(picture[0], {1: picture[1].numpy()})
    for _ in range(6):
        method.step(picture[0])
    assert len(method._objects[1].past) == 4


def test_transforms_of_fine_tuning(picture):
    """With none of them left, a transformed copy is the frame itself."""
    learner = mask_rcnn_learner(None)
    plain = at_test_time(learner, picture)
    still = FineTuning(average=0, zoom=(1.0, 1.0), rotation=0, translation=0)
    method = EOSVOS(learner, iters=STEPS, fine_tuning=still)
    for seed in range(20):  # one in which no step is mirrored
        method.seed = seed
        method.start(picture[0], {1: picture[1].numpy()})
        if all(torch.allclose(method.parameters_in_use[1][n], p, atol=1e-5) for n, p in plain.items()):
            break
    else:
        raise AssertionError("every seed mirrors")
    method.fine_tuning = replace(still, rotation=30.0)
    method.start(picture[0], {1: picture[1].numpy()})
    assert any(not torch.allclose(method.parameters_in_use[1][n], p, atol=1e-5) for n, p in plain.items())


def test_learner_says_what_a_rule_is():
    learner = Learner({}, {}, "neuron", {"rules": {"clip": None}})
    assert learner.rule("clip", FROM_LEARNER, 5.0) is None and learner.rule("clip", 2.0, 5.0) == 2.0
    assert learner.rule("window", FROM_LEARNER, 0.0) == 0.0
