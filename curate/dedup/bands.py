"""How many bands of how many slots: the probability that a pair of a given similarity is looked at.

Two texts become candidates if all slots of at least one band are equal: at similarity s with b bands of
r rows this happens with probability 1 - (1 - s^r)^b (Broder; Leskovec, Rajaraman, Ullman, chapter 3).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from schemas.errors import UsageError

_STEP = 4  # bands come in fours; those above the need are the margin for slots that are not independent


def probability(similarity: npt.ArrayLike, bands: npt.ArrayLike, rows: int) -> npt.NDArray[np.float64]:
    """Probability that pairs of these similarities become candidates; the shape is that of the arguments.

    >>> probability([0.5, 0.8], 20, 6).round(4).tolist()
    [0.2702, 0.9977]
    """
    curve: npt.NDArray[np.float64] = 1 - (1 - np.asarray(similarity, np.float64) ** rows) ** np.asarray(bands)
    return curve


def bands(threshold: float, slots: int, recall: float = 0.995) -> tuple[int, int]:
    """Bands and rows that find a pair AT the threshold with at least this probability.

    Of all that do, the most rows: the steepest curve, so the fewest candidates below the threshold.
    `datasketch` and its heirs balance areas of error instead and find 40 % of the pairs at 0.8 with 128.

    Raises:
        UsageError: threshold not in (0, 1], recall not in (0, 1), or too few slots for them.

    >>> bands(0.8, 128), bands(0.8, 256)
    ((20, 6), (32, 8))
    """
    if not 0 < threshold <= 1 or not 0 < recall < 1:
        raise UsageError(
            f"threshold is {threshold} and recall {recall}.",
            hint="Give a threshold above 0 and up to 1, and a recall between 0 and 1, such as 0.8 and 0.995.",
        )
    for rows in range(slots, 0, -1):
        miss = 1 - threshold**rows
        need = 1 if miss == 0 else math.ceil(math.log(1 - recall) / math.log(miss)) if miss < 1 else slots + 1
        if need * rows <= slots:
            return min(math.ceil(need / _STEP) * _STEP if need > 1 else 1, slots // rows), rows
    raise UsageError(
        f"{slots} slots cannot find pairs of similarity {threshold} with a probability of {recall}.",
        hint="Take more slots, a higher threshold or a lower recall.",
    )
