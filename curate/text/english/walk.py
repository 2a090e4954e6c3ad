"""From stretches to tokens: out of the table, or by the rules and then into the table."""

from __future__ import annotations

import numpy as np

from curate.text.arrow import Offsets
from curate.text.blocks import Int, Mask
from curate.text.english.cut import (
    BYTES,
    COMPACT,
    EMPTY,
    IDS,
    LETTERS,
    POINTS,
    SOURCE,
    START,
    STARTS_AT,
    STOP,
    STRETCH,
    STRETCH_MARKS,
    STRETCH_TOKEN,
    TEXT,
    TOKENS,
    chain,
    copy,
    learn,
    spaced,
)
from curate.text.english.lexicon import may_follow
from curate.text.english.table import (
    FULL,
    HEAD,
    KIND,
    LEFT,
    LENGTH,
    LETTERED,
    LONGEST,
    MARKS,
    MASK,
    ONE_TOKEN,
    PHRASE,
    POOL,
    RIGHT,
    ROW,
    ROW_HEAD,
    ROWS,
    SIZE,
    SLOTS,
    SYMBOLS,
    Words,
    hash_long,
    hash_of,
    home,
    seek,
    words_of,
)
from curate.text.jit import inlined, kernel
from curate.text.memory import fetch, get, get_long, load_byte, put, put_long, store
from curate.text.tokens import EXIT_UNSEEN, STARTS_SEEN, Counts

BATCH = 128  # stretches whose slots are asked for before the first of them is looked at


@kernel
def walk(
    rules: Int, table: Int, passing: Int, arrays: Int, state: Int, size_of_source: Int,
    offsets: Offsets, stretch_first: Offsets, first: Offsets, counts: Counts,
) -> Int:  # fmt: skip
    """The tokens of all texts, on from `state`; 0, or which array has no room."""
    slots, mask, pool, rows = (
        get_long(table, SLOTS), get_long(table, MASK), get_long(table, POOL), get_long(table, ROWS),
    )  # fmt: skip
    full = get_long(table, FULL)
    own_slots, own_mask, own_pool, own_rows = (
        get_long(passing, SLOTS), get_long(passing, MASK), get_long(passing, POOL), get_long(passing, ROWS),
    )  # fmt: skip
    source, starts, stops = get_long(arrays, SOURCE), get_long(arrays, START), get_long(arrays, STOP)
    ids, begins, compact = get_long(arrays, IDS), get_long(arrays, STARTS_AT), get_long(arrays, COMPACT)
    marks, firsts = get_long(arrays, STRETCH_MARKS), get_long(arrays, STRETCH_TOKEN)
    words = np.empty((BATCH, 3), np.uint64)
    stretch, slot, out, empty, length, lettered = _load(state)
    for text in range(get_long(state, TEXT), len(offsets) - 1):
        base, last = offsets[text], stretch_first[text + 1]
        begin = stop = stretch
        joint = phrase = 0  # of the stretch before: its last symbol, and whether it holds a phrase
        put_long(state, TEXT, text)
        _save(state, stretch, slot, out, empty, length, lettered)
        while stretch < last:
            if stretch >= stop:
                begin, stop = stretch, min(stretch + BATCH, last)
                _ask(table, passing, rows, source, base, size_of_source, begin, stop, starts, stops, words)
            at, i = source + base + get(starts, stretch), stretch - begin
            size = get(stops, stretch) - get(starts, stretch)
            one, two, hashed = words[i, 0], words[i, 1], words[i, 2]
            known, found = seek(slots, mask, pool, at, size, one, two, hashed, ONE_TOKEN, ROW)
            answers = rows
            if full and not found:
                known, found = seek(own_slots, own_mask, own_pool, at, size, one, two, hashed, ONE_TOKEN, ROW)
                answers = own_rows
            shape = get_long(known, 3)
            follows = joint != 0 and (not found or may_follow(rules, joint, shape >> LEFT & 255) != 0)
            joins = follows and spaced(arrays, base, stretch, last)
            phrase_here = shape >> PHRASE & 1
            if found and not (joins and (phrase or phrase_here)):
                phrase, joint = phrase_here, shape >> RIGHT & 255
                if joint and not joins:  # what may have to be cut again begins here
                    _save(state, stretch, slot, out, empty, length, lettered)
                answer = get_long(known, 2)
                if shape >> KIND & 7 == ROW:
                    copy(at, compact + out, size)
                    sums = _put_row(answers + 4 * answer, ids, begins, slot, out)
                else:
                    store(compact + out, one)
                    store(compact + out + 8, two)
                    sums = _put_slot(shape, answer, ids, begins, slot, out)
                put_long(firsts, stretch, slot)
                slot += sums[0]
                empty += sums[1]
                length += sums[2]
                lettered += sums[3]
                put(marks, stretch, sums[4])
                out += size
                stretch += 1
                continue
            lacking, learnable = 0, not found and size <= LONGEST
            if learnable:
                copy(at, compact + out, size)
                lacking = learn(
                    rules, table, passing, passing if full else table, arrays, compact + out, size
                )
                if lacking == 0:
                    continue
            if not (joins or (learnable and joint)):
                _save(state, stretch, slot, out, empty, length, lettered)
            joint = 0
            lacking = lacking or chain(rules, table, passing, arrays, state, base, last)
            if lacking:
                return lacking
            stretch, slot, out, empty, length, lettered = _load(state)
        counts[0, text], counts[1, text], counts[2, text] = empty, length, lettered
        empty = length = lettered = 0
        first[text + 1] = slot
    put_long(begins, slot, out)
    put_long(firsts, stretch, slot)
    return 0


