"""Masks to the files of annotation tools and back, and these tools' own files, read as they mean it.

The forms are documented in: docs.cvat.ai, "XML annotation format" 1.1; labelstud.io/guide/task_format and
/tags/brushlabels, whose code of masks is that of @thi.ng/rle-pack (github.com/thi-ng/umbrella);
github.com/wkentaro/labelme (shape_type "mask"); docs.ultralytics.com/datasets/segment.
"""

from __future__ import annotations

import json
import pickle
import sys
from functools import partial

import numpy as np
import pytest
from PIL import Image

from eosvos.data.mask_files.annotation_files import open_annotations
from eosvos.data.mask_files.cvat_export import write_cvat
from eosvos.data.mask_files.label_studio import brush_decode, brush_encode, write_label_studio
from eosvos.data.mask_files.rle import segment_mask
from eosvos.data.mask_files.tool_json import write_labelme
from eosvos.data.mask_files.yolo import outline, write_yolo
from eosvos.data.readers.folder import open_folder
from eosvos.data.readers.user_video import annotated_frames, open_own
from eosvos.errors import UserError

SIZE = (24, 40)
LEFT, RIGHT = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
LEFT[3:12, 2:10], RIGHT[5:20, 20:33] = True, True
LEFT_POINTS, RIGHT_POINTS = "2.00,3.00;10.00,3.00;10.00,12.00;2.00,12.00", "20,5;33,5;33,20;20,20"


def made(names: str = "{:05d}") -> dict[str, np.ndarray]:
    """Masks with gaps in the ids, holes, parts, diagonal neighbours, pixels at all edges, and a frame without any."""
    masks = {names.format(k): np.zeros(SIZE, np.uint8) for k in range(4)}
    first, second, _, last = masks.values()
    first[3:15, 2:14], first[6:9, 5:9], first[20:, 36:] = 2, 0, 2
    first[7, 6] = first[0, 20] = first[1, 21] = 7
    second[:] = 2
    second[5:20, 5:35], second[8:12, 8:12] = 0, 7
    last[np.random.default_rng(0).random(SIZE) < 0.5] = 9
    return masks


LABELS = {2: "bear 2", 7: "object 7", 9: 'cub <&"> 9'}
WRITERS = {
    "m.xml": partial(write_cvat, video="clip", labels=LABELS),
    "m.json": partial(write_label_studio, video="clip", labels=LABELS),
    "labelme": partial(write_labelme, labels=LABELS),
    "yolo": partial(write_yolo, labels=LABELS),
}


def source(path):
    return path if path.is_file() else sorted(path.glob("*.txt")) or sorted(path.glob("*.json"))


@pytest.mark.parametrize("name", WRITERS)
def test_masks_are_the_same_after_a_file_of_a_tool(tmp_path, name):
    """Bit for bit, polygons too (as corners are pixels' corners), with ids and names; twice written, the same bytes."""
    WRITERS[name](tmp_path / name, made().items())
    (masks,) = open_annotations(source(tmp_path / name), absent="all", size=SIZE).values()
    assert list(masks.files) == list(made()) and dict(masks.names) == LABELS
    assert pickle.loads(pickle.dumps(masks)).read("00000").shape == SIZE
    for frame, mask in made().items():
        assert (masks.read(frame) == mask).all(), frame
    written = [path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()]
    WRITERS[name](tmp_path / name, iter(made().items()))
    assert written == [path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()]
    (told,) = open_annotations(source(tmp_path / name), absent="told", size=SIZE).values()
    assert list(told.files) == ["00000", "00001", "00003"] and told.unannotated == ("00002",)


