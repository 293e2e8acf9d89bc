"""OSVOS: a parent network is fine-tuned on annotated frames and then segments each frame independently.

Every object has its own fine-tuned parameters. Source: Caelles et al., CVPR 2017.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eosvos.data.masks import merge
from eosvos.data.tasks import Sample
from eosvos.data.transforms import fit
from eosvos.meta.adapt import Loss, Params
from eosvos.meta.learner import FROM_LEARNER, Learner
from eosvos.methods.base import FineTunedMethod, annotated_sample, check_frame, transformed_copies
from eosvos.methods.osvos.contours import Contours
from eosvos.methods.osvos.loss import loss_of, probability
from eosvos.methods.snapping import Bilateral, GrabCut
from eosvos.models.osvos import FCN, build
from eosvos.torch_state import own_state

Snap = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Tuning:
    """Settings of fine-tuning on annotated frames.

    Attributes:
        seconds: duration of each fine-tuning, whatever the number of steps (the paper: 10 s to 10 min); None: by steps.
        momentum: of SGD.
        clip: norm to which a gradient is scaled down; None: none is, as in the paper; "learner": as in the learner's
            training, or 1e5 if that is not known: gradients of the tiny network have 1e4 to 5e4, and at a rate that is
            good for 50 steps, 100 would now and then diverge.
        flip: whether the frame of a step is mirrored half of the time.
        zoom: bounds of its random scale.
    """

    seconds: float | None = None
    momentum: float = 0.9
    clip: float | str | None = FROM_LEARNER
    flip: bool = True
    zoom: tuple[float, float] = (0.75, 1.25)


@dataclass
class _Object:
    """The state of one object in the video."""

    index: int  # seeds its random draws
    given: list[Sample]  # annotated frames, at up to twice the network's size, so that zoomed copies stay sharp
    phi: Params  # parameters in use


class OSVOS(FineTunedMethod):
    """OSVOS: fine-tunes a parent network per object; see `protocol.LearningMethod`.

    Only annotated frames are kept. With each further one (the paper's progressive refinement) the object is fine-tuned
    again from the parent network, on all of its annotated frames in turn.

    Args:
        learner: the parent network and its fine-tuning rate.
        iters: T, number of steps per annotated frame; 0: the parent network itself (-OS in Table 1).
        seed: of all random draws.
        device: where the network runs.
        tuning: settings of fine-tuning.
        snap: contour snapping, from a frame (3, H, W) and probabilities (K, H, W) to probabilities, see
            `methods.snapping`; None: off (-BS in Table 1).

    Source: Caelles et al., CVPR 2017, sections 3 and 4.
    """

    # Attributes and classes that a saved state holds, by these names: see inference/state_file.py.
    STATE = ("_objects", "_waiting", "_frame_size", "probabilities", "adapt_seconds")
    PARTS = (_Object, Sample, Tuning, Bilateral, Contours, GrabCut)

    @own_state()
    def __init__(
        self,
        learner: Learner,
        *,
        iters: int = 50,
        seed: int = 0,
        device: torch.device | str = "cpu",
        tuning: Tuning | None = None,
        snap: Snap | None = None,
    ) -> None:
        self.learner = learner.to(device)
        self.model: FCN = self.learner.network(build)
        self.iters, self.seed, self.tuning, self.snap = iters, seed, tuning or Tuning(), snap
        self.size = (self.model.network_spec.short, self.model.network_spec.long)
        self.adapt_seconds = 0.0
        self.probabilities = torch.zeros(0, 0, 0, dtype=torch.float32)
        self._objects: dict[int, _Object] = {}
        self._waiting: dict[int, list[Sample]] = {}  # of objects that do not exist yet
        self._frame_size: tuple[int, int] | None = None

    def settings(self) -> dict[str, Any]:
        """Return the arguments that it was built with, except learner and device."""
        return {name: getattr(self, name) for name in ("iters", "seed", "tuning", "snap")}

    @property
    def parameters_in_use(self) -> dict[int, Params]:
        """Fine-tuned parameters by object id."""
        return {object_id: obj.phi for object_id, obj in self._objects.items()}

    @own_state()
    def start(self, frame: Tensor, masks: dict[int, np.ndarray]) -> np.ndarray:
        height, width = frame.shape[-2:]
        self._objects, self._frame_size = {}, (height, width)
        self.probabilities = torch.zeros(0, height, width, dtype=torch.float32)
        return self.add(frame, masks)

    @own_state()
    def step(self, frame: Tensor) -> np.ndarray:
        check_frame(frame, self._frame_size)
        size = (int(frame.shape[-2]), int(frame.shape[-1]))
        image, _ = fit(frame, np.zeros((0, *size), bool), size=self.size)
        planes = [probability(self.model, obj.phi, image, size) for obj in self._objects.values()]
        self.probabilities = torch.stack(planes) if planes else torch.zeros(0, *size, dtype=torch.float32)
        if planes and self.snap is not None:
            self.probabilities = self.snap(frame, self.probabilities)
        return merge(self.probabilities, self.object_ids)

    @own_state()
    def new_video(self, size: tuple[int, int]) -> None:
        """Look for the same objects in another video with frames of `size` (H, W)."""
        self._frame_size, self.probabilities = size, torch.zeros(len(self._objects), *size, dtype=torch.float32)

    def _annotated(self, frame: Tensor, mask: np.ndarray, obj: _Object | None = None) -> Sample:
        return annotated_sample(frame, np.asarray(mask, bool), self.size)

    def _new_object(self, index: int, given: list[Sample]) -> _Object:
        return _Object(index, given, {})

    def _set_position(self, object_id: int, frame: Tensor, mask: np.ndarray) -> None:
        """Positions are not used: frames do not depend on one another."""

    def _fine_tune(self, obj: _Object) -> None:
        """Fine-tune from the parent network on all annotated frames of the object."""
        began, tuning = time.perf_counter(), self.tuning
        losses = self._losses(obj, began) if self.iters else ()
        clip = self.learner.rule("clip", tuning.clip, 1e5)
        total = self.iters * len(obj.given) if tuning.seconds is None else 0
        obj.phi = self._adapted(self.learner.theta, losses, total, momentum=tuning.momentum, clip=clip)
        self.adapt_seconds += time.perf_counter() - began

    def _losses(self, obj: _Object, began: float) -> Iterator[Loss]:
        """Yield the loss of each step, on transformed copies of the annotated frames in turn."""
        tuning, number, steps = self.tuning, 0, self.iters * len(obj.given)
        copies = transformed_copies(
            obj.given, size=self.size, zoom=tuning.zoom, flip=tuning.flip, seed=(self.seed, obj.index)
        )
        while number < steps if tuning.seconds is None else time.perf_counter() - began < tuning.seconds:
            copy, beta, _ = next(copies)
            yield loss_of(self.model, copy, beta=beta)
            number += 1
