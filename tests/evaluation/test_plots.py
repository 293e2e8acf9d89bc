"""Pictures of runs: what is drawn equals the figures, everything can be read, and nothing of others is written over."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import made
import makers
import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from eosvos import plot
from eosvos.data.masks import write_mask
from eosvos.errors import UserError
from eosvos.evaluation import benchmark, predictions
from eosvos.evaluation.metrics import region_contour
from eosvos.evaluation.metrics.sequence_scores import SequenceResult
from eosvos.evaluation.results import Results
from eosvos.inference import overlay
from eosvos.plots import bars_and_curves, frames, published, quality_speed, style
from eosvos.plots.runs import Run, caveats, claim, open_runs

NAN = math.nan


def result(name, region, seconds=2.0):
    """A sequence with J values per object; F is half of J."""
    length = len(next(iter(region.values()), []))
    scored = [f"{k + 1:05d}" for k in range(length)]
    contour = {i: [j / 2 for j in values] for i, values in region.items()}
    return SequenceResult(
        name=name,
        frames=length + 2,
        seconds=seconds,
        adapt_seconds=None,
        peak_MiB=1.0,
        peak_cuda_MiB=None,
        scored=scored,
        region=region,
        contour=contour,
    )


def run(label, sequences, settings=None, out="nowhere"):
    return Run(label, Results(Path(out), settings or {}, 0, tuple(sequences)))


def random_run(label, names, seed=0, length=30, **more):
    generator = np.random.default_rng(seed)
    return run(label, [result(name, {1: generator.random(length).tolist()}) for name in names], **more)


def opened(path, least=20):
    """The picture as grey values; nothing is cut off: its border is white, its inside not."""
    with Image.open(path) as image:
        grey = np.array(image.convert("L"))
    assert (np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]]) == 255).all()
    assert grey.std() > least
    return grey


def test_bars_are_the_means_of_the_official_table(tmp_path, drawn):
    first = run(
        "first", [result("a", {1: [0.2, 0.4], 7: [1.0, NAN]}), result("b", {1: [0.9, 0.7]}), result("none", {})]
    )
    second = run("second", [result("c", {3: [0.5]}), result("a", {1: [0.1, 0.1], 7: [0.1, 0.2]})])
    table = bars_and_curves.per_sequence([first, second])
    assert table.names == ["b", "a", "c"]  # by the first run's J, then what it lacks
    for row, one in enumerate((first, second)):
        objects = [r | {"Sequence": r["Sequence"].rpartition("_")[0]} for r in one.results.rows()]
        for column, name in enumerate(table.names):
            of = [r for r in objects if r["Sequence"] == name]
            for values, key in ((table.region, "J-Mean"), (table.contour, "F-Mean")):
                expected = sum(r[key] for r in of) / len(of) if of else NAN
                assert values[row, column] == pytest.approx(expected, abs=1e-12, nan_ok=True)
    bars_and_curves.bars([first, second], tmp_path / "bars.png")
    axis = drawn[-1].axes[0]
    assert [text.get_text() for text in axis.get_yticklabels()] == ["b", "a (2)", "c"]
    for values, bars, line, one in zip(table.region, axis.containers, axis.lines, (first, second), strict=True):
        assert [bar.get_width() for bar in bars] == np.nan_to_num(values).tolist()
        assert line.get_xdata()[0] == one.results.summary["J-Mean"]
    texts = [text.get_text() for text in axis.texts]
    assert texts.count("not measured") == 2 and "0.80" in texts  # what a run lacks is not taken for 0
    notes = " ".join(drawn[-1].get_supxlabel().split())
    assert "first: not measured, for want of annotated frames: none" in notes
    assert "not over the same objects" in notes


def test_j_over_time_is_the_mean_over_objects(tmp_path, drawn):
    generator = np.random.default_rng(0)
    values = generator.random((3, 20))
    values[1, :8] = NAN  # comes late
    one = run(
        "one", [result("a", {1: values[0].tolist(), 2: values[1].tolist()}), result("b", {1: values[2].tolist()})]
    )
    longer = run("longer", [result("a", {1: np.repeat(values[0], 7).tolist()}), result("short", {1: [0.5]})])
    assert bars_and_curves.per_frame(one.results.sequences[0]).tolist() == pytest.approx(
        np.nanmean(values[:2], axis=0).tolist()
    )
    bars_and_curves.over_time([one, longer], tmp_path / "time.png")
    panels = [axis for axis in drawn[-1].axes if axis.axison]
    assert len(panels) == 3
    bold = max(panels[0].lines, key=lambda line: line.get_linewidth())
    assert bold.get_ydata() == pytest.approx(np.nanmean(values, axis=0)) and len(panels[0].lines) == 3
    assert bold.get_xdata() == pytest.approx((np.arange(20) + 0.5) / 20)
    thin = [line for line in panels[0].lines if line is not bold]
    assert thin[0].get_ydata() == pytest.approx(np.nanmean(values[:2], axis=0))
    assert [line.get_label() for line in panels[2].lines] == ["one", "longer"]
    assert panels[2].lines[1].get_ydata()[1:] == pytest.approx(values[0][1:])
    assert panels[2].lines[1].get_ydata()[0] == pytest.approx((values[0][0] + 0.5) / 2)  # a single frame counts there


NAMES = [
    "_underscore",
    "$x^2$ & $y",
    "a-very-long-name-" * 12,
    "Überfahrt über die Brücke",
    "бег трусцой",
    "视频 狗",
    "tab\tand\nline",
    "c%20d {e} \\alpha",
]


@pytest.mark.parametrize(
    "runs",
    [
        [random_run("one", ["alone"], length=1)],
        [random_run(name, NAMES, seed) for seed, name in enumerate(NAMES)],
        [random_run("many", [f"sequence-{k:03d}" for k in range(90)], length=9)],
        [random_run("a", ["x"]), run("nothing measured", [result("x", {})])],
    ],
    ids=["one", "names", "many", "unmeasured"],
)
def test_every_kind_of_run_can_be_read(tmp_path, runs):
    """Warnings are errors: that a letter is missing in the font would be one."""
    bars_and_curves.bars(runs, tmp_path / "bars.png")
    bars_and_curves.over_time(runs, tmp_path / "time.png")
    quality_speed.draw(runs, [], tmp_path / "speed.png")
    for name in ("bars", "time", "speed"):
        height, width = opened(tmp_path / f"{name}.png", least=8).shape
        assert 500 < width < 3000 and 200 < height < 6000


def test_names_stay_apart_on_one_line_and_within_their_room():
    assert style.readable("a\nb\t c") == "a b c"
    assert style.readable("视频") == "\\u89c6\\u9891"
    assert style.readable("x" * 30 + "y" * 30, 11) == "xxxxx…yyyyy"
    assert style.readable("abc", 3) == "abc"
    assert style.readable("abcdefgh", 40, lambda text: 10 * len(text)) == "ab…h"


def test_runs_are_opened_and_what_is_wrong_with_them_is_named(tmp_path):
    videos = [made.video("a", 1), made.video("b", 2)]
    for name in ("p", "q"):
        settings = {"fingerprint": {"method": name}, "progress": False}
        benchmark.run(makers.copy_first, videos, tmp_path / "runs" / name, **settings)
    p, q = tmp_path / "runs/p", tmp_path / "runs/q"
    assert [r.label for r in open_runs([p, q])] == ["p", "q"]
    assert [r.label for r in open_runs([p])] == ["p"] and caveats(open_runs([p, q])) == []
    for folders, labels, message in (
        ([], [], "expected 1 to 8 folders"),
        ([p] * 9, [], "expected 1 to 8 folders"),
        ([p, q, p / "../p"], [], "given twice"),
        ([p, q], ["x"], "expected 2 different names"),
        ([p, q], ["x", "x"], "expected 2 different names"),
        ([tmp_path / "runs"], [], f"there is one in {p} and in {q}"),
        ([p / "masks"], [], f"there is one in {p}"),
        ([tmp_path / "gone"], [], "no such folder"),
    ):
        with pytest.raises(UserError) as caught:
            open_runs(folders, labels)
        assert message in str(caught.value)
    (q / "per_sequence/b.json").unlink()
    said = " ".join(caveats(open_runs([p, q])))
    assert "q: 1 sequences are not finished: b" in said and "not over the same objects" in said


def test_published_points_are_whole_and_tell_their_source():
    path = Path(quality_speed.__file__).with_name("published.csv")
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    points = published.published()
    assert len(points) == len(rows) == len({(p.method, p.dataset, p.split, p.source) for p in points}) > 80
    for row, point in zip(rows, points, strict=True):
        assert row["source"] and row["fine_tuning"] in ("yes", "no")
        assert 0 < point.fps < 200 if row["fps"] else math.isnan(point.fps)
        assert point.quality and all(0.3 < value < 1 for value in point.quality.values())
        if all(row[key] for key in ("J", "F", "J&F")):  # slips of the pen; papers round each by itself
            assert (float(row["J"]) + float(row["F"])) / 2 == pytest.approx(float(row["J&F"]), abs=0.11)
    row = next(row for row in rows if (row["method"], row["dataset"]) == ("e-OSVOS-100-OnA", "davis17"))
    assert [row[key] for key in ("J", "F", "J&F", "fps")] == ["74.4", "80.0", "77.2", "0.29"]  # Table 2


def test_only_points_of_the_same_data_stand_behind_a_run():
    def of(name="davis16", split=None, sequences=(), shown=None):
        settings = {"dataset": {"name": name}, "split": split, "sequences": list(sequences)}
        return published.published_behind(shown, [random_run("r", ["a"], settings=settings)])

    assert {p.dataset for p in of()[0]} == {p.dataset for p in of(split="val")[0]} == {"davis16"} and not of()[1]
    for other in ({"split": "train"}, {"sequences": ["a"]}, {"name": "folder"}):
        points, note = of(**other)
        assert not points and "no published points" in note
        points, note = of(**other, shown="davis16")
        assert points and note.startswith("beware: the published points are on davis16 val, these runs on ")
    assert of(shown="none") == ([], "") and not of(shown="davis16")[1]
    with pytest.raises(UserError, match="published=davis18: expected one of davis16, davis17"):
        of(shown="davis18")


@pytest.mark.parametrize(("data", "measure"), [("davis16", "J"), ("davis17", "JF")])
def test_quality_is_drawn_against_speed_without_one_label_on_another(tmp_path, drawn, data, measure):
    runs = [random_run("a rather long name of a run", ["a"]), random_run("b", ["b"], 1)]
    behind, note = published.published_behind(data, runs)
    quality_speed.draw(runs, behind, tmp_path / "speed.png", measure=measure, note=note)
    opened(tmp_path / "speed.png")
    axis = drawn[-1].axes[0]
    at = [tuple(points.get_offsets()[0]) for points in axis.collections]
    key = {"J": "J", "JF": "J&F"}[measure]
    for one in runs:
        summary = one.results.summary
        assert (summary["fps"], summary[f"{key}-Mean"]) in at
    for point in behind:
        assert (key not in point.quality or (point.fps, point.quality[key]) in at) or point.method == "OSVOS"
    assert len(at) == 2 + len({point.method for point in behind if key in point.quality})
    boxes = [Text.get_window_extent(note) for note in axis.texts]
    assert len(boxes) == len(at)
    for k, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:k])
    notes = " ".join(drawn[-1].get_supxlabel().split())
    assert "other hardware" in notes and "e-OSVOS (NeurIPS 2020), Table 2" in notes and "beware" in notes


def test_a_run_of_unknown_speed_is_a_line(tmp_path, drawn):
    one = run("masks of others", [result("x", {1: [0.5, 0.25]}, seconds=None)])
    assert quality_speed.speed(one) is None
    quality_speed.draw([one], [], tmp_path / "speed.png")
    (line,) = drawn[-1].axes[0].lines
    assert line.get_ydata()[0] == 0.375 and not drawn[-1].axes[0].collections


def test_frames_are_picked_by_j_of_different_sequences():
    generator = np.random.default_rng(3)
    ranges = {"a": (0, 0.1), "b": (0.9, 0.99), "c": (0.45, 0.55), "d": (0.1, 0.9), "e": (0.2, 0.8)}
    values = {name: generator.uniform(*ends, 9).round(4).tolist() for name, ends in ranges.items()}
    values["e"][4], values["a"][2] = 1.0, NAN
    one = run("one", [result(name, {1: v}) for name, v in values.items()])
    picked = frames.pick_frames(one, 3)
    every = sorted(v for of in values.values() for v in of if not math.isnan(v))
    lowest = sorted(min(v for v in of if not math.isnan(v)) for of in values.values())
    assert [frame.region for frame in picked["worst"]] == lowest[:3]
    highest = sorted((max(v for v in of if v < 1) for of in values.values()), reverse=True)
    assert [frame.region for frame in picked["best"]] == highest[:3]  # not the 1 of an empty frame
    off = {name: min(abs(v - np.median(every)) for v in of if not math.isnan(v)) for name, of in values.items()}
    assert [frame.sequence for frame in picked["median"]] == sorted(off, key=lambda name: off[name])[:3]
    for row in picked.values():
        assert len({frame.sequence for frame in row}) == 3
        assert all(values[f.sequence][int(f.name) - 1] == f.region for f in row)
    few = frames.pick_frames(run("few", [result("a", {1: [0.3, 0.1, 0.2]})]), 2)
    assert [frame.region for frame in few["worst"]] == [0.1, 0.2] and len(few["median"]) == 2
    other = run("other", [result(name, {1: [0.5] * 9}) for name in "abcde"])
    mean = {name: np.nanmean(of) for name, of in values.items()}
    ranked = sorted(mean, key=lambda name: mean[name])
    assert frames.pick_sequences([one]) == [ranked[0], ranked[2], ranked[4]] == frames.pick_sequences([one, other])
    assert frames.pick_sequences([run("none", [result("a", {})])]) == ["a"]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two runs over made videos, and these."""
    root = tmp_path_factory.mktemp("two")
    videos = [made.video("a", 1), made.video("Ü b", 2, length=12, late=4), made.video("unmeasured", annotated={0})]
    for make in (makers.noisy, makers.copy_first):
        settings = {"fingerprint": {"method": make.__name__}, "progress": False}
        benchmark.run(make, videos, root / make.__name__, **settings)
    return open_runs([root / "noisy", root / "copy_first"]), {video.name: video for video in videos}


