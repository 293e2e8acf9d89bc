"""Masks: files, boxes, run-length codes, merging."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from eosvos.data.image_files import check_file
from eosvos.data.images import read_image
from eosvos.data.mask_files.rle import rle_decode, rle_encode
from eosvos.data.masks import box_of, boxes_of, ids_of, merge, read_mask, write_mask
from eosvos.data.palette import DAVIS_PALETTE
from eosvos.errors import UserError


@pytest.fixture
def ids() -> np.ndarray:
    """An id mask with gaps, all of 0, 1, 2, 7, 254 and void."""
    mask = np.zeros((9, 14), np.uint8)
    mask[1:3, 2:5], mask[4:, 0], mask[0, -1], mask[5, 5:9], mask[8, 8] = 1, 2, 7, 254, 255
    return mask


def test_palette_is_the_voc_one():
    expected = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128)]
    assert [tuple(c) for c in DAVIS_PALETTE[:7].tolist()] == expected
    assert DAVIS_PALETTE[255].tolist() == [224, 224, 192] and DAVIS_PALETTE[21].tolist() == [128, 64, 128]
    assert len(np.unique(DAVIS_PALETTE, axis=0)) == 256


def test_written_masks_are_read_back_with_the_palette(ids, tmp_path):
    write_mask(tmp_path / "new" / "m.png", ids)
    assert (read_mask(tmp_path / "new" / "m.png") == ids).all()
    with Image.open(tmp_path / "new" / "m.png") as image:
        assert image.mode == "P" and image.format == "PNG"
        assert (np.array(image.convert("RGB")) == DAVIS_PALETTE[ids]).all()
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["m.png"]


@pytest.mark.parametrize("kind", ["grey", "grey16", "int32", "palette", "two-colour palette", "LA", "RGBA"])
def test_every_format_gives_the_same_ids(ids, tmp_path, kind):
    path = tmp_path / "m.png"
    image = Image.fromarray(ids)
    alpha = Image.fromarray(np.arange(ids.size, dtype=np.uint8).reshape(ids.shape))
    if kind == "grey16":
        image = Image.fromarray(ids.astype(np.uint16))
    elif kind == "int32":
        image, path = Image.fromarray(ids.astype(np.int32)), tmp_path / "m.tif"
    elif kind == "palette":
        image.putpalette(DAVIS_PALETTE.tobytes())
    elif kind == "two-colour palette":
        image.putpalette([9, 9, 9] * 256)
    elif kind == "LA":
        image = Image.merge("LA", [image, alpha])
    elif kind == "RGBA":
        image = Image.merge("RGBA", [image, image, image, alpha])
    image.save(path)
    read = read_mask(path)
    assert read.dtype == np.uint8 and (read == ids).all()
    assert (read_mask(path, binary=True) == (ids > 0)).all()


def test_one_bit_and_binary_masks(tmp_path):
    shape = np.eye(6, dtype=bool)
    Image.fromarray(shape).save(tmp_path / "bit.png")
    Image.fromarray(shape.astype(np.uint8) * 255).save(tmp_path / "grey.png")
    assert (read_mask(tmp_path / "bit.png") == shape).all() and read_mask(tmp_path / "bit.png").max() == 1
    assert (read_mask(tmp_path / "grey.png", binary=True) == shape).all()
    assert (read_mask(tmp_path / "grey.png") == shape * 255).all()  # void, unless it is said to be binary


def _bad(tmp_path, kind, ids):
    path = tmp_path / "bad.png"
    write_mask(path, np.random.default_rng(0).integers(0, 9, (64, 64)))
    if kind == "missing":
        path.unlink()
    elif kind == "truncated":
        path.write_bytes(path.read_bytes()[:-700])
    elif kind == "empty file":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("no image")
    elif kind == "RGB":
        Image.fromarray(DAVIS_PALETTE[ids]).save(path)
    elif kind == "RGBA colours":
        Image.fromarray(DAVIS_PALETTE[ids]).convert("RGBA").save(path)
    elif kind == "JPEG":
        Image.fromarray(ids).save(path, format="JPEG")
    elif kind == "large ids":
        Image.fromarray(ids.astype(np.uint16) + 300).save(path)
    elif kind == "directory":
        path.unlink()
        path.mkdir()
    return path


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        ("missing", "missing; put it there"),
        ("truncated", "fetch it again"),
        ("empty file", "fetch it again"),
        ("text", "fetch it again"),
        ("directory", "cannot be read"),
        ("RGB", "palette or grey PNG"),
        ("RGBA colours", "palette or grey PNG"),
        ("JPEG", "palette or grey PNG"),
        ("large ids", "ids 0 to 255"),
    ],
)
def test_bad_masks_are_named_with_a_remedy(ids, tmp_path, kind, remedy):
    path = _bad(tmp_path, kind, ids)
    with pytest.raises(UserError, match=remedy) as caught:
        read_mask(path)
    assert str(path) in str(caught.value)


def test_images_that_would_fill_the_memory_are_refused_before_they_are_decoded(ids, tmp_path, monkeypatch):
    path = tmp_path / "large.png"
    Image.fromarray(ids).save(path)
    monkeypatch.setattr("eosvos.data.masks.MOST_PIXELS", ids.size - 1)
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("decoded"))
    for read in (read_mask, read_image, check_file, lambda file: check_file(file, mask=True)):
        with pytest.raises(UserError, match="large.png: 14x9 pixels, more than"):
            read(path)


def test_a_mask_of_another_size_is_told(ids, tmp_path):
    write_mask(tmp_path / "m.png", ids)
    with pytest.raises(UserError, match="is 14x9 pixels, but its sequence is 20x10"):
        read_mask(tmp_path / "m.png", size=(10, 20))


@pytest.mark.parametrize("wrong", [np.zeros((2, 2, 3)), np.zeros((2, 2)), np.full((2, 2), 256), np.full((2, 2), -1)])
def test_only_id_masks_are_written(wrong, tmp_path):
    with pytest.raises(ValueError, match="id mask"):
        write_mask(tmp_path / "m.png", wrong)
    assert not list(tmp_path.iterdir())


def test_ids_leave_out_background_and_void(ids):
    assert ids_of(ids) == [1, 2, 7, 254]
    assert ids_of(np.zeros((3, 3), np.uint8)) == []


def test_boxes_against_a_loop():
    masks = torch.rand(40, 7, 11, generator=torch.Generator().manual_seed(3)) > 0.93
    masks = masks[masks.flatten(1).any(1)]
    expected = []
    for mask in masks:
        spots = [(x, y) for y in range(7) for x in range(11) if mask[y, x]]
        xs, ys = zip(*spots, strict=True)
        expected.append([min(xs), min(ys), max(xs) + 1, max(ys) + 1])
    assert boxes_of(masks).tolist() == expected and boxes_of(masks).dtype == torch.float32
    assert [box_of(m).tolist() for m in masks] == expected
    assert box_of(masks[0].numpy()).tolist() == expected[0]


def test_one_pixel_has_a_box_with_area_and_none_has_no_box():
    mask = torch.zeros(5, 6, dtype=torch.bool)
    assert box_of(mask) is None
    assert boxes_of(mask[None][:0]).shape == (0, 4)
    with pytest.raises(ValueError, match="empty"):
        boxes_of(mask[None])
    mask[4, 5] = True
    assert box_of(mask).tolist() == [5, 4, 6, 5]


def test_merge_against_a_loop():
    probabilities = torch.rand(3, 8, 9, generator=torch.Generator().manual_seed(1)) * 0.8
    probabilities[:, 0, 0], probabilities[1, 0, 1], probabilities[:, 0, 2] = 0.5, 1.0, 0.4999
    ids, expected = [4, 1, 200], np.zeros((8, 9), np.uint8)
    for y in range(8):
        for x in range(9):
            best = max(range(3), key=lambda k: float(probabilities[k, y, x]))
            expected[y, x] = ids[best] if probabilities[best, y, x] >= 0.5 else 0
    merged = merge(probabilities, ids)
    assert merged.dtype == np.uint8 and (merged == expected).all()
    assert merged[0, 0] == 4 and merged[0, 1] == 1 and merged[0, 2] == 0  # of equals the first; 0.5 is inside
    assert (merge(probabilities.numpy(), ids) == expected).all()
    assert (merge(torch.zeros(0, 4, 5), []) == np.zeros((4, 5))).all()
    with pytest.raises(ValueError, match="2 ids need"):
        merge(probabilities, [1, 2])


def test_run_length_codes_go_round():
    mask = np.random.default_rng(0).random((13, 17)) > 0.6
    code = rle_encode(mask)
    assert code["size"] == [13, 17] and isinstance(code["counts"], str)
    assert (rle_decode(code) == mask).all() and (rle_decode(rle_encode(torch.from_numpy(mask))) == mask).all()
    assert not rle_decode(rle_encode(np.zeros((4, 4), bool))).any()
    assert (rle_decode({"size": [2, 3], "counts": [1, 2, 3]}) == [[0, 1, 0], [1, 0, 0]]).all()  # columns first
