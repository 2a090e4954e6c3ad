"""Hash, compare and copy runs of bytes inside kernels, eight or sixteen at a time.

Tables that use the hash compare the bytes too, so that colliding strings, made on purpose or not, cost time
and never a result.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from curate.text.blocks import Int
from curate.text.jit import inlined

U64 = npt.NDArray[np.uint64]
Hash = Any  # a uint64: mypy sees the types that NumPy has outside of kernels

_A, _B, _C = (  # odd, bits at random: the fractions of pi, e and the golden ratio
    np.uint64(0x243F6A8885A308D3),
    np.uint64(0xB7E151628AED2A6B),
    np.uint64(0x9E3779B97F4A7C15),
)
_WORD, _WIDE = ir.IntType(64), ir.IntType(128)


def _load(bits: int) -> Any:
    def load(typing: Any, address: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kind = ir.IntType(bits)
            value = builder.load(builder.inttoptr(arguments[0], kind.as_pointer()), align=1)
            return value if bits == 64 else builder.zext(value, _WORD)

        return types.uint64(types.int64), code

    return intrinsic(load)


load8, load32, load64 = _load(8), _load(32), _load(64)


@intrinsic  # type: ignore[untyped-decorator]
def folded(typing: Any, one: Any, other: Any) -> Any:
    """Both halves of the 128-bit product of two 64-bit numbers, one xor the other."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        product = builder.mul(*(builder.zext(value, _WIDE) for value in arguments))
        high = builder.lshr(product, ir.Constant(_WIDE, 64))
        return builder.trunc(builder.xor(product, high), _WORD)

    return types.uint64(types.uint64, types.uint64), code


@intrinsic  # type: ignore[untyped-decorator]
def copy_bytes(typing: Any, target: Any, source: Any, size: Any) -> Any:
    """Copy some bytes from one address to another; they may overlap."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte = ir.IntType(8).as_pointer()
        target, source = (builder.inttoptr(address, byte) for address in arguments[:2])
        cgutils.raw_memmove(builder, target, source, arguments[2], 1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), code


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(typing: Any, address: Any) -> Any:
    """Tell the processor that the memory at an address will be read soon."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        hint = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        places = (ir.Constant(number, value) for value in (0, 3, 1))  # to read, keep it, data
        builder.call(hint, [builder.inttoptr(arguments[0], byte), *places])
        return context.get_dummy_value()

    return types.void(types.int64), code


@inlined
def hash16(address: Int) -> Hash:
    """Hash of the 16 bytes at an address."""
    return folded(load64(address) ^ _A, load64(address + 8) ^ _B)


@inlined
def hash_bytes(address: Int, size: Int) -> Hash:
    """Hash of some bytes at an address; none beyond them is read."""
    state = np.uint64(size) * _C
    if size >= 16:
        # Four windows, which overlap below 64 bytes, without a branch; then what lies between them.
        last = address + size - 16
        second, third = min(address + 16, last), max(last - 16, address)
        one = folded(load64(address) ^ state, load64(address + 8) ^ _A)
        two = folded(load64(second) ^ _B, load64(second + 8) ^ state)
        three = folded(load64(third) ^ _A, load64(third + 8) ^ _C)
        four = folded(load64(last) ^ _C, load64(last + 8) ^ _B)
        state = folded(one ^ two * _C, three ^ four * _C)
        here = second + 16
        while here < third:
            state = folded(load64(here) ^ state, load64(here + 8) ^ _A)
            here += 16
    elif size >= 8:
        state = folded(load64(address) ^ state, load64(address + size - 8) ^ _A)
    elif size >= 4:
        state = folded(load32(address) ^ state, load32(address + size - 4) ^ _A)
    elif size > 0:
        ends = load8(address) << np.uint64(16) | load8(address + size - 1) << np.uint64(8)
        state = folded((ends | load8(address + (size >> 1))) ^ state, _A)
    return state


@inlined
def hash_pair(one: Hash, other: Hash) -> Hash:
    """Hash of two 64-bit numbers."""
    return folded(one ^ _A, other ^ _B)


@inlined
def same_bytes(one: Int, other: Int, size: Int) -> bool:
    """Whether the same bytes lie at two addresses."""
    at, alike = 0, True
    while alike and at + 8 <= size:
        alike = load64(one + at) == load64(other + at)
        at += 8
    while alike and at < size:
        alike = load8(one + at) == load8(other + at)
        at += 1
    return bool(alike)


@inlined
def continued(address: Int, size: Int) -> Int:
    """How many of some UTF-8 bytes do not begin a character: size less this is the number of code points."""
    count = 0
    for at in range(size):
        count += load8(address + at) & np.uint64(0xC0) == np.uint64(0x80)
    return count


@inlined
def table_size(entries: Int) -> Int:
    """The smallest power of two that is twice a number of entries or more, at least 16."""
    size = 16
    while size < 2 * entries:
        size *= 2
    return size
