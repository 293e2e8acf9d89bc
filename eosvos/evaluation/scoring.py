"""J and F of many sequences' masks, by several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from eosvos.evaluation.metrics.region_contour import Scores, score_sequence
from eosvos.evaluation.processes import spread

if TYPE_CHECKING:
    from eosvos.data.sequence import Sequence

Item = tuple["Sequence", Callable[[int], np.ndarray]]


def score_sequences(items: Iterable[Item], processes: int = 1, **rules: Any) -> Iterator[tuple[str, Scores]]:
    """The name and scores of each sequence, as they are finished.

    An item is a sequence, read for its truth, and a function that reads the id mask uint8 (H, W) of frame i; both must
    be picklable where there are several processes. `rules`: protocol, ends, void and measures of `score_sequence`.
    Raises what `score_sequence` and `spread` do; a ValueError names the sequence.
    """
    longest_first = sorted(items, key=lambda item: len(item[0]), reverse=True)
    return spread(partial(score_one, rules), longest_first, processes)


def score_one(rules: Mapping[str, Any], item: Item) -> tuple[str, Scores]:
    """The name and scores of one sequence, as of `score_sequences`."""
    sequence, read_prediction = item
    frames = range(len(sequence)) if sequence.truth else ()
    try:
        rules = {**rules, "last": sequence.last}
        return sequence.name, score_sequence(read_prediction, sequence.mask, sequence.objects, frames, **rules)
    except ValueError as error:
        if type(error) is not ValueError:  # a UserError names its file
            raise
        raise ValueError(f"{sequence.name}, {error}") from error
