"""The page in a real browser, from painting with the mouse to the zip; skipped where there is no Chromium."""

from __future__ import annotations

import io
import json
import shutil
import time
import zipfile
from contextlib import suppress
from dataclasses import replace

import cv2
import numpy as np
import pytest
from pages import served, settings
from PIL import Image

from eosvos.app import Make
from eosvos.data.palette import DAVIS_PALETTE
from eosvos.data.synthetic.videos import held_out

SIZE, LENGTH = (240, 432), 8
CLIP = replace(
    held_out("val", count=8, size=SIZE, length=LENGTH)[7], first_frame={1: 0}
)  # of the built-in sample, smaller
FLAGS = (
    "headless=new", "no-sandbox", "disable-gpu", "disable-background-networking", "disable-component-update",
    "disable-sync", "no-first-run", "window-size=1280,800",
)  # fmt: skip


def overlap(ids, truth):
    """J of object 1."""
    return (ids & (truth == 1)).sum() / (ids | (truth == 1)).sum()


@pytest.fixture
def browser(tmp_path):
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("no chromium or chromedriver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS, f"user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(f"--{flag}")
    options.add_experimental_option("prefs", {"download.default_directory": str(tmp_path / "downloads")})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(driver)) as driver:
        yield driver


class Page:
    def __init__(self, browser):
        self.browser = browser

    def at(self, id):
        return self.browser.find_element("id", id)

    def click(self, id):
        self.until(lambda: self.at(id).is_enabled() and self.at(id).is_displayed())
        self.at(id).click()

    def js(self, code):
        return self.browser.execute_script(f"return {code}")

    def until(self, held, seconds=60):
        from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException

        def now():
            with suppress(NoSuchElementException, StaleElementReferenceException):  # the page is changing
                return held()

        end = time.monotonic() + seconds
        while not now():
            assert time.monotonic() < end, (self.js("JSON.stringify(state)"), self.at("message").text)
            time.sleep(0.05)

    def idle(self):
        self.until(lambda: self.js("!state.job && !!state.run && state.run.state") == "finished")

    def opened(self):
        self.until(lambda: self.js("typeof image !== 'undefined' && !!mask && !!image"))  # the script may not have run

    def ids(self):
        """What the page shows, uint8 (H, W)."""
        return np.array(self.js("Array.from(mask.ids)"), np.uint8).reshape(SIZE)

    def draw(self, points):
        """Move the pressed mouse along points (x, y) of the frame."""
        from selenium.webdriver import ActionChains

        box = self.at("mask").rect
        scale = box["width"] / SIZE[1]
        actions = ActionChains(self.browser, duration=5)
        for number, (x, y) in enumerate(points):
            place = (round(x * scale - box["width"] / 2), round(y * scale - box["height"] / 2))
            actions.move_to_element_with_offset(self.at("mask"), *place)
            if number == 0:
                actions.click_and_hold()
        actions.release().perform()
        self.until(lambda: self.at("saved").text == "saved")


def around(mask):
    """A coarse line around an object, as a hand draws it."""
    line = max(cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0], key=len)
    return cv2.approxPolyDP(line, 2, True)[:, 0].tolist()


