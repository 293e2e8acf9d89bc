"""Fixtures of the tests of files that annotation tools write."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture
def clip(tmp_path) -> Path:
    """A folder of six frames, 24 pixels high and 40 wide."""
    (tmp_path / "clip").mkdir()
    for k in range(6):
        Image.new("RGB", (40, 24), (40 * k, 9, 200)).save(tmp_path / "clip" / f"{k:05d}.png")
    return tmp_path / "clip"


@pytest.fixture
def said(caplog) -> pytest.LogCaptureFixture:
    """What is logged, from the level INFO on."""
    caplog.set_level(logging.INFO)
    return caplog
