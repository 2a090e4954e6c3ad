"""Rows in order of rank, and pairs of rows: checked here, since kernels check no index."""

from __future__ import annotations

import numpy as np

from curate.dedup.shingles import I64, read_only
from schemas.errors import UsageError


def rank_order(rank: I64) -> I64:
    """Rows from the first in rank to the last.

    Raises:
        UsageError: two rows have the same rank, so the result would depend on the order of rows.
    """
    ranks = np.asarray(rank)
    order = np.argsort(ranks).astype(np.int64)  # ranks differ: to be stable would take four times as long
    ranks = ranks[order]
    equal = np.flatnonzero(ranks[1:] == ranks[:-1])
    if len(equal):
        a, b = sorted(order[equal[0] : equal[0] + 2])
        raise UsageError(
            f"Rows {a} and {b} both have rank {ranks[equal[0]]}; ranks must differ.",
            hint="Break ties, for example by the key of the document.",
        )
    return order


def places(order: I64) -> I64:
    """The inverse of `rank_order`: the place of each row."""
    inverse = np.empty(len(order), np.int64)
    inverse[order] = np.arange(len(order))
    return inverse


def row_pairs(pairs: I64, rows: int) -> I64:
    """Pairs (m, 2) as kernels take them.

    Raises:
        UsageError: not of that shape, or a pair names a row outside of `rows`.
    """
    found: I64 = read_only(pairs, np.int64)
    if found.ndim != 2 or found.shape[1] != 2:
        raise UsageError(f"pairs have the shape {found.shape}.", hint="Give two row numbers a pair: (m, 2).")
    if len(found) and not 0 <= found.min() <= found.max() < rows:
        raise UsageError(
            f"pairs name rows {found.min()} to {found.max()} of {rows}.",
            hint="Give row numbers of the arrays passed, from 0.",
        )
    return found
