"""How many presses and seconds it takes in the page to annotate, run, correct twice and export.

    python benchmarks/page_task.py [--data-root /data/DAVIS-2016] [--sequence car-turn] [--frames 40] [--iters 50]
                                   [--first box|brush] [--checkout FOLDER]

Chromium is driven on the page that `python -m eosvos.app` serves, of this checkout or of another one, by the mouse
alone; a hand is played that knows the true mask and moves the pointer by `--speed` pixels of the screen a second.
Without --data-root the clip is a synthetic one.

- --first box: a box around the object; then points, at most three, each in the middle of the largest wrong region,
  until J of the mask is 0.9.
- --first brush: strokes from left to right, row by row, with a brush that nowhere leaves the object; then smaller
  ones for the rest, until J is 0.9. The page before had this way alone (and the outline).
- twice: jump to the suggested frame, correct it (by points, or by brush and eraser) until J is 0.9, refine. Where a
  point makes the mask worse it is undone, and the brush taken.
- export: masks and overlay video, as the page proposes.

Told for each step: presses (clicks, drags and strokes), the pointer's way while it is pressed, the seconds of the hand
with the page's answers, and those of waiting for the server. J is the mean over all frames but the first.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "page")]

from browsers import chromium, missing  # noqa: E402
from crowd import png  # noqa: E402
from first_mask import worst_point  # noqa: E402
from pages import Client  # noqa: E402
from PIL import Image  # noqa: E402

from eosvos.data.masks import jaccard  # noqa: E402
from eosvos.data.readers.davis import open_davis  # noqa: E402
from eosvos.data.synthetic.videos import held_out  # noqa: E402

GOOD, POINTS = 0.9, 3  # J that the hand is content with; points of a frame at most
PATIENCE = 1800  # seconds for a run

Way = Sequence[tuple[float, float]]


class Hand:
    """A mouse on the page, its presses and its seconds counted by step."""

    def __init__(self, browser: Any, client: Client, speed: float) -> None:
        self.browser, self.client, self.speed = browser, client, speed
        self.rows: list[list[Any]] = []
        self.session, self.size = "", (0, 0)

    def begin(self, step: str) -> None:
        self.rows.append([step, 0, 0.0, 0.0, 0.0])

    @contextmanager
    def timed(self, column: int) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.rows[-1][column] += time.monotonic() - began

    def until(self, held: Callable[[], Any], seconds: float = PATIENCE) -> None:
        from selenium.common.exceptions import StaleElementReferenceException

        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if held():
                    return
            except StaleElementReferenceException:  # the page is changing
                pass
            time.sleep(0.05)
        raise AssertionError(self.browser.find_element("id", "message").text or "the page does not go on")

    def click(self, selector: str) -> None:
        with self.timed(3):
            one = self.browser.find_element("css selector", selector)
            self.until(lambda: one.is_enabled() and one.is_displayed(), 60)
            self.rows[-1][1] += 1
            one.click()

    def stroke(self, way: Way) -> None:
        """Press the mouse at the first point (x, y) of the frame, and draw."""
        from selenium.webdriver import ActionChains

        self.browser.execute_script("scrollTo(0, 0)")
        canvas = self.browser.find_element("id", "mask")
        box, before = canvas.rect, self.version()
        scale = box["width"] / self.size[1]
        pressed = scale * sum(float(np.hypot(*np.subtract(a, b))) for a, b in zip(way, way[1:], strict=False))
        actions = ActionChains(self.browser, duration=20)
        for number, (x, y) in enumerate(way):
            place = (round(x * scale - box["width"] / 2), round(y * scale - box["height"] / 2))
            actions.move_to_element_with_offset(canvas, *place)
            if number == 0:
                actions.click_and_hold()
        with self.timed(3):
            began = time.monotonic()
            actions.release().perform()
            time.sleep(max(0.0, pressed / self.speed - (time.monotonic() - began)))
            self.until(lambda: self.version() != before, 60)
        self.rows[-1][1] += 1
        self.rows[-1][2] += pressed

    def undo(self) -> None:
        before = self.version()
        self.click("#undo")
        with self.timed(3):
            self.until(lambda: self.version() != before, 60)

    def state(self) -> dict[str, Any]:
        return self.client.get(self.session)

    def version(self) -> str | None:
        return self.state()["versions"].get(str(self.index()))

    def index(self) -> int:
        """The frame that is shown; the address has it."""
        return int(self.browser.current_url.rpartition("/")[2])

    def brush(self, radius: int) -> None:
        """Set the size of the brush."""
        with self.timed(3):
            change = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))"
            self.browser.execute_script(change, self.browser.find_element("id", "size"), radius)
        self.rows[-1][1] += 1

    def shown(self) -> np.ndarray:
        """The mask that the page shows, bool (H, W)."""
        state, index = self.state(), self.index()
        path = (
            f"annotations/{index}"
            if index in state["annotated"]
            else f"runs/{(state['run'] or {}).get('number')}/masks/{index}"
        )
        return self.client.ids(f"{self.session}/{path}", self.size) > 0

    def wait(self) -> None:
        """Wait for the run, or the export, that was started."""
        with self.timed(4):
            time.sleep(0.5)
            self.until(lambda: not self.state()["job"])


def zigzag(region: np.ndarray, radius: int) -> list[Way]:
    """Strokes of a brush that fill a region without leaving it, one for each part that is connected."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    core = cv2.erode(np.pad(region, radius + 1).astype(np.uint8), disc)[
        radius + 1 : -radius - 1, radius + 1 : -radius - 1
    ]
    strokes: list[list[tuple[float, float]]] = []
    step = max(1, round(1.4 * radius))
    for part in range(1, cv2.connectedComponents(core)[0]):
        inside = cv2.connectedComponents(core)[1] == part
        rows = np.flatnonzero(inside.any(1))
        way: list[tuple[float, float]] = []
        for turn, y in enumerate([*rows[::step], rows[-1]]):
            columns = np.flatnonzero(inside[y])
            ends = [(float(columns[0]), float(y)), (float(columns[-1]), float(y))]
            if np.diff(columns).max(initial=1) > 1:  # a gap: a stroke for each side of it
                strokes += [
                    [(float(run[0]), float(y)), (float(run[-1]), float(y))]
                    for run in np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1)
                ]
                continue
            way += ends[:: 1 if turn % 2 == 0 else -1]
        strokes += [way] if way else []
    return strokes


