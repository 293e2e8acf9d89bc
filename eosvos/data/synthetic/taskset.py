"""Endless training tasks from synthetic videos."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from eosvos.data.sequence import VideoSequence
from eosvos.data.synthetic.videos import make_sequence
from eosvos.data.tasks import SCENE, Taskset
from eosvos.errors import UserError
from eosvos.seeds import derive, numpy_generator


class SyntheticTaskset(Taskset):
    """Endless tasks from `make_sequence`.

    Args:
        render: height and width of the scenes before the transform: a quarter more than the default network's 128x224,
            because the transform enlarges by up to a quarter. Rendering is nearly all the cost of a task.
        length: frames of a scene, of which about two are drawn.
        reuse: so many consecutive iterations draw, each anew, from the same scene per index; planning and painting a
            scene costs as much as ten more frames of it.
        settings: those of `Taskset`.
    """

    def __init__(
        self,
        *,
        length: int = 24,
        render: tuple[int, int] = (160, 280),
        reuse: int = 4,
        search: int = 4,
        **settings: Any,
    ):
        if reuse < 1:
            raise UserError(f"reuse={reuse}: a scene is used in at least 1 iteration")
        super().__init__(self._scenes, search=search, **settings)
        self.length, self.render, self.reuse = length, render, reuse

    def _scenes(self, seed: int, kind: int, iteration: int, index: int) -> Iterator[tuple[VideoSequence, int]]:
        """Iterate over the objects of a scene in random order, then over those of other scenes."""
        draws = numpy_generator(seed, kind, iteration, index, SCENE)
        scene_seed = derive(seed, kind, iteration // self.reuse, index, SCENE)
        for attempt in range(20):
            scene = _scene(scene_seed, attempt, self.render, self.length)
            for object_id in draws.permutation(sorted(scene.first_frame)):
                yield scene, int(object_id)


@lru_cache(maxsize=16)
def _scene(seed: int, attempt: int, size: tuple[int, int], length: int) -> VideoSequence:
    """Scenes of this process's latest draws, with what they have painted."""
    return make_sequence(seed, attempt, size=size, length=length)
