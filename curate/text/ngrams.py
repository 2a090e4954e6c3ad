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
from curate.text.hashing import Hash, continued, hash16, hash_bytes, hash_pair, same_bytes, table_size
from curate.text.jit import inlined, kernel
from curate.text.memory import get, get_long, load, load_byte, load_half, put, store, store_byte
from curate.text.tokens import Tokens

Counts = npt.NDArray[np.int64]
_Room = tuple[Int, Int, Int, Int, Int, Int]  # addresses: places, slots, chosen, counters, owner, times
Ids = npt.NDArray[np.uint32]
Scratch = npt.NDArray[np.int32]
Hashes = npt.NDArray[np.uint64]

TOP = (2, 3, 4)
DUPLICATED = (5, 6, 7, 8, 9, 10)

_UPPER = np.uint64(32)
_WINDOW = 16  # bytes
_NEVER = 2**31 - 1
_LARGE = 1 << 22  # entries: tables beyond are less roomy, or grow as they fill


@dataclass(frozen=True)
class TopGrams:
    """The most frequent 2-, 3- and 4-gram of each text (int64, n x 3); all 0 where the text has fewer tokens."""

    place: Counts  # of its first token, counted from the text's first
    times: Counts
    length: Counts  # its characters, without white space


def top_grams(tokens: Tokens, *, longest: bool = False) -> TopGrams:
    """The most frequent n-grams; of several the first that occurs, or with `longest` one of the most characters."""
    found, most = np.zeros((3, len(tokens.symbols), len(TOP)), np.int64), _most_tokens(tokens.first)
    # Made here: an array of a kernel that is used by its address alone is freed after that.
    room = np.empty(3 * most + 2 * table_size(most) + _counters(most), np.int32)
    _top(tokens.first, tokens.id, tokens.start, tokens.compact, longest, most, room, found)
    return TopGrams(*found)


def duplicated_grams(tokens: Tokens) -> Counts:
    """Characters in repeated n-grams of each text, n from 5 to 10: int64 (n, 6).

    From the left: an n-gram that was seen before adds its length, and the next one looked at begins behind it;
    any other is remembered, and the next one begins a token later. Its tokens are joined by nothing, so
    that "ab" "c" is the same as "a" "bc".
    """
    found, most = np.zeros((len(tokens.symbols), len(DUPLICATED)), np.int64), _most_tokens(tokens.first)
    room, windows = np.empty(4 * most, np.int32), np.empty(_windows(most), np.uint8)
    table, text = np.zeros(min(table_size(most), _LARGE), np.uint64), 0
    while text < len(found):
        text = _duplicated(
            tokens.first, tokens.start, tokens.compact, most, room, windows, table, text, found
        )
        if text < len(found):  # too many different n-grams for the table
            table = np.zeros(4 * len(table), np.uint64)
    return found


def _most_tokens(first: Offsets) -> int:
    """Of one text, at least 1."""
    return int(np.diff(first).max(initial=1))


@kernel
def _top(
    first: Offsets, ids: Ids, start: Offsets, compact: Bytes, longest: bool, most: int, scratch: Scratch,
    found: npt.NDArray[np.int64],
) -> None:  # fmt: skip
    places, table = np.int64(scratch.ctypes.data), table_size(most)
    counters = places + 12 * most
    room = (
        places, places + 4 * most, places + 8 * most, counters + 8 * table, counters, counters + 4 * table,
    )  # fmt: skip
    address = np.int64(compact.ctypes.data)
    for text in range(len(first) - 1):
        base, count = first[text], first[text + 1] - first[text]
        of_ids, of_starts = np.int64(ids.ctypes.data) + 4 * base, np.int64(start.ctypes.data) + 8 * base
        kept = count - 1
        for place in range(kept):
            put(places, place, place)
        for n in range(2, min(count, 4) + 1):
            largest = _count(of_ids, n, room[0], room[1], room[3], kept)
            place, times = 0, 1
            if largest > 1:
                weigh = address if longest else 0
                place, times = _most_frequent(of_ids, of_starts, weigh, n, room, kept, largest)
            found[0, text, n - 2], found[1, text, n - 2] = place, times
            found[2, text, n - 2] = _length(of_starts, address, place, n)
            kept = _candidates(room[0], room[1], room[3], kept)


@inlined
def _length(starts: Int, address: Int, token: Int, n: Int) -> Int:
    at = get_long(starts, token)
    size = get_long(starts, token + n) - at
    return size - continued(address + at, size)


@inlined
def _gram_hash(ids: Int, n: Int) -> Hash:
    """Hash of two to four ids."""
    rest = np.uint64(0)
    if n == 3:
        rest = load_half(ids + 8) + np.uint64(1)
    elif n == 4:
        rest = load(ids + 8) + np.uint64(1)
    return hash_pair(load(ids), rest)


@inlined
def _counters(entries: Int) -> Int:
    """Counters of n-grams: twice as many or more, as far as that is no large table."""
    return min(table_size(entries), max(table_size(entries) >> 2, _LARGE))


