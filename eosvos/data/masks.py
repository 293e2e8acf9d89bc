"""Id masks: to and from files, their boxes, and the one place where objects are merged.

Id mask: uint8 (H, W), 0 background, 255 void, any other value an object id as the file has it.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

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
MOST_PIXELS = 2**26  # of a picture or mask: 8K twice; files may claim to hold any number
_HOW = "save it as a palette or grey PNG whose pixel values are the object ids (0 background, 255 void)"


def read_mask(path: str | Path, binary: bool = False, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read an id mask, uint8 (H, W).

    Read are palette images (the index is the id, whatever the palette), grey ones of 8 or 16 bits, 1-bit ones, and grey
    or RGBA ones with an alpha channel, if red, green and blue are equal (one DAVIS-2016 mask is stored so); what is
    wholly transparent there is background, unless all is. `binary`: every value above 0, 255 too, becomes id 1;
    otherwise 255 stays void, but a 1-bit mask holds id 1. `size`: (H, W) that the mask must have.

    Raises UserError, naming the file, if it is missing, truncated or no image, lossy (a JPEG: its ids are not exact),
    animated, to be turned by its EXIF data, holds colours instead of ids, ids above 255, or has another size. (White of
    16 bits is 255.)
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
        raise unreadable(path, error, "mask") from error
    if ids.ndim == 3:
        if ids.shape[2] == 4 and (ids[..., :3] != ids[..., :1]).any():
            raise UserError(f"{path}: a mask holds object ids, but this one holds RGB colours; {_HOW}")
        opaque = ids[..., -1] > 0
        ids = np.where(opaque, ids[..., 0], 0) if opaque.any() else ids[..., 0]
    if size is not None and ids.shape != tuple(size):
        raise wrong_size(path, ids.shape, size)
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
    """The object ids in an id mask, rising, without 0 and 255."""
    counts = np.bincount(mask.ravel(), minlength=VOID + 1)  # np.unique sorts the pixels: twenty times slower
    return [int(i) for i in counts[:VOID].nonzero()[0] if i]


def check_mask_header(path: Path, image: Image.Image, modes: Sequence[str] = MODES, lossy: bool = False) -> None:
    """Raise UserError if an opened, not yet decoded image cannot be an id mask by its kind; `lossy`: it may blur."""
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
    """Raise UserError if an opened, not yet decoded image would fill the memory."""
    if image.width * image.height > MOST_PIXELS:
        raise UserError(
            f"{path}: {image.width}x{image.height} pixels, more than {MOST_PIXELS >> 20} mega; scale it down"
        )


def check_upright(path: Path, image: Image.Image) -> None:
    """Raise UserError if a decoded mask says that it is to be turned: its frame and other programs may see it so."""
    turn = image.getexif().get(0x0112, 1)
    if turn not in (0, 1):
        raise UserError(f"{path}: a mask that its EXIF data turns (orientation {turn}); save it upright, without EXIF")


def unreadable(path: Path, error: Exception, what: str) -> UserError:
    """The UserError for a file that could not be read as an image."""
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


def wrong_size(path: Path, found: Sequence[int], expected: Sequence[int]) -> UserError:
    """The UserError for an image or mask of another size, both (H, W), than its sequence."""
    remedy = "scale it to that, a mask without smoothing (in a data set: is it of the same resolution folder?)"
    if tuple(found) == tuple(expected)[::-1]:
        remedy = "width and height are swapped: turn it by a quarter, as the others are"
    return UserError(
        f"{path}: is {found[1]}x{found[0]} pixels, but its sequence is {expected[1]}x{expected[0]}; all frames and"
        f" masks of a sequence must have one size: {remedy}"
    )


def stacked(layers: Mapping[int, np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """One id mask of the bool masks (H, W) of objects, by id; `size` = (H, W).

    Of objects that overlap the one of fewer pixels is in front: an arm stays visible before its person, whereas with
    a fixed order one of the two could vanish. Of equal ones the lower id is in front.
    """
    mask = np.zeros(size, np.uint8)
    for number, layer in sorted(layers.items(), key=lambda item: (-np.count_nonzero(item[1]), -item[0])):
        mask[layer] = number
    return mask


def note_shared(shared: dict[str, int], name: str, layers: Mapping[int, np.ndarray], mask: np.ndarray) -> None:
    """Keep in `shared`, by the frame's name, how many pixels objects lose to others in their `stacked` mask, if any."""
    lost = sum(map(np.count_nonzero, layers.values())) - np.count_nonzero(mask)
    if lost:
        shared[name] = int(lost)


