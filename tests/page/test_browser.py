"""The page in a real browser, from painting with the mouse to the zip; skipped where there is no Chromium."""

from __future__ import annotations

import io
import json
import zipfile

import cv2
import numpy as np
import pytest
from browsers import CLIP, LENGTH, SIZE, Page
from pages import served, settings
from PIL import Image

from eosvos.app import Make


def overlap(ids, truth):
    """J of object 1."""
    return (ids & (truth == 1)).sum() / (ids | (truth == 1)).sum()


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
        colours = page.js("Array.from({length: 20}, (_, k) => colourOf(k + 1))")
        assert len(set(colours)) == 20
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
        page.js("($('size').value = 20)")
        page.draw([(20, 30), (70, 30)])
        assert np.array_equal(page.ids(), drawn)

        browser.refresh()  # nothing is lost
        page.opened()
        assert np.array_equal(page.ids(), drawn)
        session = f"/api/sessions/{page.js('id')}"
        assert np.array_equal(client.ids(f"{session}/annotations/0", SIZE), drawn)  # each pixel as it was painted

        page.click("go")
        page.until(lambda: ", step " in page.at("curve").text)  # the loss, live
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
        page.js(f"goTo({index})")
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

        page.js("goTo(0)")
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
        page.js("$('add').click()")
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
        page.js("(goTo(1), $('absent').click())")  # not of frame 0, which is still shown
        saved()
        assert not client.ids(f"{session}/annotations/1", SIZE).any()
        page.until(lambda: page.js("seen.k") == 1)
        page.js("$('mask').setPointerCapture = () => 0")
        page.js("(goTo(2), press(new PointerEvent('pointerdown', {clientX: 300, clientY: 300})), release())")
        saved()
        assert client.get(session)["annotated"] == [0, 1]  # the one that is seen
        assert np.unique(client.ids(f"{session}/annotations/1", SIZE)).tolist() == [0, 1]

        focus = "(window.dispatchEvent(new Event('focus')), 0)"
        paint(3, other)
        client.ask("DELETE", f"{session}/annotations/1")
        page.js(focus)
        page.until(lambda: page.js("state.annotated.join()") == "0,3" and not page.ids().any())
        page.js("(goTo(3), 0)")
        page.until(lambda: np.array_equal(page.ids(), other))
        paint(3, first)
        page.js(focus)
        page.until(lambda: np.array_equal(page.ids(), first))
        page.js(
            "(refresh(), change(3, new Painting(new Mask(432, 240), [1, 2])), refresh(), show(3), 0)"
        )  # what is painted here stays
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


def absent(client, session, index):
    """The objects that a painted frame tells to be absent."""
    return client.send("GET", f"{session}/annotations/{index}")[1]["Absent"]


def saved(page):
    page.until(lambda: page.js("!pending.size && !saving"))


def test_a_painted_frame_tells_of_its_objects_alone_and_goes_out_as_painted(opened, tmp_path):
    page, client, session = opened
    page.js("pick('brush')")
    page.draw([(50, 50), (90, 50)])
    page.js("goTo(3)")
    page.until(lambda: page.js("seen.k") == 3)
    page.js("$('add').click()")
    page.draw([(200, 100), (250, 100)])
    assert [absent(client, session, k) for k in (0, 3)] == ["", ""]
    assert "tells where object 2 is, and nothing of other objects" in page.at("hint").text
    page.js("goTo(5)")
    page.until(lambda: page.js("seen.k") == 5)
    page.click("absent")
    saved(page)
    assert absent(client, session, 5) == "2" and not client.ids(f"{session}/annotations/5", SIZE).any()
    assert "that object 2 is not here, and nothing of other objects" in page.at("hint").text
    page.click("absent")  # taken back: the frame tells nothing any more
    saved(page)
    assert client.get(session)["annotated"] == [0, 3]
    page.click("undo")
    page.click("go")
    page.idle()

    found = [client.ids(f"{session}/runs/1/masks/{k}", SIZE) for k in range(LENGTH)]
    page.js("goTo(6)")
    page.until(lambda: page.js("seen.k") == 6)
    page.draw([(300, 200), (330, 200)])  # corrected, and not refined
    shown = page.ids()
    own = client.ids(f"{session}/annotations/6", SIZE)
    assert set(np.unique(own)) == {0, 2}, "the result of object 1 is no annotation"
    expected = np.where(own > 0, own, np.where(found[6] == 2, 0, found[6]))
    assert np.array_equal(shown, expected) and not np.array_equal(shown, found[6])
    page.click("export")
    page.until(lambda: any((tmp_path / "downloads").glob("*.zip")))
    (place,) = (tmp_path / "downloads").glob("*.zip")
    with zipfile.ZipFile(place) as archive:
        for k, ids in ((6, shown), (5, np.where(found[5] == 2, 0, found[5])), (1, found[1])):
            exported = np.array(Image.open(io.BytesIO(archive.read(f"masks/{CLIP.frame_names[k]}.png"))))
            assert np.array_equal(exported, ids), k
        assert f"annotations/{CLIP.frame_names[6]}.png" in archive.namelist()
    assert page.at("download").is_displayed()
    page.click("undo")  # what is shown is no longer what was packed
    saved(page)
    page.until(lambda: not page.at("download").is_displayed())

    page.js("goTo(1)")
    page.until(lambda: page.js("seen.k") == 1)
    if (found[1] == 1).any():
        page.js("(choose(1), pick('eraser'), $('size').value = 40)")
        for y in range(20, SIZE[0], 40):
            page.draw([(5, y), (SIZE[1] - 5, y)])
        assert "1" in absent(client, session, 1).split() and "told not to be on this frame" in page.at("message").text


