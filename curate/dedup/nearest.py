"""The nearest other text of each of a few texts, by comparing sketches with all: a check on what bands found."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from curate.dedup.shingles import I64, U32, read_only
from curate.dedup.signatures import Batch
from curate.dedup.sketch import EMPTY
from curate.text.jit import kernel

I32 = npt.NDArray[np.int32]


@kernel
def _nearest(
    rows: I64,
    slots: U32,
    shingles: I32,
    drawn: I64,
    own: U32,
    sizes: I32,
    threshold: float,
    best: I64,
    found: I64,
) -> None:
    """Go on looking for the row whose sketch agrees with each drawn one in most slots, of equals the lowest."""
    for i in range(len(rows)):  # a row of the corpus is read once, the drawn ones stay in the cache
        if slots[i, 0] == EMPTY:
            continue
        for d in range(len(drawn)):
            small, large = shingles[i], sizes[d]
            if small > large:
                small, large = large, small
            if (
                rows[i] == drawn[d] or small < threshold * large
            ):  # similarity is at most the ratio of the sizes
                continue
            same = 0
            for k in range(slots.shape[1]):
                same += slots[i, k] == own[d, k]
            if same > best[d] or (same == best[d] > 0 and rows[i] < found[d]):
                best[d] = same
                found[d] = rows[i]


def nearest(
    batches: Iterable[Batch], drawn: I64, slots: U32, shingles: I32, threshold: float
) -> tuple[I64, I64]:
    """Pairs (m, 2): each drawn row with the one whose sketch is nearest to its own; and in how many slots, (m,).

    `batches` are the sketches of all rows, `drawn` (d,) row numbers with sketches `slots` (d, K) and `shingles` (d,).
    A row without another that can be that like is in no pair. Up to 10 ms per drawn row and million texts.
    """
    best, found = np.zeros(len(drawn), np.int64), np.array(drawn, np.int64)
    own = read_only(drawn, np.int64), read_only(slots, np.uint32), read_only(shingles, np.int32)
    for rows, some, counts in batches:
        given = read_only(rows, np.int64), read_only(some, np.uint32), read_only(counts, np.int32)
        _nearest(*given, *own, threshold, best, found)
    other = best > 0
    return np.stack([own[0], found], axis=1)[other], best[other]
