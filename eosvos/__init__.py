"""Meta-learn how to fine-tune a segmentation network for video object segmentation (e-OSVOS).

What a user imports from here is loaded when it is first asked for: importing the package itself costs nothing.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eosvos.data.readers.davis import open_davis as open_davis
    from eosvos.data.readers.folder import open_folder as open_folder
    from eosvos.data.readers.lvos import open_lvos as open_lvos
    from eosvos.data.readers.mose import open_mose as open_mose
    from eosvos.data.readers.sav import open_sav as open_sav
    from eosvos.data.readers.segtrack import open_segtrack as open_segtrack
    from eosvos.data.readers.youtube_objects import open_youtube_objects as open_youtube_objects
    from eosvos.data.readers.youtube_vos import open_youtube_vos as open_youtube_vos
    from eosvos.data.sequence import VideoSequence as VideoSequence
    from eosvos.data.video.open import open_video as open_video
    from eosvos.errors import UserError as UserError
    from eosvos.evaluation.benchmark import run as evaluate
    from eosvos.inference.segmenter import Segmenter as Segmenter
    from eosvos.inference.suggestion import suggest as suggest
    from eosvos.meta.learner import Learner as Learner
    from eosvos.methods.baselines import CopyFirst as CopyFirst
    from eosvos.methods.baselines import Flow as Flow
    from eosvos.methods.eosvos.method import EOSVOS as EOSVOS
    from eosvos.methods.osmn.method import OSMN as OSMN
    from eosvos.methods.osvos.method import OSVOS as OSVOS

_PLACES = {
    "open_davis": "eosvos.data.readers.davis:open_davis",
    "open_folder": "eosvos.data.readers.folder:open_folder",
    "open_lvos": "eosvos.data.readers.lvos:open_lvos",
    "open_mose": "eosvos.data.readers.mose:open_mose",
    "open_sav": "eosvos.data.readers.sav:open_sav",
    "open_segtrack": "eosvos.data.readers.segtrack:open_segtrack",
    "open_video": "eosvos.data.video.open:open_video",
    "open_youtube_objects": "eosvos.data.readers.youtube_objects:open_youtube_objects",
    "open_youtube_vos": "eosvos.data.readers.youtube_vos:open_youtube_vos",
    "VideoSequence": "eosvos.data.sequence:VideoSequence",
    "UserError": "eosvos.errors:UserError",
    "evaluate": "eosvos.evaluation.benchmark:run",
    "suggest": "eosvos.inference.suggestion:suggest",
    "Learner": "eosvos.meta.learner:Learner",
    "CopyFirst": "eosvos.methods.baselines:CopyFirst",
    "EOSVOS": "eosvos.methods.eosvos.method:EOSVOS",
    "Flow": "eosvos.methods.baselines:Flow",
    "OSMN": "eosvos.methods.osmn.method:OSMN",
    "OSVOS": "eosvos.methods.osvos.method:OSVOS",
    "Segmenter": "eosvos.inference.segmenter:Segmenter",
}
__all__ = [
    "EOSVOS",
    "OSMN",
    "OSVOS",
    "CopyFirst",
    "Flow",
    "Learner",
    "Segmenter",
    "UserError",
    "VideoSequence",
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
    if name == "Sequence":
        warnings.warn("eosvos.Sequence is now eosvos.VideoSequence", DeprecationWarning, stacklevel=2)
        name = "VideoSequence"
    if name == "__version__":
        return version("eosvos")
    if name not in _PLACES:
        raise AttributeError(f"module 'eosvos' has no attribute {name!r}; it has {', '.join(__all__)}")
    module, _, attribute = _PLACES[name].partition(":")
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
