"""Parts of the schema that say where videos come from: those to segment, and those of training tasks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from eosvos.cli.ranges import SHARE, SOME, Range, one_of, setting
from eosvos.data.mask_files.appearances import ABSENT
from eosvos.evaluation.metrics.region_contour import PROTOCOLS

DATASETS = (
    "synthetic",
    "davis",
    "folder",
    "video",
    "youtube_vos",
    "mose",
    "lvos",
    "sav",
    "youtube_objects",
    "segtrack",
)
RESOLUTIONS = ("480p", "full")


@dataclass
class DatasetSection:
    """Where test sequences come from; conf/dataset/."""

    name: str = MISSING
    kind: str = one_of(DATASETS)  # who reads it
    protocol: str = one_of(PROTOCOLS, "davis")  # which frames count for an object
    year: int | None = None  # of DAVIS and YouTube-VOS
    resolution: str = one_of(RESOLUTIONS, "480p")  # of DAVIS
    version: int = setting(Range(1, 2), 1)  # of LVOS
    every_frame: bool = False  # of YouTube-VOS: all frames, from SPLIT_all_frames, not every fifth
    truth: str | None = None  # of YouTube-VOS: a folder with the masks that valid and test keep back
    binary: bool | None = None  # of a folder or video: masks show one object, all that is not 0; null: look
    masks: str | None = None  # of a video: the first frame's mask, or a folder or annotation file of masks
    levels: Any = "auto"  # of a folder or video: as of segment
    # of a folder or video: "all": images without annotation in JSON show no object
    absent: str | None = one_of(ABSENT, None)
    count: int = setting(Range(1, 20), 20)  # of synthetic videos
    length: int = setting(Range(2), 24)  # their frames
    size: tuple[int, int] = setting(Range(16), (240, 432))  # their height and width


@dataclass
class TasksetSection:
    """Where training tasks come from; conf/taskset/."""

    name: str = MISSING
    kind: str = one_of(("synthetic", "davis", "folder", "mixture"))
    file: str | None = None  # mixture: path, or name under tasksets/; it has all the other settings
    length: int = setting(Range(2), 24)  # synthetic: frames of a scene
    render: tuple[int, int] = setting(
        Range(16), (160, 280)
    )  # synthetic: height and width of a scene before it is transformed
    reuse: int = setting(SOME, 4)  # synthetic: iterations in a row that draw from a scene
    year: int | None = None
    resolution: str = one_of(RESOLUTIONS, "480p")
    split: str | None = None
    binary: bool | None = None
    sequences: list[str] = field(default_factory=list)  # all of the split where empty
    validation_sequences: list[str] = field(default_factory=list)  # held out of them; every fifth where empty
    hold_out: bool = True  # false: all are trained on, and validation figures are of these very videos
    first_to_later: bool = False
    train_copies: int = setting(SOME, 1)
    meta_frames: int = setting(SOME, 1)  # that judge a task
    min_area: float = setting(SHARE, 0.002)
    window: float = 0.0  # samples show a window about the object, so many times its size; 0: whole frames
    transform: dict[str, Any] = field(default_factory=dict)
