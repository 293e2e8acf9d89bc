"""Pictures are read as viewers show them, and where that is not simply what is stored, it is told."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from eosvos.data.image_files import check_file
from eosvos.data.images import read_image
from eosvos.data.readers.folder import open_frames

PIXELS = np.zeros((20, 30, 3), np.uint8)
PIXELS[:8, :10] = (220, 40, 60)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "webp", "png", "tif"])
def test_exif_turns_frames(tmp_path, caplog, ending, turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    path = tmp_path / f"0.{ending}"
    Image.fromarray(PIXELS).save(path, exif=exif, **({"quality": 100} if ending == "jpg" else {}))
    expected = PIXELS.transpose(1, 0, 2) if turn >= 5 else PIXELS
    expected = expected[:: -1 if turn in (3, 4, 7, 8) else 1, :: -1 if turn in (2, 3, 6, 7) else 1]
    read = read_image(path)
    assert read.shape == expected.shape and (check_file(path) == read.shape[:2] or ending == "tif")
    assert np.abs(read.astype(int) - expected).mean() < 6
    open_frames(tmp_path) if ending != "tif" else None
    assert ("turned as their EXIF data says" in caplog.text) == (turn > 1 and ending != "tif")


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGBA16"])
def test_transparent_parts_are_on_black_and_told(tmp_path, caplog, mode):
    alpha = np.zeros((20, 30), np.uint8)
    alpha[:8, :10] = 255
    whole = np.dstack([np.where(PIXELS.any(2, keepdims=True), PIXELS, 199), alpha])  # a hidden colour
    path = tmp_path / "0.png"
    if mode == "RGBA16":
        cv2.imwrite(str(path), whole[..., [2, 1, 0, 3]].astype(np.uint16) * 257)
        read = read_image(path, span=(0, 65535))
    else:
        image = Image.fromarray(whole)
        image = image if mode == "RGBA" else image.convert("LA") if mode == "LA" else image.quantize(8)
        image.save(path)
        read = read_image(path)
        assert open_frames(tmp_path)[1] == (20, 30) and "transparent parts are read as shown on black" in caplog.text
    assert (read[10:] == 0).all() and read[:8, :10].min() > 30


def _wide_profile() -> bytes:
    """sRGB's own, but with red and green exchanged: a profile that changes colours."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    data = bytearray(bytes(data).replace(b"s\0R\0G\0B", b"x\0R\0G\0B"))
    count = int.from_bytes(data[128:132], "big")
    rows = {bytes(data[k : k + 4]): k for k in range(132, 132 + 12 * count, 12)}
    red, green = rows[b"rXYZ"], rows[b"gXYZ"]
    data[red + 4 : red + 12], data[green + 4 : green + 12] = data[green + 4 : green + 12], data[red + 4 : red + 12]
    return bytes(data)


def test_colours_of_an_icc_profile_are_turned_to_srgb(tmp_path, caplog):
    path = tmp_path / "0.png"
    Image.fromarray(PIXELS).save(path, icc_profile=_wide_profile())
    assert np.abs(read_image(path)[0, 0].astype(int) - (40, 220, 60)).max() <= 3
    open_frames(tmp_path)
    assert "ICC profile" in caplog.text
    for same in (b"damaged", ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()):
        Image.fromarray(PIXELS).save(path, icc_profile=same)
        assert (read_image(path) == PIXELS).all()


def test_cmyk_is_read_and_told(tmp_path: Path, caplog):
    Image.fromarray(PIXELS).convert("CMYK").save(tmp_path / "0.jpg", quality=100)
    assert np.abs(read_image(tmp_path / "0.jpg")[2, 2].astype(int) - PIXELS[2, 2]).max() < 12
    open_frames(tmp_path)
    assert "CMYK without an ICC profile" in caplog.text
