"""The HTTP routes of the page: requests are checked, answers are built."""

from __future__ import annotations

import gzip
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
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from eosvos.data.sequence import VideoSequence
from eosvos.errors import UserError
from eosvos.files import atomic
from eosvos.inference import segment_video
from eosvos.inference.export import OUTPUTS
from eosvos.page import jobs
from eosvos.page.jobs import Job, MethodFactory, Work
from eosvos.page.middleware import Guard
from eosvos.page.sessions import NotFound, Run, Session, Sessions

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
            Route(one + "/annotations/{index:int}", self.annotation),
            Route(one + "/annotations/{index:int}", self.annotate, methods=["PUT"]),
            Route(one + "/annotations/{index:int}", self.delete_annotation, methods=["DELETE"]),
            Route(one + "/run", self.run, methods=["POST"]),
            Route(one + "/continue", self.continue_run, methods=["POST"]),
            Route(one + "/cancel", self.cancel, methods=["POST"]),
            Route(one + "/runs/{number:int}/masks/{index:int}", self.mask),
            Route(one + "/runs/{number:int}/export", self.export, methods=["POST"]),
            Route(one + "/runs/{number:int}/export", self.exported),
            Mount("/static", StaticFiles(directory=STATIC)),
        ]
        errors: dict[Any, Any] = {UserError: self._user_error, HTTPException: _refusal, Exception: _failure}
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
        id, name = request.path_params["id"], str((await self._json(request)).get("name", ""))[:200]
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
        exported = finished is not None and jobs.archive(session, finished).is_file()
        versions = session.versions()
        return JSONResponse(
            {
                "name": session.name, "size": session.size, "rate": session.rate,
                "frames": len(session.names), "counted": session.length is not None or bool(session.failure),
                "annotated": list(versions), "versions": versions, "steps": self.make.steps, "outputs": list(OUTPUTS),
                "run": self._describe(session, runs[-1], job is not None) if runs else None,
                "previous": runs[-2].number if len(runs) > 1 else None,
                "finished": finished, "exported": exported,  # the run that can be exported, maybe not the newest
                "job": None if job is None else job.describe(),
                "failure": self._without_folders(self.work.failures.get(session.id, "") or session.failure),
            }
        )  # fmt: skip

    def _describe(self, session: Session, run: Run, busy: bool) -> dict[str, Any]:
        done, names = session.done(run.number), session.names
        way = [*range(run.first, -1, -1), *range(run.first, len(names))]  # the order of `segment_video.segment`
        latest = next((k for k in reversed(way) if names[k] in done), None)
        state = "stopped" if run.state == "running" and not busy else run.state
        suggested = None
        if state == "finished" and session.length is not None:
            suggested = self._suggested(session, run)
        return {
            "number": run.number, "state": state, "steps": run.steps, "frames": run.frames, "objects": run.objects,
            "seconds": run.seconds, "message": self._without_folders(run.message), "losses": session.losses(run.number),
            "suggested": suggested, "done": _ranges([name in done for name in names]), "latest": latest,
        }  # fmt: skip

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
        """Return a frame as JPEG, at most `WIDTH` pixels wide."""
        session, index = self._session(request), request.path_params["index"]
        session.frame_name(index)
        pixels = session.frames.read_frame(index)
        if pixels.shape[1] > WIDTH:
            size = (WIDTH, max(1, round(pixels.shape[0] * WIDTH / pixels.shape[1])))
            pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        _, coded = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
        return Response(coded.tobytes(), media_type="image/jpeg", headers=_FOREVER)

    def annotation(self, request: Request) -> Response:
        return _ids(self._session(request).annotation(request.path_params["index"]), {"Cache-Control": "no-store"})

    def mask(self, request: Request) -> Response:
        session, where = self._session(request), request.path_params
        session.run(where["number"])
        return _ids(session.mask(where["number"], where["index"]), _FOREVER)

    async def annotate(self, request: Request) -> Response:
        """Store a painted id mask; the body has a byte per pixel, row by row."""
        session, index = self._session(request), request.path_params["index"]
        height, width = session.size
        body = await _body(request, height * width)
        if len(body) != height * width:
            raise UserError(f"a mask of {len(body)} bytes; expected {width}x{height}")
        ids = np.frombuffer(body, np.uint8).reshape(height, width)
        await run_in_threadpool(session.annotate, index, ids)
        return JSONResponse({"version": session.versions().get(index)})

    def delete_annotation(self, request: Request) -> Response:
        self._session(request).delete_annotation(request.path_params["index"])
        return JSONResponse({})

    async def run(self, request: Request) -> Response:
        """Start a new run from all painted masks."""
        session, steps = self._session(request), (await self._json(request)).get("steps", self.make.steps)
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
        outputs = jobs.check_outputs((await self._json(request)).get("outputs", []))
        if session.run(number).state != "finished":
            raise UserError("this run is not finished; continue it, then export")
        self.work.start(session.id, "export", lambda: partial(jobs.export, session, number, outputs))
        return JSONResponse({})

    def exported(self, request: Request) -> Response:
        session, number = self._session(request), request.path_params["number"]
        session.run(number)
        path = jobs.archive(session, number)
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

    async def _json(self, request: Request) -> dict[str, Any]:
        try:
            content = json.loads(await _body(request, 1 << 16) or b"{}")
        except ValueError as error:
            raise UserError(f"the request is not JSON ({error})") from error
        if not isinstance(content, dict):
            raise UserError("the request is not a JSON object")
        return content


async def _body(request: Request, limit: int) -> bytes:
    """Read a request's body; raises HTTPException 413 if it has more than `limit` bytes."""
    parts, length = [], 0
    async for chunk in request.stream():
        length += len(chunk)
        if length > limit:
            raise HTTPException(413, f"a request of more than {limit} bytes")
        parts.append(chunk)
    return b"".join(parts)


def _ids(ids: np.ndarray, headers: dict[str, str]) -> Response:
    """Answer with an id mask as compressed bytes, row by row: lossless, unlike an image in a browser."""
    content = gzip.compress(np.ascontiguousarray(ids).tobytes(), 1)
    return Response(content, media_type="application/octet-stream", headers=headers | {"Content-Encoding": "gzip"})


def _ranges(flags: Collection[bool]) -> list[tuple[int, int]]:
    """Return first and last index of each run of true flags."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], np.array(flags, bool), [False]]).astype(np.int8)))
    return [(int(a), int(b) - 1) for a, b in edges.reshape(-1, 2)]


def _refusal(request: Request, error: HTTPException) -> Response:
    return JSONResponse({"error": error.detail}, error.status_code)


def _failure(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": f"{type(error).__name__}: {error}; this is an error of the program"}, 500)
