"""Words of every text of a batch, found in one pass: where they are, and what they add up to.

The splitter is called `plain`: a text is split at white space, and everything that is not a letter, mark
or number is cut off at the edges, so `"(don't)"` gives `don't`, and `--` gives no word but one *symbol*.
A script without spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese, Tibetan ...) ends a word where it
begins: each of its characters is a word position of its own, while the *number* of words takes two Chinese
or Japanese characters, or four of the others, as one word.

It differs from the spaCy tokens of datatrove: punctuation beside a word is no token of its own, `don't`
is one word, and `U.S.A.` is `U.S.A`. It is the same in all languages and needs no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.text.arrow import Bytes, Offsets, buffers
from curate.text.blocks import ALL, ONE, Int, Mask, below, block, highest, lowest, ones, spare, within
from curate.text.jit import inlined, kernel
from curate.text.unicode import (
    HALF,
    LETTER,
    QUARTER,
    SPACE,
    WORD,
    Index,
    Pages,
    character_over,
    class_of,
    classes,
    decode,
)

Counts = npt.NDArray[np.int64]
Positions = npt.NDArray[np.int32]

_SPACED, _LENGTH, _LETTERED, _HALVES, _QUARTERS, _SYMBOLS, _VISIBLE = range(7)
_COLUMNS = 7


@dataclass(frozen=True)
class Words:
    """Word positions of n texts, and counts of each text (int64, n).

    The words of text i are `first[i]` to `first[i + 1]` (int64, n + 1); word w is the bytes `start[w]` to
    `end[w]` (int32) of its text, counted from the text's first byte.
    """

    first: npt.NDArray[np.int64]
    start: Positions
    end: Positions
    spaced: Counts  # words of scripts with spaces
    length: Counts  # characters in them
    lettered: Counts  # of them with at least one letter (str.isalpha)
    halves: Counts  # characters of Chinese and Japanese
    quarters: Counts  # characters of other scripts without spaces
    symbols: Counts  # stretches between white space that hold no word
    visible: Counts  # characters that are not white space

    @property
    def unspaced(self) -> Counts:
        """Words of scripts without spaces: two or four characters each, rounded up."""
        return (2 * self.halves + self.quarters + 3) // 4

    @property
    def words(self) -> Counts:
        """All words."""
        return self.spaced + self.unspaced


def find_words(text: pa.LargeStringArray) -> Words:
    """The words of each text.

    Raises:
        CurateError: a text has 2 GiB or more.
    """
    data, offsets = buffers(text)
    most = int(offsets[-1] - offsets[0]) // 2 + len(text)  # memory that no word fills is never touched
    first = np.zeros(len(text) + 1, np.int64)
    start, end = np.empty(most, np.int32), np.empty(most, np.int32)
    counts = np.zeros((len(text), _COLUMNS), np.int64)
    _scan(data, offsets, spare(), *classes(), first, start, end, counts)
    return Words(first, start[: first[-1]], end[: first[-1]], *np.ascontiguousarray(counts.T))


@kernel
def _scan(
    data: Bytes,
    offsets: Offsets,
    room: Bytes,
    index: Index,
    pages: Pages,
    first: npt.NDArray[np.int64],
    start: Positions,
    end: Positions,
    counts: Counts,
) -> None:
    """A stretch between white space is a run of zeros in the mask of white bytes; most lie in one block."""
    slot = 0
    for text in range(len(offsets) - 1):
        base, stop = offsets[text], offsets[text + 1]
        sums = counts[text]
        length = lettered = symbols = visible = 0
        inside, opened, before = False, base, ONE
        for at in range(base, stop + 1, 64):
            white, word, letter, unspaced, follow = _masks(data, at, base, stop, room, index, pages)
            visible += ones(~(white | follow))
            edges = white ^ (white << ONE | before)
            before = white >> Mask(63)
            whole = not inside
            while edges:
                edge = at + lowest(edges)
                edges &= edges - ONE
                inside = not inside
                if inside:
                    opened = edge
                    continue
                stretch = below(edge - at) & ~below(opened - at) if whole else ALL
                if not whole or unspaced & stretch:
                    slot = _walk(data, base, opened, edge, index, pages, start, end, slot, sums)
                elif word & stretch:
                    left, right = lowest(word & stretch), highest(word & stretch) + 1
                    start[slot], end[slot] = at + left - base, at + right - base
                    slot += 1
                    length += ones(~follow & below(right) & ~below(left))
                    lettered += (letter & stretch) != 0
                else:
                    symbols += 1
                whole = True
        first[text + 1] = slot
        sums[_LENGTH] += length
        sums[_LETTERED] += lettered
        sums[_SYMBOLS] += symbols
        sums[_VISIBLE] = visible
        sums[_SPACED] = slot - first[text] - sums[_HALVES] - sums[_QUARTERS]


@inlined
def _masks(
    data: Bytes, at: Int, base: Int, stop: Int, room: Bytes, index: Index, pages: Pages
) -> tuple[Mask, Mask, Mask, Mask, Mask]:
    """Bytes of a block that are white space, word, letter, of scripts without spaces, not a character's first."""
    here = block(data, at, room)
    live = below(stop - at) if stop - at < 64 else ALL
    white = within(here, 0x20, 1) | within(here, 9, 5) | within(here, 28, 4) | ~live
    letter = (within(here, 0x41, 26) | within(here, 0x61, 26)) & live
    word = letter | within(here, 0x30, 10) & live
    unspaced = Mask(0)
    follow = within(here, 0x80, 0x40) & live
    leads = (within(here, 0x80, 0x80) & ~follow | follow & ONE) & live
    while leads:
        point, own = character_over(data, at, lowest(leads), base, stop)
        leads &= leads - ONE
        bits = class_of(index, pages, point)
        if bits & SPACE:
            white |= own
        if bits & LETTER:
            letter |= own
        if bits & WORD:
            word |= own
        if bits & (HALF | QUARTER):
            unspaced |= own
    return white, word, letter, unspaced, follow


