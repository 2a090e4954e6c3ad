"""Repeated n-grams of tokens, as datatrove's `GopherRepetitionFilter` (0.10.1) counts them, in linear time.

Most n-grams of a text occur once, and most of the work is to see that cheaply: hashes are counted without
keys, and only places whose counter says "more than once" are looked at exactly, by comparing ids or bytes.
So colliding hashes cost time, never a result. n-grams of 5 to 10 tokens are compared as strings, whatever
their tokens: what is counted for them is the 16, 32 and 48 bytes that begin with a token.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.text.arrow import Bytes, Offsets
from curate.text.blocks import Int
from curate.text.hashing import (
    U64,
    Hash,
    continued,
    hash16,
    hash_bytes,
    hash_pair,
    same_bytes,
    table_size,
)
from curate.text.jit import inlined, kernel
from curate.text.tokens import Tokens

Counts = npt.NDArray[np.int64]
Places = npt.NDArray[np.int32]
Ids = npt.NDArray[np.uint32]

TOP = (2, 3, 4)
DUPLICATED = (5, 6, 7, 8, 9, 10)

_UPPER = np.uint64(32)
_WINDOW = 16  # bytes
_NEVER = 2**31 - 1


@dataclass(frozen=True)
class TopGrams:
    """The most frequent 2-, 3- and 4-gram of each text (int64, n x 3); all 0 where the text has fewer tokens."""

    place: Counts  # of its first token, counted from the text's first
    times: Counts
    length: Counts  # its characters, without white space


def top_grams(tokens: Tokens, *, longest: bool = False) -> TopGrams:
    """The most frequent n-grams; of several the first that occurs, or with `longest` one of the most characters."""
    found = np.zeros((3, len(tokens.symbols), len(TOP)), np.int64)
    _top(tokens.first, tokens.id, tokens.start, tokens.compact, longest, found)
    return TopGrams(*found)


def duplicated_grams(tokens: Tokens) -> Counts:
    """Characters in repeated n-grams of each text, n from 5 to 10: int64 (n, 6).

    From the left: an n-gram that was seen before adds its length, and the next one looked at begins behind it;
    any other is remembered, and the next one begins a token later. Its tokens are joined by nothing, so
    that "ab" "c" is the same as "a" "bc".
    """
    found = np.zeros((len(tokens.symbols), len(DUPLICATED)), np.int64)
    _duplicated(tokens.first, tokens.start, tokens.compact, found)
    return found


@kernel
def _top(
    first: Offsets, ids: Ids, start: Offsets, compact: Bytes, longest: bool, found: npt.NDArray[np.int64]
) -> None:
    address, most = np.int64(compact.ctypes.data), 1
    for text in range(len(first) - 1):
        most = max(most, first[text + 1] - first[text])
    places, slots = np.empty(most, np.int32), np.empty(most, np.uint32)
    counters = np.empty(table_size(most), np.int32)
    for text in range(len(first) - 1):
        base, count = first[text], first[text + 1] - first[text]
        kept = count - 1
        for place in range(kept):
            places[place] = place
        for n in range(2, min(count, 4) + 1):
            largest = _count(ids, base, n, places, slots, counters, kept)
            place, times = 0, 1
            if largest > 1:
                weigh = address if longest else 0
                place, times = _most_frequent(
                    ids, start, weigh, base, n, places, slots, counters, kept, largest
                )
            found[0, text, n - 2], found[1, text, n - 2] = place, times
            found[2, text, n - 2] = _length(start, address, base + place, n)
            kept = _candidates(places, slots, counters, kept)


@inlined
def _length(start: Offsets, address: Int, token: Int, n: Int) -> Int:
    size = start[token + n] - start[token]
    return size - continued(address + start[token], size)


@inlined
def _gram_hash(ids: Ids, at: Int, n: Int) -> Hash:
    pair = np.uint64(ids[at]) << _UPPER | np.uint64(ids[at + 1])
    rest = np.uint64(0)
    if n > 2:
        rest = np.uint64(ids[at + 2]) + np.uint64(1)
    if n > 3:
        rest = rest << _UPPER | np.uint64(ids[at + 3])
    return hash_pair(pair, rest)


@kernel
def _count(ids: Ids, base: Int, n: Int, places: Places, slots: Ids, counters: Places, kept: Int) -> Int:
    """Count the n-grams at some places by their hash; the largest counter."""
    size = table_size(kept)
    mask = np.uint64(size - 1)
    counters[:size] = 0
    largest = 0
    for k in range(kept):
        slot = _gram_hash(ids, base + places[k], n) & mask
        slots[k] = slot
        counter = counters[slot] + 1
        counters[slot] = counter
        largest = max(largest, counter)
    return largest


@kernel
def _candidates(places: Places, slots: Ids, counters: Places, kept: Int) -> Int:
    """Keep the places at which an n-gram longer by one token may occur twice: its two parts may."""
    fewer = 0
    for k in range(kept - 1):
        place = places[k]
        places[fewer] = place
        twice = (counters[slots[k]] > 1) & (counters[slots[k + 1]] > 1) & (places[k + 1] == place + 1)
        fewer += twice
    return fewer


@kernel
def _most_frequent(
    ids: Ids, start: Offsets, weigh: Int, base: Int, n: Int, places: Places, slots: Ids, counters: Places,
    kept: Int, largest: Int,
) -> tuple[Int, Int]:  # fmt: skip
    """First place and count of the most frequent n-gram; (0, 1) if each occurs once.

    Exactly counted are those whose counter is at least `least`. If none is that frequent, the best among
    them says how far it must be lowered, so twice is enough.
    """
    least = largest
    while True:
        place, times = _count_exactly(ids, start, weigh, base, n, places, slots, counters, kept, least)
        if times >= least or least == 2:
            break
        least = max(times, 2)
    return (place, times) if times > 1 else (0, 1)


@kernel
def _count_exactly(
    ids: Ids, start: Offsets, weigh: Int, base: Int, n: Int, places: Places, slots: Ids, counters: Places,
    kept: Int, least: Int,
) -> tuple[Int, Int]:  # fmt: skip
    """The most frequent of these; of several the first, or the longest if `weigh` is the address of the tokens."""
    chosen = 0
    for k in range(kept):
        chosen += counters[slots[k]] >= least
    size = table_size(chosen)
    owner, times = np.full(size, -1, np.int32), np.zeros(size, np.int32)
    best, most = 0, 0
    for k in range(kept):
        if counters[slots[k]] < least:
            continue
        place = places[k]
        slot = np.int64(slots[k]) & (size - 1)
        while owner[slot] >= 0 and not _same_gram(ids, base + owner[slot], base + place, n):
            slot = (slot + 1) & (size - 1)
        if owner[slot] < 0:
            owner[slot] = place
        times[slot] += 1
        better = owner[slot] < best
        if weigh != 0 and times[slot] == most:
            better = _length(start, weigh, base + owner[slot], n) > _length(start, weigh, base + best, n)
        if times[slot] > most or (times[slot] == most and better):
            best, most = owner[slot], times[slot]
    return best, most


@inlined
def _same_gram(ids: Ids, one: Int, other: Int, n: Int) -> bool:
    same = True
    for i in range(n):
        same = same and ids[one + i] == ids[other + i]
    return same


@kernel
def _duplicated(first: Offsets, start: Offsets, compact: Bytes, found: Counts) -> None:
    """The set of n-grams is a table whose entries are a stamp (16 bits), a piece of hash (16), a place (32)."""
    address = np.int64(compact.ctypes.data)
    most = 1
    for text in range(len(found)):
        most = max(most, first[text + 1] - first[text])
    places, slots, unique = np.empty(most, np.int32), np.empty(most, np.uint32), np.empty(most, np.int32)
    windows, table = np.empty(4 * table_size(most), np.uint8), np.zeros(table_size(most), np.uint64)
    stamp = np.uint64(0)
    for text in range(len(found)):
        base, count = first[text], first[text + 1] - first[text]
        if count <= DUPLICATED[0]:
            continue
        for place in range(count):
            places[place], unique[place] = place, _NEVER
        kept = count
        for window in range(_WINDOW, 3 * _WINDOW + 1, _WINDOW):
            kept = _find_unique(start, address, base, count, window, places, slots, windows, unique, kept)
        kept = count
        for place in range(count):
            places[place] = place
        for n in range(5, 11):
            if stamp == np.uint64(0xFFFF):
                table[:] = 0
                stamp = np.uint64(0)
            stamp += np.uint64(1)
            kept = _drop_unique(start, base, count, n, places, unique, kept)
            found[text, n - 5] = _walk(start, address, base, n, places, kept, table, stamp)


@kernel
def _find_unique(
    start: Offsets, address: Int, base: Int, count: Int, window: Int, places: Places, slots: Ids, windows: Bytes,
    unique: Places, kept: Int,
) -> Int:  # fmt: skip
    """Note the places at which as many bytes as `window` occur once in the text; keep those where they do not.

    `windows` counts them by hash (0, 1, 2 and more). Equal windows have equal beginnings, so only the places
    that were kept for a smaller window need be looked at.
    """
    size = 4 * table_size(kept)
    mask = np.uint64(size - 1)
    for slot in range(size):
        windows[slot] = 0
    stop, inside = start[base + count] - window, 0
    for k in range(kept):
        place = places[k]
        at = start[base + place]
        if at > stop:
            break
        code = hash16(address + at)
        for further in range(_WINDOW, window, _WINDOW):
            code = hash_pair(code, hash16(address + at + further))
        slot = code & mask
        slots[k] = slot
        windows[slot] = min(windows[slot] + 1, 2)
        inside += 1
    fewer = 0
    for k in range(inside):
        place, once = places[k], windows[slots[k]] == 1
        unique[place] = window if once else _NEVER
        places[fewer] = place
        fewer += not once
    return fewer


@kernel
def _drop_unique(
    start: Offsets, base: Int, count: Int, n: Int, places: Places, unique: Places, kept: Int
) -> Int:
    """Keep the places whose n-gram may occur twice: where it does, so does a window that it begins with."""
    fewer = 0
    for k in range(kept):
        place = places[k]
        if place + n > count:
            break
        places[fewer] = place
        fewer += start[base + place + n] - start[base + place] < unique[place]
    return fewer


@kernel
def _walk(
    start: Offsets, address: Int, base: Int, n: Int, places: Places, kept: Int, table: U64, stamp: Hash
) -> Int:
    """Characters of the n-grams that were met before, from the left, without overlap."""
    mask, free, characters = np.uint64(table_size(kept) - 1), 0, 0
    for k in range(kept):
        place = places[k]
        if place < free:
            continue
        at = start[base + place]
        size = start[base + place + n] - at
        code = hash_bytes(address + at, size)
        slot = code & mask
        mark = stamp << np.uint64(48) | code >> np.uint64(48) << _UPPER
        met = False
        while not met and table[slot] >> np.uint64(48) == stamp:
            if table[slot] >> _UPPER == mark >> _UPPER:
                other = start[base + np.int64(table[slot] & np.uint64(0xFFFFFFFF))]
                other_size = start[base + np.int64(table[slot] & np.uint64(0xFFFFFFFF)) + n] - other
                met = other_size == size and same_bytes(address + other, address + at, size)
            slot = (slot + np.uint64(1)) & mask
        if met:
            characters += size - continued(address + at, size)
            free = place + n
        else:
            table[slot] = mark | np.uint64(place)
    return characters
