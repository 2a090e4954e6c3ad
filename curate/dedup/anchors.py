"""Recall on real pairs: a few hundred documents, drawn by chance, are compared exactly with all texts.

A sample of pairs of a large corpus has next to no near-duplicates in it. A sample of documents, each with all that is
like it, has; and it is unbiased: each pair is met with the same probability. The shingles of the sample stand in a
table, all texts stream past it once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from curate.dedup.intervals import bootstrap, wilson
from curate.dedup.shingles import I64, U64, ShingleOptions, shingle_sets, table_size
from curate.dedup.verify import F64, Measure
from curate.text.jit import kernel

Flags = npt.NDArray[np.bool_]
_STRATUM = 0.05  # the stratum just above the threshold, where recall is least


@dataclass(frozen=True)
class Anchors:
    """The shingles of the drawn documents, to be probed: about 40 bytes per distinct shingle."""

    options: ShingleOptions
    keys: U64
    """Open-addressing table of distinct shingles; 0 is an empty place."""
    first: I64
    """Where the owners of the shingle at each place begin."""
    last: I64
    owners: I64
    """Anchors, shingle by shingle."""
    sizes: I64
    """Distinct shingles of each anchor."""


@kernel
def _build(values: U64, borders: I64) -> tuple[U64, I64, I64]:
    size = table_size(len(values))
    mask = np.uint64(size - 1)
    keys = np.zeros(size, np.uint64)
    first, last = np.zeros(size, np.int64), np.zeros(size, np.int64)
    for i in range(len(values)):
        place = values[i] >> np.uint64(20) & mask
        while keys[place] != np.uint64(0):
            place = (place + np.uint64(1)) & mask
        keys[place] = values[i]
        first[place] = borders[i]
        last[place] = borders[i + 1]
    return keys, first, last


def anchors(texts: pa.LargeStringArray, options: ShingleOptions) -> Anchors:
    """The table of these documents; 500 to 1,000 of them are a good number."""
    sets = shingle_sets(texts, options)
    sizes = np.diff(sets.offsets)
    order = np.argsort(sets.values, kind="stable")
    values, begins = np.unique(sets.values[order], return_index=True)
    owners = np.repeat(np.arange(len(sizes)), sizes)[order]
    borders = np.append(begins, len(owners)).astype(np.int64)
    return Anchors(options, *_build(values, borders), owners, sizes)


@kernel
def _meet(
    values: U64, offsets: I64, keys: U64, first: I64, last: I64, owners: I64, sizes: I64, threshold: float,
    contained: bool,
) -> tuple[I64, I64, F64]:  # fmt: skip
    """Anchor, row and similarity of each text and anchor at or above the threshold."""
    n = len(offsets) - 1
    mask = np.uint64(len(keys) - 1)
    shared, touched = np.zeros(len(sizes), np.int64), np.empty(len(sizes), np.int64)
    # Memory that is never written to is never taken.
    anchor, row = np.empty(n * len(sizes), np.int64), np.empty(n * len(sizes), np.int64)
    similarity = np.empty(n * len(sizes))
    count = 0
    for i in range(n):
        met = 0
        for v in range(offsets[i], offsets[i + 1]):
            place = values[v] >> np.uint64(20) & mask
            while keys[place] != np.uint64(0) and keys[place] != values[v]:
                place = (place + np.uint64(1)) & mask
            if keys[place] == np.uint64(0):
                continue
            for o in range(first[place], last[place]):
                if shared[owners[o]] == 0:
                    touched[met] = owners[o]
                    met += 1
                shared[owners[o]] += 1
        for a in np.sort(touched[:met]):
            size = offsets[i + 1] - offsets[i]
            whole = min(sizes[a], size) if contained else sizes[a] + size - shared[a]
            found = shared[a] / whole
            shared[a] = 0
            if found >= threshold:
                anchor[count], row[count], similarity[count] = a, i, found
                count += 1
    return anchor[:count].copy(), row[:count].copy(), similarity[:count].copy()


def neighbours(
    drawn: Anchors, texts: pa.LargeStringArray, threshold: float, measure: Measure = "jaccard"
) -> pl.DataFrame:
    """All texts of a batch that are like an anchor: `anchor` and `row` (numbers), exact `similarity`, and `times`.

    `times` is how many times as many shingles the longer of both has. The anchors themselves are in it too where they are
    in the batch. One scan, in memory the distinct shingles of the batch (about 1.3 bytes per byte of prose).
    """
    sets = shingle_sets(texts, drawn.options)
    anchor, row, similarity = _meet(
        sets.values, sets.offsets, drawn.keys, drawn.first, drawn.last, drawn.owners, drawn.sizes, threshold,
        measure == "containment",
    )  # fmt: skip
    sizes = np.stack([drawn.sizes[anchor], np.diff(sets.offsets)[row]])
    times = sizes.max(axis=0) / sizes.min(axis=0)
    return pl.DataFrame({"anchor": anchor, "row": row, "similarity": similarity, "times": times})


def anchor_recall(truth: pl.DataFrame, found: Flags, both_kept: Flags, threshold: float) -> pl.DataFrame:
    """Recall over the pairs of `neighbours` (without the anchors' own), by similarity.

    `found` (m,) says which of the pairs the run has verified, `both_kept` (m,) of which pairs both texts stay. In a
    bucket of hundreds not all pairs are verified, by design: a pair is settled when it was found or one of its texts
    is gone. Columns: `from` and `to` (similarity), `anchors` (with a pair), `pairs`, `found` (share), `settled`
    (share) with `low` and `high`, `left` (pairs that are not settled). The interval at 95 % draws whole anchors;
    where all or nothing is settled it is Wilson's over anchors.
    """
    settled = np.asarray(found) | ~np.asarray(both_kept)
    each = truth.select("anchor", "similarity", found=np.asarray(found), settled=settled)
    top = round(min(threshold + _STRATUM, 1.0), 6)
    strata = ((threshold, top), (top, 1.0), (threshold, 1.0))
    return pl.DataFrame([_stratum(each, least, most) for least, most in strata])


def _stratum(each: pl.DataFrame, least: float, most: float) -> dict[str, float]:
    """One row of `anchor_recall`; 1.0 is in the stratum that ends there."""
    inside = each.filter(pl.col("similarity") >= least, (pl.col("similarity") < most) | (most == 1))
    groups = inside.group_by("anchor", maintain_order=True).agg(pl.col("settled").sum(), pairs=pl.len())
    hits, trials = (groups.get_column(name).to_numpy() for name in ("settled", "pairs"))
    none, whole = hits.sum() == 0, hits.sum() == trials.sum()
    low, high = wilson(len(groups) * int(whole), len(groups)) if none or whole else bootstrap(hits, trials)
    return {
        "from": least,
        "to": most,
        "anchors": len(groups),
        "pairs": len(inside),
        "found": float(inside.get_column("found").sum()) / max(len(inside), 1),
        "settled": float(hits.sum()) / max(len(inside), 1),
        "low": low,
        "high": high,
        "left": len(inside) - int(hits.sum()),
    }
