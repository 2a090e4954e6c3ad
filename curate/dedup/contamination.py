"""Which runs of words a text shares with given items (evaluation questions), where, and how much of which item.

Words are those of `curate.dedup.shingles`: folded, digits kept. A string of at least `ngram` words is looked for by
its runs of `ngram` words, a shorter one as a whole, one of fewer than `min_words` not at all.

A run is known by a hash of 64 bits. Looking up m different runs of a corpus among d of the items meets a wrong one
with probability m * d / 2^64: 5 % for one in a corpus of 10^12 words and a million runs. The hash is not cryptographic.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.dedup.normalize import ALONE, fold_table
from curate.dedup.shingles import (
    GOLDEN,
    I64,
    POLYNOMIAL,
    U8,
    U32,
    U64,
    ShingleOptions,
    hash_seed,
    mix,
    read_only,
)
from curate.dedup.words import words_bound, words_of
from curate.text.arrow import buffers
from curate.text.blocks import Int
from curate.text.jit import inlined, kernel
from schemas.errors import CurateError

MOST_WORDS = 50_000_000  # of all items: they take about 50 bytes a word, in every process
_ALONE = np.uint32(ALONE)
I32 = npt.NDArray[np.int32]

# The grams of items, as kernels look them up: grams, distinct and ascending; where the postings of each begin;
# postings, the words at which a gram begins; the item of each word; first gram by its top bits; a Bloom filter of what
# grams begin with, as many words as the shortest has; how far to shift a gram to its top bits; lengths of grams,
# ascending; the polynomial's power for each length.
_Known = tuple[U64, I64, U32, U32, I64, U64, np.uint64, I64, U64]
_Marks = tuple[U32, U32, I64]


@dataclass(frozen=True)
class ItemGrams:
    """The runs of words of all items, and how many words of each item (n,) are looked for."""

    words: I64  # read-only, as kernels take them
    known: _Known


@dataclass(frozen=True)
class Overlaps:
    """What texts share with items.

    By text: `words`, how many of them are `covered`, the item covered best (-1: none) and `item_covered`, the share
    of its words. `spans` (m, 5) are row, first and last byte, first and last character of the text (last ones
    exclusive), in order; spans of a text neither overlap nor adjoin.
    """

    words: I64
    covered: I64
    item: I64
    item_covered: npt.NDArray[np.float64]
    spans: I64


@kernel
def _sum_words(words: U64, count: int, sums: U64) -> None:
    """Polynomials of all beginnings of the words, of which `_gram` makes the hash of any run."""
    sums[0] = np.uint64(0)
    for i in range(count):
        sums[i + 1] = sums[i] * POLYNOMIAL + words[i]


@kernel
def _power(length: int) -> np.uint64:
    power = np.uint64(1)
    for _ in range(length):
        power *= POLYNOMIAL
    return power


@inlined
def _gram(sums: U64, at: int, length: int, power: np.uint64) -> np.uint64:
    return mix(sums[at + length] - sums[at] * power ^ np.uint64(length) * GOLDEN)


@kernel
def _strings_words(data: U8, offsets: I64, table: U32, seed: np.uint64, longest: int) -> tuple[U64, I64]:
    """The words of all strings, one after the other, and their number in each string."""
    n = len(offsets) - 1
    words = np.empty(words_bound(offsets[n] - offsets[0]) + n, np.uint64)
    room = np.empty(64, np.uint8)
    counts = np.zeros(n, np.int64)
    total = 0
    for i in range(n):
        counts[i] = words_of(data, offsets[i], offsets[i + 1], table, seed, words[total:], room)
        total += counts[i]
    return words[:total], counts


@kernel
def _strings_grams(words: U64, counts: I64, ngram: int) -> tuple[U64, U64, U32, I64]:
    """The grams of strings: hash, hash of the words it begins with, the first of them; whether there are some by length.

    The words it begins with are as many as the shortest gram has.
    """
    grams, heads = np.empty(len(words), np.uint64), np.empty(len(words), np.uint64)
    places, there = np.empty(len(words), np.uint32), np.zeros(ngram + 1, np.int64)
    sums = np.empty(counts.max() + 1, np.uint64)
    shortest = min(counts.min(), ngram)
    found, start, head_power = 0, 0, _power(shortest)
    for count in counts:
        length = min(count, ngram)
        there[length] = 1
        power = _power(length)
        _sum_words(words[start:], count, sums)
        for at in range(count - length + 1):
            grams[found], places[found] = _gram(sums, at, length, power), start + at
            heads[found] = _gram(sums, at, shortest, head_power)
            found += 1
        start += count
    return grams[:found], heads[:found], places[:found], there


def item_grams(parts: Iterable[tuple[pa.LargeStringArray, I64]], ngram: int, min_words: int) -> ItemGrams:
    """The runs of words to look for in `parts`: strings, each with the number of its item.

    Of items without words that are looked for, the last ones are left out. Memory: about 50 bytes per word.

    Raises:
        CurateError: the items have more than 50 million words.
    """
    table, seed = fold_table("keep"), hash_seed(ShingleOptions())
    words, counts, owners, total = [], [], [], 0
    for strings, numbers in parts:
        data, offsets = _buffers(strings)
        found, each = _strings_words(data, offsets, table, seed, int(np.diff(offsets).max(initial=0)))
        long = each >= min_words
        words.append(found[np.repeat(long, each)])
        counts.append(each[long])
        owners.append(np.repeat(numbers[long], each[long]).astype(np.uint32))
        total += len(words[-1])
        if total > MOST_WORDS:
            raise CurateError(
                f"The items to look for have more than {MOST_WORDS:,} words.",
                hint="Look for fewer files at once, or name the columns that matter.",
            )
    owner = np.concatenate([np.empty(0, np.uint32), *owners])
    sizes = read_only(np.bincount(owner), np.int64)
    return ItemGrams(sizes, _indexed(np.concatenate([np.empty(0, np.uint64), *words]), counts, owner, ngram))


def _indexed(words: U64, counts: list[I64], owners: U32, ngram: int) -> _Known:
    """The grams of strings, sorted and ready to be looked up."""
    each = np.concatenate([np.empty(0, np.int64), *counts])
    grams, heads, places, there = (
        _strings_grams(words, each, ngram) if len(each) else (words, words, owners, each)
    )
    order = np.argsort(grams, kind="stable")
    grams, postings = grams[order], places[order]
    first = np.flatnonzero(np.concatenate([[True], grams[1:] != grams[:-1]])[: len(grams)])
    starts, grams = np.append(first, len(grams)), grams[first]
    top = max(1, len(grams).bit_length())  # about one gram a bucket
    buckets = np.searchsorted(grams >> np.uint64(64 - top), np.arange((1 << top) + 1, dtype=np.uint64))
    bits = np.zeros(1 << (len(grams) // 4).bit_length(), np.uint64)  # 16 to 32 bits a gram
    at = (heads >> np.uint64(6)) & np.uint64(len(bits) - 1)
    for bit in (heads & np.uint64(63), heads >> np.uint64(58)):
        np.bitwise_or.at(bits, at.astype(np.int64), np.uint64(1) << bit)
    lengths = np.flatnonzero(there)
    powers = np.array([_power(length) for length in lengths.tolist()], np.uint64)
    return (
        read_only(grams, np.uint64), read_only(starts, np.int64), read_only(postings, np.uint32),
        read_only(owners, np.uint32), read_only(buckets, np.int64), read_only(bits, np.uint64), np.uint64(64 - top),
        read_only(lengths, np.int64), read_only(powers, np.uint64),
    )  # fmt: skip


@inlined
def _begins(head: np.uint64, bits: U64) -> Any:
    """Whether a gram may begin so."""
    word = bits[head >> np.uint64(6) & np.uint64(len(bits) - 1)]
    return word >> (head & np.uint64(63)) & word >> (head >> np.uint64(58)) & np.uint64(1)


@kernel
def _find(gram: np.uint64, known: _Known) -> int:
    """Number of a gram; -1 if no item has it."""
    grams, buckets = known[0], known[4]
    bucket = np.int64(gram >> known[6])
    for number in range(buckets[bucket], buckets[bucket + 1]):
        if grams[number] == gram:
            return number
    return -1


@kernel
def _cover(number: int, length: Int, row: int, known: _Known, marks: _Marks) -> None:
    """Mark the words of items that a gram of the text in a row covers.

    Of `marks`, the first two hold the row, plus one, that had a gram or covered a word last.
    """
    starts, postings, owners = known[1], known[2], known[3]
    seen, covered, touched = marks
    mark = np.uint32(row + 1)
    if seen[number] == mark:
        return
    seen[number] = mark
    done: Int = 0
    for p in range(starts[number], starts[number + 1]):
        place: Int = np.int64(postings[p])
        for word in range(max(place, done), place + length):
            if covered[word] != mark:
                covered[word] = mark
                _count(np.int64(owners[word]), touched)
        done = place + length


@kernel
def _count(item: Int, touched: I64) -> None:
    """One more covered word. `touched` is that number by item, the items that have some, and how many these are."""
    if touched[item] == 0:
        touched[len(touched) // 2 + touched[-1]] = item
        touched[-1] += 1
    touched[item] += 1


@kernel
def _best(touched: I64, sizes: I64) -> tuple[int, float]:
    """The item of which the largest share is covered (of equal ones the first) and the share; clears `touched`."""
    best, most = -1, 0.0
    for i in range(len(sizes), len(sizes) + touched[-1]):
        item = touched[i]
        share = touched[item] / sizes[item]
        if share > most or (share == most and item < best):
            best, most = item, share
        touched[item] = 0
    touched[-1] = 0
    return best, most


@kernel
def _runs(row: int, count: int, sums: U64, known: _Known, marks: _Marks, spans: I64) -> tuple[int, int]:
    """First and last word of each covered run of one text into `spans`; their number, and that of their words."""
    bits, lengths, powers = known[5], known[7], known[8]
    found, covered, until = 0, 0, -1
    for i in range(count - lengths[0] + 1):
        if not _begins(_gram(sums, i, lengths[0], powers[0]), bits):
            continue
        for k in range(len(lengths)):
            if i + lengths[k] > count:
                break
            number = _find(_gram(sums, i, lengths[k], powers[k]), known)
            if number < 0:
                continue
            _cover(number, lengths[k], row, known, marks)
            if i > until:
                found, until = found + 1, i
                spans[found - 1, 0], spans[found - 1, 1] = row, i
            covered += max(0, i + lengths[k] - until)
            until = max(until, i + lengths[k])
            spans[found - 1, 2] = until - 1
    return found, covered


@kernel
def _place(data: U8, start: int, begins: I32, ends: I32, spans: I64) -> None:
    """Turn the words of a text's spans into bytes, and add the characters."""
    at, characters = start, 0
    for span in spans:
        span[1], span[2] = begins[span[1]], ends[span[2]]
        for side in range(1, 3):
            while at < start + span[side]:
                characters += (data[at] & 0xC0) != 0x80
                at += 1
            span[side + 2] = characters


