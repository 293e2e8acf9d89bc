"""Meta-learn how to fine-tune a segmentation network for video object segmentation (e-OSVOS).

What a user imports from here is loaded when it is first asked for: importing the package itself costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eosvos.data.davis import open_davis as open_davis
    from eosvos.data.folder import open_folder as open_folder
    from eosvos.data.lvos import open_lvos as open_lvos
    from eosvos.data.mose import open_mose as open_mose
    from eosvos.data.sav import open_sav as open_sav
    from eosvos.data.segtrack import open_segtrack as open_segtrack
    from eosvos.data.sequence import Sequence as Sequence
    from eosvos.data.video import open_video as open_video
    from eosvos.data.youtube_objects import open_youtube_objects as open_youtube_objects
    from eosvos.data.youtube_vos import open_youtube_vos as open_youtube_vos
    from eosvos.errors import UserError as UserError
    from eosvos.evaluation.benchmark import run as evaluate
    from eosvos.evaluation.suggestion import suggest as suggest
    from eosvos.meta.learner import Learner as Learner
    from eosvos.methods.copy_first import CopyFirst as CopyFirst
    from eosvos.methods.eosvos import EOSVOS as EOSVOS
    from eosvos.methods.flow import Flow as Flow
    from eosvos.methods.osmn import OSMN as OSMN
    from eosvos.methods.osvos import OSVOS as OSVOS
    from eosvos.segmenter import Segmenter as Segmenter

_PLACES = {
    "open_davis": "eosvos.data.davis:open_davis",
    "open_folder": "eosvos.data.folder:open_folder",
    "open_lvos": "eosvos.data.lvos:open_lvos",
    "open_mose": "eosvos.data.mose:open_mose",
    "open_sav": "eosvos.data.sav:open_sav",
    "open_segtrack": "eosvos.data.segtrack:open_segtrack",
    "open_video": "eosvos.data.video:open_video",
    "open_youtube_objects": "eosvos.data.youtube_objects:open_youtube_objects",
    "open_youtube_vos": "eosvos.data.youtube_vos:open_youtube_vos",
    "Sequence": "eosvos.data.sequence:Sequence",
    "UserError": "eosvos.errors:UserError",
    "evaluate": "eosvos.evaluation.benchmark:run",
    "suggest": "eosvos.evaluation.suggestion:suggest",
    "Learner": "eosvos.meta.learner:Learner",
    "CopyFirst": "eosvos.methods.copy_first:CopyFirst",
    "EOSVOS": "eosvos.methods.eosvos:EOSVOS",
    "Flow": "eosvos.methods.flow:Flow",
    "OSMN": "eosvos.methods.osmn:OSMN",
    "OSVOS": "eosvos.methods.osvos:OSVOS",
    "Segmenter": "eosvos.segmenter:Segmenter",
}
__all__ = [
    "EOSVOS",
    "OSMN",
    "OSVOS",
    "CopyFirst",
    "Flow",
    "Learner",
    "Segmenter",
    "Sequence",
    "UserError",
    "evaluate",
    "open_davis",
    "open_folder",
    "open_lvos",
    "open_mose",
    "open_sav",
    "open_segtrack",
    "open_video",
    "open_youtube_objects",
    "open_youtube_vos",
    "suggest",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'eosvos' has no attribute {name!r}; it has {', '.join(__all__)}")
    module, _, attribute = _PLACES[name].partition(":")
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
