"""Refinement annotates the frames it should, measures what it says, and continues where it was stopped."""

import csv
import io
from dataclasses import replace

import made
import makers
import numpy as np
import pytest

from eosvos.errors import UserError
from eosvos.evaluation import refinement
from eosvos.evaluation.metrics import region_contour
from eosvos.evaluation.results import load
from eosvos.methods.baselines import CopyFirst


class Nearest(CopyFirst):
    """Knows the masks it was given: every frame has those of the nearest annotated one."""

    def __init__(self, seed=0):
        super().__init__()
        self.seed, self.index, self.known = seed, 0, {}

    def start(self, frame, masks):
        self.index = 0
        return super().start(frame, masks)

    def step(self, frame):
        self.index += 1
        super().step(frame)
        return self.nearest()

    def add(self, frame, masks):
        self.learn(frame, masks)
        super().add(frame, masks)
        return self.nearest()

    def learn(self, frame, masks):
        for i, mask in masks.items():
            self.known.setdefault(i, {})[round(float(frame[0, 0, 0]) * 255)] = mask  # frames are numbered there

    def show(self, frame, masks):
        return self.nearest()

    def nearest(self):
        ids = np.zeros(made.SIZE, np.uint8)
        for i in self.object_ids:
            at = min(self.known[i], key=lambda index: (abs(index - self.index), index))
            ids[self.known[i][at]] = i
        return ids


def number(index):
    return np.full((*made.SIZE, 3), index, np.uint8)


def videos():
    return [replace(v, read_frame=number) for v in (made.video("a", length=14), made.video("b", length=10, late=3))]


def refine(out, make=Nearest, counts=(1, 2, 4), sequences=None, **settings):
    settings = {"fingerprint": {"code": "abc"}, "progress": False, **settings}
    return refinement.refine(make, sequences or videos(), out, counts=counts, **settings)


def similarities(video, frames):
    """J by hand: object -> one value for each frame from the second to the last but one, and the mean over objects."""
    known = {i: sorted({first, *(k for k in frames if k > first)}) for i, first in video.first_frame.items()}
    found = []
    for k in range(1, len(video) - 1):
        ids = np.zeros(made.SIZE, np.uint8)
        for i, first in video.first_frame.items():
            if k >= first:
                at = min(known[i], key=lambda index: (abs(index - k), index))
                ids[video.read_mask(at) == i] = i
        found.append([region_contour.region_similarity(ids == i, video.read_mask(k) == i) for i in video.first_frame])
    return np.array(found).T


def test_the_worst_frame_is_annotated_next_and_all_figures_are_what_they_say(tmp_path):
    rounds = refine(tmp_path / "run")
    assert [one.count for one in rounds] == [1, 2, 4] and (tmp_path / "run/3/global.csv").exists()
    given = {}
    for video in videos():
        chosen = []
        for _ in range(3):
            means = similarities(video, chosen).mean(0)
            means[[k - 1 for k in chosen]] = np.inf
            chosen.append(int(means.argmin()) + 1)
        given[video.name] = chosen
        for one in rounds:
            assert one.annotated_frames[video.name] == tuple(f"{k:05d}" for k in chosen[: one.count - 1])
    for one, row in zip(rounds, refinement.table(rounds), strict=True):
        values = {v.name: similarities(v, given[v.name][: one.count - 1]) for v in videos()}
        objects = [mine for of in values.values() for mine in of]
        assert row["J-Mean"] == pytest.approx(np.mean([mine.mean() for mine in objects]))
        kept = {name: [k - 1 for k in range(1, len(of[0]) + 1) if k not in given[name]] for name, of in values.items()}
        elsewhere = [mine[kept[name]].mean() for name, of in values.items() for mine in of]
        assert row["J-Elsewhere"] == pytest.approx(np.mean(elsewhere))
        assert row["annotations"] == one.count and row["objects"] == 3
    assert len(load(tmp_path / "run/4").sequences) == 2


def test_the_table_is_printed_and_written(tmp_path):
    rounds, text = refine(tmp_path / "run"), io.StringIO()
    refinement.show(rounds, tmp_path / "run", file=text)
    found = refinement.table(rounds)
    gain = found[1]["J-Mean"] - found[0]["J-Mean"]
    lines = text.getvalue().splitlines()
    assert lines[0].split()[:5] == ["annotations", "J&F", "J", "gain", "F"]
    assert lines[3].split()[0] == "2" and lines[3].split()[3] == f"{gain:+.3f}" and gain > 0
    written = list(csv.DictReader((tmp_path / "run/refinement.csv").read_text().splitlines()))
    assert [row["annotations"] for row in written] == ["1", "2", "4"]
    assert float(written[1]["J-Elsewhere"]) == pytest.approx(found[1]["J-Elsewhere"], abs=1e-6)
    a, b = csv.DictReader((tmp_path / "run/annotations.csv").read_text().splitlines())
    assert a["Sequence"] == "a" and a["annotated"].split() == list(rounds[-1].annotated_frames["a"])
    assert float(b["J-1"]) == pytest.approx(similarities(videos()[1], []).mean(), abs=1e-6)


def test_random_and_even_frames_need_no_run_in_between(tmp_path):
    rounds = refine(tmp_path / "random", choice="random")
    assert not (tmp_path / "random/3").exists()
    first, second, last = (one.annotated_frames["a"] for one in rounds)
    assert not first and second == last[:1] and len(set(last)) == 3
    again = refine(tmp_path / "again", choice="random", counts=[4])
    assert again[0].annotated_frames == rounds[-1].annotated_frames and [one.count for one in again] == [4]
    assert refine(tmp_path / "other", choice="random", seed=1)[-1].annotated_frames != rounds[-1].annotated_frames
    even = refine(tmp_path / "even", choice="even")
    assert [one.annotated_frames["a"] for one in even] == [(), ("00007",), ("00003", "00007", "00010")]


def test_a_video_with_no_frame_left_keeps_what_it_has(tmp_path):
    rounds = refine(tmp_path / "run", counts=[5], sequences=[replace(made.video("a", length=5), read_frame=number)])
    assert sorted(rounds[0].annotated_frames["a"]) == ["00001", "00002", "00003"]
    row = refinement.table(rounds)[0]
    assert row["J-Mean"] == 1 and np.isnan(row["J-Elsewhere"])


def test_a_stopped_run_continues(tmp_path):
    class Killed(Exception):
        pass

    class Dying(Nearest):
        def learn(self, frame, masks):
            super().learn(frame, masks)
            if len(made_by) == 5:
                raise Killed

    def make(seed):
        made_by.append(seed)
        return Dying(seed)

    made_by = []
    with pytest.raises(Killed):  # in the second sequence with two annotations; the first one made tells that it learns
        refine(tmp_path / "run", make)
    made_by = [0] * 10
    rounds = refine(tmp_path / "run", make)
    assert len(made_by) == 10 + 1 + 1 + 4
    assert [one.annotated_frames for one in rounds] == [one.annotated_frames for one in refine(tmp_path / "whole")]
    made_by = [0] * 10
    assert len(refine(tmp_path / "run", make, counts=[1, 2, 4, 5])) == 4 and len(made_by) == 10 + 1 + 2  # one more
    with pytest.raises(UserError, match="code: abc there, new now"):
        refine(tmp_path / "run", fingerprint={"code": "new"})


def test_a_method_that_cannot_learn_is_refused_before_any_work(tmp_path):
    with pytest.raises(UserError, match="CopyFirst cannot learn from more annotations"):
        refine(tmp_path / "run", makers.copy_first)
    assert not (tmp_path / "run").exists()
