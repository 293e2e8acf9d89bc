"""Snapping: the vote and the superpixels by hand, the bilateral solver against a dense solution of its equations."""

from __future__ import annotations

import importlib.util
import math

import numpy as np
import pytest
import torch

from eosvos.errors import UserError
from eosvos.inference.segmenter import Segmenter
from eosvos.meta.learner import Learner
from eosvos.methods import snapping
from eosvos.methods.osvos import contours
from eosvos.methods.osvos.contours import Contours, superpixels, vote
from eosvos.methods.osvos.method import OSVOS
from eosvos.methods.snapping import Bilateral, GrabCut
from eosvos.models.osvos import build

needs_higra = pytest.mark.skipif(importlib.util.find_spec("higra") is None, reason="needs eosvos[snapping]")
needs_scipy = pytest.mark.skipif(importlib.util.find_spec("scipy") is None, reason="needs eosvos[snapping]")


def test_a_superpixel_is_foreground_where_more_than_half_of_it_is():
    labels = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 2, 3]])
    planes = torch.tensor([[[0.9, 0.9, 0.9, 0.9], [0.9, 0.1, 0.1, 0.1], [0.5, 0.5, 0.4, 0.6]]])
    result = vote(planes, labels)
    assert result.dtype == torch.float32 and result.shape == planes.shape
    assert torch.allclose(result[0, 0], torch.tensor([0.75, 0.75, 0.5, 0.5]))
    # Three of four, exactly half, two of three, all of one.
    assert np.array_equal(result[0].numpy() >= 0.5, np.isin(labels, [0, 2, 3]))


def room(strong, weak):
    """Contours that cut a picture in four: a strong vertical line, a weak horizontal one in its left half."""
    contours = np.zeros((40, 60), np.float32)
    contours[:, 30] = strong
    contours[20, :30] = weak
    return contours


@needs_higra
def test_superpixels_are_bounded_by_the_contours_above_the_threshold():
    contours = room(0.8, 0.3)
    parts = superpixels(contours, 0.05)
    assert parts.shape == contours.shape and set(np.unique(parts)) == {0, 1, 2}
    corners = {int(parts[5, 5]), int(parts[35, 5]), int(parts[20, 50])}
    assert len(corners) == 3 and parts[5, 20] == parts[5, 5] and parts[5, 50] == parts[35, 50]
    assert len(np.unique(superpixels(contours, 0.5))) == 2
    assert len(np.unique(superpixels(contours, 0.9))) == 1
    assert len(np.unique(superpixels(np.zeros((16, 16), np.float32), 0.1))) == 1


@needs_higra
def test_contours_snap_a_mask_that_leaks(monkeypatch):
    model = build("tiny", widths=(2, 2, 2, 2, 2), groups=0, path=2, short=40, long=60)
    snap = Contours(Learner.create(model, 0.0, "single", {"model": model.spec}), threshold=0.1)
    monkeypatch.setattr(contours, "probability", lambda *a: torch.from_numpy(room(0.9, 0.9)))
    truth = np.zeros((40, 60), bool)
    truth[:20, :30] = True
    leaking = torch.from_numpy(np.roll(truth, 4, 1)).float()[None]
    snapped = snap(torch.rand(3, 40, 60), leaking)[0].numpy() >= 0.5
    assert (snapped ^ truth).sum() < 80 < (leaking[0].numpy().astype(bool) ^ truth).sum()


@needs_higra
def test_a_session_with_learned_contours_is_saved_and_goes_on(tmp_path):
    torch.manual_seed(0)
    model = build("tiny", widths=(2, 2, 2, 2, 2), groups=0, path=2, short=40, long=60)
    learner = Learner.create(model, 1e-7, "single", {"model": model.spec})
    segmenter = Segmenter(OSVOS(learner, iters=1, snap=Contours(learner, 0.3)))
    frame, mask = torch.rand(3, 40, 60), np.zeros((40, 60), np.uint8)
    mask[5:20, 5:30] = 1
    segmenter.start(frame, mask)
    segmenter.save(tmp_path / "state")
    loaded = Segmenter.load(tmp_path / "state")
    assert loaded.method.snap.threshold == 0.3
    assert np.array_equal(loaded.step(frame), segmenter.step(frame))
    assert torch.equal(loaded.probabilities, segmenter.probabilities)


