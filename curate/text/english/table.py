"""The table that remembers how stretches are cut, so that the rules see each of them once.

A slot is four uint64: two words of the text, an answer, and its shape. A text of up to 16 bytes is its two
words; of a longer one they are its hash, and where its bytes are kept in `pool`. So a slot is only ever
taken for the text that it was made for, and a hash decides no more than where the search begins. It is
seeded, so that nobody can write texts that make the search long.

Tokens have slots too: a stretch of one token is its own. What does not fit a slot is a row of int32:
tokens, symbols, length, lettered and marks of the stretch, then number and bytes of each token.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.text.blocks import Int, Mask
from curate.text.jit import inlined, kernel
from curate.text.memory import fold, get_long, load, put_long, store

Words = npt.NDArray[np.uint64]

ENTRIES = 1 << 20  # slots in use when the table is full: about 64 MB of slots and 20 MB of rows
LONGEST = 1024  # bytes of a stretch or token that is remembered: longer ones do not come back

# Bits of a slot's fourth word.
SIZE = 31  # bytes of the text; 0 for more than 16
KIND, TOKEN, ONE_TOKEN, ROW = 5, 1, 2, 4  # three bits; 0: the slot is free
HEAD = 8  # five bits: bytes of the first token
LENGTH = 13  # five bits
SYMBOLS = 18  # two bits
LETTERED = 20  # two bits
MARKS = 22  # four bits: starts unseen, starts seen, exit unseen, exit seen
LEFT, RIGHT = 26, 34  # eight bits each: symbols of the first and last token that the rules of a stretch give
PHRASE = 42  # one bit: those tokens hold a phrase

ROW_HEAD = 5
SLOT = 32  # bytes

# What a kernel is told of a table, as int64: slots, rows and words of the pool in use; the number of the next new
# token; whether nothing more is taken; how much room was lacking; where the arrays are, and their sizes; two seeds.
USED, ROWS_USED, POOL_USED, NEXT, FULL, NEED, SLOTS, MASK, ROWS, ROWS_SIZE, POOL, POOL_SIZE, SEED, OTHER = (
    range(14)
)
MORE_SLOTS, MORE_ROWS, MORE_POOL, PASSING = 1, 2, 3, 4  # what has no room; PASSING is added

_LOW = np.array([(1 << (8 * count)) - 1 for count in range(9)], np.uint64)
_ODD = Mask(0x9E3779B97F4A7C15)


def free_slots(count: int) -> Words:
    """Free slots that begin with a cache line, so that none lies in two."""
    words = np.zeros(4 * count + 8, np.uint64)
    skip = -words.ctypes.data % 64 // 8
    return words[skip : skip + 4 * count]


def _facts() -> npt.NDArray[np.int64]:
    facts = np.zeros(14, np.int64)
    facts[SEED:] = np.random.SeedSequence().generate_state(2, np.uint64).view(np.int64)
    return facts


@dataclass
class Table:
    """The arrays of a table: 4 words a slot, rows, bytes of long texts, and what kernels are told."""

    slots: Words = field(default_factory=lambda: free_slots(1 << 12))
    rows: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(1 << 14, np.int32))
    pool: Words = field(default_factory=lambda: np.zeros(1 << 10, np.uint64))
    facts: npt.NDArray[np.int64] = field(default_factory=_facts)

    def address(self) -> int:
        """Where the kernels find the facts; the table must outlive their use, and not grow meanwhile."""
        self.facts[SLOTS : POOL_SIZE + 1] = (
            self.slots.ctypes.data, SLOT * (len(self.slots) // 4 - 1), self.rows.ctypes.data, len(self.rows),
            self.pool.ctypes.data, len(self.pool),
        )  # fmt: skip
        return int(self.facts.ctypes.data)

    def grow(self, what: int, entries: int) -> None:
        """Double the array that has no more room, or say that the table is full, at so many entries."""
        if what == MORE_SLOTS and self.facts[USED] < entries:
            wider = free_slots(len(self.slots) // 2)
            _refill(self.address(), wider.ctypes.data, SLOT * (len(wider) // 4 - 1))
            self.slots = wider
        elif what == MORE_ROWS:
            self.rows = _longer(self.rows, self.facts[NEED])
        elif what == MORE_POOL:
            self.pool = _longer(self.pool, self.facts[NEED])
        else:
            self.facts[FULL] = 1


def _longer(array: npt.NDArray[Any], need: int) -> npt.NDArray[Any]:
    return np.concatenate([array, np.zeros(max(len(array), need), array.dtype)])


@kernel
def _refill(table: Int, wider: Int, mask: Int) -> None:
    """Put what is in the slots into more of them."""
    slots = get_long(table, SLOTS)
    for slot in range(slots, slots + get_long(table, MASK) + SLOT, SLOT):
        shape = get_long(slot, 3)
        if shape == 0:
            continue
        first, size = load(slot), shape & SIZE
        hashed = hash_of(table, first, load(slot + 8), size) if size else first
        place = home(wider, mask, hashed)
        while get_long(place, 3):
            place = wider + ((place - wider + SLOT) & mask)
        for word in range(4):
            put_long(place, word, get_long(slot, word))


@inlined
def home(slots: Int, mask: Int, hashed: Mask) -> Int:
    """The slot where the search for a text begins."""
    return slots + (np.int64(hashed << Mask(5)) & mask)


@inlined
def hash_of(table: Int, first: Mask, second: Mask, size: Int) -> Int:
    """Hash of a text of up to 16 bytes."""
    return fold(
        first ^ Mask(get_long(table, SEED)), second ^ (Mask(get_long(table, OTHER)) + Mask(size) * _ODD)
    )


@kernel
def hash_long(table: Int, at: Int, size: Int) -> Int:
    """Hash of a text of more than 16 bytes."""
    seed = Mask(get_long(table, SEED))
    value = Mask(get_long(table, OTHER)) + Mask(size) * _ODD
    for place in range(at, at + size - 16, 16):
        value = fold(load(place) ^ seed, load(place + 8) ^ value)
    return fold(load(at + size - 16) ^ seed, load(at + size - 8) ^ value)


@inlined
def words_of(at: Int, size: Int) -> tuple[Mask, Mask]:
    """The bytes of a text of up to 16, of which 16 can be read."""
    return load(at) & _LOW[min(size, 8)], load(at + 8) & _LOW[max(size - 8, 0)]


@inlined
def key_of(table: Int, at: Int, size: Int) -> tuple[Mask, Mask, Mask]:
    """The first two words of a text's slot as far as they are known, and its hash; 16 bytes can be read."""
    if size > 16:
        first, second = hash_long(table, at, size), Mask(0)
        hashed = first
    else:
        first, second = words_of(at, size)
        hashed = hash_of(table, first, second, size)
    return first, second, hashed


