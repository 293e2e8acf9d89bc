"""A session of the page from a folder that eosvos.segment has finished."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from pages import served, settings
from PIL import Image

from eosvos import app, segment
from eosvos.cli.build_page import Make, first_session
from eosvos.data.mask_files.tool_json import write_labelme
from eosvos.data.masks import read_mask, write_mask
from eosvos.data.synthetic.videos import held_out
from eosvos.page.annotations import Annotations
from eosvos.page.sessions import Sessions

pytest.importorskip("starlette")
SIZE = (48, 80)
CLIP = held_out(count=1, size=SIZE, length=5)[0]
NAMES = CLIP.frame_names
ONE, TWO = np.zeros((2, *SIZE), np.uint8)
ONE[10:30, 20:40], TWO[10:30, 50:70] = 1, 2


@pytest.fixture
def made(tmp_path, page_learner):
    """Makes a folder by eosvos.segment, of id masks by frame index; returns it and settings of the page."""

    def made(masks, *more):
        (tmp_path / "clip").mkdir(exist_ok=True)
        for k, name in enumerate(NAMES):
            Image.fromarray(CLIP.read_frame(k)).save(tmp_path / "clip" / f"{name}.png")
        for k, ids in masks.items():
            write_mask(tmp_path / "masks" / f"{NAMES[k]}.png", ids)
        method = [f"learner={page_learner}", "iters=2", "seed=3", "device=cpu"]
        line = [f"video={tmp_path / 'clip'}", f"masks={tmp_path / 'masks'}", f"out={tmp_path / 'out'}", "outputs=[]"]
        assert segment.main([*line, *method, *more]) == 0
        return tmp_path / "out", settings(*method, f"result={tmp_path / 'out'}")

    return made


def masks_of(folder):
    return [read_mask(folder / "masks" / f"{name}.png") for name in NAMES]


def test_its_masks_and_annotated_frames_are_shown_and_can_be_corrected_refined_and_exported(made, tmp_path, capsys):
    folder, config = made({1: ONE, 3: TWO, 4: np.zeros(SIZE, np.uint8)})
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    make, sessions = Make(config), Sessions(tmp_path / "app")
    session = first_session(config, sessions, make)
    found = masks_of(folder)
    with served(tmp_path / "app", make) as client:
        address = f"/api/sessions/{session.id}"
        state = client.get(address)
        assert (state["name"], state["frames"], state["annotated"], state["finished"]) == ("out", 5, [1, 3, 4], 1)
        run = state["run"]
        assert (run["state"], run["done"], run["objects"], run["steps"]) == ("finished", [[0, 4]], [1, 2], 2)
        assert run["suggested"] in (0, 2) and client.get(f"{address}/runs/1/uncertainty")["frames"][2] is not None
        for k, ids in enumerate(found):
            assert np.array_equal(client.ids(f"{address}/runs/1/masks/{k}", SIZE), ids)
        painted = [client.send("GET", f"{address}/annotations/{k}") for k in (1, 3, 4)]
        assert [headers.get("Absent") for _, headers, _ in painted] == [
            "",
            "",
            None,
        ]  # the last tells that none is there
        assert [np.frombuffer(content, np.uint8).max() for _, _, content in painted] == [1, 2, 0]
        client.ask("POST", f"{address}/runs/1/export", {"outputs": []})
        assert client.idle(address)["exported"]
        client.ask("POST", f"{address}/run", {"steps": 2})
        assert client.idle(address)["run"]["state"] == "finished"
        for k, ids in enumerate(found):  # the same frames tell the same
            assert np.array_equal(client.ids(f"{address}/runs/2/masks/{k}", SIZE), ids)
        client.ask("PUT", f"{address}/annotations/2?absent=", ONE.tobytes())
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert "other settings" not in capsys.readouterr().out
    make = Make(settings(f"learner={config.learner}", "seed=4", "iters=3"))
    again = first_session(config, Sessions(tmp_path / "app"), make)
    assert "other settings than the page refines with (seed)" in capsys.readouterr().out
    assert again.id == session.id and again.annotated() == [1, 2, 3, 4]  # what was painted since
    assert Sessions(tmp_path / "app").refer(tmp_path / "clip").id != session.id


def test_what_the_masks_tell_is_kept_in_other_forms(made, tmp_path):
    folder, config = made({0: ONE, 2: TWO}, "absent=all")
    session = first_session(config, Sessions(tmp_path / "app"), Make(config))
    told = [session.annotation(k)[1] for k in (0, 2)]
    assert told == [(), (1,)]
    shutil.rmtree(folder)
    shutil.rmtree(tmp_path / "masks")
    write_labelme(tmp_path / "masks", [(NAMES[2], ONE + TWO)], labels={1: "cat 1", 2: "dog 2"}, kind=".png")
    folder, config = made({})
    session = first_session(config, Sessions(tmp_path / "app"), Make(config))
    assert np.array_equal(session.annotation(2)[0], ONE + TWO) and session.annotated() == [2]
    objects = json.loads(session.objects_file.read_text())
    assert [(one["id"], one["name"]) for one in objects] == [(1, "cat 1"), (2, "dog 2")]


def test_of_masks_that_have_changed_no_frame_is_annotated_and_a_moved_video_can_be_told(made, tmp_path, capsys):
    folder, config = made({1: ONE})
    write_mask(tmp_path / "masks" / f"{NAMES[1]}.png", TWO)
    make = Make(config)
    session = first_session(config, Sessions(tmp_path / "app"), make)
    assert "the masks that it was made of have changed since" in capsys.readouterr().out
    assert session.annotated() == [] and not Annotations(session.folder / "annotations", SIZE).versions()
    assert session.runs()[0].objects == sorted(set(np.unique(masks_of(folder))) - {0})
    (tmp_path / "clip").rename(tmp_path / "moved")
    line = [f"result={folder}", f"learner={config.learner}", "device=cpu", f"folder={tmp_path / 'other'}"]
    assert app.main(line) == 2
    assert "clip is not there any more; say where it is with video=" in capsys.readouterr().err
    config.video = str(tmp_path / "moved")
    other = first_session(config, Sessions(tmp_path / "other"), make)
    assert other.path == str(tmp_path / "moved") and other.length == 5


def test_folders_that_are_none_are_refused_in_one_sentence(made, tmp_path, capsys):
    folder, config = made({1: ONE})
    (tmp_path / "empty").mkdir()
    line = [f"learner={config.learner}", "device=cpu", f"folder={tmp_path / 'app'}"]

    def refused(path, *more):
        assert app.main([*line, f"result={path}", *more]) == 2
        told = capsys.readouterr().err.strip().splitlines()
        assert not list((tmp_path / "app").glob("?" * 32))
        return told[-1]

    assert "nothing: is no folder; give one that eosvos.segment has finished" in refused(tmp_path / "nothing")
    assert "empty: not a folder of eosvos.segment" in refused(tmp_path / "empty")
    (tmp_path / "short").mkdir()
    shutil.copytree(tmp_path / "clip", tmp_path / "short", dirs_exist_ok=True)
    (tmp_path / "short" / f"{NAMES[4]}.png").unlink()
    told = refused(folder, f"video={tmp_path / 'short'}")
    assert "0 of 4 frames have none, and 1 masks no frame; say with video=" in told
    mask = folder / "masks" / f"{NAMES[2]}.png"
    whole = mask.read_bytes()
    write_mask(mask, ONE[:20])
    assert f"{NAMES[2]}.png: is 80x20 pixels" in refused(folder)
    mask.unlink()
    assert "1 of 5 frames have none" in refused(folder)
    mask.write_bytes(whole)
    (folder / "finished").unlink()
    assert "out: is not finished; the command that began it continues it" in refused(folder)
    (folder / "run.json").write_text("{}")
    assert "out: not a folder of eosvos.segment, or a damaged one" in refused(folder)
