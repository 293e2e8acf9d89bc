"""Fixtures for all tests."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data: $EOSVOS_SHARED, or shared/data beside the repository. Skips where it is absent."""
    given = os.environ.get("EOSVOS_SHARED")
    path = Path(given) if given else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"real data is not at {path}; set EOSVOS_SHARED to its folder")
    return path


@pytest.fixture
def counting(monkeypatch) -> Iterator[threading.Event]:
    """Every video file is a large one, and its frames are not counted before this is set."""
    from eosvos.data.video import frame_index, frames

    leave, inspect = threading.Event(), frame_index.find_layout
    monkeypatch.setattr(frames, "_SMALL", 0)
    monkeypatch.setattr(frame_index, "find_layout", lambda *given: leave.wait() and inspect(*given))
    yield leave
    leave.set()


@pytest.fixture
def drawn(monkeypatch) -> list[Any]:
    """The figures that were drawn, the last one last."""
    from eosvos.plots import style

    kept: list[Any] = []
    plain = style.subplots

    def noted(*given, **more):
        figure, axes = plain(*given, **more)
        kept.append(figure)
        return figure, axes

    monkeypatch.setattr(style, "subplots", noted)
    return kept