def test_painting_running_correcting_and_exporting_with_the_mouse(browser, tmp_path):
    page = Page(browser)
    with served(tmp_path / "app", Make(settings("iters=10")), sample=CLIP) as client:
        browser.get(f"http://127.0.0.1:{client.port}/")
        page.until(lambda: page.at("sample").is_displayed())
        page.click("sample")
        page.until(lambda: "#" in browser.current_url)
        page.until(lambda: page.at("work").is_displayed())
        page.opened()
        assert np.array_equal(page.js("PALETTE"), DAVIS_PALETTE)
        assert not page.at("go").is_enabled()

        truth = [CLIP.read_mask(index) == 1 for index in range(LENGTH)]
        browser.find_element("css selector", "[data-tool=outline]").click()
        page.draw(around(truth[0]))
        drawn = page.ids()
        assert overlap(drawn, truth[0]) > 0.85 and set(np.unique(drawn)) == {0, 1}
        browser.find_element("css selector", "[data-tool=brush]").click()
        page.draw([(30, 30), (60, 30)])
        brushed = page.ids()
        assert brushed[30, 30:61].all() and not brushed[60, 30:61].any()
        page.click("undo")
        page.until(lambda: np.array_equal(page.ids(), drawn))
        page.click("redo")
        page.until(lambda: np.array_equal(page.ids(), brushed))
        browser.find_element("css selector", "[data-tool=eraser]").click()
        page.js("document.getElementById('size').value = 20")
        page.draw([(20, 30), (70, 30)])
        assert np.array_equal(page.ids(), drawn)

        browser.refresh()  # nothing is lost
        page.opened()
        assert np.array_equal(page.ids(), drawn)
        session = f"/api/sessions/{page.js('id')}"
        assert np.array_equal(client.ids(f"{session}/annotations/0", SIZE), drawn)  # each pixel as it was painted

        page.click("go")
        page.until(lambda: page.at("curve").is_displayed())  # the loss, live
        page.idle()
        assert len(page.js("state.run.losses")) == 10
        found = [client.ids(f"{session}/runs/1/masks/{k}", SIZE) for k in range(LENGTH)]
        assert np.mean([overlap(ids, mask) for ids, mask in zip(found[1:], truth[1:], strict=True)]) > 0.5

        page.click("suggested")
        page.until(lambda: page.js("index") == page.js("state.run.suggested"))
        index = page.js("index")
        page.until(lambda: np.array_equal(page.ids(), found[index]))  # as the server has it, without a canvas between
        browser.find_element("css selector", "[data-tool=outline]").click()
        page.draw(around(truth[index]))
        corrected = page.ids()
        assert np.array_equal(corrected, np.maximum(found[index], corrected)) and corrected.sum() > found[index].sum()
        page.click("go")
        page.until(lambda: page.js("state.run.number") == 2)
        page.idle()
        assert page.js("state.run.frames") == sorted([0, index])
        page.until(lambda: page.js("index") is not None and page.at("before").is_enabled())
        page.js(f"go_to({index})")
        page.click("before")
        page.until(lambda: np.array_equal(page.ids(), found[index]))
        page.click("after")
        page.until(lambda: np.array_equal(page.ids(), corrected))

        browser.find_element("css selector", "[value=json]").click()
        page.click("export")
        place = tmp_path / "downloads" / "Sample-masks.zip"
        page.until(lambda: any((tmp_path / "downloads").glob("*.zip")))
        (place,) = (tmp_path / "downloads").glob("*.zip")
        with zipfile.ZipFile(place) as archive:
            assert archive.testzip() is None and "masks.json" in archive.namelist()
            shown = np.array(Image.open(io.BytesIO(archive.read(f"masks/{CLIP.frame_names[index]}.png"))))
        assert np.array_equal(shown, corrected)

        page.js("go_to(0)")
        page.click("absent")  # object 1 is told not to be on the first frame
        page.until(lambda: not page.ids().any())
        page.click("clear")
        page.until(lambda: page.js("!painted.has(0)"))
        assert page.at("message").text == ""
        assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_videos_are_uploaded_and_two_tabs_do_not_disturb_each_other(browser, tmp_path):
    pytest.importorskip("av")
    from eosvos.data.video.write import write_video

    write_video(tmp_path / "my clip ü.mp4", (CLIP.read_frame(k) for k in range(3)))
    (tmp_path / "wrong.mp4").write_bytes(b"no video")
    (tmp_path / "large.mp4").write_bytes(b"x" * (1 << 20 | 1))
    page = Page(browser)
    with served(tmp_path / "app", Make(settings()), sample=CLIP) as client:
        address = f"http://127.0.0.1:{client.port}/"
        browser.get(address)
        page.until(lambda: page.at("file").get_attribute("data-limit"))
        page.at("file").send_keys(str(tmp_path / "wrong.mp4"))
        page.until(lambda: "wrong.mp4: cannot be read as a video" in page.at("message").text)
        page.at("file").send_keys(str(tmp_path / "large.mp4"))
        page.until(lambda: "2 MiB are more than the 1 MiB allowed" in page.at("message").text)
        page.at("file").send_keys(str(tmp_path / "my clip ü.mp4"))
        page.until(lambda: page.at("name").text == "my clip ü.mp4")
        page.opened()
        page.draw([(50, 50), (90, 50)])
        first, session = page.ids(), page.js("id")
        browser.switch_to.new_window("tab")
        browser.get(address)
        page.click("sample")
        page.until(lambda: page.at("name").text.startswith("Sample"))
        page.opened()
        page.js("document.querySelectorAll('#objects button')[1].click()")
        page.draw([(200, 100), (250, 100)])
        assert page.js("id") != session and set(np.unique(page.ids())) == {0, 2}
        browser.switch_to.window(browser.window_handles[0])
        assert page.js("id") == session and np.array_equal(page.ids(), first)
        assert np.array_equal(client.ids(f"/api/sessions/{session}/annotations/0", SIZE), first)
        damaged = tmp_path / "app" / ("0" * 32)
        damaged.mkdir()
        (damaged / "session.json").write_text("")
        browser.get(address)
        page.until(lambda: len(browser.find_elements("css selector", "#sessions li")) == 2)
        assert damaged.name in page.at("message").text


