"""The package's rooms: imports run one way, without circles; what scores needs no torch; modules stay short."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "eosvos"

# From above to below: a module imports from its own room and from those below it.
ROOMS = (
    "commands",
    "cli",
    "plots",
    "page",
    "evaluation",
    "evaluation.metrics",
    "inference",
    "learners",
    "methods.osmn",
    "methods.osvos",
    "methods.eosvos",
    "methods",
    "meta",
    "models.pretrained",
    "models",
    "data.readers",
    "data.video",
    "data.mask_files",
    "data.synthetic",
    "data",
    "base",
)
BASE = ("errors", "files", "file_kinds", "seeds", "torch_state", "progress")  # modules that all may import
LONGEST = 350  # lines


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py")) if name_of(path)}  # but eosvos/__init__.py


def room_of(module: str) -> str:
    if MODULES[module].name == "__init__.py":
        return module
    room = module.rpartition(".")[0]
    return room or ("base" if module in BASE else "commands")


@cache
def imports(module: str, *, when_loaded: bool = False) -> frozenset[str]:
    """All that a module imports, for types and within functions too, or only what it takes to load it; modules of the
    package by the names of MODULES, others by their first part with a colon before it."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            found.update(_named(alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.update(_named(node.module or "", alias.name) for alias in node.names)
        for part in ast.iter_child_nodes(node):
            if when_loaded and (isinstance(node, ast.FunctionDef) or _for_types(node)) and part in node.body:
                continue
            visit(part)

    visit(ast.parse(MODULES[module].read_text(encoding="utf-8")))
    return frozenset(found - {module, ""})


def _for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _named(module: str, name: str) -> str:
    first, _, rest = module.partition(".")
    if first != "eosvos":
        return f":{first}"
    whole = f"{rest}.{name}".strip(".")
    return whole if whole in MODULES else rest


def reached(module: str) -> Iterator[tuple[str, ...]]:
    """The ways from a module to all that is loaded with it."""
    ways, seen = [(module,)], {module}
    while ways:
        way = ways.pop()
        yield way
        if way[-1] in MODULES:
            parents = {way[-1].rpartition(".")[0]} & MODULES.keys()  # its room's __init__.py
            for other in sorted((imports(way[-1], when_loaded=True) | parents) - seen):
                seen.add(other)
                ways.append((*way, other))


def test_every_module_lies_in_a_room():
    assert {room_of(module) for module in MODULES} <= {*ROOMS}
    assert all((path.parent / "__init__.py").is_file() for path in MODULES.values())


@pytest.mark.parametrize("room", ROOMS)
def test_imports_run_down_only(room):
    place = ROOMS.index(room)
    up = [
        f"{module} imports {other}"
        for module in MODULES
        if room_of(module) == room
        for other in imports(module)
        if other in MODULES and ROOMS.index(room_of(other)) < place
    ]
    assert not up


def test_no_module_imports_itself_by_way_of_others():
    def circle(module: str) -> tuple[str, ...] | None:
        ways, seen = [(module,)], set()
        while ways:
            way = ways.pop()
            for other in sorted(imports(way[-1]) & MODULES.keys()):
                if other == module:
                    return (*way, other)
                if other not in seen:
                    seen.add(other)
                    ways.append((*way, other))
        return None

    assert [" -> ".join(way) for module in MODULES if (way := circle(module))] == []


SCORING = ("score", "evaluation.predictions", "evaluation.score_sequence", "evaluation.processes")


@pytest.mark.parametrize("module", [*SCORING, *(m for m in MODULES if m.startswith("evaluation.metrics"))])
def test_what_scores_needs_no_torch(module):
    assert [way for way in reached(module) if way[-1] in (":torch", ":torchvision")] == []


@pytest.mark.parametrize("module", ("fcntl", "resource", "pwd", "grp", "termios"))
def test_no_module_of_unix_alone_is_needed_to_import_the_package(module):
    """Windows has none of these; tests/test_process.py imports the package without them."""
    assert not [name for name in MODULES if f":{module}" in imports(name, when_loaded=True)]


def test_the_configuration_is_seen_above_the_library_only():
    """The commands and cli/ see it."""
    seeing = {m for m in MODULES if room_of(m) not in ("commands", "cli") and {":hydra", ":omegaconf"} & imports(m)}
    assert not seeing


def test_modules_are_short():
    lines = {module: len(path.read_text(encoding="utf-8").splitlines()) for module, path in MODULES.items()}
    assert {module: count for module, count in lines.items() if count > LONGEST} == {}


def test_a_training_is_told_by_all_code_that_decides_its_outcome():
    """Rooms may be divided: no file of theirs leaves the hash."""
    from eosvos.cli import fingerprint

    hashed = {path for part in fingerprint._TRAINING for path in PACKAGE.glob(part)}
    rooms = {path for room in ("data", "meta", "methods", "models") for path in (PACKAGE / room).rglob("*.py")}
    assert hashed - rooms == {PACKAGE / f"{name}.py" for name in ("seeds", "torch_state") if name in MODULES}
    assert hashed >= rooms


def test_figures_are_told_by_all_code_that_computes_them():
    from eosvos.evaluation import score_sequence

    folder = PACKAGE / "evaluation"
    hashed = {path.resolve() for part in score_sequence._CODE for path in folder.glob(part)}
    metrics = {path for path in (folder / "metrics").glob("*.py")}
    kept = {folder / "metrics" / name for name in ("__init__.py", "aggregate.py", "sequence_scores.py")}  # of figures
    assert hashed == {folder / "score_sequence.py", *(metrics - kept), *(PACKAGE / "data").rglob("*.py")}
