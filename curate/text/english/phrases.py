"""Special cases that are found among the tokens of a text: `foo:)` gives `foo` and `:)`.

spaCy looks for 362 of them over all tokens of a text, longest first, single spaces ignored. One that lies
across a space becomes nothing, but what it covers is taken: `foo:) )` gives `foo`, `:`, `)` and `)`. Only
neighbours that stand side by side in some phrase matter, and only if one stretch of them holds a phrase: such
a chain of stretches is cut as a whole.
"""

from __future__ import annotations

from curate.text.blocks import Int
from curate.text.english.lexicon import COLUMNS, PATTERN, SYMBOL, find, may_follow
from curate.text.english.rules import put_rule
from curate.text.jit import kernel
from curate.text.memory import get, put

SPACED = 256  # added to the symbol of a token behind a space
_MOST = COLUMNS - PATTERN - 1  # tokens of a phrase
_REPLACES = 12  # bits of `reach` from here: tokens that a phrase replaces; bit 0: covered


@kernel
def symbols_of(rules: Int, start: Int, ends: Int, first: Int, count: Int, origin: Int, symbols: Int) -> None:
    """Write the symbols of tokens, the first of which begins at `start`."""
    at = start
    for token in range(first, first + count):
        entry = find(rules, at, origin + get(ends, token))
        put(symbols, token, get(rules, entry + SYMBOL) if entry else 0)
        at = origin + get(ends, token)


@kernel
def merge(
    rules: Int, origin: Int, ends: Int, count: Int, symbols: Int, reach: Int, merged: Int
) -> tuple[Int, bool]:
    """Write where the tokens end once phrases have become what their rules say; how many, whether there were any.

    The tokens are those of the text at `origin`. spaCy's `Tokenizer._filter_special_spans`.
    """
    if count == 1:
        put(merged, 0, get(ends, 0))
        return 1, False
    lengths = _look(rules, origin, ends, count, symbols, reach)
    for length in range(_MOST, 1, -1):
        if lengths >> length & 1:
            _take(count, length, symbols, reach)
    front = token = at = 0
    while token < count:
        taken = get(reach, token) >> _REPLACES
        last = get(ends, token + max(taken, 1) - 1)
        if taken:
            front = put_rule(rules, find(rules, origin + at, origin + last), merged, front, at)
        else:
            put(merged, front, last)
            front += 1
        at = last
        token += max(taken, 1)
    return front, lengths != 0


@kernel
def _look(rules: Int, origin: Int, ends: Int, count: Int, symbols: Int, reach: Int) -> Int:
    """Bit n of reach[token]: a phrase of n tokens begins there. Returns all bits."""
    lengths = 0
    for token in range(count):
        sizes, size = 0, 1
        while (
            size < _MOST
            and token + size < count
            and may_follow(rules, get(symbols, token + size - 1) & 255, get(symbols, token + size) & 255)
        ):
            size += 1
            place = get(ends, token - 1) if token else 0
            entry = find(rules, origin + place, origin + get(ends, token + size - 1))
            same = 0
            while (
                entry
                and same < size
                and place + get(rules, entry + PATTERN + 1 + same) == get(ends, token + same)
            ):
                place = get(ends, token + same)
                same += 1
            if same == size and get(rules, entry + PATTERN) == size:
                sizes |= 1 << size
        put(reach, token, sizes)
        lengths |= sizes
    return lengths


@kernel
def _take(count: Int, length: Int, symbols: Int, reach: Int) -> None:
    """Let the phrases of one length have their tokens, the leftmost first."""
    for token in range(count - length + 1):
        if not get(reach, token) >> length & 1:
            continue
        free = not (get(reach, token) | get(reach, token + length - 1)) & 1
        for covered in range(token, token + length):
            put(reach, covered, get(reach, covered) | 1)
            free = free and (covered == token or get(symbols, covered) < SPACED)
        if free:
            put(reach, token, get(reach, token) | length << _REPLACES)
