import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from eosvos.errors import UserError
from eosvos.meta.learner import LEVELS, Learner, rate_shapes, rate_statistics
from eosvos.models import mask_rcnn


@pytest.mark.parametrize("level", LEVELS)
def test_round_trip_is_exact(tmp_path, level):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.ConvTranspose2d(4, 5, 2, 2))
    learner = Learner.create(net, 0.02, level, {"model": {"size": "tiny", "widths": [1, 2]}, "note": "ä"})
    learner.save(tmp_path / "a.safetensors")
    again = Learner.load(tmp_path / "a.safetensors")
    assert again.level == level and again.spec == learner.spec
    assert all(torch.equal(learner.theta[k], again.theta[k]) for k in learner.theta)
    assert all(torch.equal(learner.rates[k], again.rates[k]) for k in learner.rates)
    assert len(again.distinct_rates()) == (1 if level == "single" else len(again.theta))


def test_neurons_are_output_channels():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.ConvTranspose2d(4, 5, 2, 2), nn.Linear(6, 7))
    shapes = rate_shapes(net, "neuron")
    assert shapes == {
        "0.weight": (4, 1, 1, 1),
        "0.bias": (4,),
        "1.weight": (4,),
        "1.bias": (4,),
        "2.weight": (1, 5, 1, 1),
        "2.bias": (5,),
        "3.weight": (7, 1),
        "3.bias": (7,),
    }


def test_paper_network_has_90998_neuron_rates():
    model = mask_rcnn.build("resnet50")
    shapes = rate_shapes(model, "neuron")
    assert len(shapes) == 201
    assert sum(int(torch.tensor(s).prod()) for s in shapes.values()) == 90_998


def test_statistics_count_zeros_and_parts():
    learner = Learner.create(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), 0.5)
    learner.rates["0.weight"][0] = 0
    figures = rate_statistics(learner)
    assert figures["rate_zero"] == pytest.approx(1 / 8)
    assert figures["rate_mean"] == pytest.approx(0.5 * 7 / 8)


def test_what_is_no_learner_is_refused(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        Learner.load(tmp_path / "missing.safetensors")
    (tmp_path / "junk.safetensors").write_bytes(b"not a file of tensors at all")
    with pytest.raises(UserError, match="junk.safetensors.*safetensors"):
        Learner.load(tmp_path / "junk.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(UserError, match="eosvos-learner-1"):
        Learner.load(tmp_path / "foreign.safetensors")
    learner = Learner.create(nn.Linear(2, 2), 0.1)
    learner.save(tmp_path / "whole.safetensors")
    data = (tmp_path / "whole.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(data[:-5])
    with pytest.raises(UserError, match="truncated"):
        Learner.load(tmp_path / "cut.safetensors")


def test_a_learner_of_another_network_is_refused():
    learner = Learner.create(nn.Linear(2, 2), 0.1)
    with pytest.raises(UserError, match="another network: 'bias' has shape .2,. in the learner and .3,."):
        learner.check_fits(nn.Linear(2, 3), "x.safetensors")
    with pytest.raises(ValueError, match="level 'layer' is unknown"):
        Learner.create(nn.Linear(2, 2), 0.1, "layer")


def test_half_precision_is_half_the_file_and_is_loaded_as_float32(tmp_path):
    learner = Learner.create(nn.Linear(64, 64), 0.1, "neuron", {"a": 1})
    learner.save(tmp_path / "whole.safetensors")
    learner.save(tmp_path / "half.safetensors", half=True)
    found = Learner.load(tmp_path / "half.safetensors")
    assert (tmp_path / "half.safetensors").stat().st_size < 0.6 * (tmp_path / "whole.safetensors").stat().st_size
    assert found.spec == learner.spec and found.level == learner.level
    for name, p in learner.theta.items():
        assert found.theta[name].dtype == torch.float32 and torch.equal(found.theta[name], p.half().float())
        assert found.rates[name].dtype == torch.float32
    learner.theta["bias"][3] = 7e4
    with pytest.raises(UserError, match="theta/bias holds 70000, and half precision ends at 65504"):
        learner.save(tmp_path / "large.safetensors", half=True)
    assert not (tmp_path / "large.safetensors").exists()
