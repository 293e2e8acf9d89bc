"""Masks in every form that programs write: the same ids come out, or a message that says what is wrong."""

from __future__ import annotations

import json
import logging
import pickle
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from eosvos.data.mask_files.annotation_files import open_annotations
from eosvos.data.mask_files.formats import open_masks, write_binary, write_colours, write_grey, write_objects
from eosvos.data.mask_files.json_files import write_json
from eosvos.data.mask_files.rle import rle_decode, rle_encode, segment_mask
from eosvos.data.masks import write_mask
from eosvos.data.palette import DAVIS_PALETTE
from eosvos.data.readers.folder import open_folder
from eosvos.errors import UserError

SIZE = (24, 40)
STEMS = [f"{k:05d}" for k in range(5)]


def mask_of(*ids: int) -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    for k, number in enumerate(ids):
        mask[3 + k : 12 + k, 1 + 9 * k : 8 + 9 * k] = number
    return mask


# 7 comes later, 2 leaves; frame 3 has no mask, frame 4 an empty one
MASKS = {"00000": mask_of(1, 2), "00001": mask_of(1, 2, 7), "00002": mask_of(7, 1), "00004": mask_of()}


@pytest.fixture
def root(tmp_path) -> Path:
    """A video without masks."""
    for k, stem in enumerate(STEMS):
        (tmp_path / "frames").mkdir(exist_ok=True)
        Image.new("RGB", SIZE[::-1], (k, k, k)).save(tmp_path / "frames" / f"{stem}.png")
    (tmp_path / "masks").mkdir()
    return tmp_path


def paint(colours, mask: np.ndarray) -> Image.Image:
    return Image.fromarray(np.asarray(colours, np.uint8)[mask])


def with_palette(mask: np.ndarray, palette: np.ndarray) -> Image.Image:
    image = Image.fromarray(mask)
    image.putpalette(np.asarray(palette, np.uint8).tobytes())
    return image


def write(form: str, folder: Path, masks: dict[str, np.ndarray]) -> None:
    if form.startswith("json"):
        return write_as_json(form, folder.parent / "masks.json", masks)
    for stem, mask in masks.items():
        path = folder / f"{stem}.png"
        if form == "palette":
            write_mask(path, mask)
        elif form == "grey":
            write_grey(path, mask)
        elif form == "folders":
            write_objects(folder, stem, mask, [1, 2, 7])
        elif form == "files":
            for number in {1, 2, 7} if not mask.any() else set(mask.flat) - {0}:
                Image.fromarray(mask == number).save(folder / f"{stem}_{number}.png")
        else:
            picture(form, mask).save(path)


def picture(form: str, mask: np.ndarray) -> Image.Image:
    image = Image.fromarray(mask)
    if form == "palette of its own":
        return with_palette(mask, np.random.default_rng(0).integers(0, 256, (256, 3), np.uint8))
    if form == "short palette":
        return with_palette(mask, DAVIS_PALETTE[: mask.max() + 1])
    if form == "16 bits":
        return Image.fromarray(mask.astype(np.uint16))
    if form == "RGB of greys":
        return image.convert("RGB")
    colours = paint(DAVIS_PALETTE, mask)
    if form == "DAVIS colours":
        return colours
    assert form == "DAVIS colours on nothing"
    return Image.merge(
        "RGBA", [*paint(DAVIS_PALETTE, mask | 3 * (mask == 0)).split(), Image.fromarray(mask > 0).convert("L")]
    )


def write_as_json(form: str, path: Path, masks: dict[str, np.ndarray]) -> None:
    if form == "json":
        return write_json(path, masks.items(), video="bear")
    images = [
        {"id": 70 + k, "file_name": f"{stem}.jpg", "height": SIZE[0], "width": SIZE[1]} for k, stem in enumerate(masks)
    ]
    annotations = []
    for k, mask in enumerate(masks.values()):
        for number in sorted(set(mask.flat) - {0}):
            code: object = rle_encode(mask == number)
            if form == "json, uncompressed":
                flat = np.concatenate([[0], (mask == number).T.ravel(), [0]]).astype(int)
                ends = np.flatnonzero(np.diff(flat))
                code = {"size": list(SIZE), "counts": np.diff([0, *ends, mask.size]).tolist()}
            elif form == "json, polygons":
                ys, xs = np.nonzero(mask == number)
                x0, y0, x1, y1 = (int(v) for v in (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1))
                code = [[x0, y0, x1, y0, x1, y1, x0, y1]]
            annotations.append(
                {
                    "id": 9000 + len(annotations),
                    "image_id": 70 + k,
                    "segmentation": code,
                    "category_id" if form == "json, categories" else "track_id": int(number),
                }
            )
    path.write_text(json.dumps({"images": images, "annotations": annotations}))