@kernel
def _overlaps(
    data: U8, offsets: I64, table: U32, seed: np.uint64, longest: int, sizes: I64, known: _Known
) -> tuple[I64, npt.NDArray[np.float64], I64]:
    n, most, shortest = len(offsets) - 1, words_bound(longest), known[7][0]
    # Memory that is never written to is never taken: these bounds are far above what texts need.
    words, sums = np.empty(most, np.uint64), np.empty(most + 1, np.uint64)
    begins, ends = np.empty(most, np.int32), np.empty(most, np.int32)
    room = np.empty(64, np.uint8)
    seen, covered = np.zeros(len(known[0]), np.uint32), np.zeros(len(known[3]), np.uint32)
    marks = (seen, covered, np.zeros(2 * len(sizes) + 1, np.int64))
    counts, shares = np.zeros((n, 3), np.int64), np.zeros(n)
    spans, total = np.empty((1024, 5), np.int64), 0
    for row in range(n):
        start = offsets[row]
        count = words_of(data, start, offsets[row + 1], table, seed, words, room, begins, ends)
        if total + count // shortest + 1 > len(spans):
            more = np.empty((2 * len(spans) + count // shortest + 1, 5), np.int64)
            more[:total] = spans[:total]
            spans = more
        _sum_words(words, count, sums)
        found, shared = _runs(row, count, sums, known, marks, spans[total:])
        _place(data, start, begins, ends, spans[total : total + found])
        best, shares[row] = _best(marks[2], sizes)
        counts[row, 0], counts[row, 1], counts[row, 2] = count, shared, best
        total += found
    return counts, shares, spans[:total]


def overlaps(texts: pa.LargeStringArray, items: ItemGrams) -> Overlaps:
    """What each text shares with the items, of which there is at least one run of words.

    Memory: up to 14 bytes per byte of the longest text, and 8 bytes per word of the items.
    """
    data, offsets = _buffers(texts)
    table, seed = fold_table("keep"), hash_seed(ShingleOptions())
    longest = int(np.diff(offsets).max(initial=0))
    counts, shares, spans = _overlaps(data, offsets, table, seed, longest, items.words, items.known)
    return Overlaps(counts[:, 0], counts[:, 1], counts[:, 2], shares, spans)


def _buffers(texts: pa.LargeStringArray) -> tuple[U8, I64]:
    data, offsets = buffers(texts)
    return read_only(data, np.uint8), read_only(offsets, np.int64)
