"""The kernels of `lid.py`: what a text says under the packaged language model.

They read by address, for a call with an array as its argument costs more than a word does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from curate.text.blocks import Int
from curate.text.hashing import hash_pair, same_bytes
from curate.text.jit import inlined, kernel
from curate.text.memory import copy_bytes, get, get_long, load, load_byte, put, put_long, store

BUCKETS, _SHORTEST, _LONGEST = 2_000_000, 2, 4  # of the packaged model: n-grams of 2 to 4 characters
DIMENSION = 16
SLOTS = 1 << 18  # of the table of words, a power of two, a cache line each (16 MB)
_FULL = SLOTS * 5 // 8  # no more words are kept
LONGEST_KEPT = 24  # bytes of a word
_COUNT, _FIRST, _INSIDE = 6, 7, 9  # where a slot has the count of rows, where the first, and how many fit
MANY = 1 << 20  # of words that have more
_AT_ONCE = 1000  # bytes of a word that is not kept
OUT = 3 * _AT_ONCE + 8  # rows of so many bytes
_VECTOR = ir.VectorType(ir.FloatType(), DIMENSION)
_LEAST = np.float32(np.log(1e-5))  # fastText ends a branch of the tree below this score

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.int32]
Places: TypeAlias = tuple[int, int, int, int, int, int, int]  # addresses: see `_places` of `lid.py`


@inlined
def _is_space(byte: Int) -> bool:
    return bool(byte == 32 or 9 <= byte <= 13 or byte == 0)


@inlined
def _some(here: Int, size: Int, stop: Int) -> np.uint64:
    """Up to eight bytes of a word, and zeros; none at `stop` or beyond is read."""
    word = np.uint64(0)
    if size >= 8:
        word = load(here)
    elif size > 0 and here + 8 <= stop:
        word = load(here) & ((np.uint64(1) << np.uint64(8 * size)) - np.uint64(1))
    else:
        for at in range(size):
            word |= np.uint64(load_byte(here + at)) << np.uint64(8 * at)
    return word


@inlined
def _slot_of(lines: Int, one: np.uint64, two: np.uint64, three: np.uint64) -> Int:
    """Address of a word's slot, or of the free one where it belongs."""
    number = np.int64(hash_pair(one, two ^ three * np.uint64(0x9E3779B97F4A7C15)) & np.uint64(SLOTS - 1))
    while True:
        slot = lines + 64 * number
        first = load(slot)
        if first == np.uint64(0):
            break
        if first == one and load(slot + 8) == two and load(slot + 16) == three:
            break
        number = (number + 1) & (SLOTS - 1)
    return slot


@inlined
def _next(hashed: np.uint64, byte: Int) -> np.uint64:
    """FNV-1a of 32 bits, of signed bytes, as fastText has it."""
    signed = np.uint64(byte) | (np.uint64(0xFFFFFF00) if byte >= 128 else np.uint64(0))
    return (hashed ^ signed) * np.uint64(16777619) & np.uint64(0xFFFFFFFF)


@inlined
def _row(hashed: np.uint64, row_of: Int, bits: Int, out: Int, count: Int) -> Int:
    """Adds the row of an n-gram, if it has one."""
    gram = np.int64(hashed % np.uint64(BUCKETS))
    if load_byte(bits + (gram >> 3)) >> (gram & 7) & 1:
        put(out, count, get(row_of, gram))
        count += 1
    return count


@inlined
def _byte(here: Int, size: Int, at: Int) -> Int:
    """A byte of a word between < and >."""
    return 60 if at == 0 else 62 if at > size else load_byte(here + at - 1)


@kernel
def _word_rows(here: Int, size: Int, begin: Int, stop: Int, row_of: Int, bits: Int, out: Int) -> Int:
    """Rows of a word's n-grams that begin at some of its bytes, with < before and > behind; returns how many."""
    count = 0
    for first in range(begin, min(stop, size + 2)):
        byte = _byte(here, size, first)
        if byte & 0xC0 == 0x80:
            continue
        hashed = np.uint64(2166136261)
        at = first
        for length in range(1, _LONGEST + 1):
            if at > size + 1:
                break
            hashed = _next(hashed, byte)
            at += 1
            byte = _byte(here, size, at)
            while at <= size and byte & 0xC0 == 0x80:
                hashed = _next(hashed, byte)
                at += 1
                byte = _byte(here, size, at)
            if length >= _SHORTEST:
                count = _row(hashed, row_of, bits, out, count)
    return count


