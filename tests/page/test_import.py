"""Masks of other programs' files, loaded onto one frame of the page."""

from __future__ import annotations

import io
import json
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from eosvos.data.mask_files.cvat_export import write_cvat
from eosvos.data.mask_files.formats import write_binary, write_colours, write_grey
from eosvos.data.mask_files.json_files import write_json
from eosvos.data.mask_files.label_studio import write_label_studio
from eosvos.data.mask_files.tool_json import write_labelme
from eosvos.data.mask_files.yolo import write_yolo
from eosvos.data.masks import write_mask
from eosvos.data.synthetic.videos import held_out

pytest.importorskip("starlette")
SIZE = (48, 80)
CLIP = held_out(count=1, size=SIZE, length=5)[0]
MASK = np.zeros(SIZE, np.uint8)
MASK[10:30, 20:40], MASK[10:30, 50:70] = 1, 3
NONE = np.zeros(SIZE, np.uint8)
LABELS = {1: "cat 1", 3: "dog 3"}
FRAMES = [("00001", MASK), ("00003", np.where(MASK == 1, 1, 0).astype(np.uint8))]


@pytest.fixture
def load(serve, make, tmp_path):
    """Loads a file onto a frame of the sample: load(path, index, chosen) -> (status, what is said, ids)."""
    with serve(make) as client:
        session = f"/api/sessions/{client.ask('POST', '/api/sample')['id']}"

        def load(path, index=1, chosen=1):
            address = f"{session}/frames/{index}/import?object={chosen}&name={quote(path.name)}"
            status, _, content = client.send("POST", address, path.read_bytes())
            assert str(tmp_path) not in str(content) and "/tmp" not in str(content)
            if status != 200:
                return status, json.loads(content)["error"], None
            line, _, plane = content.partition(b"\n")
            return status, json.loads(line), np.frombuffer(plane, np.uint8).reshape(SIZE)

        yield load
        assert client.get(session)["annotated"] == []  # the page stores it, so that it can be undone


def test_a_file_of_every_form_gives_the_mask_that_the_commands_read(load, tmp_path):
    write_mask(tmp_path / "palette.png", MASK)
    write_grey(tmp_path / "grey.png", MASK)
    write_json(tmp_path / "youtube.json", FRAMES)
    write_cvat(tmp_path / "cvat.xml", FRAMES, video="clip", labels=LABELS, kind=".png")
    write_label_studio(tmp_path / "label_studio.json", FRAMES, video="clip", labels=LABELS, kind=".png")
    write_labelme(tmp_path / "labelme", FRAMES[:1], labels=LABELS, kind=".png")
    write_yolo(tmp_path / "yolo", FRAMES[:1], labels=LABELS)
    files = [tmp_path / name for name in ("palette.png", "grey.png", "youtube.json", "cvat.xml", "label_studio.json")]
    files += [tmp_path / "labelme" / "00001.json", tmp_path / "yolo" / "00001.txt"]
    for path in files:
        status, said, ids = load(path)
        assert status == 200, said
        assert np.array_equal(ids, MASK) and said["absent"] == [] and said["notes"], path
        if path.suffix in (".xml", ".json") and path.stem != "youtube":
            assert set(said["names"]) == {"1", "3"}, (path, said)
    for path in files[2:5]:  # the part of this frame
        status, said, ids = load(path, 3)
        assert np.array_equal(ids, FRAMES[1][1]) and said["absent"] == [], said
        status, said, _ = load(path, 2)
        assert status == 400 and "has no mask of this frame, 00002" in said, said


