"""The words of a text as one hash: equal where texts differ only in case, accents and punctuation."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from curate.dedup.normalize import fold_table
from curate.dedup.shingles import (
    I64,
    U8,
    U32,
    U64,
    ShingleOptions,
    hash_seed,
    read_only,
    text_buffers,
    text_hash,
)
from curate.dedup.words import words_bound, words_of
from curate.text.jit import kernel


@kernel
def _hashes(data: U8, ends: I64, table: U32, seeds: U64, longest: int) -> U64:
    words = np.empty(words_bound(longest), np.uint64)
    room = np.empty(64, np.uint8)
    out = np.empty((len(ends) - 1, len(seeds)), np.uint64)
    for i in range(len(ends) - 1):
        for s in range(len(seeds)):
            count = words_of(data, ends[i], ends[i + 1], table, seeds[s], words, room)
            out[i, s] = text_hash(words, count)
    return out


def word_digests(texts: pa.LargeStringArray) -> pa.Array:
    """128-bit hash of the sequence of words of each text, as 32 hex digits; "" for a text without a word.

    Words are those of the shingles, digits kept. Two of n texts that differ collide with probability
    n^2 / 2^129 if the hash behaves as a random one; it is not cryptographic.
    """
    data, ends, longest = text_buffers(texts)
    seeds = read_only([hash_seed(ShingleOptions(seed=seed)) for seed in (1, 2)], np.uint64)
    found = _hashes(data, ends, fold_table("keep"), seeds, longest)
    rows = found.astype(">u8").tobytes().hex()
    return pa.array(
        ["" if not one else rows[at * 32 : at * 32 + 32] for at, one in enumerate(found[:, 0].tolist())],
        pa.string(),
    )
