"""Where a span may be cut so that whole lines or sentences go: its ends move inward to the next such border.

A span begins where no white space follows, so that none is only white space.

A line ends at a line feed. A sentence ends there too, behind `. ! ? …` and closing quotes or brackets if white
space follows, and behind 。！？ in any case; an abbreviation's dot is taken for an end.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from curate.dedup.shingles import I64, U8
from curate.text.jit import kernel


@kernel
def _white(byte: np.uint8) -> bool:
    return byte in (0x20, 0x09, 0x0A, 0x0D)


@kernel
def _is_border(store: U8, at: int, start: int, stop: int, sentences: bool) -> bool:
    """Whether a line (or sentence) ends or begins at a place of the document `start` to `stop`."""
    if at in (start, stop) or store[at] == 0x0A or store[at - 1] == 0x0A:
        return True
    if not sentences or store[at] & 0xC0 == 0x80:
        return False
    back = at
    while back > start and store[back - 1] in (0x20, 0x09):
        back -= 1
    spaced = back < at or _white(store[at])
    while back > start and store[back - 1] in (0x22, 0x27, 0x29, 0x5D):  # " ' ) ]
        back -= 1
    while back - start >= 3 and _is(store, back, 0xE2, 0x80) and store[back - 1] in (0x99, 0x9D):  # ’ ”
        back -= 3
    if spaced and back > start and store[back - 1] in (0x2E, 0x21, 0x3F):
        return True
    if back - start < 3:
        return False
    last = store[back - 1]
    if spaced and _is(store, back, 0xE2, 0x80) and last == 0xA6:  # …
        return True
    return (_is(store, back, 0xE3, 0x80) and last == 0x82) or (
        _is(store, back, 0xEF, 0xBC) and last in (0x81, 0x9F)
    )


@kernel
def _is(store: U8, behind: int, one: int, two: int) -> bool:
    """Whether the character of three bytes before a place begins with these two."""
    return bool(store[behind - 3] == one and store[behind - 2] == two)


@kernel
def shrink(store: U8, spans: I64, starts: I64, stops: I64, sentences: bool) -> npt.NDArray[np.bool_]:
    """Move the ends of spans (start, stop, source; sorted) inward, in place; which of them are not empty then.

    `starts` and `stops` are those of the document of each span. Spans that touch are cut as one.
    """
    count = len(spans)
    joined = np.zeros(count + 1, np.bool_)  # with the span before
    for i in range(1, count):
        joined[i] = spans[i, 0] == spans[i - 1, 1] and spans[i, 0] > starts[i]
    for i in range(count):
        if joined[i] and spans[i - 1, 0] < spans[i - 1, 1]:
            continue
        begin = spans[i, 0]
        while begin < spans[i, 1] and (
            _white(store[begin]) or not _is_border(store, begin, starts[i], stops[i], sentences)
        ):
            begin += 1
        spans[i, 2] += begin - spans[i, 0]
        spans[i, 0] = begin
    for j in range(count):
        i = count - 1 - j
        if joined[i + 1] and spans[i + 1, 0] < spans[i + 1, 1]:
            continue
        while spans[i, 1] > spans[i, 0] and not _is_border(
            store, spans[i, 1], starts[i], stops[i], sentences
        ):
            spans[i, 1] -= 1
    return spans[:, 0] < spans[:, 1]
