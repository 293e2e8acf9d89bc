"""Reading requests to the page's server, and building its answers."""

from __future__ import annotations

import gzip
import json
from collections.abc import Collection
from typing import Any

import numpy as np
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from eosvos.data.masks import VOID
from eosvos.errors import UserError

FOREVER = {"Cache-Control": "private, max-age=31536000, immutable"}  # what has a session's id never changes
_LARGEST_JSON = 1 << 18  # bytes; 254 objects with long names


async def read_body(request: Request, limit: int, what: str = "a request") -> bytes:
    """Read a request's body; raises HTTPException 413 if it has more than `limit` bytes."""
    parts, length = [], 0
    async for chunk in request.stream():
        length += len(chunk)
        if length > limit:
            raise HTTPException(413, f"{what} of more than {limit} bytes")
        parts.append(chunk)
    return b"".join(parts)


async def read_json(request: Request) -> dict[str, Any]:
    """Read the JSON object that a request's body is; {} if it is empty. Raises UserError for anything else."""
    return parse_object(await read_body(request, _LARGEST_JSON) or b"{}")


def parse_object(text: bytes) -> dict[str, Any]:
    """Parse a JSON object. Raises UserError for anything else."""
    try:
        content = json.loads(text)
        json.dumps(content, ensure_ascii=False).encode()  # half a character could not be sent back
    except (ValueError, RecursionError) as error:
        raise UserError(f"the request is not JSON ({error})") from error
    if not isinstance(content, dict):
        raise UserError("the request is not a JSON object")
    return content


def parse_ids(text: str | None, setting: str = "absent") -> list[int] | None:
    """Read object ids parted by blanks or commas. Raises UserError, which names the `setting`, for anything else."""
    if text is None:
        return None
    parts = text.replace(",", " ").split()
    if not all(part.isascii() and part.isdecimal() and len(part) < 4 and 0 < int(part) < VOID for part in parts):
        raise UserError(f"{setting}={text[:60]!r}: expected object ids, 1 to {VOID - 1}")
    return [int(part) for part in parts]


def ids_response(ids: np.ndarray, headers: dict[str, str], about: dict[str, Any] | None = None) -> Response:
    """Answer with an id mask as compressed bytes, row by row: lossless, unlike an image in a browser.

    about: what is said of the mask, a line of JSON before it.
    """
    line = b"" if about is None else json.dumps(about).encode() + b"\n"
    content = gzip.compress(line + np.ascontiguousarray(ids).tobytes(), 1)
    return Response(content, media_type="application/octet-stream", headers=headers | {"Content-Encoding": "gzip"})


def ranges(flags: Collection[bool]) -> list[tuple[int, int]]:
    """Return first and last index of each run of true flags."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], np.array(flags, bool), [False]]).astype(np.int8)))
    return [(int(a), int(b) - 1) for a, b in edges.reshape(-1, 2)]


def refusal(request: Request, error: HTTPException) -> Response:
    return JSONResponse({"error": error.detail}, error.status_code)


def cut_off(request: Request, error: Exception) -> Response:
    """Answer a request that its sender has given up, so that it is no error of the program; nobody reads it."""
    return JSONResponse({"error": "the request was cut off"}, 400)


def failure(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": f"{type(error).__name__}: {error}; this is an error of the program"}, 500)
