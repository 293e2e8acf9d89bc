"""The typed schema of conf/. What a value may be stands with its field, and is 0 or more for numbers that say nothing.

Values stand in conf/*.yaml, or, for the parts of a method and of the network, as defaults of the library's dataclasses.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from omegaconf import MISSING

from eosvos.cli.data_sections import DatasetSection, TasksetSection
from eosvos.cli.ranges import NUMBER, POSITIVE, SHARE, SOME, Range, one_of, setting
from eosvos.cli.sections import (
    BilateralSection,
    DetectionSection,
    FineTuningSection,
    GrabCutSection,
    GuidanceSection,
    ModelSection,
    ModulationSection,
    OnlineSection,
    OSMNModelSection,
    OSVOSModelSection,
    OuterSection,
    PropagationSection,
    TuningSection,
    WindowSection,
)
from eosvos.data.mask_files.appearances import ABSENT
from eosvos.evaluation.metrics.region_contour import EXTRA_METRICS, PROTOCOLS
from eosvos.evaluation.refinement import FRAME_CHOICES
from eosvos.inference.export import FORMS, OUTPUTS
from eosvos.meta.learner import LEVELS
from eosvos.meta.outer import OuterSettings
from eosvos.methods.osvos.loss import BRANCHES
from eosvos.methods.snapping import KINDS as SNAPPING
from eosvos.models.mask_rcnn import MASK_LOSSES
from eosvos.models.pretrained.load import NORMS
from eosvos.plots.published import QUALITIES
from eosvos.plots.style import FORMATS

METHODS = ("eosvos", "osvos", "osmn", "copy_first", "flow")
PICTURES = ("bars", "over_time", "speed", "steps", "time", "errors", "contact_sheet", "boxes", "video")


@dataclass
class FiguresConfig:
    """What both evaluations share: the data set, what is measured on it, and where figures go."""

    dataset: DatasetSection = field(default_factory=DatasetSection)
    data_root: str | None = None
    split: str | None = None
    sequences: list[str] = field(default_factory=list)
    # which frames count for an object; null: as is usual for the data set
    protocol: str | None = one_of(PROTOCOLS, None)
    # whether the first and last annotated frame count; null: as the protocol has it
    ends: str | None = one_of(("skip", "keep"), None)
    void: str = one_of(("background", "ignore"))  # what pixels of unknown truth are
    measures: list[str] = one_of(EXTRA_METRICS, list)  # besides J and F
    submission: bool = False
    export: list[str] = one_of(FORMS, list)  # forms in which the masks are written, too
    out: str | None = None
    resume: bool = MISSING
    processes: int | None = setting(SOME, None)


@dataclass
class OSVOSSection(TuningSection):  # type: ignore[misc]
    """Of method=osvos."""

    snapping: str = one_of(SNAPPING, "none")  # to edges or to learned contours
    contours: str | None = None  # path of the contour branch; none ships
    threshold: float = setting(SHARE, 0.1)  # of its ultrametric contour map, at which superpixels are cut
    bilateral: BilateralSection = field(default_factory=BilateralSection)


@dataclass
class OSMNSection(ModulationSection):  # type: ignore[misc]
    snapping: str = one_of(SNAPPING[:2], "none")  # of method=osmn's masks, to edges


@dataclass
class MethodConfig:
    """A method and what it goes by."""

    method: str = one_of(METHODS)
    learner: str | None = None
    learner_rate: float | None = setting(POSITIVE, None)  # of a learner that has no rates; null: it has
    iters: int | None = MISSING  # null: what the learner recommends
    ona: bool = MISSING
    score: float | None = setting(SHARE, None)  # least of a detection; null: the network's own
    fine_tuning: FineTuningSection = field(default_factory=FineTuningSection)
    propagation: PropagationSection = field(default_factory=PropagationSection)
    online: OnlineSection = field(default_factory=OnlineSection)
    window: WindowSection = field(default_factory=WindowSection)
    detection: DetectionSection = field(default_factory=DetectionSection)
    snapping: GrabCutSection = field(default_factory=GrabCutSection)  # of eosvos, and of the others' snapping=grabcut
    osvos: OSVOSSection = field(default_factory=OSVOSSection)
    osmn: OSMNSection = field(default_factory=OSMNSection)
    seed: int = MISSING
    device: str = MISSING


@dataclass
class EvalConfig(MethodConfig, FiguresConfig):
    overlay: bool = MISSING


@dataclass
class SegmentConfig(MethodConfig):
    video: str | None = None  # a video file, or a folder of frames
    mask: str | None = None  # of its first frame
    masks: str | None = None  # a folder or annotation file of masks of any frames
    binary: bool | None = None  # masks show one object, all that is not 0; null: look
    levels: Any = "auto"  # of frames of more than 8 bits: auto, full or [low, high], see data.levels
    absent: str = one_of(ABSENT)  # what masks tell of objects that they do not show
    outputs: list[str] = one_of(OUTPUTS, list)  # besides the masks
    threads: int = setting(SOME)
    out: str | None = None
    resume: bool = MISSING


@dataclass
class AppConfig(MethodConfig):
    video: str | None = None  # as of segment
    result: str | None = None  # a finished folder of segment
    levels: Any = "auto"  # as of segment
    host: str = MISSING
    port: int = setting(Range(0, 65535))
    hosts: list[str] = field(default_factory=list)  # further names that it is called by
    token: str | None = None  # that browsers have to know; null: none at 127.0.0.1, elsewhere one is made
    quota: int | None = setting(SOME)  # MiB of disk, of all sessions; null: any
    folder: str = MISSING
    upload: int = setting(SOME)  # MiB, of a video at most
    threads: int = setting(SOME)


@dataclass
class RefineConfig(EvalConfig):
    annotations: list[int] = setting(SOME)  # numbers of annotated frames, ascending
    choice: str = one_of(FRAME_CHOICES)  # of the next frame


@dataclass
class ScoreConfig(FiguresConfig):
    results: str | None = None
    missing: str = one_of(("error", "empty"))  # what sequences and frames without a mask are
    binary: bool | None = None  # masks show one object, all that is not 0; null: look


@dataclass
class MetaSection(OuterSection):  # type: ignore[misc]  # frozen for mypy only
    mask_warm_up: int = MISSING  # iterations at first with cross-entropy as the mask loss
    steps: int = MISSING  # inner steps of a task
    batch: int = setting(SOME)  # train samples of an inner step
    inner_clip: float | None = setting(POSITIVE)  # norm to which an inner gradient is scaled down; null: none is
    order: int = setting(Range(1, 2))
    order_warm_up: int = MISSING  # iterations at first of order 1, where order is 2
    step_weights: list[float] | None = None  # of the meta loss after each inner step; null: the last step's alone
    multi_step_iterations: int = MISSING  # iterations over which the weights go from uniform to the last step's alone
    window: int | None = setting(SOME, None)  # last inner steps that are differentiated; null: all
    unrolled: bool = MISSING  # by `higher`, as a check
    level: str = one_of(LEVELS)  # of the learning rates
    rate: float | None = None  # all learning rates at first; null: those of the init learner
    validation_tasks: int = setting(SOME)
    validation_steps: list[int] = MISSING  # ascending; the last decides which learner is best


@dataclass
class ParentSection(OuterSection):  # type: ignore[misc]
    iterations: int = setting(NUMBER, OuterSettings.iterations)  # 0: what it starts from
    mask_warm_up: int = MISSING
    validation_pictures: int = setting(SOME)


@dataclass
class SearchSection:
    """The search of the best single fine-tuning rate."""

    rates: list[float] = setting(POSITIVE)
    mask_losses: list[str] = one_of(MASK_LOSSES)
    steps: int = setting(SOME)
    batch: int = setting(SOME)
    inner_clip: float | None = setting(POSITIVE)
    tasks: int = setting(SOME)


@dataclass
class OSVOSParentSection(OuterSection):  # type: ignore[misc]
    iterations: int = setting(NUMBER, OuterSettings.iterations)  # 0: what it starts from
    deep_supervision: int = MISSING  # iterations over which the side outputs' part of the loss falls from 1 to 0
    validation_pictures: int = setting(SOME)


@dataclass
class OSVOSSearchSection:
    """The search of the best rate of online fine-tuning."""

    rates: list[float] = setting(POSITIVE)
    steps: int = setting(SOME)
    tasks: int = setting(SOME)


@dataclass
class TrainConfig:
    taskset: TasksetSection = field(default_factory=TasksetSection)
    data_root: str | None = None
    init: str | None = None
    seed: int = MISSING
    out: str | None = None
    resume: bool = MISSING
    other_code: bool = MISSING
    device: str = MISSING
    threads: int = setting(SOME)
    workers: int = MISSING


@dataclass
class DetectorTrainConfig(TrainConfig):
    """Of Mask R-CNN."""

    model: ModelSection = field(default_factory=ModelSection)
    init_norm: str = one_of(NORMS)
    init_images: str | None = None


@dataclass
class MetaTrainConfig(DetectorTrainConfig):
    meta: MetaSection = field(default_factory=MetaSection)


@dataclass
class ParentTrainConfig(DetectorTrainConfig):
    parent: ParentSection = field(default_factory=ParentSection)
    search: SearchSection = field(default_factory=SearchSection)


@dataclass
class OSVOSTrainConfig(TrainConfig):
    branch: str = one_of(BRANCHES)
    model: OSVOSModelSection = field(default_factory=OSVOSModelSection)
    parent: OSVOSParentSection = field(default_factory=OSVOSParentSection)
    osvos: TuningSection = field(default_factory=TuningSection)  # of the search
    search: OSVOSSearchSection = field(default_factory=OSVOSSearchSection)


@dataclass
class PlotConfig:
    runs: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    learners: list[str] = field(default_factory=list)
    out: str | None = None
    tables: bool = MISSING
    format: str = one_of(FORMATS)
    pictures: list[str] = one_of(PICTURES)
    measure: str = one_of(QUALITIES)
    published: str | None = None
    sequences: list[str] = field(default_factory=list)
    data_root: str | None = None


@dataclass
class ConvertConfig:
    weights: str | None = None  # a path, or torchvision:NAME
    out: str | None = None
    learner_rate: float | None = setting(POSITIVE, None)  # of a file that has no rates; null: it has, or none


@dataclass
class OSMNOuterSection(OuterSection):  # type: ignore[misc]
    iterations: int = setting(NUMBER, OuterSettings.iterations)  # 0: what it starts from
    segmentation: bool = MISSING  # false: that network stays as init= has it, the modulators alone are trained
    validation_objects: int = setting(SOME)


@dataclass
class OSMNTrainConfig(TrainConfig):
    model: OSMNModelSection = field(default_factory=OSMNModelSection)
    outer: OSMNOuterSection = field(default_factory=OSMNOuterSection)
    guidance: GuidanceSection = field(default_factory=GuidanceSection)
    osmn: ModulationSection = field(default_factory=ModulationSection)
    search: OSVOSSearchSection = field(default_factory=OSVOSSearchSection)


@dataclass
class OSMNShowConfig:
    learner: str | None = None
    taskset: TasksetSection = field(default_factory=TasksetSection)
    data_root: str | None = None
    objects: int = setting(Range(3))
    seed: int = MISSING
    out: str = MISSING


def outer_settings(section: OuterSection) -> OuterSettings:
    """The part of a training's settings that the outer loop takes."""
    return OuterSettings(**{f.name: getattr(section, f.name) for f in fields(OuterSettings)})


SCHEMAS: dict[str, type] = {
    "eval": EvalConfig,
    "refine": RefineConfig,
    "segment": SegmentConfig,
    "app": AppConfig,
    "score": ScoreConfig,
    "convert": ConvertConfig,
    "plot": PlotConfig,
    "meta_train": MetaTrainConfig,
    "parent_train": ParentTrainConfig,
    "osvos_train": OSVOSTrainConfig,
    "osmn_train": OSMNTrainConfig,
    "osmn_show": OSMNShowConfig,
}