@pytest.mark.parametrize("name", WRITERS)
def test_exports_are_read_as_masks_of_videos_and_of_data_sets(tmp_path, said, name):
    """Frames are numbered from 1 here. A folder of the tool's files, and its file, are what masks= takes."""
    frames, masks = tmp_path / "v/frames", made("{:05d}")
    frames.mkdir(parents=True)
    masks = {f"{int(stem) + 1:05d}": mask for stem, mask in masks.items()}
    for stem in masks:
        Image.new("RGB", SIZE[::-1]).save(frames / f"{stem}.jpg")
    place = tmp_path / "v" / (f"masks{name[1:]}" if "." in name else "masks")
    WRITERS[name](place, masks.items())
    for video in (open_own(frames, masks=place)[0], open_folder(tmp_path / "v")[0]):
        assert video.first_frame == {2: 0, 7: 0, 9: 3} and video.object_names == LABELS
        assert all((video.mask(k) == mask).all() for k, mask in enumerate(masks.values()) if k != 2)
    assert all(f"{label} = {number}" in said.text for number, label in LABELS.items())


def test_outlines_are_exact_for_any_mask():
    """With as many holes and parts as random pixels have; rasterized by pycocotools, and J >= 0.99 by OpenCV's fill."""
    import cv2

    rng = np.random.default_rng(1)
    for k in range(60):
        height, width = (int(n) for n in rng.integers(1, 40, 2))
        mask = rng.random((height, width)) < rng.choice([0.05, 0.5, 0.95])
        mask[rng.integers(height), rng.integers(width)] = True
        points = outline(mask)
        assert (segment_mask([points.ravel()], mask.shape) == mask).all(), k
        if k < 5:  # other programs at other scales: corners times 16, as holes are even-odd
            drawn = cv2.fillPoly(np.zeros((16 * height, 16 * width), np.uint8), [np.int32(points * 16 - 0.5)], 1)
            big = np.kron(mask, np.ones((16, 16), bool))
            assert (drawn[8::16, 8::16] > 0).sum() >= mask.sum() and big.any()
    disc = np.hypot(*(np.mgrid[:200, :300] - np.array([100, 120])[:, None, None])) < 80
    disc[90:110, 100:130] = False
    disc[10:40, 250:280] = True
    drawn = cv2.fillPoly(np.zeros((800, 1200), np.uint8), [np.int32(outline(disc) * 4)], 1) > 0
    big = np.kron(disc, np.ones((4, 4), bool))
    assert (drawn & big).sum() / (drawn | big).sum() > 0.99


def packed(values: np.ndarray, lengths: tuple[int, ...] = (3, 4, 8, 16)) -> list[int]:
    """RGBA values as the brush stores them: runs of equal values, and others one by one, up to 8 at a time."""
    flat, bits = values.ravel().tolist(), [f"{values.size:032b}{7:05b}", *(f"{n - 1:04b}" for n in lengths)]
    k = 0
    while k < len(flat):
        run = next((n for n in range(1, len(flat) - k) if flat[k + n] != flat[k]), len(flat) - k)
        if run > 2:
            run = min(run, 1 << lengths[3])
            bits.append(f"111{run - 1:0{lengths[3]}b}{flat[k]:08b}")
        else:
            run = min(8, len(flat) - k)
            bits.append(f"000{run - 1:0{lengths[0]}b}" + "".join(f"{n:08b}" for n in flat[k : k + run]))
        k += run
    text = "".join(bits)
    return [int(text[n : n + 8].ljust(8, "0"), 2) for n in range(0, len(text), 8)]


def test_the_code_of_brushes():
    """That of the encoder, and of brushes with colours and soft edges, whose values differ within a pixel."""
    rng = np.random.default_rng(2)
    for chance in (0, 0.001, 0.3, 1):
        mask = rng.random((37, 53)) < chance
        assert (brush_decode(brush_encode(mask), mask.shape) == mask).all()
        assert (brush_decode(packed(np.repeat(mask[..., None] * 255, 4, -1)), mask.shape) == mask).all()
    big = np.ones((300, 400), bool)  # longer than the longest run
    assert brush_decode(brush_encode(big), big.shape).all()
    colours = rng.integers(0, 256, (*SIZE, 4))
    colours[..., 3] = np.where(LEFT, 100, np.where(RIGHT, 30, 0))  # painted with an opacity of 100, its edge of 30
    assert (brush_decode(packed(colours, (3, 5, 7, 12)), SIZE) == LEFT).all()
    code = packed(colours)
    for broken, message in ((code[:-9], "cut off"), ([300], "numbers from 0 to 255"), (code[:40], "cut off")):
        with pytest.raises(ValueError, match=message):
            brush_decode(broken, SIZE)
    with pytest.raises(ValueError, match="3840 values for an image of 40x25; expected are 4 for each pixel"):
        brush_decode(code, (25, 40))