def by_brush(hand: Hand, truth: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Paint what is missing, and erase what is too much, with ever smaller brushes until it is good."""
    mask, radius = start, max(2, round(truth.shape[0] / 20))
    while jaccard(mask, truth) < GOOD and radius >= 2:
        hand.brush(radius)
        for tool, region in (("brush", truth), ("eraser", ~truth)):
            wrong = (truth & ~mask) if tool == "brush" else (mask & ~truth)
            strokes = [way for way in zigzag(region, radius) if covers(way, wrong, radius)] if wrong.any() else []
            if not strokes:
                continue
            hand.click(f"[data-tool={tool}]")
            for way in strokes:
                hand.stroke(way)
                mask = hand.shown()
                if jaccard(mask, truth) >= GOOD:
                    return mask
        radius = round(radius / 2)
    return mask


def covers(way: Way, wrong: np.ndarray, radius: int) -> bool:
    """Whether a fifth of what a stroke paints is wrong as yet."""
    plane = np.zeros(wrong.shape, np.uint8)
    cv2.polylines(plane, [np.round(way).astype(np.int32)], False, 1, 2 * radius + 1)
    return bool((wrong & (plane > 0)).sum() > 0.2 * plane.sum())


def by_points(hand: Hand, truth: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Click at what is most wrong until it is good; what a click makes worse is undone, and the brush taken."""
    mask, last = start, None
    for _ in range(POINTS):
        if jaccard(mask, truth) >= GOOD:
            break
        x, y, inside = worst_point(mask, truth)
        if inside != last:
            hand.click(f"[data-tool={'plus' if inside else 'minus'}]")
            last = inside
        hand.stroke([(x, y)])
        found = hand.shown()
        if jaccard(found, truth) < jaccard(mask, truth):
            hand.undo()
            return by_brush(hand, truth, mask)
        mask = found
    return mask


def task(hand: Hand, frames: Sequence[np.ndarray], truths: Sequence[np.ndarray], first: str) -> None:
    """The whole task."""
    correct = by_points if first == "box" else by_brush
    hand.begin("annotate")
    rows, columns = np.flatnonzero(truths[0].any(1)), np.flatnonzero(truths[0].any(0))
    mask = np.zeros_like(truths[0])
    if first == "box":
        hand.click("[data-tool=box]")
        hand.stroke([(columns[0], rows[0]), (columns[-1] + 1, rows[-1] + 1)])
        mask = hand.shown()
    mask = correct(hand, truths[0], mask)
    hand.rows[-1].append(f"J of this frame {jaccard(mask, truths[0]):.3f}")
    for number in range(3):
        hand.begin("run" if number == 0 else f"refine {number}")
        hand.click("#go")
        hand.wait()
        state = hand.state()
        assert state["run"]["state"] == "finished", state["run"]
        found = [
            hand.client.ids(f"{hand.session}/runs/{state['run']['number']}/masks/{k}", hand.size) > 0
            for k in range(len(frames))
        ]
        hand.rows[-1].append(
            f"mean J {np.mean([jaccard(*pair) for pair in zip(found[1:], truths[1:], strict=True)]):.3f}"
        )
        if number == 2:
            break
        hand.begin(f"correct {number + 1}")
        place = state["run"]["suggested"]
        assert place is not None, "no frame is suggested"
        hand.click("#suggested")
        with hand.timed(3):
            hand.until(lambda place=place: hand.index() == place, 60)
        mask = correct(hand, truths[place], found[place])
        before = jaccard(found[place], truths[place])
        hand.rows[-1].append(f"J of frame {place + 1} from {before:.3f} to {jaccard(mask, truths[place]):.3f}")
        if place not in hand.state()["annotated"]:  # good as it is; the result is no annotation
            hand.rows[-1][-1] += ", left as it is"
    hand.begin("export")
    hand.click("#export")
    hand.wait()
    with hand.timed(4):
        hand.until(lambda: hand.browser.find_element("id", "download").is_displayed(), 60)
    _, _, content = hand.client.send("GET", f"{hand.session}/runs/{hand.state()['finished']}/export")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        masks = [np.array(Image.open(io.BytesIO(archive.read(f"masks/{k:05d}.png")))) > 0 for k in range(len(frames))]
    hand.rows[-1].append(f"mean J {np.mean([jaccard(*pair) for pair in zip(masks[1:], truths[1:], strict=True)]):.3f}")


@contextmanager
def server(checkout: Path, folder: Path, iters: int) -> Iterator[Client]:
    """The page of a checkout, in a process of its own."""
    line = [sys.executable, "-m", "eosvos.app", f"folder={folder / 'app'}", "port=0", "device=cpu", f"iters={iters}"]
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, cwd=checkout, env=environment) as process:
        assert process.stdout is not None
        found = None
        while not found:
            text = process.stdout.readline()
            assert text, "the server has ended"
            found = re.search(r"http://127\.0\.0\.1:(\d+)/", text)
        yield Client(int(found[1]))
        process.kill()


