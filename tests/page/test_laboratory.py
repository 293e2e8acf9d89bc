"""The page on a machine of a laboratory: a token, several people at once, and a bounded disk."""

from __future__ import annotations

import json
import secrets

import numpy as np
import pytest
from pages import Client, settings

from eosvos import app
from eosvos.data.synthetic.videos import held_out

pytest.importorskip("starlette")
TOKEN = "a-token-of-20-chars-"
SIZE = (48, 80)
CLIP = held_out(count=1, size=SIZE, length=5)[0]


class Browser(Client):
    """Requests of one browser, with the cookies that it has got."""

    def __init__(self, port):
        super().__init__(port)
        self.cookie = None

    def send(self, method, path, body=None, headers=None):
        status, answer, content = super().send(method, path, body, {"Cookie": self.cookie} | (headers or {}))
        if "Set-Cookie" in answer:
            self.cookie = answer["Set-Cookie"].split(";")[0]
        return status, answer, content


def test_who_has_not_the_token_gets_the_empty_page_and_nothing_else(serve, make, monkeypatch):
    compared = []
    same = secrets.compare_digest
    monkeypatch.setattr(secrets, "compare_digest", lambda *pair: compared.append(pair) or same(*pair))
    with serve(make, token=TOKEN) as client:
        own = Browser(client.port)
        status, headers, _ = own.send("GET", f"/?token={TOKEN}")
        parts = headers["Set-Cookie"].split("; ")
        assert status == 200 and {"HttpOnly", "SameSite=Strict", "Path=/"} < set(parts) and "Secure" not in parts
        proxied = own.send("GET", f"/?token={TOKEN}", headers={"X-Forwarded-Proto": "https"})
        assert proxied[1]["Set-Cookie"].endswith("; Secure")
        session = f"/api/sessions/{own.ask('POST', '/api/sample')['id']}"
        https = {"Origin": f"https://127.0.0.1:{client.port}"}
        assert own.send("PUT", f"{session}/annotations/0", CLIP.read_mask(0).tobytes(), https)[0] == 200
        requests = [
            ("GET", "/api/sessions"),
            ("GET", session),
            ("GET", f"{session}/frames/0"),
            ("GET", f"{session}/annotations/0"),
            ("GET", "/api/nothing"),
            ("GET", "/nothing"),
            ("GET", "//"),
            ("GET", f"/?token={TOKEN}x"),
            ("GET", f"/?token={TOKEN[:-1]}"),
            ("GET", "/?token="),
            ("GET", f"/api/sessions?token={TOKEN}"),
            ("POST", "/api/sample"),
            ("POST", "/api/sessions"),
            ("POST", f"{session}/run"),
            ("DELETE", session),
        ]
        name = own.cookie.split("=")[0]
        for cookie in (None, f"{name}=", f"{name}={TOKEN[:-1]}", f"{name}x={TOKEN}", f"{name}=\xe4"):
            for method, path in requests:
                status, headers, content = client.send(method, path, None, {"Cookie": cookie})
                assert status == 401 and "wants its token" in json.loads(content)["error"], (cookie, path)
                assert "Set-Cookie" not in headers and session.encode() not in content
            status, headers, content = client.send("GET", "/", None, {"Cookie": cookie})
            assert status == 200 and "Set-Cookie" not in headers and TOKEN.encode() not in content
            assert client.send("GET", "/static/page.js", None, {"Cookie": cookie})[0] == 200
            for path in ("/static/../api/sessions", "/static/%2e%2e/api/sessions"):
                assert client.send("GET", path, None, {"Cookie": cookie})[0] == 404
        assert own.get(session)["annotated"] == [0]
        assert all(TOKEN.encode() == pair[1] for pair in compared) and len(compared) > 20
        evil = own.send("POST", "/api/sample", None, {"Origin": "http://evil.example"})
        assert evil[0] == 403  # a cookie does not make it one's own page


def test_nothing_of_a_session_is_told_to_those_who_have_not_its_address(serve, make, tmp_path):
    with serve(make, token=TOKEN) as client:
        one, other = Browser(client.port), Browser(client.port)
        ids = []
        for browser in (one, other):
            browser.send("GET", f"/?token={TOKEN}")
            ids.append(browser.ask("POST", "/api/sample")["id"])
        damaged = tmp_path / "app" / ("0" * 32)
        damaged.mkdir()
        (damaged / "session.json").write_text("")
        assert other.get("/api/sessions")["sessions"] == [] and other.get("/api/sessions")["damaged"] == []
        for asked in (ids[1], f"{ids[1]},{'f' * 32},..,*,{ids[0][:31]},{ids[0][:-1]}?", f",{ids[1]}"):
            found = other.get(f"/api/sessions?ids={asked}")
            assert [session["id"] for session in found["sessions"]] == [ids[1]] and found["damaged"] == []
        assert [s["id"] for s in one.get(f"/api/sessions?ids={','.join(ids)}")["sessions"]] == ids[::-1]  # given to it
        address = f"/api/sessions/{ids[1]}"
        one.ask("PUT", f"/api/sessions/{ids[0]}/annotations/0", CLIP.read_mask(0).tobytes())
        one.ask("POST", f"/api/sessions/{ids[0]}/run", {"steps": 1})
        one.idle(f"/api/sessions/{ids[0]}")
        parts = ("", "/annotations/0", "/runs/1/curves", "/runs/1/masks/0", "/runs/1/export")
        for path in ("/", "/api/sessions", f"/api/sessions/{ids[0][:-1]}0x", *(address + part for part in parts)):
            _, headers, content = other.send("GET", path)
            assert ids[0].encode() not in content and ids[0] not in str(headers)
        assert other.get(address)["annotated"] == [] and other.get(address)["run"] is None
    with serve(make) as client:  # this machine alone: as ever
        assert {session["id"] for session in client.get("/api/sessions")["sessions"]} == set(ids)


