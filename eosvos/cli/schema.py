"""The typed schema of conf/; validate.py has what its values may be.

Values stand in conf/*.yaml, or, for the parts of a method and of the network, as defaults of the library's dataclasses.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, make_dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

from omegaconf import MISSING

from eosvos.meta.outer import OuterSettings
from eosvos.methods.eosvos.settings import FineTuning, Online, Propagation, Windowing
from eosvos.methods.osmn.guides import Guidance
from eosvos.methods.osmn.method import Modulation
from eosvos.methods.osvos.method import Tuning
from eosvos.methods.snapping import Bilateral, GrabCut
from eosvos.models import osmn, osvos
from eosvos.models.mask_rcnn import Spec


def _section(name: str, source: type, *, optional: bool = False) -> Any:
    """A library dataclass as part of the schema, to be kept as `name` in this module: OmegaConf takes frozen ones as
    read-only. optional: all None."""
    hints = get_type_hints(source)
    rows: list[Any] = []
    for f in fields(source):
        hint = hints[f.name]
        rows.append((f.name, hint | None, None) if optional else (f.name, hint, f.default))
    made = make_dataclass(name, rows)
    made.__module__ = __name__  # where other processes find it: those of a sweep
    return made


if TYPE_CHECKING:
    from eosvos.meta.outer import OuterSettings as OuterSection
    from eosvos.methods.eosvos.settings import FineTuning as FineTuningSection
    from eosvos.methods.eosvos.settings import Online as OnlineSection
    from eosvos.methods.eosvos.settings import Propagation as PropagationSection
    from eosvos.methods.eosvos.settings import Windowing as WindowSection
    from eosvos.methods.osmn.guides import Guidance as GuidanceSection
    from eosvos.methods.osmn.method import Modulation as ModulationSection
    from eosvos.methods.osvos.method import Tuning as TuningSection
    from eosvos.methods.snapping import Bilateral as BilateralSection
    from eosvos.methods.snapping import GrabCut as GrabCutSection
    from eosvos.models.mask_rcnn import Spec as ModelSection
    from eosvos.models.osmn import Spec as OSMNModelSection
    from eosvos.models.osvos import Spec as OSVOSModelSection
else:
    OuterSection, OnlineSection = _section("OuterSection", OuterSettings), _section("OnlineSection", Online)
    FineTuningSection = _section("FineTuningSection", FineTuning)
    PropagationSection = _section("PropagationSection", Propagation)
    WindowSection = _section("WindowSection", Windowing)
    GrabCutSection = _section("GrabCutSection", GrabCut)
    TuningSection, BilateralSection = _section("TuningSection", Tuning), _section("BilateralSection", Bilateral)
    ModelSection = _section("ModelSection", Spec, optional=True)  # None: the size's own
    OSVOSModelSection = _section("OSVOSModelSection", osvos.Spec, optional=True)
    GuidanceSection = _section("GuidanceSection", Guidance)
    ModulationSection = _section("ModulationSection", Modulation)
    OSMNModelSection = _section("OSMNModelSection", osmn.Spec, optional=True)


@dataclass
class DatasetSection:
    """Where test sequences come from; conf/dataset/."""

    name: str = MISSING
    kind: str = MISSING  # who reads it: validate.DATASETS
    protocol: str = "davis"  # which frames count for an object: evaluation.metrics.region_contour.PROTOCOLS
    year: int | None = None  # of DAVIS and YouTube-VOS
    resolution: str = "480p"  # of DAVIS: 480p or full
    version: int = 1  # of LVOS
    every_frame: bool = False  # of YouTube-VOS: all frames, from SPLIT_all_frames, not every fifth
    truth: str | None = None  # of YouTube-VOS: a folder with the masks that valid and test keep back
    binary: bool | None = None  # of a folder or video: masks show one object, all that is not 0; null: look
    masks: str | None = None  # of a video: the first frame's mask, or a folder or .json of masks
    levels: Any = "auto"  # of a folder or video: as of segment
    absent: str | None = None  # of a folder or video: "all": images without annotation in JSON show no object
    count: int = 20  # of synthetic videos
    length: int = 24  # their frames
    size: tuple[int, int] = (240, 432)  # their height and width


@dataclass
class FiguresConfig:
    """What both evaluations share: the data set, what is measured on it, and where figures go."""

    dataset: DatasetSection = field(default_factory=DatasetSection)
    data_root: str | None = None
    split: str | None = None
    sequences: list[str] = field(default_factory=list)
    protocol: str | None = None  # which frames count for an object; null: as is usual for the data set
    ends: str | None = None  # whether the first and last annotated frame count; null: as the protocol has it
    void: str = MISSING  # what pixels of unknown truth are
    measures: list[str] = field(default_factory=list)  # besides J and F
    submission: bool = False
    export: list[str] = field(default_factory=list)  # forms in which the masks are written, too: evaluation.conversion
    out: str | None = None
    resume: bool = MISSING
    processes: int | None = None


@dataclass
class OSVOSSection(TuningSection):  # type: ignore[misc]
    """Of method=osvos."""

    snapping: str = "none"  # to edges or to learned contours: grabcut, bilateral or contours
    contours: str | None = None  # path of the contour branch; none ships
    threshold: float = 0.1  # of its ultrametric contour map, at which superpixels are cut
    bilateral: BilateralSection = field(default_factory=BilateralSection)


@dataclass
class OSMNSection(ModulationSection):  # type: ignore[misc]
    snapping: str = "none"  # of method=osmn's masks, to edges: grabcut


@dataclass
class MethodConfig:
    """A method and what it goes by."""

    method: str = MISSING
    learner: str | None = None
    model: ModelSection = field(default_factory=ModelSection)
    iters: int = MISSING
    ona: bool = MISSING
    score: float | None = None
    fine_tuning: FineTuningSection = field(default_factory=FineTuningSection)
    propagation: PropagationSection = field(default_factory=PropagationSection)
    online: OnlineSection = field(default_factory=OnlineSection)
    window: WindowSection = field(default_factory=WindowSection)
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
    masks: str | None = None  # a folder or .json file of masks of any frames
    binary: bool | None = None  # masks show one object, all that is not 0; null: look
    levels: Any = "auto"  # of frames of more than 8 bits: auto, full or [low, high], see data.levels
    absent: str = MISSING  # what masks tell of objects that they do not show: told or all
    outputs: list[str] = field(default_factory=list)  # besides the masks: checks.OUTPUTS
    threads: int = MISSING
    out: str | None = None
    resume: bool = MISSING


@dataclass
class AppConfig(MethodConfig):
    video: str | None = None  # as of segment
    levels: Any = "auto"  # as of segment
    host: str = MISSING
    port: int = MISSING
    hosts: list[str] = field(default_factory=list)  # further names that it is called by
    folder: str = MISSING
    upload: int = MISSING  # MiB, of a video at most
    threads: int = MISSING


@dataclass
class RefineConfig(EvalConfig):
    annotations: list[int] = MISSING  # numbers of annotated frames, ascending
    choice: str = MISSING  # of the next frame


@dataclass
class ScoreConfig(FiguresConfig):
    results: str | None = None
    missing: str = MISSING  # what sequences and frames without a mask are
    binary: bool | None = None  # masks show one object, all that is not 0; null: look


@dataclass
class TasksetSection:
    """Where training tasks come from; conf/taskset/."""

    name: str = MISSING
    kind: str = MISSING  # synthetic, davis, folder or mixture
    file: str | None = None  # mixture: path, or name under tasksets/; it has all the other settings
    length: int = 24  # synthetic: frames of a scene
    render: tuple[int, int] = (160, 280)  # synthetic: height and width of a scene before it is transformed
    reuse: int = 4  # synthetic: iterations in a row that draw from a scene
    year: int | None = None
    resolution: str = "480p"
    split: str | None = None
    binary: bool | None = None
    sequences: list[str] = field(default_factory=list)  # all of the split where empty
    validation_sequences: list[str] = field(default_factory=list)  # held out of them; every fifth where empty
    first_to_later: bool = False
    train_copies: int = 1
    meta_frames: int = 1  # that judge a task
    min_area: float = 0.002
    window: float = 0.0  # samples show a window about the object, so many times its size; 0: whole frames
    transform: dict[str, Any] = field(default_factory=dict)


@dataclass
class MetaSection(OuterSection):  # type: ignore[misc]  # frozen for mypy only
    mask_warm_up: int = MISSING  # iterations at first with cross-entropy as the mask loss
    steps: int = MISSING  # inner steps of a task
    batch: int = MISSING  # train samples of an inner step
    inner_clip: float = MISSING  # norm to which an inner gradient is scaled down
    order: int = MISSING  # 1 or 2
    order_warm_up: int = MISSING  # iterations at first of order 1, where order is 2
    step_weights: list[float] | None = None  # of the meta loss after each inner step; null: the last step's alone
    multi_step_iterations: int = MISSING  # iterations over which the weights go from uniform to the last step's alone
    window: int | None = None  # last inner steps that are differentiated; null: all
    unrolled: bool = MISSING  # by `higher`, as a check
    level: str = MISSING  # of the learning rates
    rate: float | None = None  # all learning rates at first; null: those of the init learner
    validation_tasks: int = MISSING
    validation_steps: list[int] = MISSING  # ascending; the last decides which learner is best


@dataclass
class ParentSection(OuterSection):  # type: ignore[misc]
    mask_warm_up: int = MISSING
    validation_pictures: int = MISSING


@dataclass
class SearchSection:
    """The search of the best single fine-tuning rate."""

    rates: list[float] = MISSING
    mask_losses: list[str] = MISSING
    steps: int = MISSING
    batch: int = MISSING
    inner_clip: float = MISSING
    tasks: int = MISSING


@dataclass
class OSVOSParentSection(OuterSection):  # type: ignore[misc]
    deep_supervision: int = MISSING  # iterations over which the side outputs' part of the loss falls from 1 to 0
    validation_pictures: int = MISSING


@dataclass
class OSVOSSearchSection:
    """The search of the best rate of online fine-tuning."""

    rates: list[float] = MISSING
    steps: int = MISSING
    tasks: int = MISSING


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
    threads: int = MISSING
    workers: int = MISSING


@dataclass
class DetectorTrainConfig(TrainConfig):
    """Of Mask R-CNN."""

    model: ModelSection = field(default_factory=ModelSection)
    init_norm: str = MISSING
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
    branch: str = MISSING
    model: OSVOSModelSection = field(default_factory=OSVOSModelSection)
    parent: OSVOSParentSection = field(default_factory=OSVOSParentSection)
    osvos: TuningSection = field(default_factory=TuningSection)  # of the search
    search: OSVOSSearchSection = field(default_factory=OSVOSSearchSection)


@dataclass
class PlotConfig:
    runs: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    out: str | None = None
    pictures: list[str] = MISSING
    measure: str = MISSING
    published: str | None = None
    sequences: list[str] = field(default_factory=list)
    data_root: str | None = None


@dataclass
class OSMNOuterSection(OuterSection):  # type: ignore[misc]
    segmentation: bool = MISSING  # false: that network stays as init= has it, the modulators alone are trained
    validation_objects: int = MISSING


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
    objects: int = MISSING
    seed: int = MISSING
    out: str = MISSING


def outer_settings(section: OuterSection) -> OuterSettings:
    """The part of a training's settings that the outer loop takes."""
    return OuterSettings(**{f.name: getattr(section, f.name) for f in fields(OuterSettings)})


SCHEMAS: dict[str, type] = {
    "eval": EvalConfig, "refine": RefineConfig, "segment": SegmentConfig, "app": AppConfig, "score": ScoreConfig,
    "meta_train": MetaTrainConfig, "parent_train": ParentTrainConfig, "osvos_train": OSVOSTrainConfig,
    "plot": PlotConfig, "osmn_train": OSMNTrainConfig, "osmn_show": OSMNShowConfig,
}  # fmt: skip
