"""Exact similarity of candidate pairs, without sketches."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.dedup.pairs import row_pairs
from curate.dedup.shingles import I64, U64, ShingleOptions, insert, shingle_sets, table_size
from curate.text.jit import kernel

F64 = npt.NDArray[np.float64]
Measure = Literal["jaccard", "containment"]


@kernel
def _contains(table: U64, mask: np.uint64, value: np.uint64) -> bool:
    place = value >> np.uint64(20) & mask
    while table[place] != np.uint64(0):
        if table[place] == value:
            return True
        place = (place + np.uint64(1)) & mask
    return False


@kernel
def _shared(values: U64, offsets: I64, pairs: I64, largest: int) -> I64:
    """Shingles that pairs share, pairs grouped by their first text; `largest`: shingles of the longest text."""
    out = np.zeros(len(pairs), np.int64)
    table = np.empty(table_size(largest), np.uint64)
    mask = np.uint64(0)
    anchor = -1
    for p in range(len(pairs)):
        a, b = pairs[p]
        if a != anchor:
            anchor = a
            size = table_size(offsets[a + 1] - offsets[a])
            mask = np.uint64(size - 1)
            table[:size] = 0
            for i in range(offsets[a], offsets[a + 1]):
                insert(table, mask, values[i])
        both = 0
        for i in range(offsets[b], offsets[b + 1]):
            both += _contains(table, mask, values[i])
        out[p] = both
    return out


def similarities(
    texts: pa.LargeStringArray, pairs: I64, options: ShingleOptions, measure: Measure = "jaccard"
) -> F64:
    """Exact similarity, (m,), of pairs (m, 2) of rows of `texts`: of their sets of shingles A and B.

    `jaccard` is |A and B| / |A or B|, `containment` |A and B| / the smaller of both: 1 for a quotation in a
    longer text. Bands find pairs by Jaccard, so containment is for pairs that are known by other means or
    by bands of a low threshold.

    Pairs are independent of one another: give each shard its pairs and only the texts that they name,
    each once. Shards that keep the pairs of a first text together are the fastest. 0 where a text has no
    word. Runs without the GIL. Memory: 8 bytes per distinct shingle of the texts (about 1.3 bytes per
    byte of prose), 32 per pair.

    Raises:
        UsageError: a pair names no row.
    """
    pairs = row_pairs(pairs, len(texts))
    if len(pairs) == 0:
        return np.zeros(0)
    sets = shingle_sets(texts, options)
    grouped = np.argsort(pairs[:, 0], kind="stable")
    both = np.empty(len(pairs), np.int64)
    sizes = np.diff(sets.offsets)
    both[grouped] = _shared(sets.values, sets.offsets, pairs[grouped], int(sizes.max()))
    of_pair = sizes[pairs]
    whole = of_pair.min(axis=1) if measure == "containment" else of_pair.sum(axis=1) - both
    found: F64 = both / np.maximum(whole, 1)
    return found
