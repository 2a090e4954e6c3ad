"""Which rows of a bucket are compared, and how: by one byte of each slot.

Rows of a bucket stand in order of rank. The first 64 are compared with all before them. Of a larger bucket
(a template, a licence) each further row is compared with the first 8, the anchors; a row that is like none
of them goes into the next list, which is treated the same way, up to four lists. What the last one leaves
is counted.

So in a bucket of at most 64 all pairs are compared, whatever the ranks: those pairs `bandindex.py` stores. What
is compared in a larger one depends on the ranks, and `indexed.py` does it anew.

Sketches are compared by the lowest byte of each slot: a quarter of the memory. Equal slots have equal
bytes, so no pair is lost that all 32 bits would find; of slots that differ, one in 256 counts as equal.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from curate.dedup.shingles import I64, U32, U64
from curate.text.jit import kernel

I32 = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]
F64 = npt.NDArray[np.float64]

WHOLE = 64  # first rows of a list that are compared with all before them
ANCHORS = (
    8  # first rows that all others are compared with; 8 lost no removal on 17,604 documents, 2 lost 0.4 %
)
ROUNDS = 4  # lists, the bucket included

_LOW7 = np.uint64(0x7F7F7F7F7F7F7F7F)
_EVEN = np.uint64(0x00FF00FF00FF00FF)
_SUM = np.uint64(0x0001000100010001)


def record_words(slots: int) -> int:
    """Length of a record of K slots in words of 64 bits: the number of shingles, then a byte a slot."""
    return 1 + (slots + 7) // 8


@kernel
def fill_records(slots: U32, shingles: I32, place: I64, out: U64) -> None:
    """Write the record of each row to `out[place[row]]`."""
    for row in range(len(slots)):
        record = out[place[row]]
        record[0] = np.uint64(shingles[row])
        record[1:] = 0
        for k in range(slots.shape[1]):
            record[1 + k // 8] |= np.uint64(slots[row, k] & np.uint32(0xFF)) << np.uint64(8 * (k % 8))


@kernel
def equal_bytes(records: U64, a: int, b: int) -> int:
    """In how many bytes two records agree, those that fill the last word included."""
    lanes = np.uint64(0)  # eight counts of a byte each; K / 8 is at most 128
    for w in range(1, records.shape[1]):
        x = records[a, w] ^ records[b, w]
        lanes += ~(((x & _LOW7) + _LOW7) | x | _LOW7) >> np.uint64(7)  # 1 in each byte that is 0 in x
    pairs = (lanes & _EVEN) + (lanes >> np.uint64(8) & _EVEN)
    return int(pairs * _SUM >> np.uint64(48))


@kernel
def agreement(records: U64, pairs: I64, slots: int, bands: int, rows: int, share: F64, band: I32) -> None:
    """Share of equal bytes of pairs (m, 2) of records, and the first band whose bytes are all equal, -1 without one.

    Of bands of `rows` slots that differ one in 256^rows counts as equal; the share is too large by (1 - s) / 256.
    """
    padding = 8 * (records.shape[1] - 1) - slots
    for p in range(len(pairs)):
        a, b = pairs[p]
        share[p] = (equal_bytes(records, a, b) - padding) / slots
        band[p] = -1
        k = 0
        while band[p] < 0 and k < bands * rows:
            same = 0
            while same < rows and _byte(records, a, k + same) == _byte(records, b, k + same):
                same += 1
            if same == rows:
                band[p] = k // rows
            k += rows


@kernel
def _byte(records: U64, row: int, slot: int) -> int:
    return int(records[row, 1 + slot // 8] >> np.uint64(8 * (slot % 8)) & np.uint64(0xFF))


@kernel
def _alike(records: U64, a: int, b: int, threshold: float) -> int:
    """Equal bytes of two records; -1 if their sizes exclude the threshold: J is at most their ratio."""
    small, large = np.int64(records[a, 0]), np.int64(records[b, 0])
    if small > large:
        small, large = large, small
    return equal_bytes(records, a, b) if small / large >= threshold else -1


@kernel
def compare_list(
    items: I32, members: I32, records: U64, slots: int, threshold: float, least: int, new: int,
    head: Flags, found: U64, count: int,
) -> tuple[int, int]:  # fmt: skip
    """Compare the entries `items` of one list; pairs into `found` from `count`, the next list to its front.

    Entry e has the record `members[e]`. Pairs are (first << 32 | second) of record numbers; those whose
    second is below `new` are known. `head[e]` is set for the first 64, whose pairs are then complete.
    An entry is resolved when its estimate with an anchor reaches the threshold. Returns how many pairs
    `found` holds and how long the next list is.
    """
    padding = 8 * (records.shape[1] - 1) - slots
    heads = items[:WHOLE].copy()
    left = 0
    for i in range(len(items)):
        entry = items[i]
        row = members[entry]
        known = head[entry] or row < new
        resolved = i < ANCHORS
        for j in range(min(i, ANCHORS if known or i >= WHOLE else WHOLE)):
            same = _alike(records, row, members[heads[j]], threshold) - padding
            if same >= least and not known:
                found[count] = np.uint64(members[heads[j]]) << np.uint64(32) | np.uint64(row)
                count += 1
            resolved |= j < ANCHORS and same >= threshold * slots
        head[entry] |= i < WHOLE
        if not resolved:
            items[left] = entry
            left += 1
    return count, left


@kernel
def compare(
    members: I32, borders: I64, records: U64, slots: int, threshold: float, least: int, new: int,
    unresolved: I32,
) -> U64:  # fmt: skip
    """Pairs of record numbers (first << 32 | second) that pass, over all buckets.

    Bucket g has the entries `borders[g]` to `borders[g + 1]` of `members`, in order of rank; record numbers
    rise with rank. Only pairs whose second is `new` or later are given. `unresolved` (one number a record)
    rises by one for each bucket that leaves the record over.
    """
    bound = 0
    for g in range(len(borders) - 1):
        size = borders[g + 1] - borders[g]
        bound += size * (size - 1) // 2 if size <= WHOLE else ROUNDS * (size * ANCHORS + WHOLE * WHOLE)
    found = np.empty(bound, np.uint64)  # memory that is never written to is never taken
    head = np.zeros(len(members), np.bool_)
    count = int(np.int64(0))  # a plain 0 is a type of its own: Numba would compile the callee twice
    for g in range(len(borders) - 1):
        items = np.arange(borders[g], borders[g + 1]).astype(np.int32)
        rounds = 1 if len(items) <= WHOLE else ROUNDS
        for _ in range(rounds):
            count, left = compare_list(
                items, members, records, slots, threshold, least, new, head, found, count
            )
            items = items[:left]
        for entry in items:
            unresolved[members[entry]] += not head[entry]
    return found[:count].copy()