FORMS = [
    *"palette".split(),
    "palette of its own",
    "short palette",
    *"grey".split(),
    "16 bits",
    "RGB of greys",
    "DAVIS colours",
    "DAVIS colours on nothing",
    *"folders files json".split(),
    "json, uncompressed",
    "json, polygons",
    "json, categories",
    "json, tracks",
]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_ids(root, form, caplog):
    write(form, root / "masks", MASKS)
    with caplog.at_level(logging.INFO):
        (video,) = open_folder(root)
    assert video.first_frame == {1: 0, 2: 0, 7: 1}
    coco = form.startswith("json, ")  # an image that is listed without annotation tells nothing
    for index in (2, 0, 1) if coco else (2, 4, 0, 1):  # in any order
        assert (video.mask(index) == MASKS[STEMS[index]]).all() and video.mask(index).dtype == np.uint8
    assert video.mask(3) is None and (video.mask(4) is None) == coco
    assert len(caplog.messages) == 1 + coco and caplog.messages[-1].startswith("masks: ")
    assert not coco or "1 of 4 images are listed without annotation, which tells nothing" in caplog.messages[0]
    again = pickle.loads(pickle.dumps(video))
    assert (again.mask(1) == MASKS["00001"]).all()
    assert all(path.is_file() for path in video.files)


def test_a_colour_is_one_object_in_all_frames(root):
    """Not in DAVIS's palette: numbered by appearance, and within a frame by red, green, blue."""
    red, pink, blue = (250, 0, 0), (250, 0, 9), (1, 2, 200)
    shown = {"00000": [pink], "00001": [red, blue], "00002": [blue], "00004": [red, pink, blue]}
    for stem, colours in shown.items():
        paint([(0, 0, 0), *colours], mask_of(*range(1, len(colours) + 1))).save(root / "masks" / f"{stem}.png")
    (video,) = open_folder(root)
    ids = {pink: 1, blue: 2, red: 3}
    assert video.first_frame == {1: 0, 2: 1, 3: 1}
    for index in (4, 2, 1, 0):
        expected = mask_of(*(ids[colour] for colour in shown[STEMS[index]]))
        assert (video.mask(index) == expected).all()


@pytest.mark.parametrize("kind", ["grey", "1 bit", "RGB", "16 bits", "RGBA", "palette", "given: id 3", "given: RGB"])
def test_black_and_white_is_one_object(tmp_path, kind):
    shape = mask_of(1) > 0
    white = shape * np.uint8(255)
    image = {
        "1 bit": lambda: Image.fromarray(shape),
        "RGB": lambda: Image.fromarray(white).convert("RGB"),
        "RGBA": lambda: Image.merge("RGBA", [Image.new("L", SIZE[::-1], 255)] * 3 + [Image.fromarray(white)]),
        "16 bits": lambda: Image.fromarray(shape * np.uint16(65535)),
        "palette": lambda: with_palette(shape.astype(np.uint8), [(0, 0, 0), (255, 255, 255)]),
        "given: id 3": lambda: Image.fromarray(mask_of(3)),
        "given: RGB": lambda: paint([(0, 0, 0), (9, 80, 7)], mask_of(1)),
    }.get(kind, lambda: Image.fromarray(white))()
    image.save(tmp_path / "0.png")
    Image.new("L", SIZE[::-1]).save(tmp_path / "1.png")
    masks = open_masks(tmp_path, binary=True if kind.startswith("given") else None)
    assert (masks.read("0") == shape).all() and not masks.read("1").any()


