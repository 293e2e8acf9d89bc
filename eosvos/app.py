"""python -m eosvos.app: a page in the browser to paint objects in a video, segment it, correct and export it."""

from __future__ import annotations

import sys

from eosvos.cli import usage

if __name__ == "__main__":  # before torch is loaded, which takes seconds
    usage.answer("app")

import logging
from importlib.util import find_spec
from pathlib import Path

from eosvos.cli import devices, hydra_app, schema, validate
from eosvos.cli.build_page import Make, first_session
from eosvos.data.levels import parse_levels
from eosvos.data.synthetic.videos import held_out
from eosvos.errors import UserError
from eosvos.files import locked


def serve(settings: schema.AppConfig) -> None:
    """Serve the page until a signal ends it."""
    validate.check(settings)
    if any(find_spec(name) is None for name in ("starlette", "uvicorn")):
        raise UserError("the page needs Starlette and uvicorn, which are not installed: pip install 'eosvos[app]'")
    from eosvos.page import serve as page_serve
    from eosvos.page.routes import Server
    from eosvos.page.sessions import Sessions

    devices.use_threads(settings.threads)
    folder, make = Path(settings.folder), Make(settings)
    sample = held_out("val", count=8, size=(360, 640), length=24)[7]
    with locked(folder):
        sessions = Sessions(folder, parse_levels(settings.levels))
        first = first_session(settings, sessions, make)
        begin = "" if first is None else f"#{first.id}"
        quota = None if settings.quota is None else settings.quota << 20
        limit, token = settings.upload << 20, settings.token or ""
        server = Server(sessions, make, sample, limit=limit, quota=quota, token=token)

        def say(address: str) -> None:
            logging.getLogger("eosvos.data.mask_files.formats").setLevel(
                logging.WARNING
            )  # the kind of the page's own masks
            print(f"{address}{begin}   sessions are kept in {folder}; Ctrl-C ends", flush=True)

        page_serve.serve(server, settings.host, settings.port, settings.hosts, say=say)


def main(arguments: list[str] | None = None) -> int:
    return hydra_app.run("app", serve, arguments)


if __name__ == "__main__":
    sys.exit(main())
