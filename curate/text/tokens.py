"""Tokens of every text of a batch: what word-based stages share, whoever split the words.

A splitter finds them: `english-exact` as spaCy does, `plain` by white space and punctuation, `segmenter` as ICU does, in
scripts without spaces too. The stages that count n-grams, lines and sentences do not care which one it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.text.arrow import Bytes, Offsets, buffers
from curate.text.blocks import Int
from curate.text.hashing import U64, hash_bytes, same_bytes
from curate.text.jit import inlined, kernel
from curate.text.memory import copy_bytes, fetch, load, load_byte, load_half
from curate.text.punctuation import is_in, symbols, terminal
from curate.text.segmenter import find_segments, version
from curate.text.stretches import find_stretches
from curate.text.unicode import LETTER, Index, Pages, class_of, classes, decode
from curate.text.words import entries_of, find_words

Counts = npt.NDArray[np.int64]
Positions = npt.NDArray[np.int32]
Splitter = Literal["english-exact", "plain", "segmenter"]

# Bits of `Tokens.marks`, which walk a line stretch by stretch: a line begins unseen; a stretch adds the sentences
# that begin in it, by whether an end mark was seen before it, and says whether one is seen after it.
STARTS_UNSEEN = 0  # bits 0 to 13: sentences that begin in the stretch when no end mark is pending before it
STARTS_SEEN = 14  # bits 14 to 27: when one is pending
EXIT_UNSEEN, EXIT_SEEN = 28, 29  # whether one is pending after it, in either case
STARTS = (1 << 14) - 1


@dataclass(frozen=True)
class Tokens:
    """Tokens of n texts, and the stretches between white space that they lie in.

    The tokens of text i are `first[i]` to `first[i + 1]`, in order. Token t is the bytes `start[t]` to `start[t + 1]`
    of `compact`: the texts without their white space, one after the other. Two tokens have the same id when, and
    only when, they are the same string.

    The stretches of text i are `stretch_first[i]` to `stretch_first[i + 1]`; stretch s is the bytes
    `stretch_start[s]` to `stretch_end[s]` of its text, counted from the text's first byte.
    """

    first: Offsets  # int64 (n + 1)
    id: npt.NDArray[np.uint32]  # (tokens)
    start: Offsets  # int64 (tokens + 1), into `compact`
    compact: Bytes
    symbols: Counts  # (n) tokens of punctuation and control characters only (datatrove's PUNCTUATION_SET)
    length: Counts  # (n) code points in the tokens that are no symbols
    lettered: Counts  # (n) tokens with a letter (str.isalpha)
    stretch_first: Offsets  # int64 (n + 1)
    stretch_start: npt.NDArray[np.int32]  # (stretches)
    stretch_end: npt.NDArray[np.int32]
    stretch_token: Offsets  # int64 (stretches + 1): its first token
    marks: npt.NDArray[np.uint32]  # (stretches) what they do to the count of sentences

    @property
    def tokens(self) -> Counts:
        """Tokens of each text."""
        return np.diff(self.first)

    def alone(self) -> Tokens:
        """Without the stretches, which are half of what is held."""
        none, places = np.zeros(1, np.int64), np.empty(0, np.int32)
        marks = np.empty(0, np.uint32)
        return replace(
            self,
            stretch_first=none,
            stretch_start=places,
            stretch_end=places,
            stretch_token=none,
            marks=marks,
        )


def find_tokens(text: pa.LargeStringArray, splitter: Splitter) -> Tokens:
    """The tokens of each text: `english-exact` as spaCy's blank English, `plain` as `curate/text/words.py`, `segmenter` as ICU.

    Raises:
        CurateError: a text has 2 GiB or more.
        MissingExtraError: the package of the segmenter is not installed.
    """
    if splitter == "plain":
        words = find_words(text)
        return tokens_at(text, words.first, words.start, words.end)
    if splitter == "segmenter":
        return tokens_at(text, *find_segments(text))
    from curate.text.english import find_english

    return find_english(text)


def depends_on(splitter: Splitter) -> tuple[str, ...]:
    """What the tokens depend on beside the text and this code: ICU's version, for the segmenter.

    Raises:
        MissingExtraError: the package of the segmenter is not installed.
    """
    return (version(),) if splitter == "segmenter" else ()


def stretch_tokens(text: pa.LargeStringArray) -> Tokens:
    """What lies between white space, as tokens: `str.split`."""
    return tokens_at(text, *find_stretches(*buffers(text)))


def tokens_at(text: pa.LargeStringArray, first: Offsets, start: Positions, end: Positions) -> Tokens:
    """Tokens at given places: those of text i are first[i] to first[i + 1], each the bytes start to end of it.

    `compact` holds the tokens alone, one after the other. A sentence ends after a mark of
    `curate.text.punctuation.TERMINAL`: after `.`, `!` and `?` only where a stretch ends (closing quotes and
    brackets aside), after those of other scripts anywhere; the next begins with the next token.
    """
    data, offsets = buffers(text)
    ends = np.zeros(len(start) + 1, np.int64)
    np.cumsum(end - start, dtype=np.int64, out=ends[1:])
    compact = np.empty(ends[-1], np.uint8)
    ids, sums = np.empty(len(start), np.uint32), np.zeros((len(text), 3), np.int64)
    codes = np.empty(len(start), np.uint64)
    _copy(data, offsets, first, start, ends, compact, codes)
    _number(first, ends, codes, *classes(), symbols(), compact, ids, sums)
    stretches = find_stretches(*buffers(text))
    marks, stretch_token = np.zeros(len(stretches[1]), np.uint32), np.zeros(len(stretches[1]) + 1, np.int64)
    _mark(data, offsets, first, start, *stretches, terminal(), stretch_token, marks)
    symbol, length, lettered = np.ascontiguousarray(sums.T)
    return Tokens(first, ids, ends, compact, symbol, length, lettered, *stretches, stretch_token, marks)


def count_vocabulary(tokens: Tokens, vocabulary: Sequence[str]) -> Counts:
    """How many different strings of a vocabulary are tokens of each text; upper and lower case are different."""
    numbers, found = np.full(len(set(vocabulary)), -1, np.int64), np.zeros(len(tokens.symbols), np.int64)
    _look_up(tokens.id, tokens.start, tokens.compact, *entries_of(vocabulary), numbers)
    for number in numbers[numbers >= 0]:
        _add_texts_with(tokens.first, tokens.id, np.uint32(number), found)
    return found


@kernel
def _look_up(
    ids: npt.NDArray[np.uint32],
    start: Offsets,
    compact: Bytes,
    letters: Bytes,
    bounds: Offsets,
    heads: Offsets,
    shapes: U64,
    numbers: Counts,
) -> None:
    """The number of each entry: that of the first token which is the same string."""
    lacking = len(numbers)
    here, there = np.int64(compact.ctypes.data), np.int64(letters.ctypes.data)
    for token in range(len(ids)):
        if lacking == 0:
            break
        at, size = start[token], start[token + 1] - start[token]
        if not shapes[compact[at]] >> np.uint64(min(size, 63)) & np.uint64(1):
            continue
        for entry in range(heads[compact[at]], heads[compact[at] + 1]):
            begin = bounds[entry]
            alike = numbers[entry] < 0 and bounds[entry + 1] - begin == size
            if alike and same_bytes(here + at, there + begin, size):
                numbers[entry] = ids[token]
                lacking -= 1


@kernel
def _add_texts_with(first: Offsets, ids: npt.NDArray[np.uint32], number: Int, found: Counts) -> None:
    for text in range(len(found)):
        own, hits = ids[first[text] : first[text + 1]], 0
        for token in range(len(own)):  # without a way out, so that it becomes vector instructions
            hits |= own[token] == number
        found[text] += hits != 0


_HASH, _AT, _SIZE, _HEAD, _SYMBOL, _LENGTH, _LETTERED = range(7)  # columns of what is known of a string
_COLUMNS = 8  # a line of cache
_UPPER, _LOW = np.uint64(32), np.uint64(0xFFFFFFFF)


@kernel
def _copy(
    data: Bytes, offsets: Offsets, first: Offsets, start: Positions, ends: Offsets, compact: Bytes, codes: U64
) -> None:
    """Copy each token to `compact`, and hash it."""
    source, target = np.int64(data.ctypes.data), np.int64(compact.ctypes.data)
    for text in range(len(offsets) - 1):
        for token in range(first[text], first[text + 1]):
            here, size = target + ends[token], ends[token + 1] - ends[token]
            copy_bytes(here, source + offsets[text] + start[token], size)
            codes[token] = hash_bytes(here, size)


@kernel
def _number(
    first: Offsets,
    ends: Offsets,
    codes: U64,
    index: Index,
    pages: Pages,
    symbol: Bytes,
    compact: Bytes,
    ids: npt.NDArray[np.uint32],
    sums: Counts,
) -> None:
    """Give each token the number of its string: a new one if no token before was the same.

    An entry of `table` is the upper half of a hash and a number plus 1; `facts`, by number, says what the
    string is. Both are larger than a cache, so what the tokens ahead will need is fetched early.
    """
    target = np.int64(compact.ctypes.data)
    table, facts, known = np.zeros(1 << 12, np.uint64), np.empty((1 << 11, _COLUMNS), np.int64), 0
    for text in range(len(first) - 1):
        for token in range(first[text], first[text + 1]):
            here, size, code = ends[token], ends[token + 1] - ends[token], codes[token]
            _fetch(table, facts, codes, min(token + 8, len(codes) - 1), min(token + 16, len(codes) - 1))
            head = _head(target + here, size)
            slot = np.int64(code) & (len(table) - 1)
            number: Int = -1
            while number < 0 and table[slot]:
                if table[slot] >> _UPPER == code >> _UPPER:
                    held = np.int64(table[slot] & _LOW) - 1
                    same = facts[held, _SIZE] == size and facts[held, _HEAD] == head
                    if same and (size <= 8 or same_bytes(target + facts[held, _AT], target + here, size)):
                        number = held
                slot = (slot + 1) & (len(table) - 1)
            if number < 0:
                number, known = known, known + 1
                table[slot] = code >> _UPPER << _UPPER | np.uint64(known)
                facts[number, _HASH], facts[number, _AT] = np.int64(code), here
                facts[number, _SIZE], facts[number, _HEAD] = size, head
                _classify(compact, here, here + size, index, pages, symbol, facts[number])
                if known == len(facts):
                    table, facts = _grown(facts)
            ids[token] = number
            for i in range(3):
                sums[text, i] += facts[number, _SYMBOL + i]


@inlined
def _head(address: Int, size: Int) -> Int:
    """The first eight bytes of a token, or all of them."""
    head = np.uint64(0)
    if size >= 8:
        head = load(address)
    elif size >= 4:
        head = load_half(address) | load_half(address + size - 4) << _UPPER
    else:
        for i in range(size):
            head = head << np.uint64(8) | np.uint64(load_byte(address + i))
    return np.int64(head)


@inlined
def _fetch(table: U64, facts: Counts, codes: U64, near: Int, far: Int) -> None:
    mask = np.uint64(len(table) - 1)
    fetch(np.int64(table.ctypes.data) + np.int64((codes[far] & mask) << np.uint64(3)))
    held: Int = np.int64(table[codes[near] & mask] & _LOW) - 1
    fetch(np.int64(facts.ctypes.data) + max(held, 0) * 8 * _COLUMNS)


@kernel
def _grown(facts: Counts) -> tuple[U64, Counts]:
    """Tables with room for twice as many strings."""
    table, larger = np.zeros(4 * len(facts), np.uint64), np.empty((2 * len(facts), _COLUMNS), np.int64)
    for number in range(len(facts)):
        for column in range(_COLUMNS):
            larger[number, column] = facts[number, column]
        slot = facts[number, _HASH] & (len(table) - 1)
        while table[slot]:
            slot = (slot + 1) & (len(table) - 1)
        table[slot] = np.uint64(facts[number, _HASH]) >> _UPPER << _UPPER | np.uint64(number + 1)
    return table, larger


@kernel
def _classify(
    data: Bytes, at: Int, stop: Int, index: Index, pages: Pages, symbol: Bytes, facts: Counts
) -> None:
    """Whether a token is a symbol; if not, its length in code points; whether it has a letter."""
    length, letters, only_symbols = 0, 0, True
    while at < stop:
        point, width = decode(data, at, stop)
        letters |= class_of(index, pages, point) & LETTER
        only_symbols = only_symbols and is_in(symbol, point)
        length += 1
        at += width
    facts[_SYMBOL], facts[_LENGTH] = only_symbols, 0 if only_symbols else length
    facts[_LETTERED] = letters != 0


@kernel
def _mark(
    data: Bytes,
    offsets: Offsets,
    first: Offsets,
    start: Positions,
    stretch_first: Offsets,
    stretch_start: Positions,
    stretch_end: Positions,
    terminals: Bytes,
    stretch_token: Offsets,
    marks: npt.NDArray[np.uint32],
) -> None:
    for text in range(len(offsets) - 1):
        base, token, last = offsets[text], first[text], first[text + 1]
        for stretch in range(stretch_first[text], stretch_first[text + 1]):
            at, stop = stretch_start[stretch], stretch_end[stretch]
            stretch_token[stretch] = token
            begins, pending, tokens, already, final = 0, False, 0, False, 0
            if _is_ascii(data, base + at, base + stop):  # no mark inside counts
                while token < last and start[token] < stop:
                    tokens += 1
                    token += 1
                at = max(at, stop - 1)
                while at > stretch_start[stretch] and _closes(data[base + at]):
                    at -= 1
                final, at = data[base + at], stop
            while at < stop:
                if token < last and start[token] == at:
                    begins += pending
                    already = already or (tokens == 0 and pending)
                    pending = False
                    tokens += 1
                    token += 1
                point, width = decode(data, base + at, base + stop)
                if point >= 0x80 and is_in(terminals, point):
                    pending = True
                final = final if _closes(point) else point
                at += width
            pending = pending or is_in(terminals, final)
            begins_seen = begins + (tokens > 0 and not already)
            marks[stretch] = (
                np.uint32(min(begins, STARTS)) << np.uint32(STARTS_UNSEEN)
                | np.uint32(min(begins_seen, STARTS)) << np.uint32(STARTS_SEEN)
                | np.uint32(pending) << np.uint32(EXIT_UNSEEN)
                | np.uint32(pending or tokens == 0) << np.uint32(EXIT_SEEN)
            )
        stretch_token[stretch_first[text + 1]] = last


@inlined
def _is_ascii(data: Bytes, at: Int, stop: Int) -> bool:
    every = np.uint8(0)
    for i in range(at, stop):
        every |= data[i]
    return bool(every < 0x80)


@inlined
def _closes(point: Int) -> bool:
    return bool(
        point == 0x22
        or point == 0x27
        or point == 0x29
        or point == 0x5D
        or point == 0x7D
        or point == 0x2019
        or point == 0x201D
        or point == 0xBB
    )