@kernel
def _same(left: Int, right: Int, size: Int) -> bool:
    """Whether two texts of at least 8 bytes are equal."""
    for place in range(0, size - 8, 8):
        if load(left + place) != load(right + place):
            return False
    return bool(load(left + size - 8) == load(right + size - 8))


@inlined
def seek(
    slots: Int,
    mask: Int,
    pool: Int,
    at: Int,
    size: Int,
    first: Mask,
    second: Mask,
    hashed: Mask,
    least: int,
    most: int,
) -> tuple[Int, bool]:
    """The slot of a text, of one of these kinds, and whether it is taken; else it is free for it."""
    slot = home(slots, mask, hashed)
    shaped = size if size <= 16 else 0
    found = False
    shape = get_long(slot, 3)
    while shape and not found:
        kind = shape >> KIND & 7
        if load(slot) == first and shape & SIZE == shaped and least <= kind and kind <= most:
            if shaped:
                found = load(slot + 8) == second
            else:
                kept = get_long(slot, 1)
                found = kept & 0xFFFFFFFF == size and _same(pool + (kept >> 32) * 8, at, size)
        if not found:
            slot = slots + ((slot - slots + SLOT) & mask)
            shape = get_long(slot, 3)
    return slot, found


@inlined
def take(
    table: Int, slot: Int, at: Int, size: Int, first: Mask, second: Mask, answer: Int, shape: Int
) -> Int:
    """Take a free slot; 0, or which array has no room."""
    used, kept, more = get_long(table, USED), get_long(table, POOL_USED), (size + 7) // 8
    lacking = 0
    if 2 * used * SLOT >= get_long(table, MASK):
        lacking = MORE_SLOTS
    elif size > 16 and kept + more > get_long(table, POOL_SIZE):
        put_long(table, NEED, more)
        lacking = MORE_POOL
    else:
        if size > 16:
            target = get_long(table, POOL) + 8 * kept
            for place in range(0, size - 8, 8):
                store(target + place, load(at + place))
            store(target + size - 8, load(at + size - 8))
            put_long(table, POOL_USED, kept + more)
            second = Mask(kept << 32 | size)
        store(slot, first)
        store(slot + 8, second)
        put_long(slot, 2, answer)
        put_long(slot, 3, shape)
        put_long(table, USED, used + 1)
    return lacking


@kernel
def number_of(table: Int, passing: Int, at: Int, size: Int) -> Int:
    """The number of a token, a new one if need be; below 0: minus what has no room.

    What the table may not take is remembered for this call, in `passing`. 16 bytes from `at` can be read.
    """
    first, second, hashed = key_of(table, at, size)
    number, lacking = get_long(table, NEXT), 0
    shape = TOKEN << KIND | (size if size <= 16 else 0)
    slots, mask, pool = get_long(table, SLOTS), get_long(table, MASK), get_long(table, POOL)
    slot, found = seek(slots, mask, pool, at, size, first, second, hashed, TOKEN, ONE_TOKEN)
    fresh = not found
    if found:
        number = get_long(slot, 2)
    elif not get_long(table, FULL) and size <= LONGEST:
        lacking = take(table, slot, at, size, first, second, number, shape)
    else:
        slots, mask, pool = get_long(passing, SLOTS), get_long(passing, MASK), get_long(passing, POOL)
        slot, found = seek(slots, mask, pool, at, size, first, second, hashed, TOKEN, ONE_TOKEN)
        fresh = not found
        if found:
            number = get_long(slot, 2)
        else:
            lacking = take(passing, slot, at, size, first, second, number, shape)
            lacking += PASSING * (lacking > 0)
    if fresh and lacking == 0:
        put_long(table, NEXT, number + 1)
    return number if lacking == 0 else -lacking