def test_what_is_guessed_is_said(load, tmp_path):
    write_binary(tmp_path / "white.png", MASK)
    _, said, ids = load(tmp_path / "white.png", chosen=7)
    assert np.array_equal(ids, np.where(MASK, 7, 0)) and "taken for object 7, the chosen one" in said["notes"][0]
    write_colours(tmp_path / "00003.png", MASK)
    _, said, ids = load(tmp_path / "00003.png")
    assert np.array_equal(ids > 0, MASK > 0) and len(np.unique(ids)) == 3
    assert any("its name is that of frame 4, and it is put on frame 2" in note for note in said["notes"])
    write_mask(tmp_path / "none.png", NONE)
    _, said, ids = load(tmp_path / "none.png")
    assert said["absent"] is None and not ids.any() and "none is on this frame" in said["notes"][-1]
    write_mask(tmp_path / "told.png", NONE, absent=[2])
    _, said, ids = load(tmp_path / "told.png")
    assert said["absent"] == [2] and not ids.any() and len(said["notes"]) == 1
    void = MASK.copy()
    void[40:, :] = 255
    write_mask(tmp_path / "void.png", void)
    _, said, ids = load(tmp_path / "void.png")
    assert np.array_equal(ids, MASK) and said["notes"][-1] == "640 pixels of 255, void, are taken for background"
    around = np.full(SIZE, 2, np.uint8)
    around[20:30, 20:30] = 0
    write_mask(tmp_path / "around.png", around)
    _, said, ids = load(tmp_path / "around.png")
    assert np.array_equal(ids, around) and "surrounds all else" in said["notes"][1] and "binary" not in said["notes"][1]


def test_a_file_that_does_not_fit_is_refused_in_one_sentence(load, tmp_path):
    write_mask(tmp_path / "small.png", MASK[:20])
    Image.fromarray(MASK * 80).save(tmp_path / "blurred.jpg")
    (tmp_path / "cut.png").write_bytes((tmp_path / "small.png").read_bytes()[:60])
    for name, content in (("a.json", b"{"), ("b.json", b"[]"), ("c.xml", b"<a>"), ("d.txt", b"x"), ("e.zip", b""),
                          ("f.mp4", b"x"), ("g.npy", b"x"), ("h", b"x"), ("i.png", b"")):  # fmt: skip
        (tmp_path / name).write_bytes(content)
    bomb = '<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><annotations>&b;</annotations>'
    (tmp_path / "bomb.xml").write_text(bomb)
    write_labelme(tmp_path / "labelme", [("00001", MASK[:20])], labels=LABELS, kind=".png")
    for path, told in (
        ("small.png", "small.png: is 80x20 pixels, but its sequence is 80x48"),
        ("labelme/00001.json", "00001.json: is 80x20 pixels, but its sequence is 80x48"),
        ("blurred.jpg", "blurred.jpg: a mask stored as JPEG"),
        ("cut.png", "cut.png: this mask cannot be read"),
        ("a.json", "a.json: "),
        ("b.json", "b.json: "),
        ("c.xml", "c.xml: "),
        ("d.txt", "d.txt: "),
        ("e.zip", "e.zip: an archive; unpack it"),
        ("f.mp4", "f.mp4: not a file that masks are read from; give an image (.png"),
        ("g.npy", "g.npy: NumPy's files are not read"),
        ("h", "h: not a file that masks are read from"),
        ("i.png", "i.png: this mask is empty"),
        ("bomb.xml", "bomb.xml: "),
    ):
        status, said, _ = load(tmp_path / path)
        assert status == 400 and said.startswith(told) and "\n" not in said, (path, said)


def test_the_page_says_which_frame_and_object_a_file_cannot_be_for(serve, make):
    with serve(make) as client:
        session = f"/api/sessions/{client.ask('POST', '/api/sample')['id']}"
        file = io.BytesIO()
        Image.fromarray(MASK).save(file, format="PNG")
        assert client.refused("POST", f"{session}/frames/9/import?name=a.png", file.getvalue())[0] == 404
        status, error = client.refused("POST", f"{session}/frames/1/import?name=a.png&object=0", file.getvalue())
        assert status == 400 and "object='0'" in error
        assert client.refused("POST", f"{session}/frames/1/import?name=", file.getvalue())[0] == 400
        status, headers, content = client.send("POST", f"{session}/frames/1/import?name=..%2Fa.png", file.getvalue())
        assert status == 200 and headers["Cache-Control"] == "no-store"
