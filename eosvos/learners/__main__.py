"""python -m eosvos.learners: the learners that ship, and those under runs/, with what each is of."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from eosvos.learners import shipped

RUNS = Path("runs")
_METHODS = {"mask_rcnn": "eosvos", "osvos": "osvos", "osmn": "osmn"}


def main(arguments: Sequence[str] = ()) -> int:
    """Print them as a table; those under runs/ the newest first."""
    if arguments:
        wanted = arguments[0] in ("-h", "--help")
        print(__doc__ if wanted else f"{arguments[0]}: eosvos learners takes no settings", file=sys.stderr)
        return 0 if wanted else 2
    trained = [path for path in RUNS.glob("**/learner.safetensors") if path.parent.name != "training"]
    trained.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    rows = [("learner=", "method", "network", "MB", "J")]
    rows += [_row(path.stem, path) for path in shipped()] + [_row(str(path), path) for path in trained]
    widths = [max(len(row[k]) for row in rows) for k in range(4)]
    for row in rows:
        cells = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        print(f"{cells}  {row[4]}".rstrip())
    return 0


def _row(name: str, path: Path) -> tuple[str, str, str, str, str]:
    size = f"{path.stat().st_size / 1e6:.1f}"
    try:
        with safe_open(path, "pt") as file:
            spec: dict[str, Any] = json.loads((file.metadata() or {})["spec"])
    except (SafetensorError, OSError, KeyError, ValueError):
        return name, "?", "cannot be read", size, ""
    kind = spec.get("network", "mask_rcnn")
    method = _METHODS.get(kind, kind) + (", contours" if spec.get("branch") == "contours" else "")
    return name, method, str(spec.get("model", {}).get("size", "?")), size, _j(spec)


def _j(spec: dict[str, Any]) -> str:
    """What its metadata tell: of the search of its rate, or of the validation of its training."""
    if isinstance(found := spec.get("J"), dict) and found:
        return f"{max(found.values()):.3f}, validation, its best rate"
    training = spec.get("training") or {}
    told = [f"{key[2:]} steps: {value:.3f}" for key, value in training.items() if key.startswith("J@")]
    return f"validation, {', '.join(told)}" if told else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
