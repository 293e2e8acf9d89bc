"""Figures: their groups, their files, and that none is kept which is not proven to be of these masks and rules."""

import csv
import io
import json
import math
from dataclasses import replace

import made
import makers
import numpy as np
import pytest

from eosvos.data.masks import read_mask, write_mask
from eosvos.evaluation import benchmark, report, run_folder
from eosvos.evaluation.metrics import aggregate
from eosvos.evaluation.metrics.region_contour import ScoringRules
from eosvos.evaluation.metrics.sequence_scores import SequenceResult
from eosvos.evaluation.results import Results, load
from eosvos.evaluation.run_folder import read_sequence, sequence_file
from eosvos.plots import comparison

NAN = math.nan


def result(name, region, contour=None, **more):
    scored = [f"{k:05d}" for k in range(len(next(iter(region.values()))))]
    return SequenceResult(name, 10, 5.0, 3.0, 100.0, None, scored, region, contour or region, **more)


RESULTS = [
    result(
        "a",
        {1: [0.2, 0.4], 2: [NAN, 0.8]},
        attributes=("AC", "OC"),
        categories={1: "dog", 2: "cat"},
        unseen=frozenset({2}),
        unknown_ids={7: 2},
        protocol="youtube-vos",
    ),
    result("b", {1: [1.0, 0.5, 0.3, NAN]}, attributes=("OC",), categories={1: "dog"}, unseen=frozenset()),
    result("c", {4: [NAN, NAN]}, unseen=frozenset({4})),
]


def run(out, sequences=None, make=makers.copy_first, **settings):
    sequences = [made.video("a", 1), made.video("b", 2, late=4)] if sequences is None else sequences
    return benchmark.run(make, sequences, out, fingerprint={"x": 1}, progress=False, **settings)


def never(seed):
    raise AssertionError("a mask was made again")


def test_means_of_groups_are_over_their_objects():
    a1, a2, b1 = 0.3, 0.8, 0.6
    assert aggregate.mean_metrics(aggregate.scored_objects(RESULTS))["J-Mean"] == pytest.approx((a1 + a2 + b1) / 3)
    ac, oc = aggregate.by_attribute(RESULTS)
    assert (ac["Attribute"], ac["sequences"], ac["objects"]) == ("AC", 1, 2)
    assert ac["J-Mean"] == pytest.approx((a1 + a2) / 2) and ac["J-Mean-without"] == pytest.approx(b1)
    assert oc["sequences"] == 2 and math.isnan(oc["J-Mean-without"])  # c has no counted frame
    cat, dog = aggregate.by_category(RESULTS)
    assert (cat["Category"], cat["J-Mean"]) == ("cat", pytest.approx(a2))
    assert dog["J-Mean"] == pytest.approx((a1 + b1) / 2)
    figures = aggregate.seen_and_unseen(RESULTS)
    assert figures["J-seen"] == pytest.approx((a1 + b1) / 2) and figures["F-unseen"] == pytest.approx(a2)
    assert figures["Overall"] == pytest.approx(((a1 + b1) / 2 + a2) / 2)
    assert aggregate.seen_and_unseen([replace(r, unseen=None) for r in RESULTS]) == {}
    assert math.isnan(aggregate.seen_and_unseen(RESULTS[1:])["Overall"])  # no figure of the four may be left out


def test_figures_over_time_are_means_at_equal_shares_of_the_videos():
    generator = np.random.default_rng(0)
    long, short = generator.random(40).tolist(), generator.random(10).tolist()
    rows = aggregate.over_time([result("long", {1: long}), result("short", {1: short})], bins=10)
    assert [row["Position"] for row in rows] == pytest.approx(np.arange(10) / 10 + 0.05)
    expected = [(np.mean(long[4 * k : 4 * k + 4]) + short[k]) / 2 for k in range(10)]
    assert [row["J-Mean"] for row in rows] == pytest.approx(expected)
    late = aggregate.over_time([result("late", {1: [NAN, NAN, 0.5, 1.0]})], bins=4)
    assert [(row["Position"], row["J-Mean"], row["objects"]) for row in late] == [(0.625, 0.5, 1), (0.875, 1.0, 1)]


def test_speed_is_told_as_each_paper_defines_it():
    summary = Results(None, {}, 0, tuple(RESULTS)).summary
    assert (summary["fps"], summary["s-per-frame"], summary["fps-without-fine-tuning"]) == (2, 0.5, 5)
    untimed = replace(RESULTS[0], seconds=None, adapt_seconds=None, peak_MiB=None)
    summary = Results(None, {}, 0, (untimed, RESULTS[1])).summary
    assert all(math.isnan(summary[key]) for key in ("fps", "seconds", "s-per-frame", "fps-without-fine-tuning"))