def images_xml(*images: str, meta: str = "<task><size>6</size><mode>annotation</mode></task>") -> str:
    """(elements of each image)"""
    inner = "".join(
        f'<image id="{k}" name="{k:05d}.png" width="40" height="24">{shapes}</image>' for k, shapes in enumerate(images)
    )
    return f'<?xml version="1.0" encoding="utf-8"?><annotations><meta>{meta}</meta>{inner}</annotations>'


def tracks_xml(*tracks: str, meta: str = "") -> str:
    task = (
        "<task><id>7</id><size>6</size><mode>interpolation</mode><start_frame>0</start_frame><stop_frame>5</stop_frame>"
        "<frame_filter></frame_filter><original_size><width>40</width><height>24</height></original_size></task>"
    )
    return f"<annotations><version>1.1</version><meta>{meta or task}</meta>{''.join(tracks)}</annotations>"


def opened(clip, content: str, name: str = "m.xml", **settings):
    (clip.parent / name).write_text(content)
    return open_own(clip, masks=clip.parent / name, **settings)[0]


BOX = '<box label="bear" source="manual" occluded="0" xtl="1.0" ytl="1.0" xbr="9.0" ybr="9.0" z_order="0"></box>'
# 13 columns and 15 rows, all of the object
MASK = (
    '<mask label="cub" source="auto" occluded="0" rle="0, 195" left="20" top="5" width="13" height="15" z_order="0"/>'
)


def polygon(points: str, **about: object) -> str:
    return f'<polygon {" ".join(f"""{key}="{value}" """ for key, value in about.items())} points="{points}"></polygon>'


def test_cvat_for_images(clip, said):
    """Polygons and masks; parts that are grouped; z_order; an image that is listed; a box that is none."""
    parts = polygon("2,3;6,3;6,12;2,12", label="bear", group_id=1) + polygon(
        "6,3;10,3;10,12;6,12", label="bear", group_id=1
    )
    over = polygon("0,0;40,0;40,24;0,24", label="sky", z_order=2)
    content = images_xml(parts + MASK + BOX, "", "", MASK, "", MASK.replace('z_order="0"', 'z_order="1"') + over)
    video = opened(clip, content)
    assert annotated_frames(video) == [0, 3, 5] and video.first_frame == {1: 0, 2: 0, 3: 5}
    assert (video.mask(0) == LEFT + 2 * RIGHT).all() and (video.mask(3) == 2 * RIGHT).all()
    assert (video.mask(5) == 3).all()  # smaller, but below
    assert video.object_names == {1: "bear", 2: "cub", 3: "sky"}
    for text in ("left out, as they are no masks: 1 box", "3 of 6 images are listed without annotation", "cub = 2"):
        assert text in said.text
    assert annotated_frames(opened(clip, content, absent="all")) == [0, 1, 2, 3, 4, 5]
    track = '<attribute name="track_id">4</attribute></polygon>'
    two = [polygon(p, label="bear").replace("</polygon>", track) for p in (LEFT_POINTS, RIGHT_POINTS)]
    video = opened(clip, images_xml(two[0], two[1]))
    assert (video.mask(0) == 4 * LEFT).all() and (video.mask(1) == 4 * RIGHT).all()
    ellipse = '<ellipse label="ball" cx="20.00" cy="12.00" rx="8.00" ry="4.00" rotation="90.00" z_order="0"></ellipse>'
    y, x = np.mgrid[:24, :40] + 0.5
    found = opened(clip, images_xml(ellipse)).mask(0) == 1
    assert np.count_nonzero(found != (((x - 20) / 4) ** 2 + ((y - 12) / 8) ** 2 < 1)) <= 8


