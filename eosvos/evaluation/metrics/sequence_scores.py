"""The figures of one sequence, as they are kept in its file."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any

from eosvos.evaluation.metrics.region_contour import Statistics, statistics

# Fields whose names in the files differ, so that the files of earlier versions are still read.
_STORED = {"unknown_ids": "strange", "overlaps": "shared", "extra_metrics": "more"}


@dataclass(frozen=True)
class SequenceResult:
    """One finished sequence; `<out>/per_sequence/<name>.json` holds it and marks the sequence as finished.

    A value of `region`, `contour` and `more` is nan (null in the file) where the protocol does not count that frame for
    that object.
    """

    name: str
    frames: int
    seconds: float | None  # decoding + fine-tuning + inference; neither PNG writing nor scoring; None: masks of others
    adapt_seconds: float | None  # the fine-tuning's share, where the method tells it
    peak_MiB: float | None  # resident memory of the process, highest while the sequence ran
    peak_cuda_MiB: float | None  # None without a GPU
    scored: list[str] = field(default_factory=list)  # names of the measured frames; none without annotation
    region: dict[int, list[float]] = field(default_factory=dict)  # object id -> J per measured frame
    contour: dict[int, list[float]] = field(default_factory=dict)  # object id -> F per measured frame
    protocol: str = "davis"
    attributes: tuple[str, ...] = ()  # of the video, as the data set names them
    categories: dict[int, str] = field(default_factory=dict)  # object id -> its class
    unseen: frozenset[int] | None = None  # objects of classes that training lacks; None: no such distinction
    unknown_ids: dict[int, int] = field(default_factory=dict)  # predicted id that is no object -> frames that have it
    overlaps: dict[str, list[int]] = field(default_factory=dict)  # "truth", "masks" -> frames and pixels of overlaps
    extra_metrics: dict[str, dict[int, Any]] = field(default_factory=dict)  # further measure -> object id -> its values
    uncertain: dict[int, list[float]] = field(
        default_factory=dict
    )  # object id -> of each frame, see inference/suggestion.py
    proof: dict[str, Any] = field(default_factory=dict)  # what the figures were computed from

    @property
    def fps(self) -> float:
        """Frames per second over the whole video, fine-tuning included, as e-OSVOS counts (Figure 1, Table 2)."""
        return per_second(self.frames, self.seconds)

    @property
    def objects(self) -> list[int]:
        """The measured objects' ids; none where no frame could be measured."""
        return [i for i, values in self.region.items() if not all(map(math.isnan, values))] if self.scored else []

    def statistics(self, i: int) -> tuple[Statistics, Statistics]:
        """Mean, recall and decay of J and of F of object `i`."""
        return statistics(self.region[i]), statistics(self.contour[i])

    def to_json(self) -> dict[str, Any]:
        names = {f.name: _STORED.get(f.name, f.name) for f in fields(self) if f.name not in ("region", "contour")}
        content = {stored: getattr(self, name) for name, stored in names.items()}
        content["unseen"] = None if self.unseen is None else sorted(self.unseen)
        content["fps"] = None if self.seconds is None else round(self.fps, 4)
        content["objects"] = {str(i): {"J": self.region[i], "F": self.contour[i]} for i in self.region}
        return _without_nan(content)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> SequenceResult:
        content = {key: value for key, value in content.items() if key != "fps"}
        objects = {int(i): values for i, values in content.pop("objects").items()}
        # Those that older versions did not write may be missing.
        content["attributes"] = tuple(content.get("attributes", ()))
        content["unseen"] = frozenset(content["unseen"]) if content.get("unseen") is not None else None
        content["categories"] = {int(i): value for i, value in content.get("categories", {}).items()}
        content["unknown_ids"] = {int(i): frames for i, frames in content.pop("strange", {}).items()}
        content["overlaps"] = content.pop("shared", {})
        content["extra_metrics"] = {
            name: {int(i): _with_nan(values) for i, values in of.items()}
            for name, of in content.pop("more", {}).items()
        }
        content["uncertain"] = {int(i): _with_nan(values) for i, values in content.get("uncertain", {}).items()}
        region, contour = ({i: _with_nan(values[k]) for i, values in objects.items()} for k in ("J", "F"))
        return cls(**content, region=region, contour=contour)


def per_second(frames: int, seconds: float | None) -> float:
    if seconds is None:
        return math.nan
    return frames / seconds if seconds > 0 else math.inf


def _without_nan(value: Any) -> Any:
    """The same for JSON, which has no nan: null; and whose keys are strings."""
    if isinstance(value, dict):
        return {str(key): _without_nan(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _with_nan(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_nan(part) for part in value]
    return math.nan if value is None else value
