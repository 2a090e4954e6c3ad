"""Whether a stretch is an address: URL, name of a host or address of mail, as URL_MATCH of spaCy 3.8 (MIT) says it."""

from __future__ import annotations

from curate.text.blocks import Int
from curate.text.english.lexicon import DIGIT, HOST, LOWER, SCHEME, read
from curate.text.jit import inlined, kernel
from curate.text.memory import load_byte

_HASH, _HYPHEN, _DOT, _SLASH, _COLON, _QUESTION, _AT, _LOW = 0x23, 0x2D, 0x2E, 0x2F, 0x3A, 0x3F, 0x40, 0x5F


@kernel
def address(rules: Int, start: Int, end: Int) -> bool:
    """Whether a text is a URL, host name or address of mail: URL_MATCH of spaCy.

    The host begins at the start, behind a scheme, or behind any @ but a first one. None of them may hold
    an @, so that the text is read once.
    """
    at = start
    while at < end and load_byte(at) != _DOT:
        at += 1
    if at == end:
        return False
    if _host(rules, start, end):
        return True
    at, letters = start, 0
    while at < end:
        _, width, bits = read(rules, at, end)
        if not bits & SCHEME:
            break
        at += width
        letters += 1
    if (
        letters >= 2
        and at + 2 < end
        and load_byte(at) == _COLON
        and load_byte(at + 1) == _SLASH
        and load_byte(at + 2) == _SLASH
        and _host(rules, at + 3, end)
    ):
        return True
    at = start + 1
    while at < end and not (load_byte(at) == _AT and _host(rules, at + 1, end)):
        at += 1
    return bool(at < end)


@kernel
def _host(rules: Int, at: Int, end: Int) -> bool:
    """Whether a name or number of a host begins at `at`, and nothing but port and path follows."""
    number = _number(rules, at, end)
    if number and _port_and_path(rules, number, end):
        return True
    labels, size = 0, 0
    inner = lower = True
    first = last = 0
    while True:
        point, width, bits = read(rules, at, end)
        if point == _DOT:
            if size == 0 or size > 64 or not inner or not first & last & HOST:
                return False
            labels += 1
            size, inner, lower, first = 0, True, True, 0
        elif bits & (HOST | LOWER) or point in (_HYPHEN, _LOW):
            inner = inner and (bits & HOST != 0 or point in (_HYPHEN, _LOW))
            lower = lower and bits & LOWER != 0
            first = bits if size == 0 else first
            last = bits
            size += 1
        else:
            break
        at += width
    return labels > 0 and lower and 2 <= size <= 63 and _port_and_path(rules, at, end)


@inlined
def _port_and_path(rules: Int, at: Int, end: Int) -> bool:
    digits = 0
    place = at
    if at < end and load_byte(at) == _COLON:
        place += 1
        while digits < 6:
            _, width, bits = read(rules, place, end)
            if not bits & DIGIT:
                break
            digits += 1
            place += width
    port = place == at or 2 <= digits <= 5
    path = (
        place >= end
        or load_byte(place) == _SLASH
        or load_byte(place) == _QUESTION
        or load_byte(place) == _HASH
    )
    return bool(port and path)


@kernel
def _number(rules: Int, at: Int, end: Int) -> Int:
    """Where four numbers of a public IPv4 address end; 0 if there are none.

    spaCy's digits are those of any script, but the ones that bound a number are ASCII.
    """
    one = two = 0
    for part in range(4):
        first = second = third = -1
        size = 0
        while size < 4:
            point, width, bits = read(rules, at, end)
            if not bits & DIGIT:
                break
            first = point if size == 0 else first
            second = point if size == 1 else second
            third = point if size == 2 else third
            size += 1
            at += width
        if size == 0 or size > 3:
            return 0
        teens = first == 0x31
        twenties = first == 0x32 and second >= 0x30
        top = 0x33 if part == 0 else 0x34 if part == 3 else 0x35
        fifties = second == (0x32 if part == 0 else 0x35) and third >= 0x30 and third <= top
        if size < 3:
            good = (first >= 0x31 and first <= 0x39) or part == 1 or part == 2
        else:
            good = teens or (twenties and (second < (0x32 if part == 0 else 0x35) or fifties))
        if not good:
            return 0
        if part == 0:
            one = _value(first, second, third, size)
        elif part == 1:
            two = 20 if first == 0x32 and size == 2 else _value(first, second, third, size)
        if part < 3:
            if at >= end or load_byte(at) != _DOT:
                return 0
            at += 1
    private = one in (10, 127) or (one == 169 and two == 254) or (one == 192 and two == 168)
    private = private or (one == 172 and (16 <= two <= 20 or two in (30, 31)))
    return 0 if private else at


@inlined
def _value(first: Int, second: Int, third: Int, size: Int) -> Int:
    """The number of up to three digits; -1 if one is not ASCII."""
    ascii_digits = is_digit(first) and (size < 2 or is_digit(second)) and (size < 3 or is_digit(third))
    value = first - 0x30
    value = value * 10 + second - 0x30 if size > 1 else value
    value = value * 10 + third - 0x30 if size > 2 else value
    return value if ascii_digits else -1


@inlined
def is_digit(byte: Int) -> bool:
    """Whether a byte is one of 0 to 9."""
    return bool(byte >= 0x30 and byte <= 0x39)
