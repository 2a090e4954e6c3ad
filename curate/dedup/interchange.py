"""Sketches for others: the classic MinHash of `datasketch`, over our shingles.

Fast similarity sketches cannot be turned into classic ones, so these are computed from the text. Of each
64-bit shingle hash the low 32 bits are what `datasketch` would get from its `hashfunc`; from there on the
values are its own, bit for bit (scheme `affine32`, its default since 2.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from curate.dedup.shingles import I64, U32, U64, ShingleOptions, read_only, shingle_sets
from curate.text.jit import kernel
from schemas.errors import missing_extra

if TYPE_CHECKING:
    from datasketch import MinHash

SCHEME = "affine32"


@kernel
def affine32(values: U64, offsets: I64, multiply: U32, add: U32) -> U32:
    """Least `multiply * mix(x) + add` (mod 2^32) over the low 32 bits x of each set's values."""
    n, size = len(offsets) - 1, len(multiply)
    out = np.full((n, size), np.uint32(0xFFFFFFFF), np.uint32)
    for i in range(n):
        for v in range(offsets[i], offsets[i + 1]):
            x = np.uint32(values[v])
            x ^= x >> np.uint32(16)  # MurmurHash3's 32-bit finaliser
            x = np.uint32(x * np.uint32(0x85EBCA6B))
            x ^= x >> np.uint32(13)
            x = np.uint32(x * np.uint32(0xC2B2AE35))
            x ^= x >> np.uint32(16)
            for k in range(size):
                out[i, k] = min(out[i, k], np.uint32(x * multiply[k] + add[k]))
    return out


def _empty_minhash(permutations: int, seed: int) -> MinHash:
    try:
        from datasketch import MinHash
    except ImportError as error:
        raise missing_extra("datasketch", "Exchanging MinHash sketches", "datasketch") from error
    return MinHash(num_perm=permutations, seed=seed, scheme=SCHEME)


def minhash_values(
    texts: pa.LargeStringArray, options: ShingleOptions, *, permutations: int = 128, seed: int = 1
) -> U32:
    """`MinHash.hashvalues` of each text, (n, permutations); 4294967295 where a text has no word.

    `seed` is that of datasketch's permutations. Memory: 4 bytes per value, and that of `shingle_sets`.

    Raises:
        MissingExtraError: datasketch is not installed.
    """
    multiply, add = _empty_minhash(permutations, seed).permutations
    sets = shingle_sets(texts, options)
    found: U32 = affine32(
        read_only(sets.values, np.uint64),
        read_only(sets.offsets, np.int64),
        read_only(multiply, np.uint32),
        read_only(add, np.uint32),
    )
    return found


def to_datasketch(values: U32, *, seed: int = 1) -> MinHash:
    """One row of `minhash_values` as a `datasketch.MinHash`, for its LSH indexes and `jaccard`.

    Raises:
        MissingExtraError: datasketch is not installed.
    """
    empty = _empty_minhash(len(values), seed)
    return type(empty)(hashvalues=values, permutations=empty.permutations, seed=seed, scheme=SCHEME)
