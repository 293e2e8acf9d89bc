import torch

from eosvos.models.lovasz import lovasz_hinge


def published(logits, labels):
    """The Lovász hinge as Berman et al. state it (algorithm 1), one region at a time, in plain loops."""
    losses = []
    for region, label in zip(logits.flatten(1), labels.flatten(1), strict=True):
        errors = 1 - region * (2 * label - 1)
        order = sorted(range(len(errors)), key=lambda i: -float(errors[i].detach()))
        total, seen, false, before, loss = float(label.sum()), 0.0, 0.0, 0.0, torch.zeros((), dtype=logits.dtype)
        for i in order:
            seen += float(label[i])
            false += 1 - float(label[i])
            jaccard = 1 - (total - seen) / (total + false)
            loss = loss + torch.relu(errors[i]) * (jaccard - before)
            before = jaccard
        losses.append(loss)
    return torch.stack(losses).mean()


def test_equals_the_published_loss_and_gradient():
    draws = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 7, 5, generator=draws, dtype=torch.float64, requires_grad=True)
    labels = (torch.rand(6, 7, 5, generator=draws) < 0.4).double()
    labels[0], labels[1] = 0, 1
    ours, theirs = lovasz_hinge(logits, labels), published(logits, labels)
    assert abs(float((ours - theirs).detach())) < 1e-12
    (a,), (b,) = torch.autograd.grad(ours, logits), torch.autograd.grad(theirs, logits)
    assert float((a - b).abs().max()) < 1e-12


def test_ignored_pixels_are_as_if_cut_out():
    draws = torch.Generator().manual_seed(1)
    logits = torch.randn(3, 40, generator=draws, dtype=torch.float64, requires_grad=True)
    labels = (torch.rand(3, 40, generator=draws) < 0.5).double()
    ignore = torch.zeros(3, 40, dtype=torch.bool)
    ignore[:, 25:] = True
    whole, cut = lovasz_hinge(logits, labels, ignore), lovasz_hinge(logits[:, :25], labels[:, :25])
    assert abs(float((whole - cut).detach())) < 1e-12
    (gradient,) = torch.autograd.grad(whole, logits)
    assert float(gradient[:, 25:].abs().max()) == 0 and bool(gradient.isfinite().all())


def test_no_region_is_zero_with_a_gradient():
    logits = torch.zeros(0, 4, 4, requires_grad=True)
    loss = lovasz_hinge(logits, torch.zeros(0, 4, 4))
    loss.backward()
    assert float(loss.detach()) == 0 and logits.grad is not None
