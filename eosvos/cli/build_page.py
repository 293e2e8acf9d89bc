"""What the page is served with: its method, and the session that it begins with."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eosvos.cli import build_method, devices, schema
from eosvos.methods.base import Watch
from eosvos.methods.protocol import Method

if TYPE_CHECKING:
    from eosvos.page.session import Session
    from eosvos.page.sessions import Sessions

log = logging.getLogger(__name__)

_NOT_SETTINGS = ("code_hash", "device", "iters")  # of a fingerprint; iters is the page's own, as it was


class Make:
    """The method as the settings have it, but for the number of fine-tuning steps (see page.jobs.MethodFactory)."""

    def __init__(self, settings: schema.AppConfig) -> None:
        self.device = devices.device_of(settings.device)
        self.path, self.learner = build_method.evaluation_learner(settings)
        self.settings = build_method.with_steps(settings, self.learner)
        self.steps: int = self.settings.iters or 0

    def __call__(self, steps: int, watch: Watch) -> Method:
        settings = build_method.with_steps(replace(self.settings, iters=steps), self.learner)
        return build_method.MakeMethod(settings, self.learner, self.device)(settings.seed, watch)

    def fingerprint(self, steps: int) -> dict[str, Any]:
        settings = replace(self.settings, iters=steps)
        return build_method.method_fingerprint(settings, self.path, self.device) | {"seed": settings.seed}


def first_session(settings: schema.AppConfig, sessions: Sessions, make: Make) -> Session | None:
    """Open the session that the page begins with, that of result= or video=; None: of neither.

    Raises:
        UserError: if what is given cannot be opened.
    """
    video = None if settings.video is None else Path(settings.video)
    if settings.result is None:
        return None if video is None else sessions.refer(video)
    from eosvos.page.segment_folder import session_of_folder

    session = session_of_folder(sessions, Path(settings.result), video)
    now, runs = json.loads(json.dumps(make.fingerprint(make.steps))), session.runs()
    changed = [k for k in now if k not in _NOT_SETTINGS and any(now[k] != run.fingerprint.get(k) for run in runs[:1])]
    if changed:
        log.warning(
            "result=%s: was made with other settings than the page refines with (%s); give those of its config.yaml",
            settings.result,
            ", ".join(changed),
        )
    return session
