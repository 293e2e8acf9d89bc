"""Image files as frames: turned, blended and coloured as viewers show them, with 8 bits however many they have."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageCms

from eosvos.data.levels import Levels, Span, scaled, span_of
from eosvos.data.masks import FORMATS, check_pixels, unreadable, wrong_size
from eosvos.errors import UserError

_DEPTH = "more than 8 bits per channel"


def read_image(path: str | Path, size: tuple[int, int] | None = None, span: Span | None = None) -> np.ndarray:
    """Read a picture, uint8 (H, W, 3) RGB, as viewers show it: turned by its EXIF data, its ICC profile's colours
    turned to sRGB, transparent parts on black. Grey ones get three equal channels.

    span: the values that become 0 and 255; None: those of 8 bits as they are, others are refused.
    Raises UserError, naming the file, if it is missing, damaged, of more than 8 bits, or not of `size` (H, W).
    """
    path = Path(path)
    try:
        with Image.open(path, formats=FORMATS) as image:
            check_pixels(path, image)
            if span is None:
                check_depth(path, image)
            turn = orientation(image)
            pixels = turned(pixels_of(path, image, span), turn)
    except UserError:
        raise
    except Exception as error:  # Pillow raises OSError, SyntaxError, struct.error, ... on broken files
        raise unreadable(path, error, "frame") from error
    if size is not None and pixels.shape[:2] != tuple(size):
        raise wrong_size(path, pixels.shape[:2], size)
    return pixels


def pixels_of(path: Path, image: Image.Image, span: Span | None, page: int = 0) -> np.ndarray:
    """uint8 (H, W, 3) of an opened image as it is stored, at its page `page`."""
    if is_deep(image):
        assert span is not None, "a picture of more than 8 bits, but no span"
        pixels = scaled(deep_pixels(path, image, page), span)
        return np.repeat(pixels[..., None], 3, -1) if pixels.ndim == 2 else pixels
    pixels = _on_black(image)
    return pixels if span is None else scaled(pixels, span)


def deep_pixels(path: Path, image: Image.Image, page: int = 0) -> np.ndarray:
    """Pixels of an opened image of more than 8 bits as they are stored: (H, W), or (H, W, 3) RGB on black."""
    if image.mode[0] in "IF":
        inverted = image.format == "TIFF" and image.tag_v2.get(262) == 0  # type: ignore[attr-defined]  # 0 is white
        values = np.array(image)
        return full_span(image)[1] - values if inverted else values
    # Pillow has no mode for these and would keep their upper 8 bits
    data = np.asarray(np.memmap(path, np.uint8, "r"))
    flags = cv2.IMREAD_UNCHANGED
    if image.format == "TIFF":
        done, found = cv2.imdecodemulti(data, flags, range=(page, page + 1))
        decoded: Any = found[0] if done and len(found) else None
    else:
        decoded = cv2.imdecode(data, flags)
    if decoded is None or decoded.shape[:2] != (image.height, image.width):
        raise ValueError("OpenCV cannot decode it")
    if decoded.ndim == 2:
        return decoded
    colours = decoded[..., 2::-1]
    if decoded.shape[2] == 4:
        colours = (colours * (decoded[..., 3:] / np.float32(65535))).round().astype(decoded.dtype)
    return np.ascontiguousarray(colours)


def is_deep(image: Image.Image) -> bool:
    """Whether an opened image has more than 8 bits per channel; nothing is decoded."""
    return image.mode[0] in "IF" or (image.format in ("PNG", "TIFF") and "16" in _raw_mode(image))


def full_span(image: Image.Image) -> Span:
    """What the pixels of an image of more than 8 bits can hold; of floating ones 0 to 1."""
    if image.mode == "F":
        return 0.0, 1.0
    if image.mode == "I" and image.format == "TIFF":  # signed, or of 32 bits
        bits, signed = image.tag_v2.get(258, (32,))[0], image.tag_v2.get(339, (1,))[0] == 2  # type: ignore[attr-defined]
        return (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if signed else (0.0, 2.0**bits - 1)
    return 0.0, 65535.0


def span_of_files(paths: Sequence[Path], levels: Levels) -> Span | None:
    """The span of the frames of a folder, None where they have 8 bits and `levels` leaves these as they are.

    Raises UserError where only some have more than 8 bits.
    """
    first, deep = paths[0], [_opened_is_deep(path) for path in paths]
    if len(set(deep)) > 1:
        other = paths[deep.index(not deep[0])]
        raise UserError(
            f"{first} and {other}: one has {_DEPTH}, the other has not; frames of one video are of one kind: convert"
            " some of them"
        )
    if not deep[0]:
        return levels if isinstance(levels, tuple) else None
    with _opened(first) as image:
        full = full_span(image)
    return span_of(first.parent, levels, (_deep(path) for path in paths), full)


def describe(path: Path) -> list[str]:
    """What of a picture is not simply read as it is stored, for people."""
    told = []
    with _opened(path) as image:
        if image.has_transparency_data and np.array(image.convert("RGBA"))[..., 3].min() < 255:
            told.append("transparent parts are read as shown on black")
        if _to_srgb(image) is not None:
            told.append("colours are turned from those of the ICC profile to sRGB")
        elif image.mode == "CMYK":
            told.append("CMYK without an ICC profile: colours are approximate")
        if orientation(image) > 1:
            told.append("frames are turned as their EXIF data says; masks are expected, and written, for turned ones")
    return told


def check_depth(path: Path, image: Image.Image) -> None:
    """Raise UserError for an opened image of more than 8 bits."""
    if is_deep(image):
        raise UserError(
            f"{path}: a picture of {_DEPTH}; save it with 8 bits, having chosen what becomes black and white (videos of"
            " your own, by video= or dataset=folder, are read, see levels=)"
        )


def orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8, of an opened image that is not decoded yet. Pillow turns a TIFF itself, and would
    decode a whole PNG to look for EXIF data after the pixels."""
    told = image.format in ("JPEG", "MPO", "WEBP") or (image.format == "PNG" and "exif" in image.info)
    turn = image.getexif().get(0x0112, 1) if told else 1
    return int(turn) if turn in range(1, 9) else 1


