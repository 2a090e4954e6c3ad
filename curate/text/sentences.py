"""Sentences of a line, from the marks of its stretches."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.text.arrow import Bytes, Offsets, buffers
from curate.text.blocks import Int
from curate.text.jit import inlined, kernel
from curate.text.tokens import EXIT_SEEN, EXIT_UNSEEN, STARTS, STARTS_SEEN, STARTS_UNSEEN, Tokens

Counts = npt.NDArray[np.int64]
Marks = npt.NDArray[np.uint32]
Positions = npt.NDArray[np.int32]


def count_sentences(lines: pa.LargeStringArray, tokens: Tokens) -> Counts:
    """Sentences of each text, taken for one line: at least 1.

    As spaCy's sentencizer counts: white space other than one single space between two stretches is a token of
    its own, with which a sentence can begin.
    """
    data, offsets = buffers(lines)
    found = np.zeros(len(lines), np.int64)
    _count(data, offsets, tokens.stretch_first, tokens.stretch_start, tokens.stretch_end, tokens.marks, found)
    return found


@kernel
def _count(
    data: Bytes,
    offsets: Offsets,
    first: Offsets,
    start: Positions,
    end: Positions,
    marks: Marks,
    found: Counts,
) -> None:
    for text in range(len(offsets) - 1):
        low, high = first[text], first[text + 1]
        found[text] = sentences_of(data, offsets[text], offsets[text + 1], start, end, marks, low, high)


@inlined
def sentences_of(
    data: Bytes, base: Int, stop: Int, start: Positions, end: Positions, marks: Marks, low: Int, high: Int
) -> Int:
    """Sentences in the stretches `low` to `high` of the text at `base`; their line ends at `stop`."""
    count: Int = 1
    seen = False
    for stretch in range(low, high):
        mark = np.int64(marks[stretch])
        count += mark >> STARTS_SEEN & STARTS if seen else mark >> STARTS_UNSEEN & STARTS
        seen = (mark >> EXIT_SEEN if seen else mark >> EXIT_UNSEEN) & 1 == 1
        after = base + end[stretch]
        until = base + start[stretch + 1] if stretch + 1 < high else stop
        if seen and until > after and not (until == after + 1 and data[after] == 0x20):
            count += 1
            seen = False
    return count
