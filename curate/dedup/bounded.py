"""Candidates within a budget of memory: the pairs of `candidates.py`, from sketches read batch by batch.

Of each batch the keys of all bands are put aside by some bits of the key, and the records of the sketches
(one byte a slot, `compare.py`) in one file. Then part by part equal keys are found and compared; the records
of their rows are gathered from the file. Pairs are put aside by the later row and given back in its order, so
that the leader rule (`lead`) takes them as they come. In memory stay 8 bytes a document, and the budget.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from curate.dedup.candidates import all_keys, buckets, firsts, least_slots
from curate.dedup.compare import (
    ANCHORS,
    ROUNDS,
    WHOLE,
    Flags,
    compare,
    compare_list,
    fill_records,
    record_words,
)
from curate.dedup.memory import Plan
from curate.dedup.shingles import I64, U32, U64, read_only
from curate.dedup.spill import Spill
from curate.text.jit import kernel
from schemas.errors import UsageError

I32 = npt.NDArray[np.int32]
F64 = npt.NDArray[np.float64]
Batch = tuple[I64, U32, I32]
"""Positions in rank (m,), slots (m, K) and shingles (m,) of some sketches."""

_ENTRY = np.dtype([("key", "<u8"), ("position", "<u4")])
_PART_BIT = (
    24  # parts go by these bits of the key, for tables use those below and partitions those at the top
)
_BATCH_KEYS = 2**20  # keys derived at once
_RANGES = 64  # of the later row, into which pairs are put aside
_PAIR = 48  # bytes of a pair while it is sorted
_GATHER = 2048  # rows between two releases of mapped pages: the kernel maps 64 KB around each


@dataclass
class BoundedCandidates:
    """Pairs that lie in files; close it (or use `with`) to delete them."""

    unresolved: I32
    """(n,) by position: bands in which the document was left over in a giant bucket."""
    documents: int
    budget: int
    _spill: Spill
    _files: ExitStack

    def pairs(self) -> Iterator[I64]:
        """Pairs (m, 2) of positions, each pair once, sorted by the later, then the earlier, which is first."""
        yield from _sorted_pairs(self._spill, 0, self.documents, self.budget)

    def close(self) -> None:
        """Delete the files."""
        self._files.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def bounded_candidates(batches: Iterable[Batch], plan: Plan, folder: Path) -> BoundedCandidates:
    """What `candidates` finds, of sketches that come batch by batch, with files in `folder`.

    Positions are those in rank, 0 (the best document) to `plan.documents` - 1, in any order; a document
    without a sketch is in no pair. The pairs and counts are those of `candidates` (a test holds it).
    Memory is `plan.memory`, disk `plan.disk` and 8 bytes per pair, band and part it is found in.

    Raises:
        UsageError: a position comes twice or is not one of the plan's, or sketches have other lengths.
    """
    with ExitStack() as files:
        found = files.enter_context(Spill(folder, "<u8", _RANGES))
        with Spill(folder, "<u8", 1) as records, Spill(folder, _ENTRY, plan.partitions) as keys:
            place = np.full(plan.documents, -1, np.int32)
            for positions, slots, shingles in batches:
                _put_aside(positions, slots, shingles, plan, place, records, keys)
            search = _Search(plan, place, records.mapped(0), found)
            for part in range(plan.partitions):
                search.part(keys.read(part))
        return BoundedCandidates(search.unresolved, plan.documents, plan.budget, found, files.pop_all())


def _put_aside(
    positions: I64, slots: U32, shingles: I32, plan: Plan, place: I32, records: Spill, keys: Spill
) -> None:
    positions = read_only(positions, np.int64)
    slots, shingles = read_only(slots, np.uint32), read_only(shingles, np.int32)
    if len(positions) and not 0 <= positions.min() <= positions.max() < plan.documents:
        raise UsageError(
            f"Positions {positions.min()} to {positions.max()} of {plan.documents} documents.",
            hint="Give each document its place in rank, from 0.",
        )
    if not len(positions) == len(slots) == len(shingles) or slots.shape[1] != plan.slots:
        raise UsageError(
            f"{len(positions)} positions, slots {slots.shape}, {len(shingles)} counts; the plan has {plan.slots} slots.",
            hint="Give a position and a count for each sketch, all of the planned length.",
        )
    if (place[positions] >= 0).any() or len(np.unique(positions)) < len(positions):
        raise UsageError("A position came twice.", hint="Give each document its own place in rank.")
    start = records.rows[0] // record_words(plan.slots)
    place[positions] = np.arange(start, start + len(positions))
    step = max(1, _BATCH_KEYS // plan.bands)
    for at in range(0, len(positions), step):
        chunk = slice(at, at + step)
        out = np.empty((len(slots[chunk]), record_words(plan.slots)), np.uint64)
        fill_records(slots[chunk], shingles[chunk], read_only(np.arange(len(out)), np.int64), out)
        records.append(0, out.reshape(-1))
        entries = np.empty(len(out) * plan.bands, _ENTRY)
        borders = _by_part(all_keys(slots[chunk], plan.bands, plan.rows), positions[chunk], plan.partitions, entries["key"], entries["position"])  # fmt: skip
        keys.append_parts(entries, borders)


@kernel
def _by_part(keys: U64, positions: I64, parts: int, out: U64, rows: U32) -> I64:
    """Keys other than 0 and their positions, part by part; returns the borders of the parts."""
    borders = np.zeros(parts + 1, np.int64)
    mask, bit = np.uint64(parts - 1), np.uint64(_PART_BIT)
    for key in keys.flat:
        borders[np.int64(key >> bit & mask) + 1] += key != np.uint64(0)
    for p in range(parts):
        borders[p + 1] += borders[p]
    free = borders.copy()
    for row in range(len(keys)):
        for band in range(keys.shape[1]):
            key = keys[row, band]
            if key != np.uint64(0):
                part = np.int64(key >> bit & mask)
                out[free[part]] = key
                rows[free[part]] = np.uint32(positions[row])
                free[part] += 1
    return borders


@dataclass
class _Search:
    """The search of all parts: what they share, and what they add to."""

    plan: Plan
    place: I32
    mapping: mmap.mmap | None
    found: Spill

    def __post_init__(self) -> None:
        words = record_words(self.plan.slots)
        self.records = np.frombuffer(self.mapping or b"", np.uint64).reshape(-1, words)
        self.unresolved = np.zeros(self.plan.documents, np.int32)
        self.least = least_slots(self.plan.threshold, self.plan.slots)

    def part(self, entries: npt.NDArray[np.void]) -> None:
        """Compare all buckets of a part."""
        positions = np.ascontiguousarray(entries["position"])
        by_rank = np.argsort(positions)  # of equal positions the keys differ: their order does not matter
        keys, positions = entries["key"][by_rank], positions[by_rank]
        del entries, by_rank
        members, borders = buckets(firsts(keys))
        del keys
        positions = positions[members]
        group = 0
        while group < len(borders) - 1:
            start = int(borders[group])
            fitting = int(np.searchsorted(borders, start + self.plan.members, "right")) - 1
            stop = max(fitting, group + 1)
            bucket = positions[start : borders[stop]]
            if len(bucket) > self.plan.members:
                self._giant(bucket)
            else:
                self._whole(bucket, borders[group : stop + 1] - start)
            group = stop

    def _whole(self, positions: U32, borders: I64) -> None:
        """Buckets whose records fit."""
        rows, members = np.unique(positions, return_inverse=True)
        unresolved = np.zeros(len(rows), np.int32)
        pairs, _ = compare(
            members.astype(np.int32),
            borders,
            self._gather(rows),
            self.plan.slots,
            self.plan.threshold,
            self.least,
            0,
            unresolved,
        )
        self.unresolved[rows] += unresolved
        self._add(pairs, rows)

    def _giant(self, positions: U32) -> None:
        """One bucket, list by list, each in stretches that follow the first rows of the list."""
        head = np.zeros(len(positions), np.bool_)
        items = np.arange(len(positions), dtype=np.int32)
        for _ in range(ROUNDS):
            heads, rest = items[:WHOLE], items[WHOLE:]
            left = []
            for at in range(0, max(len(rest), 1), self.plan.members):
                stretch = np.concatenate([heads, rest[at : at + self.plan.members]])
                still = self._stretch(stretch, positions[stretch], head)
                left.append(still if at == 0 else still[still > heads[-1]])
            items = np.concatenate(left)
        self.unresolved[positions[items[~head[items]]]] += 1

    def _stretch(self, items: I32, rows: U32, head: Flags) -> I32:
        """Compare the first of a list with a stretch of it; returns what goes into the next list."""
        numbers = np.arange(len(items), dtype=np.int32)
        found = np.empty(len(items) * ANCHORS + WHOLE * WHOLE, np.uint64)
        leads = head[items]
        count, left = compare_list(
            numbers,
            np.arange(len(items), dtype=np.int32),
            self._gather(rows),
            self.plan.slots,
            self.plan.threshold,
            self.least,
            0,
            leads,
            found,
            0,
        )
        head[items] = leads
        self._add(found[:count], rows)
        return items[numbers[:left]]

    def _gather(self, positions: U32) -> U64:
        """Records of rows at these positions; the mapped pages are released again."""
        rows = self.place[positions]
        by_place = np.argsort(rows)
        out = np.empty((len(rows), self.records.shape[1]), np.uint64)
        for at in range(0, len(rows), _GATHER):
            some = by_place[at : at + _GATHER]
            out[some] = self.records[rows[some]]
            if self.mapping is not None:
                self.mapping.madvise(mmap.MADV_DONTNEED)
        return out

    def _add(self, pairs: U64, positions: U32) -> None:
        """Put pairs of numbers of rows aside, as pairs of their positions, by range of the later."""
        earlier = positions[pairs >> np.uint64(32)].astype(np.uint64)
        later = positions[pairs & np.uint64(0xFFFFFFFF)].astype(np.uint64)
        _put_pairs(_distinct(later << np.uint64(32) | earlier), self.found, 0, self.plan.documents)


def _distinct(packed: U64) -> U64:
    packed = np.sort(packed)  # np.unique took 16 times as long
    return packed[np.flatnonzero(np.diff(packed, prepend=np.uint64(0)))]


def _range_starts(low: int, high: int) -> I64:
    return low + np.arange(_RANGES + 1) * (high - low) // _RANGES


def _put_pairs(packed: U64, spill: Spill, low: int, high: int) -> None:
    """Put sorted pairs (later << 32 | earlier) aside by range of the later, of the ranges of [low, high)."""
    starts = _range_starts(low, high).astype(np.uint64) << np.uint64(32)
    spill.append_parts(packed, np.searchsorted(packed, starts))


def _sorted_pairs(spill: Spill, low: int, high: int, budget: int) -> Iterator[I64]:
    """Pairs of all ranges in order; a range that is too large for the budget is cut into ranges again."""
    starts = _range_starts(low, high)
    for number in range(_RANGES):
        first, last = int(starts[number]), int(starts[number + 1])
        if spill.rows[number] * _PAIR > budget and last - first > 1:
            with Spill(spill.folder, "<u8", _RANGES) as finer:
                for packed in spill.batches(number, max(1, budget // _PAIR)):
                    _put_pairs(np.sort(packed), finer, first, last)
                yield from _sorted_pairs(finer, first, last, budget)
        elif spill.rows[number]:
            packed = _distinct(spill.read(number))
            yield np.stack([packed & np.uint64(0xFFFFFFFF), packed >> np.uint64(32)], axis=1).astype(np.int64)