def test_the_contact_sheet_has_a_row_each(two, tmp_path):
    runs, videos = two
    frames.contact_sheet(runs[0], videos, tmp_path / "sheet.png", count=3)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.format == "PNG" and sheet.width == 3 * (frames.PANEL[0] + frames.GAP) - frames.GAP
        assert 3 * (frames.PANEL[1] + frames.STRIP) < sheet.height < 4 * frames.PANEL[1]


def test_truth_is_a_line_and_masks_are_a_tint():
    image, ids, truth = np.full((60, 80, 3), 100, np.uint8), np.zeros((60, 80), np.uint8), np.zeros((60, 80), np.uint8)
    ids[20:40, 20:40], truth[10:30, 45:70] = 1, 1
    drawn = overlay.draw(image, ids, truth=truth).astype(int)
    assert drawn[30, 30, 0] > drawn[30, 30, 1] + 60 and (drawn[20, 60] == 100).all()
    assert (drawn[10, 50:60] > 200).all() and (drawn[8:13, 55].min(1) < 60).any()  # white with a black edge
    assert (drawn[20, 25] == drawn[30, 30]).all()  # no line around the masks


@pytest.mark.parametrize("count", [1, 2])
def test_videos_beside_one_another(two, tmp_path, count):
    runs, videos = two
    av = pytest.importorskip("av", reason="PyAV is an extra")
    one = videos["Ü b"]
    frames.side_by_side(runs[:count], one, tmp_path / "ü v.mp4")
    with av.open(str(tmp_path / "ü v.mp4")) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert container.streams.video[0].average_rate == frames.FPS
    assert len(decoded) == len(one)
    height, width = frames.PANEL[1] + frames.STRIP, 2 * frames.PANEL[0] + frames.GAP  # small frames are enlarged to it
    assert decoded[0].shape == (height + height % 2, width + width % 2, 3)
    frames.side_by_side(runs[:count], one, tmp_path / "v.webp")
    with Image.open(tmp_path / "v.webp") as animation:
        assert animation.n_frames == len(one) and animation.size == (width, height)
        animation.seek(6)
        still = np.array(animation.convert("RGB")).astype(int)
    assert np.abs(decoded[6][:height, :width] - still).mean() < 8  # the same picture either way


