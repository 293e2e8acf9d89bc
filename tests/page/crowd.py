"""Sessions that are driven side by side, each of which must get its own frames and masks back, bit for bit."""

from __future__ import annotations

import io
import json
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from pages import Client
from PIL import Image

SIZE, LENGTH = (48, 80), 4
PATIENCE = 1800  # seconds, for the run of one session among all


@dataclass
class Kept:
    """What a session holds, as the one who made it knows."""

    address: str
    frames: list[bytes]
    painted: dict[int, np.ndarray] = field(default_factory=dict)
    objects: list[dict[str, Any]] = field(default_factory=list)
    masks: list[np.ndarray] = field(default_factory=list)
    export: bytes = b""


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def pictures(number: int) -> list[np.ndarray]:
    """Frames that no other session has: coarse noise, on which a brighter block moves."""
    rng = np.random.default_rng(number)
    frames = []
    for index in range(LENGTH):
        frame = cv2.resize(rng.integers(0, 120, (6, 10, 3), dtype=np.uint8), SIZE[::-1])
        frame[10:30, 10 + 4 * index : 40 + 4 * index] += 100
        frames.append(frame)
    return frames


def drive(client: Client, number: int) -> Kept:
    """Upload, paint, run, correct, run again and export, as a user does. Raises AssertionError for a wrong answer."""
    frames, rng = pictures(number), np.random.default_rng([number, 1])
    address = client.upload({f"{k:03d}.png": png(frame) for k, frame in enumerate(frames)}, f"session {number}")
    coded = [cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes() for frame in frames]
    kept = Kept(address, coded)
    ids = 1 + (number + np.array([0, 100])) % 254
    paint(client, kept, 0, ids, rng)
    kept.objects = [
        {"id": int(i), "name": f"{number}/{i}", "colour": "", "hidden": False, "locked": False, "deleted": False}
        for i in ids
    ]
    client.ask("PUT", f"{address}/objects", {"objects": kept.objects})
    run(client, kept, 1)
    paint(client, kept, 2, ids[:1], rng)
    run(client, kept, 2)
    client.ask("POST", f"{address}/runs/2/export", {"outputs": ["json"]})
    wait(client, address)
    kept.export = client.send("GET", f"{address}/runs/2/export")[2]
    check(client, kept)
    return kept


def paint(client: Client, kept: Kept, index: int, ids: np.ndarray, rng: np.random.Generator) -> None:
    mask = np.zeros(SIZE, np.uint8)
    for place, id in enumerate(ids):
        top, left = rng.integers(2, 20), 5 + 36 * place + rng.integers(0, 8)
        mask[top : top + 20, left : left + 24] = id
    client.ask("PUT", f"{kept.address}/annotations/{index}", mask.tobytes())
    kept.painted[index] = mask


def run(client: Client, kept: Kept, number: int) -> None:
    client.ask("POST", f"{kept.address}/run", {"steps": 1})
    found = wait(client, kept.address)["run"]
    assert (found["number"], found["state"], found["frames"]) == (number, "finished", sorted(kept.painted)), found
    assert found["objects"] == sorted({int(i) for mask in kept.painted.values() for i in np.unique(mask) if i})
    kept.masks = [client.ids(f"{kept.address}/runs/{number}/masks/{k}", SIZE) for k in range(LENGTH)]


def wait(client: Client, address: str) -> dict[str, Any]:
    end = time.monotonic() + PATIENCE
    while (state := client.get(address))["job"] and time.monotonic() < end:
        time.sleep(0.4)  # as the page asks
    assert not state["job"] and not state["failure"], state
    return state


def check(client: Client, kept: Kept) -> None:
    """Check that a session still holds all that it is to hold."""
    state = client.get(kept.address)
    assert state["frames"] == LENGTH and state["annotated"] == sorted(kept.painted), state
    assert state["objects"] == kept.objects and state["run"]["state"] == "finished", state
    for index, frame in enumerate(kept.frames):
        assert client.send("GET", f"{kept.address}/frames/{index}")[2] == frame, f"frame {index} is another one"
    for index, mask in kept.painted.items():
        assert np.array_equal(client.ids(f"{kept.address}/annotations/{index}", SIZE), mask), index
    for index, mask in enumerate(kept.masks):
        assert np.array_equal(client.ids(f"{kept.address}/runs/2/masks/{index}", SIZE), mask), index
    assert client.send("GET", f"{kept.address}/runs/2/export")[2] == kept.export
    with zipfile.ZipFile(io.BytesIO(kept.export)) as archive:
        assert archive.testzip() is None and json.loads(archive.read("masks.json"))["annotations"]
        for index, mask in enumerate(kept.masks):
            exported = np.array(Image.open(io.BytesIO(archive.read(f"masks/{index:03d}.png"))))
            own = kept.painted.get(index)
            shown = mask if own is None else np.where(own > 0, own, np.where(np.isin(mask, own), 0, mask))
            assert np.array_equal(exported, shown), f"frame {index} is exported otherwise than shown"


def crowd(client: Client, count: int) -> list[Kept]:
    """Drive so many sessions side by side; the first one again, alone: it must give the same masks."""
    with ThreadPoolExecutor(count) as pool:
        sessions = list(pool.map(lambda number: drive(client, number), range(count)))
    alone = drive(client, 0)
    assert all(np.array_equal(*pair) for pair in zip(alone.masks, sessions[0].masks, strict=True))
    for one in sessions:
        check(client, one)
    return [*sessions, alone]
