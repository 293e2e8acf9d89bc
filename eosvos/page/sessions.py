"""Storage of the page: one folder per session, from which everything is restored.

    ID/session.json          name, frame names, size, rate; written last: without it an upload was not completed; again
                             with the frame names of a large file when they are counted
    ID/video/                the video file, or the frames; not where session.json has the path of those elsewhere
    ID/annotations/          FRAME.png: painted id masks
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
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from eosvos.data.levels import Levels, parse_levels
from eosvos.data.masks import VOID, ids_of, read_mask, write_mask
from eosvos.data.readers.user_video import open_own
from eosvos.data.sequence import VideoSequence
from eosvos.errors import UserError
from eosvos.files import atomic, listed, numbered_folder, write_bytes
from eosvos.page.uploads import count_frames, free_path, open_upload, video_in

log = logging.getLogger(__name__)
_ID = re.compile(r"[0-9a-f]{32}")
_OPEN = 8  # sessions whose decoder and last frames are kept in memory


class NotFound(UserError):
    """A requested object does not exist."""


@dataclass
class Run:
    """The content of a run's file run.json; its fields are stored by these names."""

    number: int
    steps: int  # of fine-tuning
    fingerprint: dict[str, Any]  # everything that determines the masks
    frames: list[int]  # indices of the annotated frames
    first: int  # the first of them that shows an object
    objects: list[int]  # ids
    state: str = "running"  # running, finished, failed or stopped; running without a job: the server was killed
    message: str = ""  # why it failed
    seconds: float = 0.0  # spent so far


class Session:
    """An opened video with its painted masks and runs. Raises UserError if its folder is damaged."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._reported: set[Path] = set()  # damaged runs
        self._frames: VideoSequence | None = None
        self._lock, self.writing = threading.Lock(), threading.Lock()  # writing: of session.json
        self.failure = ""  # why frames could not be counted
        content = _read_json(folder / "session.json")
        try:
            self.name: str = content["name"]
            self._names: list[str] | None = content["names"]
            self.size: tuple[int, int] = tuple(content["size"])
            self.rate: float = content["rate"]
            self.made = float(content["made"])
            self.path: str | None = content.get("path")
            self.levels = parse_levels(content.get("levels", "auto"))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{folder / 'session.json'}: is damaged ({error!r}); remove its folder") from error

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def frames(self) -> VideoSequence:
        """The video without masks; opening it starts to count its frames in a thread, if they are not counted yet."""
        with self._lock:
            if self._frames is None:
                sequence = open_upload(self.video, self.levels)[0]
                self._frames = sequence if self._names is None else replace(sequence, frame_names=tuple(self._names))
                if self._names is None:
                    count_frames(sequence, self._keep)
            return self._frames

    def _keep(self, names: list[str] | UserError) -> None:
        """Store the frames' names, or why they could not be counted."""
        if isinstance(names, UserError):
            self.failure = str(names)
            return
        self._names, path = names, self.folder / "session.json"
        try:
            with self.writing:
                if path.is_file():  # else it was deleted meanwhile
                    write_bytes(path, json.dumps(_read_json(path) | {"names": names}).encode())
        except UserError as error:
            log.warning("the number of frames is counted again next time: %s", error)

    @property
    def length(self) -> int | None:
        """Number of frames; None: unknown."""
        return None if self._names is None else len(self._names)

    @property
    def names(self) -> list[str]:
        """Names of the available frames; only the first one of a large file until its frames are counted."""
        return [self.frames.frame_names[0]] if self._names is None else self._names

    @property
    def video(self) -> Path:
        """The video file, or the folder of frames."""
        return video_in(self.folder / "video") if self.path is None else Path(self.path)

    def annotated_video(self, annotations: Path) -> tuple[VideoSequence, float]:
        """Open the video with the masks in a folder; returns it and its frames per second."""
        return open_own(self.video, masks=annotations, binary=False, levels=self.levels, absent="all")

    def annotated(self) -> list[int]:
        """Return the indices of the annotated frames."""
        return list(self.versions())

    def versions(self) -> dict[int, str]:
        """Return, by index of the annotated frames, a text that changes whenever the mask changes."""
        there = {}
        for name in listed(self.folder / "annotations", ".png"):
            with suppress(FileNotFoundError):  # taken back meanwhile
                status = (self.folder / "annotations" / name).stat()
                there[name[:-4]] = f"{status.st_mtime_ns}-{status.st_ino}"
        return {index: there[name] for index, name in enumerate(self.names) if name in there}

    def annotation(self, index: int) -> np.ndarray:
        """Read the painted id mask, uint8 (H, W), of a frame."""
        return self._mask(self.folder / "annotations", index)

    def annotate(self, index: int, ids: np.ndarray) -> None:
        """Store a painted id mask, uint8 (H, W); objects that it lacks are not in the frame."""
        if ids.max() == VOID:
            raise UserError(f"the mask has the value {VOID}; expected 0 and the numbers of objects, 1 to {VOID - 1}")
        write_mask(self.folder / "annotations" / f"{self.frame_name(index)}.png", ids)

    def delete_annotation(self, index: int) -> None:
        """Delete the painted mask of a frame."""
        (self.folder / "annotations" / f"{self.frame_name(index)}.png").unlink(missing_ok=True)

    def frame_name(self, index: int) -> str:
        if not 0 <= index < len(self.names):
            raise NotFound(f"frame {index}: {self.name} has the frames 0 to {len(self.names) - 1}")
        return self.names[index]

    def runs(self) -> list[Run]:
        """Read all stored runs, the newest last; damaged ones are left out with a warning."""
        runs = []
        for path in (self.folder / "runs" / name / "run.json" for name in listed(self.folder / "runs")):
            try:
                runs.append(_read_run(path))
            except UserError as error:
                if path not in self._reported and path.is_file():  # else it was removed meanwhile
                    self._reported.add(path)
                    log.warning("this run is left out: %s", error)
        return sorted(runs, key=lambda run: run.number)

    def run(self, number: int) -> Run:
        path = self.run_folder(number) / "run.json"
        if not path.is_file():
            raise NotFound(f"run {number} is not there any more")
        return _read_run(path)

    def run_folder(self, number: int) -> Path:
        return self.folder / "runs" / str(number)

    def keep(self, run: Run) -> None:
        """Write run.json."""
        write_bytes(self.run_folder(run.number) / "run.json", json.dumps(asdict(run)).encode())

    def new_run(self, steps: int, fingerprint: dict[str, Any], annotations: Path | None = None) -> Run:
        """Create a run; of the earlier runs only the last finished one is kept.

        annotations: folder of the masks to start from; None: those painted so far. Raises UserError if no object is
        painted.
        """
        source = annotations or self.folder / "annotations"
        there = [index for index, name in enumerate(self.names) if (source / f"{name}.png").is_file()]
        objects = {index: ids_of(self._mask(source, index)) for index in there}
        if not any(objects.values()):
            raise UserError("no object is painted yet; paint one on any frame, then start")
        earlier = self.runs()
        number = numbered_folder(self.folder / "runs")
        shutil.copytree(source, self.run_folder(number) / "annotations", ignore=shutil.ignore_patterns(".*"))
        first = next(index for index in there if objects[index])
        run = Run(number, steps, fingerprint, there, first, sorted({i for ids in objects.values() for i in ids}))
        self.keep(run)
        complete = [r.number for r in earlier if r.state == "finished"] or [r.number for r in earlier]
        for old in earlier:
            if old.number != complete[-1]:
                shutil.rmtree(self.run_folder(old.number), ignore_errors=True)
        return run

    def done(self, number: int) -> set[str]:
        """Return the names of the frames that a run has segmented."""
        return {name[:-4] for name in listed(self.run_folder(number) / "masks", ".png")}

    def mask(self, number: int, index: int) -> np.ndarray:
        """Read a run's id mask, uint8 (H, W), of a frame."""
        return self._mask(self.run_folder(number) / "masks", index)

    def losses(self, number: int) -> list[list[float]]:
        """Read the losses of a run's fine-tuning: [step, number of steps, loss]; step 1 begins the next object."""
        path = self.run_folder(number) / "loss.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        return [json.loads(line) for line in lines if line.endswith("]")]  # the last one may be cut off

    def _mask(self, folder: Path, index: int) -> np.ndarray:
        path = folder / f"{self.frame_name(index)}.png"
        if not path.is_file():
            raise NotFound(f"frame {index} has no such mask")
        return read_mask(path, size=self.size)


