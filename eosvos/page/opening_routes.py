"""The HTTP routes that begin, list and end sessions: uploads, the sample, and the list of the first page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import BinaryIO

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from eosvos.data.sequence import VideoSequence
from eosvos.files import atomic
from eosvos.page.answers import read_json
from eosvos.page.jobs import Work
from eosvos.page.quota import Quota
from eosvos.page.sessions import Sessions

MOST_KNOWN = 200  # sessions that a browser may ask for


class OpeningRoutes:
    """Handlers of requests that begin, list and end sessions.

    Args:
        sessions: where sessions are stored.
        work: the jobs of the sessions.
        sample: the built-in video.
        quota: the disk that all sessions may take.
        limit: largest size of an upload in bytes.
        steps: number of fine-tuning steps, unless the page's user says otherwise.
        private: whether only sessions are listed whose ids the request has; an id is a secret that nobody guesses.
    """

    def __init__(
        self,
        sessions: Sessions,
        work: Work,
        sample: VideoSequence,
        quota: Quota,
        *,
        limit: int,
        steps: int,
        private: Callable[[], bool],
    ) -> None:
        self.sessions, self.work, self.sample_clip, self.quota = sessions, work, sample, quota
        self.limit, self.steps, self.private = limit, steps, private
        self._received: Counter[str] = Counter()  # bytes of the uploads that are not over

    def routes(self) -> list[Route]:
        one = "/api/sessions/{id}"
        return [
            Route("/api/sessions", self.listed),
            Route("/api/sessions", self.begin, methods=["POST"]),
            Route("/api/sample", self.sample, methods=["POST"]),
            Route(one, self.remove, methods=["DELETE"]),
            Route(one + "/file", self.upload, methods=["PUT"]),
            Route(one + "/open", self.open, methods=["POST"]),
        ]

    def listed(self, request: Request) -> Response:
        """List the sessions; ?ids= are those that the browser knows, by comma."""
        known = request.query_params.get("ids", "").split(",")[:MOST_KNOWN]
        existing, damaged = self.sessions.some(known) if self.private() else self.sessions.all()
        sessions = [
            {"id": s.id, "name": s.name, "made": s.made, "frames": s.length, "busy": bool(self.work.job(s.id))}
            for s in existing
        ]
        about = {"limit": self.limit, "steps": self.steps, "damaged": damaged}
        return JSONResponse({"sessions": sessions, **about})

    def begin(self, request: Request) -> Response:
        self.quota.check()
        return JSONResponse({"id": self.sessions.begin()})

    def sample(self, request: Request) -> Response:
        self.quota.check()
        return JSONResponse({"id": self.sessions.sample(self.sample_clip).id})

    async def upload(self, request: Request) -> Response:
        """Store a file of a video: its content is the body, its name ?name=."""
        id = request.path_params["id"]
        target = self.sessions.upload(id, request.query_params.get("name", ""))
        too_large = HTTPException(
            413, f"more than {self.limit >> 20} MiB in all; start the server with a larger upload="
        )
        length = int(request.headers.get("content-length", 0))
        try:
            if self._received[id] + length > self.limit:
                raise too_large
            await run_in_threadpool(self.quota.check, length)
            with atomic(target) as path, path.open("wb") as file:
                async for chunk in request.stream():
                    self.sessions.uploading(id)  # another file of it may have been refused meanwhile
                    self._received[id] += len(chunk)
                    if self._received[id] > self.limit:
                        raise too_large
                    await run_in_threadpool(self._store, file, chunk)
        except BaseException:
            self._received.pop(id, None)
            self.sessions.remove(id)
            raise
        return JSONResponse({})

    def _store(self, file: BinaryIO, chunk: bytes) -> None:
        self.quota.check(len(chunk))
        file.write(chunk)
        self.quota.add(len(chunk))

    async def open(self, request: Request) -> Response:
        """Open the session of a complete upload."""
        id, name = request.path_params["id"], str((await read_json(request)).get("name", ""))[:200]
        self.sessions.uploading(id)
        self._received.pop(id, None)
        await run_in_threadpool(self.sessions.open, id, name or "video")
        return JSONResponse({"id": id})

    def remove(self, request: Request) -> Response:
        session = self.sessions.get(request.path_params["id"])
        self.work.cancel(session.id, wait=10.0)
        self.sessions.remove(session.id)
        return JSONResponse({})
