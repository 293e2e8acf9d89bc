"""Tasks drawn from several tasksets by weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eosvos.data.tasks import IMAGE, SOURCE, TASK, Sample, Task, Taskset
from eosvos.errors import UserError
from eosvos.seeds import numpy_generator


class MixedTaskset:
    """Tasks from several tasksets; each draw chooses one of them by its weight.

    The choice depends on (seed, iteration, index) alone.

    Args:
        tasksets: the tasksets.
        weights: one for each taskset, 0 or more; they need not sum to 1.

    Raises:
        UserError: if the weights do not fit.
    """

    def __init__(self, tasksets: Sequence[Taskset], weights: Sequence[float]):
        if not tasksets or len(tasksets) != len(weights) or min(weights) < 0 or not 0 < sum(weights) < np.inf:
            raise UserError(
                f"{len(tasksets)} tasksets of weights {list(weights)}: none negative, one above 0 is expected"
            )
        self.tasksets, self.weights = list(tasksets), np.array(weights) / sum(weights)

    @property
    def window(self) -> float:
        """Sides of the samples' window in sides of the object's box, those of the first taskset."""
        return self.tasksets[0].window

    def content(self) -> Any:
        """Describe the data of all tasksets by plain values."""
        return [taskset.content() for taskset in self.tasksets]

    def task(self, seed: int, iteration: int, index: int) -> Task:
        """Draw a task from one of the tasksets; see `Taskset.task`."""
        return self.source(seed, "task", iteration, index).task(seed, iteration, index)

    def image(self, seed: int, iteration: int, index: int) -> Sample:
        """Draw an image from one of the tasksets; see `Taskset.image`."""
        return self.source(seed, "image", iteration, index).image(seed, iteration, index)

    def source(self, seed: int, kind: str, iteration: int, index: int) -> Taskset:
        """Return the taskset that a "task" or "image" (`kind`) comes from."""
        return self.taskset_for(seed, TASK if kind == "task" else IMAGE, iteration, index)

    def taskset_for(self, seed: int, *path: int) -> Taskset:
        """Return the taskset that the draw at `path` comes from."""
        return self.tasksets[numpy_generator(seed, *path, SOURCE).choice(len(self.tasksets), p=self.weights)]