def test_painting_waits_for_a_server_that_is_away_and_the_page_stays_where_it_is(browser, make, tmp_path):
    page = Page(browser)
    with served(tmp_path / "app", make, sample=CLIP) as client:
        port, id = client.port, client.ask("POST", "/api/sample")["id"]
        browser.get(f"http://127.0.0.1:{port}/#{id}/0")
        page.opened()
        place = page.at("mask").rect
    page.js("pick('brush')")
    page.js("(refresh(), 0)")
    page.until(lambda: page.at("offline").is_displayed())
    page.js("change(0, new Painting(new Mask(432, 240, new Uint8Array(432 * 240).fill(1))))")
    page.until(lambda: page.at("saved").text == "not saved yet")
    assert page.at("mask").rect == place
    with served(tmp_path / "app", make, sample=CLIP, port=port) as client:
        page.until(lambda: not page.at("offline").is_displayed() and page.at("saved").text == "saved")
        assert page.at("message").text == "" and page.at("mask").rect == place
        assert client.ids(f"/api/sessions/{id}/annotations/0", SIZE).all()


def test_a_box_points_and_a_polygon_become_a_mask(opened):
    page, client, session = opened
    truth = CLIP.read_mask(0) == 1
    rows, columns = np.flatnonzero(truth.any(1)), np.flatnonzero(truth.any(0))
    page.js("pick('box')")
    page.draw([(columns[0], rows[0]), (columns[-1], rows[-1])])
    boxed = page.ids()
    assert overlap(boxed == 1, truth) > 0.6
    page.js("pick('minus')")
    y, x = (int(v) for v in np.argwhere(boxed == 1)[len(np.argwhere(boxed == 1)) // 2])
    page.draw([(x, y), (x, y)])
    pointed = page.ids()
    assert pointed[y, x] == 0 and not np.array_equal(pointed, boxed)
    page.click("undo")
    page.until(lambda: np.array_equal(page.ids(), boxed))
    page.js("pick('polygon')")
    for corner in [(300, 30), (340, 30), (320, 70)]:
        page.press(corner)
    browser_key(page, "Enter")
    saved(page)
    page.until(lambda: page.ids()[40, 320] == 1)
    assert np.array_equal(page.ids() == 1, client.ids(f"{session}/annotations/0", SIZE) == 1)


def browser_key(page, key):
    """A key, as the keyboard gives it to the page."""
    page.js(f"document.body.dispatchEvent(new KeyboardEvent('keydown', {{key: '{key}', bubbles: true}}))")
    page.js(f"document.body.dispatchEvent(new KeyboardEvent('keyup', {{key: '{key}', bubbles: true}}))")


def test_zoomed_and_moved_the_brush_paints_where_its_ring_is(opened):
    page, _, _ = opened
    stage = page.at("stage").rect
    x, y = stage["x"] + stage["width"] * 0.75, stage["y"] + stage["height"] * 0.25
    page.js(f"zoom(8, {x}, {y})")
    wheel = "new WheelEvent('wheel', {deltaY: -100, clientX: 400, clientY: 300, cancelable: true})"
    page.js(f"$('stage').dispatchEvent({wheel})")
    page.js("(hold(true), $('mask').setPointerCapture = $('stage').setPointerCapture = () => 0)")
    before = page.js("(({left, top}) => [left, top])($('mask').getBoundingClientRect())")
    for kind, px in (("down", 500), ("move", 460), ("up", 460)):
        target = "window" if kind != "down" else "$('mask')"
        page.js(
            f"{target}.dispatchEvent(new PointerEvent('pointer{kind}', {{clientX: {px}, clientY: 300, bubbles: true}}))"
        )
    page.js("hold(false)")
    after = page.js("(({left, top}) => [left, top])($('mask').getBoundingClientRect())")
    assert after[0] - before[0] == pytest.approx(-40, abs=0.5) and not page.js("painted.size")
    page.js("(pick('brush'), $('size').value = 4, 0)")
    for kind in ("move", "down", "up"):
        page.js(
            f"$('mask').dispatchEvent(new PointerEvent('pointer{kind}', {{clientX: 480, clientY: 300, bubbles: true}}))"
        )
    saved(page)
    box = page.js("(({left, top, width}) => [left, top, width])($('mask').getBoundingClientRect())")
    scale = box[2] / SIZE[1]
    rows, columns = np.nonzero(page.ids())
    assert columns.mean() + 0.5 == pytest.approx((480 - box[0]) / scale, abs=0.6)
    assert rows.mean() + 0.5 == pytest.approx((300 - box[1]) / scale, abs=0.6)
    ring = page.js("$('ring').offsetWidth")
    assert ring == pytest.approx(8 * scale, abs=1.5) and columns.max() - columns.min() + 1 == pytest.approx(8, abs=1)
    assert page.js("getComputedStyle($('frame')).imageRendering") == "pixelated"
    browser_key(page, "f")
    assert page.at("mask").rect["width"] == pytest.approx(stage["width"], abs=1)


def test_objects_are_named_coloured_hidden_locked_ordered_and_deleted(opened):
    page, client, session = opened
    page.js("pick('brush')")
    page.draw([(50, 50), (90, 50)])
    page.js("$('add').click()")
    page.draw([(50, 90), (90, 90)])
    row = "#objects [data-object='{}'] "

    def button(object, name):
        return page.browser.find_element("css selector", f"{row.format(object)}[aria-label^='{name}']")

    name = button(1, "Name")
    name.send_keys("van\n")
    page.until(lambda: client.get(session)["objects"][0]["name"] == "van")
    button(1, "Lock").click()
    page.draw([(70, 30), (70, 90)])  # object 2, across the locked object 1
    ids = page.ids()
    assert ids[50, 70] == 1 and ids[70, 70] == 2
    button(1, "Move van down").click()
    page.until(lambda: [one["id"] for one in client.get(session)["objects"]] == [2, 1])
    button(2, "Hide").click()
    alpha = "$('mask').getContext('2d').getImageData({}, {}, 1, 1).data[3]"
    assert page.js(alpha.format(70, 70)) == 0 and page.js(alpha.format(50, 50)) > 0
    button(2, "Delete").click()
    page.until(lambda: not (page.ids() == 2).any())
    assert (client.ids(f"{session}/annotations/0", SIZE) == 2).any()  # until it is sure
    page.browser.refresh()
    page.opened()
    assert page.js("listed().map((one) => one.name)") == ["van"] and not (page.ids() == 2).any()
    page.click("go")
    page.idle()
    assert page.js("state.run.objects") == [1]
    page.until(
        lambda: page.js("$('objects').querySelector('canvas').getContext('2d').getImageData(2, 15, 1, 1).data[3]")
    )
    page.js("goTo(0)")
    page.click("undelete")
    page.until(lambda: np.array_equal(page.ids(), ids))


def test_the_keyboard_goes_through_the_video(opened):
    page, client, session = opened
    ids = np.zeros(SIZE, np.uint8)
    ids[40:80, 40:80] = 1
    client.ask("PUT", f"{session}/annotations/2", ids.tobytes())
    page.js("refresh()")
    for key, index in (
        ("End", 7),
        ("Home", 0),
        ("ArrowDown", 2),
        ("ArrowRight", 3),
        ("ArrowUp", 2),
        ("PageDown", 7),
        ("PageUp", 0),
    ):
        browser_key(page, key)
        page.until(lambda index=index: page.js("seen.k") == index, 10)
    browser_key(page, "2")
    assert page.js("object") == 2
    browser_key(page, "?")
    assert page.at("help").is_displayed()
    page.js("$('help').close()")
    page.js("$('speed').value = 4")
    browser_key(page, " ")
    page.until(lambda: page.js("seen.k") > 0, 20)
    browser_key(page, " ")
    page.until(lambda: not page.js("playing"))
    page.js("($('steps').value = 1, $('steps').oninput())")
    page.js("goTo(2)")
    page.click("go")
    page.idle()
    assert page.js("state.run.steps") == 1 and page.at("steps").get_attribute("value") == "1"
    page.until(lambda: "uncertain" in page.at("marks").get_attribute("aria-label"))
    for element in page.browser.find_elements("css selector", "button, canvas, input, select"):
        named = element.accessible_name
        assert named or not element.is_displayed(), element.get_attribute("outerHTML")


def test_a_mask_file_is_loaded_onto_the_frame_shown_and_can_be_undone(opened, tmp_path):
    from eosvos.data.mask_files.tool_json import write_labelme

    page, client, session = opened
    page.js("pick('brush')")
    page.draw([(50, 50), (90, 50)])
    painted = page.ids()
    file = np.zeros(SIZE, np.uint8)
    file[40:60, 60:120], file[100:140, 200:300] = 2, 5
    write_labelme(tmp_path, [(CLIP.frame_names[0], file)], labels={2: "cat 2", 5: "dog 5"})
    page.at("mask-file").send_keys(str(tmp_path / f"{CLIP.frame_names[0]}.json"))
    page.until(lambda: "Undo takes it back" in page.at("message").text)
    saved(page)
    both = np.where(file, file, painted)
    assert np.array_equal(page.ids(), both) and absent(client, session, 0) == ""
    assert np.array_equal(client.ids(f"{session}/annotations/0", SIZE), both)
    assert [one["name"] for one in client.get(session)["objects"] if one["id"] in (2, 5)] == ["cat 2", "dog 5"]
    page.click("undo")
    saved(page)
    page.until(lambda: np.array_equal(page.ids(), painted))

    page.js("(goTo(2), 0)")
    page.until(lambda: page.js("seen.k") == 2)
    Image.fromarray(np.uint8(file == 5) * 255).save(tmp_path / "white.png")
    page.js("choose(5)")
    page.at("mask-file").send_keys(str(tmp_path / "white.png"))
    page.until(lambda: "taken for object 5, the chosen one" in page.at("message").text)
    saved(page)
    assert np.array_equal(client.ids(f"{session}/annotations/2", SIZE), np.where(file == 5, 5, 0))
    assert "tells where dog 5 is, and nothing of other objects" in page.at("hint").text
    Image.fromarray(file[:9]).save(tmp_path / "small.png")
    page.at("mask-file").send_keys(str(tmp_path / "small.png"))
    page.until(lambda: "small.png: is 432x9 pixels" in page.at("message").text)
    assert client.get(session)["annotated"] == [0, 2]
    assert all("400" in entry["message"] for entry in page.browser.get_log("browser"))  # the refusal alone


def test_a_long_video_has_few_thumbnails_and_nothing_moves_when_they_come(browser, make, tmp_path):
    from eosvos.page.sessions import Sessions

    (tmp_path / "long").mkdir()
    for k in range(500):
        Image.new("RGB", (80, 48), (k // 2, 255 - k // 2, 60)).save(tmp_path / "long" / f"{k:03d}.png")
    id, page = Sessions(tmp_path / "app").refer(tmp_path / "long").id, Page(browser)
    asked = "performance.getEntriesByType('resource').map((one) => one.name).filter((name) => name.includes('/thumb'))"
    with served(tmp_path / "app", make) as client:
        browser.get(f"http://127.0.0.1:{client.port}/#{id}/0")
        page.opened()
        before = [page.at(name).rect for name in ("thumbs", "marks", "transport", "stage")]
        page.until(lambda: page.js("$('thumbs').children.length === $('thumbs').querySelectorAll('img').length"))
        assert [page.at(name).rect for name in ("thumbs", "marks", "transport", "stage")] == before
        frames = [int(name.rsplit("/", 1)[1]) for name in page.js(asked) if "thumbnails" in name]
        assert 8 <= len(frames) <= 24 and len(set(frames)) == len(frames)
        gaps = np.diff([-frames[0], *frames, 999 - frames[-1]])
        assert gaps.min() > 0.8 * gaps.max()  # over the whole timeline
        page.js("(goTo(3), goTo(4), refresh(), 0)")
        page.until(lambda: page.js("seen.k") == 4)
        page.at("thumbs").click()  # in its middle
        page.until(lambda: abs(page.js("seen.k") - 250) < 2)
        assert len([name for name in page.js(asked) if "thumbnails" in name]) == len(frames)
        assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_a_browser_comes_in_by_the_token_and_finds_its_own_sessions(browser, make, tmp_path):
    page = Page(browser)
    with served(tmp_path / "app", make, sample=CLIP, token="a-token-of-20-chars-") as client:
        address = f"http://127.0.0.1:{client.port}/"
        browser.get(address)
        page.until(lambda: "wants its token" in page.at("message").text)
        browser.get(f"{address}?token=a-token-of-20-chars-")
        page.until(lambda: page.at("sample").is_displayed() and browser.current_url == address)
        cookie = browser.get_cookies()[0]
        assert cookie["httpOnly"] and cookie["sameSite"] == "Strict"
        other = {"Cookie": f"{cookie['name']}={cookie['value']}"}
        assert client.send("POST", "/api/sample", None, other)[0] == 200
        page.click("sample")
        page.until(lambda: "#" in browser.current_url and page.at("work").is_displayed())
        page.opened()
        id = page.js("id")
        browser.get("about:blank")
        browser.get(address)
        page.until(lambda: len(browser.find_elements("css selector", "#sessions li")) == 1)
        assert id in browser.find_element("css selector", "#sessions a").get_attribute("href")
