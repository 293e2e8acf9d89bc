"""Requests to the page's server at random: valid ones, and such that are changed, cut off, too long or nonsense."""

from __future__ import annotations

import http.client
import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from crowd import SIZE, pictures, png

TOYS = 6  # sessions that requests may change
PATIENCE = 300  # seconds for an answer
METHODS = "GET HEAD POST PUT DELETE PATCH OPTIONS TRACE CONNECT get FOO".split()
VALUES: list[Any] = [
    *(None, True, -1, 0, 1, 2, 254, 255, 1e308, -1e308, 10**30, 0.5, float("nan"), float("inf")),
    *("", "\ud800", "\0", "x" * 5000, "../../etc/passwd", "1", "#12345g", "overlay", "json", [], {}, [[]]),
    *([0, 0, 1, 1], [0.1, 0.1, 0.2, 0.2], [-5, -5, 1e5, 1e5], [[1, 1]] * 300, {"id": 1}),
]
PARTS = [
    *("..", ".", "", "%2e%2e", "%00", "%2f", "%ff%fe", "%ED%A0%80", "-1", "0", "1", "999", "9" * 5000, "a" * 300),
    *("1.5", "%20", "~", "session.json", "video", "\\..\\", "%", "%zz", "{id}", "sample", "0" * 32),
]
QUERIES = [
    *("name=../../x.png", "name=%00", "name=" + "n" * 3000 + ".png", "name=.png", "name", "absent=", "absent=-1"),
    *("absent=255", "absent=" + "9" * 5000, "absent=1,2,3", "absent=%ff", "whole=1", "&&&", "%", "a=" * 500),
]
HEADERS = [
    *("Host: evil.example", "Host: [", "Host: 127.0.0.1:1:1", "Host:", "Origin: http://evil.example", "Origin: null"),
    *("Content-Length: -1", "Content-Length: abc", "Content-Length: 99999999999999999999", "Content-Length: 5, 6"),
    *("Transfer-Encoding: chunked", "Transfer-Encoding: gzip", "Expect: 100-continue", "Upgrade: websocket"),
    *("Range: bytes=0-0", "Range: bytes=5-2", "Range: bytes=" + "0-1," * 200, "Range: lines=1", "If-Range: x"),
    *("If-None-Match: *", "If-Modified-Since: never", "X: " + "y" * 70_000, "X y: z", "Cookie: \x01", ": empty"),
    *("Connection: upgrade", "Content-Type: multipart/form-data", "Accept-Encoding: br;q=\xff"),
]


@dataclass
class Answered:
    """What came of the requests.

    Attributes:
        statuses: how often each kind of request was answered by which status; 0: not at all.
        faults: what was wrong, and the request.
    """

    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    faults: list[tuple[str, bytes]] = field(default_factory=list)
    slowest: float = 0.0


@dataclass
class Ask:
    """A request that is put together; `sound`: it has to be answered."""

    method: str
    path: str
    body: bytes = b""
    headers: list[str] = field(default_factory=list)
    query: str = ""
    sound: bool = True


