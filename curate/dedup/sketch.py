"""Sketches: K numbers per text whose share of equal slots estimates the similarity of two texts.

Fast Similarity Sketching (Dahlgaard, Knudsen, Thorup, FOCS 2017): in each round every shingle falls into
one of K slots with a hash; a slot keeps the least (round, hash), and rounds go on until no slot is empty.
The estimate is unbiased, costs one round for long texts, and has about half the variance of classic
MinHash on texts of under 150 words.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, field_validator

from curate.dedup.pairs import row_pairs
from curate.dedup.shingles import (
    I64,
    U8,
    U32,
    U64,
    ShingleOptions,
    distinct_shingles,
    hash_seed,
    read_only,
    symbols,
    table_size,
    text_buffers,
    units_bound,
)
from curate.text.jit import inlined, kernel
from curate.text.memory import fold

EMPTY = np.uint32(0xFFFFFFFF)  # every slot of a text without a word; no other slot has this value
_ROUND, _KEY = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)


class SketchOptions(ShingleOptions):
    """How texts are sketched; sketches can only be compared when all options are equal."""

    slots: int = Field(
        default=128,
        ge=16,
        le=16384,
        description="numbers in a sketch, a power of two K: the standard error is at most 1 / (2 sqrt(K))",
    )

    @field_validator("slots")
    @classmethod
    def _power_of_two(cls, value: int) -> int:
        if value & (value - 1):
            raise ValueError(f"slots must be a power of two (16, 32, ... 16384), not {value}")
        return value


@dataclass(frozen=True)
class Sketches:
    """Sketches of n texts: 4 K + 12 bytes each (524 for K = 128)."""

    slots: U32
    """(n, K); all EMPTY where a text has no word."""
    shingles: npt.NDArray[np.int32]
    """(n,) distinct shingles."""
    hashes: U64
    """(n,) hash of the sequence of normalised words; 0 where there is none, which says nothing."""


@inlined
def _again(x: np.uint64) -> np.uint64:
    """Another hash of a hash (wyrand: Wang Yi's wyhash)."""
    hashed: np.uint64 = fold(x, x ^ _KEY)
    return hashed


@inlined
def _put(slots: U32, slot: np.uint64, number: np.uint32) -> None:
    """Without a branch, which nobody could foresee."""
    slots[slot] = min(slots[slot], number)


@kernel
def _empty(slots: U32) -> int:
    empty = 0
    for slot in range(len(slots)):
        empty += slots[slot] == EMPTY
    return empty


@kernel
def _fill(slots: U32, values: U64, count: int) -> None:
    """Sketch one set of hashes. A slot's number holds, from the top: the round, then bits of the hash.

    Round 0 has the top bit clear and 31 bits of hash, so that sets of millions stay unbiased; a later
    round has the top bit set, log2 K bits of round, and hash in the rest. Rounds K ... 2K - 1 serve one
    slot each (the paper's second half), so a slot needs a single number for them.
    """
    size = len(slots)
    mask = np.uint64(size - 1)
    width = 31
    while 1 << (31 - width) < size:
        width -= 1
    shift = np.uint64(64 - width)
    slots[:] = EMPTY
    for i in range(count):
        _put(slots, values[i] & mask, np.uint32(values[i] >> np.uint64(33)))
    empty, later = _empty(slots), 1
    while empty > 0 and later < size:
        base, salt = np.uint64(size + later - 1) << np.uint64(width), np.uint64(later) * _ROUND
        for i in range(count):
            x = _again(values[i] + salt)
            _put(slots, x & mask, np.uint32(base | x >> shift))
        empty, later = _empty(slots), later + 1
    if empty > 0:
        _fill_last(slots, values, count, np.uint64(2 * size - 1) << np.uint64(width), shift)


@kernel
def _fill_last(slots: U32, values: U64, count: int, base: np.uint64, shift: np.uint64) -> None:
    """The rounds that serve one slot each, for the slots that are still empty."""
    size = len(slots)
    for slot in range(size):
        if slots[slot] != EMPTY:
            continue
        for i in range(count):
            x = _again(values[i] + np.uint64(size + slot) * _ROUND)
            number = min(np.uint32(base | x >> shift), EMPTY - np.uint32(1))
            slots[slot] = min(slots[slot], number)


@kernel
def _sketch(
    data: U8, ends: I64, table: U32, ngram: int, characters: bool, seed: np.uint64, longest: int, size: int
) -> tuple[U32, npt.NDArray[np.int32], U64]:
    n = len(ends) - 1
    values = np.empty(units_bound(longest, characters), np.uint64)
    seen = np.empty(table_size(units_bound(longest, characters)), np.uint64)
    room = np.empty(64, np.uint8)
    slots = np.empty((n, size), np.uint32)
    shingles = np.empty(n, np.int32)
    hashes = np.empty(n, np.uint64)
    for i in range(n):
        count, text_hash = distinct_shingles(
            data, ends[i], ends[i + 1], table, ngram, characters, seed, values, seen, room
        )
        shingles[i] = count
        hashes[i] = text_hash
        if count > 0:
            _fill(slots[i], values, count)
        else:
            slots[i] = EMPTY
    return slots, shingles, hashes


def sketch(texts: pa.LargeStringArray, options: SketchOptions) -> Sketches:
    """Sketch texts: one pass over their UTF-8 bytes. A row depends on its text and the options alone.

    Runs without the GIL, so threads over batches scale. Memory: 4 K + 12 bytes per text, and for the
    longest text of the batch about 5 bytes per byte.
    """
    data, ends, longest = text_buffers(texts)
    seed = hash_seed(options)
    table, characters = symbols(options)
    return Sketches(*_sketch(data, ends, table, options.ngram, characters, seed, longest, options.slots))


@kernel
def equal_slots(slots: U32, a: int, b: int) -> int:
    """In how many slots two rows agree."""
    same = 0
    for k in range(slots.shape[1]):
        same += slots[a, k] == slots[b, k]
    return same


@kernel
def _estimates(slots: U32, pairs: I64) -> npt.NDArray[np.float64]:
    out = np.zeros(len(pairs))
    for p in range(len(pairs)):
        a, b = pairs[p]
        if slots[a, 0] != EMPTY:
            out[p] = equal_slots(slots, a, b) / slots.shape[1]
    return out


def estimates(slots: U32, pairs: I64) -> npt.NDArray[np.float64]:
    """Estimated similarity, (m,), of pairs (m, 2) of rows of `slots`; 0 for a text without a word.

    Raises:
        UsageError: a pair names no row.
    """
    found: npt.NDArray[np.float64] = _estimates(read_only(slots, np.uint32), row_pairs(pairs, len(slots)))
    return found