@kernel
def _count(ids: Int, n: Int, places: Int, slots: Int, counters: Int, kept: Int) -> Int:
    """Count the n-grams at some places by their hash; the largest counter."""
    size = _counters(kept)
    mask = np.uint64(size - 1)
    for slot in range(size):
        put(counters, slot, 0)
    largest = 0
    for k in range(kept):
        code = np.int64(_gram_hash(ids + 4 * get(places, k), n) & mask)
        put(slots, k, code)
        counter = get(counters, code) + 1
        put(counters, code, counter)
        largest = max(largest, counter)
    return largest


@kernel
def _candidates(places: Int, slots: Int, counters: Int, kept: Int) -> Int:
    """Keep the places at which an n-gram longer by one token may occur twice: its two parts may."""
    fewer, place = 0, get(places, 0)
    before = kept > 0 and get(counters, get(slots, 0)) > 1
    for k in range(1, kept):
        twice, behind = get(counters, get(slots, k)) > 1, get(places, k)
        put(places, fewer, place)
        fewer += before & twice & (behind == place + 1)
        before, place = twice, behind
    return fewer


@kernel
def _most_frequent(
    ids: Int, starts: Int, weigh: Int, n: Int, room: _Room, kept: Int, largest: Int
) -> tuple[Int, Int]:
    """First place and count of the most frequent n-gram; (0, 1) if each occurs once.

    Exactly counted are those whose counter is at least `least`. If none is that frequent, the best among
    them says how far it must be lowered, so twice is enough.
    """
    _, slots, chosen, counters, _, _ = room
    least = largest
    while True:
        frequent = 0
        for k in range(kept):
            put(chosen, frequent, k)
            frequent += get(counters, get(slots, k)) >= least
        place, times = _count_exactly(ids, starts, weigh, n, room, frequent)
        if times >= least or least == 2:
            break
        least = max(times, 2)
    return (place, times) if times > 1 else (0, 1)


@kernel
def _count_exactly(ids: Int, starts: Int, weigh: Int, n: Int, room: _Room, frequent: Int) -> tuple[Int, Int]:
    """The most frequent of those chosen; of several the first, or the longest if `weigh` is the address of the tokens."""
    places, _, chosen, _, owner, times = room
    size = table_size(frequent)
    for entry in range(size):
        put(owner, entry, -1)
        put(times, entry, 0)
    best, most = 0, 0
    for one in range(frequent):
        k = get(chosen, one)
        place = get(places, k)
        slot: Int = np.int64(_gram_hash(ids + 4 * place, n) & np.uint64(size - 1))
        while get(owner, slot) >= 0 and not _same_gram(ids + 4 * get(owner, slot), ids + 4 * place, n):
            slot = (slot + 1) & (size - 1)
        if get(owner, slot) < 0:
            put(owner, slot, place)
        count, other = get(times, slot) + 1, get(owner, slot)
        put(times, slot, count)
        better = other < best
        if weigh != 0 and count == most:
            better = _length(starts, weigh, other, n) > _length(starts, weigh, best, n)
        if count > most or (count == most and better):
            best, most = other, count
    return best, most


@inlined
def _same_gram(one: Int, other: Int, n: Int) -> bool:
    same = load(one) == load(other)
    for i in range(2, n):
        same = same and get(one, i) == get(other, i)
    return bool(same)


@kernel
def _duplicated(
    first: Offsets, start: Offsets, compact: Bytes, most: int, scratch: Scratch, windows: Bytes, table: Hashes,
    begin: int, found: Counts,
) -> int:  # fmt: skip
    """From text `begin` on; the text whose n-grams the table has no room for, or their number.

    The set of n-grams is a table whose entries are a stamp (16 bits), a piece of hash (16), a place (32).
    """
    address, here = np.int64(compact.ctypes.data), np.int64(scratch.ctypes.data)
    there, of_slots, of_unique = here + 4 * most, here + 8 * most, here + 12 * most
    of_windows, of_table = np.int64(windows.ctypes.data), np.int64(table.ctypes.data)
    stamp = np.uint64(0)
    for text in range(begin, len(found)):
        count, starts = first[text + 1] - first[text], np.int64(start.ctypes.data) + 8 * first[text]
        if count <= DUPLICATED[0]:
            continue
        kept, fewer = _find_windows(starts, address, count, here, there, of_slots, of_windows, of_unique)
        for window in range(2 * _WINDOW, 3 * _WINDOW + 1, _WINDOW):
            fewer = _find_unique(
                starts, address, count, window, there, of_slots, of_windows, of_unique, fewer
            )
        for n in range(5, 11):
            if stamp == np.uint64(0xFFFF):
                table[:] = 0
                stamp = np.uint64(0)
            stamp += np.uint64(1)
            kept = _drop_unique(starts, count, n, here, of_unique, kept)
            size = min(table_size(kept), len(table))
            found[text, n - 5] = _walk(starts, address, n, here, kept, of_table, size, stamp)
            if found[text, n - 5] < 0:
                return text
    return len(found)