def test_results_are_the_same_from_their_file(tmp_path):
    path = tmp_path / "a.json"
    for one in RESULTS:
        one = replace(one, extra_metrics={"boxes": {1: [NAN, 0.5]}, "T": {1: 0.25}}, proof={"rules": {}})
        path.write_text(json.dumps(one.to_json(), allow_nan=False))
        assert repr(read_sequence(path)) == repr(one)  # nan is not equal to itself
    assert json.loads(path.read_text())["objects"]["4"]["J"] == [None, None]
    path.write_text(json.dumps({**RESULTS[0].to_json(), "strange": None}))
    assert read_sequence(path) is None


def test_names_in_files_are_those_of_earlier_versions(tmp_path):
    """Results and rules that an earlier version stored are read, and its programs read ours."""
    one = replace(RESULTS[0], overlaps={"masks": [3, 40]}, extra_metrics={"boxes": {1: [0.5, 0.5]}})
    stored = one.to_json()
    assert stored["strange"] == {"7": 2} and stored["shared"] == {"masks": [3, 40]}
    assert stored["more"] == {"boxes": {"1": [0.5, 0.5]}}
    assert not {"unknown_ids", "overlaps", "extra_metrics"} & stored.keys()
    for key in ("strange", "shared", "more", "uncertain", "proof"):  # which the first version did not write
        del stored[key]
    assert repr(SequenceResult.from_json(stored)) == repr(replace(RESULTS[0], unknown_ids={}))
    rules = ScoringRules(extra_metrics=("T",)).as_json()
    assert rules == {"protocol": "davis", "ends": None, "void": "background", "more": ["T"]}


def test_what_a_run_tells_besides(tmp_path):
    results = Results(tmp_path, {}, 0, tuple(RESULTS))
    results.write()
    tables = {path.stem: list(csv.DictReader(path.read_text().splitlines())) for path in tmp_path.glob("*.csv")}
    assert set(tables) == {"global", "per_sequence", "over_time", "attributes", "categories"}
    assert float(tables["global"][0]["Overall"]) == pytest.approx(
        aggregate.seen_and_unseen(RESULTS)["Overall"], abs=1e-6
    )
    assert float(tables["attributes"][0]["J-Mean"]) == pytest.approx(0.55)
    text = io.StringIO()
    report.show(results, file=text)
    said = text.getvalue()
    assert "beware: a has predicted ids that are no object: 7 in 2 of 2 frames" in said
    assert "no frame counts for them by this protocol: c 4" in said and "nan" not in said
    assert "Attribute" in said and "J without" in said and "Category" in said and "Overall 0.6" in said
    Results(tmp_path, {}, 0, (result("d", {1: [0.5]}),)).write()
    assert not (tmp_path / "attributes.csv").exists() and not (tmp_path / "categories.csv").exists()
    report.show(Results(tmp_path, {}, 0, (replace(RESULTS[0], seconds=None),)), file=text)
    assert "fps" not in text.getvalue().removeprefix(said)


def test_further_measures_are_told_as_osvos_does(tmp_path):
    more = {
        "boxes": {1: [0.55, 0.95, NAN]},
        "T": {1: [NAN, 0.2, 0.4]},
        "near": {1: [3.0, 5.0, NAN]},
        "far": {1: [0.0, 4.0, NAN]},
        "missed": {1: [2.0, 6.0, NAN]},
    }
    calm = replace(result("calm", {1: [0.5, 0.6, 0.7]}), extra_metrics=more)
    wild = replace(calm, name="dog", extra_metrics={**more, "T": {1: [NAN, 0.9, 0.9]}})  # DAVIS leaves it out of T
    results = Results(tmp_path, {}, 0, (calm, wild))
    summary = results.summary
    assert summary["T-Mean"] == pytest.approx(0.3)
    assert [summary[f"boxes-{t}"] for t in (0.5, 0.6, 0.7, 0.8, 0.9)] == [1, 0.5, 0.5, 0.5, 0.5]
    assert summary["error-pixels"] == 40 and [summary[f"error-{k}"] for k in ("near", "far", "missed")] == [
        0.4,
        0.2,
        0.4,
    ]
    results.write()
    rows = list(csv.DictReader((tmp_path / "per_sequence.csv").read_text().splitlines()))
    assert [float(row["T-Mean"]) for row in rows] == pytest.approx([0.3, 0.9])
    rows = list(csv.DictReader((tmp_path / "boxes.csv").read_text().splitlines()))
    assert [(row["Overlap-above"], float(row["boxes"])) for row in rows[:2]] == [("0.5", 1), ("0.6", 0.5)]
    rows = list(csv.DictReader((tmp_path / "errors.csv").read_text().splitlines()))
    assert [(row["Error"], float(row["share-of-wrong-pixels"])) for row in rows] == [
        ("near", 0.4),
        ("far", 0.2),
        ("missed", 0.4),
    ]
    text = io.StringIO()
    report.show(results, file=text)
    said = text.getvalue()
    assert " T " in said.splitlines()[0] and "0.300" in said and "changes by itself in dog" in said
    Results(tmp_path, {}, 0, (replace(calm, extra_metrics={}),)).write()
    assert not (tmp_path / "boxes.csv").exists() and not (tmp_path / "errors.csv").exists()


