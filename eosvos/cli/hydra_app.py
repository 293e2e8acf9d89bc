"""What the commands share: Hydra without its own output folders, one message for a user's mistake, exit statuses.

0: done; 1: an error of the program, with its traceback; 2: a mistake of the user; 130: interrupted.
"""

from __future__ import annotations

import difflib
import hashlib
import io
import json
import os
import re
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from eosvos.cli import overrides, usage
from eosvos.cli.ranges import NUMBER
from eosvos.cli.schema import SCHEMAS
from eosvos.cli.validate import leaves
from eosvos.errors import CommonError, UserError
from eosvos.files import listed, refused, shipped, write_text
from eosvos.meta import distributed

MISTAKE, INTERRUPTED = 2, 130
_FLAGS = (  # Hydra's own
    *("help", "hydra-help", "version", "cfg", "resolve", "package", "run", "multirun", "shell-completion"),
    *("config-path", "config-name", "config-dir", "experimental-rerun", "info"),
)
_OF_LEARNERS = ("eval", "segment", "app", "refine")  # commands whose network is that of the learner
# In what Hydra says of an override that it cannot read
_GRAMMAR = ("no viable alternative", "token recognition", "LexerNoViable", "mismatched input", "extraneous input")


def config_dir() -> Path:
    """The folder of the configuration."""
    return shipped("conf")


def register() -> None:
    """Make the schemas known to Hydra under the names that conf/*.yaml begin with."""
    store = ConfigStore.instance()
    for name, schema in SCHEMAS.items():
        store.store(f"{name}_schema", schema)
    for path in shipped("tasksets").glob("*.yaml"):  # taskset=NAME
        store.store(group="taskset", name=path.stem, node={"name": path.stem, "kind": "mixture", "file": path.stem})


def run(
    name: str,
    job: Callable[[Any], object],
    arguments: list[str] | None = None,
    *,
    end: Callable[[dict[Path, str]], object] | None = None,
) -> int:
    """Compose conf/<name>.yaml with the overrides of the command line, and give it to `job` as its schema's dataclass.

    arguments: instead of sys.argv[1:]. end: called once after the job or all jobs of a sweep, with what the jobs of a
    sweep gave to `note`, wherever they ran. Returns the exit status.
    """

    register()

    def task(config: DictConfig) -> object:
        try:
            return job(OmegaConf.to_object(config))
        except UserError as error:  # Hydra would print a line of its own
            raise _Mistake(str(error), isinstance(error, CommonError)) from error
        except OSError as error:
            if error.filename is None or error.errno is None:  # of no path, so none of the user's
                raise
            raise _Mistake(str(refused(error)), False) from error
        except RuntimeError as error:  # of pathlib's expanduser
            if "home directory" not in str(error):
                raise
            raise _Mistake(
                "a path that begins with ~: no such user's home directory; write it in full", False
            ) from error

    main = hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=name)(task)
    try:
        given = sys.argv[1:] if arguments is None else arguments
        usage.answer(name, given)
        if "--help=all" in given:
            print(f"{usage.text(name)}\n\nAll settings of {name}, as they are by default:\n{_all_settings(name)}")
            return 0
        for refusal in (_dashed(given, name), _of_learner(given, name)):
            if refusal is not None:
                return _complain(refusal)
        given = overrides.literal(given, overrides.text_settings(name))
        _write_any_name()
        with _environment(name, given) as folder, _terminated_as_interrupted():
            main()
            if end is not None:
                end(_noted(folder))
    except _Mistake as mistake:
        return _complain(str(mistake), common=mistake.common)
    except UserError as error:
        return _complain(str(error), common=isinstance(error, CommonError))
    except (HydraException, OmegaConfBaseException) as error:
        return _complain(_explain(error, name))
    except KeyboardInterrupt as interrupt:
        _say(str(interrupt) or "interrupted")
        return INTERRUPTED
    except SystemExit as leaving:  # of Hydra's own argument parser
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    finally:
        distributed.finish()
    return 0


