"""The kernel of repeated spans: blocks of earlier text in a table, a hash rolled over every later position.

Every `stride`-th position of the text seen begins a block of `width` units (bytes or tokens). A span of
`least` units holds one of these blocks whole wherever it begins, so a later copy of it meets the block's
hash when the hash of as many units rolls over it. The units are then compared and the match is extended to
both sides: nothing rests on the hash. After rsync (Tridgell 1999, chapter 3), with the roles turned round.

A position is looked up only where a match could add something to what is covered, and a block is put in only
if a span around it is not yet a copy itself: so text that repeats itself takes linear time and few entries.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from curate.text.jit import inlined, kernel

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
Units = npt.NDArray[Any]  # uint8 or uint32

CHAIN = 4  # copies of a block in the table: 16 found 0.02 % more in 20 MB of documents and compare more
_ROLL = np.uint64(0x9FB21C651E98DF25)  # odd multipliers
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_ONE, _HALF, _LOW = np.uint64(1), np.uint64(32), np.uint64(0xFFFFFFFF)
_WORD, _BIT = np.uint64(6), np.uint64(63)  # a word of the filter has 2^6 bits


class Blocks(NamedTuple):
    """Blocks of earlier text by their hash: open addressing, and a filter that says "no" to most lookups.

    An entry is the top 32 bits of the hash and the number of the block from 1 (32 bits); 0 is an empty
    place. The place follows from the top bits, so that a table of another size can be filled from this one.
    """

    places: U64
    filter: U64
    """Sixteen bits per place; a block sets two in one word."""
    shift: np.uint64
    filter_shift: np.uint64
    """A hash shifted by these is a place, or a word of the filter."""
    thinned: np.uint64
    """Blocks whose hash has one of these bits are left out: none, then half of them, three quarters ..."""


class Shape(NamedTuple):
    """What is looked for."""

    least: int
    width: int
    stride: int
    border: int
    """The unit between documents, which no document holds."""
    text: bool
    """Units are bytes of UTF-8: spans begin and end with characters."""


class _Covered(NamedTuple):
    """Spans found last in a document: `run` to `reach` is covered, `behind` to `run` is not."""

    behind: int
    run: int
    reach: int
    start: int
    stop: int
    """Of the match that reached farthest: from here on it may begin before the run."""


class _Match(NamedTuple):
    """Of all matches of a position the one that reaches farthest (`stop` 0: none does) and the first to begin."""

    start: int
    stop: int
    source: int
    first: int
    first_source: int


@kernel
def join(data: Units, offsets: I64, border: int) -> Units:
    """All documents, a border behind each."""
    out = np.empty(offsets[-1] - offsets[0] + len(offsets) - 1, data.dtype)
    fill = 0
    for i in range(len(offsets) - 1):
        size = offsets[i + 1] - offsets[i]
        out[fill : fill + size] = data[offsets[i] : offsets[i + 1]]
        out[fill + size] = border
        fill += size + 1
    return out


@kernel
def refill(old: Blocks, new: Blocks) -> int:
    """Put the entries of a table into an empty one, as far as it keeps them; returns how many."""
    count = 0
    mask = np.uint64(len(new.places) - 1)
    for entry in old.places:
        if entry != 0 and entry & new.thinned == 0:
            place = entry >> new.shift
            while new.places[place] != 0:
                place = (place + _ONE) & mask
            new.places[place] = entry
            new.filter[entry >> new.filter_shift] |= _bits(entry, new.filter_shift)
            count += 1
    return count


@inlined
def _bits(key: np.uint64, shift: np.uint64) -> np.uint64:
    """The two bits of a hash in its word of the filter."""
    return _ONE << (key >> (shift - _WORD) & _BIT) | _ONE << ((key >> _HALF) * _SPREAD >> np.uint64(58))


@kernel
def _hash(store: Units, at: int, width: int) -> np.uint64:
    total = np.uint64(0)
    for i in range(at, at + width):
        total = total * _ROLL + np.uint64(store[i])
    return total


@kernel
def _roll(
    store: Units,
    sieve: U64,
    shift: np.uint64,
    at: int,
    stop: int,
    total: np.uint64,
    width: int,
    power: np.uint64,
) -> tuple[int, np.uint64]:
    """Roll the hash on to the next position that the filter knows, or to `stop`."""
    while at < stop:
        key = total * _SPREAD
        bits = _bits(key, shift)
        if sieve[key >> shift] & bits == bits:
            break
        total = total * _ROLL + (np.uint64(store[at + width]) - np.uint64(store[at]) * power)
        at += 1
    return at, total


@kernel
def _extend(store: Units, at: int, source: int, floor: int, stop: int, border: int) -> tuple[int, int]:
    """How many units before `at`, and from it on, are those around `source`; between `floor` and `stop`."""
    left = right = 0
    while at + right < stop and store[source + right] == store[at + right] and store[at + right] != border:
        right += 1
    while at - left > floor and source > left and store[source - left - 1] == store[at - left - 1]:
        if store[at - left - 1] == border:
            break
        left += 1
    return left, right


@kernel
def _look(
    store: Units, blocks: Blocks, key: np.uint64, at: int, covered: _Covered, start: int, stop: int, shape: Shape
) -> _Match:  # fmt: skip
    """Compare what is at `at` with the blocks of its hash; matches count that add to what is covered."""
    inside = at < covered.reach
    far, first = max(at, covered.reach), covered.run if inside else at
    back = at if inside and at - shape.least >= covered.run else covered.behind
    floor = max(start, back - shape.least)  # no match needs to be followed farther
    best_start, best, source_of_best, source_of_first = start, 0, 0, 0
    mask = np.uint64(len(blocks.places) - 1)
    place, tag = key >> blocks.shift, key >> _HALF
    while blocks.places[place] != 0:
        if blocks.places[place] >> _HALF == tag:
            source = (int(blocks.places[place] & _LOW) - 1) * shape.stride
            before = source - at + first - 1
            # Most matches add nothing, which one unit tells.
            adds = far < stop and store[source + far - at] == store[far]
            adds = adds or (first > floor and before >= 0 and store[before] == store[first - 1])
            if adds and (source < start or at - source >= shape.least):
                left, right = _extend(store, at, source, floor, stop, shape.border)
                if right >= shape.width and left + right >= shape.least:
                    if at + right > far:
                        far = best = at + right
                        best_start, source_of_best = at - left, source - left
                    if at - left < first:
                        first, source_of_first = at - left, source - left
        place = (place + _ONE) & mask
    return _Match(best_start, best, source_of_best, first, source_of_first)


@kernel
def _remember(blocks: Blocks, key: np.uint64, number: int) -> int:
    """Put a block into the table unless it has enough of its hash; returns how many were put in."""
    mask = np.uint64(len(blocks.places) - 1)
    place, copies = key >> blocks.shift, 0
    while blocks.places[place] != 0:
        copies += blocks.places[place] >> _HALF == key >> _HALF
        place = (place + _ONE) & mask
    if copies >= CHAIN:
        return 0
    blocks.places[place] = key >> _HALF << _HALF | np.uint64(number)
    blocks.filter[key >> blocks.filter_shift] |= _bits(key, blocks.filter_shift)
    return 1


@kernel
def _adds(at: int, covered: _Covered, stop: int, shape: Shape) -> bool:
    """Whether some span around a position is not covered yet."""
    before = at < covered.run + shape.least - shape.width
    behind = at + shape.least > covered.reach and covered.reach < stop
    return at >= covered.reach or before or behind


@kernel
def _is_copy(at: int, covered: _Covered, start: int, stop: int, shape: Shape) -> bool:
    """Whether every span around the block at `at` lies in the last match, so that its source has it too."""
    before = max(start, at - shape.least + shape.width)
    return before >= covered.start and min(stop, at + shape.least) <= covered.stop


@kernel
def _character(store: Units, at: int, stop: int, step: int, shape: Shape) -> int:
    """The next place from `at` on, forward or backward, where a character begins."""
    while shape.text and 0 < at < stop and store[at] & 0xC0 == 0x80:
        at += step
    return at


@kernel
def _emit(found: I64, count: int, start: int, stop: int, source: int) -> tuple[I64, int]:
    if start >= stop:
        return found, count
    if count == len(found):
        found = np.concatenate((found, np.empty_like(found)))
    found[count, 0], found[count, 1], found[count, 2] = start, stop, source
    return found, count + 1


@kernel
def _cover(
    store: Units, match: _Match, covered: _Covered, stop: int, shape: Shape, found: I64, count: int
) -> tuple[_Covered, I64, int]:
    """Write down what a match adds at both sides of what is covered."""
    behind, run, reach, start, match_stop = covered
    if match.stop > reach:
        begin = _character(store, max(match.start, reach), stop, 1, shape)
        end = _character(store, match.stop, stop, -1, shape)
        if begin < end:
            found, count = _emit(found, count, begin, end, match.source + begin - match.start)
            if begin > reach:
                behind, run = reach, begin
            reach, start, match_stop = end, match.start, match.stop
    if match.first < run:
        begin = _character(store, max(match.first, behind), stop, 1, shape)
        found, count = _emit(found, count, begin, run, match.first_source + begin - match.first)
        run = min(run, begin)
    return _Covered(behind, run, reach, start, match_stop), found, count


@kernel
def _document(
    store: Units, start: int, stop: int, blocks: Blocks, room: int, shape: Shape, found: I64, count: int
) -> tuple[I64, int, int]:
    """Spans of one document into `found`, its blocks into the table."""
    width, stride = shape.width, shape.stride
    power = _ONE
    for _ in range(width):
        power *= _ROLL
    sieve, shift, thinned = blocks.filter, blocks.filter_shift, blocks.thinned
    covered = _Covered(start, start, start, start, start)
    last, entries, at = stop - width, 0, start
    total = _hash(store, at, width)
    block = (start + stride - 1) // stride * stride  # the next one
    while True:
        at, total = _roll(store, sieve, shift, at, min(block, last), total, width, power)
        key = total * _SPREAD
        if key & thinned == 0:
            bits = _bits(key, shift)
            if sieve[key >> shift] & bits == bits and _adds(at, covered, stop, shape):
                match = _look(store, blocks, key, at, covered, start, stop, shape)
                covered, found, count = _cover(store, match, covered, stop, shape, found, count)
            if at == block and entries < room and not _is_copy(at, covered, start, stop, shape):
                entries += _remember(blocks, key, at // stride + 1)
        block += stride if at == block else 0
        at += 1
        to = _next(at, covered, stop, shape)
        if to > last:
            break
        if to > at + width:
            at, block = to, (to + stride - 1) // stride * stride
            total = _hash(store, at, width)
        else:
            total = total * _ROLL + (np.uint64(store[at + width - 1]) - np.uint64(store[at - 1]) * power)
    return found, count, entries


@kernel
def _next(at: int, covered: _Covered, stop: int, shape: Shape) -> int:
    """The next position that matters: none does whose every span lies in the last match."""
    if at < max(covered.run, covered.start) + shape.least - shape.width:
        return at
    return stop if covered.reach == stop else max(at, covered.reach - shape.least + 1)


@kernel
def scan(
    store: Units, starts: I64, stops: I64, row: int, blocks: Blocks, used: int, room: int, shape: Shape,
    found: I64, count: int,
) -> tuple[I64, int, int, int]:  # fmt: skip
    """Spans (start, stop, source in the store) of the documents from `row` on, until the table has no room.

    Returns `found`, or a larger array in its place, and how many it holds; the row where it stopped; the
    entries of the table.
    """
    share = (blocks.thinned >> _HALF) + _ONE  # one block of so many is kept
    while row < len(starts):
        size = stops[row] - starts[row]
        if size >= shape.least:
            need = size // shape.stride // np.int64(share) + 1
            if used + need > room and used > 0:
                break
            found, count, more = _document(
                store, starts[row], stops[row], blocks, room - used, shape, found, count
            )
            used += more
        row += 1
    return found, count, row, used
