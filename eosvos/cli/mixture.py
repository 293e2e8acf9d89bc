"""tasksets/*.yaml: data sets mixed to train on; typed, and checked whole before anything is opened."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml
from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from eosvos.data.cache import FrameCache, resized_sequence
from eosvos.data.image_files import several
from eosvos.data.mixed_tasks import MixedTaskset
from eosvos.data.pasting import PastedTasks, Pasting
from eosvos.data.readers.coco import open_coco
from eosvos.data.readers.davis import open_davis
from eosvos.data.readers.folder import open_folder
from eosvos.data.readers.stills import open_stills
from eosvos.data.readers.youtube_vos import open_youtube_vos
from eosvos.data.sequence import VideoSequence
from eosvos.data.synthetic.taskset import SyntheticTaskset
from eosvos.data.synthetic.videos import held_out
from eosvos.data.tasks import Tasks, Taskset, VideoTaskset
from eosvos.errors import UserError
from eosvos.files import shipped
from eosvos.seeds import numpy_generator

_HELD_OUT = 41  # first part of the path of the draw of sequences for validation


@dataclass
class Transform:
    """Settings of `data.transforms.augment`; the paper's by default."""

    scale: tuple[float, float] = (0.75, 1.25)
    rotation: float = 30.0
    translation: float = 0.1
    flip: bool = True
    colour: float = 1.0


@dataclass
class Source:
    """What all kinds of sources have."""

    kind: str = MISSING
    root: str | None = None  # its folder: absolute, or within data_root; null: data_root itself
    weight: float = 1.0  # with balance: sources
    sequences: list[str] = field(default_factory=list)  # all where empty; pictures are sequences of one frame
    test: list[str] = field(default_factory=list)  # left out: neither trained on nor used for validation
    validation: list[str] = field(default_factory=list)  # left out of training, to choose the best learner by
    held_out: int = 0  # so many more for validation, drawn by the file's seed
    first_to_later: bool = False
    train_copies: int = 1
    meta_frames: int = 1
    min_area: float = 0.002
    transform: Transform = field(default_factory=Transform)


@dataclass
class Davis(Source):
    year: int = MISSING
    split: str | None = "train"
    resolution: str = "480p"


@dataclass
class YouTubeVOS(Source):
    split: str = "train"


@dataclass
class Folder(Source):
    binary: bool | None = None


@dataclass
class Stills(Source):
    binary: bool = False


@dataclass
class Coco(Source):
    split: str | None = None
    crowd: bool = False
    border: bool = True


@dataclass
class Synthetic(Source):
    """Endless; held_out: how many of the 20 validation videos to use."""

    length: int = 24
    render: tuple[int, int] = (160, 280)
    reuse: int = 4


KINDS: dict[str, type[Source]] = {
    "davis": Davis,
    "youtube_vos": YouTubeVOS,
    "folder": Folder,
    "stills": Stills,
    "coco": Coco,
    "synthetic": Synthetic,
}


@dataclass
class Mixture:
    """balance: "objects", every object of all sources is equally likely (the paper), or "sources", by their weights.
    seed: of what is held out. shrink: frames and masks are read at up to this multiple of the network's size; null: as
    stored. cache: MB of them that each process keeps. window: samples show a window
    about the object, so many times its size; 0: whole frames. paste: further objects pasted into all
    pictures; null: none.
    """

    balance: str = "sources"
    seed: int = 0
    shrink: float | None = 2.0
    cache: int = 256
    window: float = 0.0
    paste: Pasting | None = None
    sources: list[Any] = MISSING


def read(file: str) -> Mixture:
    """The checked mixture of a path, or of a name under tasksets/. Raises UserError that names the wrong value."""
    path = Path(file).expanduser() if Path(file).suffix in (".yaml", ".yml") else shipped("tasksets") / f"{file}.yaml"
    if not path.is_file():
        names = sorted(p.stem for p in shipped("tasksets").glob("*.yaml"))
        raise UserError(f"taskset.file={file}: no such file; give the path of a .yaml, or one of {', '.join(names)}")
    try:
        given = OmegaConf.load(path)  # by yaml's safe loader
    except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a YAML file ({error})") from error
    mixture: Mixture = _typed(Mixture, given, str(path))
    mixture.sources = [_source(source, f"{path}: sources[{k}]") for k, source in enumerate(mixture.sources)]
    wrong = [message for message in _wrong(mixture) if message]
    if wrong:
        raise UserError("\n".join(f"{path}: {message}" for message in wrong))
    return mixture


