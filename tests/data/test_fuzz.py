"""Whatever is done to a file, it is read or refused by a message that names it; benchmarks/fuzz.py goes on longer."""

from __future__ import annotations

import pytest

pytest.importorskip("hypothesis")

from data.mutants import READERS, strategy, survives  # noqa: E402
from hypothesis import HealthCheck, given, settings  # noqa: E402

EXAMPLES = {"masks": 400, "json": 400, "values": 300, "videos": 150}


@pytest.mark.filterwarnings("ignore::UserWarning:PIL.*", "ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("kind", READERS)
def test_damaged_files_are_read_or_refused(kind, tmp_path):
    if kind == "videos":
        pytest.importorskip("av")
    count = {True: 0, False: 0}

    @settings(
        max_examples=EXAMPLES[kind],
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy(kind, tmp_path))
    def check(file):
        count[survives(kind, tmp_path, *file)] += 1

    check()
    assert count[True] > 5 and count[False] > 5  # changes are neither without effect nor always fatal