def test_a_video_that_nobody_measured_is_drawn(two, tmp_path):
    runs, videos = two
    frames.side_by_side(runs, videos["unmeasured"], tmp_path / "v.webp")
    with Image.open(tmp_path / "v.webp") as animation:
        assert animation.n_frames == 8


def test_frames_without_masks_are_left_out(two, tmp_path):
    runs, videos = two
    assert frames.frames_with_masks(runs, videos["a"]) == list(range(8))
    lone = Run("lone", Results(tmp_path, {}, 0, runs[0].results.sequences))
    assert frames.frames_with_masks([lone], videos["a"]) == []
    for index in (2, 5):
        write_mask(tmp_path / "masks" / "a" / f"{index:05d}.png", np.zeros(made.SIZE, np.uint8))
    frames.side_by_side([lone], videos["a"], tmp_path / "v.webp")
    with Image.open(tmp_path / "v.webp") as animation:
        assert animation.n_frames == 2


def test_masks_of_others_are_found_where_they_were_scored(two, tmp_path):
    runs, videos = two
    theirs, shown = runs[0].results.out / "masks", [videos["a"], videos["Ü b"]]
    out, rules = tmp_path / "scored", region_contour.ScoringRules()
    with predictions.open_predictions(theirs, shown, rules, out=out, dataset="made") as (found, _):
        settings = {"results": str(theirs), "missing": "error", "binary": None}
        benchmark.score(found, shown, out, fingerprint=settings, progress=False)
    (scored,) = open_runs([out], ["same"])
    own = Run("same", runs[0].results)
    assert quality_speed.speed(scored) is None and frames.pick_frames(scored) == frames.pick_frames(own)
    for one, name in ((own, "own"), (scored, "scored")):
        frames.contact_sheet(one, videos, tmp_path / f"{name}.png", count=2)
        frames.side_by_side([one], videos["Ü b"], tmp_path / f"{name}.webp")
    for ending in ("png", "webp"):
        assert (tmp_path / f"own.{ending}").read_bytes() == (tmp_path / f"scored.{ending}").read_bytes()
    gone = Run("gone", Results(out, settings | {"results": str(tmp_path / "gone")}, 0, scored.results.sequences))
    assert list(frames.videos([gone], lambda _, names: [videos[name] for name in names], ["a"])) == []


