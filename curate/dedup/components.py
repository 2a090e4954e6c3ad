"""Connected components: the rule of published pipelines, for those who replicate what they removed.

All that hangs together through pairs, however long the chain, is one cluster, of which one text stays.
Ours is the leader rule (`leaders.py`), which removes nothing that is unlike what stays.
"""

from __future__ import annotations

import numpy as np

from curate.dedup.candidates import band_keys, firsts
from curate.dedup.pairs import places, rank_order, row_pairs
from curate.dedup.shingles import I64, U32, read_only
from curate.text.jit import kernel


@kernel
def _roots(parents: I64, pairs: I64) -> None:
    """Union by the lower number, with path halving; `parents` then names the lowest of each component."""
    for p in range(len(pairs)):
        a, b = pairs[p]
        while parents[a] != a:
            parents[a] = parents[parents[a]]
            a = parents[a]
        while parents[b] != b:
            parents[b] = parents[parents[b]]
            b = parents[b]
        if a < b:
            parents[b] = a
        else:
            parents[a] = b
    for i in range(len(parents)):  # parents are lower, so those of i are final
        parents[i] = parents[parents[i]]


def collisions(slots: U32, rank: I64, *, bands: int, rows: int) -> I64:
    """Pairs (m, 2) of rows that are equal in a band, each with the first in rank of its bucket: a star a bucket."""
    order = read_only(rank_order(rank), np.int64)
    position = read_only(places(order), np.int64)
    slots = read_only(slots, np.uint32)
    found = [np.empty((0, 2), np.int64)]
    for band in range(bands):
        first = firsts(band_keys(slots, position, band, rows))
        later = np.flatnonzero(first != np.arange(len(first)))
        found.append(np.stack([order[first[later]], order[later]], axis=1))
    return np.concatenate(found)


def components(rank: I64, pairs: I64) -> I64:
    """The first in rank of each row's component, (n,) int64; pairs (m, 2) are row numbers.

    Raises:
        UsageError: ranks are not distinct, or a pair names no row.
    """
    order = rank_order(rank)
    ends = places(order)[row_pairs(pairs, len(order))]
    parents = np.arange(len(order))
    _roots(parents, read_only(ends, np.int64))
    rows = np.empty_like(order)
    rows[order] = order[parents]
    return rows
