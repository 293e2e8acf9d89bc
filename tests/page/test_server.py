"""The page's server: the whole way of a session, what it refuses, and that nothing is lost."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import quote

import numpy as np
import pytest
from pages import Held, served, settings
from PIL import Image

from eosvos import Segmenter, app, segment
from eosvos.app import Make
from eosvos.data.masks import read_mask
from eosvos.data.readers.user_video import open_own
from eosvos.data.synthetic.videos import held_out

pytest.importorskip("starlette")
SIZE = (48, 80)
CLIP = held_out(count=1, size=SIZE, length=5)[0]


def png(pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def paint(client, session, index, ids=None):
    ids = CLIP.read_mask(index) if ids is None else ids
    client.ask("PUT", f"{session}/annotations/{index}", np.ascontiguousarray(ids).tobytes())


def result(client, session, run):
    return [client.ids(f"{session}/runs/{run}/masks/{k}", SIZE) for k in range(len(CLIP))]


def test_a_session_from_painting_to_the_zip_gives_the_masks_of_command_and_api(serve, make, page_learner, tmp_path):
    with serve(make) as client:
        session = f"/api/sessions/{client.ask('POST', '/api/sample')['id']}"
        state = client.get(session)
        assert (state["frames"], state["size"], state["run"]) == (len(CLIP), list(SIZE), None)
        status, headers, content = client.send("GET", f"{session}/frames/2")
        shown = np.array(Image.open(io.BytesIO(content)))
        assert status == 200 and headers["Content-Type"] == "image/jpeg" and shown.shape == (*SIZE, 3)
        assert np.abs(shown.astype(int) - CLIP.read_frame(2)).mean() < 6
        assert (
            client.refused("POST", f"{session}/run")[1]
            == "no object is painted yet; paint one on any frame, then start"
        )
        assert client.get(session)["run"] is None

        paint(client, session, 1)
        paint(client, session, 3)
        assert np.array_equal(client.ids(f"{session}/annotations/3", SIZE), CLIP.read_mask(3))
        client.ask("POST", f"{session}/run", {"steps": 2})
        run = client.idle(session)["run"]
        objects = sorted(CLIP.first_frame)
        assert run["state"] == "finished" and run["done"] == [[0, 4]] and run["frames"] == [1, 3]
        steps = [[k, 4] for k in range(1, 5)]  # two for each painted frame
        assert [line[:2] for line in run["losses"]] == steps * len(objects)  # once, for both ways
        assert run["suggested"] in (0, 2, 4) and run["objects"] == objects
        found = result(client, session, 1)

        folder = tmp_path / "app" / session.rpartition("/")[2]
        line = [f"video={folder / 'video'}", f"masks={folder / 'annotations'}", f"learner={page_learner}"]
        assert segment.main([*line, "iters=2", "seed=3", "device=cpu", "outputs=[]", f"out={tmp_path / 'out'}"]) == 0
        for name, ids in zip(CLIP.frame_names, found, strict=True):
            assert np.array_equal(read_mask(tmp_path / "out" / "masks" / f"{name}.png"), ids)
        segmenter = Segmenter(make(2, lambda *_: None))
        segmenter.learn(CLIP.read_frame(3), {i: CLIP.read_mask(3) == i for i in objects})
        segmenter.start(CLIP.read_frame(1), CLIP.read_mask(1))
        assert np.array_equal(segmenter.step(CLIP.read_frame(2)), found[2])

        client.ask("POST", f"{session}/runs/1/export", {"outputs": ["json", "objects", "overlay"]})
        state = client.idle(session)
        assert state["exported"] and state["finished"] == 1
        _, headers, content = client.send("GET", f"{session}/runs/1/export")
        assert "attachment" in headers["Content-Disposition"]
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
            assert len(json.loads(archive.read("masks.json"))["annotations"]) >= 1
            with archive.open("masks/00002.png") as file:
                assert np.array_equal(np.array(Image.open(file)), found[2])
        assert {"annotations/00001.png", "objects/001/00004.png"} < set(names)
        assert any(name.startswith("overlay") for name in names) and not any(".tmp" in name for name in names)


def test_refining_keeps_the_result_before_and_an_object_may_be_told_absent(serve, make):
    with serve(make) as client:
        session = f"/api/sessions/{client.ask('POST', '/api/sample')['id']}"
        paint(client, session, 0)
        for run in (1, 2, 3):
            client.ask("POST", f"{session}/run", {"steps": 1})
            state = client.idle(session)
            assert state["run"]["number"] == run and state["previous"] == (run - 1 or None)
            if run == 1:
                first = result(client, session, 1)
                paint(client, session, 4, np.zeros(SIZE, np.uint8))
                assert 4 in client.get(session)["annotated"]
        assert client.refused("GET", f"{session}/runs/1/masks/0")[0] == 404
        assert first[4].any() and not result(client, session, 3)[4].any()
        client.ask("DELETE", f"{session}/annotations/4")
        assert client.get(session)["annotated"] == [0]


def test_two_sessions_at_once_get_what_each_gets_alone(serve, make):
    with serve(make) as client:
        sessions = [f"/api/sessions/{client.ask('POST', '/api/sample')['id']}" for _ in range(2)]
        other = np.zeros(SIZE, np.uint8)
        other[10:30, 20:50] = 7
        paint(client, sessions[0], 0)
        paint(client, sessions[1], 0, other)
        alone = []
        for session in sessions:
            client.ask("POST", f"{session}/run", {"steps": 3})
            client.idle(session)
            alone.append(result(client, session, 1))
        for session in sessions:
            client.ask("POST", f"{session}/run", {"steps": 3})
        for session, before in zip(sessions, alone, strict=True):
            assert client.idle(session)["run"]["state"] == "finished"
            assert all(np.array_equal(*pair) for pair in zip(result(client, session, 2), before, strict=True))


def test_jobs_change_places_between_two_frames(serve, make):
    """A second session's run does not wait for the end of the first one's."""
    held = Held(make)
    with serve(make=held) as client:
        sessions = [f"/api/sessions/{client.ask('POST', '/api/sample')['id']}" for _ in range(2)]
        for session in sessions:
            paint(client, session, 0)
            client.ask("POST", f"{session}/run", {"steps": 1})
        held.leave.release(4)
        both = [client.until(session, lambda state: state["job"]["done"] >= 2) for session in sessions]
        assert all(state["run"]["state"] == "running" for state in both)
        held.leave.release(4)
        assert all(client.idle(session)["run"]["state"] == "finished" for session in sessions)


def test_cancelled_and_killed_runs_are_continued(serve, make, tmp_path):
    held = Held(make)
    with serve(held) as client:
        session = f"/api/sessions/{client.ask('POST', '/api/sample')['id']}"
        paint(client, session, 0)
        client.ask("POST", f"{session}/run", {"steps": 2})
        held.leave.release(2)
        client.until(session, lambda state: state["job"]["done"] == 3)
        assert "at work" in client.refused("POST", f"{session}/run")[1]
        paint(client, session, 3)  # the next run's
        client.ask("POST", f"{session}/cancel")
        held.leave.release(9)
        state = client.idle(session)
        assert state["run"]["state"] == "stopped" and state["failure"] == "" and len(state["run"]["done"]) == 1
        assert "not finished" in client.refused("POST", f"{session}/runs/1/export")[1]
    path = tmp_path / "app" / session.rpartition("/")[2] / "runs" / "1" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"state": "running"}))  # as kill -9 leaves it
    (tmp_path / "app" / ("0" * 32) / "video").mkdir(parents=True)  # and an upload that was cut off
    with serve(make) as client:
        assert [f"/api/sessions/{one['id']}" for one in client.get("/api/sessions")["sessions"]] == [session]
        assert not (tmp_path / "app" / ("0" * 32)).exists()
        state = client.get(session)
        assert state["run"]["state"] == "stopped" and state["annotated"] == [0, 3] and state["job"] is None
        client.ask("POST", f"{session}/continue")
        state = client.idle(session)
        assert state["run"]["state"] == "finished" and state["run"]["number"] == 1 and state["run"]["frames"] == [0]
        segmenter = Segmenter(make(2, lambda *_: None))
        segmenter.start(CLIP.read_frame(0), CLIP.read_mask(0))
        for index, ids in enumerate(result(client, session, 1)[1:], 1):
            assert np.array_equal(segmenter.step(CLIP.read_frame(index)), ids)
        client.ask("DELETE", session)
        assert not path.exists() and client.refused("GET", session)[0] == 404


def test_of_runs_that_are_asked_for_at_once_one_begins_and_is_whole(serve, make):
    class Slow(Held):
        def fingerprint(self, steps):  # all of the others come in meanwhile
            time.sleep(0.3)
            return super().fingerprint(steps)

    held = Slow(make)
    held.leave.release(99)
    with serve(held) as client:
        session = f"/api/sessions/{client.ask('POST', '/api/sample')['id']}"
        paint(client, session, 0)
        for number in (1, 2):
            with ThreadPoolExecutor(6) as pool:
                answers = list(pool.map(lambda _: client.send("POST", f"{session}/run", {"steps": 0}), range(6)))
            assert sorted(status for status, _, _ in answers) == [200] + 5 * [400]
            assert all(b"at work" in content for status, _, content in answers if status == 400)
            state = client.idle(session)
            assert (state["run"]["number"], state["run"]["state"], state["failure"]) == (number, "finished", "")
        client.ask("DELETE", f"{session}/annotations/0")
        for _ in range(2):  # what cannot begin does not keep the session
            assert "no object is painted yet" in client.refused("POST", f"{session}/run")[1]
        assert client.get(session)["job"] is None


def test_a_result_can_be_exported_although_the_run_after_it_was_cancelled(serve, make):
    held = Held(make)
    held.leave.release(4)
    with serve(held) as client:
        session = f"/api/sessions/{client.ask('POST', '/api/sample')['id']}"
        paint(client, session, 0)
        client.ask("POST", f"{session}/run", {"steps": 0})
        client.idle(session)
        client.ask("POST", f"{session}/run", {"steps": 0})
        client.ask("POST", f"{session}/cancel")
        held.leave.release(9)
        state = client.idle(session)
        assert (state["run"]["number"], state["run"]["state"]) == (2, "stopped")
        assert (state["finished"], state["exported"]) == (1, False)
        for outputs in ([["overlay"]], [{}], "json", None):
            status, error = client.refused("POST", f"{session}/runs/1/export", {"outputs": outputs})
            assert status == 400 and "expected a list of some of" in error
        client.ask("POST", f"{session}/runs/1/export", {"outputs": []})
        assert client.idle(session)["exported"]
        assert client.send("GET", f"{session}/runs/1/export")[0] == 200


def test_each_change_of_a_painted_mask_has_its_version(serve, make):
    with serve(make) as client:
        session = f"/api/sessions/{client.ask('POST', '/api/sample')['id']}"
        mask = CLIP.read_mask(3).tobytes()
        told = [client.ask("PUT", f"{session}/annotations/3", mask)["version"] for _ in range(20)]
        assert len(set(told)) == 20 and client.get(session)["versions"] == {"3": told[-1]}
        client.ask("DELETE", f"{session}/annotations/3")
        assert client.get(session)["versions"] == {}


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"name": "clip"}'])
def test_a_damaged_session_is_left_out_and_named(serve, make, tmp_path, caplog, content):
    with serve(make) as client:
        good, bad = (client.ask("POST", "/api/sample")["id"] for _ in range(2))
    path = tmp_path / "app" / bad / "session.json"
    path.write_text(content)
    with serve(make) as client:
        found = client.get("/api/sessions")
        assert [one["id"] for one in found["sessions"]] == [good] and found["damaged"] == [bad]
        assert str(path) in caplog.text
        status, error = client.refused("GET", f"/api/sessions/{bad}")
        assert status == 400 and "remove its folder" in error
    assert path.is_file()


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"number": 1, "more": 2}'])
def test_a_damaged_run_is_left_out_and_the_next_one_does_not_take_its_place(serve, make, tmp_path, caplog, content):
    with serve(make) as client:
        session = f"/api/sessions/{client.ask('POST', '/api/sample')['id']}"
        paint(client, session, 0)
        client.ask("POST", f"{session}/run")
        client.idle(session)
        path = tmp_path / "app" / session.rpartition("/")[2] / "runs" / "1" / "run.json"
        path.write_text(content)
        assert client.get(session)["run"] is None and client.get(session)["annotated"] == [0]
        assert caplog.text.count(str(path)) == 1  # although it was asked for twice
        assert "remove its folder" in client.refused("GET", f"{session}/runs/1/masks/0")[1]
        client.ask("POST", f"{session}/run")
        client.idle(session)
        assert client.get(session)["run"]["number"] == 2 and path.is_file()


def test_a_session_is_on_the_disk_before_it_is_told(serve, make, monkeypatch):
    kept, fsync = [], os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda number: kept.append(os.readlink(f"/proc/self/fd/{number}")) or fsync(number)
    )
    with serve(make) as client:
        client.ask("POST", "/api/sample")
    assert any("/.session." in name for name in kept)


def test_a_run_of_another_learner_is_begun_anew_and_not_mixed(serve, make, page_learner, tmp_path):
    held = Held(make)
    with serve(held) as client:
        session = f"/api/sessions/{client.ask('POST', '/api/sample')['id']}"
        paint(client, session, 0)
        client.ask("POST", f"{session}/run", {"steps": 1})
        client.ask("POST", f"{session}/cancel")
        held.leave.release(9)
        client.idle(session)
    with serve(Make(settings(f"learner={page_learner}", "seed=4"))) as client:
        client.ask("POST", f"{session}/continue")
        assert client.idle(session)["run"]["number"] == 2


def test_frames_and_videos_come_in_under_their_own_names(serve, make, tmp_path):
    with serve(make) as client:
        files = {f"shot%20%C3%BC_{k + 7}.png": png(CLIP.read_frame(k)) for k in range(3)}
        session = client.upload(files, "my shots")
        state = client.get(session)
        assert (state["name"], state["frames"], state["size"]) == ("my shots", 3, list(SIZE))
        paint(client, session, 2)
        folder = tmp_path / "app" / session.rpartition("/")[2]
        assert np.array_equal(read_mask(folder / "annotations" / "shot ü_9.png"), CLIP.read_mask(2))
        pytest.importorskip("av")
        from eosvos.data.video.write import write_video

        write_video(tmp_path / "clip.mp4", (CLIP.read_frame(k) for k in range(4)), 12.5)
        state = client.get(client.upload({"clip.mp4": (tmp_path / "clip.mp4").read_bytes()}))
        assert (state["frames"], state["size"], state["rate"]) == (4, list(SIZE), 12.5)


def test_files_of_whatever_names_are_kept_apart(serve, make, tmp_path):
    with serve(make) as client:
        names = [
            "a(1).png",
            "a[1].png",
            "a{1}.png",
            "漢" * 120 + "8.png",
            "漢" * 120 + "9.png",
            "x." + 250 * "y" + ".png",
        ]
        session = client.upload({quote(name): png(CLIP.read_frame(k % 5)) for k, name in enumerate(names)})
        assert client.get(session)["frames"] == 6
        kept = [path.name for path in (tmp_path / "app" / session.rpartition("/")[2] / "video").iterdir()]
        assert {"a_1_.png", "a_1_-2.png", "a_1_-3.png"} < set(kept)
        assert all(len(name.encode()) <= 200 for name in kept) and {"漢8.png", "漢9.png"} < {k[-6:] for k in kept}
        paint(client, session, 4)
        client.ask("POST", f"{session}/run", {"steps": 0})
        assert client.idle(session)["run"]["state"] == "finished"
        pytest.importorskip("av")
        from eosvos.data.video.write import write_video

        write_video(tmp_path / "clip.mp4", (CLIP.read_frame(k) for k in range(2)), 12.5)
        assert client.get(client.upload({"x": (tmp_path / "clip.mp4").read_bytes()}))["frames"] == 2


def test_a_video_of_the_command_stays_where_it_is(make, tmp_path):
    from eosvos.page.sessions import Sessions

    clip = tmp_path / "my clip"
    clip.mkdir()
    for k in range(3):
        (clip / f"{k}.png").write_bytes(png(CLIP.read_frame(k)))
    sessions = Sessions(tmp_path / "app")
    session = sessions.refer(clip)
    assert Sessions(tmp_path / "app").refer(clip).id == session.id  # also after a restart
    with served(tmp_path / "app", make) as client:
        address = f"/api/sessions/{session.id}"
        paint(client, address, 1)
        client.ask("POST", f"{address}/run", {"steps": 1})
        assert client.idle(address)["run"]["done"] == [[0, 2]]
        assert client.refused("PUT", f"{address}/file?name=x.png", b"x")[0] == 404
        client.ask("DELETE", address)
    assert len(list(clip.iterdir())) == 3 and not session.folder.exists()


def film_session(folder):
    """Of a video file of five frames."""
    pytest.importorskip("av")
    from eosvos.data.video.write import write_video
    from eosvos.page.sessions import Sessions

    write_video(folder / "clip.mkv", (CLIP.read_frame(k) for k in range(5)), 12.5)
    return Sessions(folder / "app").refer(folder / "clip.mkv")


def test_a_large_video_is_shown_and_painted_before_its_frames_are_counted(make, tmp_path, counting):
    session = film_session(tmp_path)
    address = f"/api/sessions/{session.id}"
    with served(tmp_path / "app", make) as client:
        assert client.get("/api/sessions")["sessions"][0]["frames"] is None
        state = client.get(address)
        assert (state["frames"], state["counted"]) == (1, False)
        assert [client.send("GET", f"{address}/frames/{k}")[0] for k in (0, 1)] == [200, 404]
        paint(client, address, 0)
        client.ask("POST", f"{address}/run", {"steps": 1})
        state = client.until(address, lambda state: state["run"]["done"] == [[0, 0]])
        assert state["job"]["done"] in (0, 1) and state["annotated"] == [0] and not state["counted"]
        counting.set()
        state = client.idle(address)
        assert (state["frames"], state["counted"]) == (5, True)
        assert state["run"]["state"] == "finished" and state["run"]["done"] == [[0, 4]]
        assert client.get("/api/sessions")["sessions"][0]["frames"] == 5
    counting.clear()
    with served(tmp_path / "app", make) as client:  # the number is kept
        assert client.get(address)["frames"] == 5


def test_a_run_is_cancelled_and_a_session_deleted_while_frames_are_counted(make, tmp_path, counting):
    session = film_session(tmp_path)
    address = f"/api/sessions/{session.id}"
    with served(tmp_path / "app", make) as client:
        paint(client, address, 0)
        client.ask("POST", f"{address}/run", {"steps": 1})
        client.until(address, lambda state: state["run"]["done"] == [[0, 0]])
        client.ask("POST", f"{address}/cancel")
        assert client.idle(address)["run"]["state"] == "stopped"
        client.ask("DELETE", address)
        counting.set()
        time.sleep(0.3)  # what counted has ended
        assert client.get("/api/sessions")["sessions"] == [] and not session.folder.exists()


def test_a_large_video_that_cannot_be_counted_says_so_and_can_be_looked_at(make, tmp_path, counting, monkeypatch):
    pytest.importorskip("av")
    from eosvos.data.video import frame_index
    from eosvos.errors import UserError

    def inspect(*_):
        counting.wait()
        raise UserError("clip.mkv: is cut off")

    monkeypatch.setattr(frame_index, "find_layout", inspect)
    session = film_session(tmp_path)
    address = f"/api/sessions/{session.id}"
    with served(tmp_path / "app", make) as client:
        assert not client.get(address)["counted"]
        counting.set()
        state = client.until(address, lambda state: state["counted"])
        assert (state["failure"], state["frames"]) == ("clip.mkv: is cut off", 1)
        assert client.send("GET", f"{address}/frames/0")[0] == 200
        paint(client, address, 0)
        client.ask("POST", f"{address}/run", {"steps": 1})
        assert client.idle(address)["run"]["message"] == "clip.mkv: is cut off"
        assert client.get("/api/sessions")["sessions"][0]["frames"] is None


def test_the_command_says_what_cannot_be_served(tmp_path, page_learner, capsys):
    line = [f"learner={page_learner}", f"folder={tmp_path / 'app'}", "device=cpu"]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for more, told in (
            ([f"port={taken.getsockname()[1]}"], "cannot be served at (Address already in use)"),
            (["port=99999"], "port=99999: expected 0 or more, at most 65535"),
            (["video=nothing.mp4"], "nothing.mp4: does not exist"),
            (["host=203.0.113.7"], "host=203.0.113.7 port=8420: cannot be served at"),
        ):
            assert app.main([*line, *more]) == 2
            assert told in capsys.readouterr().err
        with locked_elsewhere(tmp_path / "app"):
            assert app.main(line) == 2
        assert "another run is at work in this folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("host", "hosts", "told"), [("0.0.0.0", [], True), ("0.0.0.0", ["mybox"], False), ("127.0.0.1", [], False)]
)
def test_a_server_for_everyone_says_which_names_it_has_to_be_given(
    make, tmp_path, monkeypatch, capsys, host, hosts, told
):
    uvicorn = pytest.importorskip("uvicorn")
    from eosvos.page import serve
    from eosvos.page.routes import Server
    from eosvos.page.sessions import Sessions

    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: None)
    serve.serve(Server(Sessions(tmp_path), make, CLIP, limit=1), host, 0, hosts, say=print)
    error = capsys.readouterr().err
    assert (f"hosts=[{socket.gethostname()}]" in error) == told and ("everyone" in error) == (host == "0.0.0.0")


@contextmanager
def locked_elsewhere(folder):
    """By another process."""
    code = (
        f"import time; from eosvos.files import locked\nwith locked({str(folder)!r}): print(flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"clip.mp4": b"no video at all"}, "clip.mp4: cannot be read as a video"),
        ({"clip.mp4": b""}, "clip.mp4: cannot be read as a video"),
        ({"sound.wav": "sound"}, "sound.wav: no video in this file, only audio"),
        ({"a.png": png(CLIP.read_frame(0))[:900], "b.png": png(CLIP.read_frame(1))}, "a.png: "),
        ({"a.png": png(CLIP.read_frame(0)), "b.png": png(CLIP.read_frame(1)[:9])}, "b.png: is 80x9 pixels"),
        ({"a.png": png(CLIP.read_frame(0)), "b.txt": b"x"}, "found b.txt among 2 files; give one video, or the frames"),
        ({"a.png": png(CLIP.read_frame(0)), "deep.png": "deep"}, "deep.png: one has more than 8 bits per channel"),
        ({}, "found nothing among 0 files"),
    ],
)
def test_what_is_no_video_is_refused_with_its_reason_and_forgotten(serve, make, tmp_path, files, told):
    if files.get("sound.wav"):
        import wave

        pytest.importorskip("av")
        with wave.open(str(tmp_path / "sound"), "wb") as sound:
            sound.setparams((1, 2, 8000, 0, "NONE", ""))
            sound.writeframes(b"\0\1" * 4000)
    if files.get("deep.png"):
        Image.fromarray(np.full(SIZE, 40000, np.uint16)).save(tmp_path / "deep", format="PNG")
    files = {name: (tmp_path / data).read_bytes() if isinstance(data, str) else data for name, data in files.items()}
    with serve(make) as client:
        session = f"/api/sessions/{client.ask('POST', '/api/sessions')['id']}"
        for name, content in files.items():
            client.ask("PUT", f"{session}/file?name={name}", content)
        status, error = client.refused("POST", f"{session}/open", {"name": "clip"})
        assert status == 400 and told in error and str(tmp_path) not in error, error
        assert client.get("/api/sessions")["sessions"] == [] and not any((tmp_path / "app").glob("?" * 32))


def test_too_large_uploads_are_refused_however_they_come(serve, make, tmp_path):
    with serve(make, limit=1 << 20) as client:
        for headers, body in (
            ({"Content-Length": str(5 << 20)}, b"x"),  # not waited for
            ({"Transfer-Encoding": "chunked"}, b"100000\r\n" + b"x" * (1 << 20) + b"\r\n1\r\nx\r\n0\r\n\r\n"),
        ):
            session = f"/api/sessions/{client.ask('POST', '/api/sessions')['id']}"
            status, error = client.refused("PUT", f"{session}/file?name=a.mp4", body, headers)
            assert (status, error) == (413, "more than 1 MiB in all; start the server with a larger upload=")
        session = f"/api/sessions/{client.ask('POST', '/api/sessions')['id']}"
        client.ask("PUT", f"{session}/file?name=a.png", b"x" * 700_000)
        assert client.refused("PUT", f"{session}/file?name=b.png", b"x" * 700_000)[0] == 413  # in all
        assert not any((tmp_path / "app").glob("?" * 32))


def test_files_that_come_at_once_are_counted_together(serve, make, tmp_path):
    whole = b"80000\r\n" + b"x" * (1 << 19) + b"\r\n"

    def begun(client, session, name):
        connection = socket.create_connection(("127.0.0.1", client.port))
        connection.sendall(
            f"PUT {session}/file?name={name} HTTP/1.1\r\nHost: 127.0.0.1:{client.port}\r\n"
            f"Origin: http://127.0.0.1:{client.port}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
            + whole
        )
        return connection

    with serve(make, limit=1 << 20) as client:
        id = client.ask("POST", "/api/sessions")["id"]
        folder = tmp_path / "app" / id / "video"
        first, second = (begun(client, f"/api/sessions/{id}", name) for name in ("a.png", "b.png"))
        deadline = time.monotonic() + 20
        while sum(path.stat().st_size for path in folder.glob(".*")) < 1 << 20:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        for connection, status in ((second, b" 413 "), (first, b" 404 ")):
            with connection:
                connection.sendall(b"1\r\nx\r\n0\r\n\r\n")
                assert status in connection.recv(1 << 16).split(b"\r\n")[0]
        assert not folder.parent.exists()


def test_no_path_leaves_its_folder(serve, make, tmp_path):
    (tmp_path / "app").mkdir()
    (tmp_path / "secret.png").write_bytes(png(CLIP.read_frame(0)))
    with serve(make) as client:
        up = client.ask("POST", "/api/sessions")["id"]
        for name in (
            "../../../secret.png",
            "..%2F..%2Fsecret.png",
            "/etc/passwd",
            "..",
            "%00",
            ".hidden",
            "C:%5Cx.png",
        ):
            client.send("PUT", f"/api/sessions/{up}/file?name={name}", b"overwritten")
        assert (tmp_path / "secret.png").read_bytes() == png(CLIP.read_frame(0))
        inside = {path.name for path in (tmp_path / "app" / up / "video").iterdir()}
        assert not any(name.startswith(".") or "/" in name for name in inside) and "_etc_passwd" in inside
        assert {path.name for path in (tmp_path / "app").iterdir()} == {up}
        session = f"/api/sessions/{client.ask('POST', '/api/sample')['id']}"
        for path in (
            "/static/../server.py",
            "/static/..%2Fserver.py",
            "/static/%2e%2e/server.py",
            "/../../etc/passwd",
            "/api/sessions/..%2F..",
            "/api/sessions/../secret.png",
            f"{session}/frames/..%2F..%2Fsession.json",
            f"{session}/frames/-1",
            f"{session}/frames/99",
            f"{session}/annotations/99",
            f"{session}/runs/1/masks/0",
            f"/api/sessions/{'g' * 32}",
            f"/api/sessions/{'0' * 32}",
            f"/api/sessions/{'0' * 33}",
            f"{session}/runs/7/export",
        ):
            assert client.send("GET", path)[0] == 404, path


def test_other_sites_and_names_are_refused(serve, make):
    with serve(make) as client:
        own = f"127.0.0.1:{client.port}"
        for host in ("evil.example", f"evil.example:{client.port}", "", "127.0.0.1.evil.example", "[::1", None):
            assert (
                client.refused("GET", "/api/sessions", headers={"Host": host} if host is not None else {"Host": "x"})[0]
                == 403
            )
        assert client.send("GET", "/", headers={"Host": f"localhost:{client.port}"})[0] == 200
        for origin in ("http://evil.example", "null", f"http://localhost:{client.port}", f"http://{own}0", None):
            for method, path in (("POST", "/api/sample"), ("DELETE", f"/api/sessions/{'0' * 32}"), ("PUT", "/x")):
                status, error = client.refused(method, path, headers={"Origin": origin})
                assert status == 403 and "may change something" in error
        assert client.get("/api/sessions")["sessions"] == []
        headers = client.send("GET", "/")[1]
        assert (
            "default-src 'self'" in headers["Content-Security-Policy"]
            and headers["X-Content-Type-Options"] == "nosniff"
        )


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"\0" * 10, "a mask of 10 bytes; expected 80x48"),
        (b"\0" * 9999, "more than 3840 bytes"),
        (b"\xff" * 3840, "value 255"),
    ],
)
def test_masks_that_are_none_are_refused_and_nothing_is_lost(serve, make, body, told):
    with serve(make) as client:
        session = f"/api/sessions/{client.ask('POST', '/api/sample')['id']}"
        paint(client, session, 1)
        assert told in client.refused("PUT", f"{session}/annotations/1", body)[1]
        assert client.refused("PUT", f"{session}/annotations/5", b"\0" * 3840)[0] == 404
        assert np.array_equal(client.ids(f"{session}/annotations/1", SIZE), CLIP.read_mask(1))
        for steps in (-1, 1.5, "2", True, None, 10**6):
            assert "expected a number" in client.refused("POST", f"{session}/run", {"steps": steps})[1]
        assert "not JSON" in client.refused("POST", f"{session}/run", b"{")[1]
        assert "expected a list" in client.refused("POST", f"{session}/runs/1/export", {"outputs": ["../x"]})[1]


def test_what_fails_is_told_and_can_be_tried_again(serve, make, tmp_path):
    with serve(make) as client:
        session = f"/api/sessions/{client.ask('POST', '/api/sample')['id']}"
        frame = tmp_path / "app" / session.rpartition("/")[2] / "video" / "00003.png"
        whole = frame.read_bytes()
        paint(client, session, 0)
        frame.write_bytes(whole[:400] + b"\0" * 300 + whole[700:])  # its end is sound: found when it is decoded
        client.ask("POST", f"{session}/run", {"steps": 1})
        state = client.idle(session)
        assert state["run"]["state"] == "failed" and "00003.png: this frame cannot be read" in state["failure"]
        assert str(tmp_path) not in state["failure"] and state["failure"] == state["run"]["message"]
        frame.write_bytes(whole)
        client.ask("POST", f"{session}/continue")
        assert client.idle(session)["run"]["state"] == "finished"


def test_a_painted_mask_tells_of_its_objects_and_of_those_told_absent_and_of_no_others(serve, make, tmp_path):
    with serve(make) as client:
        session = f"/api/sessions/{client.ask('POST', '/api/sample')['id']}"
        one, two, none = np.zeros((3, *SIZE), np.uint8)
        one[10:30, 20:40], two[10:30, 50:70] = 1, 2
        paint(client, session, 1, one)
        client.ask("PUT", f"{session}/annotations/3?absent=1", two.tobytes())
        client.ask("PUT", f"{session}/annotations/4?absent=2", none.tobytes())
        client.ask("PUT", f"{session}/annotations/0?absent=", none.tobytes())
        headers = [client.send("GET", f"{session}/annotations/{k}")[1] for k in (0, 1, 3, 4)]
        assert [found.get("Absent") for found in headers] == ["", None, "1", "2"]
        for absent, told in (
            ("2", "object 2 is in the mask and told to be absent"),
            ("x", "absent='x': expected object ids"),
        ):
            assert told in client.refused("PUT", f"{session}/annotations/3?absent={absent}", two.tobytes())[1]
        client.ask("POST", f"{session}/run", {"steps": 1})
        run = client.idle(session)["run"]
        assert run["state"] == "finished" and run["objects"] == [1, 2] and run["frames"] == [0, 1, 3, 4]
        folder = tmp_path / "app" / session.rpartition("/")[2]
        video, _ = open_own(folder / "video", masks=folder / "runs" / "1" / "annotations")
        told = [{i: bool(mask.any()) for i, mask in video.prompt_masks(k).items()} for k in range(5)]
        assert told == [{}, {}, {}, {1: False}, {2: False}]
        found = result(client, session, 1)
        assert not (found[3] == 1).any() and not (found[4] == 2).any()
        areas = client.get(f"{session}/runs/1/curves")["areas"]
        assert areas == {str(i): [int((ids == i).sum()) for ids in found] for i in (1, 2)}
        curve = client.get(f"{session}/runs/1/uncertainty")["frames"]
        assert len(curve) == len(CLIP) and all(0 <= value <= 1 for value in curve)


def test_an_export_holds_what_is_painted_since_the_run_and_no_deleted_object(serve, make):
    with serve(make) as client:
        session = f"/api/sessions/{client.ask('POST', '/api/sample')['id']}"
        one, two = np.zeros((2, *SIZE), np.uint8)
        one[10:30, 20:40], two[0:48, 30:80] = 1, 2
        paint(client, session, 0, one + two * (one == 0))
        client.ask("POST", f"{session}/run", {"steps": 0})
        client.idle(session)
        found = result(client, session, 1)
        client.ask("PUT", f"{session}/annotations/2?absent=", two.tobytes())  # not refined
        expected = np.where(two > 0, 2, np.where(found[2] == 2, 0, found[2]))

        def exported(outputs):
            client.ask("POST", f"{session}/runs/1/export", {"outputs": outputs})
            state = client.idle(session)
            assert state["exported"] and not state["failure"], state
            with zipfile.ZipFile(io.BytesIO(client.send("GET", f"{session}/runs/1/export")[2])) as archive:
                masks = [
                    np.array(Image.open(io.BytesIO(archive.read(f"masks/{name}.png")))) for name in CLIP.frame_names
                ]
                return masks, archive.namelist(), json.loads(archive.read("masks.json")) if "json" in outputs else None

        masks, names, coded = exported(["json"])
        assert np.array_equal(masks[2], expected) and np.array_equal(masks[1], found[1])
        assert len(coded["annotations"]) == 2 and "annotations/00002.png" in names
        client.ask("PUT", f"{session}/objects", {"objects": [{"id": 2, "deleted": True}]})
        assert not client.get(session)["exported"]  # what is there is old
        masks, names, _ = exported(["objects"])
        assert not any((ids == 2).any() for ids in masks) and np.array_equal(masks[0], one)
        assert {name.split("/")[1] for name in names if name.startswith("objects/")} == {"001"}
        client.ask("POST", f"{session}/run", {"steps": 0})
        assert client.idle(session)["run"]["objects"] == [1]


def test_objects_and_hints_that_are_none_are_refused(serve, make):
    with serve(make) as client:
        session = f"/api/sessions/{client.ask('POST', '/api/sample')['id']}"
        good = {"id": 1, "name": "van", "colour": "#00ff00", "hidden": True, "locked": False, "deleted": False}
        client.ask("PUT", f"{session}/objects", {"objects": [good]})
        for change in ({"id": 0}, {"id": "1"}, {"id": 255}, {"name": "x" * 81}, {"colour": "red"}, {"locked": 1}):
            status, error = client.refused("PUT", f"{session}/objects", {"objects": [good | change]})
            assert status == 400 and "expected a list of objects" in error
        assert "listed twice" in client.refused("PUT", f"{session}/objects", {"objects": [good, good]})[1]
        assert client.refused("PUT", f"{session}/objects", {"objects": {}})[0] == 400
        assert client.get(session)["objects"] == [good]

        def made(words, mask=b""):
            body = json.dumps(words).encode() + (b"\n" + mask if mask else b"")
            status, _, content = client.send("POST", f"{session}/frames/1/mask", body)
            return status, content

        status, content = made({"box": [20, 5, 60, 40], "inside": [[[40, 20]]], "radius": 2})
        found = np.frombuffer(content, np.uint8).reshape(SIZE)
        assert status == 200 and found[20, 40] == 1 and found.max() == 1 and not found[:, 62:].any()
        status, content = made({"outside": [[[40, 20]]], "radius": 2}, found.tobytes())
        assert np.frombuffer(content, np.uint8).reshape(SIZE)[20, 40] == 0
        for words in (
            {},
            {"box": [1, 2, 3]},
            {"box": [5, 5, 5, 9]},
            {"box": [0, 0, 1e9, 1]},
            {"box": [90, 1, 99, 9]},
            {"box": "x"},
            {"inside": [[40, 20]]},
            {"inside": [[]]},
            {"inside": [[[1, "2"]]]},
            {"inside": 3},
            {"outside": [[[1, 1]]]},
            {"box": [1, 1, 9, 9], "radius": -1},
            {"box": [1, 1, 9, 9], "radius": "3"},
        ):
            status, content = made(words)
            assert status == 400 and json.loads(content)["error"], words
        assert made({"box": [1, 1, 9, 9]}, b"xx")[0] == 400 and made([])[0] == 400
        assert client.send("POST", f"{session}/frames/9/mask", b"{}")[0] == 404


def test_the_progress_of_fine_tuning_is_told_by_object_and_step():
    from eosvos.page.jobs import FairLock, Job

    job = Job("run", FairLock())
    job.objects = 3
    assert job.describe()["tuning"] is None
    for step in range(1, 51):
        job.tune(step, 50)
    for step in range(1, 18):
        job.tune(step, 50)
    told = job.tuning
    assert [told[name] for name in ("object", "objects", "step", "steps")] == [2, 3, 17, 50] and told["left"] >= 0
    job.tick()
    assert job.tuning is None


def test_a_thumbnail_is_small_and_of_its_frame(serve, make):
    wide = held_out(count=1, size=(120, 400), length=3)[0]
    with serve(make, sample=wide) as client:
        session = f"/api/sessions/{client.ask('POST', '/api/sample')['id']}"
        status, headers, content = client.send("GET", f"{session}/thumbnails/2")
        shown = np.array(Image.open(io.BytesIO(content)))
        assert status == 200 and headers["Content-Type"] == "image/jpeg" and "immutable" in headers["Cache-Control"]
        assert shown.shape == (48, 160, 3) and len(content) < 8000
        expected = np.array(Image.fromarray(wide.read_frame(2)).resize((160, 48), Image.Resampling.BOX))
        assert np.abs(shown.astype(int) - expected).mean() < 8
        assert client.send("GET", f"{session}/thumbnails/3")[0] == 404
