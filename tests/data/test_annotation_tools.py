"""JSON of annotation tools: read as they mean it, or refused with what to do."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from eosvos.data.mask_files.annotation_files import open_annotations
from eosvos.data.mask_files.rle import rle_encode
from eosvos.data.readers.user_video import annotated_frames, open_own
from eosvos.errors import UserError

SIZE = (24, 40)
LEFT, RIGHT = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
LEFT[3:12, 2:10], RIGHT[5:20, 20:33] = True, True


def square(mask: np.ndarray) -> list[float]:
    (y0, x0), (y1, x1) = np.argwhere(mask).min(0), np.argwhere(mask).max(0) + 1
    return [float(n) for n in (x0, y0, x1, y0, x1, y1, x0, y1)]


def counted(mask: np.ndarray) -> dict:
    flat = np.concatenate([[0], mask.T.ravel(), [0]]).astype(int)
    return {"size": list(SIZE), "counts": np.diff([0, *np.flatnonzero(np.diff(flat)), mask.size]).tolist()}


def coco(*annotations: tuple, names: str = "frame_{:06d}.PNG", count: int = 6, start: int = 0, **image: object) -> dict:
    """(image number, segmentation, more of the annotation)"""
    size = {"height": SIZE[0], "width": SIZE[1]}
    return {
        "images": [{"id": k + 1, "file_name": names.format(k + start), **size, **image} for k in range(count)],
        "categories": [{"id": 1, "name": "bear"}, {"id": 2, "name": "part"}],
        "annotations": [
            {
                "id": n,
                "image_id": k + 1,
                "category_id": 1,
                "segmentation": segment,
                "bbox": [1, 1, 5, 5],
                "iscrowd": 0,
                **more,
            }
            for n, (k, segment, more) in enumerate(annotations, 1)
        ],
    }


def track(number: object, **more: object) -> dict:
    return {"attributes": {"occluded": False, "track_id": number, "keyframe": True, **more}}


def opened(clip, content, **settings):
    (clip.parent / "m.json").write_text(json.dumps(content))
    return open_own(clip, masks=clip.parent / "m.json", **settings)[0]


TWO = [(0, [square(LEFT)], track(0)), (0, [square(RIGHT)], track(1)), (3, counted(RIGHT), track(1))]


@pytest.mark.parametrize(
    "kind",
    [
        "CVAT",
        "brush",
        "strings",
        "list",
        "extra",
        "string ids",
        "roboflow",
        "windows",
        "address",
        "folder",
        "encoded",
        "shuffled",
        "flat",
        "pairs",
        "floats",
        "compressed",
        "categories from 0",
        "from 1",
        "label studio",
    ],
)
def test_coco_of_tools(clip, said, kind):
    """Tracks 0 and 1 of the first image are objects 1 and 2; the fourth image shows the second."""
    two = [(k, segment, dict(more)) for k, segment, more in TWO]
    if kind == "brush":  # datumaro marks run-length codes by iscrowd
        two = [
            (k, counted(mask), {**more, "iscrowd": 1})
            for (k, _, more), mask in zip(two, (LEFT, RIGHT, RIGHT), strict=True)
        ]
    elif kind == "strings":
        two = [(k, s, track(f"{more['attributes']['track_id']}")) for k, s, more in two]
    elif kind == "list":
        two = [(k, s, {"attributes": [{"name": "Track ID", "value": m["attributes"]["track_id"]}]}) for k, s, m in two]
    elif kind == "extra":
        two = [(k, s, {"metadata": {"object_id": m["attributes"]["track_id"]}}) for k, s, m in two]
    elif kind == "flat":
        two[0] = (0, square(LEFT), two[0][2])
    elif kind == "pairs":
        two[0] = (0, np.reshape(square(LEFT), (-1, 2)).tolist(), two[0][2])
    elif kind == "floats":
        code = counted(RIGHT)
        two[2] = (3, {"size": [24.0, 40.0], "counts": [float(n) for n in code["counts"]]}, two[2][2])
    elif kind == "compressed":
        two[2] = (3, {"counts": rle_encode(RIGHT)["counts"]}, two[2][2])  # the image tells the size
    elif kind == "categories from 0":  # no tracks
        two = [(k, s, {"category_id": m["attributes"]["track_id"]}) for k, s, m in two]
    names = {
        "roboflow": "{:05d}_png.rf.8a7d99.jpg",
        "windows": "C:\\data\\clip\\{:05d}.png",
        "folder": "clip/{:05d}.png",
        "address": "https://host/b/clip/{:05d}.png?X-Key=7",
        "encoded": "my%20clip/{:05d}.png",
        "label studio": "/data/local-files/?d=clip/{:05d}.png",
    }
    content = coco(*two, names=names.get(kind, "frame_{:06d}.PNG"), start=int(kind == "from 1"))
    if kind == "string ids":
        for image in content["images"]:
            image["id"] = str(image["id"])
    if kind == "shuffled":
        content["images"].reverse()
        content["annotations"].reverse()
    video = opened(clip, content)
    assert annotated_frames(video) == [0, 3] and video.first_frame == {1: 0, 2: 0}
    assert ((video.mask(0) == 1) == LEFT).all() and ((video.mask(0) == 2) == RIGHT).all()
    assert ((video.mask(3) == 2) == RIGHT).all() and list(video.prompt_masks(3)) == [2]
    assert "4 of 6 images are listed without annotation" in said.text
    assert (kind in names) != ("frame_00000" in said.text)  # a number was guessed, or images and frames are namesakes
    assert kind != "from 1" or "from frame_000001 on: taken in this order" in said.text
    assert kind == "categories from 0" or "bear (track 0) = 1" in said.text


def test_outside_tells_that_an_object_is_not_there(clip):
    video = opened(clip, coco(*TWO, (4, [square(LEFT)], track(0, outside=True))))
    assert list(video.prompt_masks(4)) == [1] and not video.prompt_masks(4)[1].any()


def test_crowds_beside_objects_are_void(clip, said):
    video = opened(clip, coco((0, [square(LEFT)], {}), (0, counted(RIGHT), {"iscrowd": 1})))
    assert set(np.unique(video.mask(0))) == {0, 1, 255} and (video.mask(0)[RIGHT] == 255).all()
    assert "1 annotations have iscrowd=1: taken as void" in said.text


@pytest.mark.parametrize(
    ("annotations", "more", "message"),
    [
        ([(0, [], {})], {}, r"annotation 1 \(image frame_000000.PNG\): a box without a mask; draw its mask"),
        ([(0, [square(LEFT)], {"isbbox": True})], {}, "a box without a mask"),
        ([(0, [[0.1, 0.1, 0.5, 0.1, 0.5, 0.5]], {})], {}, "fractions of the image"),
        ([*TWO, (4, [square(LEFT)], {})], {}, "annotation 4 has no track_id, others have"),
        (
            [(0, [square(LEFT)], {}), (0, [square(RIGHT)], {}), (3, [square(LEFT)], {})],
            {},
            "nothing tells which masks are of one object, as frame 1 has several of one category; give annotations a",
        ),
        ([(9, [square(LEFT)], {})], {}, "annotation 1 is of the image 10, which is not under images"),
        ([(0, [square(LEFT)], {})], {"names": "a.png"}, "two images are named a"),
        ([(0, [square(LEFT)], {})], {"start": 3}, "has no frame, so how its 5 images are numbered is not told"),
        ([(0, [square(LEFT)], {})], {"height": 30}, "is 40x30 pixels, but its sequence is 40x24"),
    ],
)
def test_what_coco_does_not_tell_is_refused(clip, annotations, more, message):
    if "start" in more:
        more["count"] = 5
    with pytest.raises(UserError, match=message):
        opened(clip, coco(*annotations, **more)).mask(0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([{"id": 1, "image": "a.png", "annotator": 1, "annotation_id": 2}], "JSON-MIN is not read; export 'JSON'"),
        ({"project": {}, "metadata": {}, "file": {}, "view": {}}, "a project of VIA 3 is not read"),
        ({"info": {}, "categories": {}, "items": []}, "datumaro's own JSON is not read; export 'COCO 1.0'"),
        ({"objects": [], "size": {}, "tags": []}, "Supervisely's own JSON is not read; export to COCO"),
        ({"annotations": [{"segments_info": [], "image_id": 1}]}, "COCO's panoptic form"),
        ({"item": {}, "annotations": []}, "Darwin JSON"),
    ],
)
def test_what_is_not_read_is_told_with_what_to_export(tmp_path, content, message):
    (tmp_path / "m.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        open_annotations(tmp_path / "m.json")


def test_broken_xml_and_archives_are_refused_with_what_to_do(clip, tmp_path):
    for name, message in (("a.xml", "no XML, or cut off .* export it again"), ("a.zip", "unpack it")):
        (tmp_path / name).write_text("")
        with pytest.raises(UserError, match=message):
            open_own(clip, masks=tmp_path / name)


def labelme(folder, stem, *shapes: dict) -> None:
    content = {
        "version": "5.4.1",
        "flags": {},
        "shapes": list(shapes),
        "imagePath": f"..\\clip\\{stem}.png",
        "imageData": None,
        "imageHeight": 24,
        "imageWidth": 40,
    }
    folder.mkdir(exist_ok=True)
    (folder / f"{stem}.json").write_text(json.dumps(content))


def shape(label: str, kind: str, points: list, group: object = None, **more: object) -> dict:
    return {"label": label, "shape_type": kind, "points": points, "group_id": group, "flags": {}, **more}


def test_labelme(clip, tmp_path, said):
    """Also beside the frames, where the tool leaves its files."""
    file = io.BytesIO()
    Image.fromarray(np.ones((15, 13), bool)).save(file, format="PNG")
    mask = {"mask": base64.b64encode(file.getvalue()).decode()}
    labelme(
        clip,
        "00000",
        shape("bear", "polygon", [[2, 3], [10, 3], [10, 12], [2, 12]], 5),
        shape("bear", "mask", [[20, 5], [32, 19]], 6, **mask),
    )
    labelme(clip, "00003", shape("bear", "rectangle", [[33, 20], [20, 5]], 6))
    labelme(clip, "00004")
    video, _ = open_own(clip, masks=clip)
    assert annotated_frames(video) == [0, 3] and video.first_frame == {1: 0, 2: 0}
    assert (video.mask(0) == LEFT + 2 * RIGHT).all() and (video.mask(3) == 2 * RIGHT).all()
    assert "bear (group 5) = 1, bear (group 6) = 2" in said.text
    assert "clip: labelme's files are read, and none of the images beside them" in said.text
    labelme(tmp_path / "circle", "00002", shape("ball", "circle", [[20.0, 12.0], [20.0, 20.0]]))
    video, _ = open_own(clip, masks=tmp_path / "circle")
    y, x = np.mgrid[:24, :40]
    assert np.count_nonzero((video.mask(2) == 1) != (np.hypot(x + 0.5 - 20, y + 0.5 - 12) < 8)) <= 12
    with pytest.raises(UserError, match="the shape 'x' is a line of 2 points, which has no area; make it a polygon"):
        labelme(tmp_path / "line", "00002", shape("x", "line", [[1, 1], [20, 20]]))
        open_own(clip, masks=tmp_path / "line" / "00002.json")
    labelme(clip, "00003", *[shape("bear", "rectangle", [[33, 20], [20, 5]])] * 2)
    with pytest.raises(UserError, match="shapes 'bear' with and without group_id; give all of them one"):
        open_own(clip, masks=clip)
    labelme(clip, "00000", shape("bear", "rectangle", [[33, 20], [20, 5]]))
    with pytest.raises(UserError, match="frame 00003 has several of one label; give shapes a group_id"):
        open_own(clip, masks=clip)


@pytest.mark.parametrize("project", [True, False])
def test_via(clip, said, project):
    """Which has no sizes of images, and in its first version regions by number."""
    points = np.reshape(square(LEFT), (-1, 2))
    polygon = {"name": "polygon", "all_points_x": points[:, 0].tolist(), "all_points_y": points[:, 1].tolist()}
    rect = {"name": "rect", "x": 20, "y": 5, "width": 13, "height": 15}
    regions = [[(polygon, "cub"), (rect, "bear")], [], [], [(rect, "bear")], [], []]
    entries = {
        f"{k:05d}.png{k}": {
            "filename": f"{k:05d}.png",
            "size": k,
            "file_attributes": {},
            "regions": [
                {"shape_attributes": one, "region_attributes": {"animal": name, "note": ""}} for one, name in those
            ],
        }
        for k, those in enumerate(regions)
    }
    if not project:
        for entry in entries.values():
            entry["regions"] = {str(n): region for n, region in enumerate(entry["regions"])}
    video = opened(clip, {"_via_settings": {}, "_via_img_metadata": entries} if project else entries)
    assert annotated_frames(video) == [0, 3] and (video.mask(0) == 2 * LEFT + RIGHT).all()
    assert (video.mask(3) == RIGHT).all() and "bear = 1, cub = 2" in said.text
    next(iter(entries.values()))["regions"] = [{"shape_attributes": rect, "region_attributes": {"a": "1", "b": "2"}}]
    with pytest.raises(UserError, match="which of the attributes a, animal, b tells the object"):
        opened(clip, entries)
