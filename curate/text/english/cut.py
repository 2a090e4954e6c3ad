"""Cutting what the table does not know: one stretch to remember, or a chain of them once."""

from __future__ import annotations

from curate.text.blocks import Int, Mask, within
from curate.text.english.lexicon import END, LETTER, PUNCT, WORDY, may_follow, read
from curate.text.english.phrases import SPACED, merge, symbols_of
from curate.text.english.rules import below, split
from curate.text.english.table import (
    HEAD,
    KIND,
    LEFT,
    LENGTH,
    LETTERED,
    MARKS,
    MASK,
    MORE_ROWS,
    NEED,
    PASSING,
    PHRASE,
    POOL,
    RIGHT,
    ROW,
    ROW_HEAD,
    ROWS,
    ROWS_SIZE,
    ROWS_USED,
    SLOTS,
    SYMBOLS,
    TOKEN,
    home,
    key_of,
    number_of,
    seek,
    take,
)
from curate.text.jit import inlined, kernel
from curate.text.memory import fetch, get, get_long, load, load_byte, put, put_long, store, store_byte
from curate.text.tokens import EXIT_SEEN, EXIT_UNSEEN, STARTS, STARTS_SEEN

FRESH = 1 << EXIT_SEEN  # marks of a stretch before its first token

# Where a walk is, as int64: the text, the next stretch, how many tokens and bytes are written, sums of the text.
TEXT, STRETCH, TOKENS, BYTES, EMPTY, POINTS, LETTERS = range(7)

# What a walk reads and writes, as int64 addresses of its arrays.
(
    SOURCE, START, STOP, IDS, STARTS_AT, COMPACT, STRETCH_MARKS, STRETCH_TOKEN, ENDS, MERGED, STRETCH_SYMBOLS, REACH,
) = range(12)  # fmt: skip

_IS_WORDY, _IS_LETTERED, _IS_PUNCT, _IS_END = 1, 2, 4, 8
_SHIFT = 4


@inlined
def copy(source: Int, target: Int, size: Int) -> None:
    """Copy bytes from address to address, none beyond them read or written."""
    if size < 8:
        for place in range(size):
            store_byte(target + place, load_byte(source + place))
    else:
        for place in range(0, size - 8, 8):
            store(target + place, load(source + place))
        store(target + size - 8, load(source + size - 8))


@inlined
def spaced(arrays: Int, base: Int, stretch: Int, last: Int) -> bool:
    """Whether one space and nothing else is between a stretch and the one before it."""
    stops = get_long(arrays, STOP)
    near = stretch < last and get(stops, stretch - 1) + 1 == get(get_long(arrays, START), stretch)
    return bool(near and load_byte(get_long(arrays, SOURCE) + base + get(stops, stretch - 1)) == 0x20)


@kernel
def _describe(rules: Int, at: Int, end: Int) -> Int:
    """What a token is: bits, and above them its code points."""
    if end - at <= 64:
        letters = (within(at, 0x41, 26) | within(at, 0x61, 26)) & below(end - at)
        if letters | within(at, 0x30, 10) & below(end - at) == below(end - at):
            return _IS_WORDY | _IS_LETTERED * (letters != Mask(0)) | (end - at) << _SHIFT
    points, any_bits, all_bits = 0, 0, -1
    while at < end:
        _, width, bits = read(rules, at, end)
        any_bits |= bits
        all_bits &= bits
        points += 1
        at += width
    kind = _IS_WORDY * (any_bits & WORDY != 0) | _IS_LETTERED * (any_bits & LETTER != 0)
    kind |= _IS_PUNCT * (all_bits & PUNCT != 0) | _IS_END * (points == 1 and any_bits & END != 0)
    return kind | points << _SHIFT


@inlined
def _advance(marks: Int, kind: Int) -> Int:
    """The marks of a stretch after one more token."""
    if kind & _IS_END:
        marks |= 1 << EXIT_SEEN | 1 << EXIT_UNSEEN
    elif not kind & _IS_PUNCT:
        if marks >> EXIT_UNSEEN & 1 and marks & STARTS < STARTS:
            marks += 1
        if marks >> EXIT_SEEN & 1 and marks >> STARTS_SEEN & STARTS < STARTS:
            marks += 1 << STARTS_SEEN
        marks &= (1 << EXIT_UNSEEN) - 1
    return marks


