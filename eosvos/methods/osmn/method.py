"""OSMN: an annotated frame sets the scales of the network's features, the object's last position their biases.

No fine-tuning is needed, and none is done by default. Dense CRF (Table 3, +1.9) is replaced by GrabCut: no library of
it is maintained (pydensecrf is abandoned; pydensecrf2 has one release, of 2024, that every user must compile).

Source: Yang et al., CVPR 2018.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from eosvos import seeds
from eosvos.data.masks import merge
from eosvos.data.tasks import Sample
from eosvos.data.transforms import fit
from eosvos.meta.adapt import Loss, Params
from eosvos.meta.learner import FROM_LEARNER, Learner
from eosvos.methods.base import FineTunedMethod, annotated_sample, check_frame, transformed_copies
from eosvos.methods.osmn.guides import Guidance, heat_map, moved_prior, prior_of, visual_guide
from eosvos.methods.snapping import GrabCut
from eosvos.models.osmn import OSMN as Network
from eosvos.models.osmn import build
from eosvos.models.osvos import PIXELS, balanced_cross_entropy
from eosvos.torch_state import own_state


@dataclass(frozen=True)
class Modulation:
    """Settings of OSMN at test time, with those of the optional fine-tuning.

    Attributes:
        visual: whether the visual modulator is used; without it gamma is one (Table 3).
        spatial: whether the spatial modulator is used; without it beta is zero (Table 3).
        widen: factor by which the prior of an object that was not found grows with each frame, in x and y.
        widest: largest standard deviation of such a prior, as a share of the image's sides.
        balance: correction for the balanced loss, under which every object looks as if it filled half of the image:
            this share of the log odds of the annotated masks is subtracted from the logits. 0 is the paper's rule,
            under which a weak network predicts too large masks; "learner": as in the learner's training, or 0.3 if
            that is not known, which was measured better (docs/results/compare.md).
        momentum: of SGD.
        clip: norm to which a gradient is scaled down; None: none is, with which one object in five diverged (see
            there); "learner": as in the learner's training, or 0.25 if that is not known.
        flip: whether the frame of a step is mirrored half of the time.
        zoom: bounds of its random scale.
    """

    visual: bool = True
    spatial: bool = True
    widen: float = 1.1
    widest: float = 0.5
    balance: float | str = FROM_LEARNER
    momentum: float = 0.9
    clip: float | str | None = FROM_LEARNER
    flip: bool = True
    zoom: tuple[float, float] = (0.75, 1.25)


@dataclass(frozen=True)
class _Given:
    """An annotated frame."""

    gamma: Tensor | None  # float32 (C,), output of the visual modulator
    odds: float | None  # log odds of background over object; None: the object is not here
    source: Sample | None  # at up to twice the network's size, if there is fine-tuning: zoomed copies stay sharp


@dataclass
class _Object:
    """The state of one object in the video."""

    index: int  # seeds its random draws
    given: list[_Given]
    gamma: Tensor | None = None  # float32 (C,), mean over the annotated frames
    odds: float = 0.0  # mean over the annotated frames
    phi: Params = field(default_factory=dict)  # fine-tuned parameters; empty: the learner's


class OSMN(FineTunedMethod):
    """OSMN: modulates a network per object, without fine-tuning by default; see `protocol.LearningMethod`.

    The visual modulator sees each annotated frame of an object once; gamma is the mean over them, whatever their order.
    Frames depend on one another only by the priors. Annotated frames are kept only if there is fine-tuning.

    Args:
        learner: the trained networks and the rate of fine-tuning.
        iters: T, number of fine-tuning steps (the paper's option has 100); 0: none.
        seed: of the random draws of fine-tuning.
        device: where the network runs.
        modulation: settings of the modulators and of fine-tuning.
        snap: snapping of masks to the edges of the frame; the priors are taken of the masks before it, so that a wrong
            cut does not spread. None: off.

    Attributes:
        priors: where each object is looked for in the next frame, float32 (4,) by object id, see `methods.osmn.guides`.

    Source: Yang et al., CVPR 2018, section 3.
    """

    # Attributes and classes that a saved state holds, by these names: see inference/state_file.py.
    STATE = ("_objects", "_waiting", "_frame_size", "priors", "probabilities", "adapt_seconds")
    PARTS = (_Object, _Given, Sample, Modulation, GrabCut)

    @own_state()
    def __init__(
        self,
        learner: Learner,
        *,
        iters: int = 0,
        seed: int = 0,
        device: torch.device | str = "cpu",
        modulation: Modulation | None = None,
        snap: GrabCut | None = None,
    ) -> None:
        self.learner = learner.to(device)
        self.model: Network = self.learner.network(build).eval()
        self.iters, self.seed, self.snap, self.device = iters, seed, snap, torch.device(device)
        self.modulation = modulation or Modulation()
        self.size = (self.model.network_spec.short, self.model.network_spec.long)
        self.adapt_seconds = 0.0
        self.probabilities = torch.zeros(0, 0, 0, dtype=torch.float32)
        self.priors: dict[int, Tensor] = {}
        self._objects: dict[int, _Object] = {}
        self._waiting: dict[int, list[_Given]] = {}  # of objects that do not exist yet
        self._frame_size: tuple[int, int] | None = None

    def settings(self) -> dict[str, Any]:
        """Return the arguments that it was built with, except learner and device."""
        return {name: getattr(self, name) for name in ("iters", "seed", "modulation", "snap")}

    @property
    def gammas(self) -> dict[int, Tensor]:
        """Outputs of the visual modulator, float32 (C,) by object id."""
        return {i: obj.gamma for i, obj in self._objects.items() if obj.gamma is not None}

    @own_state()
    def start(self, frame: Tensor, masks: dict[int, np.ndarray]) -> np.ndarray:
        height, width = frame.shape[-2:]
        self._objects, self.priors, self._frame_size = {}, {}, (height, width)
        self.probabilities = torch.zeros(0, height, width, dtype=torch.float32)
        return self.add(frame, masks)

    @own_state()
    def step(self, frame: Tensor) -> np.ndarray:
        check_frame(frame, self._frame_size)
        size = (int(frame.shape[-2]), int(frame.shape[-1]))
        image, _ = fit(frame, np.zeros((0, *size), bool), size=self.size)
        self.probabilities = self._segment(image, size) if self._objects else torch.zeros(0, *size, dtype=torch.float32)
        ids = merge(self.probabilities, self.object_ids)
        for object_id in self._objects:
            self._look_for(object_id, ids == object_id)
        if self.snap is None:
            return ids
        self.probabilities = self.snap(frame, self.probabilities)
        return merge(self.probabilities, self.object_ids)

    @own_state()
    def remove(self, ids: Collection[int]) -> None:
        super().remove(ids)
        self.priors = {i: prior for i, prior in self.priors.items() if i not in ids}

    @own_state()
    def new_video(self, size: tuple[int, int]) -> None:
        """Look for the same objects in another video with frames of `size` (H, W), at first everywhere."""
        self._frame_size, self.probabilities = size, torch.zeros(len(self._objects), *size, dtype=torch.float32)
        everywhere = prior_of(np.ones(size, bool))
        assert everywhere is not None
        self.priors = {i: everywhere.clone() for i in self._objects}

    def _look_for(self, object_id: int, mask: np.ndarray) -> None:
        """Set the object's prior for the next frame from its mask; if that is empty, widen its last prior."""
        prior = prior_of(mask)
        if prior is None:
            last = self.priors[object_id]
            limit = last[2:].clamp(min=self.modulation.widest)
            prior = torch.cat([last[:2], (last[2:] * self.modulation.widen).minimum(limit)])
        self.priors[object_id] = prior

    @torch.no_grad()
    def _segment(self, image: Tensor, size: tuple[int, int]) -> Tensor:
        """Segment all objects.

        image: (3, h, w), the frame at network size. size: (H, W) of the frame. Returns float32 (K, H, W) on the CPU.
        """
        self.model.eval()
        objs = list(self._objects.values())
        x, heat, gammas = image[None].to(self.device), self._heat(image), self._gammas(objs)
        if any(obj.phi for obj in objs):
            each = []
            for k, obj in enumerate(objs):
                inputs = (x, None if heat is None else heat[k : k + 1])
                options = {"gammas": None if gammas is None else gammas[k : k + 1]}
                each.append(functional_call(self.model, obj.phi, inputs, options, strict=False))
            logits = torch.cat(each)
        else:
            logits = self.model(x, heat, gammas=gammas)
        if logits.shape[-2:] != size:
            logits = F.interpolate(logits, size, mode="bilinear", align_corners=False)
        odds = logits.new_tensor([obj.odds for obj in objs])[:, None, None]
        balance = self.learner.rule("balance", self.modulation.balance, 0.3)
        return (logits[:, 0] - balance * odds).sigmoid().cpu()

    def _heat(self, image: Tensor) -> Tensor | None:
        """Build the spatial guides, float32 (K, 1, h, w); None without a spatial modulator."""
        if not self.modulation.spatial or self.model.spatial is None:
            return None
        height, width = image.shape[-2:]
        return torch.stack([heat_map(self.priors[i], (height, width)) for i in self._objects]).to(self.device)

    def _gammas(self, objs: list[_Object]) -> Tensor | None:
        """Stack the objects' gammas, float32 (K, C); None without a visual modulator."""
        gammas = [obj.gamma for obj in objs if obj.gamma is not None]
        return torch.stack(gammas).to(self.device) if gammas else None

    def _annotated(self, frame: Tensor, mask: np.ndarray, obj: _Object | None = None) -> _Given:
        """Run the visual modulator on an annotated frame, and keep the frame if there is fine-tuning."""
        began, mask, gamma, source = time.perf_counter(), np.asarray(mask, bool), None, None
        if mask.any() and self.modulation.visual and self.model.visual is not None:
            guide = visual_guide(frame, mask, self.model.network_spec.guide)
            self.model.eval()
            with torch.no_grad():
                gamma = self.model.visual(guide[None].to(self.device))[0]
        if self.iters:
            source = annotated_sample(frame, mask, self.size)
        self.adapt_seconds += time.perf_counter() - began
        share = mask.mean()
        odds = math.log(max(1 - share, 1 / mask.size) / share) if share else None
        return _Given(gamma, odds, source)

    def _new_object(self, index: int, given: list[_Given]) -> _Object:
        return _Object(index, given)

    def _set_position(self, object_id: int, frame: Tensor, mask: np.ndarray) -> None:
        self._look_for(object_id, mask)

    def _fine_tune(self, obj: _Object) -> None:
        """Average gamma and odds over the annotated frames; make T steps on all but the visual modulator."""
        began = time.perf_counter()
        gammas = [g.gamma for g in obj.given if g.gamma is not None]
        obj.gamma = torch.stack(gammas).mean(0) if gammas else None
        odds = [g.odds for g in obj.given if g.odds is not None]
        obj.odds = sum(odds) / len(odds)  # the first mask of an object is never empty
        if self.iters:
            start = {name: p for name, p in self.learner.theta.items() if not name.startswith("visual.")}
            momentum, clip = self.modulation.momentum, self.learner.rule("clip", self.modulation.clip, 0.25)
            obj.phi = self._adapted(start, self._losses(obj), self.iters, momentum=momentum, clip=clip)
        self.adapt_seconds += time.perf_counter() - began

    def _losses(self, obj: _Object) -> Iterator[Loss]:
        """Yield the loss of each step, on transformed copies of the annotated frames in turn."""
        sources, modulation = [g.source for g in obj.given if g.source is not None], self.modulation
        places = [prior for s in sources if (prior := prior_of(s.masks[0])) is not None]
        copies = transformed_copies(
            sources, size=self.size, zoom=modulation.zoom, flip=modulation.flip, seed=(self.seed, obj.index)
        )
        for copy, beta, draws in islice(copies, self.iters):
            prior = prior_of(copy.masks[0])
            if prior is None:
                prior = places[0]
            moved = moved_prior(prior, Guidance(), draws) if modulation.spatial else None
            yield loss_of(self.model, copy, moved, gamma=obj.gamma, beta=beta)


def loss_of(
    model: Network,
    sample: Sample,
    prior: Tensor | None,
    *,
    guide: Tensor | None = None,
    gamma: Tensor | None = None,
    beta: float | None = None,
    seed: tuple[int, ...] | None = None,
) -> Loss:
    """Build the loss of one object, the balanced cross-entropy (OSVOS, eq. 1), as a function of the parameters.

    Args:
        model: the network.
        sample: image and mask (1, h, w).
        prior: float32 (4,), see `methods.osmn.guides`; None: without the spatial modulator.
        guide: visual guide, float32 (3, side, side).
        gamma: float32 (C,), instead of `guide`; with neither, the visual modulator is not used.
        beta: see `models.osvos.balanced_cross_entropy`.
        seed: path of the random draw of the visual modulator's dropout; None: no dropout.

    Returns:
        A function from the parameters phi to a scalar, the mean over the pixels.
    """
    device = next(model.parameters()).device
    height, width = sample.image.shape[-2:]
    image, truth = sample.image[None].to(device), sample.masks[None].to(device)
    ignore = None if sample.ignore is None else sample.ignore[None, None].to(device)
    heat = None if prior is None else heat_map(prior, (height, width))[None].to(device)
    options: dict[str, Any] = {
        "guides": None if guide is None else guide[None].to(device),
        "gammas": None if gamma is None else gamma[None].to(device),
    }

    def loss(phi: Params) -> Tensor:
        model.train(seed is not None)
        draws = {"generator": None if seed is None else seeds.generator(*seed)}
        logits = functional_call(model, phi, (image, heat), options | draws, strict=False)
        return balanced_cross_entropy(logits, truth, ignore, beta) / PIXELS

    return loss