class Fuzz:
    """Sends requests to a server.

    Args:
        port: of the server.
        folder: its sessions, which no answer may name.
        kept: addresses of sessions that must stay as they are: they are only looked at, and requests that would
            change them come from pages of other sites.
        limit: what the server takes as an upload, in bytes.
    """

    def __init__(self, port: int, folder: str, kept: Sequence[str], limit: int) -> None:
        self.port, self.folder, self.kept, self.limit = port, folder.encode(), list(kept), limit
        self.toys: list[str] = []
        self.gone: set[str] = set()  # that were deleted
        self.answered, self._lock = Answered(), threading.Lock()
        self.files = {f"{k}.png": png(frame) for k, frame in enumerate(pictures(1000))}

    def work(self, seed: str, end: float, count: int) -> None:
        """Send requests until `end` (of time.monotonic), `count` at most."""
        rng = random.Random(seed)
        while time.monotonic() < end and count > 0:
            count -= 1
            if len(self.toys) < TOYS and rng.random() < 0.2:
                self._open(rng)
                continue
            kind = rng.choices(["valid", "changed", "nonsense", "foreign"], [3, 6, 1, 1])[0]
            if kind == "foreign" and not self.kept:
                continue
            ask = self._valid(rng, rng.choice(self.kept) if kind == "foreign" else self._toy(rng))
            if kind == "foreign":
                if ask.method != "GET":
                    ask.headers.append(rng.choice(["Origin: http://evil.example", "Origin: null", "Origin: "]))
            elif kind == "changed":
                for _ in range(rng.choice([1, 1, 2, 3])):
                    self._change(rng, ask)
            elif kind == "nonsense":
                ask = Ask(rng.choice(METHODS), self._path(rng), rng.randbytes(rng.choice([0, 9, 9000])), sound=False)
            status, _ = self._send(kind, rng, ask)
            if kind == "foreign" and ask.method != "GET" and status not in (403, 0):
                self._fault(f"a request of another site is answered with {status}", ask, b"")

    def close(self) -> None:
        """Delete the sessions that were made; they must be gone."""
        rng = random.Random(0)
        for toy in list(self.toys):
            self._send("deleted", rng, Ask("DELETE", toy))
            status, _ = self._send("gone", rng, Ask("GET", toy))
            if status != 404:
                self._fault(f"a deleted session is answered with {status}", Ask("GET", toy), b"")

    def _toy(self, rng: random.Random) -> str:
        toys = list(self.toys)
        return rng.choice(toys) if toys else "/api/sessions/" + "0" * 32

    def _open(self, rng: random.Random) -> None:
        """Open a session, whose frames may be damaged, too many or too large."""
        if rng.random() < 0.05:
            ask, whole = Ask("POST", "/api/sample"), True
        else:
            status, found = self._send("upload", rng, Ask("POST", "/api/sessions"))
            if status != 200:
                return
            toy, whole = f"/api/sessions/{found['id']}", rng.random() < 0.6
            for name, content in self.files.items():
                ask = Ask("PUT", f"{toy}/file", content, query=f"name={name}")
                if not whole and rng.random() < 0.5:
                    self._change(rng, ask)
                self._send("upload", rng, ask)
            ask = Ask("POST", f"{toy}/open", json.dumps({"name": rng.choice(["clip", "ü/\n", "x" * 300])}).encode())
        status, found = self._send("upload", rng, ask)
        if status == 200:
            self.toys.append(f"/api/sessions/{found['id']}")
        elif whole and status:
            self._fault(f"a good upload is answered with {status}", ask, b"")

    def _valid(self, rng: random.Random, one: str) -> Ask:
        k, mask = rng.randrange(len(self.files)), bytearray(SIZE[0] * SIZE[1])
        mask[500 : 500 + rng.randrange(1, 900)] = bytes([rng.randrange(1, 4)]) * rng.randrange(1, 900)
        mask = mask[: SIZE[0] * SIZE[1]].ljust(SIZE[0] * SIZE[1], b"\0")
        hints = {"box": [4, 4, 40, 40], "inside": [[[9, 9], [12, 12]]], "outside": [[[60, 40]]], "radius": 2}
        objects = [{"id": i, "name": "one", "colour": "#aabbcc", "deleted": rng.random() < 0.1} for i in (1, 2)]
        made = [
            *(Ask("GET", path) for path in ("/", "/static/page.js", "/api/sessions", one, one)),
            *(Ask("GET", f"{one}/{what}/{k}") for what in ("frames", "annotations", "runs/1/masks", "runs/2/masks")),
            *(Ask("GET", f"{one}/runs/1/{what}") for what in ("curves", "uncertainty", "export")),
            Ask("POST", f"{one}/frames/{k}/mask", json.dumps(hints).encode()),
            Ask("POST", f"{one}/frames/{k}/mask", json.dumps(hints | {"box": None}).encode() + b"\n" + mask),
            *[Ask("PUT", f"{one}/annotations/{k}", bytes(mask), query=rng.choice(["", "absent=9"]))] * 3,
            Ask("DELETE", f"{one}/annotations/{k}"),
            Ask("PUT", f"{one}/objects", json.dumps({"objects": objects}).encode()),
            *[Ask("POST", f"{one}/run", b'{"steps": 1}')] * 3,
            Ask("POST", f"{one}/cancel"),
            Ask("POST", f"{one}/continue"),
            *(Ask("POST", f"{one}/runs/{n}/export", b'{"outputs": ["json", "objects"]}') for n in (1, 2)),
            Ask("PUT", f"{one}/file", b"late", query="name=late.png"),
            Ask("POST", f"{one}/open", b"{}"),
            *[Ask("DELETE", one)] * (rng.random() < 0.3),
        ]
        return rng.choice(made)

    def _path(self, rng: random.Random) -> str:
        return "/" + "/".join(rng.choice([*PARTS, "api", "sessions", "static"]) for _ in range(rng.randrange(6)))

    def _change(self, rng: random.Random, ask: Ask) -> None:
        how = rng.randrange(8)
        if how == 0:
            ask.method = rng.choice(METHODS)
        elif how == 1:
            parts = ask.path.split("/")
            parts[rng.randrange(len(parts))] = rng.choice(PARTS)
            ask.path = "/".join(parts)
            ask.sound = ask.sound and ask.path.startswith("/")
        elif how == 2:
            ask.query = rng.choice(QUERIES)
        elif how == 3:
            ask.headers.append(rng.choice(HEADERS))
            ask.sound = False  # some of them make it none
        elif how == 4 and ask.body[:1] == b"{":
            text, end, mask = ask.body.partition(b"\n")
            with suppress(ValueError):
                ask.body = json.dumps(self._other(rng, json.loads(text))).encode() + end + mask
        elif how == 5:
            ask.body = rng.randbytes(self.limit + 1 if rng.random() < 0.1 else rng.choice([0, 1, 50, 5000]))
        elif ask.body:
            content, at = bytearray(ask.body), rng.randrange(len(ask.body))
            if rng.random() < 0.5:
                content[at] ^= 1 << rng.randrange(8)
            else:
                content[at : at + rng.randrange(1, 400)] = rng.randbytes(rng.randrange(3))
            ask.body = bytes(content)

    def _other(self, rng: random.Random, value: Any) -> Any:
        """The same JSON with one value replaced."""
        if isinstance(value, dict | list) and value and rng.random() < 0.8:
            key = rng.choice(list(value) if isinstance(value, dict) else range(len(value)))
            value = value.copy()
            value[key] = self._other(rng, value[key])
            return value
        return rng.choice(VALUES)

    def _send(self, kind: str, rng: random.Random, ask: Ask) -> tuple[int, Any]:
        """Send a request, one of ten cut off in the middle; returns the status, 0 for none, and the JSON."""
        target = quote(ask.path + (f"?{ask.query}" if ask.query else ""), safe="/%?&=,~{}\\")
        place = f"127.0.0.1:{self.port}"
        names = {line.partition(":")[0].lower() for line in ask.headers}
        given = {"Host": place, "Origin": f"http://{place}", "Connection": "close"}
        if ask.body or ask.method != "GET":
            given["Content-Length"] = str(len(ask.body))
        lines = [f"{name}: {value}" for name, value in given.items() if name.lower() not in names]
        chunked = ask.sound and kind == "changed" and ask.body and rng.random() < 0.1
        if chunked:
            lines = [line for line in lines if not line.startswith("Content-Length")] + ["Transfer-Encoding: chunked"]
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(ask.body), ask.body) if chunked else ask.body
        head = "\r\n".join([f"{ask.method} {target} HTTP/1.1", *lines, *ask.headers])
        content = head.encode("latin-1", "replace") + b"\r\n\r\n" + body
        if kind == "nonsense" and rng.random() < 0.3:
            content = rng.randbytes(rng.randrange(200)) + rng.choice([b"", b"\r\n\r\n"])
        cut = kind == "changed" and rng.random() < 0.1
        if cut:
            content, ask.sound = content[: rng.randrange(len(content))], False
        status, text, begin = 0, b"", time.monotonic()
        try:
            with socket.create_connection(("127.0.0.1", self.port), PATIENCE if ask.sound else 5) as connection:
                with suppress(OSError):  # refused before all of it was sent
                    connection.sendall(content)
                if cut and rng.random() < 0.7:
                    return 0, None
                if not ask.sound:
                    connection.shutdown(socket.SHUT_WR)
                answer = http.client.HTTPResponse(connection, method=ask.method)
                answer.begin()
                status, text = answer.status, answer.read()
        except (OSError, http.client.HTTPException, ValueError) as error:
            if ask.sound and not (isinstance(error, ConnectionError) and len(ask.body) > self.limit):
                self._fault(f"no answer: {error!r}", ask, content)
        spent = time.monotonic() - begin
        with self._lock:
            self.answered.statuses[kind, status] += 1
            if ask.sound and ask.path != "/api/sample":  # which is rendered the first time
                self.answered.slowest = max(self.answered.slowest, spent)
        if status >= 500:
            self._fault(f"{status}: {text[:300]!r}", ask, content)
        if self.folder in text or b"Traceback" in text:
            self._fault(f"the server tells of its inside: {text[:300]!r}", ask, content)
        deleted = status == (200 if ask.method == "DELETE" else 404)  # also by one whose answer was not waited for
        if deleted and ask.method in ("DELETE", "GET") and ask.path in self.toys:
            self.gone.add(ask.path)
            with suppress(ValueError):
                self.toys.remove(ask.path)
        with suppress(ValueError):
            return status, json.loads(text)
        return status, None

    def _fault(self, what: str, ask: Ask, content: bytes) -> None:
        with self._lock:
            self.answered.faults.append((f"{ask.method} {ask.path[:80]}: {what}", content))


def fuzz(one: Fuzz, seed: int, *, seconds: float = 1e9, count: int = 1 << 60, threads: int = 4) -> Answered:
    """Send requests from several threads for so many seconds, or so many from each."""
    end = time.monotonic() + seconds
    workers = [threading.Thread(target=one.work, args=(f"{seed}/{n}", end, count)) for n in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    one.close()
    return one.answered
