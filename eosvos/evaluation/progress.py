"""What a run says while it runs: a bar on a terminal, else one plain line per finished sequence."""

from __future__ import annotations

import math
import sys
import time

from tqdm import tqdm

from eosvos.evaluation.metrics.aggregate import figures, objects
from eosvos.evaluation.results import SequenceResult


class Progress:
    """`total` frames to do; `sequences` in all, of which `kept` were finished before. Says it all on stderr."""

    def __init__(self, total: int, sequences: int, kept: list[SequenceResult], *, visible: bool = True) -> None:
        self.visible, self.total, self.sequences = visible, total, sequences
        self.frames, self.begin = 0, time.monotonic()
        self.results = list(kept)
        terminal = visible and sys.stderr.isatty() and total > 0
        self.bar = tqdm(total=total, unit="frame", dynamic_ncols=True, file=sys.stderr) if terminal else None

    def tick(self, frames: int) -> None:
        """`frames` more frames are done."""
        self.frames += frames
        if self.bar is not None:
            self.bar.update(frames)

    def finished(self, result: SequenceResult) -> None:
        """A sequence is finished: its J, the mean over all objects so far, its speed, and the time that is left."""
        self.results.append(result)
        own, so_far = _mean_region([result]), _mean_region(self.results)
        figure = "not measured" if own is None else f"J {own:.3f}"
        mean = "" if so_far is None else f"J so far {so_far:.3f}"
        if self.bar is not None:
            self.bar.set_postfix_str(f"{result.name} {figure}, {mean}" if mean else f"{result.name} {figure}")
            return
        elapsed = time.monotonic() - self.begin
        left = elapsed / self.frames * (self.total - self.frames) if self.frames else 0.0
        count = f"[{len(self.results)}/{self.sequences}]"
        speed = "" if result.seconds is None else f"{result.fps:.2f} frames/s"
        parts = [f"{count} {result.name}: {figure}", mean, speed, f"{_clock(left)} left"]
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


def _mean_region(results: list[SequenceResult]) -> float | None:
    mean = figures(objects(results))["J-Mean"]
    return None if math.isnan(mean) else mean


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
