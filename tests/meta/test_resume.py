"""A training is continued from a whole checkpoint or not at all, and never silently by another code or machine."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from group import process
from test_outer import SETTINGS, run, same

from eosvos.errors import UserError
from eosvos.files import locked
from eosvos.meta import checkpoint, outer
from eosvos.meta.learner import Learner

ROOT = Path(__file__).resolve().parents[2]
SHORT = replace(SETTINGS, iterations=6, save_every=3, validate_every=3)
HERE = {"code": "aaaa", "torch": "2.15.0", "device": "cpu"}


def test_killed_at_random_moments_it_ends_as_undisturbed():
    """`python benchmarks/kill.py` has 20 kills."""
    kill = [sys.executable, str(ROOT / "benchmarks" / "kill.py"), "--kills", "2"]
    done = subprocess.run(kill, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("2 kills")


def test_every_flipped_byte_and_every_cut_is_found(tmp_path):
    path, draw = tmp_path / "x.pt", random.Random(0)
    state = {"theta": {"a": torch.randn(300, generator=torch.Generator().manual_seed(0))}, "iteration": 3}
    checkpoint.save(path, state)
    whole = path.read_bytes()
    found = 0
    for number in range(400):
        broken = bytearray(whole)
        if number % 4:
            broken[draw.randrange(len(broken))] ^= 1 << draw.randrange(8)
        else:
            del broken[draw.randrange(len(broken)) :]
        path.write_bytes(broken)
        try:
            loaded = checkpoint.load(path)
        except UserError as error:
            found += 1
            assert str(path) in str(error) and "cannot be read" in str(error)
        else:  # padding, times, and what else means nothing
            assert torch.equal(loaded["theta"]["a"], state["theta"]["a"]) and loaded["iteration"] == 3
    assert found > 200


@pytest.mark.parametrize("what", ["theta", "rates", "optimizer", "iteration", "fingerprint"])
def test_a_checkpoint_that_was_changed_and_saved_again_is_refused(tmp_path, what):
    cut_off(tmp_path)
    path = tmp_path / outer.CHECKPOINT
    content = torch.load(path, weights_only=True)
    torch.save(content, path)
    checkpoint.load(path)  # the same content in other bytes
    if what in ("theta", "rates"):
        tensor = content[what]["weight"].flatten()
        tensor[0] = torch.nextafter(tensor[0], torch.tensor(9.0))
        content[what]["weight"] = tensor.view_as(content[what]["weight"])
    elif what == "optimizer":
        content[what]["param_groups"][0]["betas"] = (0.9, 0.98)
    elif what == "iteration":
        content[what] += 1
    else:
        content[what]["toy"] = 2
    torch.save(content, path)
    with pytest.raises(UserError, match="something has changed it"):
        run(tmp_path, settings=SHORT, resume=True)


def no_space(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_the_former_checkpoint(tmp_path, monkeypatch):
    whole = run(tmp_path / "whole", settings=SHORT)

    plain = checkpoint.save

    def save(path, state):
        with monkeypatch.context() as patch:
            if state["iteration"] == 6:
                patch.setattr(Path, "write_bytes", no_space)
            plain(path, state)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", save)
        with pytest.raises(UserError, match=r"checkpoint\.pt: no space left"):
            run(tmp_path / "cut", settings=SHORT)
    assert checkpoint.load(tmp_path / "cut" / outer.CHECKPOINT)["iteration"] == 3
    assert not list((tmp_path / "cut").glob(".*.tmp*"))
    assert same(whole, run(tmp_path / "cut", settings=SHORT, resume=True))


def limited(folder: Path) -> int:
    """Work of a process that may write no file of more than 20 kB: the first checkpoints fit, a larger one does not."""
    path = folder / outer.CHECKPOINT
    checkpoint.save(path, {"x": torch.zeros(1000)})
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
    for write in (
        lambda: checkpoint.save(path, {"x": torch.zeros(100_000)}),
        lambda: Learner({"a": torch.zeros(100_000)}, {"a": torch.zeros(())}, "tensor").save(folder / outer.LAST),
    ):
        try:
            write()
        except UserError as error:
            assert "no space left" in str(error)
        else:
            return 3
    return 0


def test_a_real_limit_of_the_file_size(tmp_path):
    member = process("test_resume:limited", tmp_path, errors=tmp_path / "errors")
    member.start()
    member.join()
    assert member.exitcode == 0, (tmp_path / "errors").read_text()
    assert checkpoint.load(tmp_path / outer.CHECKPOINT)["x"].numel() == 1000
    assert sorted(p.name for p in tmp_path.iterdir()) == [outer.CHECKPOINT, "errors"]


def test_a_folder_is_held_by_one_run(tmp_path):
    with locked(tmp_path):
        other = process("test_resume:hold", tmp_path, errors=tmp_path / "errors")
        other.start()
        other.join()
    assert other.exitcode == 2 and "another run is at work" in (tmp_path / "errors").read_text()
    for end in (signal.SIGKILL, None):  # the lock of a dead process holds nobody up
        other = process("test_resume:hold", tmp_path, end, errors=tmp_path / "errors")
        other.start()
        other.join()
        assert other.exitcode == (-9 if end else 0), (tmp_path / "errors").read_text()


def hold(folder: Path, end: int | None = None) -> int:
    try:
        with locked(folder):
            if end is not None:
                os.kill(os.getpid(), end)
    except UserError as error:
        print(error)
        return 2
    return 0


def cut_off(folder: Path, **more) -> None:
    """A run that has saved iteration 3 of 6, and died in the 5th, leaving a half-written line and file."""

    def dying(learner, number):
        if number == 3 * 4:
            raise KeyboardInterrupt
        return run.__globals__["gradient"](learner, number)

    with pytest.raises(KeyboardInterrupt):
        run(folder, settings=SHORT, gradient=dying, **more)
    with (folder / outer.LOG).open("a") as file:
        file.write('{"iteration": 5, "x": {"y": 1}')
    (folder / ".checkpoint.abc.tmp.pt").write_bytes(b"half")
    (folder / ".last.abc.tmp.safetensors").write_bytes(b"half")


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / outer.LOG).read_text().splitlines()]


def test_what_a_killed_process_left_is_tidied(tmp_path):
    whole = run(tmp_path / "whole", settings=SHORT)
    cut_off(tmp_path / "cut")
    assert same(whole, run(tmp_path / "cut", settings=SHORT, resume=True))
    assert [line["iteration"] for line in lines(tmp_path / "cut")] == list(range(7))
    assert not list((tmp_path / "cut").glob(".*.tmp*"))
    assert (tmp_path / "cut" / outer.BEST).read_bytes() == (tmp_path / "whole" / outer.BEST).read_bytes()


def test_other_code_is_refused_unless_asked_for_and_then_logged(tmp_path):
    cut_off(tmp_path, environment=HERE)
    changed = {**HERE, "code": "bbbb"}
    with pytest.raises(UserError, match="version of the code: aaaa then, bbbb now.*other_code=true"):
        run(tmp_path, settings=SHORT, resume=True, environment=changed)
    said: list[str] = []
    run(tmp_path, settings=SHORT, resume=True, environment=changed, other_code=True, say=said.append)
    assert len(said) == 1 and "code was aaaa and is now bbbb" in said[0]
    assert [line.get("changed") for line in lines(tmp_path)[3:6]] == [None, {"code": ["aaaa", "bbbb"]}, None]


def test_another_machine_is_said_and_logged(tmp_path):
    cut_off(tmp_path, environment=HERE)
    said: list[str] = []
    now = {**HERE, "torch": "2.16.0", "processes": 1}
    run(tmp_path, settings=SHORT, resume=True, environment=now, say=said.append)
    assert "torch was 2.15.0 and is now 2.16.0" in said[0] and "last digits" in said[0]
    assert lines(tmp_path)[4]["changed"] == {"torch": ["2.15.0", "2.16.0"]}
    run(tmp_path, settings=SHORT, resume=True, environment=now, say=said.append)
    assert len(said) == 1


def test_another_number_of_processes_is_said_and_logged(tmp_path):
    cut_off(tmp_path)
    path = tmp_path / outer.CHECKPOINT
    stored = checkpoint.load(path)
    assert stored["environment"]["processes"] == 1
    stored["environment"]["processes"] = 4
    checkpoint.save(path, stored)
    said: list[str] = []
    run(tmp_path, settings=SHORT, resume=True, say=said.append)
    assert "processes was 4 and is now 1" in said[0] and lines(tmp_path)[4]["changed"] == {"processes": [4, 1]}


def test_a_restart_by_torchrun_goes_on_by_itself_in_its_own_folder_only(tmp_path, monkeypatch):
    whole = run(tmp_path / "whole", settings=SHORT)
    cut_off(tmp_path / "alone")
    with pytest.raises(UserError, match="resume=true"):  # the same shell is no torchrun
        run(tmp_path / "alone", settings=SHORT)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "one")
    cut_off(tmp_path / "cut")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "two")
    with pytest.raises(UserError, match="resume=true"):
        run(tmp_path / "cut", settings=SHORT)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "one")
    assert same(whole, run(tmp_path / "cut", settings=SHORT))


def test_a_finished_run_is_not_mistaken_for_a_restart(tmp_path, monkeypatch):
    """torchrun starts a process again that was refused: it must be refused again."""
    run(tmp_path, settings=SHORT)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "one")
    for _ in range(2):
        with pytest.raises(UserError, match="resume=true"):
            run(tmp_path, settings=SHORT)