def test_probabilities_are_no_masks_of_one_object(tmp_path):
    """All that is above 0 would be the whole surroundings, too."""
    ramp = np.tile(2 * np.arange(100, dtype=np.uint8), (30, 1))  # each value has 30 pixels
    for k, mask in enumerate((ramp > 0, ramp > 90, ramp)):
        write_grey(tmp_path / f"{k}.png", mask)
    with pytest.raises(UserError, match="2.png: .* probabilities, or pictures; .* cut at one half"):
        open_masks(tmp_path, binary=True)


def test_255_is_void_beside_ids_and_where_it_is_said(tmp_path):
    mask = mask_of(3, 255)
    write_grey(tmp_path / "0.png", mask)
    assert (open_masks(tmp_path).read("0") == mask).all()
    write_grey(tmp_path / "0.png", mask_of(255))
    assert (open_masks(tmp_path, binary=False).read("0") == mask_of(255)).all()


def test_palettes_that_were_sorted_anew(tmp_path):
    """A program that shrinks PNGs leaves the colours, and changes the indices in each file."""
    write_mask(tmp_path / "0.png", mask_of(1, 2))
    turned = DAVIS_PALETTE.copy()
    turned[[1, 2]] = turned[[2, 1]]
    with_palette(mask_of(2, 1), turned).save(tmp_path / "1.png")
    assert (open_masks(tmp_path).read("1") == mask_of(1, 2)).all()
    with_palette(mask_of(1, 2), np.repeat(np.arange(256), 3).reshape(-1, 3)).save(
        tmp_path / "1.png"
    )  # greys: no colours
    assert (open_masks(tmp_path).read("1") == mask_of(1, 2)).all()
    turned[2] = 1, 2, 3
    with_palette(mask_of(2, 1), turned).save(tmp_path / "1.png")
    with pytest.raises(UserError, match="1.png: index 1 has another colour in each"):
        open_masks(tmp_path)


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (["001", "002", "010"], [1, 2, 10]),
        (["000", "001"], [1, 2]),  # SA-V counts from 0
        (["obj_2", "obj_1"], [1, 2]),
        (["dog1", "cat1"], [1, 2]),  # the numbers do not tell them apart: in natural order
        (["b", "a10", "a9"], [1, 2, 3]),
        (["300", "301"], [1, 2]),
    ],
)
def test_ids_of_folders(tmp_path, names, ids):
    for k, name in enumerate(sorted(names, key=lambda n: (len(n), n)) if names[0] != "dog1" else sorted(names)):
        (tmp_path / name).mkdir()
        write_grey(tmp_path / name / "0.png", (mask_of(*range(1, len(names) + 1)) == k + 1) * np.uint8(1))
    mask = open_masks(tmp_path).read("0")
    order = [int(mask[mask_of(*range(1, len(names) + 1)) == k + 1][0]) for k in range(len(names))]
    assert sorted(order) == ids
    if "b" not in names:
        assert order == ids
    else:
        assert order == [3, 1, 2]


def test_of_objects_that_overlap_the_smaller_has_the_pixel(tmp_path):
    """Of equal ones the first."""
    for name, columns in (("2", slice(0, 20)), ("1", slice(10, 30)), ("3", slice(17, 24)), ("4", slice(5, 40))):
        mask = np.zeros(SIZE, np.uint8)
        mask[:, columns] = 255
        (tmp_path / "masks" / name).mkdir(parents=True)
        write_grey(tmp_path / "masks" / name / "0.png", mask)
    expected = np.repeat([2, 1, 3, 1, 4], [10, 7, 7, 6, 10])
    assert (open_masks(tmp_path / "masks").read("0") == expected).all()
    codes = [
        {
            "image_id": 0,
            "track_id": int(name),
            "segmentation": rle_encode(np.tile(np.isin(np.arange(40), np.arange(40)[columns]), (24, 1))),
        }
        for name, columns in (("2", slice(0, 20)), ("1", slice(10, 30)), ("3", slice(17, 24)), ("4", slice(5, 40)))
    ]
    (tmp_path / "m.json").write_text(json.dumps(codes))
    assert (open_annotations(tmp_path / "m.json")[""].read("00000") == expected).all()