@kernel
def _walk(
    data: Bytes,
    base: Int,
    at: Int,
    stop: Int,
    index: Index,
    pages: Pages,
    start: Positions,
    end: Positions,
    slot: Int,
    sums: Counts,
) -> Int:
    """The words of one stretch, character by character: over the edge of a block, or in parts unspaced."""
    left, right, seen, length, letters, before = -1, -1, 0, 0, 0, slot
    while at <= stop:
        point, width = decode(data, at, stop) if at < stop else (0, 1)
        bits = class_of(index, pages, point)
        unspaced = bits & (HALF | QUARTER)
        if left >= 0 and (unspaced or at == stop):
            start[slot], end[slot] = left - base, right - base
            slot += 1
            sums[_LENGTH] += length
            sums[_LETTERED] += letters != 0
            left = -1
        if unspaced:
            start[slot], end[slot] = at - base, at + width - base
            slot += 1
            sums[_HALVES] += (bits & HALF) != 0
            sums[_QUARTERS] += (bits & QUARTER) != 0
        if bits & WORD:
            if left < 0:
                left, seen, letters = at, 0, 0
            right, length = at + width, seen + 1
            letters |= bits & LETTER
        seen += 1
        at += width
    sums[_SYMBOLS] += slot == before
    return slot


def count_distinct(text: pa.LargeStringArray, words: Words, vocabulary: Sequence[str]) -> Counts:
    """How many different words of a vocabulary each text has; upper and lower case are different."""
    found = np.zeros(len(text), np.int64)
    letters, bounds, heads, shapes = entries_of(vocabulary)
    _distinct(*buffers(text), words.first, words.start, words.end, letters, bounds, heads, shapes, found)
    return found


def entries_of(vocabulary: Sequence[str]) -> tuple[Bytes, Offsets, Offsets, npt.NDArray[np.uint64]]:
    """The different words of a vocabulary as kernels read them: letters, bounds, heads, shapes.

    The entries that begin with byte b are heads[b] to heads[b + 1], their lengths are bits of shapes[b]; entry i
    is letters[bounds[i]] to letters[bounds[i + 1]].
    """
    entries = sorted({word.encode() for word in vocabulary})
    heads = np.searchsorted([entry[0] for entry in entries], np.arange(257))
    shapes = np.zeros(256, np.uint64)
    for entry in entries:
        shapes[entry[0]] |= np.uint64(1 << min(len(entry), 63))
    return np.frombuffer(b"".join(entries), np.uint8), np.cumsum([0, *map(len, entries)]), heads, shapes


@kernel
def _distinct(
    data: Bytes,
    offsets: Offsets,
    first: npt.NDArray[np.int64],
    start: Positions,
    end: Positions,
    letters: Bytes,
    bounds: npt.NDArray[np.int64],
    heads: npt.NDArray[np.int64],
    shapes: npt.NDArray[np.uint64],
    found: Counts,
) -> None:
    entries = len(bounds) - 1
    last_seen = np.full(entries, -1, np.int64)
    for text in range(len(offsets) - 1):
        for word in range(first[text], first[text + 1]):
            at, length = offsets[text] + start[word], int(end[word] - start[word])
            if not shapes[data[at]] >> Mask(min(length, 63)) & ONE:
                continue
            for entry in range(heads[data[at]], heads[data[at] + 1]):
                if last_seen[entry] != text and _equal(
                    data, at, length, letters, bounds[entry], bounds[entry + 1]
                ):
                    last_seen[entry] = text
                    found[text] += 1
            if found[text] == entries:
                break


@inlined
def _equal(data: Bytes, at: Int, length: Int, letters: Bytes, begin: Int, finish: Int) -> bool:
    same = 0
    while same < length and begin + same < finish and data[at + same] == letters[begin + same]:
        same += 1
    return bool(same == length and begin + same == finish)
