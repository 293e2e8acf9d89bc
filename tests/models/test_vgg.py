"""The trunk: VGG16's layers and numbers, its strides, what may come after a convolution, and its published weights."""

from __future__ import annotations

import pytest
import torch
from published_files import constants, shapes_of
from torch import nn
from torchvision.models import vgg16
from torchvision.models.vgg import make_layers

from eosvos.errors import UserError
from eosvos.models.pretrained import convert, load
from eosvos.models.vgg import CONVOLUTIONS, DEPTHS, STRIDES, TRUNKS, UNIT_STD, VGG, Trunk

SMALL = Trunk((2, 3, 4, 4, 5))
NARROW = (4, 6, 8, 8, 8)


def narrow():
    """torchvision's layers of a VGG16, with few channels."""
    cfg = [word for width, depth in zip(NARROW, DEPTHS, strict=True) for word in [*[width] * depth, "M"]]
    layers = make_layers(cfg)
    for layer in convolutions(layers):
        nn.init.normal_(layer.bias, std=0.1)
    return layers


def convolutions(layers):
    return [layer for layer in layers if isinstance(layer, nn.Conv2d)]


def test_the_papers_trunk_has_the_layers_and_numbers_of_vgg16():
    with torch.device("meta"):
        trunk, theirs = VGG(TRUNKS["vgg16"]), vgg16()
    convs = convolutions(theirs.features)
    assert [c.weight.shape for c in trunk.convs] == [c.weight.shape for c in convs]
    assert len(trunk.convs) == CONVOLUTIONS == 13
    numbers, into = 0, 3
    for width, depth in zip((64, 128, 256, 512, 512), (2, 2, 3, 3, 3), strict=True):
        for _ in range(depth):
            numbers, into = numbers + 9 * into * width + width, width
    assert sum(p.numel() for p in trunk.parameters()) == numbers == 14_714_688
    assert 1e6 < sum(p.numel() for p in VGG(TRUNKS["tiny"]).parameters()) < 3e6


@pytest.mark.parametrize("kind", ["unit", "levels"])
def test_it_computes_what_vgg16_does(kind):
    """Against torchvision's layers at a size that all poolings divide, from normalised pictures."""
    torch.manual_seed(0)
    trunk, theirs = VGG(Trunk(NARROW, levels=kind == "levels")), narrow()
    for ours, layer in zip(trunk.convs, convolutions(theirs), strict=True):
        layer.load_state_dict(ours.state_dict())
    x = torch.rand(1, 3, 32, 48)
    mean = torch.tensor([0.48235, 0.45882, 0.40784] if kind == "levels" else [0.485, 0.456, 0.406])[:, None, None]
    y = 255 * (x - mean) if kind == "levels" else (x - mean) / torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    outputs = trunk(x)
    with torch.no_grad():
        for k, layer in enumerate(theirs[:30]):
            y = layer(y)
            if k in (3, 8, 15, 22, 29):
                torch.testing.assert_close(outputs.pop(0), y, rtol=1e-4, atol=1e-4 * float(y.abs().max()))
    assert not outputs


def test_no_pixel_is_lost_and_what_comes_after_a_convolution_is_asked_for():
    trunk, seen = VGG(SMALL), []
    x = torch.rand(2, 3, 37, 50)
    outputs = trunk(x)
    assert [tuple(o.shape) for o in outputs] == [
        (2, width, -(-37 // s), -(-50 // s)) for width, s in zip(SMALL.widths, STRIDES, strict=True)
    ]

    def after(number, y):
        seen.append(number)
        assert bool((y >= 0).all())
        return y * 2 if number == 12 else y

    y = trunk.normalised(x)
    for number in range(len(DEPTHS)):
        y = trunk.stage(number, y, after)
    assert seen == list(range(13)) and torch.equal(y, 2 * outputs[-1])


def test_group_norm_is_a_setting():
    trunk = VGG(Trunk((4, 4, 8, 8, 8), groups=2))
    assert len(trunk.norms) == 13
    stage = trunk(torch.rand(1, 3, 32, 32))[0]
    assert not torch.allclose(stage, VGG(Trunk((4, 4, 8, 8, 8)))(torch.rand(1, 3, 32, 32))[0])


class Two(nn.Module):
    """A network with two trunks and something else."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.last = VGG(TRUNKS["vgg16"]), VGG(TRUNKS["vgg16"]), nn.Conv2d(512, 1, 1)


def saved(tmp_path, state):
    torch.save(state, tmp_path / "any.name")
    return str(tmp_path / "any.name")


def test_the_authors_weights_go_into_every_trunk(tmp_path):
    """Their file's classifier is no number; all of it is accounted for."""
    state = constants(shapes_of(vgg16))
    state |= {key: torch.tensor(float("nan")).expand(v.shape) for key, v in state.items() if "classifier" in key}
    found = convert.read(saved(tmp_path, state))
    assert found.settings == {"size": "vgg16"} and found.kind.endswith("of its authors")
    with torch.device("meta"):
        model = Two()
    model = model.to_empty(device="cpu")
    report = load.load_trunks(model, found, ("one", "two"))
    assert set(report.new) == {"last.weight", "last.bias"} and len(report.loaded) == 52 and not report.converted
    assert report.skipped.keys() == {key for key in state if "classifier" in key}
    assert model.two.convs[12].weight[0, 0, 0, 0].item() == float(state["features.28.weight"].flatten()[0])
    assert model.one.convs[2].bias[0].item() == float(state["features.5.bias"][0])
    assert "one" in str(report) and "14,714,688" in str(report)
    with pytest.raises(UserError, match="nothing fits"):
        load.load_trunks(nn.Conv2d(1, 1, 1), found, ("one",))


def test_torchvisions_weights_come_with_features_scaled_to_pixels_of_0_to_255(tmp_path):
    torch.manual_seed(0)
    theirs = narrow()
    state = {f"features.{key}": p for key, p in theirs.state_dict().items()} | {"classifier.6.weight": torch.ones(2, 2)}
    found = convert.read(saved(tmp_path, state))
    assert len(found.converted) == 14
    x = torch.rand(1, 3, 64, 64)
    unit, levels = VGG(Trunk(NARROW)), VGG(Trunk(NARROW, levels=True))
    for ours, layer in zip(unit.convs, convolutions(theirs), strict=True):
        ours.load_state_dict(layer.state_dict())
    levels.load_state_dict(found.tensors)
    with torch.no_grad():
        for a, b in zip(unit(x), levels(x), strict=True):
            error = (255 * sum(UNIT_STD) / 3 * a - b).norm() / b.norm()
            assert float(error) < 3e-3  # the borders alone differ


def test_a_vgg16_with_batch_norm_is_another_network(tmp_path):
    state = constants(shapes_of(vgg16)) | {"features.1.weight": torch.ones(64)}
    with pytest.raises(UserError, match="no known network"):
        convert.read(saved(tmp_path, state))
