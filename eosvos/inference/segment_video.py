"""Segment a whole video from its annotated frames, forwards and backwards from the first one; resumable.

A run's folder, used by one process at a time: masks/ holds the id mask of every frame, uncertainty.jsonl their
uncertainties, state/ the state to continue from until the run is finished.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import time
from collections.abc import Callable, Collection, Generator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from eosvos.data.masks import read_mask
from eosvos.data.sequence import VideoSequence
from eosvos.files import append_line, listed, locked, remove_temporary
from eosvos.inference.segmenter import Segmenter
from eosvos.inference.stream import MaskWriter, check_size, decoded
from eosvos.inference.suggestion import suggest
from eosvos.methods.protocol import LearningMethod, Method


def segment(
    make_method: Callable[[], Method],
    sequence: VideoSequence,
    out: str | Path,
    *,
    device: torch.device | str = "cpu",
    save_every: float = 60.0,
    tick: Callable[[int], object] | None = None,
) -> None:
    """Write the id mask of every frame to `out`/masks/FRAME.png.

    From the first frame with an object the video is segmented forwards to its end, with objects of later masks added on
    their frames, and backwards to its beginning, with the objects of that first frame. Then, unless masks are complete
    (`VideoSequence.annotated_ids` is empty), the objects of later masks are followed backwards from these, too: a mask
    that does not show them does not tell that they are absent. They get the pixels that no other object has. A method
    that learns is fine-tuned on all masks of an object from the start; others take a mask on its frame. The frames of a
    large video file are counted after the first one is segmented, unless masks on later frames need that before.

    An interrupted run continues at its last saved state, on a CPU with the same masks as if it had not been
    interrupted.

    Args:
        make_method: gives a new method.
        sequence: the video with its annotated frames.
        out: the run's folder.
        device: of the method, for loading a state.
        save_every: seconds between two saved states; one is saved after the fine-tuning, too.
        tick: called with the number of frames that were done since the last call.

    Raises:
        UserError: if another process works in `out`, a frame cannot be read, or a mask cannot be written.
    """
    with locked(out):
        for folder in (Path(out) / "masks", Path(out) / "state"):
            remove_temporary(folder)
        _segment(make_method, sequence, Path(out), device, save_every, tick)


def _segment(
    make_method: Callable[[], Method],
    sequence: VideoSequence,
    out: Path,
    device: torch.device | str,
    save_every: float,
    tick: Callable[[int], object] | None,
) -> None:
    passes = _passes(sequence)
    number, at, segmenter = _saved_state(sequence, passes, out, device)
    if tick is not None and (number or at):
        tick(sum(part.length(sequence) for part in passes[:number]) + at)
    while number < len(passes):
        part = passes[number]
        if segmenter is None:
            segmenter, at = _begin_pass(make_method, sequence, number, part, out, device)
            if at and tick is not None:
                tick(at)
        late_frames = {other.first for other in passes if other.late}
        with MaskWriter(out / "masks") as writer, closing(_segment_pass(segmenter, sequence, part, at)) as masks:
            saved = time.monotonic()
            for done, ids in enumerate(masks, at + 1):
                index = part.frame(done - 1)
                name = sequence.frame_names[index]
                writer.put(name, _behind(out / "masks" / f"{name}.png", ids, part.late) if part.late else ids.copy())
                if part.step > 0 and index in late_frames:
                    segmenter.save(_late_state(out, index))
                uncertainty = {str(i): round(value, 4) for i, value in segmenter.uncertainty.items()}
                append_line(out / "uncertainty.jsonl", json.dumps({"frame": name, **uncertainty}))
                first = done == 1 and not (sequence.counted and part.length(sequence) == 1)
                if first or (time.monotonic() - saved >= save_every and done < part.length(sequence)):
                    writer.flush()
                    _save(segmenter, out, number, done)
                    saved = time.monotonic()
                if tick is not None:
                    tick(1)
        number, at, segmenter = number + 1, 0, None
    shutil.rmtree(out / "state", ignore_errors=True)


def suggested(sequence: VideoSequence, out: str | Path, annotated: Collection[int]) -> int | None:
    """Choose the frame to annotate next, from the uncertainties that `segment` has written so far.

    Args:
        sequence: the video.
        out: the run's folder.
        annotated: indices of the annotated frames.

    Returns:
        The index of the frame, see inference/suggestion.py; None if there is none.
    """
    uncertain, seen = uncertainties(sequence, out)
    return suggest(uncertain, annotated, seen)


def uncertainties(sequence: VideoSequence, out: str | Path) -> tuple[dict[int, list[float]], set[int]]:
    """Read the uncertainties that `segment` has written so far.

    Args:
        sequence: the video.
        out: the run's folder.

    Returns:
        The uncertainty of every frame by object id, nan where it is unknown; and the indices of the frames with a mask.
    """
    path, place = Path(out) / "uncertainty.jsonl", {name: k for k, name in enumerate(sequence.frame_names)}
    uncertain = {i: [math.nan] * len(sequence) for i in sequence.first_frame}
    seen = set()
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            line_content = json.loads(line)
        except ValueError:  # the last one, cut off
            continue
        seen.add(place[line_content["frame"]])
        for i in uncertain.keys() & {int(key) for key in line_content if key != "frame"}:
            uncertain[i][place[line_content["frame"]]] = line_content[str(i)]
    return uncertain, seen


def total(sequence: VideoSequence) -> int:
    """Count the masks that `segment` makes; the first annotated frame counts twice if there are frames before it."""
    return sum(part.length(sequence) for part in _passes(sequence))


class _Pass(NamedTuple):
    """A pass from a frame to the end of the video (step 1) or to its beginning (step -1); of `late` alone, if any."""

    first: int
    step: int
    late: tuple[int, ...] = ()

    def frame(self, number: int) -> int:
        return self.first + self.step * number

    def length(self, sequence: VideoSequence) -> int:
        return self.first + 1 if self.step < 0 else len(sequence) - self.first

    def frames(self, sequence: VideoSequence, at: int) -> range:
        """Return the frame indices of the pass from its number `at` on."""
        return range(self.frame(at), self.frame(self.length(sequence)), self.step)


def _passes(sequence: VideoSequence) -> list[_Pass]:
    first = min(sequence.first_frame.values())
    late: dict[int, list[int]] = {}
    for i, frame in sequence.first_frame.items() if sequence.annotated_ids else ():
        if frame > first:
            late.setdefault(frame, []).append(i)
    back = [_Pass(frame, -1, tuple(late[frame])) for frame in sorted(late)]
    return [_Pass(first, -1)] * (first > 0) + [_Pass(first, 1)] + back


def _behind(path: Path, ids: np.ndarray, late: Collection[int]) -> np.ndarray:
    """Put the objects `late` of an id mask behind those of a written one; they may be in it from a run that was cut
    off."""
    others = read_mask(path, size=ids.shape)
    return np.where((others > 0) & ~np.isin(others, list(late)), others, ids).astype(np.uint8)


def _learn(segmenter: Segmenter, sequence: VideoSequence, wanted: Collection[int]) -> None:
    """Fine-tune on the masks of the objects `wanted`, but those of their first frame."""
    for index in sequence.prompt_frames if isinstance(segmenter.method, LearningMethod) else ():
        masks = {i: mask for i, mask in sequence.prompt_masks(index).items() if i in wanted}
        if masks:
            segmenter.learn(sequence.frame(index), masks)


def _begin_pass(
    make_method: Callable[[], Method],
    sequence: VideoSequence,
    number: int,
    part: _Pass,
    out: Path,
    device: torch.device | str,
) -> tuple[Segmenter, int]:
    """Return the segmenter of a pass, and how many of its frames are done: 1 if an earlier pass has left its state."""
    path = _late_state(out, part.first) if part.late else _state(out, 0, 1)
    if number and path.exists():
        segmenter = Segmenter.load(path, device=device)
        if part.late:
            segmenter.remove([i for i in segmenter.object_ids if i not in part.late])
        else:  # fine-tuned for the way back
            _learn(segmenter, sequence, [i for i, first in sequence.first_frame.items() if first > part.first])
        return segmenter, 1
    segmenter = Segmenter(make_method())
    _learn(
        segmenter, sequence, [i for i, first in sequence.first_frame.items() if first == part.first or part.step > 0]
    )
    return segmenter, 0


def _segment_pass(
    segmenter: Segmenter, sequence: VideoSequence, part: _Pass, at: int
) -> Generator[np.ndarray, None, None]:
    """Segment the frames of a pass from its number `at` on; yields id masks."""
    if at == 0:  # separately: the other frames may not be counted yet
        frame = sequence.frame(part.first)
        check_size(sequence, part.first, tuple(frame.shape[-2:]), "frame")
        yield segmenter.start(frame, sequence.new_objects(part.first))
        at = 1
    with closing(decoded(sequence, part.frames(sequence, at))) as frames:
        for number, (frame, new, given) in enumerate(frames, at):
            check_size(sequence, part.frame(number), tuple(frame.shape[-2:]), "frame")
            ids = segmenter.step(frame)
            if new and part.step > 0:
                ids = segmenter.add(frame, new)
            given = {i: mask for i, mask in given.items() if i in segmenter.object_ids}
            if given:
                ids = segmenter.show(frame, given)
            yield ids


def _save(segmenter: Segmenter, out: Path, number: int, done: int) -> None:
    """Save a state as out/state/PASS-FRAMES.safetensors and remove older ones, except the first of the first pass."""
    path = _state(out, number, done)
    segmenter.save(path)
    for old in _states(out):
        if old != path and (number or old != _state(out, 0, 1)):
            old.unlink()


def _state(out: Path, number: int, done: int) -> Path:
    return out / "state" / f"{number}-{done}.safetensors"


def _late_state(out: Path, first: int) -> Path:
    """Return the path of the state after frame `first`, on which objects were added that are then followed back."""
    return out / "state" / f"late-{first}.safetensors"


def _states(out: Path) -> list[Path]:
    """Return the saved states."""
    names = listed(out / "state", ".safetensors")
    return [out / "state" / name for name in names if re.fullmatch(r"\d+-\d+\.safetensors", name)]


def _saved_state(
    sequence: VideoSequence, passes: list[_Pass], out: Path, device: torch.device | str
) -> tuple[int, int, Segmenter | None]:
    """Load the last state of an interrupted run.

    Returns the number of the pass, how many of its frames are done, and the state; (0, 0, None) if there is no state or
    a mask is missing.
    """
    places = [(int(a), int(b)) for a, b in (path.stem.split("-") for path in _states(out))]
    if not places:
        return 0, 0, None
    number, done = max(places)
    frames = [i for part in passes[:number] for i in part.frames(sequence, 0)]
    frames += map(passes[number].frame, range(done))
    if not all((out / "masks" / f"{sequence.frame_names[i]}.png").is_file() for i in frames):
        return 0, 0, None
    return number, done, Segmenter.load(_state(out, number, done), device=device)
