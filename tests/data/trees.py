"""Small data sets in exactly the layouts they are published in, two videos each, for tests to open and to break."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from eosvos.data.masks import write_mask
from eosvos.data.readers.davis import open_davis
from eosvos.data.readers.lvos import open_lvos
from eosvos.data.readers.mose import open_mose
from eosvos.data.readers.sav import open_sav
from eosvos.data.readers.segtrack import open_segtrack
from eosvos.data.readers.youtube_objects import open_youtube_objects
from eosvos.data.readers.youtube_vos import open_youtube_vos
from eosvos.data.sequence import VideoSequence

SIZE = (36, 64)
VIDEOS = ("a video", "über")


@dataclass
class Tree:
    """`root`: what a user gives; `images`, `masks`: files of the first video; `late`: an object comes with a later
    frame; `reads`: masks that are read to open it."""

    root: Path
    open: Callable[..., list[VideoSequence]]
    images: Path
    masks: Path
    late: bool = False
    reads: int = 0


def mask_of(ids: Iterable[int], shift: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Object i is a rectangle at a place of its own."""
    mask = np.zeros(size, np.uint8)
    for i in ids:
        mask[8:20, 12 * i + shift : 12 * i + 10 + shift] = i
    return mask


def layer(path: Path, mask: np.ndarray, mode: str = "RGB") -> None:
    """A bool mask as a black and white picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).convert(mode).save(path)


def frames(folder: Path, names: Iterable[str], size: tuple[int, int] = SIZE) -> None:
    """Grey frames, each of its own brightness."""
    folder.mkdir(parents=True, exist_ok=True)
    for k, name in enumerate(names):
        Image.new("RGB", size[::-1], (10 * k,) * 3).save(folder / name)


def davis(root: Path, year: int) -> Tree:
    base = root / "my data"
    for name in VIDEOS:
        frames(base / "JPEGImages/480p" / name, [f"{k:05d}.jpg" for k in range(5)])
        for k in range(5):
            mask = mask_of((1, 3), k)
            write_mask(base / f"Annotations/480p/{name}/{k:05d}.png", np.where(mask, 255, 0) if year == 2016 else mask)
    return Tree(
        base,
        partial(open_davis, year=year, sequences=VIDEOS),
        *_places(base, "JPEGImages/480p", "Annotations/480p"),
        reads=2,
    )


def youtube_vos(
    root: Path, split: str = "train", videos: Iterable[str] = VIDEOS, category: str | None = "fish"
) -> Tree:
    """Objects 1 and 4 from the first frame on, 2 from the third on; valid shows each on its first frame only."""
    base = root / "my data"
    meta: dict[str, Any] = {}
    shown = {0: (1, 4), 5: (1, 4), 10: (1, 2, 4), 15: (2,)}
    given = shown if split == "train" else {0: (1, 4), 10: (2,)}
    for name in videos:
        frames(base / split / "JPEGImages" / name, [f"{k:05d}.jpg" for k in shown])
        for k, ids in given.items():
            write_mask(base / split / "Annotations" / name / f"{k:05d}.png", mask_of(ids))
        objects: dict[str, Any] = {}
        for k, ids in shown.items():
            for i in ids:
                objects.setdefault(str(i), {"frames": []})["frames"].append(f"{k:05d}")
        for entry in objects.values() if category else ():
            entry["category"] = category
        meta[name] = {"objects": objects}
    (base / split / "meta.json").write_text(json.dumps({"videos": meta}))
    places = _places(base / split, "JPEGImages", "Annotations")
    return Tree(base, partial(open_youtube_vos, split=split), *places, late=True)


def mose(root: Path, split: str = "train", meta: bool = True) -> Tree:
    base = root / "my data"
    for name in VIDEOS:
        frames(base / split / "JPEGImages" / name, [f"{k:05d}.jpg" for k in range(5)])
        for k in range(5 if split == "train" else 1):
            write_mask(base / split / f"Annotations/{name}/{k:05d}.png", mask_of((1, 3) if k < 2 else (1, 2, 3)))
    if meta:
        ids = ["1", "2", "3"] if split == "train" else ["1", "3"]
        videos = {name: {"length": 5, "height": 36, "width": 64, "objects": ids} for name in VIDEOS}
        (base / f"meta_{split}.json").write_text(json.dumps({"videos": videos}))
    places = _places(base / split, "JPEGImages", "Annotations")
    return Tree(base, partial(open_mose, split=split), *places, late=meta, reads=6)


def lvos(root: Path, split: str = "val", videos: Iterable[str] = VIDEOS) -> Tree:
    """Frames 1, 6, ..., 31; object 1 is there from the first to the fifth, object 2 comes with the fourth."""
    base = root / "my data"
    numbers = range(1, 32, 5)
    ranges = {"1": {"start": "00000001", "end": "00000026", "frame_nums": 5}, "2": {"start": 16, "end": 36}}
    for name in videos:
        frames(base / split / "JPEGImages" / name, [f"{k:08d}.jpg" for k in numbers])
        for k in numbers if split != "test" else (1, 16):
            ids = (1,) if k < 16 else (1, 2) if k < 26 else (2,)
            write_mask(
                base / split / "Annotations" / name / f"{k:08d}.png", mask_of(ids if split != "test" else ids[-1:])
            )
    meta = {name: {"objects": {i: {"frame_range": ends} for i, ends in ranges.items()}} for name in videos}
    (base / split / f"{split}_meta.json").write_text(json.dumps({"videos": meta}))
    places = _places(base / split, "JPEGImages", "Annotations")
    return Tree(base, partial(open_lvos, split=split), *places, late=True)


def sav(root: Path, split: str = "val") -> Tree:
    """Every frame, every fourth annotated; two objects, the second from the third annotated frame on."""
    base = root / "my data"
    images, masks = (f"sav_{split}/{kind}" for kind in ("JPEGImages_24fps", "Annotations_6fps"))
    for name in VIDEOS:
        frames(base / images / name, [f"{k:05d}.jpg" for k in range(14)])
        for k in range(0, 14, 4):
            write_mask(base / masks / name / f"000/{k:05d}.png", mask_of((1,)))
            write_mask(base / masks / name / f"001/{k:05d}.png", mask_of((2,) if k >= 8 else ()) > 0)
    (base / f"sav_{split}/sav_{split}.txt").write_text("\n".join(VIDEOS) + "\n", encoding="utf-8")
    image, mask = _places(base, images, masks)
    return Tree(base, partial(open_sav, split=split), image, mask / "000", late=True, reads=12)


def segtrack(root: Path) -> Tree:
    """The first sequence has two objects, frames as PNG, masks as BMP and as PNG; the second one object, all BMP."""
    base = root / "my data"
    for name, kind in zip(VIDEOS, (".png", ".bmp"), strict=True):
        frames(base / "JPEGImages" / name, [f"{name}_{k:05d}{kind}" for k in range(5)])
    for k in range(5):
        stem = f"{VIDEOS[0]}_{k:05d}"
        layer(base / "GroundTruth" / VIDEOS[0] / "1" / f"{stem}.bmp", mask_of((1,), k))
        layer(base / "GroundTruth" / VIDEOS[0] / "2" / f"{stem}.png", mask_of((2,), k))
        layer(base / "GroundTruth" / VIDEOS[1] / f"{VIDEOS[1]}_{k:05d}.bmp", mask_of((1,), k))
    image, mask = _places(base, "JPEGImages", "GroundTruth")
    return Tree(base, open_segtrack, image, mask / "1", reads=3)


def youtube_objects(root: Path) -> Tree:
    """Two shots of dogs, frames and masks of every tenth frame."""
    base = root / "my data"
    for name in VIDEOS:
        shot = base / "dog/data" / name / "shots/001"
        frames(shot / "images", [f"{k:05d}.png" for k in range(1, 52, 10)])
        for k in range(1, 52, 10):
            layer(shot / f"labels/{k:05d}.jpg", mask_of((1,), k // 10), "L")
    shot = base / "dog/data" / VIDEOS[0] / "shots/001"
    return Tree(base, open_youtube_objects, shot / "images", shot / "labels", reads=2)


def _places(base: Path, images: str, masks: str) -> tuple[Path, Path]:
    return base / images / VIDEOS[0], base / masks / VIDEOS[0]


TREES: dict[str, Callable[[Path], Tree]] = {
    "davis16": lambda root: davis(root, 2016),
    "davis17": lambda root: davis(root, 2017),
    "youtube-vos": youtube_vos,
    "mose": mose,
    "lvos": lvos,
    "sa-v": sav,
    "segtrack-v2": segtrack,
    "youtube-objects": youtube_objects,
}