def dense(image, plane, solver):
    """Equations 5 to 7 of Barron & Poole with full matrices, cell by cell."""
    import cv2

    spatial = solver.spatial * image.shape[0]
    colours = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb).astype(float)
    cells = {}
    where = np.zeros(image.shape[:2], int)
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            luma, u, v = colours[y, x]
            key = (
                int(y // spatial),
                int(x // spatial),
                int(luma // solver.luma),
                int(u // solver.chroma),
                int(v // solver.chroma),
            )
            where[y, x] = cells.setdefault(key, len(cells))
    count = len(cells)
    blur = np.zeros((count, count))
    for a, i in cells.items():
        blur[i, i] = 2 * 5
        for b, k in cells.items():
            blur[i, k] += sum(abs(p - q) for p, q in zip(a, b, strict=True)) == 1
    splat = np.zeros((count, where.size))
    splat[where.ravel(), np.arange(where.size)] = 1
    m, n = splat.sum(1), np.ones(count)
    for _ in range(10):
        n = np.sqrt(n * m / (blur @ n))
    smooth = np.diag(n * (blur @ n)) - np.diag(n) @ blur @ np.diag(n)
    c = np.abs(2 * plane.ravel() - 1) + 1e-3
    system = solver.strength * smooth + np.diag(splat @ c)
    return (splat.T @ np.linalg.solve(system, splat @ (c * plane.ravel()))).reshape(plane.shape)


@needs_scipy
def test_the_bilateral_solver_solves_its_equations():
    draws = np.random.default_rng(0)
    image = draws.integers(0, 60, (12, 16, 3), np.uint8)
    image[:, 8:] += 120
    plane = draws.random((12, 16)).astype(np.float32)
    solver = Bilateral(spatial=1 / 4, luma=24, chroma=24, strength=4)
    frame = torch.from_numpy(image).permute(2, 0, 1).float() / 255
    found = solver(frame, torch.from_numpy(plane)[None])[0].numpy()
    assert np.abs(found - dense(image, plane, solver).clip(0, 1)).max() < 1e-3
    flat = solver(frame, torch.full((1, 12, 16), 0.7))
    assert torch.allclose(flat, torch.tensor(0.7), atol=1e-3)


@needs_scipy
def test_the_bilateral_solver_draws_a_mask_to_the_edge():
    draws = torch.Generator().manual_seed(0)
    frame = torch.rand(3, 60, 90, generator=draws) * 0.04 + 0.2
    frame[:, 15:45, 20:60] += 0.5
    truth = torch.zeros(60, 90)
    truth[15:45, 20:60] = 1
    rough = truth.roll((2, 3), (0, 1)) * 0.8 + 0.1
    snapped = Bilateral(spatial=1 / 6)(frame, rough[None])[0]
    wrong = [int(((p >= 0.5) != truth.bool()).sum()) for p in (rough, snapped)]
    assert wrong[1] < 0.25 * wrong[0]


def pictured(shift=(5, -6)):
    """A frame with two bright shapes on dark noise, their true masks, and rough ones beside them."""
    draws = torch.Generator().manual_seed(0)
    frame = torch.rand(3, 160, 240, generator=draws) * 0.15 + 0.1
    truth = torch.zeros(2, 160, 240, dtype=torch.bool)
    truth[0, 30:110, 20:100] = True
    truth[0, 30:60, 20:50] = False
    truth[1, 60:130, 150:210] = True
    frame[0, truth[0]] += 0.6
    frame[2, truth[1]] += 0.6
    return frame, truth, truth.roll(shift, (1, 2)).float() * 0.8 + 0.1


def test_grabcut_draws_every_mask_to_its_edges():
    frame, truth, rough = pictured()
    snapped = GrabCut(band=0.1)(frame, rough)
    assert snapped.shape == rough.shape and snapped.dtype == rough.dtype
    for before, after, true in zip(rough >= 0.5, snapped >= 0.5, truth, strict=True):
        assert int((before ^ true).sum()) > 1000 > 20 * int((after ^ true).sum())
    one_by_one = torch.cat([GrabCut(band=0.1)(frame, plane[None]) for plane in rough])
    assert torch.equal(snapped, one_by_one)


def test_the_trial_on_a_given_mask_tells_whether_colours_show_the_object():
    frame, truth, _ = pictured()
    draws = torch.Generator().manual_seed(3)
    # In stripes, of which one half of the object and one half of what is around it have the same colour.
    stripes = frame.clone()
    stripes[:, :, ::2] = torch.rand(3, 160, 120, generator=draws) * 0.1 + 0.8
    stripes[:, :, 1::2] = torch.rand(3, 160, 120, generator=draws) * 0.1
    for mask in truth.numpy():
        assert GrabCut(band=0.1).gain(frame, mask) > 0.05
        assert GrabCut(band=0.1).gain(stripes, mask) < 0
    assert math.isnan(GrabCut(band=0.1).gain(frame, np.zeros((160, 240), bool)))


def test_grabcut_changes_nothing_beyond_its_band_and_what_agrees_keeps_its_probability():
    frame, _, rough = pictured()
    snapped = GrabCut(band=0.05)(frame, rough)
    same = (snapped >= 0.5) == (rough >= 0.5)
    assert torch.equal(snapped[same], rough[same]) and not same.all()
    for plane, changed in zip(rough.numpy() >= 0.5, ~same.numpy(), strict=True):
        edge = np.argwhere(
            plane & ~(np.roll(plane, 1, 0) & np.roll(plane, -1, 0) & np.roll(plane, 1, 1) & np.roll(plane, -1, 1))
        )
        reach = 0.05 * np.sqrt(plane.sum()) + 2
        assert all(np.hypot(*(edge - pixel).T).min() <= reach for pixel in np.argwhere(changed))


def test_grabcut_gives_the_same_whatever_was_drawn_before_and_by_any_number_of_threads():
    import cv2

    frame, _, rough = pictured()
    rough = torch.cat([rough, rough.roll(3, 1), rough.roll(7, 2)])
    results, threads = [], torch.get_num_threads()
    try:
        for seed, count in ((1, 1), (2, 1), (3, 4), (4, 2)):
            cv2.setRNGSeed(seed)
            torch.set_num_threads(count)
            results.append(GrabCut(side=80)(frame, rough))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(results[0], other) for other in results[1:])


@pytest.mark.parametrize("shape", ["none", "a pixel", "everything", "all but a pixel", "a line", "at the corner"])
def test_grabcut_lives_with_masks_of_any_kind(shape):
    draws = torch.Generator().manual_seed(1)
    plane = torch.zeros(50, 70)
    if shape == "a pixel":
        plane[20, 30] = 1
    elif shape in ("everything", "all but a pixel"):
        plane[:] = 1
        plane[3, 4] = shape == "everything"
    elif shape == "a line":
        plane[25] = 0.7
    elif shape == "at the corner":
        plane[:12, 60:] = 0.9
    for frame in (torch.rand(3, 50, 70, generator=draws), torch.full((3, 50, 70), 0.5)):
        snapped = GrabCut(band=0.1)(frame, plane[None])[0]
        assert 0 <= snapped.min() and snapped.max() <= 1
        assert 3 * int((snapped >= 0.5).sum()) >= int((plane >= 0.5).sum())
        assert (snapped >= 0.5).any() == (plane >= 0.5).any()
    assert torch.equal(GrabCut(band=0)(torch.rand(3, 50, 70), plane[None])[0], plane)


def test_what_is_missing_is_said_before_the_work(monkeypatch):
    monkeypatch.setattr(snapping, "find_spec", lambda name: None)
    for kind, library in (("bilateral", "scipy"), ("contours", "higra")):
        with pytest.raises(UserError, match=rf"snapping={kind}: needs {library}.*eosvos\[snapping\]"):
            snapping.check_installed(kind)
    snapping.check_installed("none")


def test_the_band_is_of_the_size_of_the_cells_of_masks():
    assert GrabCut().for_cells(40).share == pytest.approx(0.06)
    assert GrabCut().for_cells(28).share == pytest.approx(2.4 / 28)
    assert GrabCut().share == 0.1
    for band in (0, 0.03):
        assert GrabCut(band=band).for_cells(40) == GrabCut(band=band)
