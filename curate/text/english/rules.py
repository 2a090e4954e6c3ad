"""How spaCy cuts one stretch without white space: special cases, prefixes, suffixes, addresses, infixes.

The kernels work on UTF-8, from an address to an address. Each says the same as one compiled expression of spaCy 3.8 (spacy/lang/en,
spacy/lang/punctuation.py, spacy/lang/tokenizer_exceptions.py; MIT); tests/test_english.py holds them to it.
"""

from __future__ import annotations

import numpy as np

from curate.text.blocks import Int
from curate.text.english.lexicon import (
    ALPHA,
    DIGIT,
    HOST,
    INFIX,
    LEXICON,
    LOWER,
    PREFIX,
    QUOTE,
    RULE,
    SCHEME,
    STOP,
    SUFFIX,
    UNIT,
    UPPER,
    find,
    read,
    read_back,
    special,
)
from curate.text.english.memory import get, load_byte, put
from curate.text.jit import inlined, kernel

_APOSTROPHE, _DOLLAR, _HASH, _STAR, _PLUS, _COMMA, _HYPHEN, _DOT, _SLASH, _COLON, _LESS, _EQUAL, _MORE = (
    0x27, 0x24, 0x23, 0x2A, 0x2B, 0x2C, 0x2D, 0x2E, 0x2F, 0x3A, 0x3C, 0x3D, 0x3E,
)  # fmt: skip
_QUESTION, _AT, _CARET, _LOW, _TILDE = 0x3F, 0x40, 0x5E, 0x5F, 0x7E
_DEGREE, _EN_DASH, _EM_DASH, _QUOTE, _ELLIPSIS = 0xB0, 0x2013, 0x2014, 0x2019, 0x2026


@kernel
def split(rules: Int, start: Int, end: Int, ends: Int, first: Int, origin: Int) -> Int:
    """Write where the tokens of a stretch end, less `origin`, to ends[first] and on; how many they are.

    Suffixes are found from the end on, so they wait at the far side of the room that is needed at most.
    """
    at, stop, front = start, end, first
    top = first + end - start
    back = top
    while at < stop and not special(rules, at, stop):
        cut = prefix(rules, at, stop)
        if cut and special(rules, at + cut, stop):
            at += cut
            put(ends, front, at - origin)
            front += 1
            break
        tail = suffix(rules, at + cut, stop)
        if cut == 0 and tail == 0:
            break
        if tail:
            back -= 1
            put(ends, back, stop - origin)
            stop -= tail
            if special(rules, at, stop):
                break
        if cut:
            at += cut
            put(ends, front, at - origin)
            front += 1
    front = _middle(rules, at, stop, ends, front, origin)
    for i in range(back, top):
        put(ends, front, get(ends, i))
        front += 1
    return front - first


@inlined
def _middle(rules: Int, at: Int, stop: Int, ends: Int, front: Int, origin: Int) -> Int:
    """What is left between prefixes and suffixes."""
    entry = special(rules, at, stop)
    if entry:
        front = put_rule(rules, entry, ends, front, at - origin)
    elif at < stop and address(rules, at, stop):
        put(ends, front, stop - origin)
        front += 1
    elif at < stop:
        front = infixes(rules, at, stop, ends, front, origin)
    return front


@inlined
def put_rule(rules: Int, entry: Int, ends: Int, front: Int, place: Int) -> Int:
    """The tokens of a special case that begins at `place`; where the next token goes."""
    for token in range(get(rules, entry + RULE)):
        place += get(rules, entry + RULE + 1 + token)
        put(ends, front + token, place)
    return front + get(rules, entry + RULE)


@inlined
def _is_digit(byte: Int) -> bool:
    return bool(byte >= 0x30 and byte <= 0x39)


@kernel
def prefix(rules: Int, at: Int, end: Int) -> Int:
    """Bytes to cut off at the front."""
    point, width, bits = read(rules, at, end)
    cut = width if bits & PREFIX else 0
    if point == _DOT:
        run = at + 1
        while run < end and load_byte(run) == _DOT:
            run += 1
        cut = run - at if run - at > 1 else 0
    elif point == _PLUS:
        cut = 1 - (at + 1 < end and _is_digit(load_byte(at + 1)))
    elif point == 0x55:  # US$
        cut = 3 * (at + 2 < end and load_byte(at + 1) == 0x53 and load_byte(at + 2) == _DOLLAR)
    elif point == 0x43 or point == 0x41:  # C$ and A$
        cut = 2 * (at + 1 < end and load_byte(at + 1) == _DOLLAR)
    return cut


