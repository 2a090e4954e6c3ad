"""From UTF-8 bytes to hashes of words, which the symbols of `normalize` make up.

Most words are ASCII letters and digits between other ASCII characters. Where these begin and end is found for 64 bytes
at a time, and each is hashed as it stands, capitals made small by one bit. A stretch with any other character goes
through the table of symbols, one after the other, to the same hash: "CAFE", "cafe" and "café" are one word.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from curate.dedup.normalize import ALONE, DIGIT, DROPPED, IDEOGRAPHS_END, SEPARATOR, TABLE_SIZE
from curate.text.blocks import Int, Mask, below, block, lowest, within
from curate.text.jit import inlined, kernel
from curate.text.memory import fold, load, load_byte

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]

_ALONE = np.uint32(ALONE)
_LOW = np.array([(1 << (8 * count)) - 1 for count in range(9)], np.uint64)
_SMALL = Mask(0x2020202020202020)  # makes capitals small, and leaves small letters and digits as they are
_OTHER, _SIZE, _WIDE = Mask(0x9FB21C651E98DF25), Mask(0x9E3779B97F4A7C15), Mask(0xD6E8FEB86659FD93)


@kernel
def multibyte(data: U8, at: int, stop: int, table: U32) -> tuple[int, np.uint32]:
    """Length in bytes and symbol of the character at `at` whose first byte is not ASCII."""
    byte = np.int64(data[at])
    width = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
    if at + width > stop:  # a character cut off, which valid UTF-8 has not
        return stop - at, np.uint32(SEPARATOR)
    code = byte & (0x7F >> width)
    for i in range(1, width):
        code = code << 6 | np.int64(data[at + i]) & 0x3F
    if code < TABLE_SIZE:
        return width, table[code]
    if code < IDEOGRAPHS_END:
        return width, np.uint32(code) | _ALONE
    # Above the ideographs: tags and variation selectors, which show nothing, and private use.
    return width, np.uint32(DROPPED) if code >> 16 == 0xE else np.uint32(SEPARATOR)


@inlined
def _hash(at: Int, size: Int, readable: Int, seed: Mask) -> Mask:
    """Hash of a word of ASCII letters and digits; `readable` is where the text's buffer ends."""
    other = seed * _OTHER
    stop = at + size
    while at + 16 < stop:
        other = fold((load(at) | _SMALL) ^ seed, (load(at + 8) | _SMALL) ^ other)
        at += 16
    if at + 16 <= readable:
        one, two = load(at), load(at + 8)
    else:
        one, two = _last_words(at, stop)
    left = stop - at
    one, two = (one | _SMALL) & _LOW[min(left, 8)], (two | _SMALL) & _LOW[max(left - 8, 0)]
    return _closed(one, two, other, size, seed)


@kernel
def _last_words(at: Int, stop: Int) -> tuple[Mask, Mask]:
    """Up to 16 bytes, none behind them read."""
    one, two = Mask(0), Mask(0)
    for place in range(stop - at):
        byte = Mask(load_byte(at + place)) << Mask(8 * (place & 7))
        one |= byte if place < 8 else Mask(0)
        two |= byte if place >= 8 else Mask(0)
    return one, two


@inlined
def _closed(one: Mask, two: Mask, other: Mask, size: Int, seed: Mask) -> Mask:
    """Hash of a word: its last 16 bytes or fewer, what the bytes before came to, and how many there are."""
    hashed: Mask = fold(one ^ seed, two ^ (other + Mask(size) * _SIZE))
    return hashed


@inlined
def _longer(
    one: Mask, two: Mask, other: Mask, size: Int, symbol: Mask, seed: Mask
) -> tuple[Mask, Mask, Mask, Int]:
    """A word with one symbol more: `size` counts ASCII, and others are mixed in with the place where they stand."""
    if symbol >= Mask(0x80):
        return one, two, (other ^ (symbol | Mask(size) << Mask(32))) * _WIDE, size
    if size & 15 == 0 and size > 0:
        other = fold(one ^ seed, two ^ other)
        one, two = Mask(0), Mask(0)
    shifted = symbol << Mask(8 * (size & 7))
    if size & 8:
        two |= shifted
    else:
        one |= shifted
    return one, two, other, size + 1


