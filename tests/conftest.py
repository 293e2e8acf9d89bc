"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data: $EOSVOS_SHARED, or shared/data beside the repository. Skips where it is absent."""
    given = os.environ.get("EOSVOS_SHARED")
    path = Path(given) if given else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"real data is not at {path}; set EOSVOS_SHARED to its folder")
    return path
