"""Damaged files: valid ones, changed in a few places, and readers that may refuse them with a UserError only."""

from __future__ import annotations

import io
import json
import random
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from eosvos.data.image_files import check_file
from eosvos.data.images import read_image
from eosvos.data.mask_files.annotation_files import open_annotations
from eosvos.data.mask_files.cvat_export import write_cvat
from eosvos.data.mask_files.formats import open_masks
from eosvos.data.mask_files.json_files import write_json
from eosvos.data.mask_files.label_studio import write_label_studio
from eosvos.data.mask_files.rle import rle_encode
from eosvos.data.mask_files.tool_json import write_labelme
from eosvos.data.mask_files.yolo import write_yolo
from eosvos.data.palette import DAVIS_PALETTE
from eosvos.data.video.open import open_video
from eosvos.errors import UserError

NASTY = (
    None,
    True,
    -1,
    0,
    1,
    3,
    2**40,
    2**70,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "0",
    "a" * 30,
    "..",
    "ä\0",
    [],
    {},
    [[]],
    [0, 0],
    {"size": [9, 9], "counts": "0"},
    [[0, 0, 5, 5, 0, 5]],
    [[1e9] * 6],
)


def _mask() -> np.ndarray:
    mask = np.zeros((24, 30), np.uint8)
    mask[2:9, 3:11], mask[5:20, 14:25], mask[20, 20] = 1, 2, 7
    return mask


def images() -> list[tuple[str, bytes]]:
    """Masks in the forms that are read, and a photograph."""
    mask = _mask()
    palette, rng = Image.fromarray(mask), np.random.default_rng(0)
    palette.putpalette(DAVIS_PALETTE.tobytes())
    grey, colours = Image.fromarray(mask), Image.fromarray(DAVIS_PALETTE[mask])
    exif = Image.Exif()
    exif[0x0112] = 1
    pictures = [
        ("a.png", palette, {}),
        ("a.png", grey, {"exif": exif}),
        ("a.png", colours, {}),
        ("a.png", colours.convert("RGBA"), {}),
        ("a.png", Image.fromarray(mask > 0), {}),
        ("a.png", Image.fromarray(mask.astype(np.uint16)), {}),
        ("a.bmp", grey, {}),
        ("a.bmp", colours, {}),
        ("a.gif", palette, {}),
        ("a.tif", grey, {}),
        ("a.tif", colours, {"compression": "tiff_lzw"}),
        ("a.jpg", Image.fromarray(rng.integers(0, 256, (24, 30, 3), np.uint8)), {"exif": exif}),
    ]
    found = []
    for name, picture, settings in pictures:
        file = io.BytesIO()
        picture.save(file, format=Image.registered_extensions()[name[1:]], **settings)
        found.append((name, file.getvalue()))
    return found


def jsons(folder: Path) -> list[tuple[str, bytes]]:
    """Run-length masks as YouTube-VIS and COCO write them."""
    mask = _mask()
    write_json(folder / "made.json", [("00000", mask), ("00001", mask.T[:24, :24])][:1], video="v")
    images = [{"id": k, "file_name": f"v/{k:05d}.jpg", "height": 24, "width": 30} for k in range(2)]
    segments: list[Any] = [rle_encode(mask == 1), {"size": [24, 30], "counts": [60, 40, 620]}, [[1, 1, 9, 1, 9, 9]]]
    annotations = [{"id": k, "image_id": k % 2, "track_id": 1 + k, "segmentation": s} for k, s in enumerate(segments)]
    coco = json.dumps({"images": images, "annotations": annotations}).encode()
    return [("a.json", (folder / "made.json").read_bytes()), ("a.json", coco)]