def test_only_own_pictures_are_written_over(tmp_path):
    first, second = (random_run(name, ["a"], out=tmp_path / name) for name in ("first", "second"))
    out = tmp_path / "plots"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    assert claim(out, [first], ["bars.png", "side_by_side/a.mp4"]) is None
    (out / "bars.png").write_text("1")
    (out / "side_by_side").mkdir()
    (out / "side_by_side/a.mp4").write_text("1")
    assert claim(out, [first], ["bars.png"]) is None and (out / "side_by_side/a.mp4").exists()
    (out / "speed.png").write_text("somebody's")
    with pytest.raises(UserError, match=r"speed\.png: not a picture that this command drew"):
        claim(out, [first], ["bars.png", "speed.png"])
    assert str(tmp_path / "first") in (claim(out, [second], ["bars.png"]) or "")
    assert sorted(p.name for p in out.rglob("*") if p.is_file()) == ["mine.txt", "plots.json", "speed.png"]
    listed = json.loads((out / "plots.json").read_text())
    listed["pictures"] += ["../first/run.json"]
    (out / "plots.json").write_text(json.dumps(listed))
    (tmp_path / "first").mkdir()
    (tmp_path / "first/run.json").write_text("{}")
    claim(out, [first], ["bars.png"])
    assert (tmp_path / "first/run.json").exists()
    (out / "plots.json").write_text("[]")
    with pytest.raises(UserError, match=r"plots\.json: not the list"):
        claim(out, [first], ["bars.png"])
    with pytest.raises(UserError, match="is a file"):
        claim(out / "mine.txt", [first], [])


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    """A run over built-in videos as eosvos.eval leaves it."""
    from eosvos.data.synthetic.videos import held_out

    out = tmp_path_factory.mktemp("synthetic") / "T=10 läufe"
    dataset = {"name": "synthetic", "kind": "synthetic", "count": 2, "length": 5, "size": [48, 64]}
    videos = held_out("test", count=2, size=(48, 64), length=5)
    settings = {"dataset": dataset, "split": "test", "data_root": None, "sequences": []}
    benchmark.run(makers.copy_first, videos, out, fingerprint=settings, progress=False)
    return out


