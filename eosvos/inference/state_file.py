"""The state of a method within a video as one safetensors file: plain values and tensors, no code.

A method names the attributes of its state in `STATE` and the classes of their values in `PARTS`. They are stored as a
tree of plain values that refers to tensors by name; classes and their fields are stored by name. A tensor that occurs
twice is stored once.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from eosvos.errors import UserError
from eosvos.files import atomic

FORMAT = "eosvos-state-1"
_DTYPES = {  # as safetensors names them
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


@dataclass(frozen=True)
class Packed:
    """A state in storable form.

    Attributes:
        tree: plain values, see `pack`.
        tensors: on the CPU, by the names that the tree refers to them by. They share memory with tensors of the state
            on the CPU, which must not change before they are written.
    """

    tree: Any
    tensors: dict[str, Tensor]


def pack(value: Any) -> Packed:
    """Pack a value: numbers, text, None, tensors, arrays, and lists, tuples, deques, dicts and dataclasses of these."""
    tensors: dict[str, Tensor] = {}
    names: dict[int, str] = {}
    kept: list[Tensor] = []  # so that no id is used twice while this runs

    def plain(value: Any) -> Any:
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, np.ndarray):
            return {"array": plain(torch.from_numpy(value))}
        if isinstance(value, Tensor):
            if id(value) not in names:
                names[id(value)] = str(len(names))
                kept.append(value)
                tensors[names[id(value)]] = value.detach().cpu().contiguous()
            return {"tensor": names[id(value)]}
        if isinstance(value, list):
            return {"list": [plain(v) for v in value]}
        if isinstance(value, tuple):
            return {"tuple": [plain(v) for v in value]}
        if isinstance(value, deque):
            return {"deque": [plain(v) for v in value], "most": value.maxlen}
        if isinstance(value, Mapping):
            return {"dict": [[plain(k), plain(v)] for k, v in value.items()]}
        if is_dataclass(value) and not isinstance(value, type):
            return {"class": type(value).__name__, "of": {f.name: plain(getattr(value, f.name)) for f in fields(value)}}
        raise TypeError(f"{type(value).__name__} is nothing that a state may hold")

    return Packed(plain(value), tensors)


def unpack(packed: Packed, classes: tuple[type, ...] = (), device: torch.device | str = "cpu") -> Any:
    """Rebuild a packed value.

    Args:
        packed: the result of `pack`.
        classes: the dataclasses that may occur.
        device: of tensors in dicts by name, which are parameters of networks; all others stay on the CPU.

    Raises:
        ValueError: if the tree was not made by `pack`.
    """
    known = {c.__name__: c for c in classes}
    moved: dict[str, Tensor] = {}

    def tensor(name: str, parameter: bool) -> Tensor:
        if not parameter:
            return packed.tensors[name]
        if name not in moved:
            moved[name] = packed.tensors[name].to(device)
        return moved[name]

    def value(plain: Any, parameter: bool = False) -> Any:
        if not isinstance(plain, dict):
            return plain
        if "array" in plain:
            return value(plain["array"]).numpy()
        if "tensor" in plain:
            return tensor(plain["tensor"], parameter)
        if "list" in plain:
            return [value(v) for v in plain["list"]]
        if "tuple" in plain:
            return tuple(value(v) for v in plain["tuple"])
        if "deque" in plain:
            return deque((value(v) for v in plain["deque"]), maxlen=plain["most"])
        if "dict" in plain:
            return {value(k): value(v, isinstance(k, str)) for k, v in plain["dict"]}
        return known[plain["class"]](**{name: value(v) for name, v in plain["of"].items()})

    try:
        return value(packed.tree)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"no state of this version: {type(error).__name__} {error}") from error


def write(path: str | Path, packed: Packed) -> None:
    """Write one safetensors file, atomically and tensor by tensor: the library's `save_file` copies all of them first.

    Raises:
        UserError: if the file cannot be written.
    """
    # Large numbers first, as the library has it: each then begins at a multiple of its size.
    order = sorted(packed.tensors, key=lambda name: -packed.tensors[name].element_size())
    header: dict[str, Any] = {"__metadata__": {"format": FORMAT, "tree": json.dumps(packed.tree)}}
    at = 0
    for name in order:
        tensor = packed.tensors[name]
        end = at + tensor.nbytes
        header[name] = {"dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with atomic(path, durable=True) as temporary, temporary.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            file.write(packed.tensors[name].reshape(-1).view(torch.uint8).numpy().data)


def read(path: str | Path) -> Packed:
    """Read a file of `write`; executes no code. Raises UserError if it is missing, damaged or of another kind."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"state {path}: no such file; give one that Segmenter.save wrote")
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                found_format = header.get("format", "none")
                raise UserError(f"state {path}: format {found_format!r} found in its header, {FORMAT!r} expected")
            return Packed(json.loads(header["tree"]), {key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise UserError(f"state {path}: not a readable file of this kind ({error}); is it truncated?") from error
