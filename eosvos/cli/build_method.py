"""The method of an evaluation: its learner and settings, and what tells both from any other."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from eosvos.cli.find_learner import FLOORS, KINDS, check_learner, learner_path
from eosvos.cli.fingerprint import code_digest, data_fingerprint, digest
from eosvos.cli.schema import EvalConfig, MethodConfig
from eosvos.cli.sections import library_settings
from eosvos.errors import UserError
from eosvos.learners import path_of
from eosvos.learners.published import open_learner
from eosvos.meta.learner import Learner
from eosvos.methods import snapping
from eosvos.methods.base import FineTunedMethod, Watch
from eosvos.methods.eosvos.method import EOSVOS
from eosvos.methods.eosvos.settings import Detection, FineTuning, Online, Propagation, Windowing
from eosvos.methods.osmn.method import OSMN, Modulation
from eosvos.methods.osvos import contours
from eosvos.methods.osvos.method import OSVOS, Snap, Tuning
from eosvos.methods.protocol import Method

M = TypeVar("M", bound=MethodConfig)


def evaluation_learner(config: MethodConfig) -> tuple[Path | None, Learner | None]:
    """The learner of the method, and its file; None and None for a method without one."""
    if config.method in FLOORS:
        return None, None
    kind = next(name for name, kind in KINDS.items() if kind.method == config.method)
    path = learner_path(config.learner, kind)
    learner = open_learner(path, config.learner_rate)
    check_learner(learner, path, kind)
    if kind == "osvos":
        _check_branch(learner, "foreground", path)
        snapping.check_installed(config.osvos.snapping)
        _contours(config)
    return path, learner


def with_steps(config: M, learner: Learner | None) -> M:
    """The settings with iters=null made what the learner recommends, so that a run of either is the same. Raises
    UserError for steps of a learner without learning rates."""
    if config.iters is None:
        config = replace(config, iters=0 if learner is None else learner.recommended_iters)
    if learner is not None:
        learner.check_rates(config.iters or int(config.ona is True), config.learner or "")
    return config


def _check_branch(learner: Learner, branch: str, source: Path) -> None:
    if (found := learner.spec.get("branch")) != branch:
        raise UserError(f"learner {source} is OSVOS's branch for {found}; the one for {branch} is expected")


def _contours(config: MethodConfig) -> tuple[Path | None, Learner | None]:
    """The contour branch that OSVOS snaps to, and its file, where it does."""
    if config.method != "osvos" or config.osvos.snapping != "contours":
        return None, None
    if config.osvos.contours is None:
        raise UserError(
            "osvos.snapping=contours: no contours ship; train them with python -m eosvos.osvos_train branch=contours, "
            "and give the path of that learner with osvos.contours="
        )
    path = path_of(config.osvos.contours, "osvos.contours")
    learner = Learner.load(path)
    check_learner(learner, path, "osvos")
    _check_branch(learner, "contours", path)
    return path, learner


class MakeMethod:
    """seed -> a fresh method; can be sent to another process. On a GPU without a number: that process's present one."""

    def __init__(self, config: MethodConfig, learner: Learner | None, device: torch.device) -> None:
        self.method, self.learner, self.device = config.method, learner, device
        self.settings: dict[str, Any] = {}
        grabcut = library_settings(snapping.GrabCut, config.snapping)
        if self.method == "eosvos":
            self.settings = {
                "iters": config.iters,
                "ona": config.ona,
                "fine_tuning": library_settings(FineTuning, config.fine_tuning),
                "propagation": library_settings(Propagation, config.propagation),
                "online": library_settings(Online, config.online),
                "snapping": grabcut,
                "windowing": library_settings(Windowing, config.window),
                "detection": library_settings(Detection, config.detection),
                "score": config.score,
            }
        if self.method == "osvos":
            section = config.osvos
            self.settings = {"iters": config.iters, "tuning": library_settings(Tuning, section)}
            bilateral = library_settings(snapping.Bilateral, section.bilateral)
            snaps: dict[str, Snap] = {"grabcut": grabcut, "bilateral": bilateral}
            self.snap, self.threshold = snaps.get(section.snapping), section.threshold
            self.contours = _contours(config)[1]
        if self.method == "osmn":
            snap = grabcut if config.osmn.snapping == "grabcut" else None
            self.settings = {
                "iters": config.iters,
                "modulation": library_settings(Modulation, config.osmn),
                "snap": snap,
            }

    def __call__(self, seed: int, watch: Watch | None = None) -> Method:
        """watch: told of the fine-tuning, where there is any (see `methods.base.FineTunedMethod`)."""
        method = self._made(seed)
        if isinstance(method, FineTunedMethod):
            method.watch = watch
        return method

    def _made(self, seed: int) -> Method:
        if self.learner is None:
            return FLOORS[self.method]()
        device = self.device
        if device.type == "cuda":
            if device.index is not None:
                torch.cuda.set_device(device)  # whose memory is measured
            device = torch.device("cuda", torch.cuda.current_device())
        if self.method == "osvos":
            return OSVOS(self.learner, seed=seed, device=device, snap=self._snap(device), **self.settings)
        if self.method == "osmn":
            return OSMN(self.learner, seed=seed, device=device, **self.settings)
        return EOSVOS(self.learner, seed=seed, device=device, **self.settings)

    def _snap(self, device: torch.device) -> Snap | None:
        if self.contours is None:
            return self.snap
        return contours.Contours(self.contours.to(device), self.threshold)


def method_fingerprint(config: MethodConfig, learner: Path | None, device: torch.device) -> dict[str, Any]:
    """All that decides a method's masks of a video, besides its seed."""
    settings: dict[str, Any] = {"method": config.method}
    if learner is not None:
        settings |= {"iters": config.iters, "device": device.type, "learner_hash": digest(learner)}
        settings |= {} if config.learner_rate is None else {"learner_rate": config.learner_rate}
    if config.method == "eosvos":
        settings |= {"ona": config.ona, "score": config.score}
        settings |= {"fine_tuning": vars(config.fine_tuning), "propagation": vars(config.propagation)}
        settings |= {"online": vars(config.online)} if config.ona else {}
        settings |= {"snapping": vars(config.snapping), "window": vars(config.window)}
        settings |= {"detection": vars(config.detection)}
    if config.method == "osvos":
        settings |= {"osvos": {key: value for key, value in asdict(config.osvos).items() if key != "contours"}}
        settings |= {"snapping": vars(config.snapping)} if config.osvos.snapping == "grabcut" else {}
        contours = _contours(config)[0]
        settings |= {} if contours is None else {"contours_hash": digest(contours)}
    if config.method == "osmn":
        settings |= {"osmn": asdict(config.osmn)}
        settings |= {"snapping": vars(config.snapping)} if config.osmn.snapping == "grabcut" else {}
    return {**settings, "code_hash": code_digest()}


def evaluation_fingerprint(config: EvalConfig, learner: Path | None, device: torch.device) -> dict[str, Any]:
    """All that decides the masks of an evaluation, besides its seed and sequences."""
    return method_fingerprint(config, learner, device) | data_fingerprint(config)
