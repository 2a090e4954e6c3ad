"""Pieces of every text (paragraphs, lines) between line ends, and how much of a text its repeated pieces are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.text.arrow import Bytes, Offsets, buffers
from curate.text.blocks import ALL, ONE, Int, below, block, lowest, spare, within
from curate.text.hashing import continued, hash_bytes, same_bytes, table_size
from curate.text.jit import inlined, kernel
from curate.text.lines import Lines
from curate.text.punctuation import is_in, marked
from curate.text.unicode import SPACE, Index, Pages, class_of, classes, decode

Counts = npt.NDArray[np.int64]
Positions = npt.NDArray[np.int32]

_UPPER = np.uint64(32)
_AGAIN, _PLACE = np.uint64(1 << 31), np.uint64((1 << 31) - 1)


def split_pieces(
    text: pa.LargeStringArray, newlines: int, *, runs: bool = True, strip: bool = False
) -> Lines:
    """What lies between runs of that many `\\n` or more, `re.split(r"\\n{newlines,}", text)`; at least one piece.

    Without `runs`, what lies between exactly as many, `text.split("\\n" * newlines)`. `strip` leaves out white
    space around the whole text first.

    Raises:
        CurateError: a text has 2 GiB or more.
    """
    data, offsets = buffers(text)
    most = int(offsets[-1] - offsets[0]) // newlines + len(text)  # memory that none fills is never touched
    first = np.zeros(len(text) + 1, np.int64)
    start, end = np.empty(most, np.int32), np.empty(most, np.int32)
    _split(data, offsets, spare(), *classes(), newlines, runs, strip, first, start, end)
    return Lines(first, start[: first[-1]], end[: first[-1]])


@kernel
def _split(
    data: Bytes,
    offsets: Offsets,
    room: Bytes,
    index: Index,
    pages: Pages,
    newlines: Int,
    runs: bool,
    strip: bool,
    first: Offsets,
    start: Positions,
    end: Positions,
) -> None:
    slot = 0
    for text in range(len(offsets) - 1):
        base, origin, stop = offsets[text], offsets[text], offsets[text + 1]
        if strip:
            origin, stop = stripped(data, origin, stop, index, pages)
        opened, run, edge = origin, 0, origin - 2
        for at in range(origin, stop, 64):
            breaks = within(block(data, at, room), 10, 1) & (below(stop - at) if stop - at < 64 else ALL)
            while breaks:
                place = at + lowest(breaks)
                breaks &= breaks - ONE
                full = run >= newlines
                if full and not (runs and place == edge + 1):
                    start[slot], end[slot] = opened - base, edge + 1 - run - base
                    slot += 1
                    opened = edge + 1
                    run = 0
                run = run + 1 if place == edge + 1 else 1
                edge = place
        if run >= newlines:
            start[slot], end[slot] = opened - base, edge + 1 - run - base
            slot += 1
            opened = edge + 1
        start[slot], end[slot] = opened - base, stop - base
        slot += 1
        first[text + 1] = slot


@inlined
def stripped(data: Bytes, at: Int, stop: Int, index: Index, pages: Pages) -> tuple[Int, Int]:
    """Where a text begins and ends without the white space around it (str.strip)."""
    looking = True
    while looking and at < stop:
        point, width = decode(data, at, stop)
        looking = class_of(index, pages, point) & SPACE != 0
        at += width if looking else 0
    looking = True
    while looking and at < stop:
        back = stop - 1
        while back > max(at, stop - 4) and data[back] & 0xC0 == 0x80:
            back -= 1
        point, _ = decode(data, back, stop)
        looking = class_of(index, pages, point) & SPACE != 0
        stop = back if looking else stop
    return at, stop


def count_repeated(
    text: pa.LargeStringArray, pieces: Lines, *, copies: bool = False
) -> tuple[Counts, Counts]:
    """Of each text: pieces that are the same as an earlier one, and the characters in them.

    With `copies`, all pieces that occur more than once: the first one too.
    """
    data, offsets = buffers(text)
    repeated, characters = np.zeros(len(text), np.int64), np.zeros(len(text), np.int64)
    _repeated(data, offsets, pieces.first, pieces.start, pieces.end, copies, repeated, characters)
    return repeated, characters


@kernel
def _repeated(
    data: Bytes,
    offsets: Offsets,
    first: Offsets,
    start: Positions,
    end: Positions,
    copies: bool,
    repeated: Counts,
    characters: Counts,
) -> None:
    """The set of pieces is a table of entries: a stamp (16 bits), a piece of hash (16), whether met again, a place (31)."""
    most = 0
    for text in range(len(offsets) - 1):
        most = max(most, first[text + 1] - first[text])
    table, stamp = np.zeros(table_size(most), np.uint64), np.uint64(0)
    for text in range(len(offsets) - 1):
        address, base, count = (
            np.int64(data.ctypes.data) + offsets[text],
            first[text],
            first[text + 1] - first[text],
        )
        if count < 2:
            continue
        if stamp == np.uint64(0xFFFF):
            table[:] = 0
            stamp = np.uint64(0)
        stamp += ONE
        mask = np.uint64(table_size(count) - 1)
        for place in range(count):
            at, size = start[base + place], np.int64(end[base + place] - start[base + place])
            code = hash_bytes(address + at, size)
            slot = code & mask
            mark = stamp << np.uint64(48) | code >> np.uint64(48) << _UPPER
            met = False
            while not met and table[slot] >> np.uint64(48) == stamp:
                if table[slot] >> _UPPER == mark >> _UPPER:
                    other = base + np.int64(table[slot] & _PLACE)
                    alike = end[other] - start[other] == size
                    met = alike and same_bytes(address + start[other], address + at, size)
                if not met:
                    slot = (slot + ONE) & mask
            if met:
                times = 2 if copies and not table[slot] & _AGAIN else 1
                table[slot] |= _AGAIN
                repeated[text] += times
                characters[text] += times * (size - continued(address + at, size))
            else:
                table[slot] = mark | np.uint64(place)


def drop_blank(text: pa.LargeStringArray, pieces: Lines, *, strip: bool = False) -> Lines:
    """The pieces that are not only white space; `strip` leaves out white space around each of them."""
    data, offsets = buffers(text)
    first = np.zeros(len(text) + 1, np.int64)
    start, end = np.empty_like(pieces.start), np.empty_like(pieces.end)
    _written(data, offsets, *classes(), pieces.first, pieces.start, pieces.end, strip, first, start, end)
    return Lines(first, start[: first[-1]], end[: first[-1]])


@kernel
def _written(
    data: Bytes,
    offsets: Offsets,
    index: Index,
    pages: Pages,
    pieces: Offsets,
    starts: Positions,
    ends: Positions,
    strip: bool,
    first: Offsets,
    start: Positions,
    end: Positions,
) -> None:
    slot = 0
    for text in range(len(offsets) - 1):
        base = offsets[text]
        for piece in range(pieces[text], pieces[text + 1]):
            at, stop = stripped(data, base + starts[piece], base + ends[piece], index, pages)
            start[slot] = at - base if strip else starts[piece]
            end[slot] = stop - base if strip else ends[piece]
            slot += at < stop
        first[text + 1] = slot


def count_characters(text: pa.LargeStringArray, pieces: Lines) -> Counts:
    """Characters in the pieces of each text."""
    data, offsets = buffers(text)
    found = np.zeros(len(text), np.int64)
    _characters(data, offsets, pieces.first, pieces.start, pieces.end, found)
    return found


@kernel
def _characters(
    data: Bytes, offsets: Offsets, first: Offsets, start: Positions, end: Positions, found: Counts
) -> None:
    for text in range(len(offsets) - 1):
        address = np.int64(data.ctypes.data) + offsets[text]
        for piece in range(first[text], first[text + 1]):
            size = np.int64(end[piece] - start[piece])
            found[text] += size - continued(address + start[piece], size)


def count_line_ends(text: pa.LargeStringArray, lines: Lines, short: int, marks: str) -> tuple[Counts, Counts]:
    """Of each text: lines whose last character is one of `marks`, and lines of at most `short` characters."""
    data, offsets = buffers(text)
    ended, shorter = np.zeros(len(text), np.int64), np.zeros(len(text), np.int64)
    table = marked(marks)
    _line_ends(data, offsets, lines.first, lines.start, lines.end, short, table, ended, shorter)
    return ended, shorter


@kernel
def _line_ends(
    data: Bytes,
    offsets: Offsets,
    first: Offsets,
    start: Positions,
    end: Positions,
    short: Int,
    marks: Bytes,
    ended: Counts,
    shorter: Counts,
) -> None:
    address = np.int64(data.ctypes.data)
    for text in range(len(offsets) - 1):
        for line in range(first[text], first[text + 1]):
            at, stop = offsets[text] + start[line], offsets[text] + end[line]
            back = stop - 1
            while back > max(at, stop - 4) and data[back] & 0xC0 == 0x80:
                back -= 1
            point, _ = decode(data, back, stop)
            ended[text] += is_in(marks, point)
            size = stop - at
            if size > short and size <= 4 * short:
                size -= continued(address + at, size)
            shorter[text] += size <= short
