"""Draws are named by numbers, and torch's global generator is neither used nor changed."""

import random
import threading

import numpy as np
import pytest
import torch
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler

from eosvos import seeds
from eosvos.inference.segmenter import Segmenter
from eosvos.meta.learner import Learner
from eosvos.methods.eosvos.method import EOSVOS
from eosvos.models import mask_rcnn, osmn, osvos
from eosvos.models.sampling import Sampler, dropout


@pytest.fixture
def untouched():
    """Fails where a global generator is used."""
    torch.manual_seed(3)
    before = torch.random.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    yield
    assert torch.equal(torch.random.get_rng_state(), before[0]) and random.getstate() == before[1]
    assert np.array_equal(np.random.get_state()[1], before[2])


@pytest.mark.parametrize(
    "build",
    [mask_rcnn.build, osvos.build, osmn.build, lambda: mask_rcnn.build("resnet18", fpn=32, hidden=32, mask_layers=1)],
)
def test_weights_are_those_of_their_seed_and_of_torchs_own_draws(build):
    def weights(seed):
        with seeds.InitialWeights(seed, 1):
            return torch.cat([p.flatten() for p in build().state_dict().values()])

    torch.default_generator.manual_seed(seeds.derive(5, 1))
    expected = torch.cat([p.flatten() for p in build().state_dict().values()])
    before = torch.random.get_rng_state()
    assert torch.equal(weights(5), expected) and not torch.equal(weights(6), expected)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_learners_network_has_its_weights_without_a_draw_or_a_copy(untouched):
    learner = Learner.shipped()
    model = learner.network(mask_rcnn.build, score=0.25)
    assert all(p.data_ptr() == learner.theta[name].data_ptr() for name, p in model.named_parameters())
    assert model.spec["score"] == 0.25 and model.spec["size"] == learner.spec["model"]["size"]


def test_our_sampler_chooses_as_torchvisions_does():
    labels = [torch.randint(-1, 3, (200,), generator=seeds.generator(k)) for k in range(3)]
    labels += [torch.zeros(5), -torch.ones(5), torch.ones(50)]
    ours = Sampler(32, 0.25)
    ours.generator = seeds.generator(7)
    found = ours(labels)
    torch.default_generator.manual_seed(seeds.derive(7))
    expected = BalancedPositiveNegativeSampler(32, 0.25)(labels)
    assert all(map(torch.equal, found[0] + found[1], expected[0] + expected[1]))


def test_our_dropout_leaves_out_what_torchs_does():
    x = torch.rand(6, 40, generator=seeds.generator(1))
    torch.default_generator.manual_seed(seeds.derive(2))
    assert torch.equal(torch.nn.functional.dropout(x, 0.3), dropout(x, 0.3, seeds.generator(2)))
    assert dropout(x, 0.0, None) is x


def clip(count=3):
    frames = np.random.default_rng(0).integers(60, 160, (count, 40, 64, 3), np.uint8)
    for index, frame in enumerate(frames):
        frame[5:20, 5 + index : 25 + index] = (250, 220, 30)
    mask = np.zeros((40, 64), np.uint8)
    mask[5:20, 5:25] = 1
    return frames, mask


def test_segmenters_in_threads_give_what_one_alone_gives(untouched):
    frames, mask = clip()

    def masks(ready):
        segmenter = Segmenter(EOSVOS(Learner.shipped(), iters=2))
        ready.wait()
        return [segmenter.start(frames[0], mask), *map(segmenter.step, frames[1:])], segmenter.probabilities

    expected, found, ready = masks(threading.Barrier(1)), {}, threading.Barrier(3)
    threads = [threading.Thread(target=lambda k=k: found.update({k: masks(ready)})) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for ids, probabilities in (found[k] for k in range(3)):
        assert all(map(np.array_equal, ids, expected[0])) and torch.equal(probabilities, expected[1])
