"""Sequences with one binary mask file per object and frame, read as one id mask per frame.

Where objects overlap, the smaller one is in front (`masks.stack_masks`). An id mask cannot hold both, so scores of
overlapping objects differ from those of a toolkit that measures each object's files by themselves. The overlaps are
counted as masks are read (`VideoSequence.overlap_pixels`) and reported beside the scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from eosvos.data.image_files import check_file, several
from eosvos.data.masks import FORMATS, ids_of, record_overlap, stack_masks, unreadable_error, wrong_size_error
from eosvos.data.readers.image_sequence import frame_reader
from eosvos.data.sequence import VideoSequence
from eosvos.errors import UserError

_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")


def per_object_sequence(
    name: str,
    frames: Sequence[Path],
    layers: Mapping[int, Mapping[int, Path]],
    *,
    above: int | None = None,
    lossy: bool = False,
    scaled: bool = False,
) -> VideoSequence:
    """Open a sequence of image files with one binary mask file per object and frame.

    Masks are read until all objects are found: mostly those of the first frame.

    Args:
        name: name of the sequence.
        frames: the frames, in order.
        layers: object id -> frame index -> mask file.
        above: a pixel belongs to the object if its brightness (0 to 255) is above this; None: if its value is not 0.
        lossy: whether masks may be JPEGs.
        scaled: whether frames may be larger or smaller than the masks, in the same aspect ratio; they are read at the
            masks' size.

    Raises:
        UserError: if a file is missing, truncated or of another size; if an object has no file for a frame between its
            first and last one that other objects have; or if no mask shows an object.
    """
    size = shown = check_file(frames[0])
    if scaled:
        first = next(path for files in layers.values() for path in files.values())
        size = check_file(first, mask=True, modes=_MODES, lossy=lossy)
        if abs(shown[0] * size[1] - shown[1] * size[0]) > 0.02 * shown[0] * size[1]:
            raise wrong_size_error(first, size, shown)
    for path in frames[1:]:
        check_file(path, shown)
    for files in layers.values():
        for path in files.values():
            check_file(path, size, mask=True, modes=_MODES, lossy=lossy)
    _check_gaps(frames, layers)
    masks_of_object = {i: dict(files) for i, files in sorted(layers.items())}
    names, overlap_pixels = tuple(path.stem for path in frames), dict[str, int]()
    read = partial(_read_mask, masks_of_object, size, above, names, overlap_pixels)
    first_frame: dict[int, int] = {}
    for index in sorted({index for files in masks_of_object.values() for index in files}):
        mask = read(index)
        assert mask is not None  # one of them has this frame
        for i in ids_of(mask):
            first_frame.setdefault(i, index)
        if first_frame.keys() == masks_of_object.keys():
            break
    hidden = sorted(masks_of_object.keys() - first_frame.keys())
    if hidden:
        files = masks_of_object[hidden[0]]
        raise UserError(
            f"{next(iter(files.values())).parent}: none of the {len(files)} masks shows object {hidden[0]}; fetch the"
            " sequence again, or remove this object"
        )
    return VideoSequence(
        name=name,
        frame_names=names,
        size=size,
        first_frame=first_frame,
        read_frame=frame_reader(frames, size, stored=shown),
        read_mask=read,
        files=(*frames, *(path for files in layers.values() for path in files.values())),
        overlap_pixels=overlap_pixels,
    )


def read_object_mask(path: Path, size: tuple[int, int], above: int | None = None) -> np.ndarray:
    """Read the mask of one object.

    Args:
        path: the image file.
        size: height and width in pixels.
        above: as for `per_object_sequence`.

    Returns:
        bool (H, W).

    Raises:
        UserError: if the file is missing, damaged or of another size.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            if above is None:
                values = np.atleast_3d(np.array(image))
                mask = np.asarray(values[..., : -1 if "A" in image.mode else None].any(2))  # alpha shows nothing
            else:
                mask = np.asarray(np.array(image.convert("L")) > above)
    except Exception as error:  # Pillow raises OSError, SyntaxError, struct.error, ... on broken files
        raise unreadable_error(path, error, "mask") from error
    if mask.shape != tuple(size):
        raise wrong_size_error(path, mask.shape, size)
    return mask


def _check_gaps(frames: Sequence[Path], layers: Mapping[int, Mapping[int, Path]]) -> None:
    annotated = sorted({index for files in layers.values() for index in files})
    for files in layers.values():
        lost = [frames[i].stem for i in annotated if min(files) < i < max(files) and i not in files]
        if lost:
            raise UserError(
                f"{files[min(files)].parent}: no masks of {several(lost)}, which other objects of the video have; fetch"
                " the sequence again"
            )


def _read_mask(
    layers: dict[int, dict[int, Path]],
    size: tuple[int, int],
    above: int | None,
    names: tuple[str, ...],
    overlap_pixels: dict[str, int],
    index: int,
) -> np.ndarray | None:
    there = {i: read_object_mask(files[index], size, above) for i, files in layers.items() if index in files}
    if not there:
        return None
    mask = stack_masks(there, size)
    record_overlap(overlap_pixels, names[index], there, mask)
    return mask
