"""Lines of every text of a batch, as `str.splitlines` sees them, empty ones included; and marks in a text.

A line ends at \\n, \\r, \\r\\n, \\v, \\f, U+001C to U+001E, U+0085, U+2028 or U+2029; what follows the last line
end is a line only if it is not empty.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.text.arrow import Bytes, Offsets, buffers
from curate.text.blocks import ALL, ONE, Int, Mask, below, block, lowest, ones, spare, within
from curate.text.jit import inlined, kernel
from curate.text.unicode import SPACE, Index, Pages, class_of, classes, decode

Counts = npt.NDArray[np.int64]
Positions = npt.NDArray[np.int32]

_LAST = ONE << Mask(63)
_ELLIPSIS = 0x2026
_BULLET = 0x2022


@dataclass(frozen=True)
class Lines:
    """Line positions of n texts.

    The lines of text i are `first[i]` to `first[i + 1]` (int64, n + 1); line j is the bytes `start[j]` to
    `end[j]` (int32) of its text, without its end.
    """

    first: npt.NDArray[np.int64]
    start: Positions
    end: Positions

    @property
    def lines(self) -> Counts:
        """Number of lines of each text."""
        return np.diff(self.first)


def find_lines(text: pa.LargeStringArray) -> Lines:
    """The lines of each text.

    Raises:
        CurateError: a text has 2 GiB or more.
    """
    data, offsets = buffers(text)
    most = int(offsets[-1] - offsets[0])  # memory that no line fills is never touched
    first = np.zeros(len(text) + 1, np.int64)
    start, end = np.empty(most, np.int32), np.empty(most, np.int32)
    _scan(data, offsets, spare(), first, start, end)
    return Lines(first, start[: first[-1]], end[: first[-1]])


@kernel
def _scan(
    data: Bytes,
    offsets: Offsets,
    room: Bytes,
    first: npt.NDArray[np.int64],
    start: Positions,
    end: Positions,
) -> None:
    slot = 0
    for text in range(len(offsets) - 1):
        base, stop = offsets[text], offsets[text + 1]
        opened = base
        for at in range(base, stop, 64):
            here = block(data, at, room)
            second = within(here, 0xC2, 1) & (within(here, 0x85, 1) >> ONE | _LAST)
            third = within(here, 0xE2, 1) & (within(here, 0xA8, 2) >> Mask(2) | _LAST | _LAST >> ONE)
            breaks = within(here, 10, 4) | within(here, 0x1C, 3) | second | third
            breaks &= below(stop - at) if stop - at < 64 else ALL
            while breaks:
                edge = at + lowest(breaks)
                breaks &= breaks - ONE
                width = 1 if data[edge] == 0x0A else _break(data, edge, stop)
                if width == 0 or edge < opened:  # another character, or the second half of \r\n
                    continue
                start[slot], end[slot] = opened - base, edge - base
                slot += 1
                opened = edge + width
        if opened < stop:
            start[slot], end[slot] = opened - base, stop - base
            slot += 1
        first[text + 1] = slot


@inlined
def _break(data: Bytes, at: Int, stop: Int) -> Int:
    """Bytes of the line end at `at`; 0 if it is none. The byte is one that begins a line end."""
    byte, width = data[at], 1
    if byte == 0x0D:
        width = 2 if at + 1 < stop and data[at + 1] == 0x0A else 1
    elif byte == 0xC2:
        width = 2 if at + 1 < stop and data[at + 1] == 0x85 else 0
    elif byte == 0xE2:
        wide = at + 2 < stop and data[at + 1] == 0x80 and data[at + 2] & 0xFE == 0xA8
        width = 3 if wide else 0
    return width


def count_line_marks(text: pa.LargeStringArray, lines: Lines) -> tuple[Counts, Counts]:
    """For each text: lines that begin with `•` or `-`, lines that end in `...` or `…`; white space aside."""
    data, offsets = buffers(text)
    bullets, ellipses = np.zeros(len(text), np.int64), np.zeros(len(text), np.int64)
    _line_marks(data, offsets, *classes(), lines.first, lines.start, lines.end, bullets, ellipses)
    return bullets, ellipses


@kernel
def _line_marks(
    data: Bytes,
    offsets: Offsets,
    index: Index,
    pages: Pages,
    first: npt.NDArray[np.int64],
    start: Positions,
    end: Positions,
    bullets: Counts,
    ellipses: Counts,
) -> None:
    for text in range(len(offsets) - 1):
        for line in range(first[text], first[text + 1]):
            at, stop = offsets[text] + start[line], offsets[text] + end[line]
            while at < stop:
                point, width = decode(data, at, stop)
                if not class_of(index, pages, point) & SPACE:
                    bullets[text] += point == _BULLET or point == 0x2D
                    break
                at += width
            while stop > at:
                back = stop - 1
                while back > max(at, stop - 4) and data[back] & 0xC0 == 0x80:
                    back -= 1
                point, _ = decode(data, back, stop)
                if not class_of(index, pages, point) & SPACE:
                    dots = (
                        stop - at >= 3
                        and data[back] == 0x2E
                        and data[back - 1] == 0x2E
                        and data[back - 2] == 0x2E
                    )
                    ellipses[text] += point == _ELLIPSIS or dots
                    break
                stop = back


def count_marks(text: pa.LargeStringArray) -> tuple[Counts, Counts]:
    """For each text: number signs, and ellipses (`...` without overlap, and `…`)."""
    data, offsets = buffers(text)
    hashes, ellipses = np.zeros(len(text), np.int64), np.zeros(len(text), np.int64)
    _marks(data, offsets, spare(), hashes, ellipses)
    return hashes, ellipses


@kernel
def _marks(data: Bytes, offsets: Offsets, room: Bytes, hashes: Counts, ellipses: Counts) -> None:
    for text in range(len(offsets) - 1):
        base, stop = offsets[text], offsets[text + 1]
        run, last = 0, base - 1
        for at in range(base, stop, 64):
            here = block(data, at, room)
            live = below(stop - at) if stop - at < 64 else ALL
            hashes[text] += ones(within(here, 0x23, 1) & live)
            dots = (within(here, 0x2E, 1) | within(here, 0xE2, 1)) & live
            while dots:
                place = at + lowest(dots)
                dots &= dots - Mask(1)
                if data[place] == 0x2E:
                    run = run + 1 if place == last + 1 else 1
                    last = place
                    if run == 3:
                        ellipses[text] += 1
                        run = 0
                else:
                    ellipses[text] += place + 2 < stop and data[place + 1] == 0x80 and data[place + 2] == 0xA6
