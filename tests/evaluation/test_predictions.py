"""Masks of other programs are found in any form and measured as our own; every wrong one is told, before the work."""

import shutil
import zipfile
from dataclasses import replace

import made
import numpy as np
import pytest
from PIL import Image

from eosvos.data.mask_files.formats import write_grey, write_objects
from eosvos.data.mask_files.json_files import write_json
from eosvos.data.masks import write_mask
from eosvos.errors import UserError
from eosvos.evaluation import benchmark, report
from eosvos.evaluation.metrics.region_contour import ScoringRules
from eosvos.evaluation.predictions import open_predictions
from eosvos.evaluation.results import load

DAVIS = ScoringRules()
DOG = "chien à vélo"  # names with spaces, and beyond ASCII


def videos():
    return [made.video(DOG, 1), made.video("b", 2, late=4)]


def shifted(sequence, index):
    """A prediction: the truth, moved by a pixel and without void."""
    moved = np.roll(sequence.mask(index), 1, 1)
    return np.where(moved == 255, 0, moved)


def write_all(root, write=write_mask, **settings):
    for sequence in videos():
        for index, name in enumerate(sequence.frame_names):
            write(root / sequence.name / f"{name}.png", shifted(sequence, index), **settings)
    return root


@pytest.fixture
def masks(tmp_path):
    return write_all(tmp_path / "theirs")


def score(results, out, sequences=None, measures=DAVIS, processes=1, **settings):
    sequences = videos() if sequences is None else sequences
    with open_predictions(results, sequences, measures, out=out, dataset="made-val", **settings) as (found, told):
        how = {"fingerprint": {"results": str(results)}, "rules": measures, "processes": processes}
        return benchmark.score(found, sequences, out, progress=False, **how), told


def figures(results):
    return [(result.name, result.to_json()["objects"], result.scored) for result in results.sequences]


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """Figures of these masks by an evaluation of a method that makes them."""

    class Method:
        adapt_seconds = 0.0

        def start(self, frame, masks):
            self.index, self.sequence = 0, next(s for s in videos() if bool((s.frame(0) == frame).all()))
            return shifted(self.sequence, 0)

        def step(self, frame):
            self.index += 1
            return shifted(self.sequence, self.index)

        def add(self, frame, masks):
            return shifted(self.sequence, self.index)

    out = tmp_path_factory.mktemp("own") / "run"
    run = benchmark.run(lambda seed: Method(), videos(), out, fingerprint={}, progress=False)
    assert 0.5 < run.summary["J-Mean"] < 1
    return run


def test_masks_in_any_place_and_form_are_measured_as_our_own(tmp_path, masks, expected):
    wanted = figures(expected)
    assert figures(score(masks, tmp_path / "1")[0]) == wanted
    assert figures(score(masks, tmp_path / "2", processes=2)[0]) == wanted
    assert figures(score(expected.out, tmp_path / "3")[0]) == wanted  # an evaluation's folder
    shutil.make_archive(tmp_path / "flat", "zip", masks)
    assert figures(score(tmp_path / "flat.zip", tmp_path / "4")[0]) == wanted
    shutil.copytree(masks, tmp_path / "server/Annotations")
    shutil.make_archive(tmp_path / "server", "zip", tmp_path / "server")
    assert figures(score(tmp_path / "server.zip", tmp_path / "5")[0]) == wanted
    assert figures(score(write_all(tmp_path / "grey", write_grey), tmp_path / "6")[0]) == wanted
    for sequence in videos():
        pairs = [(name, shifted(sequence, index)) for index, name in enumerate(sequence.frame_names)]
        write_json(tmp_path / "codes" / f"{sequence.name}.json", pairs)
        for name, mask in pairs:
            write_objects(tmp_path / "objects" / sequence.name, name, mask, sequence.first_frame)
    assert figures(score(tmp_path / "codes", tmp_path / "7")[0]) == wanted
    assert figures(score(tmp_path / "objects", tmp_path / "8")[0]) == wanted
    alone = score(masks / "b", tmp_path / "9", [videos()[1]])[0]  # the folder of the only sequence that is asked for
    assert figures(alone) == wanted[1:]


