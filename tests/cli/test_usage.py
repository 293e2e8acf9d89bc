"""The front door: the list of commands, their help, and what is said of options and unknown commands."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from eosvos import __main__, eval, segment
from eosvos.cli import hydra_app, usage
from eosvos.files import shipped

TRAININGS = ("meta_train", "parent_train", "osvos_train", "osmn_train")


def said(capsys, arguments: list[str], status: int = 0) -> str:
    try:
        assert __main__.main(arguments) == status
    except SystemExit as leaving:
        assert leaving.code == status
    captured = capsys.readouterr()
    assert not (captured.err if status == 0 else captured.out)
    return captured.out + captured.err


def test_without_arguments_all_commands_are_listed(capsys):
    text = said(capsys, [])
    assert text == said(capsys, ["--help"])
    rows = dict(re.findall(r"^  (\w+) +(\S.*)$", text, re.MULTILINE))
    assert set(rows) == {*hydra_app.SCHEMAS, "learners"}
    assert all(len(row) > 20 for row in rows.values()) and "eosvos segment video=clip.mp4 mask=first.png" in text


def test_unknown_commands_name_the_nearest(capsys):
    assert said(capsys, ["sgement"], 2) == "eosvos sgement: no such command; did you mean segment?\n"
    assert "there are segment, app, learners" in said(capsys, ["xyz"], 2)
    assert re.fullmatch(r"eosvos \d+\.\d+\.\d+\S*\n", said(capsys, ["--version"]))


def test_a_command_is_run(capsys):
    assert "tiny" in said(capsys, ["learners"]) and "takes no settings" in said(capsys, ["learners", "x"], 2)
    assert "iters=-1: expected 0 or more" in said(capsys, ["eval", "iters=-1"], 2)


@pytest.mark.parametrize("command", usage.COMMANDS)
def test_help_tells_what_a_command_does_and_its_settings(capsys, command):
    text = said(capsys, [command, "--help"])
    assert text == said(capsys, [command.replace("_", "-"), "x=1", "-h"])
    assert text.startswith(f"eosvos {command}: ") and f"usage: eosvos {command}" in text
    assert "powered by Hydra" not in text and max(map(len, text.splitlines())) <= 160
    if command == "learners":
        return
    assert len(re.findall(rf"^  eosvos {command}\b", text, re.MULTILINE)) >= 2
    assert re.search(r"python -m eosvos\.\w+ \w+=", text) is None  # examples are listed, and so not within sentences


@pytest.mark.parametrize("command", [name for name in usage.COMMANDS if name != "learners"])
def test_every_setting_of_a_command_is_explained(command):
    hydra_app.register()
    settings = usage.read_settings(command)
    assert len({setting.name for setting in settings}) == len(settings)
    assert all(setting.meaning or usage._elsewhere(setting.name) for setting in settings)
    words = set(hydra_app._known_words(command))
    assert {setting.name for setting in settings} <= words
    top = {word for word in words if "." not in word} - {"training", "experiment"}
    sections = {"fine_tuning", "propagation", "online", "window", "detection", "snapping", "osvos", "osmn", "score"}
    sections |= {"meta", "parent", "outer", "guidance", "search"}
    sections |= {"submission", "export"} if command == "refine" else set()  # which refuses them
    assert top - sections <= {setting.name for setting in settings}


def test_choices_of_a_training_are_those_for_the_command():
    found = {name: set(re.findall(r"[\w]+", usage._choices("training", name))) - {"one", "of"} for name in TRAININGS}
    assert set().union(*found.values()) == {path.stem for path in (shipped("conf") / "training").glob("*.yaml")}
    assert "osvos_paper" in found["osvos_train"] and "osvos_paper" not in found["meta_train"]


def test_help_needs_neither_torch_nor_hydra():
    code = (
        "import sys, runpy; sys.argv = ['x', '--help']\n"
        "for name in ('eosvos', 'eosvos.segment', 'eosvos.meta_train', 'eosvos.learners'):\n"
        "    try: runpy.run_module(name, run_name='__main__')\n"
        "    except SystemExit as leaving: assert not leaving.code\n"
        "print(sorted({'torch', 'hydra', 'omegaconf', 'numpy', 'cv2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n[]\n") and "eosvos segment: segment a video" in done.stdout


def test_all_settings_are_told_with_what_they_may_be(capsys):
    assert eval.main(["--help=all"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("eosvos eval: ") and re.search(r"^  online\.every=5 +1 or more$", text, re.MULTILINE)
    assert re.search(r"^  osvos\.snapping=none +one of none, grabcut", text, re.MULTILINE)
    assert eval.main(["iters=5", "-h"]) == 0
    assert capsys.readouterr().out.startswith("eosvos eval: ")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--video", "clip.mp4"], "--video clip.mp4: write video=clip.mp4; settings have no dashes"),
        (["--iters=5"], "--iters=5: write iters=5; settings have no dashes"),
        (["--fine-tuning.clip=2"], "--fine-tuning.clip=2: write fine_tuning.clip=2; settings have no dashes"),
        (["--ona", "iters=5"], "--ona: write ona=VALUE; settings have no dashes"),
        (["--vidoe", "x"], "--vidoe x: write video=x, if video is meant; settings have no dashes"),
        (["--qqq"], "--qqq: no such setting; settings are written as name=value, and told by --help"),
    ],
)
def test_options_are_answered_by_how_settings_are_written(capsys, arguments, expected):
    assert segment.main(arguments) == hydra_app.MISTAKE
    assert capsys.readouterr().err == f"{expected}\n"


def test_settings_of_the_network_are_the_learners(capsys, tmp_path):
    for arguments in (["model=tiny"], ["model.short=64"], ["+model.fpn=8", "video=x"]):
        assert segment.main(arguments) == hydra_app.MISTAKE
        expected = f"{arguments[0]}: segment has no settings of the network, which are the learner's; leave it out"
        assert capsys.readouterr().err.startswith(expected)
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\nmodel:\n  short: 64\n")  # of before
    assert eval.main(["--config-dir", str(tmp_path), "experiment=mine"]) == hydra_app.MISTAKE
    assert "eval has no settings of the network" in capsys.readouterr().err
