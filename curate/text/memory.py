"""Memory by address, as single machine instructions.

Kernels are made of many small ones. An array as an argument of one costs two atomic counts a
call, which is more than most of them do; an address is a number. Who calls keeps the arrays alive.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_Code = tuple[Any, Callable[..., Any]]
_WORD, _WIDE, _INT, _BYTE = ir.IntType(64), ir.IntType(128), ir.IntType(32), ir.IntType(8)


def _instruction(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of kernels whose code is given as LLVM instructions."""
    compiled: Callable[..., Any] = intrinsic(function)
    return compiled


def _read(builder: Any, address: Any, kind: Any) -> Any:
    return builder.load(builder.inttoptr(address, kind.as_pointer()), align=1)


def _write(context: Any, builder: Any, address: Any, value: Any) -> Any:
    builder.store(value, builder.inttoptr(address, value.type.as_pointer()), align=1)
    return context.get_dummy_value()


@_instruction
def load(typing: Any, address: Any) -> _Code:
    """The 8 bytes at an address, as uint64."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _read(builder, arguments[0], _WORD)

    return types.uint64(types.int64), code


@_instruction
def store(typing: Any, address: Any, word: Any) -> _Code:
    """Write 8 bytes to an address."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _write(context, builder, *arguments)

    return types.void(types.int64, types.uint64), code


@_instruction
def load_half(typing: Any, address: Any) -> _Code:
    """The 4 bytes at an address, as uint64."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.zext(_read(builder, arguments[0], _INT), _WORD)

    return types.uint64(types.int64), code


@_instruction
def load_byte(typing: Any, address: Any) -> _Code:
    """The byte at an address, as int64."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.zext(_read(builder, arguments[0], _BYTE), _WORD)

    return types.int64(types.int64), code


@_instruction
def store_byte(typing: Any, address: Any, byte: Any) -> _Code:
    """Write the low byte of an int64 to an address."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _write(context, builder, arguments[0], builder.trunc(arguments[1], _BYTE))

    return types.void(types.int64, types.int64), code


@_instruction
def copy_bytes(typing: Any, target: Any, source: Any, size: Any) -> _Code:
    """Copy some bytes from one address to another; they may overlap."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target, source = (builder.inttoptr(address, _BYTE.as_pointer()) for address in arguments[:2])
        cgutils.raw_memmove(builder, target, source, arguments[2], 1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), code


@_instruction
def get(typing: Any, array: Any, item: Any) -> _Code:
    """One item of the int32 array at an address, as int64."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.add(arguments[0], builder.shl(arguments[1], ir.Constant(_WORD, 2)))
        return builder.sext(_read(builder, place, _INT), _WORD)

    return types.int64(types.int64, types.int64), code


@_instruction
def put(typing: Any, array: Any, item: Any, value: Any) -> _Code:
    """Set one item of the int32 array at an address."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.add(arguments[0], builder.shl(arguments[1], ir.Constant(_WORD, 2)))
        return _write(context, builder, place, builder.trunc(arguments[2], _INT))

    return types.void(types.int64, types.int64, types.int64), code


@_instruction
def get_long(typing: Any, array: Any, item: Any) -> _Code:
    """One item of the int64 array at an address."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.add(arguments[0], builder.shl(arguments[1], ir.Constant(_WORD, 3)))
        return _read(builder, place, _WORD)

    return types.int64(types.int64, types.int64), code


@_instruction
def put_long(typing: Any, array: Any, item: Any, value: Any) -> _Code:
    """Set one item of the int64 array at an address."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.add(arguments[0], builder.shl(arguments[1], ir.Constant(_WORD, 3)))
        return _write(context, builder, place, arguments[2])

    return types.void(types.int64, types.int64, types.int64), code


@_instruction
def fetch(typing: Any, address: Any) -> _Code:
    """Ask for the cache line of an address that is read soon."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _BYTE.as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [place, _INT, _INT, _INT])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        for_reading, keep, of_data = (ir.Constant(_INT, number) for number in (0, 3, 1))
        builder.call(function, [builder.inttoptr(arguments[0], place), for_reading, keep, of_data])
        return context.get_dummy_value()

    return types.void(types.int64), code


@_instruction
def fold(typing: Any, left: Any, right: Any) -> _Code:
    """Both halves of a product of 128 bits, xored (Wang Yi's wyhash)."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        product = builder.mul(*(builder.zext(argument, _WIDE) for argument in arguments))
        high = builder.trunc(builder.lshr(product, ir.Constant(_WIDE, 64)), _WORD)
        return builder.xor(high, builder.trunc(product, _WORD))

    return types.uint64(types.uint64, types.uint64), code
