"""A mask file of another program, loaded onto one frame: it is read as the commands read it."""

from __future__ import annotations

import logging
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eosvos.data.image_files import several
from eosvos.data.mask_files.annotation_files import ANNOTATION_FILES, open_of_one_video
from eosvos.data.mask_files.checks import doubts
from eosvos.data.mask_files.formats import KINDS, MaskSet, open_masks, read_named
from eosvos.data.mask_files.match_frames import match_to_frames, rename_as_frames
from eosvos.data.masks import VOID, ids_of, read_absent
from eosvos.errors import UserError
from eosvos.page.session import Session
from eosvos.page.uploads import free_path

LARGEST_FILE = 1 << 27  # bytes
_OF_COMMANDS = re.compile(r"; (?:if it is (?:one|an object), say binary=\w+|with absent=all [^;]*)")


@dataclass(frozen=True)
class ImportedMask:
    """What a file tells of one frame.

    Attributes:
        ids: id mask uint8 (H, W) without void.
        absent: objects that the file tells to be absent; None: it shows none, and does not say which are absent.
        names: object id -> its name, where the file has names.
        notes: how the file was read, and what was guessed.
    """

    ids: np.ndarray
    absent: tuple[int, ...] | None
    names: dict[int, str]
    notes: list[str]


def import_mask(content: bytes, file_name: str, session: Session, index: int, chosen: int) -> ImportedMask:
    """Read the mask of a frame from a file of any form of data/mask_files.

    An image, or a file of annotations of one image, is the mask of this frame whatever its name; of other files of
    annotations the part is read that is this frame's.

    Args:
        content: of the file.
        file_name: its name.
        session: the session of the video.
        index: index of the frame.
        chosen: the object that a mask of one object without a number is of.

    Raises:
        UserError: if the file is no mask, has another size, or holds none of this frame.
    """
    with tempfile.TemporaryDirectory(prefix="eosvos-mask-") as folder, _heard() as notes:
        try:
            path = free_path(Path(folder), file_name)
            path.write_bytes(content)
            found = _read(path, session, index, chosen, notes)
        except UserError as error:
            raise UserError(_of_page(str(error), folder)) from error
        said = [_of_page(note, folder) for note in notes]
    return ImportedMask(found.ids, found.absent, found.names, found.notes + said)


def _read(path: Path, session: Session, index: int, chosen: int, notes: list[str]) -> ImportedMask:
    name, kind = session.frame_name(index), path.suffix.lower()
    if kind in KINDS:
        masks, own = open_masks([path], size=session.size), path.stem
    elif kind in ANNOTATION_FILES:
        masks, own = _annotations(path, session, name)
    elif kind in (".npy", ".npz", ".zip"):
        masks, own = match_to_frames(path, [name], session.size), path.stem  # says what to export instead
    else:
        raise UserError(
            f"{path}: not a file that masks are read from; give an image ({', '.join(KINDS[:5])}) or a file of"
            f" annotations ({', '.join(ANNOTATION_FILES)})"
        )
    notes.extend(doubts(masks))
    mask = read_named(masks, [own], session.size, 0)
    assert mask is not None
    shown, said = ids_of(mask), masks.description
    if masks.form == "annotations":
        absent: tuple[int, ...] | None = masks.absent_ids.get(own, ())
    else:
        absent = read_absent(path)
        if absent is None and shown:
            absent = ()
    if masks.form == "binary":
        mask, shown = (mask > 0).astype(np.uint8) * np.uint8(chosen), [chosen]
        said += f"; taken for object {chosen}, the chosen one"
    if own != name and own in session.names:
        notes.append(f"its name is that of frame {session.names.index(own) + 1}, and it is put on frame {index + 1}")
    if overlap := masks.overlap_pixels.get(own):
        notes.append(f"objects overlap on {overlap} pixels, of which each is of one object")
    if void := np.count_nonzero(mask == VOID):
        notes.append(f"{void} pixels of {VOID}, void, are taken for background")
        mask = np.where(mask == VOID, 0, mask).astype(np.uint8)
    if not shown and absent is None:
        notes.append("it shows no object, which is taken to tell that none is on this frame")
    if not shown and absent == ():
        raise UserError(f"{path}: tells of no object on this frame; give one that shows an object")
    return ImportedMask(mask, absent, {i: n for i, n in masks.names.items() if i in shown}, [said])


def _annotations(path: Path, session: Session, name: str) -> tuple[MaskSet, str]:
    """Open a file of annotations; returns its masks and the name that the frame's has among them."""
    masks = open_of_one_video([path], absent="told", size=session.size)
    if len(masks.files) + len(masks.unannotated) == 1 and not masks.by_frame_number:
        return masks, next(iter(masks.files))
    if session.length is None:
        raise UserError(f"{path}: has masks of several frames, and those of the video are still counted; load it then")
    masks = rename_as_frames(path, masks, session.names)
    if name not in masks.files:
        raise UserError(f"{path}: has no mask of this frame, {name}; it has those of {several(list(masks.files))}")
    return masks, name


def _of_page(message: str, folder: str) -> str:
    """Remove from a message of the commands the folder, and the settings that the page has not."""
    return _OF_COMMANDS.sub("", message.replace(f"{folder}/", "").replace(f"{folder}\\", ""))


@contextmanager
def _heard() -> Iterator[list[str]]:
    """Collect what reading files in this thread warns of."""
    messages: list[str] = []
    thread = threading.get_ident()

    class Heard(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == thread:
                messages.append(record.getMessage())

    handler, logger = Heard(logging.WARNING), logging.getLogger("eosvos.data")
    logger.addHandler(handler)
    try:
        yield messages
    finally:
        logger.removeHandler(handler)