@inlined
def _put(
    out: U64, begins: I32 | None, ends: I32 | None, count: int, word: Mask, begin: int, end: int
) -> None:
    out[count] = word
    if begins is not None and ends is not None:
        begins[count], ends[count] = begin, end


@inlined
def _by_symbols(
    data: U8, begin: int, stop: int, table: U32, seed: np.uint64, out: U64, count: int,
    start: int, begins: I32 | None, ends: I32 | None,
) -> int:  # fmt: skip
    """`words_of` a stretch of the text from `start`, behind `count` words; returns how many there are then."""
    separator, digit, dropped = np.uint32(SEPARATOR), np.uint32(DIGIT), np.uint32(DROPPED)
    previous = separator  # the symbol before, in the word that is open
    at, opened = begin, begin
    one, two, other, size = Mask(0), Mask(0), seed * _OTHER, 0
    while at < stop:
        here, width, symbol = at, 1, table[data[at]]
        if data[at] >= 0x80:
            width, symbol = multibyte(data, at, stop, table)
        at += width
        if symbol == dropped:
            if ends is not None and previous == separator and count and ends[count - 1] == here - start:
                ends[count - 1] = at - start
            continue
        if separator < symbol < _ALONE:
            opened = here if previous == separator else opened
            if symbol != digit or previous != digit:
                one, two, other, size = _longer(one, two, other, size, Mask(symbol), seed)
            previous = symbol
            continue
        if previous != separator:
            _put(out, begins, ends, count, _closed(one, two, other, size, seed), opened - start, here - start)
            count += 1
            one, two, other, size = Mask(0), Mask(0), seed * _OTHER, 0
            previous = separator
        if symbol != separator:
            _put(out, begins, ends, count, fold(Mask(symbol) ^ seed, seed * _OTHER), here - start, at - start)
            count += 1
    if previous != separator:
        _put(out, begins, ends, count, _closed(one, two, other, size, seed), opened - start, stop - start)
        count += 1
    return count


@kernel
def words_bound(length: int) -> int:
    """Most words that so many bytes can hold: a letter and a separator each."""
    return length // 2 + 1


@kernel
def words_of(
    data: U8, start: int, stop: int, table: U32, seed: np.uint64, out: U64, room: U8,
    begins: I32 | None = None, ends: I32 | None = None,
) -> int:  # fmt: skip
    """Hashes of the words of one text into `out`, which holds `words_bound`; returns how many.

    `room` has 64 bytes. `begins` and `ends` take the bytes of each word, counted from the text's start: the
    marks and invisible characters that follow a letter belong to its word.
    """
    source = np.int64(data.ctypes.data)
    count, begun, wide = 0, -1, False
    carry, at = Mask(0), start
    # Of the tables that there are, only one folds capitals, keeps digits, and separates at punctuation.
    if table[0x41] != 0x61 or table[0x30] != 0x30 or table[0x21] != np.uint32(SEPARATOR):
        begun, at = start, stop
    while at < stop:
        here = block(data, at, room)
        high = within(here, 0x80, 0x80)
        inside = high | within(here, 0x30, 10) | within(here, 0x41, 26) | within(here, 0x61, 26)
        if stop - at < 64:
            high, inside = high & below(stop - at), inside & below(stop - at)
        edges = inside ^ (inside << Mask(1) | carry)
        carry = inside >> Mask(63)
        while edges:
            bit = lowest(edges)
            edges &= edges - Mask(1)
            if begun < 0:
                begun = at + bit
                continue
            wide = wide or high & below(bit) != Mask(0)
            high &= ~below(bit)
            if wide:
                count = _by_symbols(data, begun, at + bit, table, seed, out, count, start, begins, ends)
            else:
                word = _hash(source + begun, at + bit - begun, source + len(data), seed)
                _put(out, begins, ends, count, word, begun - start, at + bit - start)
                count += 1
            begun, wide = -1, False
        wide = wide or high != Mask(0)
        at += 64
    if begun >= 0:
        count = _by_symbols(data, begun, stop, table, seed, out, count, start, begins, ends)
    return count
