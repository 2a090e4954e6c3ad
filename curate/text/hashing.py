"""Hash and compare runs of bytes inside kernels, eight or sixteen at a time.

Tables that use the hash compare the bytes too, so that colliding strings, made on purpose or not, cost time
and never a result.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from curate.text.blocks import Int, ones
from curate.text.jit import inlined
from curate.text.memory import fold, load, load_byte, load_half

U64 = npt.NDArray[np.uint64]
Hash = Any  # a uint64: mypy sees the types that NumPy has outside of kernels

_A, _B, _C = (  # odd, bits at random: the fractions of pi, e and the golden ratio
    np.uint64(0x243F6A8885A308D3),
    np.uint64(0xB7E151628AED2A6B),
    np.uint64(0x9E3779B97F4A7C15),
)


@inlined
def hash16(address: Int) -> Hash:
    """Hash of the 16 bytes at an address."""
    return fold(load(address) ^ _A, load(address + 8) ^ _B)


@inlined
def hash_bytes(address: Int, size: Int) -> Hash:
    """Hash of some bytes at an address; none beyond them is read."""
    # No byte of UTF-8 is 0xFF, so that no text can make a factor below zero, after which nothing would count.
    state = np.uint64(size) * _C | np.uint64(0xFF)
    if size >= 16:
        # The windows at both ends, then what lies between them; windows overlap.
        last = address + size - 16
        one = fold(load(address) ^ state, load(address + 8) ^ _A)
        two = fold(load(last) ^ _C, load(last + 8) ^ _B)
        state = one ^ two * _C
        here = address + 16
        while here < last:
            state = fold(load(here) ^ state, load(here + 8) ^ _A)
            here += 16
        state = fold(state, two ^ _B)
    elif size >= 8:
        state = fold(load(address) ^ state, load(address + size - 8) ^ _A)
    elif size >= 4:
        state = fold(load_half(address) ^ state, load_half(address + size - 4) ^ _A)
    elif size > 0:
        ends = (
            load_byte(address) << 16 | load_byte(address + size - 1) << 8 | load_byte(address + (size >> 1))
        )
        state = fold(np.uint64(ends) ^ state, _A)
    return state


@inlined
def hash_pair(one: Hash, other: Hash) -> Hash:
    """Hash of two 64-bit numbers."""
    return fold(one ^ _A, other ^ _B)


@inlined
def same_bytes(one: Int, other: Int, size: Int) -> bool:
    """Whether the same bytes lie at two addresses."""
    at, alike = 0, True
    while alike and at + 8 <= size:
        alike = load(one + at) == load(other + at)
        at += 8
    if size >= 8:
        alike = alike and load(one + size - 8) == load(other + size - 8)
    while alike and size < 8 and at < size:
        alike = load_byte(one + at) == load_byte(other + at)
        at += 1
    return bool(alike)


@inlined
def continued(address: Int, size: Int) -> Int:
    """How many of some UTF-8 bytes do not begin a character: size less this is the number of code points."""
    count, at = 0, 0
    while at + 8 <= size:
        count += _inner(load(address + at))
        at += 8
    if size >= 8:
        if at < size:
            count += _inner(load(address + size - 8) >> np.uint64(8 * (8 - size + at)))
    else:
        while at < size:
            count += _inner(np.uint64(load_byte(address + at)))
            at += 1
    return count


@inlined
def _inner(word: Hash) -> Int:
    return ones(word >> np.uint64(7) & ~(word >> np.uint64(6)) & np.uint64(0x0101010101010101))


@inlined
def table_size(entries: Int) -> Int:
    """The smallest power of two that is twice a number of entries or more, at least 16."""
    size = 16
    while size < 2 * entries:
        size *= 2
    return size
