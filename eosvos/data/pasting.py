"""Objects pasted into the images of tasks, so that a task cannot be solved without fine-tuning.

In most annotated videos and images the object is the most salient one, and a network finds it without having been shown
it. With objects of the same video, another video or a still image beside it, only the train frame says which one is
meant. As data augmentation: Ghiasi et al., Simple Copy-Paste, CVPR 2021.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from eosvos.data.masks import VOID, box_of, ids_of
from eosvos.data.mixed_tasks import MixedTaskset
from eosvos.data.tasks import ObjectFrame, Sample, Task, TaskFrames, Taskset
from eosvos.seeds import numpy_generator

_PASTE, _DONOR = 15, 16  # first parts of the paths of the draws here; see data.tasks
_TRIES = 6
_COVERED = 0.4  # share of the object that a pasted one may hide


@dataclass
class Pasting:
    """Settings of pasting.

    Attributes:
        share: share of the tasks and images that get pasted objects.
        most: largest number of objects pasted into one.
        swap: share of those tasks whose object becomes a pasted one.
        scale: smallest and largest size (square root of the area) of a pasted object, in sizes of the image's own
            object.
        light: brightness and contrast of a pasted object change by up to this share.
    """

    share: float = 0.6
    most: int = 2
    swap: float = 0.3
    scale: tuple[float, float] = (0.5, 1.8)
    light: float = 0.25


@dataclass(frozen=True)
class _Placement:
    """Where an object is pasted, the same in all frames of a task but for a small shift from frame to frame.

    Attributes:
        angle: direction from the centre of the image's own object, in radians.
        away: distance from it, in sizes of that object.
        size: size of the pasted object, in sizes of that object.
        flipped: whether the pasted object is mirrored.
        behind: whether the image's own object occludes it.
        gain: factor of its brightness.
        lift: added brightness, as a share of 255.
    """

    angle: float
    away: float
    size: float
    flipped: bool
    behind: bool
    gain: float
    lift: float


class PastedTasks:
    """The tasks and images of a taskset, with objects of its other tasks pasted into them.

    All draws follow from (seed, iteration, index), as in the taskset itself. The methods are those of `Taskset`.

    Args:
        tasks: the taskset.
        pasting: the settings.
    """

    def __init__(self, tasks: Taskset | MixedTaskset, pasting: Pasting) -> None:
        self.tasks, self.pasting = tasks, pasting

    @property
    def window(self) -> float:
        """Sides of the samples' window in sides of the object's box; 0: whole frames."""
        return self.tasks.window

    def content(self) -> Any:
        """Describe the data by plain values; see `Taskset.content`."""
        return self.tasks.content()

    def taskset_for(self, seed: int, *path: int) -> Taskset:
        """Return the taskset that the draw at `path` comes from."""
        return self.tasks.taskset_for(seed, *path)

    def task(self, seed: int, iteration: int, index: int) -> Task:
        """Draw a task with pasted objects; see `Taskset.task`."""
        taskset = self.tasks.source(seed, "task", iteration, index)
        return taskset.build(self.draw_task(seed, iteration, index), seed, iteration, index)

    def draw_task(self, seed: int, iteration: int, index: int) -> TaskFrames:
        """Draw the frames of `task` without transforming them."""
        drawn = self.tasks.source(seed, "task", iteration, index).draw_task(seed, iteration, index)
        return self._pasted(drawn, seed, iteration, index, single=True)

    def image(self, seed: int, iteration: int, index: int) -> Sample:
        """Draw an image with pasted objects, all of them instances; see `Taskset.image`."""
        taskset = self.tasks.source(seed, "image", iteration, index)
        drawn = taskset.draw_image(seed, iteration, index)
        pasted = self._pasted(drawn, seed, iteration, index, single=False)
        return taskset.build_image(pasted, seed, iteration, index)

    def _pasted(self, drawn: TaskFrames, seed: int, iteration: int, index: int, *, single: bool) -> TaskFrames:
        draws, settings = numpy_generator(seed, _PASTE, iteration, index, int(single)), self.pasting
        if draws.random() >= settings.share:
            return drawn
        object_id, frames = drawn.object_id, drawn.frames
        for number in range(int(draws.integers(1, settings.most + 1))):
            # The path of another task: no training reaches so far, so it is none of those that are learned from.
            path = (iteration, _DONOR * 1000 + index * 10 + number)
            source = self.tasks.source(seed, "task", *path)
            donor = source.draw_task(seed, *path) if single else source.draw_image(seed, *path)
            taken = {i for frame in frames for i in ids_of(frame.mask)}
            new = next((i for i in range(1, VOID) if i not in taken), None)
            if new is None:
                break
            placement = _placement(draws, settings)
            pasted = [
                paste(
                    frame, drawn.object_id, donor.frames[k % len(donor.frames)], donor.object_id, new, placement, draws
                )
                for k, frame in enumerate(frames)
            ]
            # An object that is visible in some of the task's frames only could not be learned from them.
            if all(frame is not None for frame in pasted):
                frames = [frame for frame in pasted if frame is not None]
                if single and draws.random() < settings.swap:
                    object_id = new
        if any(not np.any(frame.mask == object_id) for frame in frames):
            object_id = drawn.object_id
        return TaskFrames(drawn.name, object_id, frames)


def _placement(draws: np.random.Generator, settings: Pasting) -> _Placement:
    low, high = map(math.log, settings.scale)
    return _Placement(
        angle=draws.uniform(0, 2 * math.pi),
        away=draws.uniform(0.5, 1.6),
        size=math.exp(draws.uniform(low, high)),
        flipped=draws.random() < 0.5,
        behind=draws.random() < 0.5,
        gain=1 + draws.uniform(-settings.light, settings.light),
        lift=draws.uniform(-settings.light, settings.light) / 2,
    )


def paste(
    frame: ObjectFrame,
    object_id: int,
    donor: ObjectFrame,
    donor_id: int,
    new: int,
    placement: _Placement,
    draws: np.random.Generator,
) -> ObjectFrame | None:
    """Paste an object of one frame into another, with soft edges.

    Args:
        frame: the frame to paste into.
        object_id: its own object, beside which the pasted one is placed.
        donor: the frame that shows the object to paste.
        donor_id: id of that object in `donor`.
        new: id that it gets in `frame`.
        placement: where to paste it.
        draws: generator of the shifts.

    Returns:
        The changed frame, or None if no place was found where enough of both objects is visible.
    """
    here, mask = frame.mask == object_id, donor.mask == donor_id
    own = box_of(here)
    box = box_of(mask)
    if own is None or box is None:
        return None
    x0, y0, x1, y1 = (int(v) for v in box)
    mask, pixels = mask[y0:y1, x0:x1], donor.image[y0:y1, x0:x1]
    height, width = frame.mask.shape
    size = math.sqrt(np.count_nonzero(here))
    scale = placement.size * size / math.sqrt(np.count_nonzero(mask))
    scale = min(scale, 0.9 * height / mask.shape[0], 0.9 * width / mask.shape[1])
    shape = (max(2, round(mask.shape[1] * scale)), max(2, round(mask.shape[0] * scale)))  # width, height
    soft = cv2.resize(mask.astype(np.float32), shape, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    soft = cv2.GaussianBlur(soft, (0, 0), 0.8)
    part = cv2.resize(pixels, shape, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    if placement.flipped:
        soft, part = soft[:, ::-1], part[:, ::-1]
    part = np.clip(part.astype(np.float32) * placement.gain + 255 * placement.lift, 0, 255)
    middle = ((own[:2] + own[2:]) / 2).numpy()
    for attempt in range(_TRIES):
        angle = placement.angle + draws.normal(0, 0.25 + 0.5 * attempt)
        away = size * (placement.away + draws.normal(0, 0.15))
        at = middle + away * np.array([math.cos(angle), math.sin(angle)]) - np.array(shape) / 2
        left, top = (round(float(v)) for v in at)
        (a, b), (c, d) = _overlap(left, shape[0], width), _overlap(top, shape[1], height)
        if a >= b or c >= d:
            continue
        alpha = np.zeros((height, width), np.float32)
        alpha[c:d, a:b] = soft[c - top : d - top, a - left : b - left]
        if placement.behind:
            alpha[here] = 0
        new_mask = alpha >= 0.5
        visible = np.count_nonzero(new_mask) >= 0.5 * np.count_nonzero(soft >= 0.5)
        if not visible or np.count_nonzero(new_mask & here) > _COVERED * np.count_nonzero(here):
            continue
        image, ids = frame.image.astype(np.float32), frame.mask.copy()
        image[c:d, a:b] += alpha[c:d, a:b, None] * (part[c - top : d - top, a - left : b - left] - image[c:d, a:b])
        ids[new_mask] = new
        return ObjectFrame(image.astype(np.uint8), ids, frame.frame_index)
    return None


def _overlap(start: int, length: int, limit: int) -> tuple[int, int]:
    return max(start, 0), min(start + length, limit)