def soft(colour: tuple[int, ...]) -> np.ndarray:
    """A disc drawn with anti-aliasing."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    cover = np.clip(9 - np.hypot(y - 11.7, x - 19.2), 0, 1)
    return np.round(cover[..., None] * colour).astype(np.uint8).squeeze()


def _spoil(folder: Path, what: str) -> None:
    path = folder / "0.png"
    image = {
        "soft colours": lambda: Image.fromarray(soft((250, 30, 99))),
        "soft greys": lambda: Image.fromarray(soft((255,))),
        "a photograph": lambda: Image.fromarray(np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)),
        "mixed": lambda: paint(DAVIS_PALETTE, mask_of(2)),
        "hsv": lambda: Image.new("CMYK", SIZE[::-1]),
        "large ids": lambda: Image.fromarray(mask_of(1).astype(np.uint16) * 300),
    }.get(what, lambda: Image.fromarray(mask_of(1)))()
    if what == "JPEG":
        image.save(folder / "0.jpg")
    elif what == "JPEG under another name":
        image.save(path, format="JPEG")
    elif what == "WebP":
        image.convert("RGB").save(folder / "0.webp", lossless=True)
    elif what in ("animated", "animated GIF"):
        image.save(folder / ("0.gif" if "GIF" in what else "0.png"), save_all=True, append_images=[image.rotate(90)])
    elif what == "turned":
        exif = Image.Exif()
        exif[0x0112] = 3
        image.save(path, exif=exif)
    elif what == "hsv":
        image.save(folder / "0.tif")
    elif what == "sizes":
        image.save(path)
        image.resize((9, 9)).save(folder / "1.png")
    elif what == "mixed":
        image.save(path)
        write_grey(folder / "1.png", mask_of(2))
    elif what == "two kinds":
        image.save(path)
        image.save(folder / "0.bmp")
    elif what == "files and folders":
        image.save(path)
        (folder / "1").mkdir()
    elif what == "several ids in a folder":
        (folder / "1").mkdir()
        write_mask(folder / "1" / "0.png", mask_of(1, 2))
    elif what == "empty folders":
        (folder / "1").mkdir()
    elif what == "many objects":
        for k in range(260):
            (folder / str(k)).mkdir()
            image.save(folder / str(k) / "0.png")
    elif what == "many colours":
        for k in range(9):
            blocks = np.kron(np.arange(40).reshape(5, 8) + 40 * k, np.ones((9, 9), int))
            Image.fromarray(np.stack([blocks, blocks // 2, blocks + 3], -1).astype(np.uint8)).save(folder / f"{k}.png")
    elif what == "truncated":
        noise = Image.fromarray(np.random.default_rng(0).integers(0, 4, (90, 90), np.uint8))
        noise.save(path)
        path.write_bytes(path.read_bytes()[:900])
    elif what == "bomb":  # a header that claims a large picture
        content = bytearray(_png(image, path))
        content[16:24] = (60000).to_bytes(4, "big") * 2
        content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
        path.write_bytes(content)
    elif what == "nothing":
        pass
    else:
        image.save(path)


def _png(image: Image.Image, path: Path) -> bytes:
    image.save(path)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("soft colours", "soft .anti-aliased. edges.*without smoothing"),
        ("soft greys", "soft .anti-aliased. edges"),
        ("a photograph", "or pictures"),
        ("many colours", "360 values or colours"),
        ("JPEG", "stored as JPEG, which blurs ids"),
        ("JPEG under another name", "stored as JPEG, which blurs ids"),
        ("WebP", "stored as WEBP, which blurs ids"),
        ("animated", "several pictures .animated."),
        ("animated GIF", "several pictures .animated."),
        ("turned", "its EXIF data turns .orientation 3."),
        ("hsv", "CMYK colours"),
        ("large ids", "ids 0 to 255"),
        ("sizes", "is 9x9 pixels, but its sequence is 40x24"),
        ("mixed", "1.png: grey values beside other masks that hold colours"),
        ("two kinds", "two masks for one frame, the other is 0"),
        ("files and folders", "holds both masks .0.png. and folders .1."),
        ("several ids in a folder", "2 values besides black in the mask of a single object"),
        ("empty folders", "no masks in these folders"),
        ("many objects", "a folder for each of 260 objects; at most 254"),
        ("truncated", "fetch it again"),
        ("bomb", "0.png: this mask cannot be read"),
        ("nothing", "no masks; at least one .png"),
    ],
)
def test_what_is_wrong_is_told(tmp_path, what, message):
    _spoil(tmp_path, what)
    with pytest.raises(UserError, match=message) as caught:
        masks = open_masks(tmp_path)
        for name in masks.files:
            masks.read(name)
    assert str(tmp_path) in str(caught.value) or what in ("empty folders", "many objects")


@pytest.mark.parametrize("form", ["palette", "grey", "binary", "colours", "folders", "json"])
def test_masks_that_were_written_are_read_back(tmp_path, form):
    rng = np.random.default_rng(4)
    masks = {f"frame {k}": rng.choice([0, 1, 4, 254], SIZE).astype(np.uint8) for k in range(3)}
    for stem, mask in masks.items():
        if form == "palette":
            write_mask(tmp_path / f"{stem}.png", mask)
        elif form == "grey":
            write_grey(tmp_path / f"{stem}.png", mask)
        elif form == "binary":
            write_binary(tmp_path / f"{stem}.png", np.where(mask == 4, 255, mask))  # void is no object
            masks[stem] = np.isin(mask, (1, 254))
        elif form == "colours":
            mask[0] = 255
            write_colours(tmp_path / f"{stem}.png", mask)
        elif form == "folders":
            write_objects(tmp_path, stem, mask, [1, 4, 254])
    if form == "json":
        write_json(tmp_path / "masks.json", masks.items(), video="ü v")
        read = open_annotations(tmp_path / "masks.json")["ü v"].read
    else:
        read = open_masks(tmp_path).read
    assert all((read(stem) == mask).all() for stem, mask in masks.items())


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # pycocotools 2.0.11 with NumPy 2
def test_pycocotools_decodes_what_was_written(tmp_path):
    void = MASKS["00001"].copy()
    void[-1] = 255
    masks = {**MASKS, "00001": void}
    write_json(tmp_path / "m.json", iter(masks.items()))
    content = json.loads((tmp_path / "m.json").read_text())
    assert [file["file_names"] for file in content["videos"]] == [[f"{stem}.jpg" for stem in masks]]
    painted = {stem: np.zeros(SIZE, np.uint8) for stem in masks}
    for annotation in content["annotations"]:
        for stem, code in zip(masks, annotation["segmentations"], strict=True):
            if code is not None:
                painted[stem][coco_mask.decode(code).astype(bool)] = annotation["id"]
    assert all((painted[stem] == mask).all() for stem, mask in masks.items())
    assert (open_annotations(tmp_path / "m.json")[""].read("00001") == void).all()


def test_several_videos_in_one_file(tmp_path):
    """YouTube-VIS numbers annotations over all videos; ids beyond 254 are numbered anew."""
    for video in ("a", "b"):
        (tmp_path / "frames" / video).mkdir(parents=True)
        Image.new("RGB", SIZE[::-1]).save(tmp_path / "frames" / video / "00000.png")
    videos = [
        {"id": k, "height": SIZE[0], "width": SIZE[1], "file_names": [f"{name}/00000.jpg"]}
        for k, name in enumerate("ab")
    ]
    annotations = [
        {"id": number, "video_id": k, "segmentations": [rle_encode(mask_of(1, 2) == part)]}
        for number, k, part in ((3, 0, 1), (9, 0, 2), (900, 1, 2), (800, 1, 1))
    ]
    (tmp_path / "masks.json").write_text(json.dumps({"videos": videos, "annotations": annotations}))
    a, b = open_folder(tmp_path)
    assert (a.mask(0) == mask_of(3, 9)).all() and (b.mask(0) == mask_of(1, 2)).all()
    (tmp_path / "frames" / "c").mkdir()
    Image.new("RGB", SIZE[::-1]).save(tmp_path / "frames" / "c" / "00000.png")
    with pytest.raises(UserError, match="masks.json: no masks for c; there are those of a, b"):
        open_folder(tmp_path)


CODE = rle_encode(mask_of(1) > 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not masks in the form of COCO or YouTube-VIS"),
        ('{"a": 1}', "not masks in the form"),
        ("[1, 2]", "not masks in the form"),
        ('{"annotations": []}', "no masks in it"),
        ("[" * 100000, "not masks in the form"),
        ([{"image_id": k % 2, "segmentation": CODE} for k in range(3)], "give annotations a track_id"),
        ([{"image_id": k, "track_id": k, "segmentation": CODE} for k in range(300)], "300 objects in one video"),
        ([{"image_id": 0, "id": 1, "segmentation": {"size": [24, 41], "counts": CODE["counts"]}}], "984|pixels"),
        ([{"image_id": 0, "id": 1, "segmentation": {"size": [10**6, 10**6], "counts": "a"}}], "at most .* pixels"),
        ([{"image_id": 0, "id": 1, "segmentation": {"size": [24, 40], "counts": "~~~"}}], "none of it"),
        ([{"image_id": 0, "id": 1, "segmentation": [[1, 2, 3, 4, 5, 6]]}], "nothing tells the size"),
        ({"images": [{"id": 0, "file_name": "0.jpg", "height": 24, "width": float("nan")}], "annotations": []}, "size"),
        (
            {
                "videos": [{"id": 0, "height": 24, "width": 40, "file_names": ["0.jpg", "1.jpg"]}],
                "annotations": [{"id": 1, "video_id": 0, "segmentations": [CODE]}],
            },
            "1 masks for 2 frames",
        ),
    ],
)
def test_what_is_wrong_in_a_json_file_is_told(tmp_path, content, message):
    path = tmp_path / "m.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(UserError, match=message) as caught:
        for masks in open_annotations(path).values():
            for name in masks.files:
                masks.read(name)
    assert str(path) in str(caught.value)


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # pycocotools 2.0.11 with NumPy 2
def test_run_length_codes_are_decoded_as_by_pycocotools():
    rng = np.random.default_rng(0)
    for k in range(100):
        shape = rng.integers(1, 60, 2)
        mask = rng.random(shape) < rng.choice([0, 0.001, 0.1, 0.5, 1])
        if k == 0:  # long runs
            mask = np.zeros((3000, 2000), bool)
            mask[100:2900, 3:1700] = True
        code = rle_encode(mask)
        assert (rle_decode(code) == mask).all()
        assert (coco_mask.decode(code) == mask).all()


@pytest.mark.parametrize(
    "code",
    [
        {"size": [2, 3], "counts": [1, 2, 2]},
        {"size": [2, 3], "counts": [9, -3]},
        {"size": [2, 3], "counts": [2**70]},
        {"size": [2, 3], "counts": [1.5, 4.5]},
        {"size": [2, 3], "counts": "o"},  # goes on, and ends
        {"size": [2, 3], "counts": "ooooooooooooo0"},
        {"size": [2, 3], "counts": "\x01"},
        {"size": [2, 3], "counts": "ä"},
        {"size": [2, 3], "counts": ""},
        {"size": [-2, -3], "counts": "6"},
        {"size": [2, 3], "counts": None},
        {"size": [2], "counts": "6"},
        {"size": "ab", "counts": "6"},
        {"size": [float("inf"), 2], "counts": "6"},
        {"counts": "6"},
    ],
)
def test_broken_run_length_codes_are_refused(code):
    """pycocotools writes beyond its memory for some of these."""
    with pytest.raises(ValueError, match="run-length code"):
        rle_decode(code)


def test_polygons_that_would_fill_the_memory_are_refused():
    square = [[2, 3, 12, 3, 12, 9, 2, 9]]
    assert segment_mask(square, SIZE).sum() == 60 and not segment_mask([], SIZE).any()
    for wrong in ([[0, 0, 1e9, 0, 5, 5]], [[float("nan"), 0, 5, 5, 3, 9]], [[1, 2, 3, 4]], [["a"] * 6], 5, [[1] * 7]):
        with pytest.raises(ValueError, match="polygon"):
            segment_mask(wrong, SIZE)
