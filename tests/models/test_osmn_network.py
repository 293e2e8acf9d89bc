"""The modulated network: the paper's counts, equations 2 and 3 by an independent formula, the plain network within."""

import pytest
import torch
import torch.nn.functional as F
from torchvision.models import vgg16

from eosvos.models import osmn, osvos
from eosvos.models.pretrained import convert, load
from eosvos.models.vgg import LEVELS_MEAN, UNIT_MEAN, UNIT_STD

SMALL = {
    "widths": (4, 4, 6, 8, 10),
    "groups": 0,
    "path": 4,
    "guide": 32,
    "guide_widths": (4, 4, 4, 4, 6),
    "pooled": 1,
    "hidden": 8,
}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return osmn.build("tiny", **SMALL).eval()


def heat_of(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


def test_the_papers_network_has_nine_modulation_layers():
    with torch.device("meta"):
        model, theirs = osmn.build("vgg16"), vgg16(weights=None)
    assert osmn.LAYERS == (
        "conv3_1",
        "conv3_2",
        "conv3_3",
        "conv4_1",
        "conv4_2",
        "conv4_3",
        "conv5_1",
        "conv5_2",
        "conv5_3",
    )
    assert model.channels == [256] * 3 + [512] * 6
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    whole = sum(p.numel() for p in theirs.parameters())
    assert count["visual"] == whole - 1000 * 4097 + 3840 * 4097  # VGG16 with 3840 outputs in place of 1000 classes
    assert count["spatial"] == 2 * 3840
    with torch.device("meta"):
        assert count["segmentation"] == sum(p.numel() for p in osvos.build("vgg16").parameters())


def test_gamma_is_one_at_first_whatever_the_guide(model):
    assert torch.equal(model.visual(torch.rand(3, 3, 32, 32)), torch.ones(3, sum(model.channels)))


def test_gamma_one_and_beta_zero_are_the_plain_network_exactly(model):
    x, heat = torch.rand(2, 3, 37, 52), heat_of(2, 1, 37, 52)
    for p in model.spatial.parameters():
        torch.nn.init.zeros_(p)
    plain = osvos.FCN(model.network_spec)
    plain.load_state_dict(model.segmentation.state_dict())
    expected = plain(x)[0]
    assert torch.equal(model(x, heat, guides=torch.rand(2, 3, 32, 32)), expected)
    assert torch.equal(model(x), expected) and torch.equal(model(x, heat), expected)


def slow(model, x, heat, gamma):
    """Equations 2 and 3 channel by channel, the side paths upscaled before they are fused."""
    height, width = x.shape[-2:]
    x = (x - torch.tensor(UNIT_MEAN)[:, None, None]) / torch.tensor(UNIT_STD)[:, None, None]
    sides, n, stage = [], 0, 0
    for k, conv in enumerate(model.segmentation.trunk.convs):
        if k in (2, 4, 7, 10):
            x, stage = F.max_pool2d(x, 2), stage + 1
        x = F.conv2d(x, conv.weight, conv.bias, padding=1).clamp(min=0)
        if k >= 4:
            m = F.avg_pool2d(heat, 2**stage)[0, 0]
            layer = model.spatial.convs[k - 4]
            channels = []
            for c in range(x.shape[1]):
                beta = layer.weight[c, 0, 0, 0] * m + layer.bias[c]
                channels.append(gamma[n] * x[0, c] + beta)
                n += 1
            x = torch.stack(channels)[None]
        if k in (1, 3, 6, 9, 12):
            path = model.segmentation.paths[stage]
            side = F.conv2d(x, path.weight, path.bias, padding=1)
            sides.append(F.interpolate(side, (height, width), mode="bilinear"))
    assert n == len(gamma)
    return F.conv2d(torch.cat(sides, 1), model.segmentation.fuse.weight, model.segmentation.fuse.bias)


def test_the_modulation_is_that_of_equations_2_and_3(model):
    torch.nn.init.normal_(model.visual.last.weight)
    for conv in model.spatial.convs:
        torch.nn.init.normal_(conv.bias)
    x, heat, guide = torch.rand(1, 3, 32, 48), heat_of(1, 1, 32, 48), torch.rand(1, 3, 32, 32)
    gamma = model.visual(guide)
    expected = slow(model, x, heat, gamma[0])
    torch.testing.assert_close(model(x, heat, guides=guide), expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(model(x, heat, gammas=gamma), model(x, heat, guides=guide))
    assert not torch.allclose(model(x, heat), expected, atol=1e-2)
    assert not torch.allclose(model(x, gammas=gamma), expected, atol=1e-2)


def test_several_objects_share_an_image(model):
    torch.nn.init.normal_(model.visual.last.weight)
    x, heat = torch.rand(1, 3, 33, 47), heat_of(3, 1, 33, 47)
    gammas = model.visual(torch.rand(3, 3, 32, 32))
    together = model(x, heat, gammas=gammas)
    assert together.shape == (3, 1, 33, 47)
    for k in range(3):
        torch.testing.assert_close(together[k], model(x, heat[k : k + 1], gammas=gammas[k : k + 1])[0])


def test_a_network_without_a_modulator_does_not_ask_for_it():
    torch.manual_seed(0)
    bare = osmn.build("tiny", **SMALL, visual=False, spatial=False)
    assert all(name.startswith("segmentation.") for name, _ in bare.named_parameters())
    x = torch.rand(1, 3, 32, 48)
    assert torch.equal(bare(x, heat_of(1, 1, 32, 48), guides=torch.rand(1, 3, 32, 32)), bare(x))
    assert osmn.build(**bare.spec).spec == bare.spec


def test_dropout_is_for_training_only():
    torch.manual_seed(0)
    model, guide = osmn.build("tiny", **SMALL, dropout=0.5), torch.rand(1, 3, 32, 32)
    torch.nn.init.normal_(model.visual.last.weight)
    model.eval()
    assert torch.equal(model.visual(guide), model.visual(guide))
    model.train()
    assert not torch.equal(model.visual(guide), model.visual(guide))


def test_wrong_settings_are_named():
    with pytest.raises(ValueError, match="'small' is unknown"):
        osmn.build("small")
    with pytest.raises(ValueError, match="'depth' is unknown"):
        osmn.build("tiny", depth=3)


NARROW = {"widths": (4, 4, 5, 5, 5), "groups": 0, "guide_widths": (4, 4, 5, 5, 5), "pooled": 7, "hidden": 8}


def narrow():
    """A VGG16 of torchvision's with few channels: its features and the first two layers of its classifier."""
    torch.manual_seed(0)
    convs = [m for m in vgg16_layers() if isinstance(m, torch.nn.Conv2d)]
    state, k = {}, 0
    for place, layer in enumerate(vgg16_layers()):
        if isinstance(layer, torch.nn.Conv2d):
            state |= {f"features.{place}.{name}": p for name, p in convs[k].state_dict().items()}
            k += 1
    for place, (a, b) in ((0, (5 * 49, 8)), (3, (8, 8)), (6, (8, 10))):
        layer = torch.nn.Linear(a, b)
        state |= {f"classifier.{place}.{name}": p for name, p in layer.state_dict().items()}
    return state


def vgg16_layers(widths=(4, 4, 5, 5, 5)):
    layers, into = [], 3
    for width, depth in zip(widths, (2, 2, 3, 3, 3), strict=True):
        for _ in range(depth):
            layers += [torch.nn.Conv2d(into, width, 3, padding=1), torch.nn.ReLU()]
            into = width
        layers.append(torch.nn.MaxPool2d(2))
    return layers


def test_published_weights_go_into_both_networks_and_the_modulators_layers(tmp_path):
    """The first two layers of VGG16's classifier are those of the visual modulator; all its features are scaled up."""
    state = narrow()
    torch.save(state, tmp_path / "vgg.pth")
    model = osmn.build("tiny", **NARROW, guide=224, levels=True)
    report = load.load_trunks(model, convert.read(str(tmp_path / "vgg.pth")), ("segmentation.trunk", "visual"))
    assert {name for name in report.new if name.startswith("visual")} == {"visual.last.weight", "visual.last.bias"}
    assert report.skipped.keys() == {"classifier.6.weight", "classifier.6.bias"}
    guide = torch.rand(1, 3, 224, 224)
    x = (guide - torch.tensor(UNIT_MEAN)[:, None, None]) / torch.tensor(UNIT_STD)[:, None, None]
    for place, layer in enumerate(vgg16_layers()):
        if isinstance(layer, torch.nn.Conv2d):
            layer.load_state_dict({n: state[f"features.{place}.{n}"] for n in ("weight", "bias")})
        x = layer(x)
    x = x.flatten(1)
    for place in (0, 3):
        x = F.relu(F.linear(x, state[f"classifier.{place}.weight"], state[f"classifier.{place}.bias"])).detach()
    seen = []
    model.visual.last.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model.eval().visual(guide)
    expected = 255 * sum(UNIT_STD) / 3 * x
    assert float((seen[0] - expected).norm() / expected.norm()) < 5e-3 and LEVELS_MEAN != UNIT_MEAN


def test_the_authors_weights_leave_the_modulators_last_layers_new(tmp_path):
    """Their file has numbers for the convolutions alone."""
    state = narrow()
    state |= {key: torch.full_like(p, float("nan")) for key, p in state.items() if "classifier" in key}
    torch.save(state, tmp_path / "vgg.pth")
    model = osmn.build("tiny", **NARROW, levels=True)
    report = load.load_trunks(model, convert.read(str(tmp_path / "vgg.pth")), ("segmentation.trunk", "visual"))
    assert {"visual.fc.0.weight", "visual.fc.1.bias", "visual.last.bias"} <= report.new.keys()
    assert torch.equal(model.visual.convs[3].weight, state["features.7.weight"])
    assert torch.equal(model.segmentation.trunk.convs[12].bias, state["features.28.bias"])
