"""What the commands share: Hydra without its own output folders, one message for a user's mistake, exit statuses.

0: done; 1: an error of the program, with its traceback; 2: a mistake of the user; 130: interrupted.
"""

from __future__ import annotations

import difflib
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
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from eosvos.errors import UserError
from eosvos.files import shipped

MISTAKE, INTERRUPTED = 2, 130


def config_dir() -> Path:
    """The folder of the configuration."""
    return shipped("conf")


def run(
    name: str,
    job: Callable[[Any], object],
    arguments: list[str] | None = None,
    *,
    end: Callable[[], object] | None = None,
) -> int:
    """Compose conf/<name>.yaml with the overrides of the command line, and give it to `job` as its schema's dataclass.

    arguments: instead of sys.argv[1:]. end: called once after the job, or after all jobs of a sweep. Returns the exit
    status.
    """

    def task(config: DictConfig) -> object:
        try:
            return job(OmegaConf.to_object(config))
        except UserError as error:  # Hydra would print a line of its own
            raise _Mistake(error) from error

    main = hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=name)(task)
    try:
        with _environment(name, sys.argv[1:] if arguments is None else arguments), _terminated_as_interrupted():
            main()
            if end is not None:
                end()
    except _Mistake as mistake:
        return _complain(str(mistake.error))
    except UserError as error:
        return _complain(str(error))
    except (HydraException, OmegaConfBaseException) as error:
        return _complain(_explain(error, name))
    except KeyboardInterrupt as interrupt:
        _say(str(interrupt) or "interrupted")
        return INTERRUPTED
    except SystemExit as leaving:  # of Hydra's own argument parser
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    return 0


def job_name() -> str | None:
    """What sets this job of a sweep apart, say "iters=10,ona=true", fit for a folder's name; None outside of one."""
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return None
    return HydraConfig.get().job.override_dirname.replace("/", "_")


def interrupted(stop: Exception) -> KeyboardInterrupt:
    """What to raise for a training that has saved its state and stopped."""
    return KeyboardInterrupt(f"{stop}; the same command with resume=true continues")


class _Mistake(BaseException):
    """Carries a UserError through Hydra, which lets only such pass unseen."""

    def __init__(self, error: UserError) -> None:
        super().__init__(str(error))
        self.error = error


@contextmanager
def _environment(name: str, arguments: list[str]) -> Iterator[None]:
    """The command line in sys.argv, where Hydra reads it, and Hydra's errors left to us."""
    argv, before = sys.argv, dict(os.environ)
    sys.argv = [f"eosvos.{name}", *arguments]
    with tempfile.TemporaryDirectory(prefix="eosvos-") as folder:  # Hydra leaves a file for every sweep
        os.environ.update(HYDRA_FULL_ERROR="1", EOSVOS_SWEEP=folder)
        try:
            yield
        finally:
            sys.argv = argv
            for key in ("HYDRA_FULL_ERROR", "EOSVOS_SWEEP"):
                os.environ.pop(key)
                if key in before:
                    os.environ[key] = before[key]


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


def _complain(message: str) -> int:
    _say(message)
    return MISTAKE


def _say(message: str) -> None:
    """Under torchrun all processes meet the same, and the first one speaks: the others end once it has."""
    if os.environ.get("RANK", "0") == "0":
        print(message, file=sys.stderr, flush=True)
    else:
        with suppress(KeyboardInterrupt):
            time.sleep(10)  # torchrun ends this process as soon as the first one has left


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
    unknown = re.search(r"Could not override '([\w./@-]+)'|Key '(\w+)' (?:not|is not) in", text)
    if unknown is None:
        return text
    full = re.search(r"full_key: ([\w.]+)", text)
    word = full[1] if full else unknown[1] or unknown[2]
    section, dot, last = word.rpartition(".")
    known = [w for w in _known_words(name) if w.rpartition(".")[0] == section]
    near = [w for w in known if w.rpartition(".")[2].startswith(last)] or difflib.get_close_matches(word, known, 1)
    if near:
        return f"{word}: no such setting; did you mean {' or '.join(near)}?"
    return f"{word}: no such setting; expected one of {', '.join(known)} (all with their values: --cfg job)"


def _known_words(name: str) -> list[str]:
    """All settings of a command in dotted form, sections included."""
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_dir())):
        config = hydra.compose(config_name=name)
    words = ["experiment" if name == "eval" else "training"]  # groups that stand for no setting of their own

    def collect(node: Any, prefix: str) -> None:
        for key in node:
            words.append(prefix + str(key))
            if OmegaConf.is_dict(node) and not OmegaConf.is_missing(node, key):
                value = OmegaConf.select(node, str(key), throw_on_missing=False)
                if OmegaConf.is_dict(value):
                    collect(value, f"{prefix}{key}.")

    collect(config, "")
    return words