def test_nobody_took_the_time_of_masks_of_others(tmp_path, masks):
    results, told = score(masks, tmp_path / "out")
    assert results.sequences[0].seconds is None and np.isnan(results.summary["fps"]) and len(told) == 1
    assert {p.name for p in tmp_path.iterdir()} == {"theirs", "out"}
    assert {p.name for p in (tmp_path / "theirs").iterdir()} == {DOG, "b"}  # left as they were


def test_kept_figures_are_those_of_the_same_masks(tmp_path, masks, monkeypatch):
    first, _ = score(masks, tmp_path / "out")
    write_mask(masks / "b/00003.png", np.zeros(made.SIZE, np.uint8))
    measured = []
    monkeypatch.setattr(
        "eosvos.evaluation.score_sequence.with_scores",
        lambda blank, sequence, *rest, _plain=benchmark.ScoreSequence.__call__.__globals__["with_scores"]: (
            measured.append(sequence.name),
            _plain(blank, sequence, *rest),
        )[1],
    )
    again, _ = score(masks, tmp_path / "out")
    assert measured == ["b"]
    assert again.sequences[1].region[1][2] == 0 < first.sequences[1].region[1][2]


def test_masks_that_overlap_are_told_and_counted(tmp_path, masks, capsys):
    shutil.rmtree(masks / "b")
    for index, name in enumerate(videos()[1].frame_names):
        for number in (1, 3):
            write_grey(tmp_path / f"theirs/b/{number}/{name}.png", (videos()[1].mask(index) == 3) * np.uint8(255))
    for processes in (1, 2):
        results, _ = score(tmp_path / "theirs", tmp_path / f"out{processes}", processes=processes)
        lost = [int((videos()[1].mask(k) == 3).sum()) for k in range(1, 7)]
        assert [one.overlaps for one in results.sequences] == [{}, {"masks": [sum(n > 0 for n in lost), sum(lost)]}]
    report.show(load(tmp_path / "out1"))
    assert f"masks of the results overlap in 3 frames ({sum(lost)} pixels) of b; the" in capsys.readouterr().out


def test_one_object_in_black_and_white_is_the_object(tmp_path):
    sequence = made.video("one", 3)
    other = replace(sequence, first_frame={7: 0}, read_mask=lambda index: sequence.mask(index) * np.uint8(7))
    for index, name in enumerate(sequence.frame_names):
        write_grey(tmp_path / "theirs/one" / f"{name}.png", sequence.mask(index) * np.uint8(255))
    for name, video in (("1", sequence), ("7", other)):
        assert score(tmp_path / "theirs", tmp_path / name, [video])[0].summary["J-Mean"] == 1


def test_several_ids_are_one_object_on_demand(tmp_path):
    sequence = made.video("one", 3)
    for index, name in enumerate(sequence.frame_names):
        mask = sequence.mask(index)
        mask[:6] *= 4
        write_mask(tmp_path / "theirs/one" / f"{name}.png", mask)
    results, _ = score(tmp_path / "theirs", tmp_path / "out", [sequence])
    assert results.summary["J-Mean"] < 0.8 and results.sequences[0].unknown_ids == {4: 6}
    assert score(tmp_path / "theirs", tmp_path / "merged", [sequence], binary=True)[0].summary["J-Mean"] == 1


def test_ids_that_are_no_object_are_counted(tmp_path, masks):
    for value, name in ((9, "00002"), (255, "00002"), (9, "00003")):
        path = masks / "b" / f"{name}.png"
        ids = np.array(Image.open(path))
        ids[20:, 28 if value == 9 else 30 :] = value
        write_mask(path, ids)
    results, _ = score(masks, tmp_path / "out")
    assert results.sequences[1].unknown_ids == {9: 2, 255: 1}


