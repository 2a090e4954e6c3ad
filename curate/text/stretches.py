"""Stretches between white space, as `str.split` sees them, found 64 bytes a step."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from curate.text.arrow import Bytes, Offsets
from curate.text.blocks import ALL, ONE, Int, Mask, below, block, lowest, spare, within
from curate.text.jit import inlined, kernel

Positions = npt.NDArray[np.int32]


def find_stretches(data: Bytes, offsets: Offsets) -> tuple[Offsets, Positions, Positions]:
    """The stretches of text i are first[i] to first[i + 1]; each is start to end, in bytes of its text."""
    most = int(offsets[-1] - offsets[0]) // 2 + len(offsets)  # memory that none fills is never touched
    first = np.zeros(len(offsets), np.int64)
    start, end = np.empty(most, np.int32), np.empty(most, np.int32)
    _scan(data, offsets, spare(), first, start, end)
    return first, start[: first[-1]], end[: first[-1]]


@kernel
def _scan(
    data: Bytes, offsets: Offsets, room: Bytes, first: Offsets, start: Positions, end: Positions
) -> None:
    opened = closed = 0
    for text in range(len(offsets) - 1):
        base, stop = offsets[text], offsets[text + 1]
        before, spill = ONE, Mask(0)
        for at in range(base, stop + (stop > base), 64):  # to `stop`, where the last stretch may end
            here = block(data, at, room)
            live = below(stop - at) if stop - at < 64 else ALL
            white = within(here, 0x20, 1) | within(here, 9, 5) | within(here, 28, 4) | ~live | spill
            spill = Mask(0)
            wide = (within(here, 0xC2, 1) | within(here, 0xE1, 3)) & live
            while wide:
                bit = lowest(wide)
                wide &= wide - ONE
                width = _wide_space(data, at + bit, stop)
                white |= below(width) << Mask(bit)
                spill |= below(max(bit + width - 64, 0))
            shifted = white << ONE | before
            before = white >> Mask(63)
            starts, ends = ~white & shifted, white & ~shifted
            while starts:
                start[opened] = at - base + lowest(starts)
                opened += 1
                starts &= starts - ONE
            while ends:
                end[closed] = at - base + lowest(ends)
                closed += 1
                ends &= ends - ONE
        first[text + 1] = opened


@inlined
def _wide_space(data: Bytes, at: Int, stop: Int) -> Int:
    """Bytes of the white space at `at`, one of 0xC2 and 0xE1 to 0xE3; 0 if it is another character."""
    lead = data[at]
    second = data[at + 1] if at + 1 < stop else np.uint8(0)
    third = data[at + 2] if at + 2 < stop else np.uint8(0)
    if lead == 0xC2:
        width = 2 * (second == 0x85 or second == 0xA0)
    elif lead == 0xE1:
        width = 3 * (second == 0x9A and third == 0x80)
    elif lead == 0xE3:
        width = 3 * (second == 0x80 and third == 0x80)
    else:
        spaces = third <= 0x8A or third in (0xA8, 0xA9, 0xAF)
        width = 3 * ((second == 0x80 and third >= 0x80 and spaces) or (second == 0x81 and third == 0x9F))
    return width
