"""Storage of the page: one folder per session, from which everything is restored.

    ID/session.json          name, frame names, size, rate; written last: without it an upload was not completed; again
                             with the frame names of a large file when they are counted; of one from a folder of
                             eosvos.segment also which
    ID/video/                the video file, or the frames; not where session.json has the path of those elsewhere
    ID/annotations/          FRAME.png: painted id masks
    ID/objects.json          names, colours and flags of the objects, in their order
    ID/runs/N/               a run of `segment_video.segment`: run.json (its state), annotations/ (its input), masks/,
                             loss.jsonl, and what was exported of it

Of the runs the newest and the one before are kept.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import shutil
import threading
import time
from collections.abc import Iterable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from PIL import Image

from eosvos.data.levels import Levels
from eosvos.data.sequence import VideoSequence
from eosvos.errors import UserError
from eosvos.files import atomic, listed, write_bytes
from eosvos.page.session import NotFound, Session
from eosvos.page.uploads import free_path, open_upload, video_in

log = logging.getLogger(__name__)
_ID = re.compile(r"[0-9a-f]{32}")
_DELETED = ".deleted"  # suffix of a folder that is being deleted
_OPEN = 8  # sessions whose decoder and last frames are kept in memory


class Sessions:
    """All sessions in a folder, used by one server at a time (see `files.locked`); leftovers of a killed one go.

    levels: of new sessions, for frames of more than 8 bits, see data.levels.
    """

    def __init__(self, folder: Path, levels: Levels = "auto") -> None:
        self.levels = levels
        self.folder = folder.expanduser().resolve()
        self._open: dict[str, Session] = {}
        self.path_lock = threading.Lock()  # of whoever looks for a session and makes it where there is none
        self._sample_lock, self._removing = threading.Lock(), threading.Lock()
        for path in self.folder.glob("*"):
            begun = _ID.fullmatch(path.name) and not (path / "session.json").is_file()
            if begun or path.suffix == _DELETED:
                shutil.rmtree(path, ignore_errors=True)
            for number in listed(path / "runs") if _ID.fullmatch(path.name) else ():
                if not (path / "runs" / number / "run.json").is_file():
                    shutil.rmtree(path / "runs" / number, ignore_errors=True)

    def all(self) -> tuple[list[Session], list[str]]:
        """Return all sessions, the newest first, and the ids of damaged ones."""
        return self.some(sorted(path.parent.name for path in self.folder.glob("*/session.json")))

    def some(self, ids: Iterable[str]) -> tuple[list[Session], list[str]]:
        """Return the sessions with these ids that exist, the newest first, and the ids of damaged ones."""
        sessions, damaged = [], []
        for id in ids:
            if _ID.fullmatch(id):
                try:
                    sessions.append(self.get(id))
                except NotFound:
                    continue  # deleted meanwhile
                except UserError as error:
                    log.warning("this session is left out: %s", error)
                    damaged.append(id)
        return sorted(sessions, key=lambda session: -session.made), damaged

    def get(self, id: str) -> Session:
        session = self._open.get(id)
        if session is None:
            if not _ID.fullmatch(id) or not (self.folder / id / "session.json").is_file():
                raise NotFound("this session is not there; open a video anew")
            session = self._open.setdefault(id, Session(self.folder / id))
            if len(self._open) > _OPEN:  # not one whose frames are being counted
                self._open.pop(next((old for old, s in list(self._open.items()) if s.length is not None), ""), None)
        return session

    def begin(self) -> str:
        """Create the folder for an upload; returns the id of its future session."""
        id = secrets.token_hex(16)
        (self.folder / id / "video").mkdir(parents=True)
        return id

    def upload(self, id: str, name: str) -> Path:
        """Create an empty file for an upload, see `uploads.free_path`. Raises UserError if the upload is over."""
        return free_path(self.uploading(id), name)

    def uploading(self, id: str) -> Path:
        """Return the folder of an upload. Raises UserError if there is no such upload, or it is over."""
        if not _ID.fullmatch(id) or not (self.folder / id / "video").is_dir():
            raise NotFound("this upload is not there; open the video anew")
        if (self.folder / id / "session.json").exists():
            raise UserError("this session has its video already; open another one on the first page")
        return self.folder / id / "video"

    def open(self, id: str, name: str) -> Session:
        """Open the session of a complete upload. Raises UserError and deletes the upload if it is no video."""
        folder = self.folder / id
        try:
            video_and_rate = open_upload(video_in(folder / "video"), self.levels)
        except UserError:
            self.remove(id)
            raise
        return self.create(id, name, *video_and_rate)

    def refer(self, video: Path) -> Session:
        """Open the session of a video that stays where it is, if possible an existing one."""
        path = str(video.expanduser().resolve())
        with self.path_lock:
            for session in self.all()[0]:
                if session.path == path and session.levels == self.levels and session.result is None:
                    return session
            return self.create(secrets.token_hex(16), video.name, *open_upload(Path(path), self.levels), path=path)

    def create(self, id: str, name: str, sequence: VideoSequence, rate: float, **extra: Any) -> Session:
        """Write session.json, whose further fields are `extra`, which makes a folder a session."""
        names = list(sequence.frame_names) if sequence.counted else None
        content = {"name": name, "names": names, "size": sequence.size, "rate": rate, "levels": self.levels, **extra}
        with self._removing:
            if "path" not in extra:
                self.uploading(id)  # it may have been deleted, or opened, since it was looked at
            write_bytes(self.folder / id / "session.json", json.dumps(content | {"made": time.time()}).encode())
        return self.get(id)

    def sample(self, clip: VideoSequence) -> Session:
        """Create a session of the built-in video, which is rendered the first time."""
        kept = self.folder / "sample" / clip.name
        with self._sample_lock:
            for index, name in enumerate(clip.frame_names):
                if not (kept / f"{name}.png").is_file():
                    with atomic(kept / f"{name}.png") as path:
                        Image.fromarray(clip.read_frame(index)).save(path, format="PNG")
        id = self.begin()
        shutil.copytree(kept, self.folder / id / "video", dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))
        return self.open(id, "Sample: two vans")

    def remove(self, id: str) -> None:
        """Delete a session with all its files."""
        gone = self.folder / f"{id}.{secrets.token_hex(4)}{_DELETED}"
        session = self._open.pop(id, None)
        with self._removing, nullcontext() if session is None else session.writing:
            with suppress(FileNotFoundError):  # deleted by another request
                (self.folder / id).rename(gone)  # at once: nobody finds half a session, and opens it anew
        shutil.rmtree(gone, ignore_errors=True)
