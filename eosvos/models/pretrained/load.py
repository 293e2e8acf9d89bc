"""Loads published weights into our networks, with a report of every tensor on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from eosvos.errors import UserError
from eosvos.models.backbones import ChannelAffine
from eosvos.models.mask_rcnn import MaskRCNN
from eosvos.models.pretrained.convert import Published
from eosvos.models.pretrained.group_norm import Affines, calibrate, fidelity

NORMS = ("match", "copy")
ASIDE = 4  # images on which the conversion of norms is measured
_PARTS = {
    "body": "backbone.body.",
    "fpn": "backbone.fpn.",
    "rpn": "rpn.",
    "box head": "roi_heads.box_",
    "mask head": "roi_heads.mask_",
}


@dataclass
class Report:
    """What became of every parameter of the network and every tensor of the file.

    Attributes:
        source: name or path of the weights.
        kind: what they are, in words.
        parts: name of a part of the network -> prefix of its parameters.
        sizes: parameter -> number of values.
        loaded: parameter -> the key it was loaded from.
        converted: parameter -> key, and how it was converted.
        new: parameter -> why it keeps its random values.
        used: key of the file -> what it was used for besides.
        skipped: key of the file -> why it is not used.
        notes: further lines of the report.
    """

    source: str
    kind: str
    parts: dict[str, str] = field(default_factory=lambda: _PARTS)
    sizes: dict[str, int] = field(default_factory=dict)
    loaded: dict[str, str] = field(default_factory=dict)
    converted: dict[str, str] = field(default_factory=dict)
    new: dict[str, str] = field(default_factory=dict)
    used: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Return a short table of tensors (values) by part, the notes and the reasons for skipping."""
        lines = [f"weights: {self.kind}, {self.source}"]
        lines.append(f"{'':10}{'loaded':>20}{'converted':>20}{'newly initialised':>20}")
        for part, prefix in self.parts.items():
            cells = [self._count(group, prefix) for group in (self.loaded, self.converted, self.new)]
            lines.append(f"{part:10}" + "".join(f"{cell:>20}" for cell in cells))
        lines += self.notes
        reasons: dict[str, list[str]] = {}
        for key, why in self.skipped.items():
            reasons.setdefault(why, []).append(key)
        for why, keys in reasons.items():
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            lines.append(f"skipped: {keys[0]}{more}: {why}")
        return "\n".join(lines)

    def full(self) -> str:
        """Return the table and every name."""
        lines = [str(self)]
        for word, group in (
            ("loaded", self.loaded),
            ("converted", self.converted),
            ("newly initialised", self.new),
            ("used", self.used),
            ("skipped", self.skipped),
        ):
            lines += ["", f"{word} ({len(group)}):"] + [f"  {name}: {how}" for name, how in group.items()]
        return "\n".join(lines) + "\n"

    def _count(self, group: dict[str, str], prefix: str) -> str:
        names = [name for name in group if name.startswith(prefix)]
        return f"{len(names)} ({sum(self.sizes[n] for n in names):,})" if names else "-"


def load(
    model: MaskRCNN, published: Published, *, norm: str = "match", images: Sequence[Tensor] = (), aside: int = ASIDE
) -> Report:
    """Copy all weights that fit by name and shape into a network; the others keep their values.

    Args:
        model: the network; changed in place.
        published: the weights.
        norm: what becomes of batch norms. "copy": their affine is kept and their statistics are dropped, as in the
            e-OSVOS code. "match": the affine is fitted on `images`. Without batch norms both are the same.
        images: float (3, H, W) in [0, 1].
        aside: number of images, the last ones, that are not fitted on, but used to measure how far the features are
            from those of the batch norm network.

    Raises:
        UserError: if nothing fits, or for "match" without images.
    """
    report = Report(published.source, published.kind)
    unused = _copied(model, published, norm, report)
    affines = {name: pair for name, pair in published.affines.items() if f"{name}.weight" in report.converted}
    folded = _fold(model, affines, report)
    for name, key in unused.items():
        layer, _, last = name.rpartition(".")
        if last not in ("running_mean", "running_var", "num_batches_tracked"):
            report.skipped[key] = "the network has no such part"
        elif layer in folded:
            report.used[key] = f"statistics folded into {layer}"
        elif layer in affines and norm == "copy":
            report.skipped[key] = "statistics of a batch norm, dropped (init_norm=copy)"
        elif last == "num_batches_tracked" or layer not in affines:
            report.skipped[key] = "of no use without batch norm"
        else:
            report.used[key] = f"statistics that {layer} was fitted to"
    report.skipped |= published.skipped
    for key, wanted in published.settings.items():
        if (mine := getattr(model.network_spec, key)) != wanted:
            report.notes.append(f"note: these weights were trained with model.{key}={wanted}; the network has {mine}")
    affines = {name: pair for name, pair in affines.items() if name not in folded}
    if folded:
        report.notes.append(
            f"norms: {len(folded)} batch norms kept as they are, statistics folded into scale and shift"
        )
    if affines:
        report.notes.append(_convert(model, affines, norm, images, aside))
    return report


