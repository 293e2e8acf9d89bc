"""Serve the page at an address of this machine."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Collection

import uvicorn

from eosvos.errors import UserError
from eosvos.page.routes import Server

LOOPBACK = ("127.0.0.1", "localhost", "::1")
ANY = ("0.0.0.0", "::", "")  # all addresses of the machine, none of which a browser calls it by


def serve(server: Server, host: str, port: int, hosts: Collection[str] = (), *, say: Callable[[str], None]) -> None:
    """Serve until a signal ends it.

    Args:
        server: the page's server.
        host: address to listen at.
        port: 0 takes a free one.
        hosts: further names that the server may be called by.
        say: called with the URL once the server listens.

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
        say(f"http://{f'[{host}]' if family == socket.AF_INET6 else host}:{place.getsockname()[1]}/")
        if host not in LOOPBACK:
            print("everyone who reaches this address can use it: see and change all sessions", file=sys.stderr)
        if host in ANY and not hosts:
            print(
                "only the browsers of this machine are answered as yet: start it with what others have in the browser's"
                f" address for this machine, its name or IP address, such as hosts=[{socket.gethostname()}]",
                file=sys.stderr,
            )
        app = server.app({*LOOPBACK, host, *hosts})
        uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on")).run(sockets=[place])
