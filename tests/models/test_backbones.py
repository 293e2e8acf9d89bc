"""Bodies of the detector: published features kept exactly, and parts that no training changes."""

import copy

import pytest
import torch
from torch import nn
from torchvision.models import mobilenet_v2

from eosvos.models.backbones import MOBILENET_STAGES, ChannelAffine, FoldedSequential, build_body
from eosvos.models.mask_rcnn import build
from eosvos.models.pretrained import convert, load

SMALL = {"short": 64, "long": 96}
TARGET = [{"boxes": torch.tensor([[8.0, 8, 40, 40]]), "masks": torch.ones(1, 64, 96, dtype=torch.uint8)}]


@pytest.fixture(scope="module")
def reference():
    """torchvision's network with statistics and affines as a training leaves them."""
    torch.manual_seed(0)
    network = mobilenet_v2().eval()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.uniform_(layer.bias, -0.5, 0.5)
            nn.init.uniform_(layer.running_mean, -0.5, 0.5)
            nn.init.uniform_(layer.running_var, 0.5, 2)
    return network


def flat(state):
    """The same under the names of the first MobileNetV2 for PyTorch, in which a block is one list of layers."""
    counts: dict[str, int] = {}
    renamed = {}
    for key, value in state.items():
        parts = key.split(".")
        if parts[0] == "features" and parts[2] == "conv":
            block = parts[1]
            numbers = ("0.0", "0.1", "", "1", "2") if block == "1" else ("0.0", "0.1", "", "1.0", "1.1", "", "2", "3")
            key = f"features.{block}.conv.{numbers.index('.'.join(parts[3:-1]))}.{parts[-1]}"
        renamed[key] = value
        counts[key] = counts.get(key, 0) + 1
    assert max(counts.values()) == 1
    return renamed


@pytest.mark.parametrize("names", [dict, flat])
def test_a_published_mobilenet_keeps_its_features_exactly(tmp_path, reference, names):
    torch.save(names(reference.state_dict()), tmp_path / "weights.pt")
    model = build("mobilenet_v2", **SMALL).eval()
    found = convert.read(str(tmp_path / "weights.pt"))
    report = load.load(model, found)  # no images are needed: nothing is fitted
    assert found.settings == {"size": "mobilenet_v2"} and "51 batch norms kept" in str(report)
    assert not any(name.startswith("backbone.body.") for name in report.new)
    image = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        stages = model.backbone.body(image)
        for stage, (name, (_, end)) in zip(stages.values(), list(MOBILENET_STAGES.items())[1:], strict=True):
            wanted = reference.features[:end](image)
            assert torch.allclose(stage, wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max())), name


def test_a_group_norm_body_of_it_is_fitted_as_those_of_resnets(tmp_path, reference):
    torch.save(reference.state_dict(), tmp_path / "weights.pt")
    model = build("mobilenet_v2", norm="group", **SMALL)
    report = load.load(model, convert.read(str(tmp_path / "weights.pt")), images=[torch.rand(3, 64, 96)] * 8)
    assert "batch norms to group norms, init_norm=match" in str(report)
    assert sum(isinstance(layer, nn.GroupNorm) for layer in model.backbone.body.modules()) == 51


def test_it_has_no_buffers_and_no_batch_norms():
    model = build("mobilenet_v2", **SMALL)
    assert not list(model.buffers())
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in model.modules())
    assert sum(isinstance(layer, ChannelAffine) for layer in model.backbone.body.modules()) == 51


@pytest.mark.parametrize("size", ["mobilenet_v2", "tiny", "resnet18"])
@pytest.mark.parametrize("frozen", [1, 3])
def test_frozen_parts_have_no_gradient_and_change_nothing_else(size, frozen):
    torch.manual_seed(0)
    whole, part = (build(size, frozen=count, **SMALL).train() for count in (0, frozen))
    part.load_state_dict(whole.state_dict())
    image = torch.rand(3, 64, 96)
    gradients = []
    for model in (whole, part):
        torch.manual_seed(1)  # of the sampled proposals
        loss = torch.stack(list(model([image], TARGET).values())).sum()
        parameters = dict(model.named_parameters())
        found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        gradients.append(dict(zip(parameters, found, strict=True)))
    free = {f"backbone.body.layer{k}." for k in range(frozen, 5)}
    for name, gradient in gradients[1].items():
        if name.startswith("backbone.body.") and not any(name.startswith(start) for start in free):
            assert gradient is None, name
        elif gradient is not None:
            assert torch.allclose(gradient, gradients[0][name], rtol=1e-3, atol=1e-6), name
    assert sum(g is None for g in gradients[0].values()) < sum(g is None for g in gradients[1].values())


@pytest.mark.parametrize("size", ["mobilenet_v2", "resnet18"])
def test_folded_convolutions_give_the_features_and_gradients_of_their_layers(size):
    """A folded sequence against the same layers one after the other, as torchvision has them."""
    body, _ = build_body(size, norm="frozen_batch")
    torch.manual_seed(0)
    for parameter in body.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, 1, 0.2)
    plain = copy.deepcopy(body)
    for module in plain.modules():
        if isinstance(module, FoldedSequential):
            module.__class__ = torch.nn.Sequential
    assert any(isinstance(module, FoldedSequential) for module in body.modules())
    x = torch.randn(2, 3, 64, 96)
    features = [net(x)["3"] for net in (body, plain)]
    torch.testing.assert_close(*features, rtol=1e-4, atol=1e-5)
    gradients = [
        torch.autograd.grad(f.square().mean(), list(n.parameters()))
        for f, n in zip(features, (body, plain), strict=True)
    ]
    for folded, layered, (name, _) in zip(*gradients, body.named_parameters(), strict=True):
        torch.testing.assert_close(folded, layered, rtol=1e-3, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


def test_an_unknown_norm_is_refused():
    with pytest.raises(ValueError, match="norm 'batch' is unknown; expected one of group, frozen_batch"):
        build("tiny", norm="batch")


def test_the_stages_of_every_body_have_strides_4_to_32():
    for size, settings in (("tiny", {"widths": (8, 8, 8, 8), "groups": 8}), ("mobilenet_v2", {"groups": 8})):
        body, channels = build_body(size, **settings)
        sizes = [tuple(stage.shape[1:]) for stage in body(torch.rand(1, 3, 64, 96)).values()]
        assert sizes == [(c, 64 // s, 96 // s) for c, s in zip(channels, (4, 8, 16, 32), strict=True)]
