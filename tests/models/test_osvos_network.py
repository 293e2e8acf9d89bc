"""OSVOS's network: the paper's layers and numbers, its fusion, equation 1 by a loop, deep supervision."""

from __future__ import annotations

import json
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from eosvos.models.osvos import PIXELS, balanced_cross_entropy, build, total_loss

SMALL = {"widths": (2, 3, 4, 4, 5), "groups": 0, "path": 3}


def test_the_papers_network_has_its_layers_and_numbers():
    """13 convolutions of VGG16 without its fully connected layers, a path and a score for each stage, one fusion."""
    with torch.device("meta"):
        model = build("vgg16")
    widths, depths = (64, 128, 256, 512, 512), (2, 2, 3, 3, 3)
    trunk, into = 0, 3
    for width, depth in zip(widths, depths, strict=True):
        trunk += (9 * into * width + width) + (depth - 1) * (9 * width * width + width)
        into = width
    paths = sum(9 * width * 16 + 16 for width in widths)
    scores, fuse = 5 * (16 + 1), 5 * 16 + 1
    assert sum(p.numel() for p in model.parameters()) == trunk + paths + scores + fuse == 14_926_902
    assert sum(isinstance(layer, nn.Conv2d) for layer in model.modules()) == 13 + 5 + 5 + 1
    assert not any(isinstance(layer, nn.Linear) for layer in model.modules())
    assert (model.network_spec.short, model.network_spec.long) == (480, 854)
    with torch.device("meta"):
        authors = build("vgg16", first=2)  # as their code has it
    assert sum(isinstance(layer, nn.Conv2d) for layer in authors.modules()) == 13 + 4 + 4 + 1
    assert 0.5e6 < sum(p.numel() for p in build("tiny").parameters()) < 3e6


@pytest.mark.parametrize("first", [1, 2])
def test_the_fusion_is_that_of_all_upscaled_channels(first):
    """As the paper says it: every path upscaled, all concatenated, one linear layer over the volume."""
    torch.manual_seed(0)
    model = build("tiny", first=first, **SMALL)
    nn.init.normal_(model.fuse.bias)
    images = torch.rand(2, 3, 37, 50)
    with torch.no_grad():
        fused, *sides = model(images, sides=True)
        volume, scores = [], []
        for k, features in enumerate(model.trunk(images)[first - 1 :]):
            path = model.paths[k](features)
            factor = 2 ** (k + first - 1)
            large = path if factor == 1 else F.interpolate(path, scale_factor=factor, mode="bilinear")
            volume.append(large[..., :37, :50])
            scores.append(model.scores[k](volume[-1]))
        torch.testing.assert_close(fused, model.fuse(torch.cat(volume, 1)), rtol=1e-4, atol=1e-5)
        assert fused.shape == (2, 1, 37, 50) and len(sides) == 6 - first
        for side, score in zip(sides, scores, strict=True):
            torch.testing.assert_close(side, score, rtol=1e-4, atol=1e-5)
        assert len(model(images)) == 1


@pytest.mark.parametrize("beta", [None, 0.8])
@pytest.mark.parametrize("void", [False, True])
def test_equation_1_by_a_loop(beta, void):
    draws = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 1, 5, 7, generator=draws) * 3
    truth = torch.rand(2, 1, 5, 7, generator=draws) < 0.2
    ignore = torch.rand(2, 1, 5, 7, generator=draws) < 0.3 if void else torch.zeros_like(truth)
    total = 0.0
    for image in range(2):
        pixels = [(y, x) for y in range(5) for x in range(7) if not ignore[image, 0, y, x]]
        negatives = sum(not truth[image, 0, y, x] for y, x in pixels)
        b = negatives / len(pixels) if beta is None else beta
        for y, x in pixels:
            p = 1 / (1 + math.exp(-float(logits[image, 0, y, x])))
            total -= b * math.log(p) if truth[image, 0, y, x] else (1 - b) * math.log(1 - p)
    found = balanced_cross_entropy(logits, truth, ignore if void else None, beta)
    assert float(found) == pytest.approx(total * PIXELS / 35, rel=1e-5)


def test_at_the_papers_size_the_loss_is_the_plain_sum():
    assert PIXELS == 480 * 854
    logits, truth = torch.zeros(1, 1, 480, 854), torch.zeros(1, 1, 480, 854, dtype=torch.bool)
    truth[..., :100, :100] = True
    share = 10_000 / PIXELS
    expected = math.log(2) * ((1 - share) * 10_000 + share * (PIXELS - 10_000))
    assert float(balanced_cross_entropy(logits, truth)) == pytest.approx(expected, rel=1e-5)


def test_an_image_without_the_object_teaches_by_a_given_balance_alone():
    logits, truth = torch.zeros(1, 1, 4, 4, requires_grad=True), torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    assert float(balanced_cross_entropy(logits, truth).detach()) == 0
    balanced_cross_entropy(logits, truth, beta=0.9).backward()
    assert bool((logits.grad > 0).all())


def test_deep_supervision_adds_the_side_outputs():
    torch.manual_seed(0)
    model = build("tiny", **SMALL)
    images, truth = torch.rand(1, 3, 32, 32), torch.rand(1, 1, 32, 32) < 0.3
    outputs = model(images, sides=True)
    parts = [float(balanced_cross_entropy(o, truth).detach()) for o in outputs]
    assert float(total_loss(outputs, truth, sides=0.25).detach()) == pytest.approx(parts[0] + 0.25 * sum(parts[1:]))
    total_loss(outputs, truth, sides=0.25).backward()
    assert all(score.weight.grad.abs().sum() > 0 for score in model.scores)
    model.zero_grad(set_to_none=True)
    total_loss(model(images), truth, sides=0.0).backward()
    assert all(score.weight.grad is None for score in model.scores) and model.fuse.weight.grad is not None


def test_a_network_is_rebuilt_from_its_spec():
    model = build("tiny", short=64, **{**SMALL, "groups": 1})
    again = build(**json.loads(json.dumps(model.spec)))
    assert again.network_spec == model.network_spec
    assert {n: p.shape for n, p in again.named_parameters()} == {n: p.shape for n, p in model.named_parameters()}
    with pytest.raises(ValueError, match="model size 'resnet50' is unknown; expected one of tiny, vgg16"):
        build("resnet50")
    with pytest.raises(ValueError, match="model setting 'depth' is unknown"):
        build("tiny", depth=3)
