"""Candidates among the texts that stand, through a stored index of bands.

The result is that of `candidates` over what stands, of each group by itself: a function of the rows, their texts
and ranks, and not of batches, order of arrival, or texts that left (a property test holds it). For a key with at
most 64 entries in the index gives all pairs that pass, and those are stored; a giant key is compared anew, by
rank, among its texts that stand in a group. A stored pair that only giants hold is left to that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from curate.dedup.bandindex import BandIndex, IndexOptions
from curate.dedup.candidates import Candidates, least_slots
from curate.dedup.compare import ANCHORS, F64, ROUNDS, WHOLE, Flags, agreement, compare, compare_list
from curate.dedup.memory import Plan
from curate.dedup.pairs import rank_order
from curate.dedup.shingles import I64, U32, U64, read_only
from curate.dedup.signatures import ranges
from curate.text.jit import kernel
from schemas.errors import UsageError

I32 = npt.NDArray[np.int32]
U16 = npt.NDArray[np.uint16]

_LOW = np.uint64(0xFFFFFFFF)


@kernel
def _row_pairs(pairs: U64, first: I32, row: I32, group: I64, out: U64, write: bool) -> int:
    """Rows of two texts of a pair that are of one group, as earlier << 32 | later; how many there are.

    Text t has the rows `row[first[t]:first[t + 1]]`, in order of their groups, one in each.
    """
    count = 0
    for p in range(len(pairs)):
        a, b = np.int64(pairs[p] >> np.uint64(32)), np.int64(pairs[p] & np.uint64(0xFFFFFFFF))
        i, j = first[a], first[b]
        while i < first[a + 1] and j < first[b + 1]:
            one, two = row[i], row[j]
            if group[one] == group[two]:
                if write:
                    out[count] = np.uint64(min(one, two)) << np.uint64(32) | np.uint64(max(one, two))
                count += 1
            i += group[one] <= group[two]
            j += group[two] <= group[one]
    return count


@kernel
def _uncount(pairs: U64, counts: U16, first: I32, keys: I32) -> None:
    """Take from the count of each pair the keys that both texts have: of text t `keys[first[t]:first[t + 1]]`, sorted."""
    for p in range(len(pairs)):
        a, b = np.int64(pairs[p] >> np.uint64(32)), np.int64(pairs[p] & np.uint64(0xFFFFFFFF))
        i, j = first[a], first[b]
        while i < first[a + 1] and j < first[b + 1]:
            one, two = keys[i], keys[j]
            counts[p] -= one == two
            i += one <= two
            j += two <= one


def _starts(numbers: npt.NDArray[np.signedinteger], count: int) -> I32:
    """Where each number begins in sorted `numbers`, (count + 1,)."""
    first = np.zeros(count + 1, np.int32)
    np.cumsum(np.bincount(numbers, minlength=count), out=first[1:])
    return first


def first_of(numbers: I64, group: I64, rank: I64, texts: int) -> I64:
    """(n,) first row in rank of each row's text in its group; a row that is like nothing (-1) itself.

    `numbers` (n,) are below `texts`, `group` (n,) from 0, `rank` (n,) distinct.
    """
    order = np.argsort(rank)
    if len(group) and group.max() > 0:
        order = order[np.argsort(group[order], kind="stable")]
    first = np.arange(len(numbers))
    best, of_group = np.empty(texts, np.int64), np.full(texts, -1, np.int64)
    numbers, group, order = (read_only(one, np.int64) for one in (numbers, group, order))
    _first_of(numbers, group, order, best, of_group, first)
    return first


@kernel
def _first_of(numbers: I64, group: I64, order: I64, best: I64, of_group: I64, first: I64) -> None:
    """Over rows by group, then rank; `best` of a text is its first row in the group `of_group`."""
    for row in order:
        number = numbers[row]
        if number >= 0:
            if of_group[number] != group[row]:
                of_group[number] = group[row]
                best[number] = row
            first[row] = best[number]


def indexed_agreement(index: BandIndex, pairs: U64, plan: Plan) -> tuple[F64, I32]:
    """Estimated similarity (m,) of pairs later << 32 | earlier of texts, and the first band in which both are equal.

    By the records of the index, one byte of a slot (`compare.agreement`), so that no sketch is read.
    """
    share, band = np.zeros(len(pairs)), np.full(len(pairs), -1, np.int32)
    for start in range(0, len(pairs), plan.members):
        some = slice(start, start + plan.members)
        ends = np.stack([pairs[some] >> np.uint64(32), pairs[some] & _LOW], axis=1).astype(np.int64)
        texts, local = np.unique(ends, return_inverse=True)
        local = read_only(local.reshape(-1, 2), np.int64)
        agreement(index.records(texts), local, plan.slots, plan.bands, plan.rows, share[some], band[some])
    return share, band


def indexed_candidates(index: BandIndex, numbers: I64, rank: I64, group: I64, plan: Plan) -> Candidates:
    """Pairs of rows whose exact similarity may reach the threshold of the index.

    Row i has the text `numbers[i]` of the index (-1: like nothing) and belongs to `group[i]` (from 0); only rows of one
    group are compared, and a text stands once in a group. `rank` (n,) are distinct, the best row lowest. Memory: 40
    bytes a row, 10 a pair, 8 a text of the index, and records of giants as the plan says.

    Raises:
        UsageError: ranks are not distinct, a text stands twice in a group, or arrays differ in length.
        DamagedError: the index is.
    """
    if not len(numbers) == len(rank) == len(group):
        raise UsageError(
            f"{len(numbers)} texts, {len(rank)} ranks, {len(group)} groups.",
            hint="Give one of each for a row.",
        )
    order = rank_order(rank)
    search = _Search(index, numbers[order], group[order], plan)
    pairs, counts = index.pairs()
    standing = (
        search.stands[(pairs >> np.uint64(32)).astype(np.int64)]
        & search.stands[(pairs & _LOW).astype(np.int64)]
    )
    pairs, counts = pairs[standing], counts[standing]
    found = [np.empty(0, np.uint64)]
    for bucket in search.giants(pairs, counts):
        found += bucket
    packed = _distinct(np.concatenate([search.rows_of(pairs[counts > 0]), *found]))
    ends = np.stack([packed >> np.uint64(32), packed & _LOW], axis=1).astype(np.int64)
    unresolved = np.empty(len(order), np.int32)
    unresolved[order] = search.unresolved
    return Candidates(order[ends], unresolved)


@dataclass
class _Search:
    """One search: rows in order of rank, from here on known by their places in it."""

    index: BandIndex
    numbers: I64
    group: I64
    plan: Plan

    def __post_init__(self) -> None:
        known = np.flatnonzero(self.numbers >= 0)
        by = self.numbers[known] << 32 | self.group[known]  # both are less than 2^31
        self.row = known[np.argsort(by)].astype(np.int32)
        of_row = self.numbers[self.row]
        if ((of_row[1:] == of_row[:-1]) & (self.group[self.row[1:]] == self.group[self.row[:-1]])).any():
            raise UsageError("A text stands twice in a group.", hint="Give one row for each text of a group.")
        self.first = _starts(of_row, self.index.documents)
        self.stands = np.diff(self.first) > 0
        self.unresolved = np.zeros(len(self.numbers), np.int32)
        self.least = least_slots(self.plan.threshold, self.plan.slots)

    def rows_of(self, pairs: U64) -> U64:
        """Pairs of rows, earlier << 32 | later, of pairs of texts."""
        out = np.empty(
            _row_pairs(pairs, self.first, self.row, self.group, np.empty(0, np.uint64), False), np.uint64
        )
        _row_pairs(pairs, self.first, self.row, self.group, out, True)
        return out

    def giants(self, pairs: U64, counts: U16) -> Iterator[list[U64]]:
        """Pairs of rows that giant keys give, some keys at once; takes these keys from the counts of stored pairs."""
        keys = self.index.giants()
        sizes, _ = self.index.entries(keys)
        borders = np.concatenate([[0], np.cumsum(sizes)])
        start = 0
        while start < len(keys):
            stop = int(np.searchsorted(borders, borders[start] + self.plan.members, "right")) - 1
            some = slice(start, max(stop, start + 1))
            _, at_runs = self.index.entries(keys[some])
            members, at = np.empty(sizes[some].sum(), np.int64), borders[some] - borders[start]
            self.index.fill_numbers(at_runs, at.copy(), members)
            self.index.release()
            key = np.repeat(np.arange(len(at), dtype=np.int32), sizes[some])
            heads = np.arange(len(members)) - at[key] < WHOLE
            self._uncount(members[heads], key[heads], pairs, counts)
            yield self._buckets(members, key)
            start = some.stop

    def _uncount(self, members: I64, key: I32, pairs: U64, counts: U16) -> None:
        by_text = np.lexsort((key, members))
        _uncount(pairs, counts, _starts(members, self.index.documents), key[by_text])

    def _buckets(self, members: I64, key: I32) -> list[U64]:
        """Compare the rows of some keys, of each group by itself."""
        counts = self.first[members + 1] - self.first[members]
        rows = self.row[ranges(self.first[members].astype(np.int64), counts.astype(np.int64))]
        key = np.repeat(key, counts)
        order = np.lexsort((rows, self.group[rows], key))
        rows, key = rows[order], key[order]
        group = self.group[rows]
        begins = np.flatnonzero(np.append(True, (key[1:] != key[:-1]) | (group[1:] != group[:-1])))[
            : len(rows)
        ]
        borders = np.append(begins, len(rows))
        found = []
        at = 0
        while at < len(begins):
            stop = int(np.searchsorted(borders, borders[at] + self.plan.members, "right")) - 1
            stop = max(stop, at + 1)
            bucket = rows[borders[at] : borders[stop]]
            if len(bucket) > self.plan.members:
                found += self._giant(bucket)
            else:
                found.append(self._whole(bucket, borders[at : stop + 1] - borders[at]))
            at = stop
        return [_distinct(np.concatenate(found))] if found else []

    def _whole(self, members: I32, borders: I64) -> U64:
        """Buckets whose records fit."""
        rows, local = np.unique(members, return_inverse=True)
        unresolved = np.zeros(len(rows), np.int32)
        pairs = compare(
            local.astype(np.int32), borders, self._records(rows), self.plan.slots, self.plan.threshold, self.least, 0,
            unresolved,
        )  # fmt: skip
        self.unresolved[rows] += unresolved
        return _of_rows(pairs, rows)

    def _giant(self, members: I32) -> list[U64]:
        """One bucket, list by list, each in stretches that follow the first rows of the list."""
        head = np.zeros(len(members), np.bool_)
        items = np.arange(len(members), dtype=np.int32)
        found = []
        for _ in range(ROUNDS):
            heads, rest = items[:WHOLE], items[WHOLE:]
            left = []
            for at in range(0, max(len(rest), 1), self.plan.members):
                stretch = np.concatenate([heads, rest[at : at + self.plan.members]])
                still, pairs = self._stretch(stretch, members[stretch], head)
                left.append(still if at == 0 else still[still > heads[-1]])
                found.append(pairs)
            items = np.concatenate(left)
        self.unresolved[members[items[~head[items]]]] += 1
        return found

    def _stretch(self, items: I32, rows: I32, head: Flags) -> tuple[I32, U64]:
        """Compare the first of a list with a stretch of it; what goes into the next list, and pairs of rows."""
        numbers = np.arange(len(items), dtype=np.int32)
        found = np.empty(len(items) * ANCHORS + WHOLE * WHOLE, np.uint64)
        leads = head[items]
        count, left = compare_list(
            numbers, np.arange(len(items), dtype=np.int32), self._records(rows), self.plan.slots, self.plan.threshold,
            self.least, 0, leads, found, 0,
        )  # fmt: skip
        head[items] = leads
        return items[numbers[:left]], _of_rows(found[:count], rows)

    def _records(self, rows: I32) -> U64:
        """Records of rows, in their order."""
        texts, local = np.unique(self.numbers[rows], return_inverse=True)
        return self.index.records(texts)[local]


def _of_rows(pairs: U64, rows: I32) -> U64:
    """Pairs of numbers in `rows` as pairs of rows."""
    ends = rows.astype(np.uint64)
    found: U64 = ends[pairs >> np.uint64(32)] << np.uint64(32) | ends[pairs & _LOW]
    return found


def _distinct(packed: U64) -> U64:
    packed = np.sort(packed)  # np.unique took 16 times as long
    first: U64 = packed[np.flatnonzero(np.append(True, packed[1:] != packed[:-1]))[: len(packed)]]
    return first


def warm_index(slots: U32, shingles: I32) -> None:
    """Compile the kernels of an index, or load them, on some sketches: a giant bucket of them."""
    options = IndexOptions(slots.shape[1], 2, 2, 0.8, {})
    slots, shingles = np.repeat(slots[:1], 2 * WHOLE, axis=0), np.repeat(shingles[:1], 2 * WHOLE)
    plan = Plan(len(slots), slots.shape[1], 0.8, 2, 2, 2**20, 1, WHOLE)
    texts = np.arange(len(slots))
    with TemporaryDirectory() as folder:
        index = BandIndex(Path(folder), options)
        for step in (0, len(slots)):
            digests = np.stack([texts + step, texts], axis=1).astype(np.uint64)
            index.append([(digests, slots, shingles)], plan, Path(folder))
        numbers = np.arange(index.documents)
        group = np.zeros(len(numbers), np.int64)
        first_of(numbers, group, numbers, len(numbers))
        indexed_candidates(index, numbers, numbers, group, plan)
        indexed_agreement(index, np.full(1, 1 << 32, np.uint64), plan)
        index.numbers(digests)
