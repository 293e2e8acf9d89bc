"""The method on a moving square: one look per guide, priors, fine-tuning, ablations. A small network, untrained."""

import numpy as np
import pytest
import torch

from eosvos.data.masks import merge
from eosvos.data.synthetic.taskset import SyntheticTaskset
from eosvos.data.transforms import fit
from eosvos.meta.distributed import World
from eosvos.meta.learner import Learner
from eosvos.methods.osmn import training
from eosvos.methods.osmn.guides import Guidance, GuidedTasks, heat_map, prior_of, visual_guide
from eosvos.methods.osmn.method import OSMN, Modulation, loss_of
from eosvos.methods.snapping import GrabCut
from eosvos.models import osmn

HEIGHT, WIDTH = 60, 100
SMALL = {
    "short": 32,
    "long": 54,
    "widths": (4, 4, 6, 8, 10),
    "guide_widths": (4, 4, 4, 4, 6),
    "guide": 32,
    "pooled": 1,
    "hidden": 8,
    "path": 4,
    "groups": 0,
}


def made(**settings):
    torch.manual_seed(0)
    model = osmn.build("tiny", **{**SMALL, **settings})
    if model.visual is not None:
        torch.nn.init.normal_(model.visual.last.weight)  # as after training: another gamma for another object
    return Learner.create(model, 0.05, "single", {"model": model.spec, "network": "osmn"})


@pytest.fixture(scope="module")
def learner():
    return made()


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


def given(ids, *wanted):
    return {i: ids == i for i in wanted}


def run(learner, frames, first, **settings):
    method = OSMN(learner, **{"seed": 5, **settings})
    return [method.start(frames[0], first)] + [method.step(f) for f in frames[1:]], method


def counted(method):
    """A list that grows with every pass of the visual modulator."""
    passes = []
    method.model.visual.register_forward_hook(lambda module, inputs, output: passes.append(inputs[0]))
    return passes


def test_the_given_mask_wins_on_its_frame_and_ids_come_back(learner):
    frames, masks = clip(4)
    out, method = run(learner, frames, given(masks[0], 3, 7))
    assert np.array_equal(out[0], masks[0])
    assert method.object_ids == [3, 7]
    assert all(o.dtype == np.uint8 and o.shape == (HEIGHT, WIDTH) and set(np.unique(o)) <= {0, 3, 7} for o in out)
    assert method.probabilities.shape == (2, HEIGHT, WIDTH) and method.probabilities.dtype == torch.float32


@pytest.mark.parametrize("iters", [0, 2])
def test_one_pass_of_the_visual_modulator_per_object(learner, iters):
    frames, masks = clip(6)
    method = OSMN(learner, iters=iters)
    passes = counted(method)
    method.start(frames[0], given(masks[0], 3, 7))
    for frame in frames[1:]:
        method.step(frame)
    assert len(passes) == 2
    guide = visual_guide(frames[0], masks[0] == 7, 32)
    assert torch.equal(passes[1][0], guide)


@pytest.mark.parametrize("balance", [0.0, 0.4])
def test_a_step_is_the_network_with_the_objects_gamma_and_the_last_masks_gaussian(learner, balance):
    """And the odds of the given mask are taken back as far as asked for."""
    frames, masks = clip(3)
    method = OSMN(learner, modulation=Modulation(balance=balance))
    method.start(frames[0], given(masks[0], 3, 7))
    model = osmn.build(**learner.spec["model"]).eval()
    model.load_state_dict(learner.theta)
    image = fit(frames[1], np.zeros((0, HEIGHT, WIDTH), bool), size=(32, 54))[0][None]
    assert image.shape[-2:] == (32, 53)
    method.step(frames[1])
    for k, i in enumerate((3, 7)):
        guide = visual_guide(frames[0], masks[0] == i, 32)[None]
        heat = heat_map(prior_of(masks[0] == i), (32, 53))[None]
        with torch.no_grad():
            logits = model(image, heat, guides=guide)
        share = float((masks[0] == i).mean())
        odds = torch.nn.functional.interpolate(logits, (HEIGHT, WIDTH), mode="bilinear")[0, 0].exp()
        odds = odds * (share / (1 - share)) ** balance
        assert torch.allclose(method.probabilities[k], odds / (1 + odds), atol=1e-5)


def test_the_prior_is_of_the_last_mask_and_widens_while_the_object_is_lost(learner):
    frames, masks = clip(2)
    nothing = made()
    nothing.theta["segmentation.fuse.bias"] += -1e6  # no pixel is ever an object's
    settings = Modulation(widen=1.5, widest=0.3)
    method = OSMN(nothing, modulation=settings)
    method.start(frames[0], given(masks[0], 3))
    first = prior_of(masks[0] == 3)
    assert torch.equal(method.priors[3], first)
    for k in range(1, 8):
        assert not method.step(frames[1]).any()
        assert torch.equal(method.priors[3][:2], first[:2])
        assert torch.allclose(method.priors[3][2:], (first[2:] * 1.5**k).clamp(max=0.3))
    everything = made()
    everything.theta["segmentation.fuse.bias"] += 1e6
    method = OSMN(everything, modulation=settings)
    method.start(frames[0], given(masks[0], 3))
    method.step(frames[1])
    assert method.priors[3].tolist() == pytest.approx([0.5, 0.5, 12**-0.5, 12**-0.5])
    method.correct(frames[1], {3: np.zeros((HEIGHT, WIDTH), bool)})
    assert method.priors[3].tolist() == pytest.approx([0.5, 0.5, 0.3, 0.3])


