"""Fixtures for the tests of the page."""

from __future__ import annotations

import pytest
import torch
from browsers import CLIP, Page, chromium, missing
from pages import served, settings

from eosvos.app import Make
from eosvos.meta.learner import Learner
from eosvos.models import mask_rcnn


@pytest.fixture(scope="session")
def page_learner(tmp_path_factory):
    """A tiny learner that was never trained: its path."""
    torch.manual_seed(0)
    model = mask_rcnn.build("tiny", short=64, long=112, score=0.0)
    path = tmp_path_factory.mktemp("page") / "learner.safetensors"
    Learner.create(model, 0.02, "neuron", {"model": model.spec}).save(path)
    return path


@pytest.fixture
def make(page_learner):
    return Make(settings(f"learner={page_learner}", "iters=2", "seed=3"))


@pytest.fixture
def serve(tmp_path):
    """Serves sessions in a folder of this test."""
    return lambda make, **more: served(tmp_path / "app", make, **more)


@pytest.fixture
def browser(tmp_path):
    if reason := missing():
        pytest.skip(reason)
    with chromium(tmp_path) as driver:
        yield driver


@pytest.fixture
def opened(browser, make, tmp_path):
    """The page with the sample open: (page, client, address of the session)."""
    page = Page(browser)
    with served(tmp_path / "app", make, sample=CLIP) as client:
        id = client.ask("POST", "/api/sample")["id"]
        browser.get(f"http://127.0.0.1:{client.port}/#{id}/0")
        page.opened()
        yield page, client, f"/api/sessions/{id}"
        assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
