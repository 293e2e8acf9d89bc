"""Every command line of the README is one that its command takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from eosvos.cli import hydra_app, usage, validate
from eosvos.cli.schema import SCHEMAS

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
_SHELL = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
LINES = [line.partition("  #")[0].strip() for line in _SHELL.splitlines() if "-m eosvos." in line.partition("  #")[0]]
# Those within sentences; "init=..." and the like stand for a value.
LINES += [line for line in re.findall(r"`(python -m eosvos\.[^`\n]*)`", README) if "FILE" not in line]
ABSENT = re.compile(r"no such file|no such folder|not among|give the")  # of what only the reader has


@pytest.mark.parametrize("line", dict.fromkeys(LINES))
def test_a_command_of_the_readme_is_taken(line, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    name, *words = shlex.split(line.partition("-m eosvos.")[2])
    assert name in usage.COMMANDS
    if name not in SCHEMAS:  # it has no settings
        assert not words
        return
    composed: list[Any] = []
    status = hydra_app.run(name, composed.append, words)
    assert status == 0 and composed
    for config in composed:
        wrong = [validate._judge(*leaf) for leaf in validate.leaves(config)]
        assert not [message for message in wrong if message and not ABSENT.search(message)]


def test_there_are_many():
    assert len(set(LINES)) > 20