def tool_files(folder: Path) -> list[tuple[str, bytes]]:
    """The same masks in files of annotation tools, and a video of CVAT."""
    masks, labels = [("00000", _mask())], {1: "bear"}
    write_cvat(folder / "made.xml", masks, video="v", labels=labels)
    write_label_studio(folder / "tasks.json", masks, video="v", labels=labels)
    write_labelme(folder / "labelme", masks, labels=labels)
    write_yolo(folder / "yolo", masks, labels=labels)
    track = (
        b"<annotations><meta><task><size>3</size><stop_frame>2</stop_frame><original_size><width>30</width><height>24"
        b'</height></original_size></task></meta><track id="0" label="bear"><polygon frame="0" keyframe="1" outside="0"'
        b' points="1.0,1.0;9.0,1.0;9.0,9.0" z_order="1"/><mask frame="2" keyframe="1" outside="0" rle="2, 4" left="3"'
        b' top="4" width="2" height="3" z_order="0"/></track></annotations>'
    )
    made = [folder / "made.xml", folder / "tasks.json", folder / "labelme/00000.json", folder / "yolo/00000.txt"]
    return [("b.xml", track), *(("b" + path.suffix, path.read_bytes()) for path in made)]


def videos(folder: Path) -> list[tuple[str, bytes]]:
    """Small films in several containers and codecs."""
    from data.films import film

    kinds: list[tuple[str, dict[str, Any]]] = [
        ("a.mp4", {"options": {"bf": "2", "g": "4"}}),
        ("b.mp4", {"movflags": "faststart"}),
        ("c.mp4", {"movflags": "frag_keyframe+empty_moov"}),
        ("a.mkv", {"options": {"g": "4"}}),
        ("a.mov", {}),
        ("a.avi", {"codec": "mpeg4"}),
        ("b.avi", {"codec": "mjpeg", "pixels": "yuvj420p"}),
        ("a.ts", {}),
        ("b.mkv", {"codec": "ffv1", "pixels": "bgr0"}),
        ("a.gif", {"codec": "gif", "pixels": "rgb8"}),
        ("a.webm", {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "deadline": "realtime"}}),
        ("a.flv", {}),
    ]
    return [(name, film(folder / name, count=9, size=(24, 96), **settings).read_bytes()) for name, settings in kinds]


def changed(seeds: list[tuple[str, bytes]]) -> st.SearchStrategy[tuple[str, bytes]]:
    """One of the files, with bits turned, bytes or numbers overwritten, parts cut, moved, doubled or put in."""

    def change(seed: tuple[str, bytes], number: int, times: int, mend: bool) -> tuple[str, bytes]:
        rng, content = random.Random(number), bytearray(seed[1])
        for _ in range(times):
            _change(rng, content)
        return seed[0], _mended(bytes(content)) if mend else bytes(content)

    return st.builds(change, st.sampled_from(seeds), st.integers(0, 2**64), st.integers(1, 4), st.booleans())


def _change(rng: random.Random, content: bytearray) -> None:
    size = max(len(content), 1)
    place = rng.randrange(rng.choice([min(size, 64), min(size, 600), size]))  # headers more often
    other, length = rng.randrange(size), rng.randrange(1, 1 + rng.choice([4, 40, size]))
    match rng.randrange(8):
        case 0:
            content[place : place + 1] = bytes([content[place] ^ 1 << rng.randrange(8)] if content else b"")
        case 1:
            content[place : place + 1] = bytes([rng.randrange(256)])
        case 2:
            value = rng.choice([0, 1, 2**31 - 1, 2**32 - 1, 2**16, rng.getrandbits(32)])
            content[place : place + 4] = value.to_bytes(4, rng.choice(["big", "little"]))
        case 3:
            del content[place:]
        case 4:
            del content[place : place + length]
        case 5:
            content[place:place] = content[other : other + length]
        case 6:
            content[place:place] = rng.randbytes(min(length, 40))
        case 7:
            low, high = sorted([place, other])
            part = min(length, (high - low) or 1)
            content[low : low + part], content[high : high + part] = (
                content[high : high + part],
                content[low : low + part],
            )


