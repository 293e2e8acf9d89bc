"""The HTTP routes of the page: requests are checked, answers are built."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from eosvos.data.sequence import VideoSequence
from eosvos.errors import UserError
from eosvos.inference import segment_video
from eosvos.inference.export import OUTPUTS
from eosvos.page import archive, jobs
from eosvos.page.annotations import read_objects
from eosvos.page.answers import FOREVER, cut_off, failure, ids_response, ranges, read_json, refusal
from eosvos.page.curves import Areas, uncertainty
from eosvos.page.frame_routes import FrameRoutes
from eosvos.page.jobs import Job, MethodFactory, Work
from eosvos.page.middleware import Guard
from eosvos.page.opening_routes import OpeningRoutes
from eosvos.page.quota import Quota, QuotaReached
from eosvos.page.session import NotFound, Run, Session
from eosvos.page.sessions import Sessions

STATIC = Path(__file__).resolve().parent / "static"
MOST_STEPS = 1000


class Server:
    """The page's server.

    Args:
        sessions: where sessions are stored.
        make: builds the method.
        sample: the built-in video.
        limit: largest size of an upload in bytes.
        quota: bytes of disk that all sessions may take; None: any.
        token: a secret that browsers have to know, see `Guard`; "": none. With one, sessions are listed to those who
            know their ids alone.
    """

    def __init__(
        self,
        sessions: Sessions,
        make: MethodFactory,
        sample: VideoSequence,
        *,
        limit: int,
        quota: int | None = None,
        token: str = "",
    ) -> None:
        disk = Quota(sessions.folder, quota)
        self.sessions, self.make, self.token, self.work = sessions, make, token, Work(disk.check)
        self._opening = OpeningRoutes(
            sessions, self.work, sample, disk, limit=limit, steps=make.steps, private=lambda: bool(self.token)
        )
        self._suggestion: tuple[tuple[Any, ...], int | None] = ((), None)
        self._areas = Areas()

    def app(self, hosts: Collection[str]) -> Starlette:
        """Build the application; `hosts` are the names that it may be called by."""
        one = "/api/sessions/{id}"
        routes = [
            Route("/", self.index),
            *self._opening.routes(),
            *FrameRoutes(self.sessions).routes(),
            Route(one, self.state),
            Route(one + "/run", self.run, methods=["POST"]),
            Route(one + "/continue", self.continue_run, methods=["POST"]),
            Route(one + "/cancel", self.cancel, methods=["POST"]),
            Route(one + "/runs/{number:int}/masks/{index:int}", self.mask),
            Route(one + "/runs/{number:int}/curves", self.curves),
            Route(one + "/runs/{number:int}/uncertainty", self.uncertainty),
            Route(one + "/runs/{number:int}/export", self.export, methods=["POST"]),
            Route(one + "/runs/{number:int}/export", self.exported),
            Mount("/static", StaticFiles(directory=STATIC)),
        ]
        errors: dict[Any, Any] = {UserError: self._user_error, HTTPException: refusal, ClientDisconnect: cut_off}
        errors[Exception] = failure
        guard = Middleware(Guard, hosts=hosts, token=self.token)
        return Starlette(routes=routes, middleware=[guard], exception_handlers=errors, lifespan=self._lifespan)

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        yield
        self.work.close()

    # Handlers that are no coroutines run in threads.

    def index(self, request: Request) -> Response:
        return FileResponse(STATIC / "index.html")

    def state(self, request: Request) -> Response:
        """Return all that the page shows, except pixels."""
        session = self._session(request)
        job = self.work.job(session.id)
        runs = session.runs()
        finished = next((run.number for run in reversed(runs) if run.state == "finished"), None)
        exported = finished is not None and archive.is_current(session, finished)
        versions = session.versions()
        return JSONResponse(
            {
                "name": session.name,
                "size": session.size,
                "rate": session.rate,
                "frames": len(session.names),
                "counted": session.length is not None or bool(session.failure),
                "annotated": list(versions),
                "versions": versions,
                "steps": self.make.steps,
                "outputs": list(OUTPUTS),
                "objects": read_objects(session.objects_file),
                "run": self._describe(session, runs[-1], job is not None) if runs else None,
                "previous": runs[-2].number if len(runs) > 1 else None,
                "finished": finished,
                "exported": exported,  # the run that can be exported, maybe not the newest
                "job": None if job is None else job.describe(),
                "failure": self._without_folders(self.work.failures.get(session.id, "") or session.failure),
            }
        )

    def _describe(self, session: Session, run: Run, busy: bool) -> dict[str, Any]:
        done, names = session.done(run.number), session.names
        way = [*range(run.first, -1, -1), *range(run.first, len(names))]  # the order of `segment_video.segment`
        latest = next((k for k in reversed(way) if names[k] in done), None)
        state = "stopped" if run.state == "running" and not busy else run.state
        suggested = None
        if state == "finished" and session.length is not None:
            suggested = self._suggested(session, run)
        return {
            "number": run.number,
            "state": state,
            "steps": run.steps,
            "frames": run.frames,
            "objects": run.objects,
            "seconds": run.seconds,
            "message": self._without_folders(run.message),
            "losses": session.losses(run.number),
            "suggested": suggested,
            "done": ranges([name in done for name in names]),
            "latest": latest,
        }

    def _suggested(self, session: Session, run: Run) -> int | None:
        """Return the frame to annotate next; cached, as the page polls it."""
        annotated = session.annotated()
        asked = (session.id, run.number, *annotated)
        known = self._suggestion
        if known[0] != asked:
            sequence = replace(session.frames, first_frame=dict.fromkeys(run.objects, run.first))
            known = self._suggestion = (
                asked,
                segment_video.suggested(sequence, session.run_folder(run.number), annotated),
            )
        return known[1]

    def mask(self, request: Request) -> Response:
        session, where = self._session(request), request.path_params
        finished = session.run(where["number"]).state == "finished"  # else a later pass may change the mask
        return ids_response(
            session.mask(where["number"], where["index"]), FOREVER if finished else {"Cache-Control": "no-store"}
        )

    def curves(self, request: Request) -> Response:
        session = self._session(request)
        return JSONResponse({"areas": self._areas.of(session, session.run(request.path_params["number"]))})

    def uncertainty(self, request: Request) -> Response:
        session = self._session(request)
        return JSONResponse({"frames": uncertainty(session, session.run(request.path_params["number"]))})

    async def run(self, request: Request) -> Response:
        """Start a new run from all painted masks."""
        session, steps = self._session(request), (await read_json(request)).get("steps", self.make.steps)
        if type(steps) is not int or not 0 <= steps <= MOST_STEPS:
            raise UserError(f"steps={steps!r}: expected a number from 0 to {MOST_STEPS}")
        await run_in_threadpool(self._start, session, steps)
        return JSONResponse({})

    def continue_run(self, request: Request) -> Response:
        """Continue an interrupted run; if program or learner have changed since, start it again."""
        session = self._session(request)
        runs = session.runs()
        if not runs or runs[-1].state == "finished":
            raise UserError("there is no run to continue; start one")
        last = runs[-1]
        if last.fingerprint == json.loads(json.dumps(self.make.fingerprint(last.steps))):
            self.work.start(session.id, "run", lambda: partial(jobs.segment, session, last, self.make))
        else:
            self._start(session, last.steps, session.run_folder(last.number) / "annotations")
        return JSONResponse({})

    def _start(self, session: Session, steps: int, annotations: Path | None = None) -> None:
        def prepare() -> Callable[[Job], None]:
            run = session.new_run(steps, json.loads(json.dumps(self.make.fingerprint(steps))), annotations)
            return partial(jobs.segment, session, run, self.make)

        self.work.start(session.id, "run", prepare)  # only one at a time: a new run removes older ones

    def cancel(self, request: Request) -> Response:
        self.work.cancel(self._session(request).id)
        return JSONResponse({})

    async def export(self, request: Request) -> Response:
        session, number = self._session(request), request.path_params["number"]
        outputs = archive.check_outputs((await read_json(request)).get("outputs", []))
        if session.run(number).state != "finished":
            raise UserError("this run is not finished; continue it, then export")
        task = partial(archive.export, session, number, outputs)
        await run_in_threadpool(self.work.start, session.id, "export", lambda: task)
        return JSONResponse({})

    def exported(self, request: Request) -> Response:
        session, number = self._session(request), request.path_params["number"]
        session.run(number)
        path = archive.archive(session, number)
        if not path.is_file():
            raise NotFound("nothing is exported yet")
        name = f"{Path(session.name).stem or 'video'}-masks.zip"
        return FileResponse(path, filename=name, headers={"Cache-Control": "no-store"})

    def _session(self, request: Request) -> Session:
        return self.sessions.get(request.path_params["id"])

    def _without_folders(self, message: str) -> str:
        """Remove the server's folders, which mean nothing to the page's user, from a message."""
        return re.sub(re.escape(f"{self.sessions.folder}/") + "(?:[0-9a-f]{32}/)?(?:video/)?", "", message)

    def _user_error(self, request: Request, error: Exception) -> Response:
        status = 404 if isinstance(error, NotFound) else 507 if isinstance(error, QuotaReached) else 400
        return JSONResponse({"error": self._without_folders(str(error))}, status)
