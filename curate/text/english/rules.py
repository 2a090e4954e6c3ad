"""How spaCy cuts one stretch without white space: special cases, prefixes, suffixes, addresses, infixes.

The kernels work on UTF-8, from an address to an address. Each says the same as one compiled expression of spaCy 3.8 (spacy/lang/en,
spacy/lang/punctuation.py, spacy/lang/tokenizer_exceptions.py; MIT); tests/test_english.py holds them to it.
"""

from __future__ import annotations

import numpy as np

from curate.text.blocks import ALL, ONE, Int, Mask, lowest, within
from curate.text.english.addresses import address, is_digit
from curate.text.english.lexicon import (
    ALPHA,
    INFIX,
    LEXICON,
    LOWER,
    PREFIX,
    QUOTE,
    RULE,
    STOP,
    SUFFIX,
    UNIT,
    UPPER,
    class_of,
    find,
    read,
    read_back,
    special,
)
from curate.text.jit import inlined, kernel
from curate.text.memory import get, load_byte, put

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
    elif at < stop:
        places = infix_places(at) & below(stop - at) if stop - at <= 64 else ALL
        if places == Mask(0) or address(rules, at, stop):
            put(ends, front, stop - origin)
            front += 1
        elif stop - at <= 64 and not within(at, 0x80, 0x80) & below(stop - at):
            front = _ascii_infixes(rules, at, stop, places, ends, front, origin)
        else:
            front = infixes(rules, at, stop, ends, front, origin)
    return front


@inlined
def infix_places(at: Int) -> Mask:
    """Which of 64 bytes may be part of an infix or address: . , : + - * / < = > ^ ~ and what is not ASCII."""
    dots, marks = within(at, 0x2A, 6) | within(at, 0x3A, 1), within(at, 0x3C, 3) | within(at, 0x5E, 1)
    places: Mask = dots | marks | within(at, 0x7E, 0x82)
    return places


@inlined
def below(bit: Int) -> Mask:
    """The bits under one of the 64, or all of them."""
    return (ONE << Mask(bit)) - ONE if bit < 64 else ALL


@kernel
def _ascii_infixes(rules: Int, start: Int, end: Int, places: Mask, ends: Int, front: Int, origin: Int) -> Int:
    """The same as `infixes` for up to 64 bytes of ASCII, which looks only at some of them."""
    opened = behind = start
    while places:
        at = start + lowest(places)
        places &= places - ONE
        if at < behind:
            continue
        left = load_byte(at - 1) if at > start else -1
        point, width, bits = read(rules, at, end)
        cut = _infix(rules, at, end, point, width, bits, left, class_of(rules, left))
        behind = at + max(cut, width)
        if cut and at > start:
            if at > opened:
                put(ends, front, at - origin)
                front += 1
            put(ends, front, at + cut - origin)
            front += 1
            opened = at + cut
    if opened < end:
        put(ends, front, end - origin)
        front += 1
    return front


@inlined
def put_rule(rules: Int, entry: Int, ends: Int, front: Int, place: Int) -> Int:
    """The tokens of a special case that begins at `place`; where the next token goes."""
    for token in range(get(rules, entry + RULE)):
        place += get(rules, entry + RULE + 1 + token)
        put(ends, front + token, place)
    return front + get(rules, entry + RULE)


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
        cut = 1 - (at + 1 < end and is_digit(load_byte(at + 1)))
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
    while digit > start and end - digit <= get(rules, LEXICON + 3) and not is_digit(load_byte(digit)):
        digit -= 1
    if digit + 1 < end and is_digit(load_byte(digit)):
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
    elif bits & (ALPHA | INFIX) == 0 and not is_digit(point):
        right_point, _, right = read(rules, at + width, end)
        if (
            is_digit(left)
            and point in (_PLUS, _HYPHEN, _STAR, _CARET)
            and (is_digit(right_point) or right_point == _HYPHEN)
        ):
            cut = 1
        elif point == _COMMA:
            cut = np.int64(left_bits & right & ALPHA != 0)
        elif left_bits & ALPHA or is_digit(left):
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