def test_several_guides_count_alike_whatever_their_order(learner):
    frames, masks = clip(4)

    def gamma(*order):
        method = OSMN(learner)
        passes = counted(method)
        method.start(frames[order[0]], given(masks[order[0]], 3))
        for t in order[1:]:
            method.correct(frames[t], given(masks[t], 3))
        return method.gammas[3], len(passes)

    together, count = gamma(0, 1, 3)
    assert count == 3
    assert torch.allclose(together, torch.stack([gamma(t)[0] for t in (0, 1, 3)]).mean(0), atol=1e-5)
    assert torch.allclose(together, gamma(3, 0, 1)[0], atol=1e-5)


def test_an_empty_correction_shows_no_object_and_changes_no_gamma(learner):
    frames, masks = clip(3)
    method = OSMN(learner, iters=1)
    passes = counted(method)
    method.start(frames[0], given(masks[0], 3))
    before, phi = method.gammas[3], method._objects[3].phi
    method.step(frames[1])
    absent = method.correct(frames[1], {3: np.zeros((HEIGHT, WIDTH), bool)})
    assert not (absent == 3).any() and torch.equal(method.gammas[3], before) and len(passes) == 1
    assert any(not torch.equal(p, phi[name]) for name, p in method._objects[3].phi.items())  # but it is learned from


def test_masks_are_snapped_and_priors_are_not(learner):
    """A cut that went wrong must not lead the spatial modulator astray."""
    frames, masks = clip(4)
    plain, one = run(learner, frames, given(masks[0], 3, 7), iters=20)
    cut, two = run(learner, frames, given(masks[0], 3, 7), iters=20, snap=GrabCut())
    assert all(torch.equal(one.priors[i], two.priors[i]) for i in (3, 7))
    assert any(not np.array_equal(a, b) for a, b in zip(plain[1:], cut[1:], strict=True))
    assert torch.equal(GrabCut()(frames[-1], one.probabilities), two.probabilities)
    assert np.array_equal(cut[-1], merge(two.probabilities, [3, 7]))


def test_a_video_without_objects_so_far_and_a_new_video(learner):
    frames, masks = clip(3)
    method = OSMN(learner)
    method.start(frames[0], {})
    assert not method.step(frames[1]).any() and method.probabilities.shape == (0, HEIGHT, WIDTH)
    method.add(frames[1], given(masks[1], 3))
    method.start(frames[0], given(masks[0], 7))
    assert method.object_ids == [7] and set(method.priors) == {7}


@pytest.mark.parametrize("iters", [0, 3])
def test_same_seed_same_masks_and_the_global_random_state_stays(learner, iters):
    frames, masks = clip(4)
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    _, one = run(learner, frames, given(masks[0], 3), iters=iters)
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(2)
    _, two = run(learner, frames, given(masks[0], 3), iters=iters)
    assert torch.equal(one.probabilities, two.probabilities)
    _, other = run(learner, frames, given(masks[0], 3), iters=iters, seed=6)
    assert torch.equal(one.probabilities, other.probabilities) == (iters == 0)  # without fine-tuning nothing is drawn


def test_fine_tuning_on_one_frame_segments_the_next(learner):
    """Even from random weights, enough steps on one frame find the object in the next; the modulator stays as it is."""
    frames, masks = clip(2)
    still = Modulation(zoom=(1.0, 1.0), flip=False)

    def similarity(iters):
        out, method = run(learner, frames, given(masks[0], 3), iters=iters, modulation=still)
        assert torch.equal(method.gammas[3], run(learner, frames[:1], given(masks[0], 3))[1].gammas[3])
        found, truth = out[1] == 3, masks[1] == 3
        return (found & truth).sum() / (found | truth).sum()

    assert similarity(60) > max(0.5, similarity(0))


def test_a_gradient_of_the_fine_tuning_is_scaled_down_to_its_limit(learner):
    frames, masks = clip(2)
    rate, moved = float(learner.distinct_rates()[0]), {}
    for limit in (None, 1e9, 1e-3):
        method = OSMN(learner, iters=1, modulation=Modulation(clip=limit, flip=False))
        method.start(frames[0], given(masks[0], 3))
        phi = method._objects[3].phi
        moved[limit] = float(torch.stack([(p - learner.theta[name]).double().norm() for name, p in phi.items()]).norm())
    assert moved[None] == moved[1e9] > 1.5 * moved[1e-3]
    assert moved[1e-3] == pytest.approx(rate * 1e-3, rel=0.01)