@inlined
def _windows(entries: Int) -> Int:
    """Counters of windows: more than there are windows, so that most have one of their own."""
    return min(4 * table_size(entries), max(table_size(entries), 4 * _LARGE), 1 << 31)


@kernel
def _find_windows(
    starts: Int, address: Int, count: Int, places: Int, further: Int, slots: Int, windows: Int, unique: Int
) -> tuple[Int, Int]:
    """Look at all places for the smallest window; how many n-grams may occur twice, how many windows may.

    Those n-grams are written to `places`: an n-gram that holds a window which occurs once occurs once. Those
    windows are written to `further`, for `_find_unique`.
    """
    size = _windows(count)
    mask = np.uint64(size - 1)
    for slot in range(0, size, 8):
        store(windows + slot, np.uint64(0))
    stop, inside = get_long(starts, count) - _WINDOW, 0
    at = get_long(starts, 0)
    while at <= stop:  # the last token begins behind `stop`, or it is the last that is looked at
        counter = np.int64(hash16(address + at) & mask)
        put(slots, inside, counter)
        store_byte(windows + counter, min(load_byte(windows + counter) + 1, 2))
        inside += 1
        at = get_long(starts, inside) if inside < count else stop + 1
    kept, fewer = 0, 0
    for place in range(count - DUPLICATED[0] + 1):
        within = place < inside
        once = within and load_byte(windows + get(slots, place)) == 1
        short = get_long(starts, place + DUPLICATED[0]) - get_long(starts, place) < _WINDOW
        put(unique, place, _WINDOW if once else _NEVER)
        put(places, kept, place)
        put(further, fewer, place)
        kept += short or not once
        fewer += within and not once
    return kept, fewer


@kernel
def _find_unique(
    starts: Int, address: Int, count: Int, window: Int, places: Int, slots: Int, windows: Int, unique: Int,
    kept: Int,
) -> Int:  # fmt: skip
    """Note the places at which as many bytes as `window` occur once in the text; keep those where they do not.

    `windows` counts them by hash (0, 1, 2 and more). Equal windows have equal beginnings, so only the places
    that were kept for a smaller window need be looked at.
    """
    size = _windows(kept)
    mask = np.uint64(size - 1)
    for slot in range(0, size, 8):
        store(windows + slot, np.uint64(0))
    stop, inside = get_long(starts, count) - window, 0
    while inside < kept and get_long(starts, get(places, inside)) <= stop:
        at = address + get_long(starts, get(places, inside))
        code = hash16(at)
        for part in range(_WINDOW, window, _WINDOW):
            code = hash_pair(code, hash16(at + part))
        counter = np.int64(code & mask)
        put(slots, inside, counter)
        store_byte(windows + counter, min(load_byte(windows + counter) + 1, 2))
        inside += 1
    fewer = 0
    for k in range(inside):
        place, once = get(places, k), load_byte(windows + get(slots, k)) == 1
        put(unique, place, window if once else _NEVER)
        put(places, fewer, place)
        fewer += not once
    return fewer


@kernel
def _drop_unique(starts: Int, count: Int, n: Int, places: Int, unique: Int, kept: Int) -> Int:
    """Keep the places whose n-gram may occur twice: where it does, so does a window that it begins with."""
    while kept and get(places, kept - 1) + n > count:
        kept -= 1
    fewer = 0
    for k in range(kept):
        place = get(places, k)
        put(places, fewer, place)
        fewer += get_long(starts, place + n) - get_long(starts, place) < get(unique, place)
    return fewer


@kernel
def _walk(
    starts: Int, address: Int, n: Int, places: Int, kept: Int, table: Int, entries: Int, stamp: Hash
) -> Int:
    """Characters of the n-grams that were met before, from the left, without overlap; -1 if the table is too small."""
    mask, room, free, characters = np.uint64(entries - 1), entries >> 1, 0, 0
    for k in range(kept):
        place = get(places, k)
        if place < free:
            continue
        at = get_long(starts, place)
        size = get_long(starts, place + n) - at
        code = hash_bytes(address + at, size)
        slot = code & mask
        mark = stamp << np.uint64(48) | code >> np.uint64(48) << _UPPER
        entry = load(table + 8 * np.int64(slot))
        met = False
        while not met and entry >> np.uint64(48) == stamp:
            if entry >> _UPPER == mark >> _UPPER:
                before = np.int64(entry & np.uint64(0xFFFFFFFF))
                other = get_long(starts, before)
                alike = get_long(starts, before + n) - other == size
                met = alike and same_bytes(address + other, address + at, size)
            if not met:
                slot = (slot + np.uint64(1)) & mask
                entry = load(table + 8 * np.int64(slot))
        if met:
            characters += size - continued(address + at, size)
            free = place + n
        else:
            if room == 0:
                return -1
            room -= 1
            store(table + 8 * np.int64(slot), mark | np.uint64(place))
    return characters
