"""Id masks: read, write, merge, and compute boxes of them.

An id mask is uint8 (H, W): 0 background, 255 void, any other value is an object id as the file has it.
"""

from __future__ import annotations

import errno
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, PngImagePlugin

from eosvos.data.palette import DAVIS_PALETTE
from eosvos.errors import UserError
from eosvos.files import atomic, refused

if TYPE_CHECKING:
    from torch import Tensor

VOID = 255
FORMATS = ("PNG", "BMP", "DIB", "GIF", "TIFF", "PPM", "JPEG", "WEBP")
"""Formats that images are read in. Pillow knows more, some of which start other programs (EPS)."""
_LOSSLESS = ("PNG", "BMP", "DIB", "GIF", "TIFF", "PPM")
MODES = ("P", "PA", "L", "LA", "1", "RGBA", "I", "I;16", "I;16B")
MOST_PIXELS = 2**26  # of an image or mask: 8K twice; files may claim to hold any number
_ABSENT = "Absent objects"  # the text of a PNG in which `write_mask` stores `absent`
_HOW = "save it as a palette or grey PNG whose pixel values are the object ids (0 background, 255 void)"


def read_mask(path: str | Path, binary: bool = False, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read an id mask.

    Palette images (the index is the id, whatever the palette), grey images of 8 or 16 bits, 1-bit images, and grey or
    RGBA images with an alpha channel whose red, green and blue are equal (one DAVIS-2016 mask is stored so) are read.
    Transparent pixels are background, unless all pixels are transparent. White of 16 bits is 255.

    Args:
        path: the image file.
        binary: every value above 0, including 255, becomes id 1. Otherwise 255 stays void, except that a 1-bit mask
            holds id 1.
        size: height and width in pixels that the mask must have; None: any.

    Returns:
        uint8 (H, W).

    Raises:
        UserError: if the file is missing, truncated or no image; is lossy (the ids of a JPEG are not exact), animated
            or to be rotated by its EXIF data; holds colours in place of ids, or ids above 255; or has another size.
    """
    path = Path(path)
    try:
        with Image.open(path, formats=FORMATS) as image:
            check_mask_header(path, image)
            bits = image.mode == "1"
            ids = np.array(image)
            check_upright(path, image)
    except UserError:
        raise
    except Exception as error:  # Pillow raises OSError, SyntaxError, struct.error, ... on broken files
        raise unreadable_error(path, error, "mask") from error
    if ids.ndim == 3:
        if ids.shape[2] == 4 and (ids[..., :3] != ids[..., :1]).any():
            raise UserError(f"{path}: a mask holds object ids, but this one holds RGB colours; {_HOW}")
        opaque = ids[..., -1] > 0
        ids = np.where(opaque, ids[..., 0], 0) if opaque.any() else ids[..., 0]
    if size is not None and ids.shape != tuple(size):
        raise wrong_size_error(path, ids.shape, size)
    if binary or bits:
        return (ids != 0).astype(np.uint8)
    if ids.dtype != np.uint8:
        if ids.max() == 65535 and not ((ids != 0) & (ids != 65535)).any():
            ids = np.minimum(ids, VOID)  # black and white with 16 bits
        if ids.min() < 0 or ids.max() > VOID:
            raise UserError(f"{path}: ids from {ids.min()} to {ids.max()}; a mask has ids 0 to 255; {_HOW}")
        ids = ids.astype(np.uint8)
    return ids


def ids_of(mask: np.ndarray) -> list[int]:
    """Return the object ids in an id mask uint8 (H, W), in ascending order, without 0 and 255."""
    counts = np.bincount(mask.ravel(), minlength=VOID + 1)  # np.unique sorts the pixels: twenty times slower
    return [int(i) for i in counts[:VOID].nonzero()[0] if i]


def check_mask_header(path: Path, image: Image.Image, modes: Sequence[str] = MODES, lossy: bool = False) -> None:
    """Raise UserError if an opened, not yet decoded image cannot be an id mask.

    Args:
        path: file of the image.
        image: the opened image.
        modes: allowed Pillow modes.
        lossy: whether a lossy format is allowed.
    """
    check_pixels(path, image)
    blurred = image.format == "TIFF" and "jpeg" in str(image.info.get("compression"))
    if not lossy and (image.format not in _LOSSLESS or blurred):
        name = "JPEG" if image.format == "MPO" or blurred else image.format
        raise UserError(f"{path}: a mask stored as {name}, which blurs ids; {_HOW}")
    if image.mode not in modes:
        raise UserError(f"{path}: a mask holds object ids, but this one holds {image.mode} colours; {_HOW}")
    if getattr(image, "is_animated", False):
        raise UserError(f"{path}: a mask of several pictures (animated); save one file for each frame")


def check_pixels(path: Path, image: Image.Image) -> None:
    """Raise UserError if an opened, not yet decoded image has more than `MOST_PIXELS` pixels."""
    if image.width * image.height > MOST_PIXELS:
        raise UserError(
            f"{path}: {image.width}x{image.height} pixels, more than {MOST_PIXELS >> 20} mega; scale it down"
        )


def check_upright(path: Path, image: Image.Image) -> None:
    """Raise UserError if a decoded mask has an EXIF rotation: its frame or other programs may apply it."""
    turn = image.getexif().get(0x0112, 1)
    if turn not in (0, 1):
        raise UserError(f"{path}: a mask that its EXIF data turns (orientation {turn}); save it upright, without EXIF")


def unreadable_error(path: Path, error: Exception, what: str) -> UserError:
    """Return the UserError for a file that could not be read as an image; `what` is "frame" or "mask"."""
    if isinstance(error, FileNotFoundError):
        return UserError(
            f"{path}: this {what} is missing; put it there, or give another path (of a data set: or"
            " leave its sequence out, sequences=[..])"
        )
    if isinstance(error, OSError) and error.errno not in (None, errno.EISDIR):  # Pillow's own errors have no number
        return refused(error, path)
    if path.is_file() and not path.stat().st_size:
        return UserError(f"{path}: this {what} is empty, a file of 0 bytes; fetch it again")
    return UserError(f"{path}: this {what} cannot be read ({error}); the file is damaged or no image: fetch it again")


def wrong_size_error(path: Path, size: Sequence[int], expected: Sequence[int]) -> UserError:
    """Return the UserError for an image or mask whose size (H, W) differs from that of its sequence."""
    remedy = "scale it to that, a mask without smoothing (in a data set: is it of the same resolution folder?)"
    if tuple(size) == tuple(expected)[::-1]:
        remedy = "width and height are swapped: turn it by a quarter, as the others are"
    return UserError(
        f"{path}: is {size[1]}x{size[0]} pixels, but its sequence is {expected[1]}x{expected[0]}; all frames and"
        f" masks of a sequence must have one size: {remedy}"
    )


def stack_masks(layers: Mapping[int, np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Stack the masks of objects into one id mask; of overlapping objects the smaller one is in front.

    So an arm stays visible in front of its person, whereas in a fixed order one of the two could vanish. Of objects of
    equal size the one with the lower id is in front.

    Args:
        layers: object id -> bool (H, W).
        size: height and width in pixels.

    Returns:
        uint8 (H, W).
    """
    mask = np.zeros(size, np.uint8)
    for number, layer in sorted(layers.items(), key=lambda item: (-np.count_nonzero(item[1]), -item[0])):
        mask[layer] = number
    return mask


def record_overlap(
    overlap_pixels: dict[str, int], name: str, layers: Mapping[int, np.ndarray], mask: np.ndarray
) -> None:
    """Add to `overlap_pixels` how many pixels of the bool masks `layers` lie below another one in `mask`, if any.

    Args:
        overlap_pixels: frame name -> pixels; changed in place.
        name: name of the frame.
        layers: object id -> bool (H, W).
        mask: the id mask that `stack_masks` made of them, uint8 (H, W).
    """
    lost = sum(map(np.count_nonzero, layers.values())) - np.count_nonzero(mask)
    if lost:
        overlap_pixels[name] = int(lost)


def write_mask(path: str | Path, ids: np.ndarray, absent: Collection[int] | None = None) -> None:
    """Write an id mask as a palette PNG with the DAVIS colours, atomically.

    Args:
        path: the file.
        ids: integers 0 to 255, (H, W).
        absent: ids of the objects that the mask annotates as absent, beside those that it shows; stored as text of the
            PNG (`read_absent`). None: the file does not say.
    """
    image, text = palette_image(ids), None
    if absent is not None:
        text = PngImagePlugin.PngInfo()
        text.add_text(_ABSENT, " ".join(map(str, sorted(absent))))
    with atomic(path) as temporary:
        image.save(temporary, format="PNG", pnginfo=text)


def read_absent(path: str | Path) -> tuple[int, ...] | None:
    """Return the ids that a mask of `write_mask` annotates as absent; None if the file does not say."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            text = image.info.get(_ABSENT)
    except Exception as error:  # as in `read_mask`
        raise unreadable_error(Path(path), error, "mask") from error
    if not isinstance(text, str):
        return None
    if not all(part.isdecimal() and 0 < int(part) < VOID for part in text.split()):
        raise UserError(f"{path}: its text {_ABSENT!r} is {text[:40]!r}; expected object ids, 1 to {VOID - 1}")
    return tuple(int(part) for part in text.split())


def palette_image(ids: np.ndarray) -> Image.Image:
    """Convert an id mask, integers 0 to 255 of shape (H, W), to a palette image with the DAVIS colours.

    Raises ValueError for any other array.
    """
    ids = np.asarray(ids)
    if ids.ndim != 2 or (ids.dtype != np.uint8 and (ids.dtype.kind not in "biu" or ids.min() < 0 or ids.max() > 255)):
        raise ValueError(f"an id mask is (H, W) with integers 0 to 255, not {ids.dtype} {ids.shape}")
    image = Image.fromarray(np.ascontiguousarray(ids, np.uint8))
    image.putpalette(DAVIS_PALETTE.tobytes())  # turns "L" into "P", values unchanged
    return image


def box_of(mask: np.ndarray | Tensor) -> Tensor | None:
    """Return the tight box of a mask.

    Args:
        mask: bool (H, W).

    Returns:
        float32 (4,), xyxy in pixels with an exclusive maximum; None if the mask is empty.
    """
    import torch

    mask = torch.as_tensor(mask)
    columns, rows = mask.any(0).nonzero(), mask.any(1).nonzero()
    if not len(rows):
        return None
    # + 1: torchvision's masks_to_boxes takes the last pixel itself, so that one pixel has a box without area
    return torch.stack([columns[0, 0], rows[0, 0], columns[-1, 0] + 1, rows[-1, 0] + 1]).float()


def boxes_of(masks: Tensor) -> Tensor:
    """Return the tight boxes of masks.

    Args:
        masks: bool (N, H, W); N may be 0.

    Returns:
        float32 (N, 4), xyxy in pixels with an exclusive maximum, on the device of `masks`.

    Raises:
        ValueError: for an empty mask, which has no box.
    """
    import torch

    if not len(masks):
        return torch.zeros(0, 4, dtype=torch.float32, device=masks.device)
    columns, rows = masks.any(1).byte(), masks.any(2).byte()  # (N, W), (N, H)
    empty = (rows.amax(1) == 0).nonzero()[:, 0].tolist()
    if empty:
        raise ValueError(f"masks {empty} of {len(masks)} are empty and have no box")
    height, width = masks.shape[1:]
    low = [columns.argmax(1), rows.argmax(1)]
    high = [width - columns.flip(1).argmax(1), height - rows.flip(1).argmax(1)]
    return torch.stack(low + high, 1).float()


def merge(probabilities: Tensor | np.ndarray, ids: Sequence[int]) -> np.ndarray:
    """Merge the probabilities of objects into one id mask: background where all are below 0.5, else the argmax.

    Args:
        probabilities: float (K, H, W) in [0, 1].
        ids: object ids of the K probabilities. Of equal probabilities the earlier object wins.

    Returns:
        uint8 (H, W).
    """
    import torch

    values = torch.as_tensor(probabilities)
    if values.ndim != 3 or len(values) != len(ids):
        raise ValueError(f"{len(ids)} ids need probabilities ({len(ids)}, H, W), not {tuple(values.shape)}")
    if not len(ids):
        return np.zeros(values.shape[1:], np.uint8)
    planes = values.detach().cpu().numpy()
    best, which = planes[0].copy(), np.full(planes.shape[1:], ids[0], np.uint8)
    for plane, object_id in zip(planes[1:], ids[1:], strict=True):  # faster than an argmax across the planes
        np.copyto(which, np.uint8(object_id), where=plane > best)
        np.maximum(best, plane, out=best)
    return which * (best >= 0.5)


def jaccard(prediction: np.ndarray, truth: np.ndarray, ignore: np.ndarray | None = None) -> float:
    """Region similarity J: the Jaccard index |A & B| / |A | B| of two masks.

    Args:
        prediction: bool (H, W).
        truth: bool (H, W).
        ignore: bool (H, W), pixels that are left out of both; None: all pixels count.

    Returns:
        A value in [0, 1]; 1 where both masks are empty.

    Source: Perazzi et al., CVPR 2016, section 3.
    """
    overlap, union = prediction & truth, prediction | truth
    if ignore is not None:
        overlap, union = overlap & ~ignore, union & ~ignore
    count = np.count_nonzero(union)
    return np.count_nonzero(overlap) / count if count else 1.0


def no_object_message(mask: np.ndarray | None = None) -> str:
    """Return the message for a first mask that shows no object: it is empty (`mask` None) or holds 0 and 255 alone."""
    if mask is not None and mask.any():
        return (
            "the first mask holds only 0 and 255, and 255 means void (unknown) in an id mask; if this is the object,"
            " have it read so with binary=true (DAVIS: year=2016)"
        )
    return (
        "the first mask is empty, so there is no object to follow; give a mask in which it can be seen (of a data set:"
        " or remove this file, as objects may appear later, or leave its sequence out, sequences=[..])"
    )
