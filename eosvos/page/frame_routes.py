"""The HTTP routes of a session's frames and of what is painted on them."""

from __future__ import annotations

import math

import cv2
import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from eosvos.errors import UserError
from eosvos.page.annotations import write_objects
from eosvos.page.answers import FOREVER, ids_response, parse_ids, read_body, read_json
from eosvos.page.hints import LARGEST_HINTS, mask_of_request
from eosvos.page.mask_import import LARGEST_FILE, import_mask
from eosvos.page.session import Session
from eosvos.page.sessions import Sessions

WIDTH = 1280  # pixels, of a frame in the page at most
THUMBNAIL = (160, 72)  # width and height in pixels that a thumbnail fits in


class FrameRoutes:
    """Handlers of requests for frames and for what is painted on them; those that are no coroutines run in threads.

    Args:
        sessions: where sessions are stored.
    """

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions

    def routes(self) -> list[Route]:
        one = "/api/sessions/{id}"
        return [
            Route(one + "/frames/{index:int}", self.frame),
            Route(one + "/thumbnails/{index:int}", self.thumbnail),
            Route(one + "/frames/{index:int}/mask", self.first_mask, methods=["POST"]),
            Route(one + "/frames/{index:int}/import", self.import_mask, methods=["POST"]),
            Route(one + "/annotations/{index:int}", self.annotation),
            Route(one + "/annotations/{index:int}", self.annotate, methods=["PUT"]),
            Route(one + "/annotations/{index:int}", self.delete_annotation, methods=["DELETE"]),
            Route(one + "/objects", self.store_objects, methods=["PUT"]),
        ]

    def _session(self, request: Request) -> Session:
        return self.sessions.get(request.path_params["id"])

    def frame(self, request: Request) -> Response:
        """Return a frame as JPEG, at most `WIDTH` pixels wide unless ?whole= is given."""
        return self._jpeg(request, math.inf if "whole" in request.query_params else WIDTH, math.inf, 90)

    def thumbnail(self, request: Request) -> Response:
        """Return a frame as a small JPEG, see `THUMBNAIL`."""
        return self._jpeg(request, *THUMBNAIL, 70)

    def _jpeg(self, request: Request, most_width: float, most_height: float, quality: int) -> Response:
        """Return a frame as JPEG, scaled down to at most this width and height in pixels."""
        session, index = self._session(request), request.path_params["index"]
        session.frame_name(index)
        pixels = session.frames.read_frame(index)
        height, width = pixels.shape[:2]
        scale = min(1.0, most_width / width, most_height / height)
        if scale < 1:
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        _, coded = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        return Response(coded.tobytes(), media_type="image/jpeg", headers=FOREVER)

    async def first_mask(self, request: Request) -> Response:
        """Make a mask from hints, see `hints.mask_of_request`; it is not stored."""
        session, index = self._session(request), request.path_params["index"]
        session.frame_name(index)
        body = await read_body(request, LARGEST_HINTS + session.size[0] * session.size[1])
        found = await run_in_threadpool(lambda: mask_of_request(session.frames.read_frame(index), body))
        return ids_response(found, {"Cache-Control": "no-store"})

    async def import_mask(self, request: Request) -> Response:
        """Read the frame's mask from a mask file, the body; it is not stored.

        ?name= is the file's name, ?object= the object that a mask of one object is of. The answer's first line is JSON:
        absent (null: all, as the file shows no object), names by object, and notes on how the file was read.
        """
        session, index = self._session(request), request.path_params["index"]
        session.frame_name(index)
        name = request.query_params.get("name", "")
        chosen = parse_ids(request.query_params.get("object"), "object") or [1]
        content = await read_body(request, LARGEST_FILE, f"{name[:200]}: a file")
        found = await run_in_threadpool(import_mask, content, name, session, index, chosen[0])
        about = {"absent": found.absent, "names": found.names, "notes": found.notes}
        return ids_response(found.ids, {"Cache-Control": "no-store"}, about)

    def annotation(self, request: Request) -> Response:
        """Return a painted id mask; the header Absent has the objects told to be absent, if that was said."""
        ids, absent = self._session(request).annotation(request.path_params["index"])
        said = {} if absent is None else {"Absent": " ".join(map(str, absent))}
        return ids_response(ids, {"Cache-Control": "no-store"} | said)

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
