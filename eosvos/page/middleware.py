"""Protection of the server from other sites' pages that are open in the same browser."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
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
    """Refuses requests for an unknown host name, and changes from pages of other sites.

    An unknown name may be DNS rebinding: a foreign name that leads to this machine. Pages of other sites are recognised
    by the header Origin.

    Paths that are longer than any are refused, too.

    Args:
        app: the application to protect.
        hosts: names and addresses that the server answers to.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self.app, self.hosts = app, {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        if message := self._refused(scope["method"], Headers(scope=scope)):
            return await JSONResponse({"error": message}, 403)(scope, receive, send)
        if len(scope["path"]) > _LONGEST_PATH:
            return await JSONResponse({"error": "no path here is as long"}, 414)(scope, receive, send)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if "cache-control" not in headers:
                    headers["Cache-Control"] = "no-cache"
            await send(message)

        await self.app(scope, receive, guarded)

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
