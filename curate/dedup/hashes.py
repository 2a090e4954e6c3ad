"""The hashes that peers give their shingles, over stretches of one buffer: SHA-1, xxHash 32 and 64.

Of SHA-1 they take the first 4 or 8 bytes of the digest as a little-endian number (datasketch, datatrove); xxHash
has seed 0. Calling a library for each shingle would cost more than all else (0.5 µs a call against 20 ns here).
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from curate.dedup.shingles import I64, U8, U32, U64
from curate.text.jit import kernel
from schemas.errors import UsageError

Hash = Literal["sha1-32", "sha1-64", "xxh32", "xxh64"]

_LANES = 16  # messages that SHA-1 works on at once: LLVM makes vectors of them

_A64, _B64, _C64 = (np.uint64(p) for p in (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9))
_D64, _E64 = np.uint64(0x85EBCA77C2B2AE63), np.uint64(0x27D4EB2F165667C5)
_A32, _B32, _C32 = np.uint32(0x9E3779B1), np.uint32(0x85EBCA77), np.uint32(0xC2B2AE3D)
_D32, _E32 = np.uint32(0x27D4EB2F), np.uint32(0x165667B1)


@kernel
def _left32(x: np.uint32, bits: int) -> np.uint32:
    return np.uint32(x << np.uint32(bits) | x >> np.uint32(32 - bits))


@kernel
def _left64(x: np.uint64, bits: int) -> np.uint64:
    return x << np.uint64(bits) | x >> np.uint64(64 - bits)


@kernel
def _word32(data: U8, at: int) -> np.uint32:
    """Four bytes as a little-endian number."""
    first = np.uintp(at)  # an unsigned index cannot count from the end: LLVM makes one load of the four
    found = np.uint32(0)
    for i in range(4):
        found |= np.uint32(np.uint32(data[first + np.uintp(i)]) << np.uint32(8 * i))
    return found


@kernel
def _word64(data: U8, at: int) -> np.uint64:
    first = np.uintp(at)
    found = np.uint64(0)
    for i in range(8):
        found |= np.uint64(data[first + np.uintp(i)]) << np.uint64(8 * i)
    return found


@kernel
def _round64(total: np.uint64, word: np.uint64) -> np.uint64:
    return _left64(total + word * _B64, 31) * _A64


@kernel
def _xxh64(data: U8, start: int, stop: int) -> np.uint64:
    at = start
    if stop - start >= 32:
        one, two, three, four = _A64 + _B64, _B64, np.uint64(0), np.uint64(0) - _A64
        while at + 32 <= stop:
            one = _round64(one, _word64(data, at))
            two = _round64(two, _word64(data, at + 8))
            three = _round64(three, _word64(data, at + 16))
            four = _round64(four, _word64(data, at + 24))
            at += 32
        total = _left64(one, 1) + _left64(two, 7) + _left64(three, 12) + _left64(four, 18)
        for part in (one, two, three, four):
            total = (total ^ _round64(np.uint64(0), part)) * _A64 + _D64
    else:
        total = _E64
    total += np.uint64(stop - start)
    while at + 8 <= stop:
        total = _left64(total ^ _round64(np.uint64(0), _word64(data, at)), 27) * _A64 + _D64
        at += 8
    if at + 4 <= stop:
        total = _left64(total ^ np.uint64(_word32(data, at)) * _A64, 23) * _B64 + _C64
        at += 4
    while at < stop:
        total = _left64(total ^ np.uint64(data[at]) * _E64, 11) * _A64
        at += 1
    total = (total ^ total >> np.uint64(33)) * _B64
    total = (total ^ total >> np.uint64(29)) * _C64
    return total ^ total >> np.uint64(32)


@kernel
def _round32(total: np.uint32, word: np.uint32) -> np.uint32:
    return np.uint32(_left32(np.uint32(total + np.uint32(word * _B32)), 13) * _A32)


@kernel
def _xxh32(data: U8, start: int, stop: int) -> np.uint32:
    at = start
    if stop - start >= 16:
        one, two, three = np.uint32(_A32 + _B32), _B32, np.uint32(0)
        four = np.uint32(np.uint32(0) - _A32)
        while at + 16 <= stop:
            one = _round32(one, _word32(data, at))
            two = _round32(two, _word32(data, at + 4))
            three = _round32(three, _word32(data, at + 8))
            four = _round32(four, _word32(data, at + 12))
            at += 16
        total = np.uint32(_left32(one, 1) + _left32(two, 7) + _left32(three, 12) + _left32(four, 18))
    else:
        total = _E32
    total = np.uint32(total + np.uint32(stop - start))
    while at + 4 <= stop:
        total = np.uint32(_left32(np.uint32(total + np.uint32(_word32(data, at) * _C32)), 17) * _D32)
        at += 4
    while at < stop:
        total = np.uint32(_left32(np.uint32(total + np.uint32(np.uint32(data[at]) * _E32)), 11) * _A32)
        at += 1
    total = np.uint32((total ^ total >> np.uint32(15)) * _B32)
    total = np.uint32((total ^ total >> np.uint32(13)) * _C32)
    return np.uint32(total ^ total >> np.uint32(16))


@kernel
def _xxh(data: U8, starts: I64, stops: I64, wide: bool) -> U64:
    out = np.empty(len(starts), np.uint64)
    for i in range(len(starts)):
        if wide:
            out[i] = _xxh64(data, starts[i], stops[i])
        else:
            out[i] = np.uint64(_xxh32(data, starts[i], stops[i]))
    return out


@kernel
def _swapped(x: np.uint32) -> np.uint32:
    """The number with its bytes in the other order."""
    low = np.uint32(x << np.uint32(24) | (x & np.uint32(0xFF00)) << np.uint32(8))
    return np.uint32(low | (x >> np.uint32(8)) & np.uint32(0xFF00) | x >> np.uint32(24))


@kernel
def _load_block(data: U8, start: int, stop: int, block: int, lanes: U32, lane: int) -> None:
    """Block number `block` of a message, padded as SHA-1 wants it, into the words of a lane."""
    at = start + 64 * block
    for w in range(16):
        left = stop - at - 4 * w  # bytes from this word on
        if left >= 4:
            word = _word32(data, at + 4 * w)
        else:
            word = np.uint32(0)
            for i in range(max(left, 0)):
                word |= np.uint32(np.uint32(data[at + 4 * w + i]) << np.uint32(8 * i))
            if left >= 0:
                word |= np.uint32(np.uint32(0x80) << np.uint32(8 * left))
        lanes[(5 + w) * _LANES + lane] = _swapped(word)
    if block == (stop - start + 8) // 64:
        lanes[(5 + 15) * _LANES + lane] = np.uint32((stop - start) * 8)  # a shingle is below 512 MiB


@kernel
def _turn(lanes: U32, t: int, a: int, b: int, c: int, d: int, e: int) -> None:
    """Round t of SHA-1 on the state in these rows; the next round takes `e` for `a`, `a` for `b` and so on.

    One flat array with rows at constant places: so LLVM sees that they do not overlap.
    """
    word = np.uintp((5 + t) * _LANES)
    va0, vb0, vc0 = np.uintp(a * _LANES), np.uintp(b * _LANES), np.uintp(c * _LANES)
    vd0, ve0 = np.uintp(d * _LANES), np.uintp(e * _LANES)
    for lane in range(_LANES):
        i = np.uintp(lane)
        vb, vc, vd = lanes[vb0 + i], lanes[vc0 + i], lanes[vd0 + i]
        if t < 20:
            mixed = np.uint32((vb & (vc ^ vd) ^ vd) + np.uint32(0x5A827999))
        elif t < 40:
            mixed = np.uint32((vb ^ vc ^ vd) + np.uint32(0x6ED9EBA1))
        elif t < 60:
            mixed = np.uint32((vb & vc | vd & (vb | vc)) + np.uint32(0x8F1BBCDC))
        else:
            mixed = np.uint32((vb ^ vc ^ vd) + np.uint32(0xCA62C1D6))
        ve = np.uint32(lanes[ve0 + i] + _left32(lanes[va0 + i], 5))
        lanes[ve0 + i] = np.uint32(ve + np.uint32(mixed + lanes[word + i]))
        lanes[vb0 + i] = _left32(vb, 30)


@kernel
def _compress(lanes: U32, state: U32) -> None:
    """SHA-1's 80 rounds over one block of every lane; `state` becomes the state after it."""
    for t in range(5 + 16, 5 + 80):
        for i in range(t * _LANES, (t + 1) * _LANES):
            x = (
                lanes[i - 3 * _LANES]
                ^ lanes[i - 8 * _LANES]
                ^ lanes[i - 14 * _LANES]
                ^ lanes[i - 16 * _LANES]
            )
            lanes[i] = _left32(x, 1)
    lanes[: 5 * _LANES] = state
    for t in range(0, 80, 5):
        _turn(lanes, t, 0, 1, 2, 3, 4)
        _turn(lanes, t + 1, 4, 0, 1, 2, 3)
        _turn(lanes, t + 2, 3, 4, 0, 1, 2)
        _turn(lanes, t + 3, 2, 3, 4, 0, 1)
        _turn(lanes, t + 4, 1, 2, 3, 4, 0)
    state += lanes[: 5 * _LANES]