def _mended(content: bytes) -> bytes:
    """A PNG with right checksums, so that what is wrong is met behind them."""
    place, made = 8, bytearray(content)
    while content[:4] == b"\x89PNG" and place + 12 <= len(content):
        end = place + 8 + int.from_bytes(content[place : place + 4], "big")
        if end + 4 > len(content):
            break
        made[end : end + 4] = zlib.crc32(content[place + 4 : end]).to_bytes(4, "big")
        place = end + 4
    return bytes(made)


def rewritten(seeds: list[tuple[str, bytes]]) -> st.SearchStrategy[tuple[str, bytes]]:
    """One of the JSON files, with some of its values replaced."""

    def rewrite(seed: tuple[str, bytes], number: int, times: int) -> tuple[str, bytes]:
        rng, root = random.Random(number), [json.loads(seed[1])]
        for _ in range(times):
            node: Any = root
            while True:
                key = rng.choice(list(node) if isinstance(node, dict) else range(len(node)))
                if not isinstance(node[key], dict | list) or not node[key] or rng.random() < 0.15:
                    break
                node = node[key]
            if isinstance(node, dict) and rng.random() < 0.2:
                del node[key]
            else:
                value = rng.choice([*NASTY, *NASTY, *NASTY, root[0], "?o0" * 9])
                node[key] = json.loads(json.dumps(value))  # a copy
            if not root or not isinstance(root[0], dict | list) or not root[0]:
                break
        return seed[0], json.dumps(root[0] if root else None).encode()

    return st.builds(rewrite, st.sampled_from(seeds), st.integers(0, 2**64), st.integers(1, 3))


def read_as_masks(path: Path) -> None:
    """As a mask of its own, as the mask of one object, and as a frame."""
    for read in (lambda: open_masks([path]), lambda: open_masks([path], binary=True), lambda: _parts(path)):
        try:
            masks = read()
            for name in masks.files:
                mask = masks.read(name)
                assert mask.dtype == np.uint8 and mask.ndim == 2
        except UserError as error:
            assert str(path.parent) in str(error)
    check_file(path)
    assert read_image(path).shape[2] == 3


def _parts(path: Path) -> Any:
    part = path.with_stem("0_1")
    path.rename(part)
    try:
        return open_masks([part], ["0"])
    finally:
        part.rename(path)


def read_as_json(path: Path) -> None:
    for masks in open_annotations(path, size=(24, 30)).values():
        for name in masks.files:
            try:
                mask = masks.read(name)
                assert mask.dtype == np.uint8 and mask.ndim == 2
            except UserError as error:
                assert str(path.parent) in str(error)


def read_as_video(path: Path) -> None:
    video = open_video(path)
    for index in {0, len(video) - 1, len(video) // 2, min(3, len(video) - 1)}:
        try:
            frame = video.read_frame(index)
            assert frame.dtype == np.uint8 and frame.shape == (*video.size, 3)
        except UserError as error:
            assert str(path.parent) in str(error)
    if container := getattr(video.read_frame, "_container", None):  # a stack of images has none
        container.close()


READERS: dict[str, Callable[[Path], None]] = {
    "masks": read_as_masks,
    "json": read_as_json,
    "values": read_as_json,
    "videos": read_as_video,
}


def strategy(kind: str, folder: Path) -> st.SearchStrategy[tuple[str, bytes]]:
    """Files for READERS[kind]; `folder`: for files that are needed to make them."""
    if kind == "masks":
        return changed(images())
    if kind == "videos":
        return changed(videos(folder))
    return changed([*jsons(folder), *tool_files(folder)]) if kind == "json" else rewritten(jsons(folder))


def survives(kind: str, folder: Path, name: str, content: bytes) -> bool:
    """Read a file; whether it was read, not refused. Raises whatever else than UserError comes of it."""
    path = folder / name
    path.write_bytes(content)
    try:
        READERS[kind](path)
    except UserError as error:
        assert str(folder) in str(error), f"the message does not name the file: {error}"
        return False
    return True