@kernel
def suffix(rules: Int, start: Int, end: Int) -> Int:
    """Bytes to cut off at the end: of all that could be, the one that begins first."""
    point, at, bits = read_back(rules, start, end)
    if point < 0:
        return 0
    cut = end - at if bits & SUFFIX else 0
    if point == _DOT:
        run = at
        while run > start and load_byte(run - 1) == _DOT:
            run -= 1
        cut = end - run if end - run > 1 else _full_stop(rules, start, at)
    elif point == _ELLIPSIS:
        before, place, _ = read_back(rules, start, at)
        cut = end - place if before == _ELLIPSIS else cut
    elif point == 0x73 or point == 0x53:  # 's and ’s
        before, place, _ = read_back(rules, start, at)
        cut = end - place if before in (_APOSTROPHE, _QUOTE) else 0
    digit = end - 1
    while digit > start and end - digit <= get(rules, LEXICON + 2) and not _is_digit(load_byte(digit)):
        digit -= 1
    if digit + 1 < end and _is_digit(load_byte(digit)):
        unit = find(rules, digit + 1, end)
        if unit and get(rules, unit + UNIT):
            cut = max(cut, end - digit - 1)
    return cut


@inlined
def _full_stop(rules: Int, start: Int, at: Int) -> Int:
    """Whether the one full stop at `at`, an end, is cut off."""
    point, place, bits = read_back(rules, start, at)
    before, _, more = read_back(rules, start, place)
    degrees = before == _DEGREE and (point | 0x20 == 0x66 or point | 0x20 == 0x63 or point | 0x20 == 0x6B)
    return np.int64(bits & STOP != 0 or bits & UPPER & more != 0 or degrees)


@kernel
def infixes(rules: Int, start: Int, end: Int, ends: Int, front: Int, origin: Int) -> Int:
    """The tokens of a text with infixes, which are tokens too; one at the very start is not cut out."""
    at, opened, left, left_bits = start, start, -1, 0
    while at < end:
        point, width, bits = read(rules, at, end)
        cut = _infix(rules, at, end, point, width, bits, left, left_bits)
        if cut and at > start:
            if at > opened:
                put(ends, front, at - origin)
                front += 1
            put(ends, front, at + cut - origin)
            front += 1
            opened = at + cut
        if cut > width:
            left, _, left_bits = read_back(rules, at, at + cut)
            at += cut
        else:
            left, left_bits = point, bits
            at += width
    if opened < end:
        put(ends, front, end - origin)
        front += 1
    return front


@inlined
def _infix(
    rules: Int, at: Int, end: Int, point: Int, width: Int, bits: Int, left: Int, left_bits: Int
) -> Int:
    """Bytes of the infix at `at`; 0 if there is none."""
    cut = width if bits & INFIX else 0
    if point == _DOT:
        run = at + 1
        while run < end and load_byte(run) == _DOT:
            run += 1
        cut = run - at if run - at > 1 else 0
        if cut == 0 and left_bits & (LOWER | QUOTE):
            _, _, right = read(rules, at + 1, end)
            cut = np.int64(right & (UPPER | QUOTE) != 0)
    elif bits & (ALPHA | INFIX) == 0 and not _is_digit(point):
        right_point, _, right = read(rules, at + width, end)
        if (
            _is_digit(left)
            and point in (_PLUS, _HYPHEN, _STAR, _CARET)
            and (_is_digit(right_point) or right_point == _HYPHEN)
        ):
            cut = 1
        elif point == _COMMA:
            cut = np.int64(left_bits & right & ALPHA != 0)
        elif left_bits & ALPHA or _is_digit(left):
            if point in (_HYPHEN, _EN_DASH, _EM_DASH, _TILDE):
                cut = _dash(rules, at, end, point, width)
            elif point in (_COLON, _LESS, _EQUAL, _MORE, _SLASH):
                cut = np.int64(right & ALPHA != 0)
    return cut


@inlined
def _dash(rules: Int, at: Int, end: Int, point: Int, width: Int) -> Int:
    """Bytes of the hyphens at `at` before a letter: up to three of -, two of an em dash, else one."""
    most = 3 if point == _HYPHEN else 2 if point == _EM_DASH else 1
    cut, run = 0, at
    for _ in range(most):
        here, _, _ = read(rules, run, end)
        if cut or here != point:
            break
        run += width
        _, _, right = read(rules, run, end)
        if right & ALPHA:
            cut = run - at
    return cut


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
    ascii_digits = _is_digit(first) and (size < 2 or _is_digit(second)) and (size < 3 or _is_digit(third))
    value = first - 0x30
    value = value * 10 + second - 0x30 if size > 1 else value
    value = value * 10 + third - 0x30 if size > 2 else value
    return value if ascii_digits else -1