@kernel
def _sha1(data: U8, starts: I64, stops: I64, wide: bool) -> U64:
    """First 8 (or 4) bytes of each digest as a little-endian number."""
    n = len(starts)
    out = np.empty(n, np.uint64)
    lanes = np.zeros((5 + 80) * _LANES, np.uint32)  # rows: the state, then the words of a block
    state = np.empty(5 * _LANES, np.uint32)
    first = np.array([0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0], np.uint32)
    for group in range(0, n, _LANES):
        used = min(_LANES, n - group)
        blocks = 0
        for lane in range(used):
            blocks = max(blocks, (stops[group + lane] - starts[group + lane] + 8) // 64 + 1)
        for i in range(5):
            state[i * _LANES : (i + 1) * _LANES] = first[i]
        for block in range(blocks):
            for lane in range(used):
                _load_block(data, starts[group + lane], stops[group + lane], block, lanes, lane)
            _compress(lanes, state)
            for lane in range(used):
                if block == (stops[group + lane] - starts[group + lane] + 8) // 64:
                    high = np.uint64(_swapped(state[_LANES + lane])) if wide else np.uint64(0)
                    out[group + lane] = high << np.uint64(32) | np.uint64(_swapped(state[lane]))
    return out


def hashed(data: U8, starts: I64, stops: I64, by: Hash) -> U64:
    """Hash of each stretch `data[start:stop]`, (m,); those of 32 bits are below 2^32.

    Raises:
        UsageError: no such hash.
    """
    if by not in get_args(Hash):
        raise UsageError(f"There is no hash {by!r}.", hint=f"Give one of {', '.join(get_args(Hash))}.")
    found: U64 = (_sha1 if by.startswith("sha1") else _xxh)(data, starts, stops, by.endswith("64"))
    return found
