"""Sessions side by side, and requests at random: nothing is lost or mixed up, and nothing breaks the server."""

from __future__ import annotations

import logging
import shutil
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from crowd import SIZE, check, crowd, png
from odd_requests import Fuzz, fuzz

from eosvos.data.synthetic.videos import held_out
from eosvos.page import sessions
from eosvos.page.jobs import FairLock
from eosvos.page.opening_routes import OpeningRoutes
from eosvos.page.session import NotFound
from eosvos.page.sessions import Sessions

LIMIT = 1 << 20
CLIP = held_out(count=1, size=SIZE, length=3)[0]


def test_sessions_side_by_side_keep_what_is_theirs_under_odd_requests(serve, make, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # of commands of other tests, whose streams are gone
    with serve(make, limit=LIMIT) as client:
        kept = crowd(client, 3)
        one = Fuzz(client.port, str(tmp_path / "app"), [session.address for session in kept], LIMIT)
        answered = fuzz(one, 0, count=150)
        for session in kept:
            check(client, session)
    assert answered.faults == []
    assert sum(answered.statuses[kind, 200] for kind in ("valid", "changed")) > 50, answered.statuses
    assert "Traceback" not in capfd.readouterr().err


def test_what_python_cannot_read_or_send_is_a_fault_of_the_request(serve, make, capfd):
    with serve(make) as client:
        upload, one = (f"/api/sessions/{client.ask('POST', path)['id']}" for path in ("/api/sessions", "/api/sample"))
        for method, path, body in [
            ("GET", f"{one}/frames/" + "9" * 5000, b""),  # more digits than Python reads
            ("PUT", f"{one}/annotations/0?absent=" + "9" * 5000, bytes(SIZE[0] * SIZE[1])),
            ("POST", f"{upload}/open", b'{"name": "\\ud800"}'),  # half a character, which cannot be sent back
            ("PUT", f"{one}/objects", b'{"objects": [{"id": 1, "name": "\\udc00"}]}'),
            ("POST", f"{one}/frames/0/mask", b'{"box": "\\ud800"}'),
        ]:
            status, told = client.refused(method, path, body)
            assert status in (400, 414) and len(told) < 300, (method, path[:80], status, told)
        assert len(client.get("/api/sessions")["sessions"]) == 1 and client.get(one)["objects"] == []
    assert capfd.readouterr().err == ""


def test_a_request_that_is_cut_off_changes_nothing_and_is_no_error_of_the_program(serve, make, tmp_path, capfd):
    with serve(make) as client:
        upload, one = (f"/api/sessions/{client.ask('POST', path)['id']}" for path in ("/api/sessions", "/api/sample"))
        place = f"127.0.0.1:{client.port}"
        for path in (f"{one}/annotations/0", f"{upload}/file?name=a.png"):
            with socket.create_connection(("127.0.0.1", client.port)) as connection:
                head = (
                    f"PUT {path} HTTP/1.1\r\nHost: {place}\r\nOrigin: http://{place}\r\nContent-Length: 900\r\n\r\nabc"
                )
                connection.sendall(head.encode())
        client.until(one, lambda _: not (tmp_path / "app" / upload.rpartition("/")[2]).exists())
        assert client.get(one)["annotated"] == []
    assert capfd.readouterr().err == ""


def test_a_sample_that_many_ask_for_is_rendered_once(serve, make):
    asked = []

    def read(index):
        asked.append(index)
        return CLIP.read_frame(index)

    with serve(make, sample=replace(CLIP, read_frame=read)) as client, ThreadPoolExecutor(4) as pool:
        ids = list(pool.map(lambda _: client.ask("POST", "/api/sample")["id"], range(4)))
    assert len(set(ids)) == 4 and sorted(asked) == list(range(len(CLIP)))


def test_a_session_that_is_being_deleted_does_not_come_back(tmp_path, monkeypatch):
    known, opened, remove = Sessions(tmp_path / "app"), sessions.open_upload, shutil.rmtree
    session = known.sample(CLIP)
    told = []

    def slow(path, **more):  # another request comes while the files go
        with pytest.raises(NotFound) as refused:
            known.uploading(session.id)
        told.append(str(refused.value))
        remove(path, **more)

    with monkeypatch.context() as patch:
        patch.setattr(sessions.shutil, "rmtree", slow)
        known.remove(session.id)
    assert told == ["this upload is not there; open the video anew"] and known.all() == ([], [])

    def late(*given):
        known.remove(id)  # by an upload to it that fails meanwhile
        return found

    id = known.begin()
    (known.folder / id / "video" / "0.png").write_bytes(png(CLIP.read_frame(0)))
    found = opened(known.folder / id / "video")
    monkeypatch.setattr(sessions, "open_upload", late)
    with pytest.raises(NotFound):
        known.open(id, "clip")
    assert [path.name for path in known.folder.iterdir()] == ["sample"]
    (known.folder / f"{id}.0.deleted" / "video").mkdir(parents=True)  # as kill -9 leaves it
    Sessions(tmp_path / "app")
    assert [path.name for path in known.folder.iterdir()] == ["sample"]


def test_jobs_take_turns_in_the_order_in_which_they_asked():
    lock, order = FairLock(), []

    def work(number):
        with lock:
            for _ in range(3):
                order.append(number)
                lock.change()

    with lock:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for place, thread in enumerate(threads, 2):
            thread.start()
            while len(lock._line) < place:
                threading.Event().wait(0.001)
    for thread in threads:
        thread.join(20)
    assert order == 3 * list(range(8))


def test_a_fault_of_the_server_is_found(serve, make, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(OpeningRoutes, "begin", lambda self, request: 1 // 0)
    with serve(make) as client:
        answered = fuzz(Fuzz(client.port, str(tmp_path / "app"), [], LIMIT), 1, count=40, threads=1)
    assert any("POST /api/sessions: 500" in told for told, _ in answered.faults)
    assert "ZeroDivisionError" in capfd.readouterr().err