def test_where_the_disk_is_used_up_nothing_begins_and_nothing_is_lost(serve, make, tmp_path, monkeypatch):
    from eosvos.page import quota

    monkeypatch.setattr(quota, "_SHORTEST", 0.0)
    monkeypatch.setattr(quota, "_PAUSE", 0.0)
    told = "is used up; delete sessions that are no longer needed, or have it started with a larger quota="
    with serve(make) as client:
        sessions = [f"/api/sessions/{client.ask('POST', '/api/sample')['id']}" for _ in range(2)]
        client.ask("PUT", f"{sessions[0]}/annotations/0", CLIP.read_mask(0).tobytes())
    room = quota.disk_use(tmp_path / "app")
    with serve(make, quota=room + 1500) as client:
        up = client.ask("POST", "/api/sessions")["id"]
        for headers, body in (
            ({}, b"x" * 5000),  # not waited for
            ({"Transfer-Encoding": "chunked"}, b"1000\r\n" + b"x" * 4096 + b"\r\n0\r\n\r\n"),
        ):
            up = up or client.ask("POST", "/api/sessions")["id"]
            status, error = client.refused("PUT", f"/api/sessions/{up}/file?name=a.mp4", body, headers)
            assert status == 507 and error.endswith(told) and error.startswith("the disk space of this server, ")
            assert not (tmp_path / "app" / up).exists()
            up = None
        client.ask("POST", f"{sessions[0]}/run", {"steps": 1})  # which is cut off
        state = client.idle(sessions[0])
        assert state["run"]["state"] == "failed" and state["failure"].endswith(told)
        for method, path in (("POST", "/api/sample"), ("POST", "/api/sessions"), ("POST", f"{sessions[0]}/continue")):
            status, error = client.refused(method, path)
            assert status == 507 and error.endswith(told)
        painted = np.ones(SIZE, np.uint8)
        client.ask("PUT", f"{sessions[1]}/annotations/3?absent=", painted.tobytes())  # painting is never refused
        assert np.array_equal(client.ids(f"{sessions[1]}/annotations/3", SIZE), painted)
        assert client.get(sessions[0])["annotated"] == [0] and client.send("GET", f"{sessions[0]}/frames/1")[0] == 200
    with serve(make, quota=room + (64 << 20)) as client:
        client.ask("POST", f"{sessions[0]}/continue")
        assert client.idle(sessions[0])["run"]["state"] == "finished"
        used = quota.disk_use(tmp_path / "app")
    with serve(make, quota=used - 1) as client:
        status, error = client.refused("POST", f"{sessions[0]}/runs/1/export", {"outputs": []})
        assert status == 507 and error.endswith(told)
        client.ask("DELETE", sessions[1])
        client.ask("POST", f"{sessions[0]}/runs/1/export", {"outputs": []})
        assert client.idle(sessions[0])["exported"]


def test_of_links_to_a_file_one_counts(tmp_path):
    from eosvos.page.quota import disk_use

    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "file").write_bytes(b"x" * 100)
    (tmp_path / "a" / "b" / ".file").write_bytes(b"x" * 10)
    (tmp_path / "a" / "b" / "link").hardlink_to(tmp_path / "a" / "file")
    assert disk_use(tmp_path) == 110 and disk_use(tmp_path / "nothing") == 0


@pytest.mark.parametrize(
    ("host", "hosts", "token"),
    [("0.0.0.0", ["mybox", "x"], ""), ("0.0.0.0", [], TOKEN), ("127.0.0.1", [], TOKEN), ("127.0.0.1", [], "")],
)
def test_the_address_has_the_token_that_others_need(make, tmp_path, monkeypatch, host, hosts, token):
    uvicorn = pytest.importorskip("uvicorn")
    from eosvos.page import serve
    from eosvos.page.routes import Server
    from eosvos.page.sessions import Sessions

    said = []
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: None)
    server = Server(Sessions(tmp_path), make, CLIP, limit=1, token=token)
    serve.serve(server, host, 0, hosts, say=said.append)
    address, _, query = said[0].partition("/?token=")
    assert address.rstrip("/").startswith(f"http://{hosts[0] if hosts else host}:") and query == server.token
    if host == "0.0.0.0":
        assert token in ("", query) and len(query) >= 20
    else:
        assert query == token
    again = Server(Sessions(tmp_path), make, CLIP, limit=1)
    serve.serve(again, "0.0.0.0", 0, say=said.append)
    assert again.token and again.token != server.token


def test_tokens_that_are_guessed_or_break_a_cookie_are_refused(tmp_path, page_learner, capsys, monkeypatch):
    line = [f"learner={page_learner}", f"folder={tmp_path / 'app'}", "device=cpu"]
    for token in ("short", "with a blank and more", "semicolon;semicolon;", "ä" * 20):
        assert app.main([*line, f"token={token}"]) == 2
        error = capsys.readouterr().err
        assert "expected at least 16 letters, digits" in error and token not in error
    assert app.main([*line, "quota=0"]) == 2
    assert "quota=0: expected" in capsys.readouterr().err
    monkeypatch.setenv("EOSVOS_TOKEN", TOKEN)
    assert settings().token == TOKEN
    monkeypatch.delenv("EOSVOS_TOKEN")
    assert settings().token is None
