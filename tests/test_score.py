"""python -m eosvos.score from end to end in miniature, and what it says to a user's mistakes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eosvos import eval, score
from eosvos.cli import hydra_app
from eosvos.data.masks import write_mask
from eosvos.evaluation.results import load

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("bear", "dogs")


@pytest.fixture
def data(tmp_path, monkeypatch):
    """DAVIS 2017 with a split "tiny" of two sequences, theirs/ with masks a pixel off, in the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EOSVOS_DATA", raising=False)
    for name in NAMES:
        for k in range(6):
            mask = np.zeros((24, 32), np.uint8)
            mask[4:12, 3 + k : 12 + k] = 1
            if name == "dogs":
                mask[14:20, 5:15] = 2
            write_mask(f"DAVIS/Annotations/480p/{name}/{k:05d}.png", mask)
            write_mask(f"theirs/{name}/{k:05d}.png", np.roll(mask, 1, 0))
            frame = Path(f"DAVIS/JPEGImages/480p/{name}/{k:05d}.jpg")
            frame.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((24, 32, 3), 40 * k, np.uint8)).save(frame)
    Path("DAVIS/ImageSets/2017").mkdir(parents=True)
    Path("DAVIS/ImageSets/2017/tiny.txt").write_text("\n".join(NAMES))
    return tmp_path


HERE = ["dataset=davis17", "data_root=DAVIS", "split=tiny", "processes=1"]


def complaint(capsys, status: int) -> str:
    captured = capsys.readouterr()
    assert status == hydra_app.MISTAKE and "Traceback" not in captured.out + captured.err, captured
    return captured.err


def test_masks_of_others_are_measured_like_our_own(data, capsys):
    assert score.main(["results=theirs", *HERE, "measures=[T,boxes,errors]", "submission=true"]) == 0
    captured = capsys.readouterr()
    (out,) = (data / "runs/score").iterdir()
    assert out.name.startswith("theirs-davis17-tiny-") and f"figures: {out.relative_to(data)}" in captured.out
    assert "masks: palette images, the index is the id (bear, dogs)" in captured.out + captured.err
    assert (
        "fps" not in captured.out
        and "protocol: davis" in captured.out
        and re.search(r"Overlap above +boxes", captured.out)
    )
    names = {"run.json", "global.csv", "per_sequence.csv", "per_frame.json", "over_time.csv", "boxes.csv", "errors.csv"}
    assert {path.name for path in out.iterdir() if path.is_file() and path.name[0] != "."} == names | {"submission.zip"}
    union = 9 * 9
    assert json.loads((out / "per_sequence/bear.json").read_text())["objects"]["1"]["J"] == [63 / union] * 4
    with zipfile.ZipFile(out / "submission.zip") as archive:
        assert archive.namelist() == [f"{name}/{k:05d}.png" for name in NAMES for k in range(6)]
    assert sorted(path.name for path in Path("theirs").iterdir()) == list(NAMES)
    # Our own: the same figures from the same masks.
    shutil.copytree("theirs", "again/masks")
    assert score.main(["results=again", *HERE, "out=elsewhere"]) == 0
    assert Path("elsewhere/per_frame.json").read_text() != ""
    row = Path("elsewhere/global.csv").read_text().splitlines()[1].split(",")
    assert row[:7] == (out / "global.csv").read_text().splitlines()[1].split(",")[:7]


def test_masks_alone_are_enough(data, capsys):
    """Of the data set, whatever its layout."""
    assert score.main(["results=theirs", *HERE, "out=whole"]) == 0
    shutil.rmtree("DAVIS/JPEGImages")
    assert score.main(["results=theirs", *HERE, "out=bare"]) == 0
    shutil.copytree("DAVIS/Annotations/480p", "own/Annotations")
    shutil.copytree("DAVIS/Annotations/480p", "mose/train/Annotations")
    for kind, more in (("folder", "data_root=own"), ("mose", "data_root=mose")):
        words = [f"dataset={kind}", more, "processes=1", f"out=of-{kind}", *["split=train"] * (kind == "mose")]
        assert score.main(["results=theirs", *words]) == 0, capsys.readouterr().err
    for out in ("bare", "of-folder"):
        assert Path(out, "per_frame.json").read_text() == Path("whole", "per_frame.json").read_text()


def test_the_official_figures_to_the_last_digit(data, shared_data):
    """From the masks of OSVOS to the tables, beside what the official toolkit prints."""
    golden = shared_data / "metrics-golden"
    if not golden.is_dir():
        pytest.skip(f"{golden} is absent")
    wanted = json.loads((golden / "expected.json").read_text())["blackswan"]
    annotations = sorted((golden / "annotations/blackswan").glob("*.png"))
    with Image.open(annotations[0]) as mask:
        Image.new("RGB", mask.size).save("frame.jpg")
    for path in annotations:
        for folder, source in (("Annotations", path), ("JPEGImages", Path("frame.jpg"))):
            place = Path("D16", folder, "480p/blackswan", path.stem + source.suffix)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(source.resolve())
    words = ["dataset=davis16", "data_root=D16", "sequences=[blackswan]", "processes=1", "out=out"]
    assert score.main([f"results={golden / 'predictions'}", *words]) == 0
    found = load("out").sequences[0]
    assert found.region[1] == pytest.approx(wanted["J_frames"], abs=1e-12)
    assert found.contour[1] == pytest.approx(wanted["F_frames"], abs=1e-12)
    for statistics, key in zip(found.statistics(1), ("J", "F"), strict=True):
        assert statistics == pytest.approx(wanted[key], abs=1e-12)


