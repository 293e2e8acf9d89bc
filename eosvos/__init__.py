"""Meta-learn how to fine-tune a segmentation network for video object segmentation (e-OSVOS).

What a user imports from here is loaded when it is first asked for: importing the package itself costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eosvos.data.davis import open_davis as open_davis
    from eosvos.data.folder import open_folder as open_folder
    from eosvos.data.sequence import Sequence as Sequence
    from eosvos.errors import UserError as UserError
    from eosvos.evaluation.benchmark import run as evaluate
    from eosvos.meta.learner import Learner as Learner
    from eosvos.methods.copy_first import CopyFirst as CopyFirst
    from eosvos.methods.eosvos import EOSVOS as EOSVOS

_PLACES = {
    "open_davis": "eosvos.data.davis:open_davis",
    "open_folder": "eosvos.data.folder:open_folder",
    "Sequence": "eosvos.data.sequence:Sequence",
    "UserError": "eosvos.errors:UserError",
    "evaluate": "eosvos.evaluation.benchmark:run",
    "Learner": "eosvos.meta.learner:Learner",
    "CopyFirst": "eosvos.methods.copy_first:CopyFirst",
    "EOSVOS": "eosvos.methods.eosvos:EOSVOS",
}
__all__ = ["EOSVOS", "CopyFirst", "Learner", "Sequence", "UserError", "evaluate", "open_davis", "open_folder"]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'eosvos' has no attribute {name!r}; it has {', '.join(__all__)}")
    module, _, attribute = _PLACES[name].partition(":")
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
