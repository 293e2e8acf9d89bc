"""Protection of the server: from those without its token, and from other sites' pages open in the same browser."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",  # it would tell the session's id
    "X-Content-Type-Options": "nosniff",
}

_LONGEST_PATH = 1000  # characters; Python refuses to read numbers of more than 4300 digits


class Guard:
    """Refuses requests for an unknown host name, without the token, and changes from pages of other sites.

    An unknown name may be DNS rebinding: a foreign name that leads to this machine. Pages of other sites are recognised
    by the header Origin.

    The page itself, the same for everyone, is open; visited once with ?token=, it leaves the token in a cookie that
    scripts and other sites cannot use. All else needs this cookie. Paths that are longer than any are refused, too.

    Args:
        app: the application to protect.
        hosts: names and addresses that the server answers to.
        token: the secret; "": none is needed.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str], token: str = "") -> None:
        self.app, self.hosts, self.token = app, {host.lower() for host in hosts}, token
        # named by the token: browsers send a host's cookies to the servers at all of its ports
        self.cookie = "eosvos-" + hashlib.sha256(token.encode()).hexdigest()[:12]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        if message := self._refused(scope["method"], Headers(scope=scope)):
            return await JSONResponse({"error": message}, 403)(scope, receive, send)
        if len(scope["path"]) > _LONGEST_PATH:
            return await JSONResponse({"error": "no path here is as long"}, 414)(scope, receive, send)
        visit = HTTPConnection(scope)
        first = bool(self.token) and scope["path"] == "/" and self._is_token(visit.query_params.get("token"))
        if self.token and not first and not _is_open(visit) and not self._is_token(visit.cookies.get(self.cookie)):
            message = "this server wants its token: open the address that it printed when it started, with ?token="
            return await JSONResponse({"error": message}, 401)(scope, receive, send)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if first:
                    secure = "; Secure" if scope["scheme"] == "https" else ""
                    headers.append(
                        "Set-Cookie", f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Strict{secure}"
                    )
                if "cache-control" not in headers:
                    headers["Cache-Control"] = "no-cache"
            await send(message)

        await self.app(scope, receive, guarded)

    def _is_token(self, given: str | None) -> bool:
        return given is not None and secrets.compare_digest(given.encode(), self.token.encode())

    def _refused(self, method: str, headers: Headers) -> str:
        host = headers.get("host", "")
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            name = ""
        if name not in self.hosts:
            return f"this server does not answer as {host or 'nobody'}; start it with hosts=[{name}] if it should"
        if method not in ("GET", "HEAD") and headers.get("origin") not in (f"http://{host}", f"https://{host}"):
            return f"only pages of http://{host} may change something here, not those of {headers.get('origin')}"
        return ""


def _is_open(visit: HTTPConnection) -> bool:
    """Return whether a request is for the page itself; with a token in the address it is not."""
    path = visit.scope["path"]
    return path.startswith("/static/") or (path == "/" and "token" not in visit.query_params)
