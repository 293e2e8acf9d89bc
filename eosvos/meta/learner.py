"""What is meta-learned: an initialization theta^0 and a learning rate lambda per neuron (e-OSVOS, section 3.2)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from eosvos.errors import UserError
from eosvos.file_kinds import kind_of
from eosvos.files import create_bytes, write_bytes
from eosvos.torch_state import own_state

Params = dict[str, Tensor]
RECOMMENDED_ITERS = 50  # of learners that tell none
LEVELS = ("single", "tensor", "neuron", "parameter")
FORMAT = "eosvos-learner-1"
FROM_LEARNER = "learner"  # a setting of fine-tuning: as in the learner's training
LEARNERS = Path(__file__).resolve().parents[1] / "learners"
SHIPPED = LEARNERS / "real.safetensors"
"""The default: MobileNetV2, meta-trained on real videos and pictures (docs/learners.md). `tiny.safetensors` beside it
saw procedural videos alone."""

N = TypeVar("N", bound=nn.Module)


@dataclass
class Learner:
    """An initialization and learning rates: theta_g of e-OSVOS (section 3.2.4).

    Attributes:
        theta: initial value of every parameter, by name.
        rates: learning rates >= 0 under the same names, each of a shape that broadcasts to its parameter. At level
            "single" all entries are the same tensor.
        level: what has a rate of its own: "single" (all parameters together), "tensor", "neuron" or "parameter".
        spec: plain values that rebuild the network and describe how the learner was made. Its "rules" are settings of
            fine-tuning in the learner's training, which fine-tuning with it follows, see `rule`.
    """

    theta: Params
    rates: Params
    level: str
    spec: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def create(
        cls, module: nn.Module, rate: float, level: str = "neuron", spec: dict[str, Any] | None = None
    ) -> Learner:
        """Make a learner of a module's present parameters, with all learning rates at `rate`."""
        theta = {name: p.detach().clone() for name, p in module.named_parameters()}
        shapes = rate_shapes(module, level)
        if level == "single":
            single = next(iter(theta.values())).new_tensor(rate)
            rates = {name: single for name in theta}
        else:
            rates = {name: p.new_full(shapes[name], rate) for name, p in theta.items()}
        return cls(theta, rates, level, dict(spec or {}))

    @property
    def recommended_iters(self) -> int:
        """T, the fine-tuning steps on a given mask that suit this learner: its spec's `recommended_iters`, else 50."""
        return int(self.spec.get("recommended_iters", RECOMMENDED_ITERS))

    def rule(self, name: str, setting: Any, default: Any) -> Any:
        """Return a setting of fine-tuning: `setting` itself, or where that is "learner" what the training had.

        Args:
            name: of the rule in the spec: clip, window or balance.
            setting: the value that was asked for.
            default: for learners without this rule.
        """
        return self.spec.get("rules", {}).get(name, default) if setting == FROM_LEARNER else setting

    @property
    def has_rates(self) -> bool:
        """Whether any learning rate is above 0; published weights without rates have but zeros here."""
        return any(bool(rate.any()) for rate in self.rates.values())

    def distinct_rates(self) -> list[Tensor]:
        """Return the learned rate tensors, each once: at level "single" there is one."""
        return list({id(r): r for r in self.rates.values()}.values())

    def to(self, device: torch.device | str) -> Learner:
        """Return a copy on `device`."""
        moved = {id(r): r.to(device) for r in self.distinct_rates()}
        theta = {name: p.to(device) for name, p in self.theta.items()}
        return Learner(theta, {name: moved[id(r)] for name, r in self.rates.items()}, self.level, dict(self.spec))

    def check_rates(self, steps: int, source: str | Path = "") -> None:
        """Raise UserError for steps of fine-tuning without learning rates, which would change nothing; `source` names
        the learner in it."""
        if not steps or self.has_rates:
            return
        network, model = self.spec.get("network"), self.spec.get("model", {})
        search = f"{network}_train"
        if network is None:  # Mask R-CNN
            norm = model.get("norm", "group")
            search = f"parent_train parent.iterations=0 model={model.get('size')} model.norm={norm}"
        raise UserError(
            f"T={steps}: learner {source or 'in use'} has no learning rates, and one above 0 is expected to fine-tune; "
            f"give learner_rate=, search it by python -m eosvos.{search} init={source or 'PATH'}, or do without "
            "fine-tuning: T=0 and no online adaptation"
        )

    def save(self, path: str | Path, *, half: bool = False, replace: bool = True) -> None:
        """Write one safetensors file, atomically: tensors "theta/NAME" and "rates/NAME", and the spec in its header.

        Args:
            path: the file.
            half: whether to write float16, in half the bytes; `load` returns float32.
            replace: whether a file that is there is replaced.

        Raises:
            UserError: for numbers beyond the range of float16; with replace=False, for a file that is there.
        """
        tensors = {f"theta/{name}": p.detach().cpu().contiguous() for name, p in self.theta.items()}
        # safetensors refuses tensors that share memory, as the entries of level "single" do.
        tensors |= {f"rates/{name}": r.detach().cpu().contiguous().clone() for name, r in self.rates.items()}
        if half:
            tensors = {key: _halved(key, tensor, path) for key, tensor in tensors.items()}
        header = {"format": FORMAT, "level": self.level, "spec": json.dumps(self.spec)}
        content = save(tensors, metadata=header)
        # The library writes the metadata in a random order; equal learners shall be equal files.
        size = 8 + int.from_bytes(content[:8], "little")
        text = json.dumps(json.loads(content[8:size]) | {"__metadata__": header}, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)  # tensors begin at multiples of 8 bytes
        content = len(text).to_bytes(8, "little") + text + content[size:]
        if replace:
            write_bytes(path, content)
        elif not create_bytes(path, content):
            raise UserError(f"{path}: is there already, and nothing is overwritten; choose another name")

    @classmethod
    @own_state()
    def load(cls, path: str | Path, device: torch.device | str = "cpu") -> Learner:
        """Read a learner, without executing code. Raises UserError for a missing, damaged or foreign file."""
        path = Path(path)
        if not path.exists():
            raise UserError(
                f"learner {path}: no such file; train one with `make meta-train` or give its path with learner="
            )
        try:
            with safe_open(path, "pt", device=str(device)) as file:
                header = file.metadata() or {}
                file_format = header.get("format", "none")
                if not file_format.startswith(FORMAT.rstrip("0123456789")):
                    raise _no_learner(path, f"format {file_format!r} found in its header, {FORMAT!r} expected")
                if file_format != FORMAT:
                    raise UserError(f"learner {path}: format {file_format!r} found in its header, {FORMAT!r} expected")
                tensors = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118  (no mapping)
        except (SafetensorError, OSError) as error:
            raise _no_learner(path, str(error)) from error
        theta = {k.removeprefix("theta/"): v for k, v in tensors.items() if k.startswith("theta/")}
        rates = {k.removeprefix("rates/"): v for k, v in tensors.items() if k.startswith("rates/")}
        if theta.keys() != rates.keys():
            odd = sorted(theta.keys() ^ rates.keys())[0]
            raise UserError(
                f"learner {path}: {odd!r} has no initialization or no learning rate; the file is incomplete"
            )
        if header["level"] == "single" and rates:
            single = next(iter(rates.values()))
            rates = {name: single for name in rates}
        return cls(theta, rates, header["level"], json.loads(header["spec"]))

    @classmethod
    def shipped(cls, device: torch.device | str = "cpu") -> Learner:
        """Load the learner that is part of the package."""
        return cls.load(SHIPPED, device)

    def network(self, build: Callable[..., N], **settings: Any) -> N:
        """Build the network of theta, on theta's device, without drawing or copying weights.

        Args:
            build: called with the settings in `spec`, such as `models.mask_rcnn.build`.
            settings: settings that replace those in `spec`.
        """
        with torch.device("meta"):
            model = build(**{**self.spec["model"], **settings})
        model.load_state_dict(self.theta, assign=True)
        return model

    def check_fits(self, module: nn.Module, source: str | Path) -> None:
        """Raise UserError if theta does not fit `module` by name and shape; `source` names the learner in it."""
        expected = {name: tuple(p.shape) for name, p in module.named_parameters()}
        shapes = {name: tuple(p.shape) for name, p in self.theta.items()}
        if expected == shapes:
            return
        name = sorted(k for k in expected.keys() | shapes.keys() if expected.get(k) != shapes.get(k))[0]
        raise UserError(
            f"learner {source} is of another network: {name!r} has shape {shapes.get(name, 'none')} in the learner and "
            f"{expected.get(name, 'none')} in the network; choose the model it was trained with, or another learner"
        )


