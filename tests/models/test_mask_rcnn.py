import pytest
import torch
from torch import nn

from eosvos.models import mask_rcnn
from eosvos.models.mask_rcnn import LOSSES

SMALL = {"short": 64, "long": 112}


def picture(height=64, width=112):
    image = torch.rand(3, height, width, generator=torch.Generator().manual_seed(0))
    masks = torch.zeros(1, height, width, dtype=torch.uint8)
    masks[0, 10:40, 20:70] = 1
    return image, {"boxes": torch.tensor([[20.0, 10.0, 70.0, 40.0]]), "masks": masks}


def small(**settings):
    torch.manual_seed(0)
    return mask_rcnn.build("tiny", **SMALL, **settings)


@pytest.mark.parametrize(
    ("size", "parameters", "tensors"), [("resnet50", 43_975_515, 201), ("resnet18", 30_906_715, 102)]
)
def test_paper_sizes(size, parameters, tensors):
    model = mask_rcnn.build(size)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert len(list(model.parameters())) == tensors
    assert not list(model.buffers())
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    norms = [m for m in model.modules() if isinstance(m, nn.GroupNorm)]
    assert all(n.num_groups == 32 for n in norms) and len(norms) == (53 if size == "resnet50" else 20)


def test_tiny_has_about_two_million_parameters_and_no_buffers():
    model = mask_rcnn.build("tiny")
    assert 1.8e6 < sum(p.numel() for p in model.parameters()) < 2.3e6
    assert not list(model.buffers())


def test_mask_logits_of_the_paper_are_56():
    model = mask_rcnn.build("resnet50")
    assert model.roi_heads.mask_roi_pool.output_size == (28, 28)
    with torch.no_grad():
        logits = model.roi_heads.mask_predictor(model.roi_heads.mask_head(torch.zeros(1, 256, 28, 28)))
    assert logits.shape == (1, 2, 56, 56)


def test_the_spec_rebuilds_the_network():
    model = small(mask_loss="cross_entropy", anchors=[8, 16, 32, 64, 96])
    import json

    again = mask_rcnn.build(**json.loads(json.dumps(model.spec)))
    assert again.network_spec == model.network_spec
    again.load_state_dict(model.state_dict())


def test_five_losses_with_gradients_everywhere():
    model = small()
    image, target = picture()
    losses = model([image], [target])
    assert set(losses) == set(LOSSES)
    sum(losses.values()).backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())


def test_an_image_without_the_object_is_legal_beside_one_with_it():
    model = small()
    image, target = picture()
    empty = {"boxes": torch.zeros(0, 4), "masks": torch.zeros(0, 64, 112, dtype=torch.uint8)}
    alone = model([image], [empty])
    assert float(alone["loss_mask"].detach()) == 0 and float(alone["loss_box_reg"].detach()) == 0
    assert float(alone["loss_classifier"].detach()) > 0
    sum(alone.values()).backward()
    both = model([image, image], [target, empty])
    assert all(bool(v.isfinite()) for v in both.values())


@pytest.mark.parametrize("loss", ["lovasz", "cross_entropy"])
def test_ignored_pixels_do_not_change_the_mask_loss(loss):
    model = small(mask_loss=loss)
    image, target = picture()

    def mask_loss(masks, ignore):
        torch.manual_seed(3)
        return float(model([image], [{**target, "masks": masks, "ignore": ignore}])["loss_mask"].detach())

    doubt = torch.zeros_like(target["masks"])
    doubt[0, 10:25] = 1
    changed = target["masks"].clone()
    changed[0, 12:23, 20:70] = 0
    assert mask_loss(target["masks"], doubt) == pytest.approx(mask_loss(changed, doubt), abs=0.02)
    assert abs(mask_loss(target["masks"], doubt * 0) - mask_loss(changed, doubt * 0)) > 0.02


def test_further_proposals_are_judged_in_the_pixels_of_the_image_given():
    """A network whose RPN may propose nothing sees exactly the boxes it is given, whatever the image's size."""
    model = small(score=-1.0, box_nms=1.0, detections=5, rpn_post=0).eval()
    image, _ = picture()
    large = torch.nn.functional.interpolate(image[None], scale_factor=2)[0]
    box = torch.tensor([[20.0, 10.0, 70.0, 40.0]])
    with torch.no_grad():
        assert len(model([image])[0]["scores"]) == 0
        one = model([image], proposals=[box])[0]
        two = model([large], proposals=[box * 2], output_sizes=[(64, 112)])[0]
    assert len(one["scores"]) == 1
    assert one["masks"].shape == two["masks"].shape == (1, 1, 64, 112)
    assert torch.allclose(one["boxes"], two["boxes"], atol=2.0)


def test_detections_are_torchvisions_where_nothing_is_asked_for():
    """Without propagation, continuity or voting: the same boxes, scores and masks as torchvision's own forward pass."""
    model = small(score=0.0, detections=7).eval()
    image, _ = picture()
    with torch.no_grad():
        ours = model([image])[0]
        theirs = super(mask_rcnn.MaskRCNN, model).forward([image])[0]
    assert len(ours["scores"]) == 7
    for key in ("boxes", "scores", "masks"):
        assert torch.allclose(ours[key], theirs[key], atol=1e-5)


def test_voting_averages_the_boxes_around_the_best():
    model = small(score=-1.0, rpn_post=0).eval()
    image, _ = picture()
    draws = torch.Generator().manual_seed(1)
    proposals = torch.tensor([[20.0, 10.0, 70.0, 40.0]]) + 4 * torch.rand(20, 4, generator=draws)
    with torch.no_grad():
        all_boxes = small(score=-1.0, rpn_post=0, detections=20, box_nms=1.0).eval()
        every = all_boxes([image], proposals=[proposals])[0]
        best = model([image], proposals=[proposals])[0]["boxes"][0]
        voted = model([image], proposals=[proposals], box_voting_iou=0.5)[0]["boxes"][0]
    assert torch.allclose(best, every["boxes"][0])
    near = [(b, float(s)) for b, s in zip(every["boxes"], every["scores"], strict=True) if overlap(b, best) >= 0.5]
    mean = sum(b * s for b, s in near) / sum(s for _, s in near)
    assert torch.allclose(voted, mean, atol=1e-3) and not torch.allclose(voted, best, atol=1e-2)


def overlap(a, b):
    width, height = (min(a[k], b[k]) - max(a[k - 2], b[k - 2]) for k in (2, 3))
    inter = max(float(width), 0.0) * max(float(height), 0.0)
    return inter / (float((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])) - inter)


def test_unknown_words_are_refused():
    with pytest.raises(ValueError, match="'resnet51' is unknown; expected one of tiny"):
        mask_rcnn.build("resnet51")
    with pytest.raises(ValueError, match="'shrot' is unknown"):
        mask_rcnn.build("tiny", shrot=3)
    with pytest.raises(ValueError, match="mask_loss 'dice'"):
        mask_rcnn.build("tiny", mask_loss="dice")