def clip(given: argparse.Namespace) -> tuple[list[np.ndarray], list[np.ndarray], str]:
    if given.data_root is None:
        video, name = held_out("val", count=8, size=(360, 640), length=given.frames)[7], "synthetic"
    else:
        (video,), name = open_davis(given.data_root, year=2016, sequences=[given.sequence]), given.sequence
    count = min(given.frames, len(video))
    return [video.read_frame(k) for k in range(count)], [video.read_mask(k) == 1 for k in range(count)], name


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root")
    parser.add_argument("--sequence", default="car-turn")
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--iters", type=int, default=50, help="T, fine-tuning steps on each painted frame")
    parser.add_argument("--first", choices=["box", "brush"], default="box")
    parser.add_argument("--checkout", type=Path, default=ROOT)
    parser.add_argument("--speed", type=float, default=600, help="of the pointer, pixels of the screen a second")
    given = parser.parse_args()
    if reason := missing():
        print(reason, file=sys.stderr)
        return 2
    frames, truths, name = clip(given)
    with tempfile.TemporaryDirectory() as folder:
        with server(given.checkout.resolve(), Path(folder), given.iters) as client, chromium(Path(folder)) as browser:
            hand = Hand(browser, client, given.speed)
            hand.session = client.upload({f"{k:05d}.png": png(frame) for k, frame in enumerate(frames)}, name)
            hand.size = frames[0].shape[:2]
            browser.get(f"http://127.0.0.1:{client.port}/#{hand.session.rpartition('/')[2]}/0")
            hand.until(lambda: browser.find_element("id", "place").text, 60)
            time.sleep(1)
            task(hand, frames, truths, given.first)
    print(f"{name}, {len(frames)} frames of {hand.size[1]}x{hand.size[0]}, by {given.first}")
    print("| step | presses | way pressed, px | s of the hand | s of waiting | |\n|---|---|---|---|---|---|")
    totals = ["all", *(sum(row[column] for row in hand.rows) for column in (1, 2, 3, 4)), ""]
    for step, presses, way, own, waiting, told in [*hand.rows, totals]:
        print(f"| {step} | {presses} | {way:.0f} | {own:.1f} | {waiting:.1f} | {told} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