def frame(number: int, points: str = LEFT_POINTS, keyframe: int = 1, outside: int = 0) -> str:
    return polygon(points, frame=number, keyframe=keyframe, outside=outside, occluded=0, z_order=0)


def test_cvat_for_video(clip, said):
    """Tracks are objects; shapes between keyframes are not drawn; outside tells that the object is not there."""
    bear = f'<track id="0" label="bear" source="manual">{frame(0)}{frame(1, keyframe=0)}{frame(2, RIGHT_POINTS)}'
    bear += frame(3, RIGHT_POINTS, outside=1) + "</track>"
    cub = f'<track id="3" label="bear">{frame(1, RIGHT_POINTS)}{frame(4, LEFT_POINTS)}</track>'
    box = '<track id="5" label="car"><box frame="0" keyframe="1" outside="0" xtl="1" ytl="1" xbr="5" ybr="5"/></track>'
    video = opened(clip, tracks_xml(bear, cub, box))
    assert annotated_frames(video) == [0, 1, 2, 3, 4] and video.first_frame == {1: 0, 2: 1}
    assert (video.mask(0) == LEFT).all() and (video.mask(1) == 2 * RIGHT).all() and (video.mask(2) == RIGHT).all()
    assert list(video.prompt_masks(3)) == [1] and not video.prompt_masks(3)[1].any()
    assert "bear (track 0) = 1, bear (track 3) = 2" in said.text
    assert "1 shapes between keyframes were interpolated by CVAT, not drawn: left out" in said.text
    assert "left out, as they are no masks: 1 box" in said.text
    complete = opened(clip, tracks_xml(bear, cub), absent="all")
    assert (complete.mask(1) == LEFT + 2 * RIGHT).all() and annotated_frames(complete)[-1] == 5
    assert "taken for masks, too" in said.text
    with pytest.raises(UserError, match="no masks in it, but 1 box; boxes and their interpolation are no masks: draw"):
        opened(clip, tracks_xml(box))


def test_shapes_that_cvat_exports_as_tracks(clip, said):
    """Each is a track of one frame, whose end was not drawn: it does not tell that the object has gone."""

    def exported(k: int, number: int, label: str, points: str) -> str:
        return f'<track id="{k}" label="{label}">{frame(number, points)}{frame(number + 1, points, outside=1)}</track>'

    shapes = [
        exported(0, 0, "bear", LEFT_POINTS),
        exported(1, 0, "cub", RIGHT_POINTS),
        exported(2, 3, "cub", LEFT_POINTS),
    ]
    video = opened(clip, tracks_xml(*shapes))
    assert annotated_frames(video) == [0, 3] and len(video.first_frame) == 2
    number = int(video.mask(3).max())
    assert (video.mask(3) == number * LEFT).all() and ((video.mask(0) == number) == RIGHT).all()
    assert "each of the 2 tracks of the label 'cub' shows it on a single frame: taken for one object" in said.text
    with pytest.raises(UserError, match="frame 00000 has several of one label; in CVAT draw objects as tracks"):
        opened(clip, tracks_xml(*shapes, exported(3, 0, "cub", LEFT_POINTS)))


def test_frames_of_cvat_are_counted_from_0(clip, said):
    """Whatever the frames are called: of frames named from 1 on, 0 is the first."""
    for path in sorted(clip.iterdir(), reverse=True):
        path.rename(path.with_name(f"{int(path.stem) + 1:05d}.png"))
    track = f'<track id="1" label="bear">{frame(0)}{frame(5, RIGHT_POINTS)}</track>'
    video = opened(clip, tracks_xml(track))
    assert annotated_frames(video) == [0, 5] and "00000 being frame 00001" in said.text
    (clip / "00006.png").unlink()
    with pytest.raises(UserError, match="the image 00000 has no frame, so how its 6 images are numbered is not told"):
        opened(clip, tracks_xml(track))


