"""The kernels of passages in many documents: a table of 64-bit hashes, and in how many documents each stands."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curate.dedup.shingles import I64, U8, U64, mix, nonzero
from curate.text.blocks import Int
from curate.text.hashing import hash_bytes
from curate.text.jit import inlined, kernel
from curate.text.lines import Positions
from curate.text.repeats import stripped
from curate.text.unicode import Index, Pages

_ONE, _HALF, _LOW = np.uint64(1), np.uint64(32), np.uint64(0xFFFFFFFF)
# Columns of a table; COUNT holds the row that counted last in its low half.
HASH, FIRST, COUNT = 0, 1, 2


class Pieces(NamedTuple):
    """Texts and their lines or paragraphs (see `Lines`), and which of them are looked at, and how."""

    data: U8
    offsets: I64
    first: I64
    begin: Positions
    end: Positions
    table: Index
    pages: Pages
    shortest: int
    collapse: bool


@inlined
def _hash(pieces: Pieces, text: Int, piece: Int, room: U8) -> np.uint64:
    """Hash of a piece without the white space around it; 0 for one that is too short."""
    base = pieces.offsets[text]
    at, stop = stripped(
        pieces.data, base + pieces.begin[piece], base + pieces.end[piece], pieces.table, pieces.pages
    )
    address, size = np.int64(pieces.data.ctypes.data) + at, stop - at
    if pieces.collapse and size >= pieces.shortest:
        fill = 0
        for i in range(at, stop):
            digit = pieces.data[i] - np.uint8(0x30) < np.uint8(10)
            unit = np.uint8(0x30) if digit else pieces.data[i]
            if not digit or fill == 0 or room[fill - 1] != 0x30:
                room[fill] = unit
                fill += 1
        address, hashed = np.int64(room.ctypes.data), fill
    else:
        hashed = size
    return nonzero(mix(hash_bytes(address, hashed))) if size >= pieces.shortest else np.uint64(0)


@kernel
def _find(table: U64, key: np.uint64) -> tuple[bool, np.uint64]:
    """Whether a hash is in the table, and its place or the empty one where it would be."""
    mask = np.uint64(len(table) - 1)
    place = key & mask
    while table[place, HASH] != 0 and table[place, HASH] != key:
        place = (place + _ONE) & mask
    return table[place, HASH] == key, place


@kernel
def count_pieces(
    pieces: Pieces, text: int, row: int, table: U64, used: int, room: int, space: U8
) -> tuple[int, int]:
    """Count the pieces of the texts from `text` on, `row` being its row, until the table has no room.

    A piece is counted once a text. Returns the text where it stopped and the entries of the table.
    """
    while text < len(pieces.offsets) - 1:
        many = pieces.first[text + 1] - pieces.first[text]
        if used > 0 and used + many > room:
            break
        for piece in range(pieces.first[text], pieces.first[text + 1]):
            key = _hash(pieces, text, piece, space)
            if key == 0:
                continue
            known, place = _find(table, key)
            now = np.uint64(row)
            if not known and used < room:
                table[place, HASH], table[place, FIRST], table[place, COUNT] = key, now, _ONE << _HALF | now
                used += 1
            elif known and table[place, COUNT] & _LOW != now:
                table[place, COUNT] = ((table[place, COUNT] >> _HALF) + _ONE) << _HALF | now
                table[place, FIRST] = min(table[place, FIRST], now)
        text += 1
        row += 1
    return text, used


@kernel
def pour(old: U64, least: int, table: U64, used: int) -> int:
    """Add the entries of one table that count at least so many documents to another; its entries then."""
    for i in range(len(old)):
        if old[i, HASH] != 0 and old[i, COUNT] >> _HALF >= np.uint64(least):
            known, place = _find(table, old[i, HASH])
            if known:
                table[place, COUNT] += old[i, COUNT] >> _HALF << _HALF
                table[place, FIRST] = min(table[place, FIRST], old[i, FIRST])
            else:
                table[place] = old[i]
                used += 1
    return used


@kernel
def _take_line_ends(data: U8, base: int, texts: I64, cuts: I64, last: int) -> None:
    """Cut the line ends before the last cuts of a text too: nothing follows that they would end."""
    while True:
        if last > 0 and texts[last - 1] == texts[last] and cuts[last - 1, 1] == cuts[last, 0]:
            last -= 1
        elif cuts[last, 0] > 0 and data[base + cuts[last, 0] - 1] in (0x0A, 0x0D):
            cuts[last, 0] -= 1
        else:
            break


@kernel
def mark_pieces(
    pieces: Pieces, row: int, table: U64, least: int, first_stays: bool, space: U8
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Pieces that stand in `least` documents or more: text, and the (start, stop) to be cut, of each."""
    total = pieces.first[len(pieces.offsets) - 1]
    texts, cuts = np.empty(total, np.int64), np.empty((total, 2), np.int64)
    count = 0
    for text in range(len(pieces.offsets) - 1):
        base, size = pieces.offsets[text], pieces.offsets[text + 1] - pieces.offsets[text]
        begin, end = pieces.first[text], pieces.first[text + 1]
        last = False
        for piece in range(begin, end):
            key = _hash(pieces, text, piece, space)
            known, place = _find(table, key) if key != 0 else (False, np.uint64(0))
            often = known and table[place, COUNT] >> _HALF >= np.uint64(least)
            if not often or (first_stays and table[place, FIRST] >= np.uint64(row + text)):
                last = False
                continue
            texts[count] = text
            cuts[count, 0] = pieces.begin[piece]
            cuts[count, 1] = pieces.begin[piece + 1] if piece + 1 < end else size
            count += 1
            last = True
        if last and pieces.end[end - 1] == size:
            _take_line_ends(pieces.data, base, texts, cuts, count - 1)
    return texts[:count], cuts[:count]
