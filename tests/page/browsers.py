"""Chromium, and the page in it as a user and as a test has it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from eosvos.data.synthetic.videos import held_out

SIZE, LENGTH = (240, 432), 8
CLIP = replace(
    held_out("val", count=8, size=SIZE, length=LENGTH)[7], first_frame={1: 0}
)  # of the built-in sample, smaller
FLAGS = (
    "headless=new",
    "no-sandbox",
    "disable-gpu",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
    "no-first-run",
    "window-size=1280,800",
)
MODULES = ("store", "frames", "mask", "server", "objects", "zoom", "tools", "timeline", "run")
JAVASCRIPT = f"""
const done = arguments[arguments.length - 1];
Promise.all({[f"/static/{name}.js" for name in MODULES]}.map((path) => import(path))).then(async (modules) => {{
  const names = new Proxy({{}}, {{
    has: (_, name) => name !== "done" && (modules.some((one) => name in one) || name in modules[0].page),
    get: (_, name) => (modules.find((one) => name in one) || modules[0].page)[name],
  }});
  with (names) {{ done({{ value: await (CODE) }}); }}
}}).catch((error) => done({{ error: String(error) }}));
"""


def missing() -> str:
    """What Chromium cannot be driven without; "" where all is there."""
    if find_spec("selenium") is None:
        return "selenium is not installed"
    if shutil.which("chromium") is None or shutil.which("chromedriver") is None:
        return "no chromium or chromedriver: apt-get install chromium chromium-driver"
    return ""


@contextmanager
def chromium(folder: Path) -> Iterator[Any]:
    """A browser that keeps its profile and its downloads in a folder."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in (*FLAGS, f"user-data-dir={folder / 'profile'}"):
        options.add_argument(f"--{flag}")
    options.add_experimental_option("prefs", {"download.default_directory": str(folder / "downloads")})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver"))) as driver:
        yield driver


class Page:
    def __init__(self, browser: Any) -> None:
        self.browser = browser

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the frames in pixels."""
        return tuple(self.js("state.size"))

    def at(self, id: str) -> Any:
        return self.browser.find_element("id", id)

    def click(self, id: str) -> None:
        self.until(lambda: self.at(id).is_enabled() and self.at(id).is_displayed())
        self.at(id).click()

    def js(self, code: str) -> Any:
        """Evaluate an expression with all that the page's modules export, and the fields of its state."""
        found = self.browser.execute_async_script(JAVASCRIPT.replace("CODE", code))
        assert "error" not in found, (code, found)
        return found.get("value")

    def until(self, held: Callable[[], Any], seconds: float = 60) -> None:
        from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException

        def now():
            with suppress(NoSuchElementException, StaleElementReferenceException):  # the page is changing
                return held()

        end = time.monotonic() + seconds
        while not now():
            assert time.monotonic() < end, (self.js("JSON.stringify(state)"), self.at("message").text)
            time.sleep(0.05)

    def idle(self) -> None:
        self.until(lambda: self.js("!state.job && !!state.run && state.run.state") == "finished")

    def opened(self) -> None:
        self.until(lambda: self.js("!!mask && !!image"))  # the script may not have run

    def ids(self) -> np.ndarray:
        """What the page shows, uint8 (H, W)."""
        return np.array(self.js("Array.from(mask.ids)"), np.uint8).reshape(self.size)

    def press(self, point: Sequence[float]) -> None:
        """A click at a point (x, y) of the frame."""
        from selenium.webdriver import ActionChains

        box = self.at("mask").rect
        scale = box["width"] / self.size[1]
        place = (round(point[0] * scale - box["width"] / 2), round(point[1] * scale - box["height"] / 2))
        ActionChains(self.browser, duration=5).move_to_element_with_offset(self.at("mask"), *place).click().perform()

    def draw(self, points: Sequence[Sequence[float]]) -> None:
        """Move the pressed mouse along points (x, y) of the frame."""
        from selenium.webdriver import ActionChains

        box = self.at("mask").rect
        scale = box["width"] / self.size[1]
        actions = ActionChains(self.browser, duration=5)
        for number, (x, y) in enumerate(points):
            place = (round(x * scale - box["width"] / 2), round(y * scale - box["height"] / 2))
            actions.move_to_element_with_offset(self.at("mask"), *place)
            if number == 0:
                actions.click_and_hold()
        edits = self.js("edits")
        actions.release().perform()
        self.until(lambda: self.js("edits") > edits and self.at("saved").text == "saved")
