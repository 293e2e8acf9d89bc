"""One session of the page: an opened video with its painted masks and the runs on them."""

from __future__ import annotations

import json
import logging
import shutil
import threading
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from eosvos.data.levels import parse_levels
from eosvos.data.masks import ids_of, read_mask
from eosvos.data.readers.user_video import open_own
from eosvos.data.sequence import VideoSequence
from eosvos.errors import UserError
from eosvos.files import listed, numbered_folder, write_bytes
from eosvos.page.annotations import Annotations, read_objects
from eosvos.page.uploads import count_frames, open_upload, video_in

log = logging.getLogger(__name__)


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
        content = read_json(folder / "session.json")
        try:
            self.name: str = content["name"]
            self._names: list[str] | None = content["names"]
            self.size: tuple[int, int] = tuple(content["size"])
            self.rate: float = content["rate"]
            self.made = float(content["made"])
            self.path: str | None = content.get("path")
            self.result: list[str] | None = content.get("result")  # the folder of eosvos.segment that it is from
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
                    write_bytes(path, json.dumps(read_json(path) | {"names": names}).encode())
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
        return open_own(self.video, masks=annotations, binary=False, levels=self.levels, absent="told")

    @property
    def annotations(self) -> Annotations:
        """What is painted on the frames."""
        return Annotations(self.folder / "annotations", self.size)

    def annotated(self) -> list[int]:
        """Return the indices of the annotated frames."""
        return list(self.versions())

    def versions(self) -> dict[int, str]:
        """Return, by index of the annotated frames, a text that changes whenever what is painted there changes."""
        there = self.annotations.versions()
        return {index: there[name] for index, name in enumerate(self.names) if name in there}

    def annotation(self, index: int) -> tuple[np.ndarray, tuple[int, ...] | None]:
        """Return the painted id mask of a frame and its absent objects, see `Annotations.read`."""
        name = self.frame_name(index)
        if name not in self.annotations:
            raise NotFound(f"nothing is painted on frame {index}")
        return self.annotations.read(name)

    @property
    def objects_file(self) -> Path:
        """The file of the objects' names, colours and flags."""
        return self.folder / "objects.json"

    def deleted(self) -> set[int]:
        """Return the ids of the objects that were deleted: they are neither segmented nor exported."""
        return {one["id"] for one in read_objects(self.objects_file) if one["deleted"]}

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
        source = self.annotations if annotations is None else Annotations(annotations, self.size)
        deleted = self.deleted()
        there = [index for index, name in enumerate(self.names) if name in source]
        objects = {index: set(ids_of(source.read(self.names[index])[0])) - deleted for index in there}
        if not any(objects.values()):
            raise UserError("no object is painted yet; paint one on any frame, then start")
        earlier = self.runs()
        number = numbered_folder(self.folder / "runs")
        given = Annotations(self.run_folder(number) / "annotations", self.size)
        for index in there:
            source.copy(self.names[index], given, deleted)
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


def _read_run(path: Path) -> Run:
    try:
        return Run(**read_json(path))
    except TypeError as error:
        raise UserError(f"{path}: is damaged ({error}); remove its folder") from error


def read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); remove its folder") from error
