"""A run gives the same files however it is cut, shared or resumed, and touches nothing that is not its own."""

import errno
import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import zlib
from dataclasses import replace
from pathlib import Path

import cv2
import made
import makers
import numpy as np
import pytest
import torch
from PIL import Image

from eosvos.data.masks import read_mask
from eosvos.errors import UserError
from eosvos.evaluation import benchmark, run_folder
from eosvos.evaluation.metrics import region_contour
from eosvos.evaluation.results import load
from eosvos.inference import stream
from eosvos.methods.baselines import CopyFirst
from eosvos.seeds import derive

PRINT = {"iters": 10, "online": {"every": 5}, "code": "abc"}


def videos():
    return [made.video("a", 1), made.video("b", 2, length=11, late=4), made.video("c", 3, length=6)]


def evaluate(out, sequences=None, make=makers.noisy, fingerprint=PRINT, **settings):
    sequences = videos() if sequences is None else sequences
    return benchmark.run(make, sequences, out, fingerprint=fingerprint, progress=False, **settings)


def files(out):
    """Every file's bytes; the figures without what a clock or the memory gives."""
    found = {}
    for path in sorted(Path(out).rglob("*")):
        if path.is_file() and path.name not in ("global.csv", "per_sequence.csv"):
            content = path.read_bytes()
            if path.parent.name == "per_sequence":
                figures = json.loads(content)
                content = {k: v for k, v in figures.items() if k in ("name", "frames", "scored", "objects")}
            found[str(path.relative_to(out))] = content
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run in one process."""
    out = tmp_path_factory.mktemp("whole") / "run"
    return evaluate(out), files(out)


def test_streaming_equals_reading_everything(whole):
    results, _ = whole
    for sequence, result in zip(videos(), results.sequences, strict=True):
        method = makers.noisy(derive(0, zlib.crc32(sequence.name.encode())))
        masks = [method.start(sequence.frame(0), sequence.new_objects(0)).copy()]
        for index in range(1, len(sequence)):
            mask = method.step(sequence.frame(index))
            if sequence.new_objects(index):
                mask = method.add(sequence.frame(index), sequence.new_objects(index))
            masks.append(mask.copy())
        for name, mask in zip(sequence.frame_names, masks, strict=True):
            assert (read_mask(results.out / "masks" / sequence.name / f"{name}.png") == mask).all()
        for i in sequence.first_frame:
            expected = [
                region_contour.region_similarity(masks[k] == i, sequence.mask(k) == i) for k in range(1, len(masks) - 1)
            ]
            assert result.region[i] == expected  # void, 255 in the truth, counts as background
        assert 0 <= result.adapt_seconds <= result.seconds and result.peak_MiB > 1


def test_masks_have_the_official_layout(whole):
    results, _ = whole
    with Image.open(results.out / "masks" / "b" / "00005.png") as image:
        assert image.mode == "P" and set(np.unique(np.array(image))) <= {0, 1, 3}
    header, row = (results.out / "global.csv").read_text().splitlines()
    assert header.startswith("J&F-Mean,J-Mean,J-Recall,J-Decay,F-Mean,F-Recall,F-Decay,fps,seconds,peak_MiB")
    rows = (results.out / "per_sequence.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in rows] == ["Sequence", "a_1", "b_1", "b_3", "c_1"]
    assert rows[0].startswith("Sequence,J-Mean,F-Mean")
    means = [float(line.split(",")[1]) for line in rows[1:]]  # over objects, not over sequences
    assert float(row.split(",")[1]) == pytest.approx(np.mean(means), abs=1e-6)
    frames = json.loads((results.out / "per_frame.json").read_text())
    assert frames["b"]["frames"] == [f"{k:05d}" for k in range(1, 10)] and len(frames["b"]["objects"]["3"]["F"]) == 9


def test_the_same_run_twice_and_over_processes(whole, tmp_path):
    results, expected = whole
    assert files_of(evaluate(tmp_path / "two", processes=2)) == expected
    again = load(tmp_path / "two")
    assert [s.region for s in again.sequences] == [s.region for s in results.sequences]
    assert files_of(evaluate(tmp_path / "other", seed=1)) != expected


def files_of(results):
    return files(results.out)


def test_order_and_company_change_nothing(whole, tmp_path):
    _, expected = whole
    alone = files_of(evaluate(tmp_path / "alone", [videos()[2]]))
    assert alone["masks/c/00003.png"] == expected["masks/c/00003.png"]


def test_perfect_masks_have_perfect_figures(tmp_path):
    calls = []

    def perfect(seed):
        calls.append(makers.Perfect(sequence))
        return calls[-1]

    sequence = made.video("late", late=3, first=1)
    results = evaluate(tmp_path / "run", [sequence], perfect)
    summary = results.summary
    assert summary["J-Mean"] == summary["F-Mean"] == summary["J-Recall"] == 1 and summary["J-Decay"] == 0
    assert summary["objects"] == 2 and summary["sequences"] == 1
    # Nothing is asked before the first object; the late one is added on the frame just stepped.
    assert calls[0].calls[:4] == [("start", 1, (1,)), ("step", 2), ("step", 3), ("add", 3, (3,))]
    assert not read_mask(tmp_path / "run/masks/late/00000.png").any()


def test_sequences_without_truth_are_segmented_only(tmp_path):
    results = evaluate(tmp_path / "run", [made.video("a", annotated={0}), made.video("b")], makers.copy_first)
    assert [len(s.objects) for s in results.sequences] == [0, 1] and results.summary["objects"] == 1
    assert len(list((tmp_path / "run/masks/a").glob("*.png"))) == 8
    nothing = evaluate(tmp_path / "none", [made.video("a", annotated={0})], makers.copy_first)
    assert np.isnan(nothing.summary["J-Mean"]) and (tmp_path / "none/global.csv").exists()


def test_masks_that_only_give_objects_are_no_truth(tmp_path):
    """A server keeps the truth: the mask that gives the second object says nothing about the first one there."""
    given = replace(made.video("a", 1, late=3, annotated=(0, 3, 5)), has_ground_truth=False)
    results = evaluate(tmp_path / "given", [given])
    assert results.sequences[0].scored == [] and math.isnan(results.summary["J-Mean"])
    assert len(list((tmp_path / "given/masks/a").glob("*.png"))) == len(given)
    assert evaluate(tmp_path / "true", [replace(given, has_ground_truth=True)]).sequences[0].scored == ["00003"]


class Killed(Exception):
    pass


@pytest.mark.parametrize("frame", [0, 5])
def test_a_resumed_run_equals_an_uninterrupted_one(whole, tmp_path, frame):
    _, expected = whole

    class Dying(makers.Noisy):
        def step(self, image):
            mask = super().step(image)
            self.count = getattr(self, "count", 0) + 1
            if self.count > frame and len(started) == 2:
                raise Killed
            return mask

    started, out = [], tmp_path / "run"
    with pytest.raises(Killed):
        evaluate(out, make=lambda seed: (started.append(seed), Dying(seed))[1])
    assert [p.stem for p in (out / "per_sequence").iterdir()] == ["a"] and not (out / "global.csv").exists()
    (out / "masks/b/00010.png").write_bytes(b"half")  # what a kill could leave behind
    again = []
    evaluate(out, make=lambda seed: (again.append(seed), makers.Noisy(seed))[1])
    assert len(again) == 2 and files(out) == expected


def test_a_lost_mask_is_made_again(whole, tmp_path, capsys):
    _, expected = whole
    out = tmp_path / "run"
    evaluate(out)
    (out / "masks/b/00002.png").unlink()
    made_again = []
    benchmark.run(
        lambda seed: (made_again.append(seed), makers.Noisy(seed))[1], videos(), out, fingerprint=PRINT, overlay=False
    )
    assert len(made_again) == 1 and files(out) == expected
    said = capsys.readouterr().err
    assert "2 of 3 sequences are finished and kept" in said and "[3/3] b: J" in said


def test_other_settings_are_refused_before_any_work(tmp_path):
    out = tmp_path / "run"
    evaluate(out, [made.video("a")], makers.copy_first)
    before = files(out)

    def never(seed):
        raise AssertionError

    other = {"iters": 50, "online": {"every": 4}, "code": "abc", "new": 1}
    with pytest.raises(UserError, match=r"iters: 10 there, 50 now; online.every: 5 there, 4 now; new.*out=.*run-2"):
        evaluate(out, make=never, fingerprint=other)
    with pytest.raises(UserError, match="seed: 0 there, 3 now"):
        evaluate(out, make=never, seed=3)
    with pytest.raises(UserError, match="resume=false"):
        evaluate(out, make=never, resume=False)
    assert files(out) == before


def test_other_folders_are_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(UserError, match="thesis.tex"):
        evaluate(tmp_path)
    with pytest.raises(UserError, match="is a file"):
        evaluate(tmp_path / "thesis.tex")
    with pytest.raises(UserError, match="run.json"):
        (tmp_path / "run.json").write_text("[]")
        evaluate(tmp_path)
    (tmp_path / "new" / ".hydra").mkdir(parents=True)
    run_folder.claim(tmp_path / "new", PRINT)  # a command may claim it first and put its settings there
    (tmp_path / "new" / "config.yaml").write_text("x")
    evaluate(tmp_path / "new", [made.video("a")], makers.copy_first, resume=False)


def test_unusable_sequences_are_refused(tmp_path):
    with pytest.raises(UserError, match="no sequences"):
        evaluate(tmp_path / "run", [])
    with pytest.raises(UserError, match="twice"):
        evaluate(tmp_path / "run", [made.video("a"), made.video("a")])
    nothing = made.video("a")
    nothing.first_frame.clear()
    with pytest.raises(UserError, match="a: no frame has a mask"):
        evaluate(tmp_path / "run", [nothing])
    assert not (tmp_path / "run").exists()


def test_a_full_disk_leaves_no_partial_file(tmp_path, monkeypatch):
    out, save, count = tmp_path / "run", Image.Image.save, []

    def full(self, path, *args, **settings):
        count.append(path)
        if len(count) == 3:
            Path(path).write_bytes(b"partial")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(self, path, *args, **settings)

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(UserError, match="no space left"):
        evaluate(out)
    assert [p.name for p in sorted((out / "masks/a").iterdir())] == ["00000.png", "00001.png"]
    assert not (out / "per_sequence").exists() and not (out / "global.csv").exists()


def test_an_unreadable_frame_is_raised(tmp_path):
    sequence = made.video("a")

    def broken(index):
        if index == 4:
            raise UserError("a/00004.jpg: truncated")
        return made.Video(0, 8).read_frame(index)

    object.__setattr__(sequence, "read_frame", broken)
    with pytest.raises(UserError, match="truncated"):
        evaluate(tmp_path / "run", [sequence])
    object.__setattr__(sequence, "read_frame", lambda index: np.zeros((10, 12 + index, 3), np.uint8))
    with pytest.raises(UserError, match="frame 00000 is 10x12 .*expected 24x32"):
        evaluate(tmp_path / "other", [sequence])


def test_few_frames_are_held_at_once(tmp_path):
    read = []
    sequence = made.video("a", length=20)
    object.__setattr__(sequence, "read_frame", lambda index: (read.append(index), np.zeros((24, 32, 3), np.uint8))[1])

    class Slow(CopyFirst):
        def step(self, frame):
            self.index = getattr(self, "index", 0) + 1
            time.sleep(0.01)
            assert len(read) <= self.index + 1 + stream.AHEAD
            return super().step(frame)

    evaluate(tmp_path / "run", [sequence], lambda seed: Slow())
    assert read == list(range(20))


def test_the_numbers_of_threads_are_the_callers(tmp_path):
    before = torch.get_num_threads(), cv2.getNumThreads()
    seen = []

    def make(seed):
        seen.append((torch.get_num_threads(), cv2.getNumThreads()))
        return makers.Noisy(seed)

    torch.set_num_threads(2)
    cv2.setNumThreads(3)
    try:
        evaluate(tmp_path / "run", [made.video("a")], make)
        assert seen == [(2, 3)] and (torch.get_num_threads(), cv2.getNumThreads()) == (2, 3)
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


def test_of_runs_that_begin_at_once_one_has_the_folder(tmp_path):
    """With other settings each; where the folder may have another name, each has one of its own."""

    def at_once(work):
        ready, found = threading.Barrier(6), {}

        def begin(number):
            ready.wait()
            try:
                found[number] = work(number)
            except UserError as error:
                found[number] = error

        threads = [threading.Thread(target=begin, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [found[number] for number in range(6)]

    for attempt in range(10):
        out = tmp_path / f"taken-{attempt}"
        told = at_once(lambda number, out=out: run_folder.claim(out, {"iters": number}))
        assert told.count(None) == 1
        iters = told.index(None)
        others = [str(error) for error in told if error is not None]
        assert all(f"other settings (iters: {iters} there" in text for text in others)
        assert json.loads((out / "run.json").read_text())["fingerprint"] == {"iters": iters}
        free = tmp_path / f"free-{attempt}"
        chosen = at_once(lambda number, free=free: run_folder.claim_free(free, {"iters": number // 2}))
        assert chosen[0] == chosen[1] and chosen[2] == chosen[3] and chosen[4] == chosen[5]
        assert {path.name for path in chosen} == {free.name, f"{free.name}-2", f"{free.name}-3"}
        for number, path in enumerate(chosen):
            assert json.loads((path / "run.json").read_text())["fingerprint"] == {"iters": number // 2}


def test_what_cannot_be_sent_to_a_process_is_named(tmp_path):
    with pytest.raises(TypeError, match="make_method.*processes=1"):
        evaluate(tmp_path / "run", make=lambda seed: makers.Noisy(seed), processes=2)
    assert not multiprocessing.active_children()


INTERRUPTED = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background is started with it ignored
import sys, time
sys.path[:0] = [{here!r}, {root!r}]
import made
import makers
from eosvos.evaluation import benchmark

class Endless(makers.Noisy):
    def step(self, frame):
        time.sleep(60)

def make(seed):
    return Endless(seed)

if __name__ == "__main__":
    import multiprocessing
    try:
        benchmark.run(make, [made.video("a"), made.video("b")], {out!r}, fingerprint={{}}, processes=2)
    except KeyboardInterrupt:
        end = time.monotonic() + 20  # told to stop, they may need a moment; left alone they would sleep for a minute
        while multiprocessing.active_children() and time.monotonic() < end:
            time.sleep(0.05)
        print("children:", len(multiprocessing.active_children()))
"""


def test_an_interrupt_ends_all_processes_and_says_how_to_go_on(tmp_path):
    here, script, out = Path(__file__).parent, tmp_path / "script.py", tmp_path / "run"
    script.write_text(INTERRUPTED.format(here=str(here), root=str(here.parents[1]), out=str(out)))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen([sys.executable, str(script)], **pipes) as process:
        try:
            deadline = time.monotonic() + 90  # three interpreters load torch, perhaps on a busy machine
            while len(list(out.glob("masks/*/00000.png"))) < 2 and process.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
            printed, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert "0 of 2 sequences are finished; the same command continues" in said and "Traceback" not in said
    assert "children: 0" in printed
    assert not [path for path in out.rglob("*") if ".tmp" in path.name]
