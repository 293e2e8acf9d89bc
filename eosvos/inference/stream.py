"""Walk a method through a video: frames are decoded ahead in a thread, masks are written in another."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path

import numpy as np
from torch import Tensor

from eosvos.data.masks import write_mask
from eosvos.data.sequence import VideoSequence
from eosvos.errors import UserError
from eosvos.inference.suggestion import uncertainty
from eosvos.methods.protocol import LearningMethod, Method

AHEAD = 4  # largest number of decoded frames and of unwritten masks in memory


def walk(method: Method, sequence: VideoSequence) -> Generator[np.ndarray, None, None]:
    """Segment a sequence; yields the id mask, uint8 (H, W), of every frame in order.

    Frames before the first object have an empty mask; objects that appear later are added on their first frames. On
    further annotated frames of the sequence the method is fine-tuned before it starts; their masks override its
    predictions on them.

    Args:
        method: a new method.
        sequence: the video with its annotated frames.

    Raises:
        UserError: if a frame or mask is not of the sequence's size, or the method cannot be fine-tuned on more.
    """
    started = False
    for index in sequence.prompt_frames:
        masks = sequence.prompt_masks(index)
        for mask in masks.values():
            check_size(sequence, index, mask.shape, "mask")
        if masks:
            learning_method(method).learn(sequence.frame(index), masks)
    with closing(decoded(sequence)) as frames:
        for index, (frame, new, given) in enumerate(frames):
            check_size(sequence, index, tuple(frame.shape[-2:]), "frame")
            for mask in new.values():
                check_size(sequence, index, mask.shape, "mask")
            if started:
                mask = method.step(frame)
                if new:
                    mask = method.add(frame, new)
                given = {i: m for i, m in given.items() if i in method.object_ids}
                if given:
                    mask = learning_method(method).show(frame, given)
            elif new:
                mask, started = method.start(frame, new), True
            else:
                mask = np.zeros(sequence.size, np.uint8)
            if mask.shape != sequence.size or mask.dtype != np.uint8:
                raise ValueError(
                    f"{type(method).__name__} gave a mask {mask.dtype} {mask.shape}, frames {sequence.size}"
                )
            yield mask


def segment(
    method: Method,
    sequence: VideoSequence,
    folder: Path,
    tick: Callable[[int], object] | None = None,
    uncertain: dict[int, list[float]] | None = None,
    boxes: dict[int, list[list[float] | None]] | None = None,
) -> tuple[float, float | None]:
    """Segment a sequence and write the id mask of every frame to `folder`/FRAME.png.

    Args:
        method: a new method.
        sequence: the video with its annotated frames.
        folder: where masks are written, in a thread.
        tick: called with 1 after each frame.
        uncertain: lists by object id to which the uncertainty of each frame is appended (see `suggestion`), nan before
            the object appears.
        boxes: lists by object id to which the detected box of each frame is appended, see `note_boxes`.

    Returns:
        Seconds of decoding, fine-tuning and inference, without writing and uncertainty; and the seconds of fine-tuning,
        None if the method does not measure them.

    Raises:
        UserError: if a frame cannot be read or a mask cannot be written; no partial file is left.
    """
    begin = end = time.perf_counter()
    waited = wait = 0.0
    with MaskWriter(folder) as writer, closing(walk(method, sequence)) as masks:
        for name, mask in zip(sequence.frame_names, masks, strict=True):
            end = time.perf_counter()
            waited += wait  # of the frames before: the last one's lies behind `end`
            writer.put(name, mask.copy())  # the method may go on in the same memory
            if uncertain is not None:
                note_uncertainty(method, uncertain)
            if boxes is not None:
                note_boxes(method, boxes)
            wait = time.perf_counter() - end
            if tick is not None:
                tick(1)
    return max(end - begin - waited, 1e-9), getattr(method, "adapt_seconds", None)


def note_uncertainty(method: Method, uncertain: dict[int, list[float]]) -> None:
    """Append the uncertainty of the last frame by object id; nan if the method gives no probabilities."""
    planes = getattr(method, "probabilities", None)
    now = {} if planes is None else dict(zip(method.object_ids, uncertainty(planes), strict=True))
    for i, values in uncertain.items():
        values.append(round(now.get(i, math.nan), 4))


def note_boxes(method: Method, boxes: dict[int, list[list[float] | None]]) -> None:
    """Append the boxes detected in the last frame, xyxy in pixels, by object id; None where there is none.

    Of a method that detects no boxes (no attribute `boxes`) nothing is appended.
    """
    now: dict[int, list[float]] | None = getattr(method, "boxes", None)
    if now is not None:
        for i, values in boxes.items():
            values.append([round(side, 1) for side in now[i]] if i in now else None)


def learning_method(method: Method) -> LearningMethod:
    """Return the method. Raises UserError if it cannot learn from further annotated frames."""
    if isinstance(method, LearningMethod):
        return method
    raise UserError(
        f"{type(method).__name__} cannot learn from more annotations than an object's first; a method that is "
        "fine-tuned can, such as method=eosvos"
    )


def check_size(sequence: VideoSequence, index: int, size: tuple[int, ...], what: str) -> None:
    """Raise UserError if the size (H, W) of a frame or mask (`what`) is not that of the sequence."""
    if tuple(size) != tuple(sequence.size):
        raise UserError(
            f"{sequence.name}: the {what} of frame {sequence.frame_names[index]} is {size[0]}x{size[1]} (height x "
            f"width), expected {sequence.size[0]}x{sequence.size[1]} as the others; mend or remove this file"
        )


Decoded = tuple[Tensor, dict[int, np.ndarray], dict[int, np.ndarray]]


def decoded(sequence: VideoSequence, order: Iterable[int] | None = None) -> Generator[Decoded, None, None]:
    """Decode frames in a thread, at most `AHEAD` frames ahead.

    Args:
        sequence: the video.
        order: indices of the frames; None: all.

    Yields:
        The frame, float32 (3, H, W); the first masks of the objects that appear in it, and its further given masks,
        both bool (H, W) by object id.
    """

    def decode(index: int) -> Decoded:
        return sequence.frame(index), sequence.new_objects(index), sequence.prompt_masks(index)

    indices = iter(range(len(sequence)) if order is None else order)
    thread = ThreadPoolExecutor(1, "decode")
    try:
        ahead = deque(thread.submit(decode, index) for index in islice(indices, AHEAD))
        while ahead:
            frame = ahead.popleft().result()
            ahead.extend(thread.submit(decode, index) for index in islice(indices, 1))
            yield frame
    finally:
        thread.shutdown(cancel_futures=True)


class MaskWriter:
    """Writes masks in a thread; its first error ends the writing and is raised by the next `put` or at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.error: BaseException | None = None
        self.thread = ThreadPoolExecutor(1, "write")
        self.unwritten: deque[Future[None]] = deque()

    def put(self, name: str, mask: np.ndarray) -> None:
        self._raise()
        if len(self.unwritten) > AHEAD:
            self.unwritten.popleft().result()
        self.unwritten.append(self.thread.submit(self._write, name, mask))

    def flush(self) -> None:
        """Wait until all masks are written."""
        while self.unwritten:
            self.unwritten.popleft().result()
        self._raise()

    def _write(self, name: str, mask: np.ndarray) -> None:
        if self.error is None:
            try:
                write_mask(self.folder / f"{name}.png", mask)
            except BaseException as error:
                self.error = error

    def _raise(self) -> None:
        if self.error is not None:
            raise self.error

    def __enter__(self) -> MaskWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.thread.shutdown()
        if kind is None:
            self._raise()
