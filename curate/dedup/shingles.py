"""From UTF-8 bytes to the set of shingles: words, word n-grams, one 64-bit hash each, in one pass.

A text of at least n words has the set of its word n-grams; one of fewer words has a single shingle, all
its words salted with their number, so that short texts match exactly or not at all; a text without a word
has no shingle and is like no other.

With `unit = "characters"` the same holds of characters: white space and other separators between two are one
space, and with `normalization = "none"` every code point is a character.

A shingle is known by its hash. Two different ones among m distinct shingles collide with probability
m^2 / 2^65 (m = 10^6: 3e-8), which would move a similarity by 1/m. The hash is not cryptographic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from curate.dedup.normalize import ALONE, DIGIT, DROPPED, SEPARATOR, Digits, Normalization, Unit, fold_table
from curate.dedup.words import multibyte, words_bound, words_of
from curate.engine.stage import Options
from curate.text.jit import inlined, kernel

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

WORD = np.uint64(0x9FB21C651E98DF25)  # odd multipliers: of a character,
POLYNOMIAL = np.uint64(0xD6E8FEB86659FD93)  # of the words in a shingle,
_TEXT = np.uint64(0xA0761D6478BD642F)  # of the words in a text
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ALONE = np.uint32(ALONE)
_SMALL = 1 << 15  # places of a table that the nearest cache of a core holds, or the next one


class ShingleOptions(Options):
    """What the similarity of two texts is: the Jaccard similarity of their sets of n-grams."""

    ngram: int = Field(default=5, ge=1, le=64, description="words (or characters) in a shingle")
    unit: Unit = Field(
        default="words",
        description="`characters` makes shingles of characters: with fewer than 20 in each, unrelated texts are alike",
    )
    normalization: Normalization = Field(
        default="fold",
        description="`fold` ignores case, diacritics and punctuation; `lower` ignores case and deletes ASCII "
        "punctuation; `none` takes characters as they are",
    )
    digits: Digits = Field(
        default="keep",
        description="`collapse` takes any run of digits for the same: pages that differ only in numbers are equal",
    )
    seed: int = Field(
        default=1,
        ge=0,
        lt=2**63,
        description="of the hash family: another seed makes errors independent of this one's",
    )


@dataclass(frozen=True)
class ShingleSets:
    """The distinct shingles of some texts: those of text i are `values[offsets[i]:offsets[i + 1]]`."""

    values: U64
    offsets: I64


@kernel
def mix(x: np.uint64) -> np.uint64:
    """MurmurHash3's 64-bit finaliser: a bijection in which every bit depends on every bit."""
    x ^= x >> np.uint64(33)
    x *= np.uint64(0xFF51AFD7ED558CCD)
    x ^= x >> np.uint64(33)
    x *= np.uint64(0xC4CEB9FE1A85EC53)
    return x ^ (x >> np.uint64(33))


@kernel
def nonzero(x: np.uint64) -> np.uint64:
    """`x`, or 1 for 0, which stands for an empty place in tables."""
    return x if x != np.uint64(0) else np.uint64(1)


@kernel
def _characters(data: U8, start: int, stop: int, table: U32, seed: np.uint64, out: U64) -> int:
    """Hashes of the characters of one text into `out`; returns how many. Between two a separator is a space."""
    separator, digit, dropped = np.uint32(SEPARATOR), np.uint32(DIGIT), np.uint32(DROPPED)
    count = 0
    previous = separator
    at = start
    while at < stop:
        width, symbol = 1, table[data[at]]
        if data[at] >= 0x80:
            width, symbol = multibyte(data, at, stop, table)
        at += width
        if symbol == dropped or (symbol == digit and previous == digit):
            continue
        if symbol != separator:
            if previous == separator and count > 0:
                out[count] = mix((seed ^ np.uint64(0x20)) * WORD)
                count += 1
            out[count] = mix((seed ^ np.uint64(symbol & ~_ALONE)) * WORD)
            count += 1
        previous = symbol
    return count


@kernel
def text_hash(words: U64, count: int) -> np.uint64:
    """Hash of the sequence of words; 0 for no word."""
    if count == 0:
        return np.uint64(0)
    total = np.uint64(0)
    for i in range(count):
        total = (total ^ words[i]) * _TEXT
    return nonzero(mix(total ^ np.uint64(count)))


@kernel
def _roll(words: U64, count: int, ngram: int) -> int:
    """Replace the hashes of words by those of shingles, in place; returns how many (with repeats)."""
    if count == 0:
        return 0
    length = min(count, ngram)
    total = np.uint64(0)
    power = np.uint64(1)
    for i in range(length - 1):
        total = total * POLYNOMIAL + words[i]
        power *= POLYNOMIAL
    salt = np.uint64(0) if count >= ngram else np.uint64(count) * GOLDEN
    for i in range(count - length + 1):
        total = total * POLYNOMIAL + words[i + length - 1]
        first = words[i]
        words[i] = nonzero(mix(total ^ salt))
        total -= first * power
    return count - length + 1