@kernel
def _keep(known: Places, slot: Int, one: np.uint64, two: np.uint64, three: np.uint64, count: Int) -> None:
    """Put a word and the rows in `out` into the table, unless it is full."""
    _, _, _, used, kept, out, _ = known
    words, rows = get_long(used, 0), get_long(used, 1)
    if words >= _FULL or (count > _INSIDE and rows + count > MANY):
        return
    store(slot, one)
    store(slot + 8, two)
    store(slot + 16, three)
    put(slot, _COUNT, count)
    if count <= _INSIDE:
        copy_bytes(slot + 4 * _FIRST, out, 4 * count)
    else:
        put(slot, _FIRST, rows)
        copy_bytes(kept + 4 * rows, out, 4 * count)
        put_long(used, 1, rows + count)
    put_long(used, 0, words + 1)


@kernel
def learn(data: Bytes, bounds: Ints, known: Places) -> None:
    """Put the words of the model's own dictionary into the table; the first is the end of a line."""
    row_of, bits, lines, _, _, out, _ = known
    start, stop = np.int64(data.ctypes.data), np.int64(data.ctypes.data) + len(data)
    for number in range(len(bounds) - 1):
        here, size = start + bounds[number], bounds[number + 1] - bounds[number]
        if size > LONGEST_KEPT:
            continue
        put(out, 0, number)
        count = 1
        if number > 0:
            count += _word_rows(here, size, 0, size + 2, row_of, bits, out + 4)
        one, two, three = (
            _some(here, size, stop),
            _some(here + 8, size - 8, stop),
            _some(here + 16, size - 16, stop),
        )
        _keep(known, _slot_of(lines, one, two, three), one, two, three, count)


@kernel
def _number_of_long(here: Int, size: Int, long: Int) -> Int:
    """The number of a long word in the model's dictionary, or -1: they lie behind each other, after number and size."""
    while get_long(long, 0) >= 0:
        number, other = get_long(long, 0), get_long(long, 1)
        if other == size and same_bytes(here, long + 16, size):
            return number
        long += 16 + (other + 7) // 8 * 8
    return -1


@kernel
def _is_label(here: Int, size: Int) -> bool:
    """Whether a word begins with __label__: fastText takes it for one, and passes over it."""
    return bool(size >= 9 and load(here) == np.uint64(0x5F6C6562616C5F5F) and load_byte(here + 8) == 95)


@kernel
def _known_rows(here: Int, size: Int, stop: Int, known: Places) -> tuple[Int, Int]:
    """Where the rows of a word are, and how many; of a long word only its own, if it is in the dictionary."""
    row_of, bits, lines, _, kept, out, long = known
    if size > LONGEST_KEPT:
        number = _number_of_long(here, size, long)
        put(out, 0, number)
        return out, 1 if number >= 0 else 0
    one, two, three = _some(here, size, stop), np.uint64(0), np.uint64(0)
    if size > 8:
        two, three = _some(here + 8, size - 8, stop), _some(here + 16, size - 16, stop)
    slot = _slot_of(lines, one, two, three)
    if load(slot) == np.uint64(0):
        count = _word_rows(here, size, 0, size + 2, row_of, bits, out)
        _keep(known, slot, one, two, three, count)
        return out, count
    count = get(slot, _COUNT)
    return slot + 4 * _FIRST if count <= _INSIDE else kept + 4 * get(slot, _FIRST), count


@intrinsic  # type: ignore[untyped-decorator]
def _add_rows(typing: Any, total: Any, matrix: Any, rows: Any, count: Any) -> tuple[Any, Callable[..., Any]]:
    """Add to the 16 numbers at `total` the rows of the matrix whose int32 numbers lie at `rows`, one after the other.

    A row is a vector: LLVM does not see that sixteen sums in a loop are one.
    """

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        total, matrix, rows, count = arguments
        place, before = builder.inttoptr(total, _VECTOR.as_pointer()), builder.block
        first = builder.load(place, align=4)
        loop, behind = builder.append_basic_block("rows"), builder.append_basic_block("added")
        none = ir.Constant(count.type, 0)
        builder.cbranch(builder.icmp_signed(">", count, none), loop, behind)
        builder.position_at_end(loop)
        at, held = builder.phi(count.type), builder.phi(_VECTOR)
        numbers = builder.inttoptr(rows, ir.IntType(32).as_pointer())
        number = builder.zext(builder.load(builder.gep(numbers, [at]), align=4), count.type)
        row = builder.gep(builder.inttoptr(matrix, _VECTOR.as_pointer()), [number])
        added = builder.fadd(held, builder.load(row, align=4))
        after = builder.add(at, ir.Constant(count.type, 1))
        for phi, begin, then in ((at, none, after), (held, first, added)):
            phi.add_incoming(begin, before)
            phi.add_incoming(then, loop)
        builder.cbranch(builder.icmp_signed("<", after, count), loop, behind)
        builder.position_at_end(behind)
        last = builder.phi(_VECTOR)
        last.add_incoming(first, before)
        last.add_incoming(added, loop)
        builder.store(last, place, align=4)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, types.int64), code