def content(mixture: Mixture) -> dict[str, Any]:
    """All of a mixture that decides what is drawn."""
    return {key: value for key, value in asdict(mixture).items() if key != "cache"}


def open_mixture(mixture: Mixture, file: str, data_root: str | None, size: tuple[int, int]) -> tuple[Tasks, Tasks]:
    """What to train on, and what to validate on, for a network of `size` = (short, long) sides.

    Raises UserError where a root is missing, before any is opened, and where a source has not what the file says.
    """
    places = [_place(source, k, file, data_root) for k, source in enumerate(mixture.sources)]
    larger = None if mixture.shrink is None else (round(size[0] * mixture.shrink), round(size[1] * mixture.shrink))
    cache, number = FrameCache(mixture.cache * 2**20), 0
    train, unseen = [], []
    for k, (source, place) in enumerate(zip(mixture.sources, places, strict=True)):
        try:
            own = [
                resized_sequence(sequence, number + n, larger, cache) for n, sequence in enumerate(_open(source, place))
            ]
            first, second = _tasksets(source, own, size, mixture.window, numpy_generator(mixture.seed, _HELD_OUT, k))
        except UserError as error:
            raise UserError(f"{file}: sources[{k}] ({source.kind}): {error}") from error
        number += len(own)
        train.append((source, first))
        unseen += [(source, second)] if second is not None else []
    both = _mixed(mixture, train), _mixed(mixture, unseen)
    return both if mixture.paste is None else tuple(PastedTasks(one, mixture.paste) for one in both)  # type: ignore


def _typed(schema: type, given: Any, place: str) -> Any:
    known = {f.name for f in fields(schema)}
    if not OmegaConf.is_dict(given):
        raise UserError(f"{place}: expected settings such as {', '.join(sorted(known))}")
    unknown = sorted(str(key) for key in given if key not in known)
    if unknown:
        raise UserError(f"{place}: {unknown[0]}: no such setting; expected some of {', '.join(sorted(known))}")
    try:
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), given))
    except OmegaConfBaseException as error:
        key, message = getattr(error, "full_key", None), str(error).splitlines()[0]
        raise UserError(f"{place}: {key or 'settings'}: {message}") from error


def _source(given: Any, place: str) -> Source:
    kind = given.get("kind") if isinstance(given, dict) else None
    if kind not in KINDS:
        raise UserError(f"{place}: kind={kind}: expected one of {', '.join(KINDS)}")
    return _typed(KINDS[kind], OmegaConf.create(given), f"{place} ({kind})")


def _wrong(mixture: Mixture) -> list[str]:
    """Values out of their range."""
    wrong = []
    if mixture.balance not in ("objects", "sources"):
        wrong.append(f"balance={mixture.balance}: expected objects or sources")
    for key, value, low in (
        ("seed", mixture.seed, 0),
        ("cache", mixture.cache, 0),
        ("shrink", mixture.shrink, 1),
        ("window", mixture.window, 0),
    ):
        if value is not None and not low <= value < math.inf:
            wrong.append(f"{key}={value}: expected {low} or more")
    if mixture.paste is not None:
        least_size, most_size = mixture.paste.scale
        for key, number, small, large in (
            ("share", mixture.paste.share, 0.0, 1.0),
            ("most", float(mixture.paste.most), 1.0, 8.0),
            ("swap", mixture.paste.swap, 0.0, 1.0),
            ("light", mixture.paste.light, 0.0, 1.0),
            ("scale", least_size, 0.1, most_size),
            ("scale", most_size, least_size, 10.0),
        ):
            if not small <= number <= large:
                wrong.append(f"paste.{key}={number}: expected {small} to {large}")
    if not mixture.sources:
        wrong.append("sources=[]: expected one or more, each with a kind")
    for k, source in enumerate(mixture.sources):
        label = f"sources[{k}] ({source.kind})"
        low, high = source.transform.scale
        ranges = (
            ("weight", source.weight, 0, math.inf),
            ("min_area", source.min_area, 0, 1),
            ("train_copies", source.train_copies, 1, math.inf),
            ("meta_frames", source.meta_frames, 1, math.inf),
            ("held_out", source.held_out, 0, math.inf),
            ("transform.rotation", source.transform.rotation, 0, math.inf),
            ("transform.translation", source.transform.translation, 0, 1),
            ("transform.colour", source.transform.colour, 0, math.inf),
            ("transform.scale", low, 1e-3, high),
        )
        for key, value, least, most in ranges:
            if not (least <= value <= most and value < math.inf):
                bounds = f"{least} or more" if most == math.inf else f"{least} to {most}"
                wrong.append(f"{label}: {key}={value}: expected {bounds}")
        if mixture.balance == "objects" and source.kind == "synthetic":
            wrong.append(f"{label}: its objects cannot be counted: they are endless; use balance: sources")
        if mixture.balance == "objects" and source.weight != 1:
            wrong.append(f"{label}: weight={source.weight}: no use with balance: objects; use balance: sources")
    if mixture.sources and not sum(source.weight for source in mixture.sources) > 0:
        wrong.append("all weights are 0: expected one above 0")
    if mixture.sources and not any(source.validation or source.held_out for source in mixture.sources):
        wrong.append("nothing to validate on: give a source validation: [names], or held_out: how many to draw")
    return wrong


