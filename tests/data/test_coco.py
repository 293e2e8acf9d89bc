"""COCO instances: what is decoded equals pycocotools, what is drawn is what the settings allow."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from eosvos.data.masks import VOID
from eosvos.data.readers.coco import open_coco
from eosvos.data.sequence import content
from eosvos.data.tasks import VideoTaskset
from eosvos.errors import UserError

SIZE = (60, 100)


def box(x: int, y: int, width: int, height: int, **more) -> dict:
    corners = [x, y, x + width, y, x + width, y + height, x, y + height]
    return {"segmentation": [corners], "bbox": [x, y, width, height], "area": width * height, "iscrowd": 0, **more}


def crowd(x: int, y: int, width: int, height: int) -> dict:
    layer = np.zeros(SIZE, np.uint8, order="F")
    layer[y : y + height, x : x + width] = 1
    flat = layer.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *edges.tolist(), flat.size]).tolist()  # COCO's own uncompressed code
    return box(x, y, width, height, segmentation={"size": list(SIZE), "counts": counts}, iscrowd=1)


def write(root: Path, annotations: dict[str, list[dict]], split: str | None = None) -> Path:
    images = root / ("images" if split is None else split)
    file = root / ("instances.json" if split is None else f"annotations/instances_{split}.json")
    images.mkdir(parents=True)
    file.parent.mkdir(exist_ok=True)
    rows, all_of_them = [], []
    for number, (name, these) in enumerate(annotations.items(), 1):
        Image.fromarray(np.full((*SIZE, 3), 50 * number, np.uint8)).save(images / f"{name}.jpg")
        rows.append({"id": number, "file_name": f"{name}.jpg", "height": SIZE[0], "width": SIZE[1]})
        for one in these:
            all_of_them.append({"id": len(all_of_them) + 1, "image_id": number, "category_id": 1, **one})
    file.write_text(
        json.dumps({"images": rows, "annotations": all_of_them, "categories": [{"id": 1, "name": "cat"}, {"id": 2}]})
    )
    return root


BIG, SMALL, TINY, EDGE, CROWD = box(10, 10, 40, 30), box(40, 30, 20, 20), box(70, 5, 3, 3), box(80, 20, 20, 20), None


@pytest.fixture
def root(tmp_path) -> Path:
    return write(tmp_path, {"one": [TINY, SMALL, BIG, EDGE, crowd(5, 45, 30, 10)], "none": [], "edge": [EDGE]})


def test_other_masks_or_images_under_the_same_names_are_told(tmp_path):
    this = content(open_coco(write(tmp_path / "a", {"one": [BIG, SMALL]})))
    assert content(open_coco(write(tmp_path / "b", {"one": [BIG, SMALL]}))) == this
    assert content(open_coco(write(tmp_path / "c", {"one": [BIG, box(41, 30, 20, 20)]}))) != this
    other = write(tmp_path / "d", {"one": [BIG, SMALL]})
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)).save(other / "images" / "one.jpg")
    assert content(open_coco(other)) != this


def test_objects_have_their_class_where_the_file_names_it(tmp_path):
    (one,) = open_coco(write(tmp_path / "named", {"one": [BIG, SMALL | {"category_id": 2}]}))
    assert one.categories == {1: "cat"}


def test_ids_by_falling_area_the_smaller_in_front_crowds_void(root):
    one, edge = open_coco(root)  # an image without an object to draw is left out
    assert (one.name, edge.name) == ("one", "edge") and one.size == SIZE and len(one) == 1
    assert one.frame(0).shape == (3, *SIZE)
    expected = np.zeros(SIZE, np.uint8)
    for number, (x, y, w, h) in (
        (VOID, (5, 45, 30, 10)),
        (1, (10, 10, 40, 30)),
        (2, (40, 30, 20, 20)),
        (3, (80, 20, 20, 20)),
        (4, (70, 5, 3, 3)),
    ):
        expected[y : y + h, x : x + w] = number
    assert (one.mask(0) == expected).all()


@pytest.mark.parametrize(
    ("settings", "drawn"),
    [
        ({}, {1, 2, 3}),  # the tiny one covers 0.15 % of the image
        ({"min_area": 0}, {1, 2, 3, 4}),
        ({"min_area": 0.1}, {1}),
        ({"border": False}, {1, 2}),
        ({"crowd": True, "min_area": 0}, {1, 2, 3, 4, 5}),
    ],
)
def test_settings_choose_what_is_drawn_and_leave_the_mask_whole(root, settings, drawn):
    one = open_coco(root, **settings)[0]
    assert set(one.first_frame) == drawn
    shown = set(np.unique(one.mask(0))) - {0}
    assert shown == ({1, 2, 3, 4, 5} if "crowd" in settings else {1, 2, 3, 4, VOID})
    tasks = [VideoTaskset([one], size=SIZE, min_area=settings.get("min_area", 0.002)).task(0, i, 0) for i in range(20)]
    assert {task.object_id for task in tasks} <= drawn


def test_pictures_have_all_objects_and_ignore_crowds(root):
    one = open_coco(root)[0]
    still = {"scale": (1.0, 1.0), "rotation": 0.0, "translation": 0.0, "flip": False, "colour": 0.0}
    picture = VideoTaskset([one], size=SIZE, transform=still).image(0, 0, 0)
    assert len(picture.masks) == 3 and picture.ignore is not None  # the tiny one is less than 16 pixels
    assert picture.ignore[50, 15] and picture.ignore[6, 71] and not picture.ignore[15, 15]


def test_the_layout_of_the_distribution(tmp_path):
    root = write(tmp_path, {"000000000009": [BIG]}, split="train2017")
    assert [s.name for s in open_coco(root, split="train2017")] == ["000000000009"]
    (root / "images").mkdir()
    (root / "train2017").rename(root / "images" / "train2017")
    assert open_coco(root, split="train2017", sequences=["000000000009"])[0].first_frame == {1: 0}


@pytest.mark.parametrize(
    ("harm", "settings", "said"),
    [
        (lambda root: (root / "instances.json").unlink(), {}, ["instances.json: no such file", "split=SPLIT"]),
        (lambda root: (root / "instances.json").write_text("{"), {}, ["instances.json: not COCO"]),
        (
            lambda root: (root / "instances.json").write_text('{"images": [{"id": 1}], "annotations": []}'),
            {},
            ["instances.json: not COCO", "file_name"],
        ),
        (lambda root: (root / "images" / "edge.jpg").unlink(), {}, ["1 of the 3 images", "edge.jpg"]),
        (lambda root: None, {"sequences": ["two"]}, ["sequences=two"]),
        (lambda root: None, {"min_area": 0.9}, ["no object is left", "min_area=0.9"]),
    ],
)
def test_what_is_wrong_is_named(root, harm, settings, said, capsys):
    harm(root)
    with pytest.raises(UserError) as caught:
        open_coco(root, **settings)
    assert all(part in str(caught.value) for part in said), caught.value
    assert capsys.readouterr().out == ""


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # of pycocotools 2.0.11 with NumPy 2
def test_real_masks_equal_those_of_pycocotools(shared_data):
    found = open_coco(shared_data / "COCO-500", min_area=0.01)
    assert 300 < len(found) <= 500
    data = json.loads((shared_data / "COCO-500" / "instances.json").read_text())
    ids = {Path(image["file_name"]).stem: image["id"] for image in data["images"]}
    for still in found[::60]:
        single = [a for a in data["annotations"] if a["image_id"] == ids[still.name] and not a["iscrowd"]]
        single.sort(key=lambda a: -a["area"])
        mask, taken = still.mask(0), np.zeros(still.size, bool)
        for number in range(len(single), 0, -1):  # from the front to the back
            codes = coco_mask.frPyObjects(single[number - 1]["segmentation"], *still.size)
            layer = coco_mask.decode(codes).any(2)
            assert ((mask == number) == (layer & ~taken)).all()
            taken |= layer
        assert still.read_frame(0).shape == (*still.size, 3)
