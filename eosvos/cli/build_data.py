"""What to segment, train and validate on: sequences and tasksets from the sections `dataset` and `taskset`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, Protocol

from eosvos.cli import mixture
from eosvos.cli.data_sections import DatasetSection, TasksetSection
from eosvos.data.image_files import several
from eosvos.data.levels import parse_levels
from eosvos.data.readers.davis import open_davis
from eosvos.data.readers.folder import open_folder
from eosvos.data.readers.lvos import open_lvos
from eosvos.data.readers.mose import open_mose
from eosvos.data.readers.sav import open_sav
from eosvos.data.readers.segtrack import open_segtrack
from eosvos.data.readers.youtube_objects import open_youtube_objects
from eosvos.data.readers.youtube_vos import open_youtube_vos
from eosvos.data.sequence import VideoSequence
from eosvos.data.synthetic.taskset import SyntheticTaskset
from eosvos.data.synthetic.videos import held_out
from eosvos.data.tasks import Tasks, VideoTaskset
from eosvos.data.video.open import open_video
from eosvos.errors import UserError

WITHOUT_SPLITS = ("folder", "segtrack", "video", "youtube_objects")


class Network(Protocol):
    """Any of `models`."""

    network_spec: Any  # has the sides of its images, short and long


def open_dataset(
    section: DatasetSection, data_root: str | None, split: str | None, names: Sequence[str], *, frames: bool = True
) -> list[VideoSequence]:
    """The sequences of a data set; without `frames`, which scoring needs not, masks are enough.

    Raises UserError where there is no root, or a split or sequence is not in it.
    """
    if section.kind == "synthetic":
        height, width = section.size
        found = held_out(split or "test", count=section.count, size=(height, width), length=section.length)
        return _chosen(found, names)
    if data_root is None:
        raise UserError(
            f"{section.name}: where it lies is not known; give its folder with data_root= or the environment variable "
            "EOSVOS_DATA"
        )
    if split is not None and section.kind in WITHOUT_SPLITS:
        raise UserError(f"split={split}: {section.name} has no splits; choose videos with sequences=[...]")
    match section.kind:
        case "davis":
            assert section.year is not None
            return open_davis(
                data_root, year=section.year, split=split, resolution=section.resolution, sequences=names, frames=frames
            )
        case "youtube_vos":
            return open_youtube_vos(
                data_root,
                split=split or "valid",
                sequences=names,
                year=section.year,
                every_frame=section.every_frame,
                truth=section.truth,
                frames=frames,
            )
        case "mose":
            return open_mose(data_root, split=split, sequences=names, frames=frames)
        case "lvos":
            return open_lvos(data_root, version=section.version, split=split, sequences=names, frames=frames)
        case "sav":
            return open_sav(data_root, split=split, sequences=names, frames=frames)
        case "youtube_objects":
            return open_youtube_objects(data_root, sequences=names)
        case "segtrack":
            return open_segtrack(data_root, sequences=names, frames=frames)
        case "video":
            return [_video(section, data_root, names)]
        case _:
            return open_folder(
                data_root,
                sequences=names,
                binary=section.binary,
                levels=parse_levels(section.levels),
                absent=section.absent,
                need_frames=frames,
            )


def _video(section: DatasetSection, path: str, names: Sequence[str]) -> VideoSequence:
    if section.masks is None:
        raise UserError(
            "dataset.masks=null: what to follow is not known; give the mask of the first frame with"
            " dataset.masks=first.png, or a folder of masks that are named by the numbers of their frames"
        )
    opened = open_video(
        path, section.masks, binary=section.binary, levels=parse_levels(section.levels), absent=section.absent
    )
    return _chosen([opened], names)[0]


def reopen(settings: Mapping[str, Any], data_root: str | None, names: Sequence[str]) -> list[VideoSequence]:
    """The sequences `names` of a run with the `settings` in its run.json; `data_root`: where its data lies by now.

    Raises UserError where they are not to be had.
    """
    if not isinstance(settings.get("dataset"), dict):
        raise UserError("the run does not tell which data set it is over")
    known = {f.name for f in fields(DatasetSection)}
    section = DatasetSection(**{key: value for key, value in settings["dataset"].items() if key in known})
    return open_dataset(section, data_root or settings.get("data_root"), settings.get("split"), names)


def _chosen(found: list[VideoSequence], names: Sequence[str]) -> list[VideoSequence]:
    known = {sequence.name: sequence for sequence in found}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UserError(f"sequences=[{unknown[0]}]: no such sequence; expected some of {several(list(known))}")
    return [known[name] for name in names] if names else found


def tasksets(section: TasksetSection, data_root: str | None, model: Network) -> tuple[Tasks, Tasks]:
    """What to train on, and what to validate on: held-out synthetic videos, held-out videos of the same split (the same
    videos with hold_out=false), or what a mixture holds out."""
    if section.kind == "mixture":
        size = (model.network_spec.short, model.network_spec.long)
        return mixture.open_mixture(_mixture(section), str(section.file), data_root, size)
    settings: dict[str, Any] = {
        "size": (model.network_spec.short, model.network_spec.long),
        "first_to_later": section.first_to_later,
        "train_copies": section.train_copies,
        "meta_frames": section.meta_frames,
        "min_area": section.min_area,
        "window": section.window,
        "transform": section.transform,
    }
    if section.kind == "synthetic":
        height, width = section.render
        unseen = VideoTaskset(held_out("val", size=(height, width), length=section.length), **settings)
        scenes = SyntheticTaskset(length=section.length, render=(height, width), reuse=section.reuse, **settings)
        return scenes, unseen
    dataset = DatasetSection(**{key: getattr(section, key) for key in ("name", "kind", "year", "resolution", "binary")})
    videos = open_dataset(dataset, data_root, section.split, section.sequences)
    if not section.hold_out:
        every = VideoTaskset(videos, **settings)
        return every, every
    held = set(section.validation_sequences) or {video.name for video in videos[4::5]}
    unknown = sorted(held - {video.name for video in videos})
    if unknown:
        raise UserError(f"taskset.validation_sequences=[{unknown[0]}]: not among the {len(videos)} training sequences")
    train = [video for video in videos if video.name not in held]
    if not train or not held:
        raise UserError(
            f"taskset={section.name}: {len(videos)} videos, {len(held)} of them for validation; at least one for each "
            "is expected: name those for validation with taskset.validation_sequences=[...]"
        )
    return VideoTaskset(train, **settings), VideoTaskset([v for v in videos if v.name in held], **settings)


def fingerprint(section: TasksetSection) -> dict[str, Any]:
    """All of the section that decides what is drawn; of a mixture what is in its file, wherever that lies."""
    if section.kind == "mixture":
        return {"name": section.name, "mixture": mixture.content(_mixture(section))}
    return {key: value for key, value in asdict(section).items() if key != "file"}


def _mixture(section: TasksetSection) -> mixture.Mixture:
    given, plain = (json.loads(json.dumps(asdict(one))) for one in (section, TasksetSection()))  # tuples are lists
    idle = [key for key in given if key not in ("name", "kind", "file") and given[key] != plain[key]]
    if idle:
        raise UserError(
            f"taskset.{idle[0]}: a mixture has this setting in its file, {section.file}; change a copy of it"
        )
    if section.file is None:
        raise UserError("taskset.file=null: give the mixture's path, taskset.file=my.yaml")
    return mixture.read(section.file)