def _place(source: Source, k: int, file: str, data_root: str | None) -> Path:
    """The folder of a source, which is there."""
    if isinstance(source, Synthetic):
        return Path()
    root = Path(source.root or ".").expanduser()
    label = f"{file}: sources[{k}] ({source.kind}): root {source.root}"
    how = "data_root= or the environment variable EOSVOS_DATA"
    if not root.is_absolute():
        if data_root is None:
            raise UserError(f"{label}: where it lies is not known; give the folder that holds it with {how}")
        root = Path(data_root).expanduser() / root
    if not root.is_dir():
        raise UserError(
            f"{label}: {root} is not there; give the folder that holds {source.root} with {how}, or its path as"
            " root: in a copy of this file (taskset=mixture taskset.file=COPY)"
        )
    return root


def _open(source: Source, root: Path) -> list[VideoSequence]:
    """All sequences of a source but those of its test; synthetic ones are made, not opened."""
    names = source.sequences
    match source:
        case Davis():
            found = open_davis(
                root, year=source.year, split=source.split, resolution=source.resolution, sequences=names
            )
        case YouTubeVOS():
            found = open_youtube_vos(root, split=source.split, sequences=names)
        case Folder():
            found = open_folder(root, binary=source.binary, sequences=names)
        case Stills():
            found = open_stills(root, binary=source.binary, sequences=names)
        case Coco():
            kept: dict[str, Any] = {"min_area": source.min_area, "crowd": source.crowd, "border": source.border}
            found = open_coco(root, split=source.split, sequences=names, **kept)
        case _:
            return []
    known = {sequence.name for sequence in found}
    for key, chosen in (("test", source.test), ("validation", source.validation)):
        unknown = [name for name in chosen if name not in known]
        if unknown:
            raise UserError(f"{key}={several(unknown)}: not among its {len(found)} sequences, {several(sorted(known))}")
    return [sequence for sequence in found if sequence.name not in source.test]


def _tasksets(
    source: Source, own: list[VideoSequence], size: tuple[int, int], window: float, draws: Any
) -> tuple[Taskset, Taskset | None]:
    """What a source gives to train on and, where it gives any, to validate on."""
    settings: dict[str, Any] = {"size": size, "window": window, "transform": asdict(source.transform)}
    settings |= {key: getattr(source, key) for key in ("first_to_later", "train_copies", "meta_frames", "min_area")}
    if isinstance(source, Synthetic):
        height, width = source.render
        scenes = SyntheticTaskset(length=source.length, render=(height, width), reuse=source.reuse, **settings)
        if not source.held_out:
            return scenes, None
        videos = held_out("val", count=source.held_out, size=(height, width), length=source.length)
        return scenes, VideoTaskset(videos, **settings)
    both = set(source.validation) & set(source.test)
    if both:
        raise UserError(f"validation={several(sorted(both))}: also in test; a sequence has one use")
    left = [sequence for sequence in own if sequence.name not in source.validation]
    if source.held_out >= len(left):
        raise UserError(f"held_out={source.held_out}: nothing is left to train on of {len(left)} sequences")
    drawn = {left[int(k)].name for k in draws.permutation(len(left))[: source.held_out]} | set(source.validation)
    unseen = [sequence for sequence in own if sequence.name in drawn]
    train = VideoTaskset([sequence for sequence in own if sequence.name not in drawn], **settings)
    return train, VideoTaskset(unseen, **settings) if unseen else None


def _mixed(mixture: Mixture, parts: list[tuple[Source, Any]]) -> MixedTaskset:
    if mixture.balance == "objects":
        return MixedTaskset([taskset for _, taskset in parts], [len(taskset.objects) for _, taskset in parts])
    return MixedTaskset([taskset for _, taskset in parts], [source.weight for source, _ in parts])