@pytest.mark.parametrize("missing", ["visual", "spatial"])
def test_an_ablation_in_testing_is_gamma_one_or_beta_zero(learner, missing):
    frames, masks = clip(2)
    _, method = run(learner, frames, given(masks[0], 3), modulation=Modulation(**{missing: False}))
    same = made()
    if missing == "visual":
        same.theta["visual.last.weight"].zero_()  # its bias is one
    else:
        for name, p in same.theta.items():
            if name.startswith("spatial"):
                p.zero_()
    _, expected = run(same, frames, given(masks[0], 3))
    assert torch.allclose(method.probabilities, expected.probabilities, atol=1e-6)
    _, whole = run(learner, frames, given(masks[0], 3))
    assert not torch.allclose(method.probabilities, whole.probabilities, atol=1e-3)


def test_networks_trained_without_a_modulator_are_tested_without_it():
    frames, masks = clip(3)
    for settings in ({"visual": False}, {"spatial": False}, {"visual": False, "spatial": False}):
        out, method = run(made(**settings), frames, given(masks[0], 3, 7))
        assert method.probabilities.shape == (2, HEIGHT, WIDTH) and bool(method.gammas) == settings.get("visual", True)


def items(count, side=32):
    tasks = GuidedTasks(SyntheticTaskset(length=4, render=(40, 68), size=(32, 54)), side, Guidance(squares=()))
    return [tasks.guided(0, k, 0) for k in range(count)]


def test_the_loss_is_the_balanced_one_of_the_network_with_guide_and_prior(learner):
    model = osmn.build(**learner.spec["model"])
    item = items(1)[0]
    found = float(loss_of(model, item.sample, item.prior, guide=item.guide)(learner.theta))
    model.load_state_dict(learner.theta)
    height, width = item.sample.image.shape[-2:]
    heat = heat_map(item.prior, (height, width))[None]
    with torch.no_grad():
        p = model.eval()(item.sample.image[None], heat, guides=item.guide[None])[0, 0].double().sigmoid().numpy()
    truth = item.sample.masks[0].numpy()
    beta = 1 - truth.mean()
    expected = -(beta * np.log(p[truth]).sum() + (1 - beta) * np.log(1 - p[~truth]).sum()) / truth.size
    assert found == pytest.approx(expected, rel=1e-4)


def test_a_frozen_segmentation_network_gets_no_gradient_and_the_modulators_the_same_as_ever(learner):
    model, item = osmn.build(**learner.spec["model"]), ((0, 0), items(1)[0])
    whole = training.gradients(model, seed=0)(learner, item)
    part = training.gradients(model, seed=0, segmentation=False)(learner, item)
    assert whole.theta.keys() == part.theta.keys() == learner.theta.keys() and whole.loss == part.loss
    for name, g in part.theta.items():
        assert not g.any() if name.startswith("segmentation") else torch.equal(g, whole.theta[name])
    assert all(whole.theta[name].any() for name in ("segmentation.fuse.weight", "visual.fc.0.weight"))
    assert all(whole.theta[f"spatial.convs.{k}.weight"].any() for k in range(9))


def test_dropout_draws_by_the_number_of_the_task():
    learner = made(dropout=0.5)
    model, item = osmn.build(**learner.spec["model"]), items(1)[0]
    gradient = training.gradients(model, seed=0)
    losses = [gradient(learner, (number, item)).loss for number in ((0, 0), (0, 0), (0, 1), (1, 0))]
    assert losses[0] == losses[1] and len(set(losses)) == 3


def test_validation_and_the_search_of_a_rate(learner):
    model, held = osmn.build(**learner.spec["model"]), items(3)
    figures = training.validate(model, learner, held, world=World())
    assert figures["score"] == figures["J"] and 0 <= figures["J"] <= 1
    halves = [training.validate(model, learner, part, world=World()) for part in (held[:1], held[1:])]
    assert figures["validation_loss"] == pytest.approx(
        (halves[0]["validation_loss"] + 2 * halves[1]["validation_loss"]) / 3
    )
    model.load_state_dict(learner.theta)
    gammas = torch.stack([model.visual(thing.guide[None])[0].detach() for thing in held])
    assert figures["gamma_spread"] == pytest.approx(float(gammas.std(0, correction=0).mean()), rel=1e-4) != 0
    blind = made(visual=False)
    figures = training.validate(osmn.build(**blind.spec["model"]), blind, held, world=World())
    assert "gamma_spread" not in figures and 0 <= figures["J"] <= 1
    tasks = [SyntheticTaskset(length=4, render=(40, 68), size=(32, 54)).task(0, 0, 0)]
    best, judged = training.search_rate(
        learner.theta,
        [1e-4, 0.1],
        tasks,
        steps=2,
        modulation=Modulation(),
        spec=learner.spec,
        device="cpu",
        world=World(),
    )
    assert f"{float(best.distinct_rates()[0]):g}" == max(judged, key=judged.get) and len(judged) == 2