def test_a_run_measures_what_it_is_asked_for(tmp_path, capsys):
    sequences = [made.video("a", 1), made.video("b", 2, late=4)]
    run(tmp_path / "run", sequences)
    rules = ScoringRules(extra_metrics=("boxes", "errors", "T"))
    results = benchmark.run(never, sequences, tmp_path / "run", fingerprint={"x": 1}, rules=rules)
    assert "measured again (more=" in capsys.readouterr().err
    assert {"T-Mean", "boxes-0.5", "error-near"} <= results.summary.keys()
    assert [len(values) for values in results.sequences[1].extra_metrics["boxes"].values()] == [6, 6]
    assert load(tmp_path / "run").sequences[1].to_json() == results.sequences[1].to_json()


def test_another_protocol_measures_the_same_masks_again(tmp_path, capsys):
    sequences = [made.video("a", 1), made.video("b", 2, late=4)]
    first = run(tmp_path / "run", sequences, makers.noisy)
    masks = {path: path.stat().st_mtime_ns for path in (tmp_path / "run/masks").rglob("*.png")}
    rules = ScoringRules("youtube-vos", void="ignore")
    again = benchmark.run(never, sequences, tmp_path / "run", fingerprint={"x": 1}, rules=rules)
    said = capsys.readouterr().err
    assert "the masks of a, b are kept and measured again (protocol=youtube-vos now, davis then; void=ignore" in said
    assert masks == {path: path.stat().st_mtime_ns for path in (tmp_path / "run/masks").rglob("*.png")}
    fresh = run(tmp_path / "fresh", sequences, makers.noisy, rules=rules)
    assert [s.to_json()["objects"] for s in again.sequences] == [s.to_json()["objects"] for s in fresh.sequences]
    assert [s.seconds for s in again.sequences] == [s.seconds for s in first.sequences]
    assert len(first.sequences[0].scored) == 6 and len(again.sequences[0].scored) == 7  # the last frame counts
    assert math.isnan(again.sequences[1].region[3][0]) and again.sequences[1].protocol == "youtube-vos"
    assert [s.to_json() for s in load(tmp_path / "run").sequences] == [s.to_json() for s in again.sequences]
    benchmark.run(never, sequences, tmp_path / "run", fingerprint={"x": 1}, rules=rules)
    assert "2 of 2 sequences are finished and kept" in capsys.readouterr().err
    text = io.StringIO()
    run(tmp_path / "davis", sequences)
    comparison.compare([tmp_path / "run", tmp_path / "davis"], tmp_path, labels=["p", "q"], file=text)
    assert "measured by different protocols" in text.getvalue()


def test_edited_masks_are_measured_again(tmp_path, capsys):
    out = tmp_path / "run"
    before = run(out)
    path = out / "masks/b/00003.png"
    edited = read_mask(path)
    edited[edited == 1] = 9
    write_mask(path, edited)
    sequences = [made.video("a", 1), made.video("b", 2, late=4)]
    after = benchmark.run(never, sequences, out, fingerprint={"x": 1})
    said = capsys.readouterr().err
    assert "the masks of b are kept and measured again (masks changed since)" in said and "1 of 2" in said
    assert after.sequences[1].region[1][2] == 0 < before.sequences[1].region[1][2]
    assert after.sequences[1].unknown_ids == {9: 1} and after.summary["strange-ids"] == 1
    path.write_bytes(b"half")
    with pytest.raises(ValueError, match="00003.png"):
        run(out, make=never)


def test_another_truth_is_measured_against(tmp_path, capsys):
    truth = tmp_path / "truth.png"
    write_mask(truth, np.zeros(made.SIZE, np.uint8))
    sequence = replace(made.video("a", 1), files=(truth,))
    run(tmp_path / "run", [sequence])
    write_mask(truth, np.ones(made.SIZE, np.uint8))
    benchmark.run(never, [sequence], tmp_path / "run", fingerprint={"x": 1})
    assert "(the data set changed since)" in capsys.readouterr().err
    named = replace(sequence, attributes=("AC",))
    assert benchmark.run(never, [named], tmp_path / "run", fingerprint={"x": 1}).sequences[0].attributes == ("AC",)


def test_figures_by_other_rules_are_not_mixed_in(tmp_path):
    """A run that is interrupted while it measures again."""
    out = tmp_path / "run"
    run(out)
    run_folder.claim(out, {"x": 1}, rules=ScoringRules("youtube-vos"), sequences=["a", "b"])
    content = read_sequence(sequence_file(out, "a"))
    proof = {**content.proof, "rules": {**content.proof["rules"], "protocol": "youtube-vos"}}
    sequence_file(out, "a").write_text(json.dumps(replace(content, proof=proof).to_json()))
    assert [s.name for s in load(out).sequences] == ["a"]