def load_trunks(model: nn.Module, published: Published, trunks: Sequence[str]) -> Report:
    """Copy the weights of a VGG into the trunks of a network; the rest keeps its values.

    Args:
        model: the network; changed in place.
        published: the weights.
        trunks: names of its `models.vgg.VGG` modules.

    Raises:
        UserError: if nothing fits.
    """
    there = {name for name, _ in model.named_parameters()}
    each = [(f"{trunk}.{name}", name) for trunk in trunks for name in published.tensors if f"{trunk}.{name}" in there]
    placed = replace(
        published,
        tensors={new: published.tensors[name] for new, name in each},
        origin={new: published.origin[name] for new, name in each},
        converted={new: published.converted[name] for new, name in each if name in published.converted},
    )
    top = dict.fromkeys(name.partition(".")[0] for name, _ in model.named_parameters())
    report = Report(published.source, published.kind, {part: f"{part}." for part in top})
    _copied(model, placed, "", report)
    used = {name for _, name in each}
    report.skipped |= {
        key: "the network has no such part" for name, key in published.origin.items() if name not in used
    }
    report.skipped |= published.skipped
    return report


def _copied(model: nn.Module, published: Published, norm: str, report: Report) -> dict[str, str]:
    """Copy all weights that fit; return the origin of those that do not."""
    unused = dict(published.origin)
    with torch.no_grad():
        for name, p in model.named_parameters():
            report.sizes[name] = p.numel()
            tensor, key = published.tensors.get(name), unused.pop(name, "")
            if tensor is None:
                report.new[name] = "not in the file"
            elif tensor.shape != p.shape:
                shapes = f"shape {tuple(tensor.shape)} in the file, {tuple(p.shape)} in the network"
                report.new[name] = report.skipped[key] = shapes
            else:
                p.copy_(tensor)
                is_norm = name.rpartition(".")[0] in published.affines
                how = f"batch norm to group norm, {norm}" if is_norm else published.converted.get(name)
                if how:
                    report.converted[name] = f"from {key}: {how}"
                else:
                    report.loaded[name] = f"from {key}"
    if not report.loaded and not report.converted:
        raise UserError(
            f"init={published.source}: {published.kind}, of which nothing fits the network; such as "
            f"{next(iter((report.skipped | unused).items()), 'nothing at all')}; expected "
            f"{next(iter(report.sizes))} and others of its kind"
        )
    return unused


def _fold(model: MaskRCNN, affines: Affines, report: Report) -> set[str]:
    """Give every `ChannelAffine` the scale and shift of its batch norm at test time; return their names."""
    folded = {name for name in affines if isinstance(model.get_submodule(name), ChannelAffine)}
    with torch.no_grad():
        for name in folded:
            layer = model.get_submodule(name)
            for last, values in zip(("weight", "bias"), affines[name], strict=True):
                getattr(layer, last).copy_(values)
                how = report.converted[f"{name}.{last}"].partition(": ")[0]
                report.converted[f"{name}.{last}"] = f"{how}: statistics of the batch norm folded in"
    return folded


def _convert(
    model: MaskRCNN, affines: dict[str, tuple[Tensor, Tensor]], norm: str, images: Sequence[Tensor], aside: int
) -> str:
    if norm == "match" and len(images) <= aside:
        raise UserError(f"init_norm=match: {len(images)} images given; more than {aside} are expected")
    words = f"norms: {len(affines)} batch norms to group norms, init_norm={norm}"
    if not images:
        return words

    def errors() -> str:
        errors_by_stage = fidelity(model, affines, images[len(images) - aside :])
        return ", ".join(f"{stage} {error:.2f}" for stage, error in errors_by_stage.items())

    copied = errors()
    if norm == "copy":
        return f"{words}; features off by {copied} of their norm, on {aside} images"
    calibrate(model, affines, images[: len(images) - aside])
    return f"{words}; features off by {errors()} of their norm, on {aside} images (init_norm=copy: {copied})"
