"""Repeated n-grams of tokens as projects other than datatrove count them: by tokens, occurrence by occurrence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.text.arrow import Bytes, Offsets
from curate.text.blocks import Int
from curate.text.hashing import continued, hash_pair, table_size
from curate.text.jit import inlined, kernel
from curate.text.ngrams import DUPLICATED
from curate.text.tokens import Tokens

Counts = npt.NDArray[np.int64]
Places = npt.NDArray[np.int32]
Ids = npt.NDArray[np.uint32]

_SMALLEST, _LARGEST = DUPLICATED[0], DUPLICATED[-1]
_COVERED, _COPIES, _ALL, _ADDED = range(4)


@dataclass(frozen=True)
class GramSums:
    """Characters of each text, for n from 5 to 10 (int64, n x 6); only tokens are counted, no white space.

    covered: in tokens that lie in an n-gram which occurs more than once, each token once
    copies:  in all occurrences of such n-grams, overlaps counted again and again
    all:     in all n-grams, likewise
    added:   in n-grams that occurred before, each token once, and a space between two of them
    characters: in all tokens (int64, n)
    """

    covered: Counts
    copies: Counts
    all: Counts
    added: Counts
    characters: Counts


def sum_grams(tokens: Tokens) -> GramSums:
    """Sums over the n-grams of each text."""
    rows = len(tokens.symbols)
    sums, characters = np.zeros((4, rows, len(DUPLICATED)), np.int64), np.zeros(rows, np.int64)
    _sum(tokens.first, tokens.id, tokens.start, tokens.compact, sums, characters)
    return GramSums(sums[_COVERED], sums[_COPIES], sums[_ALL], sums[_ADDED], characters)


@kernel
def _sum(
    first: Offsets, ids: Ids, start: Offsets, compact: Bytes, sums: npt.NDArray[np.int64], characters: Counts
) -> None:
    """An n-gram is known by its first place; two are the same if they begin and end with the same (n-1)-gram and token."""
    address, most = np.int64(compact.ctypes.data), 1
    for text in range(len(characters)):
        most = max(most, first[text + 1] - first[text])
    places, group, longer = np.empty(most, np.int32), np.empty(most, np.int32), np.empty(most, np.int32)
    times, until = np.empty(most, np.int32), np.empty(most + 1, np.int32)
    table = np.empty(table_size(most), np.int32)
    for text in range(len(characters)):
        base, count = first[text], first[text + 1] - first[text]
        until[0] = 0
        for place in range(count):
            size = start[base + place + 1] - start[base + place]
            until[place + 1] = until[place] + size - continued(address + start[base + place], size)
            places[place] = group[place] = place
        characters[text] = until[count]
        kept = count
        for n in range(1, min(count, _LARGEST) + 1):
            kept = _group(ids, base, count, n, places, group, longer, times, table, kept)
            group, longer = longer, group
            if n >= _SMALLEST:
                column = n - _SMALLEST
                sums[_COVERED, text, column], sums[_COPIES, text, column] = _cover(places, until, n, kept)
                sums[_ADDED, text, column] = _add(places, group, until, n, kept)
                for place in range(count - n + 1):
                    sums[_ALL, text, column] += until[place + n] - until[place]


@kernel
def _group(
    ids: Ids, base: Int, count: Int, n: Int, places: Places, group: Places, longer: Places, times: Places,
    table: Places, kept: Int,
) -> Int:  # fmt: skip
    """Give each n-gram its first place in `longer`; keep the places of those that occur more than once."""
    mask = table_size(kept) - 1
    table[: mask + 1] = -1
    inside = 0
    for k in range(kept):
        place = places[k]
        if place + n > count:
            continue
        shorter = group[place] if n > 1 else 0
        last = ids[base + place + n - 1]
        slot = np.int64(hash_pair(np.uint64(shorter), np.uint64(last))) & mask
        while table[slot] >= 0 and not _same(ids, base, n, group, table[slot], shorter, last):
            slot = (slot + 1) & mask
        if table[slot] < 0:
            table[slot] = place
            times[place] = 0
        longer[place] = table[slot]
        times[table[slot]] += 1
        places[inside] = place
        inside += 1
    fewer = 0
    for k in range(inside):
        place = places[k]
        places[fewer] = place
        fewer += times[longer[place]] > 1
    return fewer


@inlined
def _same(ids: Ids, base: Int, n: Int, group: Places, other: Int, shorter: Int, last: Int) -> bool:
    return bool((n == 1 or group[other] == shorter) and ids[base + other + n - 1] == last)


@kernel
def _cover(places: Places, until: Places, n: Int, kept: Int) -> tuple[Int, Int]:
    covered, copies, behind = 0, 0, 0
    for k in range(kept):
        place = places[k]
        copies += until[place + n] - until[place]
        behind = max(behind, place)
        covered += until[place + n] - until[behind]
        behind = place + n
    return covered, copies


@kernel
def _add(places: Places, group: Places, until: Places, n: Int, kept: Int) -> Int:
    added, last = 0, -n
    for k in range(kept):
        place = places[k]
        if group[place] != place:
            overlap = max(n - (place - last), 0)
            added += until[place + n] - until[place + overlap] + min(n - overlap, n - 1)
            last = place
    return added
