"""Folders as users have them: junk is ignored, and what the system refuses is one sentence."""

from __future__ import annotations

import logging
import os
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eosvos.data.mask_files.formats import open_masks
from eosvos.data.masks import read_mask, write_mask
from eosvos.data.readers.folder import open_folder, open_frames
from eosvos.data.readers.user_video import open_own
from eosvos.data.user_files import JUNK, list_entries, list_files, list_folders
from eosvos.data.video.open import open_video
from eosvos.errors import UserError
from eosvos.page.uploads import open_upload, video_in

PIXELS = np.zeros((8, 12, 3), np.uint8)
MASK = np.eye(8, 12, dtype=np.uint8)


def clip(folder: Path, count: int = 3) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        Image.fromarray(PIXELS).save(folder / f"{k}.png")
    return folder


def litter(folder: Path) -> None:
    """What file servers, archives and systems leave in a folder."""
    for name in JUNK:
        if "." in name[1:]:
            (folder / name.capitalize()).write_bytes(b"x")
        else:
            (folder / name.upper() / "0.png").mkdir(parents=True)
            Image.fromarray(PIXELS[:4]).save(folder / name.upper() / "9.png")
    for name in (".DS_Store", "._0.png", "._clip"):
        (folder / name).write_bytes(b"\0\5\x16\7")


def test_junk_is_ignored_everywhere(tmp_path, caplog):
    root = tmp_path / "project"
    clip(root / "frames")
    write_mask(root / "masks" / "0.png", MASK)
    write_mask(root / "each" / "1" / "0.png", MASK)
    for folder in (root, root / "frames", root / "masks", root / "each", root / "each" / "1"):
        litter(folder)
    assert len(open_own(root)[0]) == 3 and len(open_folder(root)) == 1
    assert open_own(root / "frames", masks=root / "masks")[0].first_frame == {1: 0}
    assert open_own(root / "frames", masks=root / "each")[0].first_frame == {1: 0}
    assert video_in(root / "frames") == root / "frames" and len(open_upload(root / "frames")[0]) == 3
    for part in ("JPEGImages", "Annotations"):
        (tmp_path / "set" / part).mkdir(parents=True)
        litter(tmp_path / "set" / part)
    clip(tmp_path / "set" / "JPEGImages" / "a")
    write_mask(tmp_path / "set" / "Annotations" / "a" / "0.png", MASK)
    assert [video.name for video in open_folder(tmp_path / "set")] == ["a"]
    assert [r for r in caplog.records if r.levelno > logging.INFO] == []


def test_what_is_named_as_an_image_but_is_no_file_is_left_out_and_told(tmp_path, caplog):
    clip(tmp_path / "clip")
    (tmp_path / "clip" / "7.png").mkdir()
    os.mkfifo(tmp_path / "clip" / "8.png")
    with socket.socket(socket.AF_UNIX) as pipe:
        pipe.bind(str(tmp_path / "clip" / "9.png"))
        assert [path.name for path in list_files(tmp_path / "clip")] == ["0.png", "1.png", "2.png"]
    assert list_folders(tmp_path / "clip") == [] and len(open_frames(tmp_path / "clip")[0]) == 3
    assert caplog.text.count("are no files: 7.png, 8.png, 9.png") == 1


def test_links_that_lead_nowhere_and_empty_files_are_told(tmp_path):
    for target, message in (("/nonexistent/x.png", "git annex get"), ("9.png", "Too many levels")):
        path = clip(tmp_path / f"clip{len(target)}") / "9.png"
        path.symlink_to(target)
        with pytest.raises(UserError, match=f"9.png: is a link to {target}.*{message}"):
            open_frames(path.parent)
        path.unlink()
    (clip(tmp_path / "good") / "link.png").symlink_to("0.png")
    assert len(open_frames(tmp_path / "good")[0]) == 4
    (tmp_path / "good" / "3.png").write_bytes(b"")
    with pytest.raises(UserError, match="3.png: this frame is empty, a file of 0 bytes"):
        open_frames(tmp_path / "good")


def test_paths_that_the_system_refuses_are_told(tmp_path, monkeypatch):
    """The rights are simulated: a superuser has all of them."""
    clip(tmp_path / "clip")

    def refuse(path: object, *given: object, **settings: object) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", refuse)
        for work in (list_entries, list_files, list_folders, open_frames, open_masks):
            with pytest.raises(UserError, match="clip: Permission denied; ask its owner"):
                work(tmp_path / "clip")
    write_mask(tmp_path / "mask.png", MASK)
    with monkeypatch.context() as patch:
        patch.setattr(Image, "open", refuse)
        with pytest.raises(UserError, match="mask.png: Permission denied; ask its owner"):
            read_mask(tmp_path / "mask.png")
    with pytest.raises(UserError, match=r"x\.\.\. \(.*characters\): File name too long"):
        list_files(tmp_path / ("x" * 300))
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(UserError, match="is a pipe, socket or device; give the path of a video"):
        open_video(tmp_path / "pipe.mp4")


@pytest.mark.parametrize(
    ("path", "said"),
    [("x" * 300, "File name too long"), ("clip/0.png/a", "Not a directory"), ("loop", "Too many levels")],
)
def test_commands_end_in_one_sentence_whatever_the_system_says(tmp_path, monkeypatch, capsys, path, said):
    from eosvos import segment

    monkeypatch.chdir(tmp_path)
    clip(tmp_path / "clip")
    write_mask(tmp_path / "mask.png", MASK)
    (tmp_path / "loop").symlink_to("loop")
    for settings in ([f"video={path}", "mask=mask.png"], ["video=clip", f"mask={path}"]):
        assert segment.main([*settings, "method=copy_first", "outputs=[]", "out=out"]) == 2
        told = capsys.readouterr().err.strip().splitlines()[-1]
        assert said in told or "does not exist" in told or "no mask there" in told


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")
def test_names_that_are_no_utf8(tmp_path, caplog):
    # pytest-xdist ends where a report holds such a name, and reports hold what was logged: execnet sends UTF-8 alone
    caplog.set_level(logging.ERROR, "eosvos")
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    clip(folder)
    for path in sorted(folder.glob("*.png")):
        path.rename(folder / os.fsdecode(b"\xe9_" + os.fsencode(path.name)))
    first = next(iter(list_files(folder))).stem
    write_mask(tmp_path / "first.png", MASK)
    sequence, _ = open_own(folder, mask=tmp_path / "first.png")
    assert sequence.frame_names[0] == first and sequence.read_frame(2).shape == (8, 12, 3)
    pages = [Image.fromarray(PIXELS.astype(np.uint8)) for _ in range(3)]
    stack = folder / os.fsdecode(b"\xe9.tif")
    pages[0].save(stack, save_all=True, append_images=pages[1:])
    assert open_video(stack).read_frame(1).shape == (8, 12, 3)
