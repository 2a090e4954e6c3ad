"""A growing set of keys in 16 bytes each, where a column of strings takes 48."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.lake.digest import digest_column, key_lanes

_Lanes = npt.NDArray[np.uint64]  # (n, 2) halves of keys, in order of the first


class KeySet:
    """Keys, which are digests or stand for theirs, in sorted runs that are merged when a later one is no smaller.

    So all additions together cost n log n, as in a log-structured tree (O'Neil et al. 1996).
    """

    def __init__(self) -> None:
        self._runs: list[_Lanes] = []

    def add(self, keys: pl.Series) -> None:
        """Put keys in."""
        run = _sorted(_lanes(keys))
        while self._runs and len(self._runs[-1]) <= len(run):
            run = _sorted(np.concatenate([self._runs.pop(), run]))
        self._runs.append(run)

    def has(self, keys: pl.Series) -> npt.NDArray[np.bool_]:
        """(n,) whether each key is in the set."""
        wanted = _lanes(keys)
        found = np.zeros(len(wanted), dtype=np.bool_)
        for run in self._runs:
            at = np.searchsorted(run[:, 0], wanted[:, 0])
            # Keys that share their first half follow each other.
            while (open_ := at < len(run)).any():
                open_[open_] = run[at[open_], 0] == wanted[open_, 0]
                if not open_.any():
                    break
                found[open_] |= run[at[open_], 1] == wanted[open_, 1]
                at = np.where(open_, at + 1, len(run))
        return found


def key_halves(keys: pl.Series) -> npt.NDArray[np.uint64]:
    """(n,) first half of each key as a number."""
    return _lanes(keys)[:, 0]


def _lanes(keys: pl.Series) -> _Lanes:
    whole = keys.str.len_bytes() == 32
    if not whole.all():
        digests = pl.Series(digest_column(keys.to_arrow()))
        keys = digests.zip_with(~whole, keys)
    return key_lanes(keys)


def _sorted(lanes: _Lanes) -> _Lanes:
    return lanes[np.argsort(lanes[:, 0])]
