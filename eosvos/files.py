"""Writing files so that nothing half-written ever stands under a final name, and no two processes write at once."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import tempfile
import threading
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TextIO

from eosvos.errors import UserError

# EFBIG: the limit of a file system or of the process (ulimit -f)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (
    *(errno.EACCES, errno.EROFS, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP),
    *(errno.ENOTDIR, errno.EEXIST),  # a parent is a file
    *(errno.EISDIR, errno.ENOENT, errno.EIO),  # it is a folder itself; a file system that makes none, or is gone
)
_HOLDING, _held = threading.Lock(), set[tuple[int, int]]()  # folders of `locked`, by device and inode
_REMEDIES = {
    errno.EACCES: "ask its owner for the right to read it (and, of a folder, to enter it), or use a copy of your own",
    errno.EPERM: "ask its owner for the right to use it, or use a copy of your own",
    errno.ENAMETOOLONG: "file systems take names of 255 bytes; check what was given, or rename it",
    errno.ELOOP: "links lead in a circle; remove or mend them",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a part of this path is a file, a folder is expected",
    errno.EISDIR: "this is a folder, a file is expected",
    errno.ENODATA: "fetch the file again",
}


def shipped(name: str) -> Path:
    """The folder of that name that comes with the package: within it in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parent
    return next(p for p in (package / name, package.parent / name) if p.is_dir())


def shipped_list(name: str) -> list[str]:
    """The lines of a list under tasksets/, comments left out."""
    lines = (shipped("tasksets") / name).read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def refused(error: OSError, path: str | Path | None = None) -> UserError:
    """The UserError for a path of the user's that the system does not let us use: `path`, or the error's own."""
    place = str(path or error.filename)
    place = place if len(place) <= 200 else f"{place[:80]}... ({len(place)} characters)"
    remedy = _REMEDIES.get(error.errno or 0, "check the disk, or copy what is there to another one")
    return UserError(f"{place}: {error.strerror or error}; {remedy}")


