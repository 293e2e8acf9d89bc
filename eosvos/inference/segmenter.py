"""The Python interface for videos and camera streams: images in, id masks out, frame by frame."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from numbers import Integral
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from eosvos.data.masks import VOID
from eosvos.errors import UserError
from eosvos.inference import state_file
from eosvos.inference.inputs import Image, Masks, check_settings, image_of, masks_of
from eosvos.inference.suggestion import uncertainty
from eosvos.learners.published import open_learner
from eosvos.meta.learner import Learner
from eosvos.methods.base import check_new
from eosvos.methods.baselines import CopyFirst, Flow
from eosvos.methods.eosvos.method import EOSVOS
from eosvos.methods.eosvos.settings import Detection, FineTuning, Online, Propagation, Windowing
from eosvos.methods.osmn.method import OSMN
from eosvos.methods.osvos.method import OSVOS
from eosvos.methods.protocol import LearningMethod, Method
from eosvos.methods.snapping import GrabCut
from eosvos.torch_state import auto_device, own_state

_METHODS: dict[str, type[Any]] = {c.__name__: c for c in (EOSVOS, OSVOS, OSMN, Flow, CopyFirst)}


class Segmenter:
    """Segments a video or a camera's stream, one frame at a time; memory does not grow with its length.

    Args:
        method: that segments; by default e-OSVOS with the learner that ships, and with the settings that follow, each
            None for its default. They are of that method alone: another one has its own.
        learner: of e-OSVOS: a learner, its path or that of a published Mask R-CNN (`learners.published.open_learner`),
            or the name of one that ships.
        learner_rate: above 0, the learning rate of all parameters of a learner that has none.
        iters: T, fine-tuning steps for each given mask; by default the learner's `recommended_iters`.
        ona: whether the method adapts online; by default not.
        seed: of every random draw; by default 0.
        device: "auto" is a GPU where CUDA finds one, else the CPU.
        fine_tuning, propagation, online, snapping, windowing, detection: see their classes, in
            `methods.eosvos.settings` and `methods.snapping`.
        score: least score of a detection, in [0, 1]; by default the network's own.

    Raises:
        TypeError: for a setting that there is none of, or for settings beside a method.
        UserError: for a learner that cannot be read or is of another method, and for fine-tuning without a rate.

    All methods take and return these; anything else raises ValueError before anything is changed:

    - a frame is an array (H, W, 3) or (H, W), uint8 or floating in [0, 1], or a tensor (3, H, W); RGB, all of one size;
    - masks are an id mask, integer (H, W): 0 is background and, in uint8, 255 unknown (object 1 if there is no other
      value); or a dict from object id to mask (H, W), in which all but 0 is the object. Ids are positive integers below
      2**31, at most 254 of them;
    - results are id masks (H, W), uint8, or int32 if an id does not fit.

    The caller's torch state (grad mode, autocast, default device and dtype, random numbers) is neither used nor
    changed; several Segmenters may work in threads. The number of torch's threads is the caller's: on a CPU,
    torch.set_num_threads(1) is a good choice for the small learner, which more threads rarely speed up.
    """

    def __init__(
        self,
        method: Method | None = None,
        *,
        learner: Learner | str | Path | None = None,
        learner_rate: float | None = None,
        iters: int | None = None,
        ona: bool | None = None,
        seed: int | None = None,
        device: torch.device | str | None = None,
        fine_tuning: FineTuning | None = None,
        propagation: Propagation | None = None,
        online: Online | None = None,
        snapping: GrabCut | None = None,
        windowing: Windowing | None = None,
        detection: Detection | None = None,
        score: float | None = None,
        **unknown: NoReturn,
    ) -> None:
        settings: dict[str, Any] = {
            "learner": learner,
            "learner_rate": learner_rate,
            "iters": iters,
            "ona": ona,
            "seed": seed,
            "device": device,
            "fine_tuning": fine_tuning,
            "propagation": propagation,
            "online": online,
            "snapping": snapping,
            "windowing": windowing,
            "detection": detection,
            "score": score,
        }
        check_settings("Segmenter", unknown, settings)
        settings = {name: value for name, value in settings.items() if value is not None}
        if method is not None and settings:
            raise TypeError(f"settings {', '.join(settings)} beside a method: give them to the method")
        self.method: Method = _eosvos(**settings) if method is None else method
        self._ids: dict[int, int] = {}  # the method's id (1 to 254) by the user's id
        self._new_video = False  # whether the next frame is the first one of another video

    @property
    def object_ids(self) -> list[int]:
        """Object ids in the order in which the objects were given."""
        own = {method_id: user_id for user_id, method_id in self._ids.items()}
        return [own[i] for i in self.method.object_ids]

    @property
    def probabilities(self) -> Tensor:
        """Probabilities on the last frame: float32 (K, H, W), one plane for each of `object_ids`."""
        return self.method.probabilities

    @property
    def uncertainty(self) -> dict[int, float]:
        """Uncertainty of each object's mask on the last frame, in [0, 1], by object id; see inference/suggestion.py.

        A correction helps where it is high; `eosvos.suggest` chooses among frames.
        """
        return dict(zip(self.object_ids, uncertainty(self.method.probabilities), strict=True))

    @own_state()
    def start(self, frame: Image, masks: Masks) -> np.ndarray:
        """Begin a video: fine-tune on the masks of its objects. A former video is forgotten.

        Annotated frames that `learn` was given before of objects that are new now are used.

        Args:
            frame: the first frame.
            masks: the objects' masks on it; {} begins without objects, which `add` can bring later.

        Returns:
            The id mask of the frame.
        """
        image = image_of(frame)
        given = masks_of(masks, image.shape[-2:])
        waiting = {user_id: i for user_id, i in self._ids.items() if i not in self.method.object_ids}
        ids = {**waiting, **self._new_method_ids(given, waiting)}
        check_new({ids[i]: mask for i, mask in given.items()}, image)  # before a former video is forgotten
        self._ids = ids
        result = self.method.start(image, self._to_method_ids(given))
        self._new_video = False
        return self._to_user_ids(result)

    @own_state()
    def step(self, frame: Image) -> np.ndarray:
        """Segment the next frame and return its id mask."""
        return self._to_user_ids(self.method.step(self._image(frame)))

    @own_state()
    def add(self, frame: Image, masks: Masks) -> np.ndarray:
        """Add new objects.

        Args:
            frame: the frame that was segmented last.
            masks: masks of the new objects on it; they override predictions.

        Returns:
            The id mask of the frame.
        """
        image = self._image(frame)
        given = masks_of(masks, image.shape[-2:])
        former, self._ids = self._ids, {**self._ids, **self._new_method_ids(given, self._ids)}
        try:
            return self._to_user_ids(self.method.add(image, self._to_method_ids(given)))
        except ValueError:
            self._ids = former
            raise

    @own_state()
    def correct(self, frame: Image, masks: Masks) -> np.ndarray:
        """Replace masks of known objects, and fine-tune these objects again on all of their annotated frames.

        Args:
            frame: the frame that was segmented last.
            masks: an id mask, which corrects the objects that it shows; or a dict, in which an empty mask means that
                the object is not in the frame.

        Returns:
            The id mask of the frame.
        """
        image = self._image(frame)
        given = masks_of(masks, image.shape[-2:])
        self._check_known(given)
        return self._to_user_ids(self.method.correct(image, self._to_method_ids(given)))

    @own_state()
    def show(self, frame: Image, masks: Masks) -> np.ndarray:
        """Replace masks of known objects without fine-tuning on them; otherwise as `correct`."""
        if not isinstance(self.method, LearningMethod):
            return self.correct(frame, masks)
        image = self._image(frame)
        given = masks_of(masks, image.shape[-2:])
        self._check_known(given)
        return self._to_user_ids(self.method.show(image, self._to_method_ids(given)))

    @own_state()
    def learn(self, frame: Image, masks: Masks) -> None:
        """Fine-tune on a further annotated frame; the results so far do not change.

        It is cheapest before `start`: objects are then fine-tuned once, on all of their annotated frames.

        Args:
            frame: any frame of the video.
            masks: as in `correct`; also of objects that do not exist yet.
        """
        if not isinstance(self.method, LearningMethod):
            raise ValueError(f"{type(self.method).__name__} learns nothing; use correct() on the frame just stepped")
        image = image_of(frame)
        given = masks_of(masks, image.shape[-2:])
        ids = {**self._ids, **self._new_method_ids(given, self._ids)}
        self.method.learn(image, {ids[i]: mask for i, mask in given.items()})
        self._ids = ids

    def remove(self, ids: int | Iterable[int]) -> None:
        """Stop segmenting objects; the results of the others do not change. Raises ValueError for an unknown one."""
        gone = [int(ids)] if isinstance(ids, Integral) else list(ids)  # type: ignore[arg-type]
        self._check_known(gone)
        self.method.remove([self._ids[i] for i in gone])
        self._ids = {user_id: method_id for user_id, method_id in self._ids.items() if user_id not in gone}

    @own_state()
    def save(self, path: str | Path) -> None:
        """Write the whole state to one file, atomically: fine-tuned objects, their positions, and the learner.

        Raises:
            UserError: if the file cannot be written.
            ValueError: if the method cannot be saved.
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
        """Continue from a file of `save`: the next `step` gives the same result as without saving. Executes no code.

        Args:
            path: the file.
            device: as of `Segmenter`.
            new_video: whether to look for the objects in another video, of any size: their positions are forgotten,
                and the next `step` takes its first frame. So objects can be trained on beforehand (OSVOS, section 3.2).
            settings: settings of the method that replace the saved ones, for example iters, for later fine-tuning.

        Raises:
            UserError: if the file is missing, damaged or of another kind.
            TypeError: for a setting that the method does not have.
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
        check_settings(
            kind.__name__, settings, [name for name in inspect.signature(kind).parameters if name != "learner"]
        )
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
        """Convert a frame of the video, which may be the first one of a new video."""
        image = image_of(frame)
        if self._new_video:
            self.method.new_video((int(image.shape[-2]), int(image.shape[-1])))  # type: ignore[attr-defined]
            self._new_video = False
        return image

    def _new_method_ids(self, masks: Iterable[int], known: Mapping[int, int]) -> dict[int, int]:
        """Choose the method's ids of new objects, by user id: the same one if it is free."""
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

    def _to_method_ids(self, masks: Mapping[int, np.ndarray]) -> dict[int, np.ndarray]:
        return {self._ids[i]: mask for i, mask in masks.items()}

    def _to_user_ids(self, ids: np.ndarray) -> np.ndarray:
        if all(user_id == method_id for user_id, method_id in self._ids.items()):
            return ids
        table = np.zeros(VOID + 1, np.uint8 if max(self._ids) < VOID else np.int32)
        for user_id, method_id in self._ids.items():
            table[method_id] = user_id
        return table[ids]


def _eosvos(
    *,
    learner: Learner | str | Path | None = None,
    learner_rate: float | None = None,
    iters: int | None = None,
    device: torch.device | str = "auto",
    **settings: Any,
) -> EOSVOS:
    """e-OSVOS with a learner, by default the one that ships; settings: of `EOSVOS`."""
    used = open_learner(learner, learner_rate)
    if (network := used.spec.get("network", "mask_rcnn")) != "mask_rcnn":
        raise UserError(f"learner={learner}: is of {network}; expected one of e-OSVOS, or a method made with it")
    steps = used.recommended_iters if iters is None else iters
    used.check_rates(steps, "" if isinstance(learner, Learner) else learner or "")
    place = auto_device() if device == "auto" else torch.device(device)
    return EOSVOS(used, iters=steps, device=place, **settings)
