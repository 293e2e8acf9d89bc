"""Files of published weights, read without executing what is in them."""

from __future__ import annotations

import pickle
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torchvision.models import get_model_weights

from eosvos.errors import UserError
from eosvos.file_kinds import Kind, kind_of

# Name after "torchvision:" -> network and weights there; the ResNets are those that torchvision's own detectors began
# with, vgg16 is the one of its authors, which OSVOS and OSMN began with, of which there are the convolutions alone.
# vgg16_whole, of torchvision's own training, has the classifier too, with which OSMN's visual modulator begins.
NAMES = {
    "maskrcnn_resnet50_fpn": ("maskrcnn_resnet50_fpn", "COCO_V1"),
    "maskrcnn_resnet50_fpn_v2": ("maskrcnn_resnet50_fpn_v2", "COCO_V1"),
    "resnet50": ("resnet50", "IMAGENET1K_V1"),
    "resnet18": ("resnet18", "IMAGENET1K_V1"),
    "mobilenet_v2": ("mobilenet_v2", "IMAGENET1K_V1"),
    "vgg16": ("vgg16", "IMAGENET1K_FEATURES"),
    "vgg16_whole": ("vgg16", "IMAGENET1K_V1"),
}
PREFIX = "torchvision:"
_OF_DAMAGED_PICKLES = (
    *(pickle.UnpicklingError, OSError, EOFError, RuntimeError, ValueError, TypeError, KeyError, AttributeError),
    *(IndexError, ImportError),
)
KINDS = (
    "torchvision's Mask R-CNN (v1, v2), ResNets, MobileNetV2 and VGG16, detectron2's Mask R-CNN, an e-OSVOS checkpoint "
    "of its authors, a learner.safetensors"
)


def unknown_name_message(source: str) -> str:
    """Return the message for a name that is not in NAMES."""
    return f"init={source}: expected one of {', '.join(PREFIX + n for n in NAMES)}, or the path of a file"


def fetch(source: str, progress: bool) -> Mapping[str, Any]:
    """Download the weights of a name with `PREFIX`, or take them from torch's cache. Raises UserError if it fails."""
    name = source.removeprefix(PREFIX)
    if name not in NAMES:
        raise UserError(unknown_name_message(source))
    network, member = NAMES[name]
    weights = get_model_weights(network)[member]
    try:
        return weights.get_state_dict(progress=progress, check_hash=True)
    except (OSError, RuntimeError) as error:  # no network; a wrong hash
        raise UserError(
            f"init={source}: could not be fetched ({error}); fetch {weights.url} elsewhere and give its path with init="
        ) from error


def open_file(path: Path) -> tuple[Mapping[str, Any], str]:
    """Read the content of a file and the note in its header; its form is recognised by its first bytes.

    Raises:
        UserError: if the file is no file of weights, is damaged, or would execute code.
    """
    if path.exists() and (kind := _kind_of(path)).remedy:
        raise UserError(f"init={path}: is {kind.what}; {kind.remedy}; expected one of: {KINDS}")
    try:
        with path.open("rb") as file:
            head = file.read(32)
            file.seek(0)
            if head[8:9] == b"{":
                with safe_open(path, "pt") as tensors:
                    note = str((tensors.metadata() or {}).get("form", ""))
                    return {key: tensors.get_tensor(key) for key in tensors.keys()}, note  # noqa: SIM118
            if head.startswith(b"PK") or b"\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19" in head:  # torch's, new and old
                with torch.serialization.safe_globals(_NUMBERS):
                    content = torch.load(file, map_location="cpu", weights_only=True)
            else:
                content = _ArrayUnpickler(file, path).load()
    except UserError:
        raise
    except (SafetensorError, *_OF_DAMAGED_PICKLES) as error:
        # torch's own refusal comes with the advice to trust it
        if named := re.search(r"(?:GLOBAL|class|function|global) <?(?:class )?'?([\w.]+)", str(error)):
            raise _refused(path, named[1]) from None
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"init={path}: not a readable file of weights ({reason}); expected one of: {KINDS}") from error
    if not isinstance(content, Mapping):
        raise UserError(f"init={path}: holds a {type(content).__name__}; expected a dictionary of tensors: {KINDS}")
    return content, ""


def _kind_of(path: Path) -> Kind:
    try:
        return kind_of(path)
    except OSError as error:
        raise UserError(f"init={path}: cannot be read ({error.strerror})") from error


# NumPy's numbers and arrays, which training scripts save beside the weights; the names are those of NumPy 1, 2 and now.
_ARRAY, _SCALAR = np.empty(0).__reduce__()[0], np.float32(0).__reduce__()[0]
_NUMBERS: list[Any] = [np.ndarray, np.dtype, *{type(np.dtype(code)) for code in "?bhilqBHILQefdSU"}]
for _module in ("numpy.core.multiarray", "numpy._core.multiarray"):
    _NUMBERS += [(_ARRAY, f"{_module}._reconstruct"), (_SCALAR, f"{_module}.scalar")]


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickler for NumPy arrays in plain containers: nothing else that a pickle names is imported or called."""

    _ALLOWED = {
        "_reconstruct": _ARRAY,
        "scalar": _SCALAR,
        "ndarray": np.ndarray,
        "dtype": np.dtype,
        "_frombuffer": np.empty(0).__reduce_ex__(5)[0],
    }

    def __init__(self, file: Any, path: Path) -> None:
        super().__init__(file, encoding="latin1")  # as Python 2 wrote arrays
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "numpy" and name in self._ALLOWED:
            return self._ALLOWED[name]
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        if (module, name) == ("_codecs", "encode"):  # how protocol 2 writes bytes
            return lambda text, encoding: text.encode("latin1")
        raise _refused(self._path, f"{module}.{name}")


_CLEAN = """import pathlib, pickle, sys, torch
try: x = torch.load(sys.argv[1], 'cpu', weights_only=False)
except Exception: x = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes(), encoding='latin1')
def clean(v): return {k: clean(w) for k, w in v.items() if hasattr(w, 'items') or hasattr(w, 'shape')} if hasattr(v,
'items') else torch.as_tensor(v)
torch.save(clean(x.state_dict() if hasattr(x, 'state_dict') else x), sys.argv[2])"""  # noqa: E501  (one line of a command)


def _refused(path: Path, named: str) -> UserError:
    clean = path.with_name(f"{path.stem}-weights.pth")
    return UserError(
        f"init={path}: this pickle names {named}, which it would execute; refused: only arrays of numbers are read. "
        "Where you trust it, write its weights alone into a file of their own, once, with what it names installed:\n"
        f'python -c "{_CLEAN}" {shlex.quote(str(path))} {shlex.quote(str(clean))}\n'
        f"and give init={clean}"
    )


def tensors_of(raw: Mapping[str, Any]) -> tuple[dict[str, Tensor], list[str]]:
    """Return the numeric entries as float32 tensors, and the keys of all others."""
    tensors: dict[str, Tensor] = {}
    other = []
    for key, value in raw.items():
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
            value = torch.from_numpy(np.ascontiguousarray(value, value.dtype.newbyteorder("=")))
        if isinstance(value, Tensor) and not value.is_sparse and not value.is_complex():
            tensors[str(key)] = value.detach().float()
        else:
            other.append(str(key))
    return tensors, other
