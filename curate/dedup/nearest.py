"""The nearest other text of each of a few texts, by comparing sketches with all: a check on what bands found."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from curate.dedup.shingles import I64, U32, read_only
from curate.dedup.sketch import EMPTY, equal_slots
from curate.text.jit import kernel

I32 = npt.NDArray[np.int32]


@kernel
def _nearest(slots: U32, shingles: I32, drawn: I64, threshold: float) -> I64:
    """Row whose sketch agrees with each drawn row in most slots; the row itself if none is long enough."""
    best = np.zeros(len(drawn), np.int64)
    nearest = drawn.copy()
    for row in range(len(slots)):  # a row of the corpus is read once, the drawn ones stay in the cache
        if slots[row, 0] == EMPTY:
            continue
        for i in range(len(drawn)):
            small, large = shingles[row], shingles[drawn[i]]
            if small > large:
                small, large = large, small
            if row == drawn[i] or small < threshold * large:  # similarity is at most the ratio of the sizes
                continue
            same = equal_slots(slots, row, drawn[i])
            if same > best[i]:
                best[i] = same
                nearest[i] = row
    return nearest


def nearest(slots: U32, shingles: I32, drawn: I64, threshold: float) -> I64:
    """Pairs (m, 2): each drawn row with the row whose sketch is nearest to its own, of those that can be that like.

    `slots` (n, K) and `shingles` (n,) are the sketches of all texts, `drawn` (d,) row numbers. A row without such
    another is in no pair. Up to 10 ms per drawn row and million texts.
    """
    found = _nearest(
        read_only(slots, np.uint32), read_only(shingles, np.int32), read_only(drawn, np.int64), threshold
    )
    pairs: I64 = np.stack([drawn, found], axis=1)[found != drawn].astype(np.int64)
    return pairs
