"""Texts that say the same in other words: pairs of vectors with a large cosine, without comparing all with all.

As in SemDeDup (Abbas et al. 2023, arXiv:2303.09540) k-means makes clusters and only vectors of one cluster are
compared, but each vector is in its four nearest clusters, and a pair is missed only if none is the same. Cosines are
exact, so nothing is found that is not alike; `recall_of` says how much is missed. k-means is a few matrix products of
NumPy, so that a corpus does not depend on the packages of an index.

Recall among 50,000 vectors of 256 dimensions, a tenth of them copies with cosines of 0.9 to 1, with 2, 3 and 4 probes:
0.944, 0.984 and 0.995 at the threshold 0.9 if there is no cluster in them, 0.9988, 0.9996 and 0.9998 with 500 topics.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from curate.dedup.pairs import row_pairs
from curate.dedup.shingles import I64
from schemas.errors import UsageError

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

MOST_EARLIER = 100  # rows that one is paired with in a cluster: texts all alike give no square of pairs
_LARGEST = 50_000  # vectors of a cluster that is not split again
_ALONE = 4_000  # so few are compared all with all
_TRAINED, _ROUNDS = 40, 5  # vectors a cluster that k-means sees (FAISS warns below 39), and its rounds
_BLOCK = 4_000_000  # numbers of a block that is worked on at once
_MARGIN = 1e-4  # float32 loses less in a product of 1,600 numbers; what is found is compared in float64
_UNIT = 1e-3  # how far from 1 the length of a vector may be


def semantic_pairs(
    vectors: F32, threshold: float, *, clusters: int | None = None, probes: int = 4, seed: int = 0
) -> tuple[I64, F64]:
    """Pairs of rows (m, 2) whose cosine is at least `threshold`, the earlier row first, and the cosine (m,).

    Give the `vectors` (n, d), each of length 1, in order of rank. Of rows that are equal only the first is compared
    with rows before it, and the others take over what it found, which leaves `leaders` the same rows to keep; and in a
    cluster a row is paired with the first 100 that are like it.

    Memory, beside the vectors (and a copy of them if some are equal): 160 times the square root of their number of
    them for k-means, 30 bytes per row and probe, 100 per pair.

    Args:
        vectors: float32, as an embedder gives them.
        threshold: above 0, at most 1.
        clusters: number of clusters; twice the square root of the rows, with which k-means, comparing with its centres
            and comparing within clusters take about the same time, and 1 for up to 4,000 rows.
        probes: nearest clusters that a vector is in; 1 is SemDeDup.
        seed: of k-means; the same result with the same seed, NumPy and number of threads.

    Raises:
        UsageError: vectors are not of length 1 (zero or NaN, say), or an option is out of its range.
    """
    _check(vectors, threshold, clusters, probes)
    first, owner = _distinct(vectors)
    low = np.float32(threshold - _MARGIN)
    distinct = vectors if len(first) == len(vectors) else vectors[first]
    near = _near(distinct, low, clusters, probes, np.random.default_rng(seed))
    cosine = _cosines(distinct, near)
    near, cosine = near[cosine >= threshold], cosine[cosine >= threshold]
    return _with_equals(near, cosine, first, owner)


def recall_of(vectors: F32, pairs: I64, threshold: float, sample: int = 1000, seed: int = 0) -> float:
    """Share of the pairs that exact search finds for some rows that is among `pairs`; 1 if it finds none.

    Raises:
        UsageError: vectors are not of length 1, or a pair names no row.
    """
    found, there = found_of_sample(vectors, pairs, threshold, sample, seed)
    return found / there if there else 1.0


def found_of_sample(
    vectors: F32, pairs: I64, threshold: float, sample: int = 1000, seed: int = 0
) -> tuple[int, int]:
    """How many of the pairs that exact search finds for some rows are among `pairs`, and how many it finds.

    The rows are drawn from those that equal no earlier one, and so are their partners. The vectors are read once.

    Raises:
        UsageError: vectors are not of length 1, or a pair names no row.
    """
    _check(vectors, threshold, None, 1)
    pairs = row_pairs(pairs, len(vectors))
    first, _ = _distinct(vectors)
    drawn = first[np.random.default_rng(seed).permutation(len(first))[:sample]]
    few, key = vectors[drawn], np.array([len(vectors), 1])
    keys = np.sort(pairs, axis=1) @ key
    wanted = [np.empty(0, np.int64)]
    step = max(1, _BLOCK // max(1, len(drawn)))
    for at in range(0, len(first), step):
        part = first[at : at + step]
        other, row = np.nonzero(vectors[part] @ few.T >= np.float32(threshold - _MARGIN))
        found = np.sort(np.stack([drawn[row], part[other]], axis=1), axis=1)
        found = found[found[:, 0] != found[:, 1]]
        wanted.append(found[_cosines(vectors, found) >= threshold] @ key)
    all_wanted = np.unique(np.concatenate(wanted))
    return int(np.isin(all_wanted, keys).sum()), len(all_wanted)


def _check(vectors: F32, threshold: float, clusters: int | None, probes: int) -> None:
    if vectors.ndim != 2 or vectors.dtype != np.float32:
        raise UsageError(
            f"vectors are {vectors.dtype} of the shape {vectors.shape}.",
            hint="Give float32, a row for each text.",
        )
    if not 0 < threshold <= 1 or probes < 1 or (clusters is not None and clusters < 1):
        raise UsageError(
            f"threshold is {threshold}, clusters {clusters}, probes {probes}.",
            hint="A threshold lies above 0 and is at most 1; clusters and probes are at least 1.",
        )
    lengths = _lengths(vectors)
    wrong = np.flatnonzero(~(np.abs(lengths - 1) <= _UNIT))  # NaN, too
    if len(wrong):
        raise UsageError(
            f"Vector {wrong[0]} has the length {lengths[wrong[0]]:.4g}, and {len(wrong) - 1:,} others are not of length 1.",
            hint="Divide each vector by its length; a text without a vector (zero, NaN) is compared with none.",
        )


def _lengths(vectors: F32) -> F64:
    lengths: F64 = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    return lengths


def _distinct(vectors: F32) -> tuple[I64, I64]:
    """The rows that equal no earlier one, ascending, and for each row the number of its equal among them."""
    weights = np.random.default_rng(0).integers(0, 2**64, vectors.shape[1], np.uint64) | np.uint64(1)
    step = max(1, _BLOCK // max(1, vectors.shape[1]))
    hashes = np.empty(len(vectors), np.uint64)
    for at in range(0, len(vectors), step):
        part = np.ascontiguousarray(vectors[at : at + step]).view(np.uint32).astype(np.uint64)
        hashes[at : at + step] = np.einsum("ij,j->i", part, weights)
    _, first, owner = np.unique(hashes, return_index=True, return_inverse=True)
    same = np.concatenate(
        [np.empty(0, np.bool_)]
        + [
            (vectors[at : at + step] == vectors[first[owner[at : at + step]]]).all(axis=1)
            for at in range(0, len(vectors), step)
        ]
    )
    leader = np.where(same, first[owner], np.arange(len(vectors)))  # equal hashes of what is not equal
    return np.unique(leader, return_inverse=True)


def _near(vectors: F32, low: np.float32, clusters: int | None, probes: int, rng: np.random.Generator) -> I64:
    """Distinct pairs (m, 2) of about that cosine within clusters, the earlier row first."""
    n = len(vectors)
    keys = [np.empty(0, np.int64)]
    for members in _clusters(vectors, clusters, probes, rng):
        if _LARGEST < len(members) < 0.9 * n:
            found = _near(vectors[members], low, None, probes, rng)
        else:
            found = _within(vectors[members], low)
        keys.append(members[found] @ np.array([n, 1]))
    return np.stack(np.divmod(np.unique(np.concatenate(keys)), max(n, 1)), axis=1)


def _within(vectors: F32, low: np.float32) -> I64:
    """Pairs of about that cosine, each row with the first of those before it."""
    step = max(1, _BLOCK // max(1, len(vectors)))
    found = [np.empty((0, 2), np.int64)]
    for at in range(0, len(vectors), step):
        block = vectors[at : at + step]
        alike = block @ vectors[: at + len(block)].T >= low
        later, earlier = np.nonzero(np.tril(alike, at - 1))
        kept = np.arange(len(later)) - np.searchsorted(later, later) < MOST_EARLIER
        found.append(np.stack([earlier[kept], later[kept] + at], axis=1))
    return np.concatenate(found)


def _clusters(vectors: F32, clusters: int | None, probes: int, rng: np.random.Generator) -> Iterator[I64]:
    """The rows of each cluster, ascending; each row is in as many as `probes` says."""
    n = len(vectors)
    count = clusters or (1 if n <= _ALONE else int(2 * n**0.5))
    if min(count, n) <= 1:
        yield np.arange(n)
        return
    nearest = _nearest(vectors, _centres(vectors, min(count, n), rng), probes)
    order = np.argsort(nearest, axis=None, kind="stable")
    bounds = np.cumsum(np.bincount(nearest.ravel(), minlength=count))
    yield from (members for members in np.split(order // nearest.shape[1], bounds[:-1]) if len(members) > 1)


def _centres(vectors: F32, count: int, rng: np.random.Generator) -> F32:
    """Centres of spherical k-means, (count, d), of a sample."""
    sample = vectors[np.sort(rng.choice(len(vectors), min(len(vectors), _TRAINED * count), replace=False))]
    centres = sample[rng.choice(len(sample), count, replace=False)]
    for _ in range(_ROUNDS):
        nearest = _nearest(sample, centres, 1)[:, 0]
        order = np.argsort(nearest, kind="stable")
        there, starts = np.unique(nearest[order], return_index=True)
        sums = np.add.reduceat(sample[order], starts, axis=0)
        lengths = np.sqrt((sums * sums).sum(axis=1, keepdims=True))
        centres = sample[rng.choice(len(sample), count, replace=False)]  # for those that nothing is near to
        centres[there] = sums / np.maximum(lengths, 1e-12)
    return centres


def _nearest(vectors: F32, centres: F32, probes: int) -> npt.NDArray[np.int32]:
    """The nearest centres of each vector, (n, at most probes), the nearest first."""
    probes = min(probes, len(centres))
    found = np.empty((len(vectors), probes), np.int32)
    step = max(1, _BLOCK // len(centres))
    for at in range(0, len(vectors), step):
        cosines = vectors[at : at + step] @ centres.T
        rows = np.arange(len(cosines))
        for probe in range(probes):
            best = cosines.argmax(axis=1)
            found[at : at + step, probe] = best
            cosines[rows, best] = -np.inf
    return found


def _cosines(vectors: F32, pairs: I64) -> F64:
    """Exact cosines of pairs, in float64."""
    step = max(1, _BLOCK // 4 // max(1, vectors.shape[1]))
    found = np.empty(len(pairs))
    for at in range(0, len(pairs), step):
        one, two = (vectors[pairs[at : at + step, side]] for side in (0, 1))
        products = np.einsum("ij,ij->i", one, two, dtype=np.float64)
        found[at : at + step] = products / (_lengths(one) * _lengths(two))
    return found


def _with_equals(near: I64, cosine: F64, first: I64, owner: I64) -> tuple[I64, F64]:
    """Pairs of distinct vectors as pairs of rows: the later one stands for all its equals, which follow it."""
    order = np.argsort(owner, kind="stable")
    sizes = np.bincount(owner, minlength=len(first))
    starts = np.cumsum(sizes) - sizes
    repeated = np.repeat(np.arange(len(near)), sizes[near[:, 1]])
    within = np.arange(len(repeated)) - np.searchsorted(repeated, repeated)
    later = order[starts[near[repeated, 1]] + within]
    equals = np.setdiff1d(np.arange(len(owner)), first, assume_unique=True)
    pairs = np.concatenate(
        [
            np.stack([first[near[repeated, 0]], later], axis=1),
            np.stack([first[owner[equals]], equals], axis=1),
        ]
    )
    alike = np.concatenate([cosine[repeated], np.ones(len(equals))])
    by_row = np.lexsort((pairs[:, 1], pairs[:, 0]))
    return pairs[by_row], alike[by_row]
