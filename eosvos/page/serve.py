"""Serve the page at an address of this machine."""

from __future__ import annotations

import secrets
import socket
import sys
from collections.abc import Callable, Sequence

import uvicorn

from eosvos.errors import UserError
from eosvos.page.routes import Server

LOOPBACK = ("127.0.0.1", "localhost", "::1")
ANY = ("0.0.0.0", "::", "")  # all addresses of the machine, none of which a browser calls it by


def serve(server: Server, host: str, port: int, hosts: Sequence[str] = (), *, say: Callable[[str], None]) -> None:
    """Serve until a signal ends it. Other machines need a token, which is made if the server has none.

    Args:
        server: the page's server.
        host: address to listen at.
        port: 0 takes a free one.
        hosts: further names that the server may be called by.
        say: called with the URL, token included, once the server listens.

    Raises:
        UserError: if the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as place:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            place.bind((host, port))
            place.listen()  # before the address is told: whoever has it may call
        except OSError as error:
            raise UserError(
                f"host={host} port={port}: cannot be served at ({error.strerror}); port=0 takes a free one"
            ) from error
        if host not in LOOPBACK and not server.token:
            server.token = secrets.token_urlsafe(24)
        name = hosts[0] if host in ANY and hosts else f"[{host}]" if family == socket.AF_INET6 else host
        query = f"?token={server.token}" if server.token else ""
        say(f"http://{name}:{place.getsockname()[1]}/{query}")
        if host not in LOOPBACK:
            print(
                "everyone who has this address, with its token, can use it, and sees the sessions begun in their own"
                " browser and those whose address they were given",
                file=sys.stderr,
            )
        if host in ANY and not hosts:
            print(
                "only the browsers of this machine are answered as yet: start it with what others have in the browser's"
                f" address for this machine, its name or IP address, such as hosts=[{socket.gethostname()}]",
                file=sys.stderr,
            )
        app = server.app({*LOOPBACK, host, *hosts})
        uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on")).run(sockets=[place])
