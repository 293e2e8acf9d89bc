"""Frame by frame, in a program of one's own: images in, id masks out."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Collection, Iterable, Mapping
from numbers import Integral
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from eosvos.data.masks import VOID
from eosvos.errors import UserError
from eosvos.inference import state_file
from eosvos.inference.inputs import Image, Masks, image_of, masks_of
from eosvos.inference.suggestion import uncertainty
from eosvos.meta.learner import Learner
from eosvos.methods.base import check_new
from eosvos.methods.baselines import CopyFirst, Flow
from eosvos.methods.eosvos.method import EOSVOS
from eosvos.methods.eosvos.settings import FineTuning, Online, Propagation, Windowing
from eosvos.methods.osmn.method import OSMN
from eosvos.methods.osvos.method import OSVOS
from eosvos.methods.protocol import Learning, Method
from eosvos.methods.snapping import GrabCut
from eosvos.torch_state import auto_device, own_state

_METHODS: dict[str, type[Any]] = {c.__name__: c for c in (EOSVOS, OSVOS, OSMN, Flow, CopyFirst)}


class Segmenter:
    """Segments a video or a camera's stream, one frame at a time; memory does not grow with its length.

    Args:
        method: that segments; by default e-OSVOS with the learner that ships, and with the settings that follow, each
            None for its default. They are of that method alone: another one has its own.
        iters: T, fine-tuning steps for each given mask; by default what the learner recommends
            (`Learner.recommended_iters`).
        ona: whether the method adapts online; by default not.
        seed: of every random draw; by default 0.
        device: "auto" is a GPU where CUDA finds one, else the CPU.
        fine_tuning, propagation, online, snapping, windowing: see their classes, in `methods.eosvos.settings` and
            `methods.snapping`.
        score: least score of a detection, in [0, 1]; by default the network's own.

    Raises:
        TypeError: for a setting that there is none of, or for settings beside a method.

    Frames: uint8 (H, W, 3) or (H, W) arrays, floating ones with values in [0, 1], or tensors (3, H, W), all RGB and of
    one size. Masks: an id mask (H, W) of integers, 0 being background and, in uint8, 255 unknown, but where there is
    nothing else, object 1; or a dict from id to mask (H, W), everything but 0 being the object. Ids are any positive
    integers below 2**31, at most 254 of them.
    Everything that is not so raises ValueError before anything is changed.

    The caller's torch state (grad mode, autocast, default device and dtype, random numbers) is neither used nor
    changed; several Segmenters may work in threads. The number of torch's threads is the caller's too, by default all
    cores: more than one rarely helps the small learner, and slows it several times beside other work, so that
    torch.set_num_threads(1) is a good choice on a CPU.

    Results: id masks (H, W), uint8, or int32 where an id does not fit.
    """

    def __init__(
        self,
        method: Method | None = None,
        *,
        iters: int | None = None,
        ona: bool | None = None,
        seed: int | None = None,
        device: torch.device | str | None = None,
        fine_tuning: FineTuning | None = None,
        propagation: Propagation | None = None,
        online: Online | None = None,
        snapping: GrabCut | None = None,
        windowing: Windowing | None = None,
        score: float | None = None,
        **unknown: NoReturn,
    ) -> None:
        settings: dict[str, Any] = {
            "iters": iters, "ona": ona, "seed": seed, "device": device, "fine_tuning": fine_tuning,
            "propagation": propagation, "online": online, "snapping": snapping, "windowing": windowing, "score": score,
        }  # fmt: skip
        _check_known("Segmenter", unknown, settings)
        settings = {name: value for name, value in settings.items() if value is not None}
        if method is not None and settings:
            raise TypeError(f"settings {', '.join(settings)} beside a method: give them to the method")
        self.method: Method = _shipped(**settings) if method is None else method
        self._ids: dict[int, int] = {}  # the user's -> the method's, 1 to 254
        self._new_video = False  # its first frame is the next one

    @property
    def object_ids(self) -> list[int]:
        """The ids of the objects, in the order in which they were given."""
        own = {inner: outer for outer, inner in self._ids.items()}
        return [own[i] for i in self.method.object_ids]

    @property
    def probabilities(self) -> Tensor:
        """Of the last frame: float32 (K, H, W), one plane for each of `object_ids`."""
        return self.method.probabilities

    @property
    def uncertainty(self) -> dict[int, float]:
        """Of each object's mask on the last frame, in [0, 1]: where it is high, a correction helps (see
        evaluation.suggestion, whose `suggest` chooses among frames)."""
        return dict(zip(self.object_ids, uncertainty(self.method.probabilities), strict=True))

    @own_state()
    def start(self, frame: Image, masks: Masks) -> np.ndarray:
        """Begin a video at `frame` with the masks of its objects: fine-tune on them; returns the id mask of the frame.

        What was learned of objects that are not there yet (`learn`) is used; a former video is forgotten. {} begins
        without objects, for `add` to bring them.
        """
        image = image_of(frame)
        given = masks_of(masks, image.shape[-2:])
        waiting = {outer: i for outer, i in self._ids.items() if i not in self.method.object_ids}
        ids = {**waiting, **self._named(given, waiting)}
        check_new({ids[i]: mask for i, mask in given.items()}, image)  # before a former video is forgotten
        self._ids = ids
        result = self.method.start(image, self._inner(given))
        self._new_video = False
        return self._outer(result)

    @own_state()
    def step(self, frame: Image) -> np.ndarray:
        """The id mask of the next frame."""
        return self._outer(self.method.step(self._image(frame)))

    @own_state()
    def add(self, frame: Image, masks: Masks) -> np.ndarray:
        """New objects, on the frame just stepped (give it again); returns its id mask, in which they win."""
        image = self._image(frame)
        given = masks_of(masks, image.shape[-2:])
        former, self._ids = self._ids, {**self._ids, **self._named(given, self._ids)}
        try:
            return self._outer(self.method.add(image, self._inner(given)))
        except ValueError:
            self._ids = former
            raise

    @own_state()
    def correct(self, frame: Image, masks: Masks) -> np.ndarray:
        """Better masks of known objects, on the frame just stepped; returns its id mask, in which they win.

        An id mask tells of the objects that it shows; an empty mask, in a dict, that the object is not here. The
        objects are fine-tuned again on all that they were given, where the method learns.
        """
        image = self._image(frame)
        given = masks_of(masks, image.shape[-2:])
        self._check_known(given)
        return self._outer(self.method.correct(image, self._inner(given)))

    @own_state()
    def show(self, frame: Image, masks: Masks) -> np.ndarray:
        """Masks of known objects on the frame just stepped, of which nothing is learned (now: they may have been, by
        `learn`); returns its id mask, in which they win."""
        if not isinstance(self.method, Learning):
            return self.correct(frame, masks)
        image = self._image(frame)
        given = masks_of(masks, image.shape[-2:])
        self._check_known(given)
        return self._outer(self.method.show(image, self._inner(given)))

    @own_state()
    def learn(self, frame: Image, masks: Masks) -> None:
        """Take the masks of objects on any frame of the video into the fine-tuning; nothing else changes.

        Before `start` (cheapest: objects are then fine-tuned once) or at any time after. Empty masks, in a dict, as in
        `correct`.
        """
        if not isinstance(self.method, Learning):
            raise ValueError(f"{type(self.method).__name__} learns nothing; use correct() on the frame just stepped")
        image = image_of(frame)
        given = masks_of(masks, image.shape[-2:])
        ids = {**self._ids, **self._named(given, self._ids)}
        self.method.learn(image, {ids[i]: mask for i, mask in given.items()})
        self._ids = ids

    def remove(self, ids: int | Iterable[int]) -> None:
        """Forget objects: they are no longer looked for, and their pixels are others' or background."""
        gone = [int(ids)] if isinstance(ids, Integral) else list(ids)  # type: ignore[arg-type]
        self._check_known(gone)
        self.method.remove([self._ids[i] for i in gone])
        self._ids = {outer: inner for outer, inner in self._ids.items() if outer not in gone}

    @own_state()
    def save(self, path: str | Path) -> None:
        """Write everything to one file, atomically: the fine-tuned objects, where they are, and the learner.

        Raises UserError where it cannot be written, ValueError for a method that cannot be saved.
        """
        kind = type(self.method)
        if _METHODS.get(kind.__name__) is not kind:
            raise ValueError(f"{kind.__name__} cannot be saved; {', '.join(_METHODS)} can")
        learner: Learner | None = getattr(self.method, "learner", None)
        content = {
            "method": kind.__name__,
            "settings": self.method.settings() if learner is not None else {},  # type: ignore[attr-defined]
            "learner": learner,
            "ids": self._ids,
            "new_video": self._new_video,
            "state": {name: getattr(self.method, name) for name in kind.STATE},
        }
        state_file.write(path, state_file.pack(content))

    @classmethod
    @own_state()
    def load(
        cls, path: str | Path, *, device: torch.device | str = "auto", new_video: bool = False, **settings: Any
    ) -> Segmenter:
        """Continue from a file of `save`: the next `step` gives what it would have given.

        new_video: its objects are to be found in another video, of any size: where they were is forgotten, and the next
        `step` takes its first frame. So a model of an object can be prepared beforehand (OSVOS, section 3.2: offline).
        device: as of `Segmenter`. settings: of the method, in place of those saved, `iters` for instance, for what is
        fine-tuned from now on. Executes no code. Raises UserError for a missing, damaged or foreign file, TypeError for
        a setting that the method does not have.
        """
        device = auto_device() if device == "auto" else torch.device(device)
        packed = state_file.read(path)
        try:
            kind = _METHODS[packed.tree["dict"][0][1]]
            classes = (Learner, *kind.PARTS)
            content = state_file.unpack(packed, classes, device)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise UserError(f"state {path}: not of this version ({error}); make it again") from error
        learner = content["learner"]
        _check_known(kind.__name__, settings, inspect.signature(kind).parameters)
        if learner is not None:
            method = kind(learner, device=device, **{**content["settings"], **settings})
        else:
            method = kind(**settings)
        for name, value in content["state"].items():
            setattr(method, name, value)
        loaded = cls(method)
        loaded._ids, loaded._new_video = content["ids"], content["new_video"] or new_video
        if loaded._new_video and not hasattr(method, "new_video"):
            raise UserError(f"state {path}: {kind.__name__} knows nothing of its objects but where they are")
        return loaded

    def _image(self, frame: Image) -> Tensor:
        """A frame of the video, the first one of a new video or not."""
        image = image_of(frame)
        if self._new_video:
            self.method.new_video((int(image.shape[-2]), int(image.shape[-1])))  # type: ignore[attr-defined]
            self._new_video = False
        return image

    def _named(self, masks: Iterable[int], known: Mapping[int, int]) -> dict[int, int]:
        """The method's ids for objects, as far as they are not known: their own where that is free."""
        new = [i for i in masks if i not in known]
        if len(known) + len(new) >= VOID:
            raise ValueError(f"{len(known) + len(new)} objects: at most {VOID - 1} can be segmented at once")
        taken = set(known.values()) | {i for i in new if i < VOID and i not in known.values()}
        free = (i for i in range(1, VOID) if i not in taken)
        return {i: i if i < VOID and i not in known.values() else next(free) for i in new}

    def _check_known(self, ids: Iterable[int]) -> None:
        for i in ids:
            if i not in self.object_ids:
                raise ValueError(f"object {i} is unknown; known are {self.object_ids}; use add() for new ones")

    def _inner(self, masks: Mapping[int, np.ndarray]) -> dict[int, np.ndarray]:
        return {self._ids[i]: mask for i, mask in masks.items()}

    def _outer(self, ids: np.ndarray) -> np.ndarray:
        if all(outer == inner for outer, inner in self._ids.items()):
            return ids
        table = np.zeros(VOID + 1, np.uint8 if max(self._ids) < VOID else np.int32)
        for outer, inner in self._ids.items():
            table[inner] = outer
        return table[ids]


def _shipped(*, iters: int | None = None, device: torch.device | str = "auto", **settings: Any) -> EOSVOS:
    """e-OSVOS with the learner that ships; settings: of `EOSVOS`."""
    learner = Learner.shipped()
    place = auto_device() if device == "auto" else torch.device(device)
    return EOSVOS(learner, iters=learner.recommended_iters if iters is None else iters, device=place, **settings)


def _check_known(whose: str, given: Iterable[str], known: Collection[str]) -> None:
    """Raise TypeError for a setting that is not known, with the nearest one that is."""
    known = [name for name in known if name != "learner"]
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known) or 'none'}"
            raise TypeError(f"{whose} has no setting {name!r}; {hint}")