class Sessions:
    """All sessions in a folder, used by one server at a time (see `files.locked`); leftovers of a killed one go.

    levels: of new sessions, for frames of more than 8 bits, see data.levels.
    """

    def __init__(self, folder: Path, levels: Levels = "auto") -> None:
        self.levels = levels
        self.folder = folder.expanduser().resolve()
        self._open: dict[str, Session] = {}
        self._path_lock = threading.Lock()
        for path in self.folder.glob("*"):
            if _ID.fullmatch(path.name) and not (path / "session.json").is_file():
                shutil.rmtree(path, ignore_errors=True)
            for number in listed(path / "runs") if _ID.fullmatch(path.name) else ():
                if not (path / "runs" / number / "run.json").is_file():
                    shutil.rmtree(path / "runs" / number, ignore_errors=True)

    def all(self) -> tuple[list[Session], list[str]]:
        """Return all sessions, the newest first, and the ids of damaged ones."""
        sessions, damaged = [], []
        for id in sorted(path.parent.name for path in self.folder.glob("*/session.json")):
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
        return self._create(id, name, *video_and_rate)

    def refer(self, video: Path) -> Session:
        """Open the session of a video that stays where it is, if possible an existing one."""
        path = str(video.expanduser().resolve())
        with self._path_lock:
            for session in self.all()[0]:
                if session.path == path and session.levels == self.levels:
                    return session
            return self._create(secrets.token_hex(16), video.name, *open_upload(Path(path), self.levels), path=path)

    def _create(self, id: str, name: str, sequence: VideoSequence, rate: float, **extra: str) -> Session:
        names = list(sequence.frame_names) if sequence.counted else None
        content = {"name": name, "names": names, "size": sequence.size, "rate": rate, "levels": self.levels, **extra}
        write_bytes(self.folder / id / "session.json", json.dumps(content | {"made": time.time()}).encode())
        return self.get(id)

    def sample(self, clip: VideoSequence) -> Session:
        """Create a session of the built-in video, which is rendered the first time."""
        kept = self.folder / "sample" / clip.name
        for index, name in enumerate(clip.frame_names):
            if not (kept / f"{name}.png").is_file():
                with atomic(kept / f"{name}.png") as path:
                    Image.fromarray(clip.read_frame(index)).save(path, format="PNG")
        id = self.begin()
        shutil.copytree(kept, self.folder / id / "video", dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))
        return self.open(id, "Sample: two vans")

    def remove(self, id: str) -> None:
        """Delete a session with all its files."""
        folder = self.folder / id
        session = self._open.pop(id, None)
        with nullcontext() if session is None else session.writing:
            (folder / "session.json").unlink(missing_ok=True)  # first: half a session is none
        shutil.rmtree(folder, ignore_errors=True)


def _read_run(path: Path) -> Run:
    try:
        return Run(**_read_json(path))
    except TypeError as error:
        raise UserError(f"{path}: is damaged ({error}); remove its folder") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); remove its folder") from error
