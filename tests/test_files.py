"""Zip files are unpacked into a folder that they cannot leave; several may write at once, and be killed in it."""

from __future__ import annotations

import errno
import os
import signal
import stat
import threading
import zipfile
from pathlib import Path

import pytest

from eosvos.errors import UserError
from eosvos.files import (
    append_line,
    atomic,
    create_text,
    listed,
    locked,
    numbered_folder,
    remove_temporary,
    unpacked,
    write_text,
)


def packed(path: Path, names: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in names.items():
            file.writestr(name, content)
    return path


def test_what_is_in_a_zip_is_there_and_goes_again(tmp_path):
    path = packed(tmp_path / "ü r.zip", {"bear/00000.png": b"one", "a b/ü/1.png": b"two"})
    with unpacked(path) as folder:
        found = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        assert found == {"bear/00000.png": b"one", "a b/ü/1.png": b"two"}
    assert not folder.exists()


@pytest.mark.parametrize(
    "name", ["../out.png", "a/../../out.png", "/out.png", "..\\out.png", "C:\\out.png", "a/..", "//host/share/x"]
)
def test_a_path_that_leaves_the_folder_is_refused_before_anything_is_written(tmp_path, monkeypatch, name):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "deep" / "er"))
    (tmp_path / "deep" / "er").mkdir(parents=True)
    path = packed(tmp_path / "x.zip", {"fine.png": b"1", name: b"2"})
    extract = []
    monkeypatch.setattr(zipfile.ZipFile, "extractall", lambda *_: extract.append(1))
    with pytest.raises(UserError, match="leaves its folder") as caught, unpacked(path):
        pass
    assert str(path) in str(caught.value) and not extract
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["x.zip"]


def test_links_bombs_passwords_and_damage_are_refused(tmp_path):
    def refused(path: Path, message: str, **settings) -> None:
        with pytest.raises(UserError, match=message) as caught, unpacked(path, **settings):
            pass
        assert str(path) in str(caught.value)

    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as file:
        file.writestr(link, "/etc/passwd")
    refused(tmp_path / "link.zip", "a link")
    bomb = packed(tmp_path / "bomb.zip", {"zeros": bytes(10**6)})
    assert bomb.stat().st_size < 5000
    refused(bomb, "unpacks to 1 files of 1 MiB", most=10**5)
    whole = packed(tmp_path / "a.zip", {"a.png": bytes(range(256)) * 9}, zipfile.ZIP_STORED).read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "cut.zip", "no zip file, or a damaged one")
    (tmp_path / "changed.zip").write_bytes(whole[:100] + b"x" + whole[101:])
    refused(tmp_path / "changed.zip", "damaged")
    locked = bytearray(whole)
    locked[6] |= 1  # the flags of the file's header, and of the directory's entry
    locked[whole.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "locked.zip").write_bytes(locked)
    refused(tmp_path / "locked.zip", "encrypted")
    refused(tmp_path / "missing.zip", "No such file")
    (tmp_path / "folder.zip").mkdir()
    refused(tmp_path / "folder.zip", "directory")


def test_names_that_no_disk_takes_are_told(tmp_path):
    with pytest.raises(UserError, match="cannot be written .File name too long."):
        write_text(tmp_path / ("ä" * 200) / "run.json", "")
    (tmp_path / "round").symlink_to(tmp_path / "round")
    with pytest.raises(UserError, match="cannot be written"):
        write_text(tmp_path / "round" / "run.json", "")
    assert [path.name for path in tmp_path.iterdir()] == ["round"]


def ended_within(work, *given) -> None:
    """Do `work` in a process that shares this one's memory so far, and is killed by it."""
    child = os.fork()
    if child == 0:
        try:
            work(*given)
        finally:
            os._exit(3)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL


def killed_while_writing(path: Path) -> None:
    with atomic(path) as temporary:
        temporary.write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)


def killed_within_a_line(path: Path) -> None:
    with path.open("a") as file:
        file.write('{"frame": "00')
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_process_leaves_is_nothing_of_ours(tmp_path):
    assert listed(tmp_path / "missing") == [] and listed(tmp_path, ".png") == []
    write_text(tmp_path / "b.png", "whole")
    write_text(tmp_path / "a.png", "whole")
    ended_within(killed_while_writing, tmp_path / "c.png")
    left = {path.name for path in tmp_path.glob("*.png")} - {"a.png", "b.png"}
    assert len(left) == 1 and next(iter(left)).startswith(".c.")  # which pathlib finds
    assert listed(tmp_path, ".png") == listed(tmp_path) == ["a.png", "b.png"]
    remove_temporary(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_a_line_that_was_cut_off_takes_no_other_with_it(tmp_path):
    path = tmp_path / "lines.jsonl"
    append_line(path, "1")
    ended_within(killed_within_a_line, path)
    append_line(path, "ü")
    append_line(path, "3")
    assert path.read_text(encoding="utf-8").splitlines() == ["1", '{"frame": "00', "ü", "3"]


def at_once(work, count: int = 8) -> list:
    """What `work(number)` returns, or raises, in as many threads at the same moment."""
    ready, found = threading.Barrier(count), {}

    def run(number: int) -> None:
        ready.wait()
        try:
            found[number] = work(number)
        except UserError as error:
            found[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[number] for number in range(count)]


def test_one_of_several_at_once_makes_a_file(tmp_path, monkeypatch):
    def refused(*_):
        raise PermissionError(errno.EPERM, "no hard links here")

    for attempt in range(20):
        if attempt == 10:
            monkeypatch.setattr(os, "link", refused)
        path = tmp_path / str(attempt) / "run.json"
        made = at_once(lambda number, path=path: create_text(path, str(number)))
        assert sorted(made) == [False] * 7 + [True] and path.read_text() == str(made.index(True))
        assert [p.name for p in path.parent.iterdir()] == ["run.json"]
    assert sorted(at_once(lambda _: numbered_folder(tmp_path / "runs"))) == list(range(1, 9))
    (tmp_path / "runs" / "12").mkdir()
    (tmp_path / "runs" / ".20.tmp").mkdir()
    assert numbered_folder(tmp_path / "runs") == 13


def test_a_folder_is_held_against_other_threads(tmp_path):
    done = threading.Barrier(8)

    def hold(_: int) -> None:
        try:
            with locked(tmp_path):
                done.wait()
        except UserError:
            done.wait()
            raise

    found = at_once(hold)
    assert found.count(None) == 1 and all("another run is at work" in str(e) for e in found if e is not None)
    with locked(tmp_path):  # and free again
        pass


def test_new_files_have_the_rights_of_any_and_the_umask_is_left_alone(tmp_path, monkeypatch):
    before = os.umask(0o027)
    try:
        monkeypatch.setattr(os, "umask", None)
        write_text(tmp_path / "a", "")
        assert create_text(tmp_path / "b", "")
        with atomic(tmp_path / "c") as path:  # a library that makes its own file, as private as it likes
            path.unlink()
            path.touch(0o600)
        assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "abc"} == {0o640}
    finally:
        monkeypatch.undo()
        os.umask(before)
