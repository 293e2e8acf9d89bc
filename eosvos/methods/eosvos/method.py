"""e-OSVOS: fine-tune on annotated frames, propagate boxes, adapt online (sections 3.2, 3.3 and 4.2 of the paper).

Every object has its own fine-tuned parameters; the network itself is shared.
"""

from __future__ import annotations

import copy
import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from eosvos import seeds
from eosvos.data.masks import box_of, merge
from eosvos.data.tasks import Sample
from eosvos.data.transforms import augment, fit
from eosvos.data.window import Rectangle, widened, window_about
from eosvos.meta.adapt import Adapted, Loss, Params, TailMean, adapt
from eosvos.meta.learner import FROM_LEARNER, Learner
from eosvos.methods.base import FineTunedMethod, Watch, check_frame
from eosvos.methods.eosvos.box_propagation import jittered_boxes
from eosvos.methods.eosvos.loss import inner_losses
from eosvos.methods.eosvos.online_adaptation import annotated_loss, joint_loss, past_sample, usable_past
from eosvos.methods.eosvos.settings import Detection, FineTuning, Online, Propagation, Windowing
from eosvos.methods.snapping import GrabCut
from eosvos.models.mask_rcnn import MaskRCNN, build
from eosvos.torch_state import own_state

_AT_ONCE = 16  # objects whose masks are snapped at a time, so that copies of all planes are not held


@dataclass(frozen=True)
class _Given:
    """An annotated frame, or the window of it that the network sees."""

    sample: Sample  # the window at network size
    source: Sample  # a wider window at up to twice that size; transformed copies of it stay sharp
    gain: float  # of snapping on this frame, see `GrabCut.gain`
    window: Rectangle | None = None  # of `sample` in `source`, in pixels


@dataclass
class _Object:
    """The state of one object in the video."""

    index: int  # seeds its random draws
    given: list[_Given]
    past: deque[Sample]  # predictions on past frames, at network size
    first: Params = field(default_factory=dict)  # parameters after fine-tuning on the annotated frames
    phi: Params = field(default_factory=dict)  # parameters in use
    box: Tensor | None = None  # (4,), where it was seen last, xyxy in frame pixels
    adaptations: int = 0
    sides: Tensor | None = None  # (2,), smoothed width and height of the box
    missed: int = 0  # frames since it was seen last
    window: Rectangle | None = None  # the part of the last frame that the network saw

    @property
    def snaps(self) -> bool:
        """Whether snapping improves its masks, judged on the annotated frames."""
        return sum(g.gain for g in self.given if not math.isnan(g.gain)) > 0