def test_a_sweep_over_protocols_ends_with_one_table(data, capsys):
    assert score.main(["-m", "results=theirs", *HERE, "protocol=davis,youtube-vos"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"protocol=davis +0", out) and re.search(r"protocol=youtube-vos +0", out)
    assert "measured by different protocols" in out
    above = Path(re.findall(r"comparison: (.*)", out)[0])  # nobody knows a speed, so that there is no picture of it
    assert above.name == "comparison.csv" and [path.name for path in above.parent.glob("comparison.*")] == [above.name]


def test_processes_change_nothing(data):
    """And they start without torch, fifteen times faster."""
    assert score.main(["results=theirs", *HERE[:3], "processes=2", "out=two"]) == 0
    assert score.main(["results=theirs", *HERE, "out=one"]) == 0
    for name in ("per_sequence.csv", "per_frame.json", "global.csv"):
        assert Path("two", name).read_bytes() == Path("one", name).read_bytes()
    loaded = (
        "eosvos.score, eosvos.evaluation.predictions, eosvos.evaluation.score_sequence, "
        "eosvos.data.readers.per_object_masks"
    )
    code = f"import sys, {loaded}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["results=none"], "results=none: does not exist"),
        ([], "results=null: give the folder"),
        (["results=."], "a level too high: 2 of the 2 sequences of davis17-tiny.*give results=theirs"),
        (["results=theirs/bear"], "lies within the masks of the sequence bear; give the folder above"),
        (["results=theirs", "split=val"], "bike-packing"),
        (["results=theirs", "out=theirs/figures"], "out=theirs/figures: lies among the masks"),
        (["results=theirs", "protocol=davis17"], "protocol=davis17: expected one of davis"),
        (["results=theirs", "protocol=lvos"], "protocol=lvos: .* which dataset=davis17 does not tell"),
        (["results=theirs", "iters=10"], "iters: no such setting"),
    ],
)
def test_mistakes_end_before_the_work(data, capsys, arguments, said):
    before = sorted(data.rglob("*"))
    assert re.search(said, complaint(capsys, score.main([*HERE, *arguments])), re.S)
    assert sorted(data.rglob("*")) == before


def test_the_truth_itself_is_not_taken_for_results_in_silence(data, capsys):
    assert score.main(["results=DAVIS", *HERE]) == 0
    assert "beware: these are the data set's own masks" in capsys.readouterr().err


def test_a_forgotten_data_set_is_told_by_the_names(data, capsys):
    for name in ("blackswan", "bmx-trees"):
        shutil.copytree("theirs/bear", f"val/{name}")
    assert "of dataset=davis" in complaint(capsys, score.main(["results=val", "processes=1"]))


def test_masks_are_written_in_other_forms_and_are_the_same(data, capsys):
    forms = ("grey", "colours", "objects", "json", "cvat", "label_studio", "labelme", "yolo")
    assert eval.main([*HERE, "method=copy_first", "device=cpu", f"export=[{','.join(forms)}]", "out=run"]) == 0
    assert score.main(["results=theirs", *HERE, "export=[binary]", "out=own"]) == 0
    wanted = load("run").sequences
    for form in forms:
        assert score.main([f"results=run/export/{form}", *HERE, f"out={form}"]) == 0
        assert [one.region for one in load(form).sequences] == [one.region for one in wanted], form
    assert sorted(path.name for path in Path("run/export/objects/dogs").iterdir()) == ["001", "002"]
    mask = np.array(Image.open("own/export/binary/dogs/00003.png"))
    assert np.array_equal(mask, np.uint8(255) * (np.array(Image.open("theirs/dogs/00003.png")) > 0))
    assert "export=['gray']: expected one of grey, binary" in complaint(capsys, score.main([*HERE, "export=[gray]"]))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_output_that_cannot_be_written(data, capsys):
    Path("locked").mkdir(mode=0o500)
    assert "cannot be written" in complaint(capsys, score.main(["results=theirs", *HERE, "out=locked/run"]))


def test_an_output_below_a_file(data, capsys):
    """As on a read-only disk: no folder can be made there, whoever asks."""
    assert "cannot be written" in complaint(
        capsys, score.main(["results=theirs", *HERE, "out=DAVIS/ImageSets/2017/tiny.txt/x"])
    )


def test_an_evaluation_writes_its_submission(data, capsys):
    assert eval.main([*HERE, "method=copy_first", "device=cpu", "submission=true", "out=run"]) == 0
    assert "to hand in: run/submission.zip" in capsys.readouterr().out
    with zipfile.ZipFile("run/submission.zip") as archive:
        assert len(archive.namelist()) == 12
    assert "no server takes" in complaint(capsys, eval.main(["submission=true", "method=copy_first", "device=cpu"]))