@inlined
def _put_slot(
    shape: Int, answer: Int, ids: Int, begins: Int, slot: Int, out: Int
) -> tuple[Int, Int, Int, Int, Int]:
    """Write the one or two tokens of a slot: how many, symbols, length, lettered, marks."""
    put(ids, slot, answer)
    put(ids, slot + 1, answer >> 32)
    put_long(begins, slot, out)
    put_long(begins, slot + 1, out + (shape >> HEAD & 31))
    few = shape >> MARKS & 15
    marks = few & 1 | (few >> 1 & 1) << STARTS_SEEN | few >> 2 << EXIT_UNSEEN
    return (shape >> KIND & 7) - 1, shape >> SYMBOLS & 3, shape >> LENGTH & 31, shape >> LETTERED & 3, marks


@inlined
def _put_row(row: Int, ids: Int, begins: Int, slot: Int, out: Int) -> tuple[Int, Int, Int, Int, Int]:
    """Write the tokens of a row: how many, symbols, length, lettered, marks."""
    for token in range(get(row, 0)):
        put(ids, slot + token, get(row, ROW_HEAD + 2 * token))
        put_long(begins, slot + token, out)
        out += get(row, ROW_HEAD + 2 * token + 1)
    return get(row, 0), get(row, 1), get(row, 2), get(row, 3), get(row, 4)


@inlined
def _load(state: Int) -> tuple[Int, Int, Int, Int, Int, Int]:
    return (
        get_long(state, STRETCH), get_long(state, TOKENS), get_long(state, BYTES),
        get_long(state, EMPTY), get_long(state, POINTS), get_long(state, LETTERS),
    )  # fmt: skip


@inlined
def _save(state: Int, stretch: Int, slot: Int, out: Int, empty: Int, length: Int, lettered: Int) -> None:
    put_long(state, STRETCH, stretch)
    put_long(state, TOKENS, slot)
    put_long(state, BYTES, out)
    put_long(state, EMPTY, empty)
    put_long(state, POINTS, length)
    put_long(state, LETTERS, lettered)


@inlined
def _ask(
    table: Int, passing: Int, rows: Int, source: Int, base: Int, size_of_source: Int, begin: Int, stop: Int,
    starts: Int, stops: Int, words: Words,
) -> None:  # fmt: skip
    """Hash a batch of stretches, and ask for their slots and rows before the first is looked at."""
    slots, mask, pool = get_long(table, SLOTS), get_long(table, MASK), get_long(table, POOL)
    full, own_slots, own_mask = get_long(table, FULL), get_long(passing, SLOTS), get_long(passing, MASK)
    for stretch in range(begin, stop):
        at, size = base + get(starts, stretch), get(stops, stretch) - get(starts, stretch)
        one, two = Mask(0), Mask(0)
        if size > 16:
            hashed = one = hash_long(table, source + at, size)
        else:
            if at + 16 <= size_of_source:
                one, two = words_of(source + at, size)
            else:
                one, two = _last_words(source + at, size)
            hashed = hash_of(table, one, two, size)
        fetch(home(slots, mask, hashed))
        i = stretch - begin
        words[i, 0], words[i, 1], words[i, 2] = one, two, hashed
    for i in range(stop - begin):
        slot = home(slots, mask, words[i, 2])  # where it most likely is
        shape = get_long(slot, 3)
        if full and shape == 0:
            fetch(home(own_slots, own_mask, words[i, 2]))
        elif shape >> KIND & 7 == ROW:
            fetch(rows + 4 * get_long(slot, 2))
            if not shape & SIZE:
                fetch(pool + (get_long(slot, 1) >> 32) * 8)


@kernel
def _last_words(at: Int, size: Int) -> tuple[Mask, Mask]:
    """The bytes of a text of up to 16, none behind them read."""
    first, second = Mask(0), Mask(0)
    for place in range(size):
        word = Mask(load_byte(at + place)) << Mask(8 * (place & 7))
        first |= word if place < 8 else Mask(0)
        second |= word if place >= 8 else Mask(0)
    return first, second
