"""A process that was killed inside a write leaves nothing that any later one takes for its own."""

from __future__ import annotations

import json
import os
import signal
import threading
from functools import partial

import numpy as np

from eosvos.cli import hydra_app
from eosvos.data.masks import read_mask
from eosvos.data.synthetic.videos import held_out
from eosvos.inference import segment_video
from eosvos.meta.checkpoint import open_run
from eosvos.meta.distributed import World
from eosvos.methods.baselines import CopyFirst
from eosvos.page.sessions import Sessions
from eosvos.page.uploads import free_path, video_in


def masks(out):
    return {path.name: read_mask(path) for path in sorted((out / "masks").iterdir())}


def test_a_run_that_was_killed_within_a_state_or_a_mask_goes_on_as_if_it_had_not_been(tmp_path):
    sequence = held_out("test", count=1, size=(48, 64), length=5)[0]
    run = partial(segment_video.segment, CopyFirst, sequence, save_every=0.0)
    run(tmp_path / "whole")
    expected = masks(tmp_path / "whole")
    for kind, times in ((".safetensors", 1), (".safetensors", 3), (".png", 2)):
        out = tmp_path / f"killed-{kind}-{times}"
        child = os.fork()
        if child == 0:
            replace, written = os.replace, []

            def kill(source, target, replace=replace, written=written, kind=kind, times=times):
                written.extend([target] * str(target).endswith(kind))
                if len(written) == times:
                    os.kill(os.getpid(), signal.SIGKILL)
                replace(source, target)

            os.replace = kill
            try:
                run(out)
            finally:
                os._exit(3)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        assert [path for path in out.rglob(f".*.tmp{kind}")]
        run(out)
        found = masks(out)
        assert list(found) == list(expected)
        assert all(np.array_equal(found[name], mask) for name, mask in expected.items())
        assert not (out / "state").exists() and not list(out.rglob(".*.tmp*"))


def test_leftovers_are_no_notes_no_learners_and_no_videos(tmp_path):
    for name in ("000000.json", ".000001.1a2b.tmp.json"):
        (tmp_path / name).write_text(json.dumps({"job": name, "out": str(tmp_path)})[: None if name[0] == "0" else 9])
    assert list(hydra_app._noted(tmp_path).values()) == ["000000.json"]
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / ".learner.1a2b.tmp.safetensors").write_bytes(b"half")
    with open_run(tmp_path / "training", World(), False) as stored:
        assert stored is None
    (tmp_path / "video").mkdir()
    for name in ("clip.mp4", ".clip.1a2b.tmp.mp4"):
        (tmp_path / "video" / name).touch()
    assert video_in(tmp_path / "video").name == "clip.mp4"


def test_a_server_tidies_runs_that_it_was_killed_in_making(tmp_path):
    clip = held_out("val", count=1, size=(48, 64), length=3)[0]
    session = Sessions(tmp_path).sample(clip)
    painted = np.zeros((48, 64), np.uint8)
    painted[5:20, 5:25] = 1
    session.annotations.write(session.names[0], painted)
    (session.folder / "annotations" / f".{session.names[1]}.1a2b.tmp.png").write_bytes(b"half")
    assert session.annotated() == [0]
    (session.folder / "runs" / "1" / "annotations").mkdir(parents=True)  # killed before run.json
    assert session.new_run(1, {}).number == 2 and [run.number for run in session.runs()] == [2]
    (again,), damaged = Sessions(tmp_path).all()
    assert not damaged and sorted(p.name for p in (session.folder / "runs").iterdir()) == ["2"]
    assert [run.number for run in again.runs()] == [2] and again.done(2) == set()


def test_uploads_of_one_name_at_once_are_several_files(tmp_path):
    ready, found = threading.Barrier(8), []

    def upload():
        ready.wait()
        found.append(free_path(tmp_path, "clip.mp4").name)

    threads = [threading.Thread(target=upload) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(["clip.mp4", *(f"clip-{number}.mp4" for number in range(2, 9))])
