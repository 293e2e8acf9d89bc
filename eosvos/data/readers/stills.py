"""Still images with masks, ROOT/images/*.jpg and ROOT/masks/*.png, as sequences of one frame.

A task trains and judges on two different transforms of the one image. The folders may also be named as ECSSD (images,
ground_truth_mask) and Penn-Fudan (PNGImages, PedMasks/*_mask.png) are distributed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eosvos.data.image_files import several
from eosvos.data.readers.image_sequence import stored_sequence
from eosvos.data.sequence import VideoSequence
from eosvos.data.user_files import list_files, list_folders
from eosvos.errors import UserError

_LAYOUTS = (("images", "masks"), ("images", "ground_truth_mask"), ("PNGImages", "PedMasks"))


def open_stills(root: str | Path, *, sequences: Sequence[str] = (), binary: bool = False) -> list[VideoSequence]:
    """Open the images of a folder, each as a sequence of one frame. Every mask is read once, which takes about 1 ms.

    Args:
        root: the folder.
        sequences: stems of images; empty: all.
        binary: whether a mask shows one object, as every value but 0 (saliency data sets); otherwise the pixel value is
            the object id. A mask is named as its image, or with `_mask` after that.

    Raises:
        UserError: if a folder is missing, an image has no mask or a mask no image, a file is broken, sizes differ, or a
            mask shows no object.
    """
    root = Path(root).expanduser()
    layout = next(((root / a, root / b) for a, b in _LAYOUTS if (root / a).is_dir() and (root / b).is_dir()), None)
    if layout is None:
        what = f"there is {several(list_folders(root)) or 'no folder at all'}" if root.is_dir() else "it does not exist"
        raise UserError(
            f"{root}: no still images with masks: {what}; expected are images/ and masks/ in it (or"
            f" {' or '.join('/ and '.join(pair) + '/' for pair in _LAYOUTS[1:])})"
        )
    images = {path.stem: path for path in list_files(layout[0])}
    masks = {path.stem.removesuffix("_mask"): path for path in list_files(layout[1], (".png", ".bmp"))}
    chosen = list(dict.fromkeys(sequences)) or list(images)
    for names, others, what in ((images, masks, "mask"), (masks, images, "picture"), (chosen, images, "picture")):
        lone = [name for name in names if name not in others]
        if lone:
            raise UserError(
                f"{layout[0]}: no {what} for {several(lone)}; every picture has a mask of its name in {layout[1]}:"
                " add what is missing, or remove what is left over"
            )
    if not chosen:
        raise UserError(f"{layout[0]}: no pictures; .jpg, .png or .bmp files are expected")
    return [
        stored_sequence(name, [images[name]], {0: masks[name]}, binary=binary, later_objects=False) for name in chosen
    ]