BOMB = '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><annotations>&b;</annotations>'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (BOMB, "XML with a document type or entities .* which CVAT never writes"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotations/>', "XML with a document type"),
        (images_xml(MASK)[:-40], "no XML, or cut off"),
        ("<annotation><object/></annotation>", "first element is 'annotation'; of XML, CVAT's is read"),
        (images_xml(BOX), "no masks in it, but 1 box"),
        (images_xml(polygon("1,1;nan,5;9,9", label="a")), r"frame 00000: no polygon x0.* in an image of 40x24: .*nan"),
        (images_xml(polygon("1,1;inf,5;9,9", label="a")), "no polygon x0"),
        (images_xml(polygon("1,1;9e9,5;9,9", label="a")), "no polygon x0"),
        (images_xml(polygon("1,1;x,5;9,9", label="a")), "could not convert string to float"),
        (
            images_xml(polygon(";".join(["1,1", "9,1", "9,9"] * 1400), label="a")),
            "polygon of 4200 points .* at most 4100",
        ),
        (images_xml(MASK.replace('width="13"', 'width="130000"')), "a mask of 130000x15 at 20, 5 in an image of 40x24"),
        (images_xml(MASK.replace('left="20"', 'left="-3"')), "mask with left='-3'; expected is a whole number"),
        (
            images_xml(MASK.replace("0, 195", "0, 194")),
            "for a mask of 13x15; expected are runs of as many pixels in all",
        ),
        (images_xml(MASK.replace("0, 195", "9" * 30)), "expected are runs|expected are whole numbers"),
        (images_xml(MASK.replace("0, 195", "1," * 300 + "1")), "a mask of 13x15 pixels with 301 runs"),
        (images_xml(MASK).replace('height="24"', 'height="2400000"'), "a size of 2400000x40; at most"),
        (
            images_xml(MASK + polygon(LEFT_POINTS, label="cub"), MASK),
            "several of one label; give shapes an attribute track_id",
        ),
        (
            tracks_xml(f"<track id='0' label='a'>{frame(0)}</track>").replace(">5<", ">500000000<"),
            "a task of 500000001 frames",
        ),
        (tracks_xml("<track id='0' label='a'>" + frame(0).replace('frame="0', 'frame="-4') + "</track>"), "frame='-4'"),
    ],
)
def test_what_is_wrong_in_xml_is_refused(clip, content, message):
    with pytest.raises(UserError, match=message) as caught:
        opened(clip, content)
    assert str(clip.parent / "m.xml") in str(caught.value)


def test_a_missing_package_is_told(clip, monkeypatch):
    monkeypatch.setitem(sys.modules, "defusedxml", None)
    with pytest.raises(UserError, match="m.xml: CVAT's XML needs a package that is missing: pip install defusedxml"):
        opened(clip, images_xml(MASK))


def region(kind: str, value: dict, name: str = "r", **more: object) -> dict:
    about = {"id": name, "type": kind, "from_name": "tag", "to_name": "image", "source": "$image", "value": value}
    return about | {"original_width": 40, "original_height": 24, "image_rotation": 0} | more


def brush(mask: np.ndarray, label: str = "cub", **more: object) -> dict:
    return region("brushlabels", {"format": "rle", "rle": brush_encode(mask), "brushlabels": [label]}, **more)


def task(stem: str, *annotations: list, predictions: tuple[list, ...] = (), **more: object) -> dict:
    people = [
        {"id": 100 + k, "result": result, "was_cancelled": False, "ground_truth": False}
        for k, result in enumerate(annotations)
    ]
    return {
        "id": 1,
        "data": {"image": f"/data/upload/3/1b2c3d4e-{stem}.png"},
        "annotations": people,
        "predictions": [{"model_version": "m", "result": result} for result in predictions],
        **more,
    }


CORNERS = {"points": [[5, 12.5], [25, 12.5], [25, 50], [5, 50]], "closed": True, "polygonlabels": ["bear"]}


