"""The HTTP routes of the page: requests are checked, answers are built."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
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
from eosvos.files import atomic
from eosvos.inference import segment_video
from eosvos.inference.export import OUTPUTS
from eosvos.page import archive, jobs
from eosvos.page.annotations import read_objects, write_objects
from eosvos.page.answers import cut_off, failure, ids_response, parse_ids, ranges, read_body, read_json, refusal
from eosvos.page.curves import Areas, uncertainty
from eosvos.page.hints import LARGEST_HINTS, mask_of_request
from eosvos.page.jobs import Job, MethodFactory, Work
from eosvos.page.middleware import Guard
from eosvos.page.session import NotFound, Run, Session
from eosvos.page.sessions import Sessions

STATIC = Path(__file__).resolve().parent / "static"
WIDTH = 1280  # pixels, of a frame in the page at most
MOST_STEPS = 1000
_FOREVER = {"Cache-Control": "private, max-age=31536000, immutable"}  # what has a session's id never changes


class Server:
    """The page's server.

    Args:
        sessions: where sessions are stored.
        make: builds the method.
        sample: the built-in video.
        limit: largest size of an upload in bytes.
    """

    def __init__(self, sessions: Sessions, make: MethodFactory, sample: VideoSequence, *, limit: int) -> None:
        self.sessions, self.make, self.sample_clip, self.limit, self.work = sessions, make, sample, limit, Work()
        self._suggestion: tuple[tuple[Any, ...], int | None] = ((), None)
        self._areas = Areas()
        self._received: Counter[str] = Counter()  # bytes of the uploads that are not over

    def app(self, hosts: Collection[str]) -> Starlette:
        """Build the application; `hosts` are the names that it may be called by."""
        one = "/api/sessions/{id}"
        routes = [
            Route("/", self.index),
            Route("/api/sessions", self.listed),
            Route("/api/sessions", self.begin, methods=["POST"]),
            Route("/api/sample", self.sample, methods=["POST"]),
            Route(one, self.state),
            Route(one, self.remove, methods=["DELETE"]),
            Route(one + "/file", self.upload, methods=["PUT"]),
            Route(one + "/open", self.open, methods=["POST"]),
            Route(one + "/frames/{index:int}", self.frame),
            Route(one + "/frames/{index:int}/mask", self.first_mask, methods=["POST"]),
            Route(one + "/annotations/{index:int}", self.annotation),
            Route(one + "/annotations/{index:int}", self.annotate, methods=["PUT"]),
            Route(one + "/annotations/{index:int}", self.delete_annotation, methods=["DELETE"]),
            Route(one + "/objects", self.store_objects, methods=["PUT"]),
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
        guard = Middleware(Guard, hosts=hosts)
        return Starlette(routes=routes, middleware=[guard], exception_handlers=errors, lifespan=self._lifespan)

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        yield
        self.work.close()

    # Handlers that are no coroutines run in threads.

    def index(self, request: Request) -> Response:
        return FileResponse(STATIC / "index.html")

    def listed(self, request: Request) -> Response:
        existing, damaged = self.sessions.all()
        sessions = [
            {"id": s.id, "name": s.name, "made": s.made, "frames": s.length, "busy": bool(self.work.job(s.id))}
            for s in existing
        ]
        about = {"limit": self.limit, "steps": self.make.steps, "damaged": damaged}
        return JSONResponse({"sessions": sessions, **about})

    async def begin(self, request: Request) -> Response:
        return JSONResponse({"id": await run_in_threadpool(self.sessions.begin)})

    def sample(self, request: Request) -> Response:
        return JSONResponse({"id": self.sessions.sample(self.sample_clip).id})

    async def upload(self, request: Request) -> Response:
        """Store a file of a video: its content is the body, its name ?name=."""
        id = request.path_params["id"]
        target = self.sessions.upload(id, request.query_params.get("name", ""))
        too_large = HTTPException(
            413, f"more than {self.limit >> 20} MiB in all; start the server with a larger upload="
        )
        try:
            if self._received[id] + int(request.headers.get("content-length", 0)) > self.limit:
                raise too_large
            with atomic(target) as path, path.open("wb") as file:
                async for chunk in request.stream():
                    self.sessions.uploading(id)  # another file of it may have been refused meanwhile
                    self._received[id] += len(chunk)
                    if self._received[id] > self.limit:
                        raise too_large
                    await run_in_threadpool(file.write, chunk)
        except BaseException:
            self._received.pop(id, None)
            self.sessions.remove(id)
            raise
        return JSONResponse({})

    async def open(self, request: Request) -> Response:
        """Open the session of a complete upload."""
        id, name = request.path_params["id"], str((await read_json(request)).get("name", ""))[:200]
        self.sessions.uploading(id)
        self._received.pop(id, None)
        await run_in_threadpool(self.sessions.open, id, name or "video")
        return JSONResponse({"id": id})

    def remove(self, request: Request) -> Response:
        session = self._session(request)
        self.work.cancel(session.id, wait=10.0)
        self.sessions.remove(session.id)
        return JSONResponse({})

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

    def frame(self, request: Request) -> Response:
        """Return a frame as JPEG, at most `WIDTH` pixels wide unless ?whole= is given."""
        session, index = self._session(request), request.path_params["index"]
        session.frame_name(index)
        pixels = session.frames.read_frame(index)
        if pixels.shape[1] > WIDTH and "whole" not in request.query_params:
            size = (WIDTH, max(1, round(pixels.shape[0] * WIDTH / pixels.shape[1])))
            pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        _, coded = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
        return Response(coded.tobytes(), media_type="image/jpeg", headers=_FOREVER)

    async def first_mask(self, request: Request) -> Response:
        """Make a mask from hints, see `hints.mask_of_request`; it is not stored."""
        session, index = self._session(request), request.path_params["index"]
        session.frame_name(index)
        body = await read_body(request, LARGEST_HINTS + session.size[0] * session.size[1])
        found = await run_in_threadpool(lambda: mask_of_request(session.frames.read_frame(index), body))
        return ids_response(found, {"Cache-Control": "no-store"})

    def annotation(self, request: Request) -> Response:
        """Return a painted id mask; the header Absent has the objects told to be absent, if that was said."""
        ids, absent = self._session(request).annotation(request.path_params["index"])
        said = {} if absent is None else {"Absent": " ".join(map(str, absent))}
        return ids_response(ids, {"Cache-Control": "no-store"} | said)

    def mask(self, request: Request) -> Response:
        session, where = self._session(request), request.path_params
        finished = session.run(where["number"]).state == "finished"  # else a later pass may change the mask
        return ids_response(
            session.mask(where["number"], where["index"]), _FOREVER if finished else {"Cache-Control": "no-store"}
        )

    def curves(self, request: Request) -> Response:
        session = self._session(request)
        return JSONResponse({"areas": self._areas.of(session, session.run(request.path_params["number"]))})

    def uncertainty(self, request: Request) -> Response:
        session = self._session(request)
        return JSONResponse({"frames": uncertainty(session, session.run(request.path_params["number"]))})

    async def annotate(self, request: Request) -> Response:
        """Store a painted id mask; the body has a byte per pixel, row by row, ?absent= the ids of absent objects."""
        session, index = self._session(request), request.path_params["index"]
        height, width = session.size
        body = await read_body(request, height * width)
        if len(body) != height * width:
            raise UserError(f"a mask of {len(body)} bytes; expected {width}x{height}")
        ids = np.frombuffer(body, np.uint8).reshape(height, width)
        absent = parse_ids(request.query_params.get("absent"))
        await run_in_threadpool(session.annotations.write, session.frame_name(index), ids, absent)
        return JSONResponse({"version": session.versions().get(index)})

    def delete_annotation(self, request: Request) -> Response:
        session = self._session(request)
        session.annotations.delete(session.frame_name(request.path_params["index"]))
        return JSONResponse({})

    async def store_objects(self, request: Request) -> Response:
        """Store the names, colours and flags of the objects, a list in their order."""
        session, objects = self._session(request), (await read_json(request)).get("objects")
        await run_in_threadpool(write_objects, session.objects_file, objects)
        return JSONResponse({})

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
        self.work.start(session.id, "export", lambda: partial(archive.export, session, number, outputs))
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
        return JSONResponse({"error": self._without_folders(str(error))}, 404 if isinstance(error, NotFound) else 400)