@inlined
def insert(table: U64, mask: np.uint64, value: np.uint64) -> bool:
    """Put `value` into an open-addressing table (0 is empty); whether it was not there before."""
    place = value >> np.uint64(20) & mask
    while table[place] != np.uint64(0):
        if table[place] == value:
            return False
        place = (place + np.uint64(1)) & mask
    table[place] = value
    return True


@kernel
def table_size(count: int) -> int:
    """Places of a table for `count` values: a power of two, at most half full, a small one a quarter."""
    size = 16
    while size < 2 * count or (size < 4 * count and size < _SMALL):
        size *= 2
    return size


@kernel
def distinct_shingles(
    data: U8,
    start: int,
    stop: int,
    table: U32,
    ngram: int,
    characters: bool,
    seed: np.uint64,
    out: U64,
    seen: U64,
    room: U8,
) -> tuple[int, np.uint64]:
    """The distinct shingles of one text into `out`, in order of appearance; their number and the text's hash.

    `out` holds `units_bound` values of the text's bytes, `seen` `table_size` of that, `room`
    64 bytes; none need be clean.
    """
    if characters:
        count = _characters(data, start, stop, table, seed, out)
    else:
        count = words_of(data, start, stop, table, seed, out, room)
    whole = text_hash(out, count)
    count = _roll(out, count, ngram)
    size = table_size(count)
    seen[:size] = 0
    distinct = 0
    for i in range(count):
        if insert(seen, np.uint64(size - 1), out[i]):
            out[distinct] = out[i]
            distinct += 1
    return distinct, whole


@kernel
def units_bound(length: int, characters: bool) -> int:
    """Most words or characters that so many bytes can hold."""
    return length + 1 if characters else words_bound(length)


@kernel
def _sets(
    data: U8, ends: I64, table: U32, ngram: int, characters: bool, seed: np.uint64, longest: int
) -> tuple[U64, I64]:
    n = len(ends) - 1
    # Memory that is never written to is never taken: these bounds are far above what texts need.
    values = np.empty(units_bound(ends[n] - ends[0], characters) + n, np.uint64)
    seen = np.empty(table_size(units_bound(longest, characters)), np.uint64)
    room = np.empty(64, np.uint8)
    offsets = np.zeros(n + 1, np.int64)
    for i in range(n):
        at = offsets[i]
        count, _ = distinct_shingles(
            data, ends[i], ends[i + 1], table, ngram, characters, seed, values[at:], seen, room
        )
        offsets[i + 1] = at + count
    return values[: offsets[n]], offsets


def read_only(array: npt.ArrayLike, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """A contiguous read-only view (a copy if need be), so that kernels meet one type and compile once."""
    view = np.ascontiguousarray(array, dtype).view()
    view.flags.writeable = False
    return view


def text_buffers(texts: pa.LargeStringArray) -> tuple[U8, I64, int]:
    """The bytes of the texts, the n + 1 places where they end and begin, and the bytes of the longest.

    No copy is made, also of a slice; NULL is taken for the empty text.
    """
    if texts.null_count or texts.type != pa.large_string():
        texts = texts.cast(pa.large_string()).fill_null("")
    _, places, data = texts.buffers()
    if len(texts) == 0:
        return read_only([], np.uint8), read_only([0], np.int64), 0
    ends = np.frombuffer(places, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    characters = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    return read_only(characters, np.uint8), read_only(ends, np.int64), int(np.diff(ends).max())


def hash_seed(options: ShingleOptions) -> np.uint64:
    """Where the hash of every word begins."""
    return np.uint64(mix(np.uint64(options.seed) + GOLDEN))


def symbols(options: ShingleOptions) -> tuple[U32, bool]:
    """The table of symbols that the options ask for, and whether shingles are made of characters."""
    table = fold_table(options.digits, options.normalization, options.unit)
    return table, options.unit == "characters"


def shingle_sets(texts: pa.LargeStringArray, options: ShingleOptions) -> ShingleSets:
    """The set of distinct shingles of each text, as hashes (never 0), in order of appearance.

    Memory: 8 bytes per distinct shingle (about 1.3 bytes per byte of prose) and, for the longest text,
    about 5 bytes per byte.
    """
    data, ends, longest = text_buffers(texts)
    seed = hash_seed(options)
    table, characters = symbols(options)
    return ShingleSets(*_sets(data, ends, table, options.ngram, characters, seed, longest))
