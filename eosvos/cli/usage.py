"""What `eosvos` and `--help` print: read from the commands' docstrings and from the comments of conf/*.yaml.

Nothing heavy is imported, so that the answer comes at once.
"""

from __future__ import annotations

import ast
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eosvos.files import shipped

COMMANDS = (
    "segment",
    "app",
    "learners",
    "convert",
    "eval",
    "score",
    "refine",
    "plot",
    "meta_train",
    "parent_train",
    "osvos_train",
    "osmn_train",
    "osmn_show",
)
HELP = ("--help", "-h")
_AS_EVAL = "as in eval.yaml"
_COMMON = ("eval", "meta_train")  # settings that another command's file does not explain are explained in these


@dataclass
class Setting:
    """A setting as conf/ has it. default: its text; "" where it is null or decided elsewhere. meaning: its comment."""

    name: str
    default: str
    meaning: str


def answer(command: str, arguments: Sequence[str] | None = None) -> None:
    """Print the help of a command and exit where the arguments (None: those of this process) ask for it."""
    if asked(sys.argv[1:] if arguments is None else arguments):
        print(text(command))
        sys.exit(0)


def asked(arguments: Sequence[str]) -> bool:
    """Whether the arguments ask for the main settings; `--help=all` asks for more, which takes the whole schema."""
    return any(argument in HELP for argument in arguments)


def summary(command: str) -> str:
    """What a command does, in one line."""
    package = Path(__file__).resolve().parents[1]
    path = next(p for p in (package / f"{command}.py", package / command / "__main__.py") if p.is_file())
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0].partition(": ")[2]


def commands() -> str:
    """All commands, a line each, and how one is run."""
    lines = [f"  {name.ljust(14)}{summary(name)}" for name in COMMANDS]
    examples = """
eosvos segment video=clip.mp4 mask=first.png     segments a video from the mask of its first frame
eosvos COMMAND --help                            tells what a command does and its settings
eosvos --version"""
    return "\n".join(["usage: eosvos COMMAND name=value ...", "", *lines, examples])


def text(command: str) -> str:
    """What a command does, examples, and its main settings with defaults and meanings."""
    whole, what = shutil.get_terminal_size((110, 24)).columns, summary(command)
    width = max(70, min(whole, 120) - 1)
    title = textwrap.fill(f"eosvos {command}: {what}", width)
    if command == "learners":
        return f"{title}\n\nusage: eosvos learners"
    examples, prose = _head(command)
    settings = read_settings(command)
    column = min(30, 4 + max(len(_given(setting)) for setting in settings))
    rows = [_row(setting, column, width) for setting in settings]
    usage = [f"usage: eosvos {command} name=value ...", *(f"  {line}" for line in examples)]
    more = f"All settings and what they may be: eosvos {command} --help=all. Their values in a run: --cfg job."
    parts = [[title], usage, textwrap.wrap(prose, width), ["settings (name=default):", *rows], [more]]
    return "\n\n".join("\n".join(lines) for lines in parts)


def _parts(command: str) -> tuple[list[str], list[str]]:
    """The first comment of a command's file of conf/, and the lines after it."""
    lines = (shipped("conf") / f"{command}.yaml").read_text(encoding="utf-8").splitlines()
    end = next(k for k, line in enumerate(lines) if not line.startswith("#"))
    return lines[:end], lines[end:]


def _head(command: str) -> tuple[list[str], str]:
    """The examples of a command, and the sentences about it."""
    lines, shell = _parts(command)[0], re.compile(r"#\s+(python -m eosvos|torchrun )")
    examples = [re.sub(r"^python -m eosvos\.", "eosvos ", line[1:].strip()) for line in lines if shell.match(line)]
    return examples, " ".join(line[1:].strip() for line in lines if not shell.match(line))


def read_settings(command: str) -> list[Setting]:
    """The settings in a command's file of conf/: what it chooses of conf/'s folders, values, and comments of the form
    "# name, name: meaning", which explain settings whose default is decided elsewhere."""
    found: list[Setting] = []
    section, choosing = "", False
    for line in _parts(command)[1]:
        code, *comments = re.split(r"(?:^|\s)#(?=\s|$)", line, maxsplit=1)
        code, comment = code.strip(), "".join(comments).strip()
        indent = len(line) - len(line.lstrip())
        if not code:
            if (named := re.match(r"# (\w+(?:, \w+)*): (.*)", line)) is not None:
                meaning = "" if named[2] == _AS_EVAL else named[2]
                found += [Setting(name, "", meaning) for name in named[1].split(", ")]
            elif comment and found and re.match(r"#  |\s", line):
                found[-1].meaning += f" {comment}"
            continue
        if indent == 0:
            choosing, section = code == "defaults:", ""
        key, _, value = (part.strip() for part in code.lstrip("- ").partition(":"))
        if choosing:
            if indent and value and not key.startswith("override"):
                found.append(Setting(key, _shown(value), "; ".join(filter(None, (comment, _choices(key, command))))))
        elif indent == 0 and not value:
            section = f"{key}."
        elif indent == 0 or (indent == 2 and section):
            found.append(Setting((section if indent else "") + key, _shown(value), comment))
    return found


def _shown(value: str) -> str:
    value = re.sub(r"\$\{oc\.env:(\w+),null\}", r"$\1", value)
    return "" if value == "null" else value


def _choices(group: str, command: str) -> str:
    files = [*(shipped("conf") / group).glob("*.yaml")]
    if group == "training":  # of all trainings, which begin with the command that they are for
        files = [path for path in files if f"eosvos.{command} " in path.read_text(encoding="utf-8")]
    files += shipped("tasksets").glob("*.yaml") if group == "taskset" else []
    return f"one of {', '.join(sorted(path.stem for path in files))}"


def _given(setting: Setting) -> str:
    return f"{setting.name}={setting.default}" if setting.default else setting.name


def _row(setting: Setting, column: int, width: int) -> str:
    left, meaning = f"  {_given(setting)} ".ljust(column), setting.meaning or _elsewhere(setting.name)
    if not meaning:
        return left.rstrip()
    return textwrap.fill(meaning, width, initial_indent=left, subsequent_indent=" " * column)


def _elsewhere(name: str) -> str:
    """The meaning of a setting in the files that explain those that several commands share."""
    section, _, last = name.rpartition(".")
    alike = f"meta.{last}" if section in ("parent", "outer", "search") else name
    shared = (setting for command in _COMMON for setting in read_settings(command))
    return next((setting.meaning for setting in shared if setting.name == alike), "")
