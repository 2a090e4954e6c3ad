"""Sketches that are equal, value by value, to those of datasketch and datatrove; and what tells sketches apart.

Fast similarity sketches cannot be turned into classic ones, so these are computed from shingles: from the peers'
own (words or characters joined to strings, hashed by SHA-1 or xxHash), or from ours (`minhash_values`).

In `legacy` and `datatrove` the product a * h + b wraps at 2^64 before it is taken mod 2^61 - 1, in datasketch, in
datatrove and here: so it is no universal hash, and it has to be copied as it is.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curate.dedup.hashes import Hash, hashed
from curate.dedup.normalize import VERSION, Unit
from curate.dedup.shingles import I64, U8, U32, U64, ShingleOptions, read_only, shingle_sets, text_buffers
from curate.dedup.sketch import SketchOptions
from curate.engine.stage import Options
from curate.text.jit import kernel
from schemas.errors import UsageError, missing_extra

if TYPE_CHECKING:
    from datasketch import MinHash

Classic = Literal["affine32", "legacy", "datatrove"]

_PRIME = np.uint64(2**61 - 1)
_LOW = np.uint64(2**32 - 1)
_FULL = np.uint64(2**64 - 1)
GIVEN = "given"  # words or characters came from elsewhere


class SketchIdentity(Options):
    """What must be equal for two sketches to be comparable; it stands beside stored sketches."""

    scheme: Literal["fss", "affine32", "legacy", "datatrove"] = Field(
        description="`fss` is curate's (Fast Similarity Sketching), `affine32` and `legacy` are datasketch's"
    )
    hash: Hash | Literal["curate-2"] = Field(description="hash of a shingle")
    slots: int = Field(ge=1, description="numbers in a sketch")
    seed: int = Field(description="of the hash family or of the permutations")
    unit: Unit = Field(default="words", description="what a shingle is made of")
    ngram: int = Field(default=5, ge=1, description="words or characters in a shingle")
    normalizer: str = Field(default=GIVEN, description="name and version of what made words of texts")


def own_identity(options: SketchOptions) -> SketchIdentity:
    """Identity of the sketches that `sketch` makes with these options, by this Python."""
    how = f"{options.normalization}-{VERSION}, digits {options.digits}, Unicode {unicodedata.unidata_version}"
    fields = {name: getattr(options, name) for name in ("slots", "seed", "unit", "ngram")}
    return SketchIdentity(scheme="fss", hash="curate-2", normalizer=f"curate {how}", **fields)


def require_same(stored: SketchIdentity, wanted: SketchIdentity) -> None:
    """Pass if sketches of both can be compared.

    Raises:
        UsageError: they differ; the message names each field with both values.
    """
    differ = [
        f"{name} {getattr(stored, name)!r} against {getattr(wanted, name)!r}"
        for name in SketchIdentity.model_fields
        if getattr(stored, name) != getattr(wanted, name)
    ]
    if differ:
        raise UsageError(
            f"The stored sketches cannot be compared with new ones: {'; '.join(differ)}.",
            hint="Sketch the stored texts anew, or ask for the options and the version that made the sketches.",
        )


@dataclass(frozen=True)
class Spans:
    """Shingles as stretches of bytes: those of text i are `data[starts[j]:stops[j]]`, j from offsets[i] on."""

    data: U8
    starts: I64
    stops: I64
    offsets: I64
    """(n + 1,)"""


def word_spans(words: pa.LargeListArray, ngram: int) -> Spans:
    """N-grams of the words of each text, joined by a space, as datatrove and the users of datasketch make them.

    `words` (n,) are lists of strings. A text of fewer than `ngram` words has no shingle.
    """
    words = words.cast(pa.large_list(pa.large_string()))
    counts = pc.list_value_length(words).fill_null(0).to_numpy()
    nothing, space = (pa.scalar(text, pa.large_string()) for text in ("", " "))
    spaced = pc.binary_join_element_wise(words.flatten().fill_null(nothing), nothing, space)
    data, ends, _ = text_buffers(spaced)
    return _windows(data, ends[:-1], ends[1:] - 1, np.concatenate([[0], np.cumsum(counts)]), ngram)


def character_spans(texts: pa.LargeStringArray, ngram: int) -> Spans:
    """N-grams of the code points of each text as it is; one of fewer has no shingle."""
    data, ends, _ = text_buffers(texts)
    used = data[ends[0] : ends[-1]]
    starts = np.flatnonzero((used & 0xC0) != 0x80) + ends[0]
    stops = np.append(starts[1:], ends[-1])
    return _windows(data, starts, stops, np.searchsorted(starts, ends), ngram)


def _windows(data: U8, starts: I64, stops: I64, borders: I64, ngram: int) -> Spans:
    """Spans of `ngram` units each, within a text."""
    counts = np.maximum(np.diff(borders) - ngram + 1, 0)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    first = np.arange(offsets[-1]) + np.repeat(borders[:-1] - offsets[:-1], counts)
    return Spans(data, starts[first], stops[first + ngram - 1], offsets)


def permutations(scheme: Classic, size: int, seed: int) -> tuple[U64, U64]:
    """The multipliers a and addends b, (size,) each, as datasketch 2.0 and datatrove 0.10 draw them."""
    random, prime = np.random.RandomState(seed), int(_PRIME)
    if scheme == "datatrove":
        return random.randint(1, prime, size, np.uint64), random.randint(0, prime, size, np.uint64)
    if scheme == "legacy":  # a and b in turn
        drawn = [random.randint(low, prime, dtype=np.uint64) for _ in range(size) for low in (1, 0)]
        both = np.array(drawn, np.uint64).reshape(-1, 2)
        return both[:, 0], both[:, 1]
    odd = random.randint(0, 2**31, size, np.uint32) * np.uint32(2) + np.uint32(1)
    return odd.astype(np.uint64), random.randint(0, 2**32, size, np.uint32).astype(np.uint64)


@kernel
def _affine32(values: U64, offsets: I64, multiply: U32, add: U32) -> U32:
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


@kernel
def _mersenne(values: U64, offsets: I64, multiply: U64, add: U64, bits: np.uint64) -> U64:
    """Least `(multiply * x + add mod 2^64) mod 2^61 - 1`, cut to `bits`, over each set's values."""
    n, size = len(offsets) - 1, len(multiply)
    out = np.full((n, size), bits, np.uint64)
    for i in range(n):
        for v in range(offsets[i], offsets[i + 1]):
            x = values[v]
            for k in range(size):
                wrapped = x * multiply[k] + add[k]
                folded = (wrapped & _PRIME) + (wrapped >> np.uint64(61))
                folded -= _PRIME if folded >= _PRIME else np.uint64(0)
                out[i, k] = min(out[i, k], folded & bits)
    return out


