"""Tables, comparisons and pictures of runs."""

import csv
import io
import json

import made
import makers
import numpy as np
import pytest
from PIL import Image

from eosvos.errors import UserError
from eosvos.evaluation import benchmark, report
from eosvos.evaluation.results import Results, load
from eosvos.inference import overlay
from eosvos.plots import comparison, training_curves


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs that differ in one setting and a hash."""
    root = tmp_path_factory.mktemp("runs")
    sequences = [made.video("a", 1), made.video("b", 2, late=4), made.video("unmeasured", annotated={0})]
    for iters, make in ((1, makers.noisy), (10, makers.copy_first)):
        fingerprint = {"method": {"iters": iters, "ona": False}, "code_hash": f"{iters:040d}"}
        benchmark.run(make, sequences, root / str(iters), fingerprint=fingerprint, progress=False)
    return [root / "1", root / "10"]


def test_a_run_is_shown(runs):
    text = io.StringIO()
    report.show(load(runs[0]), file=text)
    lines = text.getvalue().splitlines()
    assert lines[0].split()[:4] == ["sequence", "J&F", "J", "J"]
    assert [line.split()[0] for line in lines[2:5]] == ["a", "b", "unmeasured"]
    assert lines[6].startswith("all (3, 3 objects)") and f"{load(runs[0]).summary['J-Mean']:.3f}" in lines[6]
    assert "not measured" in lines[7] and "unmeasured" in lines[7]
    assert len({len(line) for line in lines[:7]}) == 1  # aligned


def test_runs_are_compared(runs, tmp_path):
    text = io.StringIO()
    rows = comparison.compare(runs, tmp_path, file=text)
    assert [row["run"] for row in rows] == ["method.iters=1", "method.iters=10"]  # the hash tells nobody anything
    assert "method.iters=10" in text.getvalue() and "beware" not in text.getvalue()
    written = list(csv.DictReader((tmp_path / "comparison.csv").read_text().splitlines()))
    assert float(written[1]["J-Mean"]) == pytest.approx(rows[1]["J-Mean"], abs=1e-6)
    with Image.open(tmp_path / "comparison.png") as image:
        assert image.format == "PNG" and np.array(image.convert("L")).std() > 10


def test_comparisons_that_do_not_hold_are_named(runs, tmp_path):
    benchmark.run(makers.copy_first, [made.video("a", 1)], tmp_path / "c", fingerprint={"x": 1}, progress=False)
    text = io.StringIO()
    comparison.compare([runs[0], tmp_path / "c"], tmp_path, labels=["p", "q"], file=text)
    assert "not over the same objects" in text.getvalue()
    with pytest.raises(UserError, match="run.json is missing"):
        comparison.compare([tmp_path / "nothing"], tmp_path)
    assert comparison.label([load(runs[0]), load(runs[0])]) == [str(runs[0])] * 2


def test_runs_are_named_by_what_made_them(tmp_path):
    def names(*settings):
        return comparison.label([Results(tmp_path, one, 0, ()) for one in settings])

    flow, osvos, theirs = {"method": "flow"}, {"method": "osvos", "iters": 5}, {"results": "/x/theirs v2.zip", "a": 1}
    assert names(flow, osvos, theirs, {"results": "/x/STM/masks"}) == ["flow", "osvos", "theirs v2", "STM"]
    assert names(osvos, {**osvos, "iters": 6}) == ["iters=5", "iters=6"]
    assert names({**flow, "ona": True}, {**flow, "deep": {"x": 1}, "b": 2}) == ["ona=true", "b=2"]  # its own ones


def test_masks_are_drawn_over_the_video(tmp_path):
    sequence = made.video("b", 2, length=60, late=4)
    fingerprint = {}
    run = {"fingerprint": fingerprint, "progress": False}
    benchmark.run(makers.copy_first, [sequence], tmp_path / "run", **run)
    assert not (tmp_path / "run/overlay").exists()
    benchmark.run(makers.copy_first, [sequence], tmp_path / "run", overlay=True, **run)  # for a finished run too
    with Image.open(tmp_path / "run/overlay/b.webp") as animation:
        assert 10 < animation.n_frames <= 48 and animation.size == (32, 24)
    with Image.open(tmp_path / "run/overlay/b.png") as sheet:
        assert sheet.size == (4 * 32 + 12, 3 * 24 + 8)
    before = (tmp_path / "run/overlay/b.png").stat().st_mtime_ns
    benchmark.run(makers.copy_first, [sequence], tmp_path / "run", overlay=True, **run)
    assert (tmp_path / "run/overlay/b.png").stat().st_mtime_ns == before


def test_a_drawing_is_tinted_where_the_object_is():
    image, ids = np.full((60, 80, 3), 100, np.uint8), np.zeros((60, 80), np.uint8)
    ids[20:40, 20:40], ids[50:, :] = 1, 255
    drawn = overlay.draw(image, ids)
    assert drawn.shape == image.shape and (image == 100).all()
    assert drawn[30, 30, 0] > drawn[30, 30, 1] + 20  # id 1 is red
    assert (drawn[55, 10] == 100).all() and (drawn[5, 5] == 100).all()
    assert overlay.draw(image, ids, 40, given=True).shape == (30, 40, 3)


def test_curves_are_drawn(tmp_path):
    lines = [{"iteration": k, "loss": 1 / (k + 1), "rate_mean": 1e-2} for k in range(150)]
    lines += [{"iteration": 50, "J": 0.3}, {"iteration": 100, "J": 0.5, "loss": float("nan")}]
    log = tmp_path / "log.jsonl"
    log.write_text("\n".join(map(json.dumps, lines)) + '\n{"iteration": 15')  # still being written
    assert training_curves.curves(log, tmp_path / "curves.png") == tmp_path / "curves.png"
    with Image.open(tmp_path / "curves.png") as image:
        assert image.width > 2 * image.height
    with pytest.raises(UserError, match="cannot be read"):
        training_curves.curves(tmp_path / "none.jsonl", tmp_path / "x.png")
    log.write_text('{"iteration": 1}\nbroken\n{"iteration": 2}\n')
    with pytest.raises(UserError, match="line 2"):
        training_curves.curves(log, tmp_path / "x.png")
    log.write_text('{"iteration": 1, "speed": 3}\n')
    with pytest.raises(UserError, match="loss, J or rate_mean"):
        training_curves.curves(log, tmp_path / "x.png")
    assert not (tmp_path / "x.png").exists()
