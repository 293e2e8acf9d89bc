"""What a setting may be; it stands with the setting in `schema` and `sections`, as metadata of its field."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import Field, dataclass, field
from typing import Any

from omegaconf import MISSING

from eosvos.meta.learner import FROM_LEARNER


@dataclass(frozen=True)
class Range:
    """Finite numbers from `low` to `high`; `open_low`: above `low`."""

    low: float = 0
    high: float = math.inf
    open_low: bool = False

    def holds(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        return above and value <= self.high and value != math.inf

    def __str__(self) -> str:
        low = f"above {self.low:g}" if self.open_low else f"{self.low:g} or more"
        return low if self.high == math.inf else f"{low}, at most {self.high:g}"


@dataclass(frozen=True)
class Choice:
    """Some of these words."""

    words: tuple[Any, ...]

    def holds(self, value: Any) -> bool:
        return value in self.words

    def __str__(self) -> str:
        return f"one of {', '.join(map(str, self.words))}"


@dataclass(frozen=True)
class OrLearner:
    """What `numbers` has, or "learner": as in the learner's training."""

    numbers: Range

    def holds(self, value: Any) -> bool:
        if value == FROM_LEARNER:
            return True
        return isinstance(value, int | float) and not isinstance(value, bool) and self.numbers.holds(value)

    def __str__(self) -> str:
        return f"learner, or {self.numbers}"


Allowed = Range | Choice | OrLearner
NUMBER, SOME, SHARE, POSITIVE = Range(0), Range(1), Range(0, 1), Range(0, open_low=True)
BELOW_ONE = Range(0, 0.9999)


def setting(allowed: Allowed, default: Any = MISSING) -> Any:
    """A field of a schema with what it may be. default: by default none, it is given in conf/; `list`: an empty one."""
    values = {"default_factory": list} if default is list else {"default": default}
    return field(**values, metadata={"allowed": allowed})


def one_of(words: Iterable[Any], default: Any = MISSING) -> Any:
    """A field of a schema that is one of these words, or a list of them."""
    return setting(Choice(tuple(words)), default)


def allowed_of(declared: Field[Any]) -> Allowed:
    """What a field may be: numbers of 0 or more where it does not say."""
    return declared.metadata.get("allowed", NUMBER)
