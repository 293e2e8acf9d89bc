"""RoIAlign: torchvision's values and first derivatives, and derivatives beyond; every operation of the losses too."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
import torchvision.ops
from torch.autograd import gradcheck, gradgradcheck

from eosvos.models.lovasz import lovasz_hinge
from eosvos.models.roi_align import MultiScaleRoIAlign, roi_align

# On the border, beyond it, smaller than a pixel, and none of the first image's twice.
REGIONS = [[0, 1.3, 2.1, 6.2, 7.9], [1, 0, 0, 9, 8], [1, -3, 2, 14, 5.5], [0, 4.4, 4.4, 4.6, 4.5]]


def draw(*shape, dtype=torch.float32, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("sampling", [-1, 1, 2])
@pytest.mark.parametrize("count", [0, 4])
def test_values_and_first_derivatives_are_torchvisions_bit_for_bit(sampling, count):
    regions = torch.tensor(REGIONS)[:count].view(-1, 5)
    results = []
    for align in (roi_align, torchvision.ops.roi_align):
        features = draw(2, 5, 8, 9).requires_grad_()
        pooled = align(features, regions, (4, 3), 0.9, sampling)
        (gradient,) = torch.autograd.grad(pooled, features, draw(count, 5, 4, 3, seed=1))
        results.append((pooled.detach(), gradient))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*results, strict=True))
    assert results[0][0].shape == (count, 5, 4, 3)


@pytest.mark.parametrize("sampling", [-1, 2])
def test_it_has_derivatives_of_any_order(sampling):
    regions = torch.tensor(REGIONS, dtype=torch.float64)
    features = draw(2, 2, 8, 9, dtype=torch.float64).requires_grad_()

    def pooled(x):
        return roi_align(x, regions, (2, 3), 0.9, sampling)

    assert gradcheck(pooled, (features,)) and gradgradcheck(pooled, (features,))
    # Linear, so a third derivative needs something curved behind it.
    (first,) = torch.autograd.grad((pooled(features) ** 4).sum(), features, create_graph=True)
    assert gradgradcheck(lambda x: torch.autograd.grad((pooled(x) ** 4).sum(), x, create_graph=True)[0], (features,))
    assert first.requires_grad


def test_the_only_private_operator_of_torchvision_takes_what_it_is_given():
    """The transpose of RoIAlign, for which torchvision has no public function."""
    operator = getattr(torch.ops.torchvision, "_roi_align_backward", None)
    taken = operator and [argument.name for argument in operator.default._schema.arguments]
    settings = ["spatial_scale", "pooled_height", "pooled_width", "batch_size", "channels", "height", "width"]
    expected = ["grad", "rois", *settings, "sampling_ratio", "aligned"]
    assert taken == expected, f"torchvision {torchvision.__version__} has changed it: adapt models/roi_align.py"


def test_pyramid_pooling_is_torchvisions_bit_for_bit_and_can_be_differentiated_twice():
    levels = {name: draw(2, 3, 32 >> k, 48 >> k, seed=k) for k, name in enumerate("0123")}
    levels["pool"] = draw(2, 3, 2, 3)
    boxes = [torch.tensor([[3.0, 2.0, 180.0, 120.0], [10.0, 10.0, 30.0, 25.0]]), torch.tensor([[5.0, 7.0, 80.0, 90.0]])]
    results = []
    for kind in (MultiScaleRoIAlign, torchvision.ops.MultiScaleRoIAlign):
        pool = kind(list("0123"), 7, 2, canonical_scale=112)
        leaves = {name: level.clone().requires_grad_() for name, level in levels.items()}
        pooled = pool(leaves, boxes, [(128, 192)] * 2)
        gradients = torch.autograd.grad(pooled, [leaves[name] for name in "0123"], draw(*pooled.shape, seed=9))
        results.append([pooled.detach(), *gradients])
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*results, strict=True))
    assert sum(bool(g.any()) for g in results[0][1:]) >= 2  # regions of several levels

    pool = MultiScaleRoIAlign(list("0123"), 2, 1, canonical_scale=112)
    one = [box.double()[:1] for box in boxes]
    inputs = [level[:, :1, :8, :12].double().requires_grad_() for level in levels.values()][:4]

    def pooled_twice(*given):
        return pool(dict(zip("0123", given, strict=True)), one, [(128, 192)] * 2) ** 2

    assert gradgradcheck(pooled_twice, inputs, fast_mode=True)


TARGET = torch.rand(3, 2, 5, 5, generator=torch.Generator().manual_seed(2)) > 0.5
OPERATIONS = {
    "group_norm": lambda x: F.group_norm(x.reshape(3, 10, 5), 2, draw(10, dtype=torch.float64, seed=3)) ** 2,
    "lovasz": lambda x: lovasz_hinge(x, TARGET),
    "lovasz_ignore": lambda x: lovasz_hinge(x, TARGET, ~TARGET),
    "smooth_l1": lambda x: F.smooth_l1_loss(x, torch.zeros_like(x), beta=1 / 9, reduction="sum"),
    "cross_entropy": lambda x: F.cross_entropy(x.reshape(3, -1)[:, :2], torch.tensor([1, 0, 1])),
    "binary": lambda x: F.binary_cross_entropy_with_logits(x, TARGET.double()),
    "max_pool": lambda x: F.max_pool2d(x, 3, 2, 1) ** 2,
    "last_level": lambda x: F.max_pool2d(x, 1, 2, 0) ** 2,
    "interpolate": lambda x: F.interpolate(x, size=(9, 9), mode="nearest") ** 2,
    "upsampling": lambda x: F.conv_transpose2d(x, draw(2, 1, 2, 2, dtype=torch.float64), stride=2) ** 2,
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_other_operation_of_the_losses_can_be_differentiated_twice(name):
    x = draw(3, 2, 5, 5, dtype=torch.float64).requires_grad_()
    assert gradcheck(OPERATIONS[name], (x,)) and gradgradcheck(OPERATIONS[name], (x,))
