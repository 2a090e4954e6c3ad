"""Sums over the bytes of every text, 64 of them a step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.text.arrow import Bytes, Offsets, buffers
from curate.text.blocks import ALL, ONE, Mask, below, block, ones, spare, within
from curate.text.jit import kernel

Counts = npt.NDArray[np.int64]
_LAST = ONE << Mask(63)


@dataclass(frozen=True)
class Sums:
    """Of each text (int64, n): code points, `\\n`, and whether it may hold a script without spaces (0: it does not)."""

    characters: Counts
    newlines: Counts
    unspaced: Counts


def sum_texts(text: pa.LargeStringArray) -> Sums:
    """The sums of each text.

    Raises:
        CurateError: a text has 2 GiB or more.
    """
    data, offsets = buffers(text)
    sums = np.zeros((3, len(text)), np.int64)
    _sum(data, offsets, spare(), *sums)
    return Sums(*sums)


@kernel
def _sum(
    data: Bytes, offsets: Offsets, room: Bytes, characters: Counts, newlines: Counts, unspaced: Counts
) -> None:
    """Scripts without spaces begin at U+0E00; U+2000 to U+2E7F, marks of English, have none of them (`unicode.py`)."""
    for text in range(len(offsets) - 1):
        base, stop = offsets[text], offsets[text + 1]
        inner, lines, wide = 0, 0, Mask(0)
        for at in range(base, stop, 64):
            here = block(data, at, room)
            live = below(stop - at) if stop - at < 64 else ALL
            inner += ones(within(here, 0x80, 0x40) & live)
            lines += ones(within(here, 0x0A, 1) & live)
            marks = within(here, 0xE2, 1) & ~(within(here, 0xBA, 6) >> ONE | _LAST)
            wide |= within(here, 0xE0, 0x20) & ~marks & live
        characters[text] = stop - base - inner
        newlines[text] = lines
        unspaced[text] = wide != Mask(0)