def test_label_studio(clip, said):
    """Brushes, polygons and ellipses in percent; boxes left out; an image without annotation; attributes of regions."""
    box = region("rectanglelabels", {"x": 1, "y": 1, "width": 5, "height": 5, "rectanglelabels": ["bear"]}, name="b")
    tasks = [task("00000", [region("polygonlabels", CORNERS), brush(RIGHT, name="c"), box]), task("00001")]
    tasks += [task("00002", [brush(LEFT)], predictions=([brush(RIGHT)],)), task("00003", [])]
    video = opened(clip, json.dumps(tasks), "m.json")
    assert annotated_frames(video) == [0, 2] and (video.mask(0) == LEFT + 2 * RIGHT).all()
    assert (video.mask(2) == 2 * LEFT).all() and video.object_names == {1: "bear", 2: "cub"}
    assert "2 of 4 images are listed" in said.text and "no masks: 1 rectanglelabels" in said.text
    assert annotated_frames(opened(clip, json.dumps(tasks), "m.json", absent="all")) == [0, 1, 2, 3]

    def tracked(mask: np.ndarray, name: str, number: str) -> list:
        field = region("textarea", {"text": [number]}, name=name) | {"from_name": "track_id"}
        return [brush(mask, "bear", name=name), field]

    tasks = [task("00000", tracked(LEFT, "x", "4") + tracked(RIGHT, "y", "5")), task("00004", tracked(LEFT, "z", "5"))]
    video = opened(clip, json.dumps(tasks), "m.json")
    assert (video.mask(0) == 4 * LEFT + 5 * RIGHT).all() and (video.mask(4) == 5 * LEFT).all()
    ellipse = {"x": 50, "y": 50, "radiusX": 20, "radiusY": 16.7, "rotation": 0, "ellipselabels": ["ball"]}
    y, x = np.mgrid[:24, :40] + 0.5
    found = opened(clip, json.dumps([task("00000", [region("ellipselabels", ellipse)])]), "m.json").mask(0) == 1
    assert np.count_nonzero(found != (((x - 20) / 8) ** 2 + ((y - 12) / 4) ** 2 < 1)) <= 8
    one = json.dumps([task("00000", predictions=([brush(LEFT)],))])
    assert (opened(clip, one, "m.json").mask(0) == LEFT).all() and "so their predictions are read" in said.text
    two = task("00000", [brush(RIGHT)], [brush(LEFT)])
    two["annotations"][1]["ground_truth"] = True
    assert (opened(clip, json.dumps([two]), "m.json").mask(0) == LEFT).all()


VIDEO = {"sequence": [{"frame": 1, "x": 1, "y": 1, "width": 9, "height": 9, "enabled": True}], "labels": ["bear"]}


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        (
            [task("00000", [region("videorectangle", VIDEO)])],
            "no masks in it; left out, .*: 1 videorectangle; paint with",
        ),
        ([task("00000", [brush(LEFT)], [brush(RIGHT)])], "has 2 annotations, of several people or models; keep one"),
        ([task("00000", [brush(LEFT, image_rotation=90)])], "turned by 90 degrees; turn it back"),
        ([task("00000", [brush(LEFT)]), task("00000", [brush(LEFT)])], "two tasks of the image 00000; keep one"),
        ([task("00000", [brush(LEFT, original_width=4000)])], "rle of 3840 values for an image of 4000x24"),
        ([task("00000", [brush(LEFT, original_width=4000000)])], "a size of 24x4000000; at most"),
        (
            [task("00000", [region("polygonlabels", CORNERS | {"points": [[1, 1], [float("nan"), 2], [3, 3]]})])],
            "no polygon",
        ),
        ([task("00000", [brush(LEFT)], data={})], "task 1: no image in its data"),
        (
            [task("00000", [{"type": "brushlabels"}])],
            "not masks in the form of COCO or YouTube-VIS, nor of labelme, VIA or",
        ),
    ],
)
def test_what_label_studio_does_not_tell_is_refused(clip, tasks, message):
    with pytest.raises(UserError, match=message) as caught:
        opened(clip, json.dumps(tasks), "m.json")
    assert str(clip.parent / "m.json") in str(caught.value)


def labels(folder, **lines: str):
    folder.mkdir(exist_ok=True)
    for name, text in lines.items():
        (folder / f"{name.strip('_')}.txt").write_text(text)
    return folder


