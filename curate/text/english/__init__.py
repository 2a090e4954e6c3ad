"""The splitter `english-exact`: the tokens of spaCy's blank("en"), without spaCy.

    tokens = find_english(text)

The rules are kernels over the bytes of the batch, and each stretch between white space meets them once: a table
remembers what became of it. A thread has a table of its own, which begins with what an earlier run kept.
"""

from __future__ import annotations

import threading

import numpy as np
import pyarrow as pa

from curate.text.arrow import buffers
from curate.text.english.kept import keep, kept_file, load
from curate.text.english.lexicon import all_rules
from curate.text.english.table import ENTRIES, FULL, MORE_SLOTS, NEXT, PASSING, SEED, Table, free_slots
from curate.text.english.walk import walk
from curate.text.stretches import find_stretches
from curate.text.tokens import Tokens

_own = threading.local()
_PASSING = 1 << 22  # bytes of text for which a passing table is made; it grows where more is new
_NUMBERS = 1 << 30  # of tokens: a row has 31 bits for one


def find_english(text: pa.LargeStringArray) -> Tokens:
    """The tokens of each text as spaCy's English tokenizer cuts them, white space left out.

    What is returned does not depend on what was asked before; only the numbers of the tokens do.

    Raises:
        CurateError: a text has 2 GiB or more.
    """
    return cut(text, _table(), ENTRIES)


def keep_table() -> None:
    """Leave what this thread has learned for the next run, in the folder that CURATE_CACHE names."""
    keep(_table(), kept_file())


def warm() -> None:
    """Compile the kernels, see `curate.engine.warm`."""
    table = Table()
    cut(pa.array(["It's so :) )"], pa.large_string()), table, ENTRIES)
    table.grow(MORE_SLOTS, ENTRIES)


def _table() -> Table:
    table: Table | None = getattr(_own, "table", None)
    if table is None:
        table = _own.table = load(kept_file()) or Table()
    return table


def _passing(table: Table, size: int) -> Table:
    """An empty table with the hash of another, with room for what is new in so many bytes of technical text."""
    passing = Table(
        free_slots(1 << max(12, size.bit_length() - 4)),
        np.zeros(max(1 << 14, size // 4), np.int32),
        np.zeros(max(1 << 10, size // 16), np.uint64),
        table.facts.copy(),
    )
    passing.facts[:SEED] = 0
    return passing


def cut(text: pa.LargeStringArray, table: Table, entries: int) -> Tokens:
    """The tokens of each text, by a table that may have so many entries."""
    data, offsets = buffers(text)
    size, longest = int(offsets[-1] - offsets[0]), int(np.diff(offsets).max(initial=0)) + 2
    stretch_first, stretch_start, stretch_end = find_stretches(data, offsets)
    # Of all these, memory that is not needed is never touched.
    ids, starts = np.empty(size + 2, np.uint32), np.empty(size + 2, np.int64)
    compact, marks = np.empty(size + 96, np.uint8), np.empty(len(stretch_start), np.uint32)
    stretch_token = np.empty(len(stretch_start) + 1, np.int64)
    scratch = np.empty((4, longest), np.int32)
    first, counts = np.zeros(len(text) + 1, np.int64), np.zeros((3, len(text)), np.int64)
    work = (data, stretch_start, stretch_end, ids, starts, compact, marks, stretch_token, *scratch)
    arrays, state = np.array([array.ctypes.data for array in work], np.int64), np.zeros(7, np.int64)
    begun = int(table.facts[NEXT])
    full = table.facts[FULL] = table.facts[FULL] or begun >= _NUMBERS
    passing = _passing(table, min(size, _PASSING) if full else 0)
    rules = all_rules()  # stays while kernels read it: the cache may come to hold that of another thread
    while lacking := walk(
        rules.ctypes.data, table.address(), passing.address(), arrays.ctypes.data, state.ctypes.data,
        len(data), offsets, stretch_first, first, counts,
    ):  # fmt: skip
        if lacking > PASSING:
            passing.grow(lacking - PASSING, 1 << 62)
        else:
            table.grow(lacking, entries)
    if full:  # what is new in it is known to this call only
        table.facts[NEXT] = begun
    tokens = int(first[-1])
    symbols, length, lettered = counts
    return Tokens(
        first, ids[:tokens], starts[: tokens + 1], compact[: starts[tokens]], symbols, length, lettered,
        stretch_first, stretch_start, stretch_end, stretch_token, marks,
    )  # fmt: skip