def turned(pixels: np.ndarray, turn: int) -> np.ndarray:
    """Pixels (H, W, 3) as an EXIF orientation has them."""
    if turn >= 5:
        pixels = pixels.transpose(1, 0, 2)
    across, down = turn in (2, 3, 6, 7), turn in (3, 4, 7, 8)
    return np.ascontiguousarray(pixels[:: -1 if down else 1, :: -1 if across else 1])


def _on_black(image: Image.Image) -> np.ndarray:
    """uint8 (H, W, 3) in sRGB of an image of 8 bits, what is transparent on black."""
    transform = _to_srgb(image)
    if image.has_transparency_data:
        whole = image.convert("RGBA")
        ground = Image.new("RGB", whole.size)
        ground.paste(_in_srgb(whole.convert("RGB"), transform), mask=whole.getchannel("A"))
        return np.array(ground)
    return np.array(_in_srgb(image, transform))


def _in_srgb(image: Image.Image, transform: Any) -> Image.Image:
    if transform is None:
        return image.convert("RGB")
    mode = image.mode if image.mode in ("L", "CMYK") else "RGB"
    done: Image.Image | None = ImageCms.applyTransform(image.convert(mode), transform)
    assert done is not None  # it is only where the image itself is changed
    return done


def _to_srgb(image: Image.Image) -> Any:
    """The transform from an image's ICC profile, None where it has none, or sRGB's."""
    profile = image.info.get("icc_profile")
    if not isinstance(profile, bytes) or not profile:
        return None
    alpha = image.has_transparency_data  # then colours are taken by themselves
    return _transform(profile, image.mode if image.mode in ("L", "CMYK") and not alpha else "RGB")


@lru_cache(8)
def _transform(profile: bytes, mode: str) -> Any:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return None
        flags = ImageCms.Flags.NOCACHE  # so that threads can share it
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB", flags=flags)
    except (ImageCms.PyCMSError, OSError, ValueError):  # a broken profile, or of another kind of colours
        return None


def _raw_mode(image: Image.Image) -> str:
    tiles = getattr(image, "tile", ())
    arguments = tiles[0][3] if tiles else ""
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def _opened(path: Path) -> Image.Image:
    return Image.open(path, formats=FORMATS)


def _opened_is_deep(path: Path) -> bool:
    if path.suffix.lower() in (".jpg", ".jpeg", ".bmp", ".webp"):
        return False
    with _opened(path) as image:
        return is_deep(image)


def _deep(path: Path) -> np.ndarray:
    try:
        with _opened(path) as image:
            return deep_pixels(path, image)
    except Exception as error:
        raise unreadable(path, error, "frame") from error
