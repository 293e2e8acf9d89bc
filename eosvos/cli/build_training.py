"""What a training starts from: random weights, a learner of ours, or published weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from eosvos import seeds
from eosvos.cli import build_data, devices, find_learner, fingerprint
from eosvos.cli.schema import (
    DetectorTrainConfig,
    MetaSection,
    MetaTrainConfig,
    OSMNTrainConfig,
    OSVOSTrainConfig,
    TrainConfig,
)
from eosvos.cli.validate import check
from eosvos.data.images import read_image
from eosvos.data.tasks import Tasks
from eosvos.data.transforms import fit
from eosvos.data.user_files import list_files
from eosvos.errors import UserError
from eosvos.files import write_text
from eosvos.meta import outer
from eosvos.meta.distributed import World
from eosvos.meta.learner import FORMAT, Learner
from eosvos.models.mask_rcnn import SIZES, MaskRCNN, build
from eosvos.models.pretrained import convert, load
from eosvos.models.pretrained.convert import Published

REPORT = "weights.txt"
Init = Learner | Published | None
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class TrainingSetup(Generic[Network]):
    """What a training begins with.

    Attributes:
        model: the network with its initial weights, on the training's device.
        init: what the setting `init` gave.
        init_fingerprint: what tells these initial weights from any others, as JSON.
        tasks: to train on.
        held_out: to validate and search on.
    """

    model: Network
    init: Init
    init_fingerprint: Any
    tasks: Tasks
    held_out: Tasks

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device


def begin(config: DetectorTrainConfig, world: World) -> TrainingSetup[MaskRCNN]:
    """Build all that a training of Mask R-CNN begins with; raises UserError if the configuration is wrong."""
    device = _checked(config, world)
    model, init = network(config, device, world)
    with world.barrier():
        tasks, unseen = build_data.tasksets(config.taskset, config.data_root, model)
    return TrainingSetup(model, init, fill(model, init, config, tasks, world), tasks, unseen)


def network(config: DetectorTrainConfig, device: torch.device, world: World) -> tuple[MaskRCNN, Init]:
    """The network to train, of the form that the weights in `init` are for, and those.

    A learner's weights are in it already, published ones get there by `fill`, as their norms may want pictures.
    """
    given = find_learner.model_settings(config.model)
    init = None if config.init is None else _read(config.init, world)
    with world.barrier(), seeds.InitialWeights(config.seed, seeds.INITIAL_WEIGHTS):
        if init is None:
            return find_learner.build_network(given, build).to(device), None
        if isinstance(init, Learner):
            find_learner.check_kind(init, "mask_rcnn", str(config.init))
            find_learner.check_size(init, "mask_rcnn", given.pop("size"), str(config.init))
            model = find_learner.build_network({**init.spec["model"], **given}, build)
            init.check_fits(model, str(config.init))
            model.load_state_dict(init.theta)
        else:
            size = init.settings["size"]
            if size not in SIZES:
                raise UserError(f"init={config.init}: {init.kind}, which no Mask R-CNN begins with; use another")
            if given.get("size") != size:
                raise UserError(
                    f"init={config.init}: weights of a {size}, and model={given.get('size')} is asked for; use "
                    f"model={size}"
                )
            model = find_learner.build_network({**init.settings, **given}, build)
            bare = sorted(name for name, _ in model.named_parameters() if name not in init.rates)
            if bare and isinstance(config, MetaTrainConfig) and config.meta.rate is None:
                raise UserError(f"meta.rate=null: {config.init} has no learning rates of {bare[0]}; give meta.rate=")
    return model.to(device), init


def fill(model: MaskRCNN, init: Init, config: DetectorTrainConfig, tasks: Tasks, world: World) -> Any:
    """Published weights into the network; the first process says what became of them, and writes all of it down.

    Their norms are fitted to pictures of the folder `init_images`, or to those that the training is going to see.
    Returns what tells this start from any other, for the training's fingerprint.
    """
    if not isinstance(init, Published):
        return None if config.init is None else fingerprint.digest(config.init)
    with world.barrier():
        images = [image.to(next(model.parameters()).device) for image in _pictures(model, config, tasks)]
        report = load.load(model, init, norm=config.init_norm, images=images)
    with torch.no_grad():
        for p in model.parameters():  # what is computed on another GPU may differ in its last bit
            world.all_reduce(p if world.is_main_process else p.zero_())
    _tell(report, config, world)
    return {"weights": init.digest(), "norm": config.init_norm, "images": config.init_images}


def begin_trunked(
    config: OSVOSTrainConfig | OSMNTrainConfig,
    world: World,
    kind: str,
    make: Callable[..., Network],
    trunks: Sequence[str],
    parts: Mapping[str, str] | None = None,
) -> TrainingSetup[Network]:
    """The same for a network of `kind` ("osvos" or "osmn") that stands on VGGs, its parts `trunks`; `init` is a learner
    of that kind, or of one of the kinds in `parts`, whose network is the part of that name, or ImageNet's VGG16 for all
    of the trunks."""
    device = _checked(config, world)
    given = find_learner.model_settings(config.model)
    init = None if config.init is None else _read(config.init, world)
    report: load.Report | None = None
    told: Any = None
    with world.barrier(), seeds.InitialWeights(config.seed, seeds.INITIAL_WEIGHTS):
        if isinstance(init, Learner):
            part = (parts or {}).get(init.spec.get("network", ""), "")
            if not part:
                find_learner.check_kind(init, kind, str(config.init))
            model = find_learner.build_network({**init.spec["model"], **given}, make)
            init.check_fits(model.get_submodule(part), str(config.init))
            model.get_submodule(part).load_state_dict(init.theta)
            told = fingerprint.digest(str(config.init))
        else:
            model = find_learner.build_network(given, make)
        if isinstance(init, Published):
            if init.settings["size"] != "vgg16" or given["size"] != "vgg16":
                raise UserError(
                    f"init={config.init}: {init.kind}, and model={given['size']} is asked for; expected a VGG16 and "
                    "model=vgg16"
                )
            report, told = load.load_trunks(model, init, trunks), {"weights": init.digest()}
    if report is not None:
        _tell(report, config, world)
    with world.barrier():
        tasks, unseen = build_data.tasksets(config.taskset, config.data_root, model)  # type: ignore[arg-type]
    return TrainingSetup(model.to(device), init, told, tasks, unseen)


def _checked(config: TrainConfig, world: World) -> torch.device:
    with world.barrier():
        check(config)
        return devices.compute_on(config.device, config.threads)


def _tell(report: load.Report, config: TrainConfig, world: World) -> None:
    """What became of published weights: said by the first process, and all of it written down."""
    with world.barrier():
        if world.is_main_process:
            print(report)
            folder = Path(str(config.out))
            if next(folder.rglob(outer.CHECKPOINT), None) is None:  # else its run has one already
                write_text(folder / REPORT, report.full())


def first_learner(model: MaskRCNN, init: Init, meta: MetaSection, spec: dict[str, Any]) -> Learner:
    """The learner that meta-training starts from; meta.rate=null: with the rates of `init`."""
    if meta.rate is not None:
        return Learner.create(model, meta.rate, meta.level, spec)
    assert init is not None
    theta = {name: p.detach().clone() for name, p in model.named_parameters()}
    device = next(iter(theta.values())).device
    if isinstance(init, Published):
        init = Learner(theta, {name: init.rates[name] for name in theta}, "neuron")
    if init.level == meta.level:
        return replace(init.to(device), spec=spec)
    if init.level != "single":
        raise UserError(
            f"meta.rate=null: the init learner has rates of level {init.level}, and meta.level={meta.level} is asked "
            f"for; use meta.level={init.level}, or give meta.rate="
        )
    return Learner.create(model, float(init.distinct_rates()[0]), meta.level, spec)


def _read(source: str, world: World) -> Learner | Published:
    fetched = source.startswith(convert.PREFIX)
    with world.barrier():
        if fetched and world.is_main_process:
            found = convert.read(source, progress=True)
    with world.barrier():  # the first process has fetched, the others find it fetched
        if fetched:
            return found if world.is_main_process else convert.read(source, progress=False)
        return Learner.load(source) if _is_learner(source) else convert.read(source)


def _is_learner(path: str) -> bool:
    try:
        with safe_open(path, "pt") as file:
            return (file.metadata() or {}).get("format", "").startswith(FORMAT.rstrip("0123456789"))
    except (SafetensorError, OSError):  # another kind of file, or a folder
        return False


def _pictures(model: MaskRCNN, config: DetectorTrainConfig, tasks: Tasks) -> list[Tensor]:
    """So many that they fit into memory, all of one size."""
    spec = model.network_spec
    count = min(max(4_000_000 // (spec.short * spec.long), 4), 16) + load.ASIDE
    if config.init_images is None:
        images = [tasks.image(config.seed, 0, index).image for index in range(count)]
    else:
        paths = list_files(Path(config.init_images))
        frames = [read_image(path) for path in paths[:: max(len(paths) // count, 1)][:count]]
        images = [fit(f, np.zeros((0, *f.shape[:2]), bool), size=(spec.short, spec.long))[0] for f in frames]
    height, width = (min((image.shape[side] for image in images), default=0) for side in (1, 2))
    return [image[:, :height, :width] for image in images]