@kernel
def _sum_text(start: Int, end: Int, stop: Int, matrix: Int, hidden: Int, known: Places) -> Int:
    """Add the rows of a text's words, in their order, to the numbers at `hidden`; returns how many."""
    row_of, bits, _, _, _, out, _ = known
    total = 0
    here = start
    while here < end:
        while here < end and _is_space(load_byte(here)):
            here += 1
        first = here
        while here < end and not _is_space(load_byte(here)):
            here += 1
        size = here - first
        if size == 0 or (load_byte(first) == 95 and _is_label(first, size)):
            continue
        rows, count = _known_rows(first, size, stop, known)
        _add_rows(hidden, matrix, rows, count)
        total += count
        if count == 1 and get(rows, 0) == 0:  # </s>, at which fastText ends
            return total
        if size > LONGEST_KEPT:
            for begin in range(0, size + 2, _AT_ONCE):
                count = _word_rows(first, size, begin, begin + _AT_ONCE, row_of, bits, out)
                _add_rows(hidden, matrix, out, count)
                total += count
    put(out, 0, 0)  # the end of the line
    _add_rows(hidden, matrix, out, 1)
    return total + 1


@kernel
def _two_leaves(hidden: Floats, nodes: Floats, children: Ints, labels: Ints, scores: Floats) -> None:
    """The two most likely leaves of the tree, by its branches in fastText's order."""
    size = len(nodes)
    stack = np.empty(2 * size, np.int64)
    sums = np.empty(2 * size, np.float32)
    best, best_score, next_score = np.int64(0), np.float32(-np.inf), np.float32(-np.inf)
    stack[0], sums[0] = 2 * size - 2, np.float32(0)
    depth = 1
    while depth:
        depth -= 1
        node, score = stack[depth], sums[depth]
        if score < _LEAST or score < next_score:
            continue
        if children[node, 0] < 0:
            if score > best_score:
                best, best_score, next_score = node, score, best_score
            elif score > next_score:
                next_score = score
            continue
        dot = np.float32(0)
        for column in range(DIMENSION):
            dot += nodes[node - size, column] * hidden[column]
        right = np.float32(1.0 / np.float64(np.float32(1) + np.float32(np.exp(-np.float64(dot)))))
        left = np.float32(1.0 - np.float64(right))
        stack[depth], sums[depth] = children[node, 1], score + np.float32(np.log(np.float64(right) + 1e-5))
        stack[depth + 1], sums[depth + 1] = (
            children[node, 0],
            score + np.float32(np.log(np.float64(left) + 1e-5)),
        )
        depth += 2
    labels[0], scores[0], scores[1] = best, best_score, next_score


@kernel
def predict(
    data: Bytes,
    offsets: Ints,
    matrix: Floats,
    nodes: Floats,
    children: Ints,
    known: Places,
    hidden: Floats,
    labels: Ints,
    scores: Floats,
) -> None:
    """Labels (n,) and logarithms (n, 2) of the probabilities of the best two; `hidden` (16,) is room for a text."""
    rows, sums = np.int64(matrix.ctypes.data), np.int64(hidden.ctypes.data)
    start, stop = np.int64(data.ctypes.data), np.int64(data.ctypes.data) + len(data)
    for text in range(len(labels)):
        hidden[:] = 0
        count = _sum_text(start + offsets[text], start + offsets[text + 1], stop, rows, sums, known)
        hidden *= np.float32(1.0 / count)
        _two_leaves(hidden, nodes, children, labels[text : text + 1], scores[text])
