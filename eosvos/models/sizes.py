"""Settings of a network by the name of its size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

Spec = TypeVar("Spec")


def spec_of(sizes: Mapping[str, Spec], size: str, settings: Mapping[str, Any]) -> Spec:
    """Return the spec of a size with other settings.

    Args:
        sizes: specs, all of one dataclass, by the name of the size.
        size: the name.
        settings: fields that differ from the size's own.

    Raises:
        ValueError: for an unknown size or setting.
    """
    if size not in sizes:
        raise ValueError(f"model size {size!r} is unknown; expected one of {', '.join(sizes)}")
    spec: Any = sizes[size]
    known = list(spec.__dataclass_fields__)
    if unknown := sorted(set(settings) - set(known)):
        raise ValueError(f"model setting {unknown[0]!r} is unknown; expected one of {', '.join(known)}")
    # JSON knows no tuples: lists of a stored spec become tuples again.
    return replace(spec, **{k: tuple(v) if isinstance(v, list | tuple) else v for k, v in settings.items()})
