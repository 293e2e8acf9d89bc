"""The result of one sequence, and its JSON file."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any

from eosvos.evaluation.metrics.region_contour import Statistics, statistics

# Fields whose names in the files differ, so that the files of earlier versions are still read.
_STORED = {"unknown_ids": "strange", "overlaps": "shared", "extra_metrics": "more"}


@dataclass(frozen=True)
class SequenceResult:
    """A finished sequence, stored as `<out>/per_sequence/<name>.json`.

    A value of `region`, `contour` and `extra_metrics` is nan (null in the file) if the protocol does not count that
    frame for that object.
    """

    name: str
    frames: int
    seconds: float | None  # decoding, fine-tuning, inference; not writing or scoring; None: unknown
    adapt_seconds: float | None  # of fine-tuning; None: unknown
    peak_MiB: float | None  # peak resident memory of the process
    peak_cuda_MiB: float | None  # None without a GPU
    scored: list[str] = field(default_factory=list)  # names of the scored frames
    region: dict[int, list[float]] = field(default_factory=dict)  # J per scored frame, by object id
    contour: dict[int, list[float]] = field(default_factory=dict)  # F per scored frame, by object id
    protocol: str = "davis"
    attributes: tuple[str, ...] = ()  # of the video, as in the data set
    categories: dict[int, str] = field(default_factory=dict)  # class by object id
    unseen: frozenset[int] | None = None  # ids of objects of unseen classes; None: unknown
    unknown_ids: dict[int, int] = field(default_factory=dict)  # frames by predicted id that is no object
    overlaps: dict[str, list[int]] = field(default_factory=dict)  # of "truth", "masks": frames, pixels
    extra_metrics: dict[str, dict[int, Any]] = field(default_factory=dict)  # values by metric and object id
    # Uncertainty of each frame, by object id: see inference/suggestion.py
    uncertain: dict[int, list[float]] = field(default_factory=dict)
    # Detected box of each frame by object id, xyxy in pixels; None: none was detected. Empty: the method has no boxes
    boxes: dict[int, list[list[float] | None]] = field(default_factory=dict)
    proof: dict[str, Any] = field(default_factory=dict)  # of what was scored, see `score_sequence.proof`

    @property
    def fps(self) -> float:
        """Frames per second over the whole video with fine-tuning, as in e-OSVOS (Figure 1, Table 2)."""
        return per_second(self.frames, self.seconds)

    @property
    def objects(self) -> list[int]:
        """Ids of the objects with at least one scored frame."""
        return [i for i, values in self.region.items() if not all(map(math.isnan, values))] if self.scored else []

    def statistics(self, i: int) -> tuple[Statistics, Statistics]:
        """Return mean, recall and decay of J, and those of F, of object `i`."""
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
        content["boxes"] = {int(i): values for i, values in content.get("boxes", {}).items()}
        region, contour = ({i: _with_nan(values[k]) for i, values in objects.items()} for k in ("J", "F"))
        return cls(**content, region=region, contour=contour)


def per_second(frames: int, seconds: float | None) -> float:
    if seconds is None:
        return math.nan
    return frames / seconds if seconds > 0 else math.inf


def _without_nan(value: Any) -> Any:
    """Replace nan by None and keys by strings, for JSON."""
    if isinstance(value, dict):
        return {str(key): _without_nan(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _with_nan(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_nan(part) for part in value]
    return math.nan if value is None else value
