"""Zip files of results are unpacked into a folder that they cannot leave."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

import pytest

from eosvos.errors import UserError
from eosvos.files import unpacked, write_text


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