def write_mask(path: str | Path, ids: np.ndarray) -> None:
    """Write an id mask, (H, W) of integers 0 to 255, as a palette PNG in the DAVIS colours, atomically."""
    image = palette_image(ids)
    with atomic(path) as temporary:
        image.save(temporary, format="PNG")


def palette_image(ids: np.ndarray) -> Image.Image:
    """An id mask, (H, W) of integers 0 to 255, as an image with the palette of DAVIS."""
    ids = np.asarray(ids)
    if ids.ndim != 2 or (ids.dtype != np.uint8 and (ids.dtype.kind not in "biu" or ids.min() < 0 or ids.max() > 255)):
        raise ValueError(f"an id mask is (H, W) with integers 0 to 255, not {ids.dtype} {ids.shape}")
    image = Image.fromarray(np.ascontiguousarray(ids, np.uint8))
    image.putpalette(DAVIS_PALETTE.tobytes())  # turns "L" into "P", values unchanged
    return image


def box_of(mask: np.ndarray | Tensor) -> Tensor | None:
    """The tight box of a bool mask (H, W): float32 (4,), xyxy in pixels, exclusive maximum; None if it is empty."""
    import torch

    mask = torch.as_tensor(mask)
    columns, rows = mask.any(0).nonzero(), mask.any(1).nonzero()
    if not len(rows):
        return None
    # + 1: torchvision's masks_to_boxes takes the last pixel itself, so that one pixel has a box without area
    return torch.stack([columns[0, 0], rows[0, 0], columns[-1, 0] + 1, rows[-1, 0] + 1]).float()


def boxes_of(masks: Tensor) -> Tensor:
    """The tight boxes of bool masks (N, H, W): float32 (N, 4), xyxy, exclusive maximum. N = 0 is legal.

    Raises ValueError for an empty mask, which has no box: leave such masks out first.
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
    """One id mask, uint8 (H, W), of the probabilities (K, H, W) of K objects: 0 where all are below 0.5, else argmax.

    `ids` are the K objects' ids; of equal probabilities the earlier object has the pixel.
    """
    import torch

    values = torch.as_tensor(probabilities)
    if values.ndim != 3 or len(values) != len(ids):
        raise ValueError(f"{len(ids)} ids need probabilities ({len(ids)}, H, W), not {tuple(values.shape)}")
    if not len(ids):
        return np.zeros(values.shape[1:], np.uint8)
    best, which = values.max(0)  # ties: max returns the first on the CPU; on a GPU either, which nothing depends on
    names = torch.tensor(list(ids), dtype=torch.uint8, device=values.device)
    return torch.where(best >= 0.5, names[which], 0).to(torch.uint8).cpu().numpy()


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


def empty_mask(mask: np.ndarray | None = None) -> str:
    """What is wrong with a first mask, of void alone or (None) empty."""
    if mask is not None and mask.any():
        return (
            "the first mask holds only 0 and 255, and 255 means void (unknown) in an id mask; if this is the object,"
            " have it read so with binary=true (DAVIS: year=2016)"
        )
    return (
        "the first mask is empty, so there is no object to follow; give a mask in which it can be seen (of a data set:"
        " or remove this file, as objects may appear later, or leave its sequence out, sequences=[..])"
    )
