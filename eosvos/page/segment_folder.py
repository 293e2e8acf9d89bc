"""A session from a folder that eosvos.segment has finished: its masks, and the annotated frames that it was made of."""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from eosvos.data.image_files import check_file, several
from eosvos.data.levels import parse_levels
from eosvos.data.masks import VOID, ids_of, read_mask
from eosvos.data.readers.user_video import annotated_frames, masks_hash, open_own
from eosvos.data.sequence import VideoSequence
from eosvos.errors import UserError
from eosvos.files import listed, write_bytes
from eosvos.page.annotations import LONGEST_NAME, Annotations, write_objects
from eosvos.page.session import Run, Session
from eosvos.page.sessions import Sessions
from eosvos.page.uploads import open_upload

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Made:
    """What the folder was made of, as it says."""

    video: Path
    source: dict[str, Any]  # the arguments of `open_own` for its masks
    masks_hash: str
    steps: int
    fingerprint: dict[str, Any]
    key: list[str]  # the folder and its run, which a session is found by


def session_of_folder(sessions: Sessions, folder: Path, video: Path | None = None) -> Session:
    """Open the session of a finished folder of eosvos.segment; it stays as it is, and so does the video.

    A session that was opened of it before is opened again, with all that was painted since. What is missing or guessed
    is logged.

    Args:
        sessions: where sessions are stored.
        folder: of eosvos.segment, its out=.
        video: where its video lies now; None: where it lay.

    Raises:
        UserError: if the folder is none of eosvos.segment, is not finished, or its masks are not those of the video.
    """
    folder = folder.expanduser().resolve()
    made = _read(folder, video)
    with sessions.path_lock:
        earlier = next((one for one in sessions.all()[0] if one.result == made.key), None)
        return earlier or _create(sessions, folder, made)


def _read(folder: Path, video: Path | None) -> _Made:
    if not folder.is_dir():
        raise UserError(f"result={folder}: is no folder; give one that eosvos.segment has finished, its out=")
    try:
        content = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        settings = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        fingerprint, given = content["fingerprint"], content["fingerprint"]["video"]
        source = {name: fingerprint[name] for name in ("binary", "absent")}
        source["levels"] = parse_levels(fingerprint.get("levels", "auto"))
        if len(given) > 1:
            source["mask" if settings["mask"] else "masks"] = given[1]
        steps = fingerprint.get("iters")
        made = _Made(
            Path(given[0]) if video is None else video.expanduser().resolve(),
            source,
            fingerprint["masks_hash"],
            steps if type(steps) is int else 0,
            {**fingerprint, "seed": content["seed"]},
            [str(folder), hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]],
        )
    except (OSError, ValueError, LookupError, TypeError, yaml.YAMLError, UserError) as error:
        raise UserError(
            f"result={folder}: not a folder of eosvos.segment, or a damaged one (its run.json and config.yaml:"
            f" {error!r:.120}); give one that it has finished, its out="
        ) from error
    if not (folder / "finished").is_file():
        raise UserError(f"result={folder}: is not finished; the command that began it continues it")
    if not made.video.exists():
        raise UserError(f"result={folder}: its video {made.video} is not there any more; say where it is with video=")
    return made


def _create(sessions: Sessions, folder: Path, made: _Made) -> Session:
    annotated = _annotated(folder, made)
    within = annotated is not None and made.video.is_dir()  # of a folder with frames/ and masks/ in it
    video = annotated.files[0].parent if annotated is not None and within else made.video
    frames, rate = open_upload(video, made.source["levels"])
    names, there = list(frames.frame_names), {name[:-4] for name in listed(folder / "masks", ".png")}
    if there != set(names):
        raise UserError(
            f"result={folder}: its masks are not those of {video}: {len(set(names) - there)} of {len(names)} frames"
            f" have none, and {len(there - set(names))} masks no frame; say with video= which video they are of"
        )
    id = secrets.token_hex(16)
    target = sessions.folder / id
    try:
        run = _copy(folder, target, names, frames.size, annotated, made)
        if annotated is not None and annotated.object_names:
            named = [{"id": i, "name": annotated.object_names.get(i, "")[:LONGEST_NAME]} for i in run.objects]
            write_objects(target / "objects.json", named)
        extra = {"path": str(video), "result": made.key, "levels": made.source["levels"]}
        return sessions.create(id, folder.name, frames, rate, **extra)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise


def _annotated(folder: Path, made: _Made) -> VideoSequence | None:
    """Open the masks that the folder was made of; None, which is logged, if they are not what they were."""
    told = "%s: its masks are shown, but no frame is annotated, as %s"
    try:
        sequence = open_own(made.video, **made.source)[0]
    except UserError as error:
        log.warning(told, folder, f"what it was made of cannot be read: {error}")
        return None
    if masks_hash(sequence) != made.masks_hash:
        log.warning(told, folder, "the masks that it was made of have changed since")
        return None
    return sequence


def _copy(
    folder: Path,
    target: Path,
    names: list[str],
    size: tuple[int, int],
    annotated: VideoSequence | None,
    made: _Made,
) -> Run:
    """Copy the folder to a session's as its first run; returns the run."""
    place = target / "runs" / "1"
    (place / "masks").mkdir(parents=True)
    shown = set[int]()
    for name in names:
        path = folder / "masks" / f"{name}.png"
        check_file(path, size, mask=True)
        shutil.copyfile(path, place / "masks" / path.name)
        if annotated is None:
            shown.update(ids_of(read_mask(path)))
    if (folder / "uncertainty.jsonl").is_file():
        shutil.copyfile(folder / "uncertainty.jsonl", place / "uncertainty.jsonl")
    indices, first = list[int](), 0
    if annotated is not None:
        indices, first = annotated_frames(annotated), min(annotated.first_frame.values())
        shown = set(annotated.first_frame)
        _annotate(annotated, indices, Annotations(target / "annotations", size))
        shutil.copytree(target / "annotations", place / "annotations")
    run = Run(1, made.steps, made.fingerprint, indices, first, sorted(shown), state="finished")
    write_bytes(place / "run.json", json.dumps(asdict(run)).encode())
    return run


def _annotate(sequence: VideoSequence, indices: list[int], annotations: Annotations) -> None:
    """Store the masks of a sequence of `open_own` as painted ones, which tell the same."""
    void = []
    for index in indices:
        mask = sequence.mask(index)
        assert mask is not None
        shown = set(ids_of(mask))
        told = set(sequence.annotated_ids.get(index, shown)) - shown
        told |= {i for i, one in sequence.prompt_masks(index).items() if not one.any()}
        silent = not shown and bool(sequence.annotated_ids) and index not in sequence.annotated_ids
        if (mask == VOID).any():
            void.append(sequence.frame_names[index])
        ids = np.where(mask == VOID, 0, mask).astype(np.uint8)
        annotations.write(sequence.frame_names[index], ids, None if silent else told)
    if void:
        log.warning("void, %d, is taken for background on frame %s", VOID, several(void))
