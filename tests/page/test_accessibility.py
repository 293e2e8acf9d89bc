"""Who cannot see the page, or uses no mouse, can use it: axe-core's rules, visible focus, and nothing that jumps."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
from browsers import CLIP, LENGTH, Page
from pages import Held, served

AXE = "axe-core@4.14.1"
LOOKS = [("light", 1280), ("dark", 1280), ("light", 390)]
RUN = """
const done = arguments[arguments.length - 1];
axe.run(document, { resultTypes: ["violations"], preload: false }).then(({ violations }) => done(
  violations.flatMap((one) => one.nodes.map((node) => [one.impact, one.id, node.html, node.failureSummary]))
));
"""
UNSEEN = """
const all = (document.querySelector("dialog[open]") || document).querySelectorAll("a[href], button, input, select");
return [...all].filter((one) => {
  if (one.disabled || !one.checkVisibility()) return false;
  one.focus({ focusVisible: true });
  const { outlineStyle, outlineWidth } = getComputedStyle(one.closest(".choice") || one);
  return outlineStyle === "none" || parseFloat(outlineWidth) < 2;
}).map((one) => one.outerHTML);
"""


@pytest.fixture(scope="session")
def axe(request):
    """The text of axe-core, which npm fetches once."""
    folder = request.config.cache.mkdir("axe-core")
    script = folder / "node_modules" / "axe-core" / "axe.min.js"
    if not script.is_file():
        if (npm := shutil.which("npm")) is None:
            pytest.skip("axe-core is fetched by npm, which is not installed: apt-get install npm")
        line = [npm, "install", "--prefix", str(folder), "--ignore-scripts", "--no-audit", "--no-fund", AXE]
        try:
            done = subprocess.run(line, capture_output=True, text=True, timeout=120)
        except subprocess.TimeoutExpired:
            pytest.skip(f"npm did not fetch {AXE} within two minutes")
        if done.returncode:
            pytest.skip(f"npm cannot fetch {AXE}: {done.stderr[-300:]}")
    return script.read_text(encoding="utf-8")


def look(browser, kind, width):
    """Show the page light or dark, and so wide."""
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": kind}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def grave(browser, axe):
    """What axe-core finds serious or critical."""
    if not browser.execute_script("return !!window.axe"):
        browser.execute_script(axe)
    return [one for one in browser.execute_async_script(RUN) if one[0] in ("serious", "critical")]


def places(browser):
    """Where the frame and the steps stand."""
    heights = "one => one.getBoundingClientRect().top"
    return browser.execute_script(f"return [...document.querySelectorAll('#stage, aside section')].map({heights})")


def faults(browser, axe, step):
    """What is wrong with the page as it is, in all its looks."""
    wrong = []
    for kind, width in LOOKS:
        look(browser, kind, width)
        wrong += [(step, kind, width, *one) for one in grave(browser, axe)]
        wrong += [(step, kind, width, "unseen focus", one) for one in browser.execute_script(UNSEEN)]
        if (wide := browser.execute_script("return document.documentElement.scrollWidth")) > width:
            wrong.append((step, kind, width, f"{wide} pixels wide"))
    look(browser, "light", 1280)
    browser.execute_script("scrollTo(0, 0)")
    return wrong


def test_every_step_can_be_seen_and_used_by_all(browser, axe, make, tmp_path):
    page, held, wrong = Page(browser), Held(make), []
    with served(tmp_path / "app", held, sample=CLIP) as client:
        id = client.ask("POST", "/api/sample")["id"]
        session = f"/api/sessions/{id}"
        browser.get(f"http://127.0.0.1:{client.port}/")
        page.until(lambda: browser.find_elements("css selector", "#sessions li"))
        wrong += faults(browser, axe, "start")

        ids = CLIP.read_mask(0)
        client.ask("PUT", f"{session}/annotations/0", ids.tobytes())
        browser.get(f"http://127.0.0.1:{client.port}/#{id}/0")
        browser.refresh()  # the address of a part of the same page
        page.opened()
        y, x = np.argwhere(CLIP.read_mask(0))[0]
        assert page.js(f"$('mask').getContext('2d').getImageData({x}, {y}, 1, 1).data[3]") > 0, "painted, and not seen"
        page.js("add()")
        wrong += faults(browser, axe, "mark")
        page.js("tell('Told to the user.')")
        page.js("$('help').showModal()")
        wrong += faults(browser, axe, "help")
        page.js("($('help').close(), tell(''))")

        before = places(browser)
        page.js("($('go').click(), 0)")
        held.leave.release(2)
        page.until(lambda: page.js("state.job && state.job.done > 1"))
        wrong += faults(browser, axe, "segment")
        held.leave.release(2 * LENGTH)
        page.idle()
        page.until(lambda: page.at("suggested").is_enabled())
        page.js("$('suggested').click()")
        wrong += faults(browser, axe, "correct")

        page.click("export")
        page.until(lambda: page.at("download").is_displayed())
        wrong += faults(browser, axe, "export")
        assert not wrong, "\n".join(map(str, wrong))
        assert places(browser) == before, "frame or steps have moved since the first one"

        planted = "const one = document.createElement('button'); one.style = 'color: #aaa'; $('go').after(one)"
        page.js(f"(() => {{ {planted} }})()")
        assert [one[1] for one in grave(browser, axe)] == ["button-name"]
        page.js("($('go').nextElementSibling.textContent = 'grey', 0)")
        assert [one[1] for one in grave(browser, axe)] == ["color-contrast"]
