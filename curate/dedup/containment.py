"""What bands have to look for where a text counts that stands in a longer one.

Bands and sketches know Jaccard similarity alone. Of a text of n shingles with the share c in one of k n shingles it is
c / (1 + k - c): 0.67 for 0.8 of a text of the same length, 0.36 for one twice as long, 0.19 for one four times as long.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from curate.dedup.bands import probability
from curate.dedup.candidates import SPREAD
from curate.dedup.presets import SIMILARITIES
from curate.dedup.shingles import I64

I32 = npt.NDArray[np.int32]
F64 = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

TIMES = (1.0, 1.5, 2.0, 3.0, 4.0)
"""Lengths of the longer text, in those of the shorter one, for which a curve is shown."""


def least_jaccard(containment: float, times: float) -> float:
    """Jaccard similarity of a text and one `times` as long that holds the share `containment` of its shingles.

    >>> round(least_jaccard(0.8, 1), 3), round(least_jaccard(0.8, 4), 3)
    (0.667, 0.19)
    """
    return containment / (1 + times - containment)


def contained_curves(
    bands: int, rows: int, similarities: Sequence[float] = SIMILARITIES
) -> dict[float, list[float]]:
    """How likely a pair is to be compared by its containment, for each of `TIMES`, the longer text's length.

    >>> [round(chances[-1], 3) for chances in contained_curves(20, 6).values()]
    [1.0, 0.841, 0.27, 0.027, 0.005]
    """
    return {
        times: probability([least_jaccard(share, times) for share in similarities], bands, rows)
        .round(4)
        .tolist()
        for times in TIMES
    }


def may_contain(estimates: F64, shingles: I32, pairs: I64, containment: float, slots: int) -> Flags:
    """Which pairs (m, 2) of rows may reach `containment`: those whose estimate (m,) their sizes do not exclude.

    `shingles` (n,) are numbers of distinct shingles. A pair is left out where its estimate, of `slots` slots, lies
    3.5 standard errors below the Jaccard similarity that texts of these sizes have at that containment.
    """
    sizes = shingles[pairs].astype(np.float64)
    times = sizes.max(axis=1, initial=1) / np.maximum(sizes.min(axis=1, initial=np.inf), 1)
    need = containment / (1 + times - containment)
    likely: Flags = estimates >= need - SPREAD * np.sqrt(need * (1 - need) / slots)
    return likely