def corners(mask: np.ndarray) -> str:
    (y0, x0), (y1, x1) = np.argwhere(mask).min(0), np.argwhere(mask).max(0) + 1
    return " ".join(f"{n:.6f}" for x, y in ((x0, y0), (x1, y0), (x1, y1), (x0, y1)) for n in (x / 40, y / 24))


def test_yolo(clip, tmp_path, said):
    """A class is an object, its number one more; also beside PNG frames, as darknet has it; tracks; confidences."""
    there = labels(
        tmp_path / "labels", _00000=f"0 {corners(LEFT)}\n2 {corners(RIGHT)}\n", _00001="", _00003=f"2 {corners(LEFT)}"
    )
    (there / "classes.txt").write_text("bear\ncow\ncub\n")
    video, _ = open_own(clip, masks=there)
    assert annotated_frames(video) == [0, 3] and (video.mask(0) == LEFT + 3 * RIGHT).all()
    assert (video.mask(3) == 3 * LEFT).all() and video.object_names == {1: "bear", 3: "cub"}
    assert "1 of 3 images are listed without annotation" in said.text and "bear = 1, cub = 3" in said.text
    labels(clip, _00000=f"0 {corners(LEFT)} 7\n0 {corners(RIGHT)} 8\n", _00002=f"0 {corners(LEFT)} 8\n")
    (tmp_path / "data.yaml").write_text("names:\n  0: bear\n")
    video, _ = open_own(clip, masks=clip)
    assert (video.mask(0) == 7 * LEFT + 8 * RIGHT).all() and (video.mask(2) == 8 * LEFT).all()
    assert "YOLO's files are read, and none of the images beside them" in said.text
    assert "line 1, and others: what follows the corners is taken for a track" in said.text
    labels(clip, _00000=f"0 {corners(LEFT)} 0.93\n1 {corners(RIGHT)} 1\n", _00002=f"0 {corners(LEFT)} 0.5\n")
    video, _ = open_own(clip, masks=clip)
    assert (video.mask(0) == LEFT + 2 * RIGHT).all() and "taken for a confidence" in said.text
    labels(clip, _00000=f"0 {corners(LEFT)} 0.93 1\n0 {corners(RIGHT)} 0.9 2\n", _00002=f"0 {corners(LEFT)} 0.5 1\n")
    video, _ = open_own(clip, masks=clip)
    assert (video.mask(0) == LEFT + 2 * RIGHT).all() and (video.mask(2) == LEFT).all()
    # the example of the documentation, of two objects with 3 and 5 corners
    text = "0 0.681 0.485 0.670 0.487 0.676 0.487\n1 0.504 0.000 0.501 0.004 0.498 0.004 0.493 0.010 0.492 0.0104\n"
    (masks,) = open_annotations(labels(tmp_path / "doc", a=text) / "a.txt", size=(1080, 1920)).values()
    assert set(np.unique(masks.read("a"))) == {0, 1, 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 0.5 0.5 0.2 0.2", "a.txt: line 1: a box without a mask; expected are polygons"),
        ("0 0.5 0.5 0.2 0.2 0.9", "a box without a mask"),
        ("0 10 5 20 5 20 9", "line 1: a corner at 10.0; expected are fractions of the image"),
        (f"0 {corners(LEFT)}\n0 nan 0.5 0.5 0.5 0.5 0.1", "line 2: .* finite numbers"),
        (f"0 {corners(LEFT)}\nbear {corners(LEFT)}", "line 2: .*expected are a class, and x and y"),
        (
            "0 " + " ".join(["0.1 0.1 0.9 0.1 0.9 0.9"] * 1400),
            "a polygon of 4200 corners in an image of 40x24; at most 4100",
        ),
        ("0 0.5 0.5 0.5 0.5 0.5 0.5", "frame a: a polygon that covers no pixel; write this mask anew"),
    ],
)
def test_what_is_wrong_in_labels_is_refused(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        for masks in open_annotations(labels(tmp_path / "l", a=text) / "a.txt", size=SIZE).values():
            masks.read("a")
