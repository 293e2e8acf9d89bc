"""Frames read from image files: rotated, blended and colour-managed as viewers do, and converted to 8 bits."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageCms

from eosvos.data.levels import Levels, Span, choose_span, to_8_bits
from eosvos.data.masks import FORMATS, check_pixels, unreadable_error, wrong_size_error
from eosvos.errors import UserError

_DEPTH = "more than 8 bits per channel"


def read_image(path: str | Path, size: tuple[int, int] | None = None, span: Span | None = None) -> np.ndarray:
    """Read an image file as a frame.

    The image is rotated as its EXIF data says, colours are converted from its ICC profile to sRGB, transparent parts
    are shown on black, and grey images get three equal channels.

    Args:
        path: the image file.
        size: height and width in pixels that the frame must have; None: any.
        span: pixel values that become 0 and 255; None: 8-bit values are kept and deeper images are refused.

    Returns:
        uint8 (H, W, 3), RGB.

    Raises:
        UserError: if the file is missing, damaged, of another size, or of more than 8 bits without a `span`.
    """
    path = Path(path)
    try:
        with Image.open(path, formats=FORMATS) as image:
            check_pixels(path, image)
            if span is None:
                check_depth(path, image)
            turn = orientation(image)
            pixels = rotated(decode(path, image, span), turn)
    except UserError:
        raise
    except Exception as error:  # Pillow raises OSError, SyntaxError, struct.error, ... on broken files
        raise unreadable_error(path, error, "frame") from error
    if size is not None and pixels.shape[:2] != tuple(size):
        raise wrong_size_error(path, pixels.shape[:2], size)
    return pixels


def decode(path: Path, image: Image.Image, span: Span | None, page: int = 0) -> np.ndarray:
    """Decode an opened image to uint8 (H, W, 3), RGB, without rotating it.

    Args:
        path: file of the image.
        image: the opened image.
        span: pixel values that become 0 and 255; needed for images of more than 8 bits.
        page: page of a TIFF.
    """
    if is_deep(image):
        assert span is not None, "a picture of more than 8 bits, but no span"
        pixels = to_8_bits(decode_deep(path, image, page), span)
        return np.repeat(pixels[..., None], 3, -1) if pixels.ndim == 2 else pixels
    pixels = _on_black(image)
    return pixels if span is None else to_8_bits(pixels, span)


def decode_deep(path: Path, image: Image.Image, page: int = 0) -> np.ndarray:
    """Decode an opened image of more than 8 bits to its stored values.

    Returns:
        (H, W), or (H, W, 3) RGB with transparent parts on black, in the file's data type.
    """
    if image.mode[0] in "IF":
        inverted = image.format == "TIFF" and image.tag_v2.get(262) == 0  # type: ignore[attr-defined]  # 0 is white
        values = np.array(image)
        return full_span(image)[1] - values if inverted else values
    # Pillow has no mode for these and would keep their upper 8 bits
    data = np.asarray(np.memmap(path, np.uint8, "r"))
    flags = cv2.IMREAD_UNCHANGED
    if image.format == "TIFF":
        done, pages = cv2.imdecodemulti(data, flags, range=(page, page + 1))
        decoded: Any = pages[0] if done and len(pages) else None
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
    """Return whether an opened image has more than 8 bits per channel. Nothing is decoded."""
    return image.mode[0] in "IF" or (image.format in ("PNG", "TIFF") and "16" in _raw_mode(image))


def full_span(image: Image.Image) -> Span:
    """Return the smallest and largest pixel value that an image of more than 8 bits can hold; 0 and 1 for floats."""
    if image.mode == "F":
        return 0.0, 1.0
    if image.mode == "I" and image.format == "TIFF":  # signed, or of 32 bits
        bits, signed = image.tag_v2.get(258, (32,))[0], image.tag_v2.get(339, (1,))[0] == 2  # type: ignore[attr-defined]
        return (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if signed else (0.0, 2.0**bits - 1)
    return 0.0, 65535.0


def choose_span_of_files(paths: Sequence[Path], levels: Levels) -> Span | None:
    """Choose the pixel values that become 0 and 255 in the frames of a folder.

    Args:
        paths: the frames.
        levels: the setting, see levels.py.

    Returns:
        The two values, or None if frames have 8 bits and `levels` does not change them.

    Raises:
        UserError: if only some of the frames have more than 8 bits.
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
    return choose_span(first.parent, levels, (_deep(path) for path in paths), full)


def describe_conversions(path: Path) -> list[str]:
    """Describe, in sentences for a log message, how an image is converted when it is read."""
    sentences = []
    with _opened(path) as image:
        if image.has_transparency_data and np.array(image.convert("RGBA"))[..., 3].min() < 255:
            sentences.append("transparent parts are read as shown on black")
        if _to_srgb(image) is not None:
            sentences.append("colours are turned from those of the ICC profile to sRGB")
        elif image.mode == "CMYK":
            sentences.append("CMYK without an ICC profile: colours are approximate")
        if orientation(image) > 1:
            sentences.append(
                "frames are turned as their EXIF data says; masks are expected, and written, for turned ones"
            )
    return sentences


def check_depth(path: Path, image: Image.Image) -> None:
    """Raise UserError if an opened image has more than 8 bits per channel."""
    if is_deep(image):
        raise UserError(
            f"{path}: a picture of {_DEPTH}; save it with 8 bits, having chosen what becomes black and white (videos of"
            " your own, by video= or dataset=folder, are read, see levels=)"
        )


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8, of an opened image that is not decoded yet.

    Pillow itself rotates a TIFF, and would decode a whole PNG to look for EXIF data behind the pixels.
    """
    has_exif = image.format in ("JPEG", "MPO", "WEBP") or (image.format == "PNG" and "exif" in image.info)
    turn = image.getexif().get(0x0112, 1) if has_exif else 1
    return int(turn) if turn in range(1, 9) else 1


def rotated(pixels: np.ndarray, turn: int) -> np.ndarray:
    """Rotate and mirror an image (H, W, 3) as an EXIF orientation, 1 to 8, says."""
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
            return decode_deep(path, image)
    except Exception as error:
        raise unreadable_error(path, error, "frame") from error