def minhashes(
    values: U64, offsets: I64, scheme: Classic, slots: int, seed: int, wide: bool = False
) -> U32 | U64:
    """Classic MinHash of sets of hashed shingles, (n, slots): uint32, or uint64 if `wide` (datatrove's 64 bits).

    The set i is `values[offsets[i]:offsets[i + 1]]`; of an empty one all values are the greatest of their type,
    as in datasketch (datatrove writes no signature for it): keep such rows out of any index.
    """
    values, offsets = read_only(values, np.uint64), read_only(offsets, np.int64)
    a, b = permutations(scheme, slots, seed)
    if scheme == "affine32":
        narrow: U32 = _affine32(values, offsets, read_only(a, np.uint32), read_only(b, np.uint32))
        return narrow
    made: U64 = _mersenne(
        values, offsets, read_only(a, np.uint64), read_only(b, np.uint64), _FULL if wide else _LOW
    )
    return made if wide else made.astype(np.uint32)


def signatures(spans: Spans, identity: SketchIdentity) -> U32 | U64:
    """The peer's sketches of these shingles, (n, slots): bit for bit those of its own code.

    datatrove's buckets are consecutive slots: 14 of 8 in the default of 112. datasketch holds values of `legacy` in
    uint64, here they are uint32. Memory: 8 bytes per shingle, 4 or 8 per value.

    Raises:
        UsageError: the identity is of curate's own sketches.
    """
    if identity.scheme == "fss" or identity.hash == "curate-2":
        raise UsageError(
            f"A sketch with scheme {identity.scheme!r} and hash {identity.hash!r} is not made of given shingles.",
            hint="Use curate.dedup.sketch.sketch, or an identity of affine32, legacy or datatrove with a peer's hash.",
        )
    values = hashed(
        spans.data, read_only(spans.starts, np.int64), read_only(spans.stops, np.int64), identity.hash
    )
    wide = identity.scheme == "datatrove" and identity.hash.endswith("64")
    return minhashes(values, spans.offsets, identity.scheme, identity.slots, identity.seed, wide)


def minhash_values(
    texts: pa.LargeStringArray,
    options: ShingleOptions,
    *,
    permutations: int = 128,
    seed: int = 1,
    scheme: Literal["affine32", "legacy"] = "affine32",
) -> U32:
    """`MinHash.hashvalues` of each text over our shingles, (n, permutations); 4294967295 where it has no word.

    Of each 64-bit shingle hash the low 32 bits are what datasketch would get from its `hashfunc`; from there on
    the values are its own, bit for bit. `seed` is that of datasketch's permutations. Memory: 4 bytes per value,
    and that of `shingle_sets`.
    """
    sets = shingle_sets(texts, options)
    return minhashes(sets.values & _LOW, sets.offsets, scheme, permutations, seed).astype(
        np.uint32, copy=False
    )


def to_datasketch(
    values: U32, *, seed: int = 1, scheme: Literal["affine32", "legacy"] = "affine32"
) -> MinHash:
    """One row of values as a `datasketch.MinHash`, for its LSH indexes and `jaccard`.

    Raises:
        MissingExtraError: datasketch is not installed.
    """
    try:
        from datasketch import MinHash
    except ImportError as error:
        raise missing_extra("datasketch", "Exchanging MinHash sketches", "datasketch") from error
    return MinHash(hashvalues=values, seed=seed, scheme=scheme)
