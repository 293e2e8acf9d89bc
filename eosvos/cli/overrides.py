"""Values of paths and names on the command line: taken as they stand, whatever Hydra's grammar makes of their signs.

`literal` quotes them before Hydra parses the line. Of a value of a text setting, or of each part of a list in brackets:

- quotes around the whole of it come off, as Hydra has it, unless a file of that very name, with quotes, exists;
- nothing else in it means anything: no blanks, brackets, `=`, `$`, and neither `null`, `true` nor `1e3`;
- nothing at all (`out=`) is null, so that the default holds;
- commas part the items of a list and, in a sweep (-m), its values; one that belongs to a name stands within quotes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

from omegaconf import OmegaConf

from eosvos.cli.schema import SCHEMAS
from eosvos.files import shipped

_OVERRIDE = re.compile(r"(\+{0,2})([A-Za-z_][\w.]*)=(.*)", re.DOTALL)
_QUOTED = re.compile(r"""'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)\"""", re.DOTALL)
# A part up to a comma; within quotes that end before a comma or the end, a comma is no more than a sign.
_PART = re.compile(rf"\s*({_QUOTED.pattern})\s*(?=,|\Z)|[^,]*", re.DOTALL)


def literal(arguments: Sequence[str], settings: Mapping[str, bool]) -> list[str]:
    """The arguments of a command line with the values of text settings quoted for Hydra.

    settings: text settings in dotted form; whether each is a list.
    """
    sweep = any(a == "--multirun" or re.fullmatch(r"-[a-ln-z]*m[a-z]*", a) for a in arguments)
    return [_literal(argument, settings, sweep) for argument in arguments]


def _literal(argument: str, settings: Mapping[str, bool], sweep: bool) -> str:
    match = _OVERRIDE.fullmatch(argument)
    if match is None or match[2] not in settings:
        return argument
    plus, key, value = match.groups()
    if settings[key] and value.strip().startswith("["):
        lists = re.split(r"(?<=\])\s*,\s*(?=\[)", value.strip()) if sweep else [value.strip()]
        return f"{plus}{key}=" + ",".join(map(_list, lists))
    parts = [part.strip() for part in _parts(value)] if sweep else [value]
    return f"{plus}{key}=" + ",".join(quoted(_here(_bare(part))) if part else "null" for part in parts)


def _list(text: str) -> str:
    inner = text[1:].removesuffix("]").strip()
    return "[" + ",".join(quoted(_bare(part.strip())) for part in (_parts(inner) if inner else ())) + "]"


def _parts(text: str) -> list[str]:
    found, at = [], 0
    while True:
        part = _PART.match(text, at)
        assert part is not None  # it matches nothing, too
        found.append(part[0])
        if part.end() == len(text):
            return found
        at = part.end() + 1


def _bare(text: str) -> str:
    """Without the quotes around the whole of it."""
    match = _QUOTED.fullmatch(text)
    if match is None or os.path.lexists(text):
        return text
    return match[1].replace("\\'", "'") if match[1] is not None else match[2].replace('\\"', '"')


def _here(text: str) -> str:
    """A name that begins with `~` and is no home folder is no error of `Path.expanduser`, either."""
    named = text.startswith("~") and (os.path.lexists(text) or os.path.expanduser(text) == text)
    return f"./{text}" if named else text


def quoted(text: str) -> str:
    """A text as Hydra's grammar, and after it OmegaConf's, reads it back."""
    text = escaped(text)
    return "'" + re.sub(r"(\\*)('|\Z)", lambda m: m[1] * 2 + "\\'" * len(m[2]), text) + "'"


def escaped(text: str) -> str:
    """A text that OmegaConf takes for no interpolation."""
    return re.sub(r"(\\*)\$\{", lambda m: m[1] * 2 + "\\${", text)


def shown(line: str) -> str:
    """An override as it was before `literal`, but for quotes around names: for people to read."""
    bare = re.sub(r"'((?:[^'\\]|\\.)*)'", lambda m: m[1].replace("\\'", "'"), line, flags=re.DOTALL)
    return re.sub(r"\\(\\*)\$\{", lambda m: m[1][: len(m[1]) // 2] + "${", bare)


def text_settings(command: str) -> dict[str, bool]:
    """All paths and names among the settings of a command, in dotted form, and whether each is a list of them. What
    chooses a file of conf/ (method=, say) is none."""
    groups = {path.name for path in shipped("conf").iterdir() if path.is_dir()}
    found: dict[str, bool] = {}

    def collect(schema: Any, prefix: str) -> None:
        for name, hint in get_type_hints(schema).items():
            key, kinds = prefix + name, {hint, *get_args(hint)}
            if is_dataclass(hint):
                collect(hint, f"{key}.")
            elif get_origin(hint) is not dict and key not in groups and str in kinds:
                found[key] = get_origin(hint) is list
            elif list[str] in kinds:
                found[key] = True

    collect(SCHEMAS[command], "")
    return found


def as_yaml(settings: Any) -> str:
    """The settings of a run as a file of its folder; names that look like interpolations are none."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(v) for key, v in value.items()}
        return (
            [plain(v) for v in value]
            if isinstance(value, list | tuple)
            else (escaped(value) if isinstance(value, str) else value)
        )

    return OmegaConf.to_yaml(OmegaConf.create(plain(asdict(settings))))
