"""Finds the entries of a word list, words or phrases, wherever they stand in a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.text.arrow import Bytes, Offsets, buffers
from curate.text.blocks import Int
from curate.text.jit import kernel
from curate.text.unicode import HALF, QUARTER, WORD, Index, Pages, class_of, classes, decode

Counts = npt.NDArray[np.int64]
_Links = npt.NDArray[np.int32]


@dataclass(frozen=True)
class WordList:
    """A list as a trie over UTF-8 bytes: state 0 is its root, 0 also stands for "none"."""

    root: _Links  # (256) state after one byte
    byte: Bytes  # (states) the byte that leads to a state
    child: _Links  # (states) the first state below it
    sibling: _Links  # (states) the next state below the same one
    ends: npt.NDArray[np.bool_]  # (states) whether an entry ends here


def make_word_list(entries: Sequence[str]) -> WordList:
    """The trie of some entries; empty ones are left out."""
    below: list[dict[int, int]] = [{}]
    ends = [False]
    for entry in entries:
        state = 0
        for value in entry.encode():
            if value not in below[state]:
                below[state][value] = len(below)
                below.append({})
                ends.append(False)
            state = below[state][value]
        ends[state] = state > 0
    byte = np.zeros(len(below), np.uint8)
    child, sibling = np.zeros(len(below), np.int32), np.zeros(len(below), np.int32)
    root = np.zeros(256, np.int32)
    for state, links in enumerate(below):
        last = 0
        for value, target in links.items():
            byte[target], sibling[target], last = value, last, target
        child[state] = last
    root[list(below[0])] = list(below[0].values())
    return WordList(root, byte, child, sibling, np.array(ends))


def count_entries(
    text: pa.LargeStringArray, rows: npt.NDArray[np.int64], words: WordList, *, whole_words: bool
) -> tuple[Counts, Counts]:
    """In the texts of some rows: places at which an entry stands, and how many different entries do; 0 elsewhere.

    With `whole_words` an entry stands only where no letter, mark or number is beside it.
    """
    data, offsets = buffers(text)
    found, distinct = np.zeros(len(text), np.int64), np.zeros(len(text), np.int64)
    seen = np.full(len(words.ends), -1, np.int64)
    root, byte, child, sibling, ends = words.root, words.byte, words.child, words.sibling, words.ends
    _count(
        data, offsets, *classes(), rows, root, byte, child, sibling, ends, whole_words, seen, found, distinct
    )
    return found, distinct


@kernel
def _count(
    data: Bytes,
    offsets: Offsets,
    index: Index,
    pages: Pages,
    rows: npt.NDArray[np.int64],
    root: _Links,
    bytes_: Bytes,
    child: _Links,
    sibling: _Links,
    ends: npt.NDArray[np.bool_],
    whole_words: bool,
    seen: Counts,
    found: Counts,
    distinct: Counts,
) -> None:
    for row in rows:
        at, stop = offsets[row], offsets[row + 1]
        inside = False  # whether a letter, mark or number stands before `at`
        while at < stop:
            point, width = decode(data, at, stop)
            state: Int = np.int64(root[data[at]])
            place = at + 1
            if whole_words and inside:
                state = 0
            while state:
                if ends[state]:
                    after, _ = decode(data, place, stop) if place < stop else (-1, 1)
                    if not (whole_words and class_of(index, pages, after) & (WORD | HALF | QUARTER)):
                        found[row] += 1
                        distinct[row] += seen[state] != row
                        seen[state] = row
                if place == stop:
                    break
                state = np.int64(child[state])
                while state and bytes_[state] != data[place]:
                    state = np.int64(sibling[state])
                place += 1
            inside = class_of(index, pages, point) & (WORD | HALF | QUARTER) != 0
            at += width
