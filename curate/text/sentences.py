"""Sentences of a line, from the marks of its stretches."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.text.arrow import Bytes, Offsets, buffers
from curate.text.blocks import Int
from curate.text.jit import inlined, kernel
from curate.text.memory import get, load_byte
from curate.text.tokens import EXIT_UNSEEN, STARTS, STARTS_SEEN, Tokens

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
    source, starts = np.int64(data.ctypes.data), np.int64(start.ctypes.data)
    ends, addressed = np.int64(end.ctypes.data), np.int64(marks.ctypes.data)
    for text in range(len(offsets) - 1):
        stop = offsets[text + 1] - offsets[text]
        found[text], _ = sentences_of(
            source + offsets[text], stop, starts, ends, addressed, first[text], first[text + 1], True
        )


@inlined
def sentences_of(
    source: Int, stop: Int, starts: Int, ends: Int, marks: Int, stretch: Int, last: Int, trailing: bool
) -> tuple[Int, Int]:
    """Sentences of a line that ends at `stop`, of the text at an address, and the first stretch behind it.

    `trailing`: whether white space at the end of the line counts.
    """
    count, seen = 1, 0
    while stretch < last and get(starts, stretch) < stop:
        mark = get(marks, stretch)
        count += mark >> STARTS_SEEN * seen & STARTS
        seen = mark >> EXIT_UNSEEN + seen & 1
        stretch += 1
        if seen:
            after = get(ends, stretch - 1)
            until = min(get(starts, stretch), stop) if stretch < last else stop
            until = until if until < stop or trailing else after
            if until > after and not (until == after + 1 and load_byte(source + after) == 0x20):
                count += 1
                seen = 0
    return count, stretch
