"""What long work says while it runs: a bar on a terminal, else one plain line now and then."""

from __future__ import annotations

import math
import shlex
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

LINES_EVERY = 20  # iterations
SECONDS_EVERY = 10.0


class Frames:
    """Counts the frames of a video that are done: call it with how many more are. `total` of them; if that is not known
    (None), `count` is asked for it when the first ones are done."""

    def __init__(self, total: int | None, what: str, count: Callable[[], int] = int) -> None:
        self.total, self.count, self.what, self.done, self.began, self.told = total, count, what, 0, 0.0, 0.0
        self.skipped = 0  # done before this process
        bar = sys.stderr.isatty()
        self.bar = tqdm(total=total, unit="frame", desc=what, dynamic_ncols=True, file=sys.stderr) if bar else None

    def __call__(self, frames: int) -> None:
        if self.total is None:
            self.total = self.count()
            if self.bar is not None:
                self.bar.reset(self.total)
        now = time.monotonic()
        if not self.began:
            self.began = self.told = now
            self.skipped = frames
        self.done += frames
        if self.bar is not None:
            self.bar.update(frames)
        elif self.done < self.total and now - self.told >= SECONDS_EVERY:
            self.told = now
            speed = (self.done - self.skipped) / (now - self.began)
            left = _clock((self.total - self.done) / speed) if speed else "?"
            print(
                f"{self.what} [{self.done}/{self.total}]  {speed:.2f} frames/s  {left} left",
                file=sys.stderr,
                flush=True,
            )

    def tuning(self, done: int, total: int, loss: float) -> None:
        """Of the fine-tuning before frames are done: the number of a step, of how many (0: unknown), and its loss."""
        now, step = time.monotonic(), f"fine-tuning [{done}/{total or '?'}]  loss {loss:.3f}"
        if self.bar is not None:
            self.bar.set_postfix_str("" if done == total else step)
        elif now - self.told >= SECONDS_EVERY:
            if self.told:
                print(step, file=sys.stderr, flush=True)
            self.told = now

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


class TrainingProgress:
    """Called with each log record of `meta.outer.train`; `total` iterations, or as many as come in `seconds`, where
    these are given. Silent unless `visible`."""

    def __init__(self, total: int, *, seconds: float | None = None, visible: bool = True) -> None:
        self.total, self.seconds, self.visible = None if seconds else total, seconds, visible
        self.losses: deque[float] = deque(maxlen=LINES_EVERY)
        self.begin: tuple[float, float] | None = None  # iteration and seconds of this process's first record
        self.score = ""  # of the last validation: a bar has no room for the rest
        terminal = visible and sys.stderr.isatty()
        self.bar = tqdm(total=self.total, unit="it", dynamic_ncols=True, file=sys.stderr) if terminal else None

    def __call__(self, record: dict[str, Any]) -> None:
        if not self.visible:
            return
        iteration, seconds = int(record["iteration"]), float(record.get("seconds", 0.0))
        if self.begin is None:
            self.begin, before = (iteration, seconds), max(iteration - 1, 0)
            if before:
                self.say(f"continued from iteration {before}")
            if self.bar is not None:
                self.bar.initial = before  # what was done before this process does not count for its speed
        if math.isfinite(loss := record.get("loss", math.nan)):
            self.losses.append(loss)
        validation: str | None = None
        if "score" in record:
            validation, self.score = _validation(record), f"score {record['score']:.3f}"
        if self.bar is not None:
            self.bar.n = iteration
            self.bar.set_postfix_str(", ".join(part for part in (self._state(record), self.score) if part))
            if validation is not None:
                self.bar.write(f"iteration {iteration}: {validation}", file=sys.stderr)
            return
        if validation is not None or iteration % LINES_EVERY == 0:
            parts = [
                f"[{iteration}{'' if self.total is None else f'/{self.total}'}]",
                self._state(record),
                validation or "",
            ]
            print(
                "  ".join(part for part in [*parts, self._time(iteration, seconds)] if part),
                file=sys.stderr,
                flush=True,
            )

    def say(self, text: str) -> None:
        """A line that stays."""
        if self.visible:
            print(text, file=sys.stderr, flush=True)

    def report(self, log: Path, learner: Path, use: str = "learner=", *, draw: Callable[[Path, Path], Path]) -> None:
        """At the end: `draw` draws the curves of the log beside it, and it is said where everything is, and how it is
        used: by the
        setting, or settings, that end with `use`."""
        if self.begin is None:
            self.say(f"{log.parent}: this training is complete already; nothing was left to do")
        drawn = draw(log, log.parent / "curves.png")
        print(f"learner: {learner}\nlog:     {log}\ncurves:  {drawn}")
        print(f"use it:  python -m eosvos.segment video=... mask=... {use}{shlex.quote(str(learner))}")

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()

    def _state(self, record: dict[str, Any]) -> str:
        loss = f"loss {sum(self.losses) / len(self.losses):.3f}" if self.losses else ""
        skipped = f"skipped {record['skipped']}" if record.get("skipped") else ""
        return "  ".join(part for part in (loss, skipped) if part)

    def _time(self, iteration: int, seconds: float) -> str:
        assert self.begin is not None
        done, spent = iteration - self.begin[0], seconds - self.begin[1]
        if done <= 0 or spent <= 0:
            return ""
        left = (self.total - iteration) * spent / done if self.total is not None else (self.seconds or 0) - seconds
        return f"{done / spent:.2f} it/s  {_clock(max(left, 0))} left"


