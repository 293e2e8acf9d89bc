"""Groups of processes, on one machine and on several that share no folder, equal one process."""

from __future__ import annotations

import json

import pytest
import torch
from group import group

from eosvos.meta import outer
from eosvos.meta.learner import Learner


def same(a: Learner, b: Learner, tolerance: float) -> bool:
    pairs = [
        *zip(a.theta.values(), b.theta.values(), strict=True),
        *zip(a.rates.values(), b.rates.values(), strict=True),
    ]
    return all(float((x.detach() - y.detach()).abs().max()) <= tolerance for x, y in pairs)


def records(folder):
    lines = [json.loads(line) for line in (folder / outer.LOG).read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


def errors(folder) -> str:
    return "\n".join(path.read_text() for path in sorted(folder.glob("*.err")))


def test_meta_gradients_and_tasks_do_not_depend_on_the_number_of_processes(tmp_path, monkeypatch):
    """3 tasks: uneven over 2 processes, and the fourth has none."""
    tasks, sizes, found = 3, (2, 4), {}
    for size in (1, *sizes):
        out = tmp_path / str(size)
        out.mkdir()
        monkeypatch.chdir(out)
        assert group(size, "members:gradients", tasks, out) == [0] * size, errors(out)
        found[size] = [torch.load(out / f"{rank}.pt") for rank in range(size)]
    (one,) = found[1]
    assert len(one["drawn"]) == 2 * tasks and all(float(t.abs().max()) > 1e-3 for t in one["totals"])
    for size in sizes:
        for member in found[size]:
            assert member["drawn"] == one["drawn"]
            for a, b in zip(member["totals"], one["totals"], strict=True):
                assert float((a - b).abs().max()) <= 1e-6


@pytest.mark.parametrize("bad", ["none", "rank", "all"])
def test_groups_train_as_one_process_does(tmp_path, monkeypatch, bad):
    """3 tasks: uneven over 2 processes, and the fourth has none; non-finite ones are skipped alike."""
    monkeypatch.chdir(tmp_path)
    for size in (1, 2, 4):
        assert group(size, "members:train", str(size), bad) == [0] * size, errors(tmp_path)
    one = records(tmp_path / "1")
    assert len(one) == 13 and one[-1]["skipped"] == {"none": 0, "rank": 12, "all": 3}[bad]
    whole = Learner.load(tmp_path / "1" / outer.LAST)
    for size in (2, 4):
        assert same(Learner.load(tmp_path / str(size) / outer.LAST), whole, 1e-6)
        for a, b in zip(records(tmp_path / str(size)), one, strict=True):
            assert a.keys() == b.keys() and all(a[k] == pytest.approx(b[k], abs=1e-6, nan_ok=True) for k in a)


def test_machines_need_not_share_the_folder(tmp_path):
    homes = [tmp_path / "a", tmp_path / "b"]
    for home in homes:
        home.mkdir()
    assert group(2, "members:train", "run", "none", folders=homes) == [0, 0], errors(homes[0]) + errors(homes[1])
    assert not (homes[1] / "run").exists()
    best = [Learner.load(home / f"best-{rank}.safetensors") for rank, home in enumerate(homes)]
    assert same(*best, 0.0) and best[0].spec == best[1].spec
    # The folder holds a run: only the first machine can see it, and both end alike, the first one speaking.
    assert group(2, "members:train", "run", "none", folders=homes) == [2, 2]
    assert "resume=true" in (homes[0] / "0.err").read_text() and "CommonError" in (homes[1] / "1.err").read_text()
    # Resumed from there by both.
    assert group(2, "members:train", "run", "none", True, folders=homes) == [0, 0], errors(homes[0]) + errors(homes[1])
    assert len(records(homes[0] / "run")) == 13


def test_a_mistake_of_one_process_ends_all(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert group(3, "members:disagree") == [0, 0, 0], errors(tmp_path)