def test_what_is_missing_is_an_error_or_empty(tmp_path, masks):
    (masks / "b/00003.png").unlink()
    (masks / "b/00005.png").unlink()
    with pytest.raises(UserError, match=r"no masks of b for the frames 00003, 00005; .*missing=empty"):
        score(masks, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    results, told = score(masks, tmp_path / "out", missing="empty")
    assert told[1:] == ["beware: b: 2 missing masks are counted as empty: 00003, 00005"]
    assert results.sequences[1].region[1][2] == 0
    shutil.rmtree(masks / DOG)
    with pytest.raises(UserError, match="no masks of 1 of the 2 sequences of made-val: chien à vélo; .*sequences=\\["):
        score(masks, tmp_path / "out")
    results, told = score(masks, tmp_path / "out", missing="empty")
    assert told[0] == f"beware: 1 sequences without any mask are counted as empty: {DOG}"
    assert results.sequences[0].region[1] == [0] * 6


def test_frames_that_do_not_count_may_be_missing(tmp_path, masks):
    """The first frame is given; of others only those with a truth are measured."""
    annotated = [replace(video, read_mask=Some(video.read_mask, (0, 3, 5, 7))) for video in videos()]
    wanted = figures(score(masks, tmp_path / "all", annotated)[0])
    for path in masks.rglob("*.png"):
        if path.stem not in ("00003", "00005"):
            path.unlink()
    assert figures(score(masks, tmp_path / "some", annotated)[0]) == wanted
    rules = ScoringRules("youtube-vos")  # counts the last frame too
    with pytest.raises(UserError, match="for the frames 00007;"):
        score(masks, tmp_path / "youtube", annotated, rules)
    with pytest.raises(UserError, match="for the frames 00000, 00007;"):
        score(masks, tmp_path / "kept", annotated, ScoringRules(ends="keep"))


class Some:
    def __init__(self, read, indices):
        self.read, self.indices = read, indices

    def __call__(self, index):
        return self.read(index) if index in self.indices else None


def rename(folder, name):
    for path in sorted(folder.iterdir(), reverse=True):
        path.rename(folder / name(int(path.stem)))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (lambda k: f"{k + 1:05d}.png", "wrongly numbered: they begin with 00001, the frames with 00000"),
        (lambda k: f"{k}.png", "wrongly numbered: 0, where the frame is called 00000"),
        (lambda k: f"{5 * k:05d}.png", "no masks of b for the frames 00001, 00002.*; of no frame are 00010, 00015"),
        (lambda k: f"frame_{k:05d}.png", "wrongly numbered: frame_00000, where the frame is called 00000"),
        (lambda k: f"mask{k:02d}b.png", "no masks of b for the frames 00001.*; of no frame are mask00b"),
    ],
)
def test_wrong_numbers_are_named(tmp_path, masks, name, said):
    rename(masks / "b", name)
    with pytest.raises(UserError, match=said):
        score(masks, tmp_path / "out")