def test_what_comes_in_quick_succession_or_from_another_tab_is_not_mixed_up(browser, make, tmp_path):
    first, other, none = np.zeros((3, *SIZE), np.uint8)
    first[50:90, 50:90], first[150:190, 200:260], other[10:30, 10:30] = 1, 2, 3
    page = Page(browser)
    with served(tmp_path / "app", make, sample=CLIP) as client:
        id = client.ask("POST", "/api/sample")["id"]
        session = f"/api/sessions/{id}"

        def saved():
            page.until(lambda: page.js("!pending.size && !saving"))

        def paint(index, ids):  # as another tab does
            client.ask("PUT", f"{session}/annotations/{index}", ids.tobytes())

        paint(0, first)
        browser.get(f"http://127.0.0.1:{client.port}/#{id}/0")
        page.opened()
        page.js("(go_to(1), $('absent').click())")  # not of frame 0, which is still shown
        saved()
        assert not client.ids(f"{session}/annotations/1", SIZE).any()
        page.until(lambda: page.js("seen.k") == 1)
        page.js("$('mask').setPointerCapture = () => 0")
        page.js("(go_to(2), press(new PointerEvent('pointerdown', {clientX: 300, clientY: 300})), release())")
        saved()
        assert client.get(session)["annotated"] == [0, 1]  # the one that is seen
        assert np.unique(client.ids(f"{session}/annotations/1", SIZE)).tolist() == [0, 1]

        focus = "(window.dispatchEvent(new Event('focus')), 0)"
        paint(3, other)
        client.ask("DELETE", f"{session}/annotations/1")
        page.js(focus)
        page.until(lambda: page.js("state.annotated.join()") == "0,3" and not page.ids().any())
        page.js("(go_to(3), 0)")
        page.until(lambda: np.array_equal(page.ids(), other))
        paint(3, first)
        page.js(focus)
        page.until(lambda: np.array_equal(page.ids(), first))
        page.js("(refresh(), change(3, new Mask(432, 240)), refresh(), show(3), 0)")  # what is painted here stays
        saved()
        assert not page.ids().any() and not client.ids(f"{session}/annotations/3", SIZE).any()
        page.js("take({}, edits - 1)")  # said before it was painted
        page.js(
            "(pending.set(3, null), take({0: versions.get(0)}, edits).then(() => pending.delete(3)))"
        )  # not sent yet
        page.js("take({0: versions.get(0), 3: versions.get(3), 5: 'gone'}, edits)")
        assert page.js("[...painted.keys()]") == [0, 3] and page.at("message").text == ""

        page.js("$('steps').value = ''")
        page.js("($('go').click(), $('go').click())")
        page.idle()
        assert page.js("[state.run.number, state.run.steps]") == [1, make.steps] and page.at("message").text == ""
        asked = page.js("performance.getEntriesByType('resource').filter((one) => one.name.endsWith('/run')).length")
        assert asked == 1
        runs = tmp_path / "app" / id / "runs"
        (runs / "2").mkdir()
        content = json.loads((runs / "1" / "run.json").read_text())
        (runs / "2" / "run.json").write_text(json.dumps(content | {"number": 2, "state": "stopped"}))
        page.js(focus)
        page.until(lambda: page.at("export").text == "Make zip of the result before")
        page.click("export")
        page.until(lambda: any((tmp_path / "downloads").glob("*.zip")))
        assert (runs / "1" / "export.zip").is_file()
