"""Which pairs are worth an exact comparison: equal bands, then the sketches themselves.

Band by band: a key per row from the slots of the band; rows partitioned by the top bits of the key, so
that the table of each partition fits the cache; equal keys make a bucket, in order of rank. Within a
bucket sketches are compared (`compare.py`), and a pair passes if its estimate does not exclude the threshold.

All of this is in memory, for the rows of one run. `indexed.py` finds the same pairs through a stored index.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.dedup.compare import compare, fill_records, record_words
from curate.dedup.pairs import places, rank_order
from curate.dedup.shingles import I64, U32, U64, mix, nonzero, read_only, table_size
from curate.dedup.sketch import EMPTY
from curate.text.jit import kernel
from schemas.errors import UsageError

I32 = npt.NDArray[np.int32]

SPREAD = 3.5  # standard errors of the sketch below the threshold: lost no pair in ten settings measured


_KEY = np.uint64(0x9FB21C651E98DF25)  # odd multiplier


@dataclass(frozen=True)
class Candidates:
    """Pairs of rows to compare exactly."""

    pairs: I64
    """(m, 2) row numbers, each pair once, first in rank first; sorted by the ranks of both."""
    unresolved: I32
    """(n,) bands in which the row was left over in a giant bucket. Pages of one template that differ are left
    over in many bands and found by the others: `probability(t, bands - unresolved, rows)` of `bands.py` is
    the recall that a row has left."""


def least_slots(threshold: float, slots: int) -> int:
    """Fewest equal slots at which a pair may still reach the threshold: K (t - 3.5 sqrt(t (1 - t) / K))."""
    floor = threshold - SPREAD * math.sqrt(threshold * (1 - threshold) / slots)
    return max(1, math.ceil(floor * slots - 1e-9))


@kernel
def _key(slots: U32, row: int, band: int, rows: int) -> np.uint64:
    """Key of a row's band, other bands' keys being others; 0 for a text without a word, which is in no bucket."""
    if slots[row, band * rows] == EMPTY:
        return np.uint64(0)
    key = np.uint64(band) * _KEY
    for k in range(band * rows, (band + 1) * rows):
        key = (key ^ np.uint64(slots[row, k])) * _KEY
    return nonzero(mix(key))


@kernel
def band_keys(slots: U32, position: I64, band: int, rows: int) -> U64:
    """Key of a band by position in rank."""
    keys = np.empty(len(position), np.uint64)
    for row in range(len(position)):  # in order of memory: reading rows by rank would be ten times slower
        keys[position[row]] = _key(slots, row, band, rows)
    return keys


@kernel
def all_keys(slots: U32, bands: int, rows: int) -> U64:
    """Keys of all bands, (n, bands)."""
    keys = np.empty((len(slots), bands), np.uint64)
    for row in range(len(slots)):
        for band in range(bands):
            keys[row, band] = _key(slots, row, band, rows)
    return keys


@kernel
def _partition(keys: U64) -> tuple[U64, I32, I64]:
    """Keys (other than 0) and their positions by the top bits of the key, order kept; and the borders."""
    bits = 0
    while bits < 11 and len(keys) >> (bits + 12) > 0:
        bits += 1
    shift = np.uint64(63 - bits)  # two steps, for a shift by 64 is not defined
    borders = np.zeros((1 << bits) + 1, np.int64)
    for key in keys:
        if key != np.uint64(0):
            borders[np.int64(key >> shift >> np.uint64(1)) + 1] += 1
    for i in range(1 << bits):
        borders[i + 1] += borders[i]
    free = borders.copy()
    sorted_keys = np.empty(borders[-1], np.uint64)
    positions = np.empty(borders[-1], np.int32)
    for p in range(len(keys)):
        if keys[p] != np.uint64(0):
            part = np.int64(keys[p] >> shift >> np.uint64(1))
            sorted_keys[free[part]] = keys[p]
            positions[free[part]] = p
            free[part] += 1
    return sorted_keys, positions, borders


@kernel
def firsts(keys: U64) -> I32:
    """For each position the first one with its key."""
    sorted_keys, positions, borders = _partition(keys)
    first = np.arange(len(keys)).astype(np.int32)
    largest = 0
    for part in range(len(borders) - 1):
        largest = max(largest, borders[part + 1] - borders[part])
    table = np.empty(table_size(largest), np.int32)
    for part in range(len(borders) - 1):
        size = table_size(borders[part + 1] - borders[part])
        mask = np.uint64(size - 1)
        table[:size] = -1
        for i in range(borders[part], borders[part + 1]):
            place = sorted_keys[i] & mask
            while table[place] >= 0 and sorted_keys[table[place] + borders[part]] != sorted_keys[i]:
                place = (place + np.uint64(1)) & mask
            if table[place] < 0:
                table[place] = i - borders[part]
            else:
                first[positions[i]] = positions[table[place] + borders[part]]
    return first


@kernel
def buckets(first: I32) -> tuple[I32, I64]:
    """Positions of each bucket of two or more, in order of rank, one bucket after the other; and the borders."""
    sizes = np.zeros(len(first), np.int64)
    for f in first:
        sizes[f] += 1
    borders = np.empty(len(first) // 2 + 1, np.int64)
    borders[0] = 0
    count = 0
    for p in range(len(first)):
        if sizes[p] > 1:
            borders[count + 1] = borders[count] + sizes[p]
            sizes[p] = borders[count]  # from here on: the next free place
            count += 1
        else:
            sizes[p] = -1
    members = np.empty(borders[count], np.int32)
    for p in range(len(first)):
        if sizes[first[p]] >= 0:
            members[sizes[first[p]]] = p
            sizes[first[p]] += 1
    return members, borders[: count + 1].copy()


def candidates(
    slots: U32, shingles: I32, rank: I64, *, threshold: float, bands: int, rows: int
) -> Candidates:
    """Pairs whose exact similarity may reach `threshold`, found through `bands` bands of `rows` slots.

    `slots` (n, K) and `shingles` (n,) are those of `Sketches`; `rank` (n,) says who comes first (distinct
    numbers, the best document lowest). The result depends on the rows and their ranks, not on their order
    in the arrays. Memory beside the arguments: about K + 48 bytes per row, 8 per pair and band it is found in.

    Raises:
        UsageError: ranks are not distinct, arrays differ in length, or the bands need more slots.
    """
    if not len(slots) == len(shingles) == len(rank) or bands * rows > slots.shape[1]:
        raise UsageError(
            f"slots are {slots.shape}, shingles {len(shingles)}, ranks {len(rank)}, bands {bands} x {rows}.",
            hint="Give as many sketches as shingle counts and ranks, and bands x rows of at most K slots.",
        )
    order = read_only(rank_order(rank), np.int64)
    position = read_only(places(order), np.int64)
    slots, shingles = read_only(slots, np.uint32), read_only(shingles, np.int32)
    records = np.empty((len(order), record_words(slots.shape[1])), np.uint64)
    fill_records(slots, shingles, position, records)
    least = least_slots(threshold, slots.shape[1])
    left_over = np.zeros(len(order), np.int32)
    found = [np.empty(0, np.uint64)]
    for band in range(bands):
        members, borders = buckets(firsts(band_keys(slots, position, band, rows)))
        found.append(compare(members, borders, records, slots.shape[1], threshold, least, 0, left_over))
    unresolved = np.empty_like(left_over)
    unresolved[order] = left_over
    packed = np.sort(np.concatenate(found))  # then the distinct: np.unique took 16 times as long
    packed = packed[np.flatnonzero(np.diff(packed, prepend=np.uint64(0)))]
    ends = np.stack([packed >> np.uint64(32), packed & np.uint64(0xFFFFFFFF)], axis=1).astype(np.int64)
    return Candidates(order[ends], unresolved)