def test_the_command_draws_everything(synthetic, capsys, monkeypatch):
    assert plot.main([f"runs=['{synthetic}']"]) == 0
    out, err = capsys.readouterr()
    written = [Path(line) for line in out.splitlines()]
    assert {path.name for path in written[:4]} == {"bars.png", "over_time.png", "speed.png", "contact_sheet.png"}
    assert len(written) == 6 and all(path.is_file() and path.parts[-3:-1] != () for path in written)
    assert all(path.is_relative_to(synthetic / "plots") for path in written)
    assert "no published points on exactly the data of these runs" in err
    find_spec = frames.importlib.util.find_spec
    monkeypatch.setattr(frames.importlib.util, "find_spec", lambda name: None if name == "av" else find_spec(name))
    assert plot.main([f"runs=['{synthetic}']", "pictures=[video]", "labels=[name]"]) == 0
    out, err = capsys.readouterr()
    assert all(line.endswith(".webp") for line in out.splitlines()) and "for want of PyAV" in err
    assert (synthetic / "plots/bars.png").exists()  # of the same run


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["runs=[]"], "runs=[]: expected 1 to 8 folders"),
        (["runs=[gone]"], "gone: no run here (no such folder)"),
        (["runs=['RUN']", "pictures=[pie]"], "pictures=['pie']: expected one of bars"),
        (["runs=['RUN']", "measure=T"], "measure=T: expected one of J, F, JF"),
        (["runs=['RUN']", "pictures=[]"], "nothing to draw of pictures=[]"),
        (["runs=['RUN']", "published=imagenet"], "published=imagenet: expected one of"),
        (
            ["runs=['RUN']", "pictures=[video]", "sequences=[nobody]"],
            "sequences=[nobody]: not in all of these runs; expected some of synthetic",
        ),
        (["runs=[läufe (1)]"], "läufe (1): no run here (no such folder)"),
        (["run=[x]"], "did you mean runs?"),
    ],
)
def test_mistakes_are_named_before_anything_is_drawn(synthetic, capsys, tmp_path, overrides, message):
    given = [text.replace("RUN", str(synthetic)) for text in overrides]
    assert plot.main([*given, f"out={tmp_path}/out"]) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_data_that_is_gone_is_said_and_the_rest_drawn(two, capsys, tmp_path):
    runs, _ = two  # whose settings name no data set
    assert (
        plot.main([f"runs=[{runs[0].results.out}]", f"out={tmp_path}/out", "pictures=[bars,contact_sheet,video]"]) == 0
    )
    out, err = capsys.readouterr()
    assert out.splitlines() == [f"{tmp_path}/out/bars.png"]
    assert err.count("no pictures of frames: the run does not tell which data set it is over") == 2