class EOSVOS(FineTunedMethod):
    """e-OSVOS: fine-tunes a Mask R-CNN per object; memory does not grow with the video. See `LearningMethod`.

    Args:
        learner: initialization theta, learning rates, and the spec of the network.
        iters: T, number of fine-tuning steps per annotated frame.
        ona: whether online adaptation is on (section 4.2).
        seed: of all random draws.
        device: where the network runs.
        fine_tuning: settings of fine-tuning.
        propagation: settings of box propagation.
        online: settings of online adaptation.
        snapping: of masks to the edges of the frame (docs/results/snapping.md), which the paper has not; band=0: off.
        windowing: settings of the window about the object.
        detection: counts of proposals and the like, where they are to differ from the learner's training.
        score: lowest score of a detection; None: as the learner was trained.

    Source: Meinhardt & Leal-Taixé, NeurIPS 2020, sections 3.2, 3.3 and 4.2.
    """

    # Attributes and classes that a saved state holds, by these names: see inference/state_file.py.
    STATE = ("_objects", "_waiting", "_frames", "_frame_size", "probabilities", "adapt_seconds")
    PARTS = (_Object, _Given, Sample, FineTuning, Propagation, Online, GrabCut, Windowing, Detection)

    @own_state()
    def __init__(
        self,
        learner: Learner,
        *,
        iters: int = 10,
        ona: bool = False,
        seed: int = 0,
        device: torch.device | str = "cpu",
        fine_tuning: FineTuning | None = None,
        propagation: Propagation | None = None,
        online: Online | None = None,
        snapping: GrabCut | None = None,
        windowing: Windowing | None = None,
        detection: Detection | None = None,
        score: float | None = None,
    ) -> None:
        self.score, self.propagation, self.detection = score, propagation or Propagation(), detection or Detection()
        learner.check_rates(iters or int(ona))
        self.learner = learner.to(device)
        changes = {name: value for name, value in {**vars(self.detection), "score": score}.items() if value is not None}
        self.model: MaskRCNN = self.learner.network(build, **changes)
        self.iters, self.ona, self.seed, self.device = iters, ona, seed, torch.device(device)
        self.fine_tuning, self.online = fine_tuning or FineTuning(), online or Online()
        self.snapping = (snapping or GrabCut()).for_cells(2 * self.model.network_spec.mask_roi)
        self.windowing = windowing or Windowing()
        window = FROM_LEARNER if self.windowing.size is None else self.windowing.size
        self.window = float(learner.rule("window", window, 0.0))
        self.clip: float | None = learner.rule("clip", self.fine_tuning.clip, 5.0)
        self.size = (self.model.network_spec.short, self.model.network_spec.long)
        self._objects: dict[int, _Object] = {}
        self._waiting: dict[int, list[_Given]] = {}  # of objects that do not exist yet
        self._online_start: dict[tuple[int, int], tuple[Params, Params, TailMean]] = {}  # see `_adapt_on_annotated`
        self._images: dict[torch.Size, Tensor] = {}  # see `_sample`
        self._frames = 0
        self._frame_size: tuple[int, ...] | None = None
        self.probabilities = torch.zeros(0, 0, 0, dtype=torch.float32)
        self.adapt_seconds = 0.0
        self.boxes: dict[int, list[float]] = {}  # detected in the last frame, by object id: xyxy in its pixels

    def settings(self) -> dict[str, Any]:
        """Return the arguments that it was built with, except learner and device."""
        names = ("iters", "ona", "seed", "fine_tuning", "propagation", "online", "snapping", "windowing", "detection")
        return {name: getattr(self, name) for name in (*names, "score")}

    @property
    def parameters_in_use(self) -> dict[int, Params]:
        """Fine-tuned parameters by object id."""
        return {object_id: obj.phi for object_id, obj in self._objects.items()}

    @own_state()
    def start(self, frame: Tensor, masks: dict[int, np.ndarray]) -> np.ndarray:
        self._online_start, self.boxes = {}, {}
        self._objects, self._frames, self._frame_size = {}, 0, tuple(frame.shape[-2:])
        self.probabilities = torch.zeros(0, *self._frame_size, dtype=torch.float32)
        return self.add(frame, masks)

    @own_state()
    def step(self, frame: Tensor) -> np.ndarray:
        check_frame(frame, self._frame_size)
        self._frames += 1
        if self.ona and self._frames > 1 and (self._frames - 1) % self.online.every == 0:
            for obj in self._objects.values():
                self._adapt_online(obj)
        probabilities = torch.zeros(len(self._objects), *frame.shape[-2:], dtype=torch.float32)
        self.boxes = {}
        for plane, (object_id, obj) in zip(probabilities, self._objects.items(), strict=True):
            plane.copy_(self._segment(obj, frame, object_id))
        # The boxes for the next frame are those of the network's masks, so that a wrong cut does not spread.
        seen = merge(probabilities, self.object_ids)
        for object_id, obj in self._objects.items():
            self._update_box(obj, box_of(seen == object_id))
        snapped = [k for k, obj in enumerate(self._objects.values()) if obj.snaps or not self.snapping.trial]
        for part in (snapped[k : k + _AT_ONCE] for k in range(0, len(snapped), _AT_ONCE)):
            probabilities[part] = self.snapping(frame, probabilities[part])
        self.probabilities = probabilities
        if self.ona:
            for obj, plane in zip(self._objects.values(), self.probabilities, strict=True):
                self._remember(obj, frame, plane)
        return merge(self.probabilities, self.object_ids)

    @own_state()
    def new_video(self, size: tuple[int, int]) -> None:
        """Look for the same objects in another video with frames of `size` (H, W); forget where they were."""
        self._frames, self._frame_size = 0, size
        self.probabilities = torch.zeros(len(self._objects), *size, dtype=torch.float32)
        for obj in self._objects.values():
            obj.box, obj.phi, obj.adaptations = None, obj.first, 0
            obj.sides, obj.missed, obj.window = None, 0, None
            obj.past.clear()

    def _new_object(self, index: int, given: list[_Given]) -> _Object:
        return _Object(index, given, deque(maxlen=self._memory_length()))

    def _set_position(self, object_id: int, frame: Tensor, mask: np.ndarray) -> None:
        obj, box = self._objects[object_id], box_of(mask)
        self._update_box(obj, box, sure=True)
        if obj.past:  # its last entry is the prediction on this frame
            obj.past[-1] = self._sample(frame, mask, self.size, self._window_of(obj, frame))

    def _update_box(self, obj: _Object, box: Tensor | None, sure: bool = False) -> None:
        """Update the object's box and the smoothed size of its window.

        box: None if it was not found. sure: the box is that of a given mask; the size is then not smoothed.
        """
        if box is None:
            obj.missed += 1
            return
        sides = box[2:] - box[:2]
        if obj.sides is None or sure:
            obj.sides = sides
        else:
            obj.sides = obj.sides + self.windowing.ease * (sides - obj.sides)
        obj.box, obj.missed = box, 0

    def _window_of(self, obj: _Object, frame: Tensor) -> Rectangle:
        """Return the window of a frame that the network is to see: about the object's last box, or the whole frame."""
        size = (int(frame.shape[-2]), int(frame.shape[-1]))
        if obj.box is None or obj.sides is None:
            return window_about((0, 0, 0, 0), size, self.size, 0)
        middle = (obj.box[:2] + obj.box[2:]) / 2
        box = torch.cat([middle - obj.sides / 2, middle + obj.sides / 2])
        return window_about(box.tolist(), size, self.size, self.window * self.windowing.widen**obj.missed)

    def _annotated(self, frame: Tensor, mask: np.ndarray, obj: _Object | None = None) -> _Given:
        size, (short, long) = (int(frame.shape[-2]), int(frame.shape[-1])), self.size
        box = box_of(mask)
        if box is not None:
            window = window_about(box.tolist(), size, self.size, self.window)
        else:  # the object is not here: train on where it would be looked for
            window = self._window_of(obj or _Object(0, [], deque()), frame)
        x0, y0, x1, y1 = around = widened(window, size, 2)
        scale = min(2.0, max(1.0, (min(window[2] - window[0], window[3] - window[1])) / short))
        grown = scale * max((x1 - x0) / (window[2] - window[0]), (y1 - y0) / (window[3] - window[1]))
        source = self._sample(frame, mask, (round(short * grown), round(long * grown)), around)
        across, down = source.image.shape[-1] / (x1 - x0), source.image.shape[-2] / (y1 - y0)
        left, right = (round((x - x0) * across) for x in (window[0], window[2]))
        top, bottom = (round((y - y0) * down) for y in (window[1], window[3]))
        gain = self.snapping.gain(frame, mask) if self.snapping.share and self.snapping.trial else math.nan
        return _Given(self._sample(frame, mask, self.size, window), source, gain, (left, top, right, bottom))

    def _sample(self, frame: Tensor, mask: np.ndarray, size: tuple[int, int], window: Rectangle) -> Sample:
        """Build a sample from a window of a frame; objects annotated on the same frame share its image."""
        image, masks = _crop(frame, np.asarray(mask, bool)[None], size, window)
        last = self._images.get(image.shape)
        if last is None or not torch.equal(last, image):
            last = self._images[image.shape] = image
        return Sample(last, masks)

    def _fine_tune(self, obj: _Object) -> None:
        """Fine-tune from theta_0: T steps per annotated frame, on transformed copies of these in turn (section 3.2)."""
        began = time.perf_counter()
        settings, path = self.fine_tuning, (self.seed, obj.index, len(obj.given))
        steps, samples = self.iters * len(obj.given), []
        for k in range(steps * settings.batch):
            given = obj.given[k % len(obj.given)]
            if not settings.spatial:
                samples.append(given.sample)
                continue
            image, masks, generator = given.source.image, given.source.masks, seeds.generator(*path, 1, k)
            options: dict[str, Any] = {"size": self.size, "colour": settings.colour, "window": given.window}
            options |= {"scale": settings.zoom, "rotation": settings.rotation, "translation": settings.translation}
            samples.append(Sample(*augment(image, masks, generator, **options)))
        # Eq. 1: fine-tuning on the annotated frames, by the steps of eq. 5.
        losses = inner_losses(self.model, samples, steps, settings.batch, (*path, 2)) if steps else []
        mean = TailMean(steps, settings.average)
        obj.first = obj.phi = mean.of(self._adapt(self.learner.theta, losses, mean, tell=self._report_step))
        self.adapt_seconds += time.perf_counter() - began

    def _adapt(
        self, base: Params, losses: Sequence[Loss], mean: TailMean, *, done: int = 0, tell: Watch | None = None
    ) -> Params:
        """Make one step per loss, from `base`; `mean` averages the parameters and has counted `done` steps before."""

        def after(count: int, adapted: Adapted) -> None:
            mean(done + count, adapted)
            if tell is not None:
                tell(count, len(losses), adapted.losses[-1])

        return adapt(base, self.learner.rates, losses, clip=self.clip, after=after).phi

    @torch.no_grad()
    def _segment(self, obj: _Object, frame: Tensor, object_id: int) -> Tensor:
        """Segment one object in a frame (3, H, W) and return its probabilities, float32 (H, W) on the CPU."""
        if self.model.training:
            self.model.eval()
        x0, y0, x1, y1 = obj.window = self._window_of(obj, frame)
        image, _ = _crop(frame, np.zeros((0, *frame.shape[-2:]), bool), self.size, obj.window)
        settings, last_box = self.propagation, None
        options: dict[str, Any] = {"box_voting_iou": settings.voting}
        if obj.box is not None:
            scale = obj.box.new_tensor([image.shape[-1] / (x1 - x0), image.shape[-2] / (y1 - y0)]).repeat(2)
            last_box = ((obj.box - obj.box.new_tensor([x0, y0, x0, y0])) * scale).to(self.device)
            options |= {"previous": [last_box], "iou_prior_weight": settings.continuity}
        if last_box is not None and settings.boxes:
            generator = seeds.generator(self.seed, obj.index, 3, self._frames)
            jittered = jittered_boxes(last_box.cpu(), image.shape[-2:], settings, generator)
            options["proposals"] = [jittered.to(self.device)]
        options["output_sizes"] = [(y1 - y0, x1 - x0)]
        detections = functional_call(self.model, obj.phi, [image.to(self.device)], options, tie_weights=False)[0]
        plane = torch.zeros(frame.shape[-2:], dtype=torch.float32)
        least = self.windowing.return_score if self.window and obj.missed else 0.0
        if len(detections["scores"]) and float(detections["scores"][0]) >= least:
            plane[y0:y1, x0:x1] = detections["masks"][0, 0].cpu()
            self.boxes[object_id] = (detections["boxes"][0].cpu() + torch.tensor([x0, y0, x0, y0])).tolist()
        return plane

    def _memory_length(self) -> int:
        return max(1, self.online.skip + self.online.past * self.online.stride)

    def _remember(self, obj: _Object, frame: Tensor, plane: Tensor) -> None:
        """Keep a prediction, float32 (H, W), as a sample for online adaptation."""
        assert obj.window is not None
        x0, y0, x1, y1 = obj.window
        image, _ = _crop(frame, np.zeros((0, *frame.shape[-2:]), bool), self.size, obj.window)
        obj.past.append(past_sample(image, plane[y0:y1, x0:x1], self.online))

    def _adapt_online(self, obj: _Object) -> None:
        """Make T_OnA steps on annotated frames and past predictions, from the first-frame state (section 4.2)."""
        began = time.perf_counter()
        settings = self.online
        obj.adaptations += 1
        past = usable_past(obj.past, settings)
        alone = settings.steps - (min(settings.joining, settings.steps) if past else 0)
        phi, mean = self._adapt_on_annotated(obj, alone)
        annotated, path = [given.sample for given in obj.given], self._online_path(obj)
        losses = [
            joint_loss(self.model, annotated, past, settings, path, obj.adaptations, t)
            for t in range(alone, settings.steps)
        ]
        obj.phi = mean.of(self._adapt(phi, losses, mean, done=alone))
        self.adapt_seconds += time.perf_counter() - began

    def _adapt_on_annotated(self, obj: _Object, count: int) -> tuple[Params, TailMean]:
        """Make the first `count` steps of an online adaptation, on annotated frames alone; cached with `reset`."""
        base = obj.first if self.online.reset else obj.phi
        known = self._online_start.get((obj.index, count))
        if known is None or known[0] is not base:
            mean = TailMean(self.online.steps, self.fine_tuning.average)
            annotated, path = [given.sample for given in obj.given], self._online_path(obj)
            losses = [annotated_loss(self.model, annotated, path, t) for t in range(count)]
            known = base, self._adapt(base, losses, mean), mean
            if self.online.reset:
                present = {other.index for other in self._objects.values()}  # the others were removed
                self._online_start = {key: kept for key, kept in self._online_start.items() if key[0] in present}
                self._online_start[obj.index, count] = known
        return known[1], copy.deepcopy(known[2])

    def _online_path(self, obj: _Object) -> tuple[int, ...]:
        return self.seed, obj.index, 4


def _crop(frame: Tensor, masks: np.ndarray, size: tuple[int, int], window: Rectangle) -> tuple[Tensor, Tensor]:
    """Crop a window of a frame (3, H, W) and of masks bool (N, H, W), and resize it to network size."""
    x0, y0, x1, y1 = window
    return fit(frame[:, y0:y1, x0:x1], masks[:, y0:y1, x0:x1], size=size)