def _halved(key: str, tensor: Tensor, path: str | Path) -> Tensor:
    half = tensor.half()
    if bool((half.isinf() & tensor.isfinite()).any()):
        raise UserError(
            f"learner {path}: {key} holds {float(tensor.abs().max()):g}, and half precision ends at "
            f"{torch.finfo(torch.float16).max:g}; save it with half=False"
        )
    return half


def _no_learner(path: Path, reason: str) -> UserError:
    """Return the error for a file that is no learner: what it is, and what to do with it."""
    try:
        kind = kind_of(path)
    except OSError as error:
        return UserError(f"learner {path}: cannot be read ({error.strerror})")
    if kind.weights:
        told = f" ({reason})" if kind.what.startswith("a safetensors") else ""  # else that it is none
        return UserError(
            f"learner {path}: is {kind.what}{told}; a learner.safetensors is expected, which has learning rates, too; "
            f"python -m eosvos.convert {path} out=NAME.safetensors makes one of a published Mask R-CNN, and a training "
            f"begins with other weights, too: python -m eosvos.meta_train init={path}"
        )
    return UserError(f"learner {path}: is {kind.what}; {kind.remedy or reason}; a learner.safetensors is expected")


def rate_shapes(module: nn.Module, level: str) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the learning rates of a module's parameters (e-OSVOS, section 3.2.4).

    "neuron": one rate for all weights of an output neuron and one for its bias; the affine parameters of norms have one
    per channel. A transposed convolution has its output channels in dimension 1.

    Args:
        module: the module.
        level: one of `LEVELS`.

    Raises:
        ValueError: for an unknown level.
    """
    if level not in LEVELS:
        raise ValueError(f"level {level!r} is unknown; expected one of {', '.join(LEVELS)}")
    transposed = {
        f"{prefix}.weight" if prefix else "weight": layer
        for prefix, layer in module.named_modules()
        if isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d)
    }
    shapes: dict[str, tuple[int, ...]] = {}
    for name, p in module.named_parameters():
        if level == "parameter":
            shapes[name] = tuple(p.shape)
        elif level in ("single", "tensor"):
            shapes[name] = ()
        elif name in transposed:
            if transposed[name].groups != 1:
                raise ValueError(f"{name}: neuron rates of a transposed convolution with groups > 1 are not defined")
            shapes[name] = (1, p.shape[1]) + (1,) * (p.dim() - 2)
        else:
            shapes[name] = tuple(p.shape[:1]) + (1,) * (p.dim() - 1)
    return shapes


def rate_statistics(learner: Learner) -> dict[str, float]:
    """Return the mean learning rate and share of zeros, over all and per part (first two words of the names)."""
    parts: dict[str, list[Tensor]] = {}
    for name, rate in learner.rates.items():
        parts.setdefault(".".join(name.split(".")[:2]), []).append(rate.detach().flatten())
    every = torch.cat([r for group in parts.values() for r in group])
    result = {
        "rate_mean": float(every.mean()),
        "rate_max": float(every.max()),
        "rate_zero": float((every == 0).float().mean()),
    }
    return result | {f"rate/{part}": float(torch.cat(group).mean()) for part, group in parts.items()}
