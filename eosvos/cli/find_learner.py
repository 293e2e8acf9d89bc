"""Which learner, of which kind and size, a method takes, and the network that its settings describe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from eosvos.cli.schema import ModelSection, OSVOSModelSection
from eosvos.errors import UserError
from eosvos.learners import path_of
from eosvos.meta.learner import LEARNERS, SHIPPED, Learner
from eosvos.methods.baselines import CopyFirst, Flow
from eosvos.methods.protocol import Method
from eosvos.models import mask_rcnn, osmn, osvos

N = TypeVar("N")
FLOORS: dict[str, Callable[[], Method]] = {"copy_first": CopyFirst, "flow": Flow}  # methods without a learner


def model_settings(section: ModelSection | OSVOSModelSection) -> dict[str, Any]:
    """The settings of the network that are given; the others are the size's own."""
    return {key: value for key, value in vars(section).items() if value is not None}


def build_network(settings: dict[str, Any], build: Callable[..., N]) -> N:
    """`build` for settings of a user: raises UserError where they make no network."""
    try:
        return build(**settings)
    except ValueError as error:  # such as channels that the groups do not divide
        raise UserError(f"model settings {settings} make no network: {error}") from error


@dataclass(frozen=True)
class Kind:
    """Of network. method: that takes its learners. command: that trains them. ships: the learner in the package."""

    title: str
    method: str
    command: str
    ships: Path
    sizes: dict[str, Any]
    build: Callable[..., torch.nn.Module]


KINDS = {  # by Learner.spec["network"]
    "mask_rcnn": Kind("e-OSVOS (Mask R-CNN)", "eosvos", "meta_train", SHIPPED, mask_rcnn.SIZES, mask_rcnn.build),
    "osvos": Kind("OSVOS", "osvos", "osvos_train", LEARNERS / "osvos.safetensors", osvos.SIZES, osvos.build),
    "osmn": Kind("OSMN", "osmn", "osmn_train", LEARNERS / "osmn.safetensors", osmn.SIZES, osmn.build),
}


def check_kind(learner: Learner, kind: str, source: str | Path) -> None:
    """Raise UserError where the learner is of another kind of network than the method or the training in hand."""
    found = learner.spec.get("network", "mask_rcnn")
    if found != kind:
        known = f"{KINDS[found].title}, which method={KINDS[found].method} takes" if found in KINDS else repr(found)
        raise UserError(
            f"learner {source} is of {known}; one of {KINDS[kind].title} is expected, as python -m "
            f"eosvos.{KINDS[kind].command} trains it"
        )


def check_size(learner: Learner, kind: str, size: str | None, source: str | Path) -> None:
    """Raise UserError where the learner is of another size than the model asked for, or of none that there is."""
    found, sizes = learner.spec.get("model", {}).get("size"), KINDS[kind].sizes
    if found not in sizes:
        raise UserError(
            f"learner {source}: the network it is for, {found!r}, is unknown; expected one of {', '.join(sizes)}"
        )
    if size is not None and found != size:
        raise UserError(
            f"learner {source} is of model={found}, and model={size} is asked for; leave out one of the two"
        )


def check_learner(learner: Learner, source: Path, kind: str = "mask_rcnn") -> None:
    """Raise UserError where a learner is of another kind of network, or its parameters do not fit its own."""
    check_kind(learner, kind, source)
    check_size(learner, kind, None, source)
    spec = learner.spec["model"]
    stored = {**asdict(KINDS[kind].sizes[spec["size"]]), **spec}  # newer settings: the defaults
    with torch.device("meta"):  # shapes are enough
        learner.check_fits(build_network(stored, KINDS[kind].build), source)


def learner_path(given: str | None, kind: str) -> Path:
    """The file of `learner=` for a kind of network: without one the learner of that kind that ships. Raises UserError
    where it is not there."""
    return KINDS[kind].ships if given is None else path_of(given)
