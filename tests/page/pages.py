"""A server of the page in this process, on a free port, and requests as a browser makes them."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import threading
import time
from contextlib import contextmanager
from typing import Any

import hydra
import numpy as np
import pytest
from omegaconf import OmegaConf

from eosvos.cli import hydra_app, schema
from eosvos.data.synthetic.videos import held_out


def settings(*overrides: str) -> schema.AppConfig:
    hydra_app.register()
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(hydra_app.config_dir())):
        return OmegaConf.to_object(hydra.compose("app", overrides=["device=cpu", *overrides]))


class Client:
    """Requests to a server, of a page of its own unless other headers are given."""

    def __init__(self, port: int) -> None:
        self.port = port

    def send(self, method: str, path: str, body: Any = None, headers: dict[str, str | None] | None = None):
        """Status, headers and body of an answer. Headers that are None are left out."""
        place = f"127.0.0.1:{self.port}"
        given = {"Host": place, "Origin": f"http://{place}"} | (headers or {})
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.putrequest(method, path, skip_host=True)
            if isinstance(body, dict):
                body = json.dumps(body).encode()
            if isinstance(body, bytes) and "Content-Length" not in given and "Transfer-Encoding" not in given:
                given["Content-Length"] = str(len(body))
            for name, value in given.items():
                if value is not None:
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            content = answer.read()
            if answer.headers.get("Content-Encoding") == "gzip":
                content = gzip.decompress(content)
            return answer.status, answer.headers, content
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        """The JSON of an answer that is no error."""
        return self.ask("GET", path)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        status, _, content = self.send(method, path, body)
        assert status == 200, content
        return json.loads(content)

    def refused(self, method: str, path: str, body: Any = None, headers: Any = None) -> tuple[int, str]:
        status, _, content = self.send(method, path, body, headers)
        return status, json.loads(content)["error"]

    def ids(self, path: str, size: tuple[int, int]) -> np.ndarray:
        status, _, content = self.send("GET", path)
        assert status == 200, content
        return np.frombuffer(content, np.uint8).reshape(size)

    def upload(self, files: dict[str, bytes], name: str = "clip") -> str:
        """The address of the new session. Raises AssertionError where it is refused."""
        session = self.ask("POST", "/api/sessions")["id"]
        for file, content in files.items():
            self.ask("PUT", f"/api/sessions/{session}/file?name={file}", content)
        self.ask("POST", f"/api/sessions/{session}/open", {"name": name})
        return f"/api/sessions/{session}"

    def until(self, session: str, held: Any, seconds: float = 60) -> dict[str, Any]:
        """The state of a session as soon as `held` of it is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            state = self.get(session)
            if held(state):
                return state
            time.sleep(0.05)
        raise AssertionError(f"still {state}")

    def idle(self, session: str) -> dict[str, Any]:
        return self.until(session, lambda state: state["job"] is None)


class Held:
    """Makes methods that wait for leave before each frame, the first excepted."""

    def __init__(self, make):
        self.make, self.device, self.steps, self.leave = make, make.device, make.steps, threading.Semaphore(0)

    def __call__(self, steps, watch):
        method, leave = self.make(steps, watch), self.leave
        step = method.step
        method.step = lambda frame: leave.acquire() and step(frame)
        return method

    def fingerprint(self, steps):
        return self.make.fingerprint(steps)


@contextmanager
def served(folder, make, *, sample=None, limit=1 << 20, port=0, quota=None, token=""):
    uvicorn = pytest.importorskip("uvicorn")
    from eosvos.page.routes import Server
    from eosvos.page.serve import LOOPBACK
    from eosvos.page.sessions import Sessions

    with socket.socket() as place:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind(("127.0.0.1", port))
        sample = sample or held_out(count=1, size=(48, 80), length=5)[0]
        page = Server(Sessions(folder), make, sample, limit=limit, quota=quota, token=token)
        server = uvicorn.Server(uvicorn.Config(page.app(LOOPBACK), log_level="warning", lifespan="on"))
        thread = threading.Thread(target=server.run, args=([place],), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield Client(place.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(20)