@contextmanager
def atomic(path: str | Path, *, durable: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is renamed to `path`, on failure removed.

    Parent folders are made. durable: the content reaches the disk before the name does, so that the former file
    outlives a machine that stops, too. Raises UserError where the disk is full or the folder cannot be written.
    """
    with _temporary_beside(Path(path)) as temporary:
        mode = temporary.stat().st_mode
        yield temporary
        if temporary.stat().st_mode != mode:  # its writer has put a file of its own there
            temporary.chmod(stat.S_IMODE(mode))
        if durable:
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def create_text(path: str | Path, text: str) -> bool:
    """Write `text` as UTF-8 where there is no such file, as `create_bytes` does."""
    return create_bytes(path, text.encode())


def create_bytes(path: str | Path, content: bytes) -> bool:
    """Write `content` where there is no such file, atomically: of several who try it at once one succeeds.

    Returns whether this one did; if not, nothing is changed. Raises UserError as `atomic` does.
    """
    with _temporary_beside(Path(path)) as temporary:
        temporary.write_bytes(content)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError:  # a file system without hard links: the name is taken first, and the content follows
            if not _created(Path(path)):
                return False
            os.replace(temporary, path)
        return True


def listed(folder: str | Path, suffix: str = "") -> list[str]:
    """Names of the files and folders in a folder of ours that end in `suffix`, in order; [] where it does not exist.

    Hidden ones are left out, such as what `atomic` leaves when its process is killed. Everything that looks for files
    of ours uses this: pathlib's glob("*.png") finds hidden ones too.
    """
    try:
        return sorted(name for name in os.listdir(folder) if name.endswith(suffix) and not name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []


def numbered_folder(parent: Path) -> int:
    """Make the folder of the next number, from 1, in `parent`, and return it: whoever makes a folder has it."""
    while True:
        number = 1 + max((int(name) for name in listed(parent) if name.isdecimal()), default=0)
        try:
            (parent / str(number)).mkdir(parents=True)
        except FileExistsError:
            continue
        return number


def write_bytes(path: str | Path, content: bytes | memoryview) -> None:
    """Write `content` atomically and durably. Libraries that write files themselves hide why they could not."""
    with atomic(path, durable=True) as temporary:
        temporary.write_bytes(content)


def append_line(path: str | Path, line: str) -> None:
    """Add a line to a file, after the end of one that a killed process has left unfinished. Raises UserError where the
    disk is full or the file cannot be written."""
    with _explained(Path(path)), Path(path).open("a+b") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
        unfinished = file.read(1) not in (b"", b"\n")
        file.write((unfinished * "\n" + line + "\n").encode())


@contextmanager
def locked(folder: str | Path) -> Iterator[TextIO]:
    """Hold `folder` (made if need be) against other processes and threads; yields the lock file, for a word about the
    holder.

    The system lets go when this process ends, however it ends. Raises UserError where another one holds it.
    """
    path = Path(folder) / ".lock"
    busy = UserError(
        f"{folder}: another run is at work in this folder; wait for it, or choose another folder with out="
    )
    try:
        import fcntl
    except ImportError:  # Windows: threads of this process are kept out, as everywhere, but no other process
        fcntl = None  # type: ignore[assignment]
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        status = path.parent.stat()
    # A lock is the process's: it does not keep out other threads, and goes when any of them closes the file.
    mine = (status.st_dev, status.st_ino)
    with _HOLDING:
        if mine in _held:
            raise busy
        _held.add(mine)
    try:
        with _explained(path):
            file = path.open("a+", encoding="utf-8")
        with file:
            try:
                if fcntl is not None:  # not flock, which filelock has: children would inherit it and live on
                    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                else:
                    warnings.warn(f"{folder}: this system cannot lock it; start no second run there", stacklevel=3)
            except OSError as error:
                if error.errno in (errno.EACCES, errno.EAGAIN):
                    raise busy from error
                # a file system without locks: there the folder is not guarded against other processes
            yield file
    finally:
        with _HOLDING:
            _held.discard(mine)


@contextmanager
def unpacked(archive: str | Path, *, most: int = 2**34) -> Iterator[Path]:
    """Yield a temporary folder, under $TMPDIR, that holds what is in a zip file; it is removed in the end.

    Nothing is written outside of it, and nothing at all before all names and sizes have been looked at. Raises
    UserError for what is no zip file or is damaged or encrypted, for names that leave the folder, links, and more than
    `most` bytes or a million files in all.
    """
    archive = Path(archive)
    with tempfile.TemporaryDirectory(prefix="eosvos-zip-") as folder:
        try:
            with zipfile.ZipFile(archive) as file:
                entries = file.infolist()
                for entry in entries:
                    _check_entry(archive, entry)
                size = sum(entry.file_size for entry in entries)
                if size > most or len(entries) > 10**6:
                    raise UserError(
                        f"{archive}: unpacks to {len(entries)} files of {size / 2**20:.0f} MiB, more than the"
                        f" {most / 2**20:.0f} MiB or million files allowed; unpack it yourself and give the folder"
                    )
                file.extractall(folder)
        except OSError as error:
            where = folder if error.errno in _FULL else archive
            raise UserError(f"{where}: cannot unpack {archive.name} ({error.strerror or error})") from error
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"{archive}: no zip file, or a damaged one ({error}); pack or fetch it again") from error
        yield Path(folder)


def _check_entry(archive: Path, entry: zipfile.ZipInfo) -> None:
    name = entry.filename
    for path in (PurePosixPath(name), PureWindowsPath(name)):
        if path.anchor or ".." in path.parts:
            raise UserError(f"{archive}: holds {name!r}, a path that leaves its folder; nothing is unpacked")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise UserError(f"{archive}: holds {name!r}, a link; pack the file itself")
    if entry.flag_bits & 1:
        raise UserError(f"{archive}: {name!r} is encrypted; pack it without a password")


def remove_temporary(folder: str | Path) -> None:
    """Remove what `atomic` left in `folder` when its process was killed; only while nobody writes there."""
    for path in Path(folder).glob(".*.tmp*"):
        path.unlink(missing_ok=True)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise UserError(
                f"{path}: no space left on this disk; free some or choose another folder with out="
            ) from error
        if error.errno in _FORBIDDEN:
            raise UserError(f"{path}: cannot be written ({error.strerror}); choose another folder with out=") from error
        raise


@contextmanager
def _temporary_beside(path: Path) -> Iterator[Path]:
    """Yield an empty, hidden file beside `path`, whose folder is made if need be; it is removed in the end."""
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        stem, suffix = path.stem[:40], path.suffix
        while not _created(temporary := path.with_name(f".{stem}.{secrets.token_hex(4)}.tmp{suffix}")):
            pass
        try:
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)


def _created(path: Path) -> bool:
    """Create an empty file, with the rights that the system gives any new one there; False if the name is taken."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except FileExistsError:
        return False
    return True