def job_name() -> str | None:
    """What sets this job of a sweep apart, say "iters=10,ona=true", fit for a folder's name; None outside of one."""
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return None
    name = overrides.shown(HydraConfig.get().job.override_dirname).replace("/", "_")
    digest = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:8]
    return name if len(os.fsencode(name)) <= 200 else f"{name[:50]}-{digest}"  # folders' names end at 255 bytes


def note(job: str | None, out: Path) -> None:
    """Tell the command that this job of a sweep wrote into `out`; the job may run in another process or machine."""
    hydra_config = HydraConfig.get()
    text = json.dumps({"job": job, "out": str(out.absolute())})
    write_text(Path(hydra_config.sweep.dir) / f"{hydra_config.job.num:06d}.json", text)


def _noted(folder: Path) -> dict[Path, str]:
    notes = [json.loads((folder / name).read_text(encoding="utf-8")) for name in listed(folder, ".json")]
    return {Path(os.path.relpath(note["out"])): note["job"] for note in notes}


class _Mistake(BaseException):
    """Carries a UserError through Hydra, which lets only such pass unseen."""

    def __init__(self, message: str, common: bool) -> None:
        super().__init__(message, common)  # both, so that it can be sent from one process to another
        self.common = common

    def __str__(self) -> str:
        return self.args[0]


@contextmanager
def _environment(name: str, arguments: list[str]) -> Iterator[Path]:
    """The command line in sys.argv, where Hydra reads it, and Hydra's errors left to us. Yields a folder for what a
    sweep leaves: Hydra's own file, a launcher's, and our notes."""
    argv, before = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    # The jobs of a cluster see the working folder, and not this machine's temporary ones.
    shared = any("launcher=submitit" in argument for argument in arguments)
    with tempfile.TemporaryDirectory(prefix=".eosvos-", dir="." if shared else None) as folder:
        # Not by the environment: processes that a launcher keeps for several sweeps have that of the first one.
        place = next((k for k, a in enumerate(arguments) if "=" in a and not a.startswith("-")), None)
        where = (
            [] if place is None else [f"hydra.sweep.dir={overrides.quoted(folder)}"]
        )  # beside the other overrides, or argparse fails
        sys.argv = [f"eosvos.{name}", *arguments[:place], *where, *(arguments[place:] if where else [])]
        os.environ["HYDRA_FULL_ERROR"] = "1"
        try:
            yield Path(folder)
        finally:
            sys.argv = argv
            os.environ.pop("HYDRA_FULL_ERROR")
            if before is not None:
                os.environ["HYDRA_FULL_ERROR"] = before


def _write_any_name() -> None:
    """Names of files may be bytes that are no UTF-8: they are printed as they are, not an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="surrogateescape")


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM unwinds as Ctrl-C does, so that no temporary file and no process is left."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _complain(message: str, *, common: bool | None = None) -> int:
    _say(message, common=common)
    return MISTAKE


def _say(message: str, *, common: bool | None = None) -> None:
    """Under torchrun the first process speaks for all, and the others end once it has, which torchrun would end with
    the first that leaves. common: False for what this process alone has met, and so tells itself; True where all have
    just heard of it; None where all will meet the same, sooner or later.
    """
    rank = os.environ.get("RANK", "0")
    if rank == "0" or common is False:
        print(message if rank == "0" else f"process {rank}: {message}", file=sys.stderr, flush=True)
    else:
        with suppress(KeyboardInterrupt):
            time.sleep(2 if common else 10)


def _explain(error: Exception, name: str) -> str:
    """Hydra's message without its advice to add unknown keys, and the nearest known word."""
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else None
    lines = [line.strip() for e in (error, cause) if e is not None for line in str(e).splitlines()]
    unwanted = ("To append to your", "object_type=", "Set the environment", "reference_type=")
    lines = [line for line in dict.fromkeys(lines) if line and not line.startswith(unwanted)]
    text = "\n".join(lines)
    if missing := re.search(r"Could not find '([\w-]+)/([\w./-]+)'", text):
        options = [p.stem for p in (config_dir() / missing[1]).glob("*.yaml")]
        if missing[1] == "taskset":
            options += [p.stem for p in shipped("tasksets").glob("*.yaml")]
        near = difflib.get_close_matches(missing[2], options, 1)
        hint = f"; {near[0]}?" if near else ""
        if missing[1] == "taskset" and not near:
            hint = f"; a file of your own: taskset=mixture taskset.file={missing[2]}"
        return f"{missing[1]}={missing[2]}: expected one of {', '.join(sorted(options))}{hint}"
    if (listed := re.search(r"is not a ListConfig[\s\S]*full_key: ([\w.]+)", text)) is not None:
        return f"{listed[1]}: expected a list, in brackets: '{listed[1]}=[...]'"
    if "missing EQUAL" in text:
        return f"{lines[0]}: settings are written as name=value; all of them: --cfg job"
    if any(sign in text for sign in _GRAMMAR):
        return (
            f"{text}\nonly paths and names may hold any signs; other values are numbers, words, and lists in brackets"
        )
    unknown = re.search(r"Could not override '([\w./@-]+)'|Key '(\w+)' (?:not|is not) in", text)
    if unknown is None:
        return text
    full = re.search(r"full_key: ([\w.]+)", text)
    word = full[1] if full else unknown[1] or unknown[2]
    if (refusal := _of_learner([f"{word}="], name)) is not None:  # in a file
        return refusal
    section, dot, last = word.rpartition(".")
    known = [w for w in _known_words(name) if w.rpartition(".")[0] == section]
    near = [w for w in known if w.rpartition(".")[2].startswith(last)] or difflib.get_close_matches(word, known, 1)
    if near:
        return f"{word}: no such setting; did you mean {' or '.join(near)}?"
    return f"{word}: no such setting; expected one of {', '.join(known)} (all with their values: --cfg job)"