@kernel
def learn(rules: Int, table: Int, passing: Int, into: Int, arrays: Int, at: Int, size: Int) -> Int:
    """Cut a stretch that no table knows, and remember how in one of them; 0, or what has no room in that."""
    beside = PASSING * (into == passing)
    ends, merged = get_long(arrays, ENDS), get_long(arrays, MERGED)
    symbols, reach = get_long(arrays, STRETCH_SYMBOLS), get_long(arrays, REACH)
    count = split(rules, at, at + size, ends, 0, at)
    begin = 0
    for token in range(count):  # asked for now, needed when symbols and phrases are known
        _, _, hashed = key_of(table, at + begin, get(ends, token) - begin)
        fetch(home(get_long(table, SLOTS), get_long(table, MASK), hashed))
        if beside:
            fetch(home(get_long(passing, SLOTS), get_long(passing, MASK), hashed))
        begin = get(ends, token)
    symbols_of(rules, at, ends, 0, count, at, symbols)
    edges = get(symbols, 0) << LEFT | get(symbols, count - 1) << RIGHT
    count, phrase = merge(rules, at, ends, count, symbols, reach, merged)
    used = get_long(into, ROWS_USED)
    row = get_long(into, ROWS) + 4 * used
    if used + ROW_HEAD + 2 * count > get_long(into, ROWS_SIZE):
        put_long(into, NEED, ROW_HEAD + 2 * count)
        return MORE_ROWS + beside
    empty = length = lettered = begin = 0
    marks = FRESH
    for token in range(count):
        end = get(merged, token)
        number = number_of(table, passing, at + begin, end - begin)
        if number < 0:
            return -number
        kind = _describe(rules, at + begin, at + end)
        marks = _advance(marks, kind)
        empty += 1 - (kind & _IS_WORDY)
        length += (kind & _IS_WORDY) * (kind >> _SHIFT)
        lettered += kind >> 1 & 1
        put(row, ROW_HEAD + 2 * token, number)
        put(row, ROW_HEAD + 2 * token + 1, end - begin)
        begin = end
    small = size <= 16 and count <= 2
    shape = edges | phrase << PHRASE | (size if size <= 16 else 0)
    if small:
        few = marks & 1 | (marks >> STARTS_SEEN & 1) << 1 | marks >> EXIT_UNSEEN << 2
        shape |= (count + 1) << KIND | get(merged, 0) << HEAD | few << MARKS
        shape |= length << LENGTH | empty << SYMBOLS | lettered << LETTERED
        answer = get(row, ROW_HEAD) | (get(row, ROW_HEAD + 2) << 32 if count == 2 else 0)
    else:
        shape |= ROW << KIND
        answer = used
        put(row, 0, count)
        put(row, 1, empty)
        put(row, 2, length)
        put(row, 3, lettered)
        put(row, 4, marks)
    first, second, hashed = key_of(into, at, size)
    slots, mask, pool = get_long(into, SLOTS), get_long(into, MASK), get_long(into, POOL)
    slot, found = seek(
        slots, mask, pool, at, size, first, second, hashed, TOKEN if small and count == 1 else ROW, ROW
    )
    lacking = 0
    if found:  # a stretch of one token, which has its number by now
        put_long(slot, 3, shape)
    else:
        lacking = take(into, slot, at, size, first, second, answer, shape)
        lacking += beside * (lacking > 0)
        if lacking == 0 and not small:
            put_long(into, ROWS_USED, used + ROW_HEAD + 2 * count)
    return lacking


@kernel
def chain(rules: Int, table: Int, passing: Int, arrays: Int, state: Int, base: Int, last: Int) -> Int:
    """Cut a stretch, and those that a phrase may join it with, straight into the tokens; 0, or what has no room."""
    ends, merged = get_long(arrays, ENDS), get_long(arrays, MERGED)
    symbols, reach = get_long(arrays, STRETCH_SYMBOLS), get_long(arrays, REACH)
    starts, stops = get_long(arrays, START), get_long(arrays, STOP)
    begun, origin = get_long(state, STRETCH), get_long(arrays, COMPACT) + get_long(state, BYTES)
    stretch, at, count = begun, origin, 0
    joined = True
    while joined:
        size = get(stops, stretch) - get(starts, stretch)
        copy(get_long(arrays, SOURCE) + base + get(starts, stretch), at, size)
        more = split(rules, at, at + size, ends, count, origin)
        symbols_of(rules, at, ends, count, more, origin, symbols)
        if stretch > begun:
            joined = may_follow(rules, get(symbols, count - 1) & 255, get(symbols, count)) != 0
            put(symbols, count, get(symbols, count) | SPACED)
        if joined:
            count += more
            at += size
            stretch += 1
            joined = spaced(arrays, base, stretch, last)
    count, _ = merge(rules, origin, ends, count, symbols, reach, merged)
    ids, begins, slot = get_long(arrays, IDS), get_long(arrays, STARTS_AT), get_long(state, TOKENS)
    empty = length = lettered = begin = 0
    stretch, marks, edge = begun, FRESH, get(stops, begun) - get(starts, begun)
    firsts = get_long(arrays, STRETCH_TOKEN)
    put_long(firsts, begun, slot)
    for token in range(count):
        end = get(merged, token)
        number = number_of(table, passing, origin + begin, end - begin)
        if number < 0:
            return -number
        put(ids, slot + token, number)
        put_long(begins, slot + token, get_long(state, BYTES) + begin)
        kind = _describe(rules, origin + begin, origin + end)
        marks = _advance(marks, kind)
        empty += 1 - (kind & _IS_WORDY)
        length += (kind & _IS_WORDY) * (kind >> _SHIFT)
        lettered += kind >> 1 & 1
        if end == edge:
            put(get_long(arrays, STRETCH_MARKS), stretch, marks)
            stretch, marks = stretch + 1, FRESH
            put_long(firsts, stretch, slot + token + 1)
            if stretch < last:
                edge += get(stops, stretch) - get(starts, stretch)
        begin = end
    put_long(state, STRETCH, stretch)
    put_long(state, TOKENS, slot + count)
    put_long(state, BYTES, get_long(state, BYTES) + begin)
    put_long(state, EMPTY, get_long(state, EMPTY) + empty)
    put_long(state, POINTS, get_long(state, POINTS) + length)
    put_long(state, LETTERS, get_long(state, LETTERS) + lettered)
    return 0
