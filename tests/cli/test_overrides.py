"""Paths and names on the command line mean what they say."""

from __future__ import annotations

import random

import hydra
import pytest
from omegaconf import OmegaConf

from eosvos.cli import hydra_app, overrides

NAMES = [
    "clip (1)",
    "clip [dQw4w9WgXcQ]",
    "läufe",
    "日本",
    "it's",
    "a,b",
    "a=b",
    "1e3",
    "1_000",
    "00012",
    "true",
    "null",
    " lead",
    "trail ",
    "${x}",
    "${oc.env:HOME}",
    "a${",
    "\\${x}",
    "\\\\${y}z\\",
    "back\\",
    "'",
    '"',
    "a\"b'c",
    "$",
    "50%",
    "nan",
    "{a}",
    "a: b",
    "#x",
    "caf\udce9",
    "a\nb",
    "choice(a,b)",
    "glob(*)",
    "1234e56789",
    "@",
    "*",
    "-1",
    "&|<>!",
]


@pytest.fixture
def composed():
    hydra_app.register()
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(hydra_app.config_dir())):
        yield lambda *given: OmegaConf.to_object(
            hydra.compose("eval", overrides.literal(given, overrides.text_settings("eval")))
        )


def test_any_text_arrives_as_it_is_and_is_written_down_so(composed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = random.Random(0)
    names = NAMES + ["".join(rng.choice("a1 '\"\\${}[](),=:%\n\té.") for _ in range(6)) for _ in range(30)]
    for name, other in zip(names, reversed(names), strict=True):
        listed = "sequences=[" + ",".join(f"'{n}'" for n in NAMES if not {"'", "\\"} & set(n)) + "]"
        found = composed(f"out={name}", f"data_root={other}", f"learner={name}{other}", listed)
        expected = [overrides._bare(text) for text in (name, other, name + other)]
        assert [found.out, found.data_root, found.learner] == expected
        assert found.sequences == [n for n in NAMES if not {"'", "\\"} & set(n)]
        written = OmegaConf.to_object(OmegaConf.create(overrides.as_yaml(found)))
        assert [written["out"], written["data_root"], written["learner"]] == expected
        assert written["sequences"] == found.sequences


def test_lists_quotes_and_nothing_at_all(composed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = ("sequences=[1234e56789, clip [x] (1),it's,'a,b',null]", "out='two words'", "learner=", "measures=[]")
    found = composed(*given, "data_root=~nobody_of_that_name/x", "iters=3", "dataset.truth=~/masks")
    assert found.sequences == ["1234e56789", "clip [x] (1)", "it's", "a,b", "null"] and found.measures == []
    assert found.out == "two words" and found.learner is None and found.iters == 3
    assert found.data_root == "./~nobody_of_that_name/x" and found.dataset.truth == "~/masks"
    (tmp_path / "'two words'").touch()
    assert composed(*given).out == "'two words'"  # a file of that very name


def test_a_sweep_goes_over_names_parted_by_commas(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    hydra_app.register()
    seen = []

    def job(settings):
        seen.append((settings.results, settings.sequences, settings.processes, hydra_app.job_name()))

    line = ["results=${x}, 'a,b',1e3", "sequences=[null,b (1)],[1e3]", "processes=1", "out=o"]
    assert hydra_app.run("score", job, ["-m", *line]) == 0, capfd.readouterr().err
    assert [s[:2] for s in seen] == [(r, s) for r in ("${x}", "a,b", "1e3") for s in (["null", "b (1)"], ["1e3"])]
    assert {s[2] for s in seen} == {1} and seen[0][3] == "results=${x},sequences=[null,b (1)]"
    seen.clear()
    assert hydra_app.run("score", job, ["results=" + "x" * 250, "missing=a,b", "--multirun"]) == 0
    names = [name for *_, name in seen]
    assert len(set(names)) == 2 and all(len(name) < 100 for name in names)


def test_a_list_without_brackets_is_refused(capfd):
    hydra_app.register()
    assert hydra_app.run("score", print, ["sequences=clip (1)"]) == hydra_app.MISTAKE
    assert "sequences: expected a list, in brackets" in capfd.readouterr().err
