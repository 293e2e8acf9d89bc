"""Parts of the schema that are settings of the library: its dataclasses, with what their values may be."""

from __future__ import annotations

from dataclasses import field, fields, make_dataclass
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from eosvos.cli.ranges import BELOW_ONE, NUMBER, POSITIVE, SHARE, SOME, Allowed, Choice, OrLearner, Range
from eosvos.meta.outer import CLOCKS, KEEP, OPTIMIZERS, OuterSettings
from eosvos.methods.eosvos.settings import Detection, FineTuning, Online, Propagation, Windowing
from eosvos.methods.osmn.guides import Guidance
from eosvos.methods.osmn.method import Modulation
from eosvos.methods.osvos.method import Tuning
from eosvos.methods.snapping import Bilateral, GrabCut
from eosvos.models import osmn, osvos
from eosvos.models.backbones import NORMS
from eosvos.models.mask_rcnn import MASK_LOSSES, MASK_TARGETS, SIZES, Spec

T = TypeVar("T")
CLIP = OrLearner(POSITIVE)
# Of the networks; each has some of these.
_NETWORK: dict[str, Allowed] = {
    "size": Choice((*SIZES, "vgg16")),
    "norm": Choice(tuple(NORMS)),
    "mask_loss": Choice(tuple(MASK_LOSSES)),
    "mask_targets": Choice(MASK_TARGETS),
    "short": Range(32),
    "long": Range(32),
    "guide": Range(32),
    "dropout": BELOW_ONE,
    "rpn_first": Range(0, 3),
    "frozen": Range(0, 4),
    "first": Range(1, 5),
    **dict.fromkeys(("rpn_nms", "roi_positive", "box_nms", "score"), SHARE),
    **dict.fromkeys(("widths", "fpn", "hidden", "anchors", "canonical", "box_roi", "mask_roi", "rpn_pre"), SOME),
    **dict.fromkeys(("rpn_post", "rpn_batch", "rpn_convs", "roi_batch", "detections", "path"), SOME),
    **dict.fromkeys(("guide_widths", "pooled"), SOME),
}


def _section(name: str, source: type, **allowed: Allowed) -> Any:
    """A library dataclass as part of the schema, to be kept as `name` in this module: OmegaConf takes frozen ones as
    read-only. allowed: what its values may be."""
    defaults = {f.name: f.default for f in fields(source)}
    if unknown := allowed.keys() - defaults.keys():
        raise KeyError(f"{source.__name__} has no {', '.join(unknown)}")
    return _made(name, source, allowed, defaults)


def _network(name: str, source: type) -> Any:
    """The settings of a network, all None: those of its size."""
    return _made(name, source, _NETWORK, None)


def _made(name: str, source: type, allowed: dict[str, Allowed], defaults: dict[str, Any] | None) -> Any:
    hints = get_type_hints(source)
    rows: list[Any] = []
    for key in (f.name for f in fields(source)):
        metadata = {"allowed": allowed[key]} if key in allowed else None
        if defaults is None:
            rows.append((key, hints[key] | None, field(default=None, metadata=metadata)))
        else:
            # OmegaConf takes no whole number for float | str.
            kind = Any if isinstance(metadata and metadata["allowed"], OrLearner) else hints[key]
            rows.append((key, kind, field(default=defaults[key], metadata=metadata)))
    made = make_dataclass(name, rows)
    made.__module__ = __name__  # where other processes find it: those of a sweep
    return made


def library_settings(kind: type[T], section: Any) -> T:
    """The library's settings of a section, which may have more; OmegaConf has made lists of its tuples."""
    names = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in vars(section).items() if key in names}
    return kind(**values)


if TYPE_CHECKING:
    from eosvos.meta.outer import OuterSettings as OuterSection
    from eosvos.methods.eosvos.settings import Detection as DetectionSection
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
    OuterSection = _section(
        "OuterSection",
        OuterSettings,
        iterations=SOME,
        tasks=SOME,
        final=SHARE,
        beta2=BELOW_ONE,
        clip=POSITIVE,
        max_rate=POSITIVE,
        validate_every=SOME,
        save_every=SOME,
        seconds=POSITIVE,
        optimizer=Choice(tuple(OPTIMIZERS)),
        clock=Choice(tuple(CLOCKS)),
        keep=Choice(KEEP),
    )
    FineTuningSection = _section("FineTuningSection", FineTuning, batch=SOME, clip=CLIP, average=SHARE, zoom=POSITIVE)
    DetectionSection = _section(
        "DetectionSection", Detection, rpn_pre=SOME, rpn_post=SOME, rpn_pre_test=SOME, rpn_post_test=SOME, box_nms=SHARE
    )
    PropagationSection = _section("PropagationSection", Propagation)
    OnlineSection = _section(
        "OnlineSection", Online, every=SOME, stride=SOME, joining=SOME, low=SHARE, high=SHARE, min_area=SHARE
    )
    WindowSection = _section(
        "WindowSection", Windowing, size=OrLearner(NUMBER), ease=SHARE, widen=Range(1), return_score=SHARE
    )
    GrabCutSection = _section("GrabCutSection", GrabCut, side=Range(16), colour_side=Range(16), rounds=SOME)
    TuningSection = _section("TuningSection", Tuning, seconds=POSITIVE, momentum=BELOW_ONE, clip=CLIP, zoom=POSITIVE)
    BilateralSection = _section("BilateralSection", Bilateral, spatial=POSITIVE, luma=POSITIVE, chroma=POSITIVE)
    GuidanceSection = _section("GuidanceSection", Guidance, squares=Range(32))
    ModulationSection = _section(
        "ModulationSection",
        Modulation,
        widen=Range(1),
        widest=SHARE,
        balance=OrLearner(SHARE),
        clip=CLIP,
        momentum=BELOW_ONE,
        zoom=POSITIVE,
    )
    ModelSection = _network("ModelSection", Spec)
    OSVOSModelSection = _network("OSVOSModelSection", osvos.Spec)
    OSMNModelSection = _network("OSMNModelSection", osmn.Spec)
