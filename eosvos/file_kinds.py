"""What a file is that is not what was expected, told by its first bytes, and what to do about it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import NamedTuple


class Kind(NamedTuple):
    """what: "an image", say. remedy: what to do, "" where nothing is known. weights: whether it may hold a network's
    weights."""

    what: str
    remedy: str = ""
    weights: bool = False


_AGAIN = "fetch or copy it again"
_PACKED = "unpack it, and give the file that comes out"
_OTHER = "give another file"
_TORCH_OLD = b"\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"  # its magic number, behind the pickle's own head
_BEGINNINGS = {
    b"version https://git-lfs": Kind(
        "the pointer of Git LFS to a file, not the file", "run `git lfs pull` where it was cloned"
    ),
    b"\x1f\x8b": Kind("packed with gzip", _PACKED + " (gunzip, or tar xzf)"),
    b"BZh": Kind("packed with bzip2", _PACKED),
    b"\xfd7zXZ": Kind("packed with xz", _PACKED),
    b"\x28\xb5\x2f\xfd": Kind("packed with zstd", _PACKED),
    b"7z\xbc\xaf": Kind("a 7z archive", _PACKED),
    b"Rar!": Kind("a RAR archive", _PACKED),
    b"\x89PNG": Kind("an image (PNG)", _OTHER),
    b"\xff\xd8\xff": Kind("an image (JPEG)", _OTHER),
    b"GIF8": Kind("an image (GIF)", _OTHER),
    b"II*\0": Kind("an image (TIFF)", _OTHER),
    b"MM\0*": Kind("an image (TIFF)", _OTHER),
    b"BM": Kind("an image (BMP)", _OTHER),
    b"%PDF": Kind("a PDF document", _OTHER),
    b"\x1aE\xdf\xa3": Kind("a video (Matroska or WebM)", _OTHER),
    b"\x89HDF": Kind("an HDF5 file, as Keras writes weights", "weights of PyTorch are expected"),
    b"\x93NUMPY": Kind("a NumPy array", "the weights of a network are expected, with their names"),
}


def kind_of(path: str | Path) -> Kind:
    """Look at a file or folder. Raises OSError where it cannot be read."""
    path = Path(path)
    if path.is_dir():
        there = sorted(p.name for p in path.iterdir() if p.suffix in (".safetensors", ".pth", ".pt", ".pkl"))
        return Kind("a folder", "give a file" + (f" in it: {', '.join(there[:4])}" if there else ""))
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        return Kind("empty", _AGAIN)
    if head[8:9] == b"{":
        return _safetensors(path, int.from_bytes(head[:8], "little"), size)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return Kind(
            "an HTML or XML page, as a failed download leaves", "fetch it again; what the page says tells what is amiss"
        )
    for beginning, kind in _BEGINNINGS.items():
        if head.startswith(beginning):
            return kind
    if head.startswith(b"PK"):
        return _zip(path)
    if head[257:262] == b"ustar":
        return Kind("a tar archive", _PACKED)
    if head[4:8] == b"ftyp":
        return Kind("a video (MP4 or MOV)", _OTHER)
    if head[:4] == b"RIFF":
        return Kind("an image or video (WebP, AVI)", _OTHER)
    if _TORCH_OLD in head[:32]:
        return Kind("a file of torch.save", weights=True)
    # Protocols 0 and 1, of Python 2, begin like a text.
    if (
        head[:1] == b"\x80"
        and head[1] <= 5
        or head.startswith((b"(d", b"(l", b"}q", b"]q", b"ccollections\n", b"ccopy_reg\n"))
    ):
        return Kind("a pickle", weights=True)
    if not any(head):
        return Kind("nothing but zeros", _AGAIN)
    if all(byte >= 32 or byte in b"\t\r\n\f" for byte in head):
        first = head.decode("utf-8", "replace").strip().splitlines()[0][:60]
        return Kind(f"a text that begins with {first!r}", _OTHER)
    return Kind("of no known kind", _OTHER)


def _safetensors(path: Path, header: int, size: int) -> Kind:
    if 8 + header > size:
        return Kind(f"truncated within its header, at {size} bytes", _AGAIN)
    with path.open("rb") as file:
        try:
            content = json.loads(file.read(8 + header)[8:])
            ends = [part["data_offsets"][1] for name, part in content.items() if name != "__metadata__"]
            expected = 8 + header + max(ends, default=0)
            told = (content.get("__metadata__") or {}).get("format", "")
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            return Kind("damaged in its header, if it is a safetensors file", _AGAIN)
    if size < expected:
        return Kind(f"truncated: {size} of {expected} bytes are there", _AGAIN)
    if str(told).startswith("eosvos-state"):
        return Kind("what is known of a video, as Segmenter.save writes it", "Segmenter.load reads it")
    if str(told).startswith("eosvos-learner"):
        return Kind("a learner")
    return Kind("a safetensors file of other weights", weights=True)


def _zip(path: Path) -> Kind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.partition("/")[2] for name in archive.namelist()]
            whole = archive.namelist()
    except (zipfile.BadZipFile, ValueError, EOFError):
        return Kind("a zip file, as torch.save writes, that is cut off or damaged", _AGAIN)
    if "constants.pkl" in names:
        return Kind(
            "a TorchScript program", "save its weights alone: torch.save(torch.jit.load(PATH).state_dict(), OTHER)"
        )
    if "data.pkl" in names:
        return Kind("a file of torch.save", weights=True)
    if whole and all(name.endswith(".npy") for name in whole):
        return Kind("a NumPy archive", "the weights of a network are expected, as PyTorch saves them")
    return Kind("a zip archive", _PACKED)