def _dashed(arguments: list[str], name: str) -> str | None:
    """What to say of a setting that is written as an option, `--iters=5` or `--video clip.mp4`."""
    for k, argument in enumerate(arguments):
        word, equals, value = argument[2:].partition("=")
        if not re.match(r"--[A-Za-z]", argument) or any(flag.startswith(word) for flag in _FLAGS):
            continue
        key, known, following = word.replace("-", "_"), _known_words(name), arguments[k + 1 : k + 2]
        near = [key] if key in known else difflib.get_close_matches(key, known, 1)
        if not near:
            return f"{argument}: no such setting; settings are written as name=value, and told by --help"
        if not equals and following and not re.match(r"-|[\w.]+=", following[0]):
            argument, value = f"{argument} {following[0]}", following[0]
        value = value or ("VALUE" if not equals else "")
        meant = "" if near == [key] else f", if {near[0]} is meant"
        return f"{argument}: write {near[0]}={value}{meant}; settings have no dashes"
    return None


def _of_learner(arguments: list[str], name: str) -> str | None:
    """What to say of settings of the network, which the commands that take a learner had once."""
    given = next((a for a in arguments if re.match(r"\+{0,2}model[.=/@]", a)), None)
    if name not in _OF_LEARNERS or given is None:
        return None
    return f"{given}: {name} has no settings of the network, which are the learner's; leave it out, or choose learner="


def _all_settings(name: str) -> str:
    """Every setting of a command with its value and what it may be."""
    register()
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_dir())):
        config = OmegaConf.to_object(hydra.compose(config_name=name))
    rows = []
    for key, value, allowed in leaves(config):
        shown = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        first = value[0] if isinstance(value, list | tuple) and value else value
        number = isinstance(first, int | float) and not isinstance(first, bool)
        rows.append(f"  {key}={shown}".ljust(48) + f" {allowed}" * (number or allowed is not NUMBER))
    return "\n".join(row.rstrip() for row in rows)


def _known_words(name: str) -> list[str]:
    """All settings of a command in dotted form, sections included."""
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_dir())):
        config = hydra.compose(config_name=name)
    # Groups that are no setting of their own.
    words = {"eval": ["experiment"], "refine": [], "score": [], "plot": []}.get(name, ["training"])

    def collect(node: Any, prefix: str) -> None:
        for key in node:
            words.append(prefix + str(key))
            if OmegaConf.is_dict(node) and not OmegaConf.is_missing(node, key):
                value = OmegaConf.select(node, str(key), throw_on_missing=False)
                if OmegaConf.is_dict(value):
                    collect(value, f"{prefix}{key}.")

    collect(config, "")
    return words
