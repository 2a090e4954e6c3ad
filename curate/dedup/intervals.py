"""How far a measured share may be from the true one."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt


def wilson(hits: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of the true share behind `hits` of `trials` (Wilson 1927); (0, 1) without a trial.

    Unlike the usual mean +- 2 errors it holds near 0 and 1: 1,000 of 1,000 says at least 0.996, not exactly 1.

    >>> tuple(round(end, 4) for end in wilson(1000, 1000))
    (0.9962, 1.0)
    """
    if trials == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share, spread = hits / trials, z * z / trials
    centre = share + spread / 2
    reach = z * math.sqrt(share * (1 - share) / trials + spread / (4 * trials))
    low, high = (centre - reach) / (1 + spread), (centre + reach) / (1 + spread)
    return 0.0 if hits == 0 else low, 1.0 if hits == trials else high


def bootstrap(
    hits: npt.ArrayLike, trials: npt.ArrayLike, confidence: float = 0.95, *, draws: int = 2000, seed: int = 1
) -> tuple[float, float]:
    """Interval of sum(hits) / sum(trials), whole groups drawn with replacement; (0, 1) without a trial.

    For trials that come in groups, such as the pairs of one document: a cluster of 57 has 1,596 pairs, and all are
    found or missed together. `hits` and `trials` (g,) are counts of each group. If nothing was missed the interval
    has no width: then `wilson` over groups says more.
    """
    found, tried = np.asarray(hits, np.float64), np.asarray(trials, np.float64)
    if tried.sum() == 0:
        return 0.0, 1.0
    times = np.random.default_rng(seed).multinomial(len(tried), np.full(len(tried), 1 / len(tried)), draws)
    of = times @ tried
    shares = (times @ found)[of > 0] / of[of > 0]
    low, high = np.quantile(shares, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(low), float(high)
