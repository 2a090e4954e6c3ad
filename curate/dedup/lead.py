"""The leader rule (`leaders.py`) over pairs that come in order of the later text: state in place, O(n) memory.

For pairs that do not fit into memory at once (`bounded.py`) and for texts that join others which are
decided already (`bandindex.py`): what is decided of the first texts does not depend on what follows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from curate.dedup.pairs import row_pairs
from curate.dedup.shingles import I64, read_only
from curate.text.jit import kernel
from schemas.errors import UsageError

I32 = npt.NDArray[np.int32]
F64 = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@kernel
def _lead(keeper: I32, best: F64, pairs: I64, similarity: F64, threshold: float, fixed: Flags) -> None:
    for p in range(len(pairs)):
        a, b, s = pairs[p, 0], pairs[p, 1], similarity[p]
        better = s > best[b] or (s == best[b] and a < keeper[b])
        if s >= threshold and better and not fixed[b] and keeper[a] == a:
            keeper[b] = a
            best[b] = s


def lead(
    keeper: I32, best: F64, pairs: I64, similarity: F64, threshold: float, fixed: Flags | None = None
) -> None:
    """Decide the texts that are second in `pairs`, in place: all calls together do what `leaders` does.

    `keeper` (n,) and `best` (n,) begin as `arange(n)` and zeros, or as they stand for texts decided before;
    the numbers of texts are their places in rank. `pairs` (m, 2) are (earlier, later), sorted by the later,
    also from call to call, with their exact similarity (m,). Texts that are `fixed` (n,) stay.

    Raises:
        UsageError: pairs are not in that order, or name no text.
    """
    pairs = row_pairs(pairs, len(keeper))
    if (pairs[:, 0] >= pairs[:, 1]).any() or (np.diff(pairs[:, 1]) < 0).any():
        raise UsageError(
            "Pairs are not in order of their later text.",
            hint="Give (earlier, later) in rank, sorted by the later; `leaders` takes any order.",
        )
    stays = np.zeros(len(keeper), np.bool_) if fixed is None else fixed
    _lead(keeper, best, pairs, read_only(similarity, np.float64), threshold, read_only(stays, np.bool_))
