"""Masks whose colour identifies the object: every colour but black is an object, the same one in all frames of a video.

This includes palette images whose colours show that index 0 is not the background (`palette_tells`). If all colours are
in DAVIS's palette, they have their ids there; otherwise colours are numbered as they appear, those of one frame by
rising red, green, blue. A colour is one number here, 0xRRGGBB. In a partly transparent image that is all black, the
opaque part is the object: its colour is `CUT` plus the alpha.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from eosvos.data.image_files import several
from eosvos.data.masks import FORMATS, VOID, check_upright, ids_of, read_mask, unreadable_error, wrong_size_error
from eosvos.data.palette import DAVIS_PALETTE
from eosvos.errors import UserError

WHITE = 0xFFFFFF
CUT = 0x1000000
ALPHA = "black and transparent only: the alpha channel is the mask"
_GREY = 0x010101  # times a value
_SAVE = "save masks as palette or grey PNGs whose pixel values are the object ids"
_DAVIS = {int(colour): number for number, colour in enumerate(DAVIS_PALETTE.astype(int) @ (65536, 256, 1)) if number}


def number_colours(files: Iterable[Path], size: tuple[int, int] | None) -> dict[int, int]:
    """Number all colours but black of the files, in order. If all are grey, the value is the id.

    Returns:
        Colour -> object id.

    Raises:
        UserError: for files that cannot be read, grey images beside coloured ones, and soft edges.
    """
    counts: dict[int, int] = {}
    pixels, path = 0, None
    for path in files:
        codes = read_colours(path, size, strict=True)
        pixels += codes.size
        for code, count in count_colours(codes).items():
            if code:
                counts[code] = counts.get(code, 0) + count  # in order of appearance
        if len(counts) > 4 * VOID:
            break
    assert path is not None
    refuse_soft_edges(
        path, counts, pixels, 2 if any(code > CUT for code in counts) else VOID
    )  # alpha does not distinguish objects
    if all(code % _GREY == 0 for code in counts):
        return {code: code & 255 for code in counts}
    davis = counts.keys() <= _DAVIS.keys()
    return {code: _DAVIS[code] if davis else number for number, code in enumerate(counts, 1)}


def describe_colours(numbers: Mapping[int, int]) -> str:
    """Describe in words what `number_colours` returned."""
    if all(code % _GREY == 0 for code in numbers):
        return "RGB images of greys, the value is the id"
    if min(numbers) > CUT:
        return ALPHA
    davis = all(_DAVIS.get(code) == number for code, number in numbers.items())
    shown = [
        f"({c >> 16}, {c >> 8 & 255}, {c & 255}) = {numbers[c]}" for c in sorted(numbers, key=lambda c: numbers[c])
    ]
    return f"RGB colours{', those of DAVIS' if davis else ''}: {several(shown)}"


def read_numbered(path: Path, numbers: Mapping[int, int], size: tuple[int, int] | None) -> np.ndarray:
    """Read an id mask, uint8 (H, W), from an image whose colours have these numbers."""
    codes = read_colours(path, size, strict=True)
    begins = _runs(codes)
    values = codes.ravel()[begins]
    known = np.array(sorted({0, *numbers}))
    place = np.searchsorted(known, values).clip(max=len(known) - 1)
    if (known[place] != values).any():
        raise UserError(f"{path}: holds another colour than when it was opened; start again")
    ids = np.array([numbers.get(int(code), 0) for code in known], np.uint8)[place]
    return np.repeat(ids, np.diff(begins, append=codes.size)).reshape(codes.shape)


def read_colours(path: Path, size: tuple[int, int] | None = None, *, strict: bool = False) -> np.ndarray:
    """Read the colours of an image, or the values of a grey or palette image.

    Args:
        path: the image file.
        size: height and width in pixels that it must have; None: any.
        strict: whether a palette gives colours, and grey values other than 0 are an error, as they would be ids.

    Returns:
        int32 (H, W). Transparent pixels are 0; if all others are black, they are `CUT` plus the alpha.

    Raises:
        UserError: if the file cannot be read or has another size, and as `strict` says.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            mode = image.mode
            image.load()
            check_upright(path, image)
            if strict and mode == "P":
                palette = bytes(image.getpalette("RGB") or ())
                clear = "transparency" in image.info
                mode = "L" if palette == bytes(k // 3 for k in range(len(palette))) else "RGBA" if clear else "RGB"
                image = image.convert("RGBA" if clear else "RGB")
            values = np.array(image)
    except UserError:
        raise
    except Exception as error:  # Pillow raises OSError, SyntaxError, struct.error, ... on broken files
        raise unreadable_error(path, error, "mask") from error
    if size is not None and values.shape[:2] != tuple(size):
        raise wrong_size_error(path, values.shape[:2], size)
    if values.ndim == 3 and values.shape[2] >= 3:
        codes = values[..., :3].astype(np.int32) @ np.array([65536, 256, 1], np.int32)
    else:
        codes = (values if values.ndim == 2 else values[..., 0]).astype(np.int32)
    if mode in ("RGBA", "LA", "PA"):
        alpha = values[..., -1].astype(np.int32)
        if strict and not alpha.all() and codes[alpha > 0].any() and (codes[alpha > 0] == 0).any():
            raise UserError(
                f"{path}: black, transparent and of other colours: whether black is an object is not told; {_SAVE}"
            )
        codes[alpha == 0] = 0
        if not codes.any() and not alpha.all():
            codes = np.where(alpha, CUT + alpha, 0)
    if strict and mode not in ("RGB", "RGBA") and codes.any():
        raise UserError(f"{path}: grey values beside other masks that hold colours; {_SAVE}, all of one kind")
    return codes


def read_object_shape(path: Path, size: tuple[int, int] | None) -> np.ndarray:
    """Read the mask of a single object as int32 (H, W): the object is wherever it is not 0."""
    return read_colours(path, size, strict=palette_tells(path) == "colour")


def palette_tells(path: Path) -> str:
    """Return what identifies the objects of a palette image. It is decoded only if the palette does not settle it.

    Returns:
        "index" if 0 is black or transparent, so the background, and for images without a palette. "around" if no index
        is black, and 0, of another colour, surrounds the rest. "colour" if an index other than 0 is black or
        transparent.

    Raises:
        UserError: if nothing shows which index is the background.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.mode != "P" or image.palette is None:
                return "index"
            form, stored = image.palette.getdata()
            entries = [stored[k : k + 3] for k in range(0, len(stored), 3)]
            if form == "RGB" and entries[:1] == [b"\0\0\0"] and entries.count(b"\0\0\0") == 1:
                if image.info.get("transparency", 0) == 0:
                    return "index"
            values = np.array(image)
            palette = np.zeros((256, 3), int)
            stored_palette = np.array(image.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3)
            palette[: len(stored_palette)] = stored_palette
            opaque = np.ones(256, bool)
            clear = image.info.get("transparency")
            if isinstance(clear, bytes):
                opaque[: len(clear)] = np.frombuffer(clear, np.uint8) > 0
            elif clear is not None:
                opaque[clear] = False
    except Exception as error:  # Pillow raises OSError, SyntaxError, struct.error, ... on broken files
        raise unreadable_error(path, error, "mask") from error
    used = np.flatnonzero(np.bincount(values.ravel(), minlength=256))
    codes = palette[used] @ (65536, 256, 1)
    hidden = used[~opaque[used]]
    if len(hidden):
        return "index" if hidden.tolist() == [0] else "colour"
    if len(used) > 1 and len(set(codes.tolist())) == 1:
        return "index"  # of one colour all: no colours of their own
    if not palette[0].any():
        return "index" if 0 in used or codes.all() else "colour"
    if not codes.all():
        return "colour"
    edge = np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])
    if 2 * np.count_nonzero(edge == 0) > len(edge):
        return "around"
    raise UserError(
        f"{path}: a palette image in which nothing is black, and index 0, of the colour {_rgb(palette[0])}, is not"
        f" around the rest: which index is the background is not told; {_SAVE}, 0 and black being the background"
    )


def _rgb(colour: np.ndarray) -> tuple[int, ...]:
    return tuple(int(n) for n in colour)


def count_colours(codes: np.ndarray) -> dict[int, int]:
    """Return colour -> number of pixels, in order of rising colour."""
    begins = _runs(codes)
    values, place = np.unique(codes.ravel()[begins], return_inverse=True)
    counts = np.bincount(place, np.diff(begins, append=codes.size))
    return {int(value): int(count) for value, count in zip(values, counts, strict=True)}


def refuse_soft_edges(path: Path, counts: Mapping[int, int], pixels: int, most: int = VOID) -> None:
    """Raise UserError for masks with soft edges and for probability maps.

    Args:
        path: the file, for the message.
        counts: colour -> number of pixels.
        pixels: number of all pixels.
        most: so many values or more are too many; many values of which most have hardly any pixels are refused too.
    """
    rare = sum(count <= max(8, pixels // 20000) for count in counts.values())
    if len(counts) >= most or (rare > 8 and 2 * rare > len(counts)):
        raise UserError(
            f"{path}: {len(counts)} values or colours besides black, {rare} of them in hardly any pixel: masks with"
            f" soft (anti-aliased) edges, probabilities, or pictures; {_SAVE}, cut at one half, or drawn or scaled"
            " without smoothing"
        )


def palettes_clash(files: Iterable[Path]) -> bool:
    """Return whether an index has different colours in several files, all in DAVIS's palette.

    Colours identify objects then: programs that shrink PNGs reorder palettes. Raises UserError if colours are not
    DAVIS's, as nothing identifies objects then.
    """
    first: dict[int, tuple[int, Path]] = {}
    colours: set[int] = set()
    clash = None
    for path in files:
        used = ids_of(read_mask(path))
        with Image.open(path, formats=FORMATS) as image:
            palette = image.getpalette("RGB") if image.mode == "P" else None
        for index in used if palette else ():
            code = int.from_bytes(bytes(palette[3 * index : 3 * index + 3]), "big") if palette else 0
            if code != index * _GREY:  # a grey ramp has no colours of its own
                colours.add(code)
                before = first.setdefault(index, (code, path))
                clash = clash or (before[1], path, index) if before[0] != code else clash
    if clash is not None and not colours <= _DAVIS.keys():
        raise UserError(
            f"{clash[0]} and {clash[1]}: index {clash[2]} has another colour in each, so neither index nor colour tells"
            f" which object it is; {_SAVE}, all with one palette"
        )
    return clash is not None


def _runs(codes: np.ndarray) -> np.ndarray:
    """Return where runs of equal colours begin in the flattened image: few places, quickly sorted."""
    flat = codes.ravel()
    return np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