def test_masks_of_no_frame_are_told(tmp_path, masks):
    shutil.copy(masks / "b/00007.png", masks / "b/00008.png")
    (masks / "cat").mkdir()
    shutil.copy(masks / "b/00007.png", masks / "cat/00000.png")
    _, told = score(masks, tmp_path / "out")
    assert [told[0], *told[2:]] == [
        "not in made-val, and left aside: cat",
        "beware: b: 1 masks are of no frame and left aside: 00008",
    ]
    for name in (DOG, "b"):  # hundreds of such sequences are one line
        shutil.copy(masks / "b/00007.png", masks / name / "00009.png")
    told = score(masks, tmp_path / "out")[1][2]
    assert told == (f"beware: 3 masks are of no frame and left aside, of 2 sequences: {DOG} (00009), b (00008, 00009)")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: write_mask(path, np.zeros((12, 16), np.uint8)), "00003.png: is 16x12 pixels.*32x24"),
        (lambda path: path.write_bytes(path.read_bytes()[:-20]), "00003.png: this mask cannot be read"),
        (lambda path: Image.new("L", (32, 24)).save(path, "JPEG"), "00003.png: a mask stored as JPEG"),
        (lambda path: path.write_text("mask"), "00003.png: this mask cannot be read"),
    ],
)
def test_broken_masks_are_named_before_the_work(tmp_path, masks, spoil, said):
    spoil(masks / "b/00003.png")
    with pytest.raises(UserError, match=said):
        score(masks, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_run_length_codes_of_another_size_are_named_before_the_work(tmp_path, masks):
    shutil.rmtree(masks / "b")
    write_json(masks / "b.json", [(name, np.ones((12, 16), np.uint8)) for name in videos()[1].frame_names])
    with pytest.raises(UserError, match="b.json: the mask of b 00000 is 16x12 pixels, but its frame is 32x24"):
        score(masks, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_one_object_where_ids_are_due(tmp_path, masks):
    for path in (masks / "b").iterdir():
        write_grey(path, (np.array(Image.open(path)) > 0) * np.uint8(255))
    with pytest.raises(UserError, match=r"masks of b show one object \(0 and 255 only.*has the objects 1, 3"):
        score(masks, tmp_path / "out")


def test_the_folder_that_was_meant_is_named(tmp_path, masks):
    deep = tmp_path / "deep/480p"
    shutil.copytree(masks, deep)
    for given, meant in ((tmp_path, "theirs"), (deep.parent, "deep/480p")):
        with pytest.raises(UserError, match=f"a level too high: 2 of the 2 .*; give results={tmp_path / meant}$"):
            score(given, tmp_path / "out")
    above = tmp_path / "two" / "levels"
    above.mkdir(parents=True)
    shutil.move(masks, above / "theirs")
    masks = above / "theirs"
    with pytest.raises(UserError, match=f"two levels too high: .*results={masks}$"):
        score(tmp_path / "two", tmp_path / "out")
    with pytest.raises(UserError, match=f"within the masks of the sequence b; give the folder above: results={masks}"):
        score(masks / "b", tmp_path / "out")
    with pytest.raises(UserError, match="does not exist"):
        score(masks / "none", tmp_path / "out")
    with pytest.raises(UserError, match="is a file; give a folder"):
        score(masks / "b/00000.png", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("names", "seems"),
    [
        (["bike-packing", "blackswan", "bmx-trees", "breakdance", "camel"], "dataset=davis17 split=val"),
        (["blackswan", "bmx-trees", "breakdance", "camel", "cows"], "dataset=davis16 split=val"),
        (["0062f687f1", "003234408d"], "YouTube-VOS"),
        (["sav_000001"], "SA-V"),
        (["0a9a0b35", "00e56ed4"], "MOSE or LVOS"),
        (["mine", "yours"], None),
    ],
)
def test_results_of_another_data_set_are_recognised(tmp_path, names, seems):
    for name in names:
        write_mask(tmp_path / "theirs" / name / "00000.png", np.zeros(made.SIZE, np.uint8))
    with pytest.raises(UserError, match=f"no masks of any sequence of made-val; there is {names[0]}") as caught:
        score(tmp_path / "theirs", tmp_path / "out")
    assert (f"by their names, these are of {seems}" in str(caught.value)) == (seems is not None)


def test_zip_files_that_cannot_be_used(tmp_path, masks):
    shutil.copytree(masks, tmp_path / "packed/results/new")
    shutil.make_archive(tmp_path / "deep", "zip", tmp_path / "packed")
    with pytest.raises(UserError, match="the sequences are in results/new within the zip; pack them at its top level"):
        score(tmp_path / "deep.zip", tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../b/00000.png", b"x")
    with pytest.raises(UserError, match="evil.zip.*b/00000.png"):
        score(tmp_path / "evil.zip", tmp_path / "out")
    (tmp_path / "half.zip").write_bytes((tmp_path / "deep.zip").read_bytes()[:500])
    with pytest.raises(UserError, match="half.zip"):
        score(tmp_path / "half.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists() and not (tmp_path / "b").exists()