def _validation(record: dict[str, Any]) -> str:
    told = ("J", "validation_loss", "gamma_spread")
    figures = [f"{key} {value:.3f}" for key, value in record.items() if key.partition("@")[0] in told]
    if record["rate_zero"] < 1:  # else they are not what is trained
        figures.append(f"mean rate {record['rate_mean']:.2e} ({record['rate_zero']:.1%} are 0)")
    return "  ".join(figures)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


class Progress:
    """`total` frames to do; `sequences` in all, of which so many are `done` before. Says it all on stderr."""

    def __init__(self, total: int, sequences: int, done: int, *, visible: bool = True) -> None:
        self.visible, self.total, self.sequences = visible, total, sequences
        self.frames, self.begin = 0, time.monotonic()
        self.done = done
        terminal = visible and sys.stderr.isatty() and total > 0
        self.bar = tqdm(total=total, unit="frame", dynamic_ncols=True, file=sys.stderr) if terminal else None

    def tick(self, frames: int) -> None:
        """`frames` more frames are done."""
        self.frames += frames
        if self.bar is not None:
            self.bar.update(frames)

    def finished(self, name: str, own: float | None, so_far: float | None, fps: float | None) -> None:
        """A sequence is finished: its `own` J and the mean over all objects `so_far`, its frames per second; each None
        where nobody knows. The time that is left is told, too."""
        self.done += 1
        figure = "not measured" if own is None else f"J {own:.3f}"
        mean = "" if so_far is None else f"J so far {so_far:.3f}"
        if self.bar is not None:
            self.bar.set_postfix_str(f"{name} {figure}, {mean}" if mean else f"{name} {figure}")
            return
        elapsed = time.monotonic() - self.begin
        left = elapsed / self.frames * (self.total - self.frames) if self.frames else 0.0
        count = f"[{self.done}/{self.sequences}]"
        speed = "" if fps is None else f"{fps:.2f} frames/s"
        parts = [f"{count} {name}: {figure}", mean, speed, f"{_clock(left)} left"]
        self.say(", ".join(part for part in parts if part))

    def say(self, text: str) -> None:
        """A line that stays."""
        if self.bar is not None:
            self.bar.write(text, file=sys.stderr)
        elif self.visible:
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
