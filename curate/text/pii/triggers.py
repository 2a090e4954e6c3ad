"""Where personal data may stand: one pass over the bytes of a folded column.

A trigger is a place at which a detector is worth asking: an "@" between things that could be an address,
a group of digits of the right length, two letters and two digits. Triggers may be wrong, but they are
never missing; what they cost is bounded at each byte, so the pass is linear in every text.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pyarrow as pa

from curate.text.arrow import Bytes, Offsets, buffers
from curate.text.jit import inlined, kernel

KINDS = ("email", "iban", "card", "ip", "phone")
_EMAIL, _IBAN, _CARD, _IP, _PHONE = range(5)

# What a number that is written in groups may hold between its digits.
_JOINS = np.zeros(256, np.bool_)
_JOINS[[ord(c) for c in " ()./-"]] = True
_REACH = 44  # bytes that a written number, an IBAN or an IPv6 address may span
_SPAN = 255  # bytes of a domain


@inlined
def _digit(byte: int) -> bool:
    return 0x30 <= byte <= 0x39


@inlined
def _alnum(byte: int) -> bool:
    return 0x30 <= byte <= 0x39 or 0x41 <= byte & 0xDF <= 0x5A


@inlined
def _hex(byte: int) -> bool:
    return 0x30 <= byte <= 0x39 or 0x41 <= byte & 0xDF <= 0x46


@kernel
def _at_sign(data: Bytes, i: int, stop: int) -> int:
    """Bytes of the "@" in one of its forms at i; 0 if there is none."""
    left = stop - i
    size = 0
    if data[i] == 0x40:
        size = 1
    elif data[i] == 0x25:  # %40
        if left > 3 and data[i + 1] == 0x34 and data[i + 2] == 0x30:
            size = 3
    elif left > 5 and data[i + 1] == 0x23:  # &#64; and &#x40;
        if data[i + 2] == 0x36 and data[i + 3] == 0x34 and data[i + 4] == 0x3B:
            size = 5
        elif (
            data[i + 2] | 0x20 == 0x78 and data[i + 3] == 0x34 and data[i + 4] == 0x30 and data[i + 5] == 0x3B
        ):
            size = 6
    elif (
        left > 8
        and data[i + 1] == 0x63
        and data[i + 2] == 0x6F
        and data[i + 6] == 0x74
        and data[i + 7] == 0x3B
    ):
        size = 8  # &commat;
    return size


@kernel
def _address(data: Bytes, start: int, i: int, stop: int) -> bool:
    """Whether an "@" at i stands between a local part and a domain with a dot or bracket."""
    size = _at_sign(data, i, stop)
    j = i + size
    if size == 0 or i == start or j >= stop:
        return False
    before = data[i - 1]
    if not (_alnum(before) or before >= 0x80 or before in (0x22, 0x27, 0x2B, 0x2D, 0x2E, 0x5F)):  # "'+-._
        return False
    if data[j] == 0x5B:  # [
        return True
    for k in range(j, min(stop - 1, j + _SPAN)):
        byte = data[k]
        if byte == 0x2E and (_alnum(data[k + 1]) or data[k + 1] >= 0x80):
            return k > j
        if not (_alnum(byte) or byte >= 0x80 or byte == 0x2D or byte == 0x5F):
            return False
    return False


@kernel
def _spelled_at(data: Bytes, i: int, stop: int) -> bool:
    """Whether the bracket at i opens "[at]", "(at)" or "{ AT }"."""
    j = i + 1
    while j < stop and j < i + 3 and data[j] == 0x20:
        j += 1
    if j + 2 >= stop or data[j] | 0x20 != 0x61 or data[j + 1] | 0x20 != 0x74:
        return False
    j += 2
    while j < stop - 1 and data[j] == 0x20:
        j += 1
        if j > i + 7:
            return False
    return data[j] in (0x29, 0x5D, 0x7D)


@kernel
def _ipv6(data: Bytes, start: int, i: int, stop: int) -> int:
    """Where the IPv6 address starts whose first colon is at i; -1 if none can."""
    first = i
    while first > start and first > i - 5 and _hex(data[first - 1]):
        first -= 1
    if first == i or first == i - 5:
        return -1
    if first > start and (_alnum(data[first - 1]) or data[first - 1] in (0x3A, 0x5F)):
        return -1
    colons, double = 0, False
    for k in range(i, min(stop, i + _REACH)):
        if data[k] == 0x3A:
            colons += 1
            double = double or data[k - 1] == 0x3A
        elif not _hex(data[k]):
            break
    return first if double or colons >= 7 else -1


@kernel
def _ipv4(data: Bytes, i: int, stop: int) -> bool:
    """Whether four groups of one to three digits with dots between them start at i."""
    k = i
    for octet in range(4):
        digits = 0
        while k < stop and digits < 4 and _digit(data[k]):
            k += 1
            digits += 1
        if digits == 0 or digits > 3:
            return False
        if octet < 3:
            if k >= stop or data[k] != 0x2E:
                return False
            k += 1
    return True


@kernel
def _digits_ahead(data: Bytes, i: int, stop: int) -> int:
    """Digits of the written number that starts at i, within reach."""
    digits = 0
    for k in range(i, min(stop, i + _REACH)):
        if _digit(data[k]):
            digits += 1
        elif not _JOINS[data[k]]:
            break
    return digits


@kernel
def _alnums_ahead(data: Bytes, i: int, stop: int) -> int:
    """Letters and digits from i with single spaces or hyphens between them, within reach."""
    found = 0
    for k in range(i, min(stop, i + _REACH)):
        if _alnum(data[k]):
            found += 1
        elif not ((data[k] == 0x20 or data[k] == 0x2D) and _alnum(data[k - 1])):
            break
    return found


@inlined
def _letter_before(data: Bytes, start: int, i: int) -> bool:
    return i > start and 0x41 <= data[i - 1] & 0xDF <= 0x5A and data[i - 1] < 0x80


@kernel
def _value(data: Bytes, start: int, i: int, stop: int, size: int) -> int:
    """Kind of the IBAN, IPv4 address or card that may stand around the group of `size` digits at i; else -1."""
    if _letter_before(data, start, i):
        letters = _letter_before(data, start, i - 1) and (i - start == 2 or not _alnum(data[i - 3]))
        return _IBAN if letters and size >= 2 and _alnums_ahead(data, i, stop) >= 11 else -1
    if i > start and data[i - 1] == 0x5F:
        return -1
    if size <= 3 and _ipv4(data, i, stop):
        return _IP
    return _CARD if 12 <= size <= 19 or (size == 4 and _digits_ahead(data, i, stop) >= 12) else -1


@kernel
def _phone_start(data: Bytes, start: int, i: int, stop: int, size: int) -> int:
    """Where the written phone number starts whose first group may be the `size` digits at i; -1 if none."""
    before = data[i - 1] if i > start else 0x0A
    if before == 0x5F or _letter_before(data, start, i) or size > 15 or _digits_ahead(data, i, stop) < 7:
        return -1
    # Within a row of groups a number starts only at "+", "(" or "00", or with the form 555-010-4477.
    inside = (before == 0x20 or before == 0x2D or before == 0x2E) and i > start + 1 and _digit(data[i - 2])
    north_american = size == 3 and i + 12 <= stop and data[i + 3] == 0x2D and data[i + 7] == 0x2D
    if inside and not north_american and not (data[i] == 0x30 and data[i + 1] == 0x30):
        return -1
    if before == 0x28 and i > start + 1 and data[i - 2] == 0x2B:
        return i - 2
    return i - 1 if before == 0x28 or before == 0x2B else i


@kernel
def _symbol(data: Bytes, start: int, i: int, stop: int) -> tuple[int, int]:
    """Kind and first byte of what may stand around the symbol at i; kind -1 if nothing."""
    if data[i] == 0x3A:
        first = _ipv6(data, start, i, stop)
        return (_IP, first) if first >= 0 else (-1, i)
    opens = data[i] == 0x5B or data[i] == 0x28 or data[i] == 0x7B
    found = _spelled_at(data, i, stop) if opens else _address(data, start, i, stop)
    return (_EMAIL, i) if found else (-1, i)


@kernel
def _scan(offsets: Offsets, data: Bytes, rows: Offsets, kinds: Bytes, places: Offsets) -> int:
    """Write as many triggers (row, kind, byte) as there is room for; return how many there are."""
    found = 0
    for row in range(len(offsets) - 1):
        start, stop = offsets[row], offsets[row + 1]
        for i in range(start, stop):
            byte = data[i]
            # Without short cuts, so that a letter or a space costs one branch.
            if (byte <= 0x24) | ((byte > 0x40) & (byte != 0x5B) & (byte != 0x7B)):
                continue
            kind, first, phone = -1, i, -1
            if not _digit(byte):
                if (
                    byte == 0x3A
                    or byte == 0x40
                    or byte == 0x25
                    or byte == 0x26
                    or byte == 0x28
                    or byte > 0x40
                ):
                    kind, first = _symbol(data, start, i, stop)
            elif i == start or not _digit(data[i - 1]):
                size = 1
                while size < 20 and i + size < stop and _digit(data[i + size]):
                    size += 1
                kind = _value(data, start, i, stop, size)
                first = i - 2 if kind == _IBAN else i
                phone = _phone_start(data, start, i, stop, size)
            for what, place in ((kind, first), (_PHONE if phone >= 0 else -1, phone)):
                if what >= 0:
                    if found < len(rows):
                        rows[found], kinds[found], places[found] = row, what, place
                    found += 1
    return found


@kernel
def _to_characters(offsets: Offsets, data: Bytes, rows: Offsets, places: Offsets) -> None:
    """Turn byte positions in the buffer into character positions in their rows, in place."""
    row, at, characters = -1, 0, 0
    for n in range(len(rows)):
        if rows[n] != row:
            row, at, characters = rows[n], offsets[rows[n]], 0
        # A value may start a few bytes, all of them ASCII, before the last one.
        for k in range(at, places[n]):
            characters += (data[k] & 0xC0) != 0x80
        if places[n] < at:
            characters -= at - places[n]
        at = places[n]
        places[n] = characters


def triggers(text: pa.LargeStringArray, kinds: Collection[str]) -> tuple[Offsets, Bytes, Offsets]:
    """Rows (int64, ascending), indices into KINDS (uint8) and characters (int64) at which to look."""
    data, offsets = buffers(text)
    room = 1024 + int(offsets[-1] - offsets[0]) // 128
    while True:
        rows, which, places = np.empty(room, np.int64), np.empty(room, np.uint8), np.empty(room, np.int64)
        found = _scan(offsets, data, rows, which, places)
        if found <= room:
            break
        room = found
    wanted = np.isin(which[:found], [KINDS.index(kind) for kind in kinds])
    rows, which, places = rows[:found][wanted], which[:found][wanted], places[:found][wanted]
    _to_characters(offsets, data, rows, places)
    return rows, which, places
