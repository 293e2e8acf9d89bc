"""Masks whose pixels or names tell that they are not what they would be taken for."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from eosvos.data.mask_files.formats import open_masks
from eosvos.data.masks import write_mask
from eosvos.data.readers.user_video import open_own
from eosvos.errors import UserError

SIZE = (48, 80)
OBJECT = np.zeros(SIZE, bool)
OBJECT[10:40, 20:60] = True
HALF = OBJECT & (np.arange(80) < 40)


@pytest.fixture
def clip(tmp_path):
    (tmp_path / "clip").mkdir()
    for k in range(3):
        Image.new("RGB", SIZE[::-1], (40 * k, 9, 200)).save(tmp_path / "clip" / f"{k:05d}.png")
    return tmp_path / "clip"


def palette(ids: np.ndarray, *colours: tuple, **info: object) -> Image.Image:
    image = Image.fromarray(np.asarray(ids).astype(np.uint8))
    image.putpalette(bytes(sum(map(list, colours), [])))
    image.info.update(info)
    return image


def first(clip, image: Image.Image, **settings) -> np.ndarray:
    image.save(clip.parent / "first.png", **image.info)
    return open_own(clip, mask=clip.parent / "first.png", **settings)[0].mask(0)


BLACK, WHITE, RED, GREEN = (0, 0, 0), (255, 255, 255), (200, 30, 30), (0, 128, 0)


@pytest.mark.parametrize("binary", [None, True])
def test_palettes_whose_background_is_not_index_0(clip, binary):
    colours = np.array([BLACK, RED, GREEN], np.uint8)
    two = OBJECT + 1 * HALF  # green, and red
    for image, wanted in [
        (palette(~OBJECT, WHITE, BLACK), OBJECT),
        (palette(np.where(HALF, 0, 2 - OBJECT), RED, GREEN, BLACK), two),
        (palette(np.where(OBJECT, 2, 1), BLACK, BLACK, RED), OBJECT),
        (Image.fromarray(colours[OBJECT * 1]).quantize(4), OBJECT),
        (Image.fromarray(colours[np.where(HALF, 2, OBJECT)]).convert("P", palette=Image.Palette.ADAPTIVE), two),
        (palette(np.where(OBJECT, 0, 1), RED, WHITE, transparency=1), OBJECT),  # transparent is the background
    ]:
        mask = first(clip, image, binary=binary)
        assert (mask > 0).tolist() == (wanted > 0).tolist()
        assert binary or len(np.unique(mask)) == len(np.unique(wanted))


def test_palettes_whose_background_is_index_0(clip, caplog):
    caplog.set_level("INFO")
    for image in (
        palette(OBJECT, BLACK, RED),
        palette(OBJECT, WHITE, RED),
        palette(OBJECT, (9, 9, 9), (9, 9, 9)),
        palette(OBJECT, WHITE, BLACK, transparency=0),
        palette(OBJECT, *[(k, k, k) for k in range(256)]),
    ):
        assert (first(clip, image) == OBJECT).all()
    assert sum("0, around the rest, is background, though not black" in message for message in caplog.messages) == 1


def test_where_nothing_tells_the_background_it_is_refused(clip):
    for image, message in [
        (palette(~OBJECT, RED, WHITE), "nothing is black, and index 0, of the colour .200, 30, 30., is not around"),
        (palette(OBJECT, WHITE, BLACK), "surrounds all else: an inverted mask"),
        (Image.fromarray(np.where(OBJECT, 0, 255).astype(np.uint8)), "the object surrounds all else.*binary=true"),
        (Image.fromarray(~OBJECT), "surrounds all else"),
        (Image.fromarray((1 + OBJECT).astype(np.uint8)), "object 1 surrounds all else.*binary=false"),
        (Image.fromarray(np.array([WHITE, RED], np.uint8)[OBJECT * 1]), "surrounds all else"),
        (Image.fromarray(np.array([BLACK, RED], np.uint8)[OBJECT * 1]).convert("P"), "dithered colours"),
    ]:
        with pytest.raises(UserError, match=message):
            first(clip, image)
    assert (first(clip, Image.fromarray(~OBJECT), binary=True) == ~OBJECT).all()
    assert (first(clip, Image.fromarray((1 + OBJECT).astype(np.uint8)), binary=False) == 1 + OBJECT).all()


def test_soft_edges_of_few_shades_are_refused(clip):
    for shades in (3, 5):
        y, x = np.mgrid[: SIZE[0], : SIZE[1]]
        cover = np.clip(15 - np.hypot(y - 24.0, x - 40.0), 0, 1)
        grey = Image.fromarray((np.round(cover * shades) * (255 // shades)).astype(np.uint8))
        for image in (grey, Image.merge("RGB", [grey, Image.new("L", grey.size), Image.new("L", grey.size)])):
            with pytest.raises(UserError, match="soft .anti-aliased. edges"):
                first(clip, image)


def test_the_mask_of_a_single_object_with_another_palette(tmp_path):
    for number, mask in ((1, HALF), (2, OBJECT & ~HALF)):
        (tmp_path / str(number)).mkdir()
        palette(~mask, WHITE, BLACK).save(tmp_path / str(number) / "0.png")
    assert (open_masks(tmp_path).read("0") == HALF + 2 * (OBJECT & ~HALF)).all()


def test_black_beside_transparent_is_refused(clip):
    pixels = np.zeros((*SIZE, 4), np.uint8)
    pixels[OBJECT] = (*BLACK, 255)
    pixels[HALF] = (*RED, 255)
    with pytest.raises(UserError, match="whether black is an object is not told"):
        first(clip, Image.fromarray(pixels))
    file = io.BytesIO()
    pixels[OBJECT] = (*WHITE, 255)
    Image.fromarray(pixels).save(file, format="PNG")
    assert (first(clip, Image.open(file)) == OBJECT).all()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["task-7-annotation-3-by-1-tag-Bear-0", "task-7-annotation-3-by-1-tag-Bear-1"], "name them FRAME_OBJECT, say"),
        (["object1", "object2"], "named by an object, and which frame's mask it is, is not told"),
        (["frame_obj_1"], "named by an object"),
    ],
)
def test_names_that_tell_objects_are_refused(clip, tmp_path, names, message):
    for name in names:
        write_mask(tmp_path / "masks" / f"{name}.png", OBJECT * 1)
    with pytest.raises(UserError, match=message):
        open_own(clip, masks=tmp_path / "masks")
