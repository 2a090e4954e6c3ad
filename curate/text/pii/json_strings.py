"""The strings of a JSON text as one text for the detectors, and the JSON with what they replaced.

Only string literals and whole numbers that change are written anew; every other byte stays, so the JSON
stays valid whatever its depth and however its numbers are written. A string that is JSON itself (messages
in a column of a JSONL file) is read the same way, so that its escapes stay whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

# A string, with the colon after it if it is a key, or a number.
_TOKEN = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"(\s{0,7}:)?|(-?[0-9][0-9.eE+-]*)')
_APART = "\0"  # no detector reads across it
_WORD_BREAK = re.compile(r"[_\-. ]+|(?<=[a-z])(?=[A-Z])")


class Piece(NamedTuple):
    """A string or whole number at json[start:end], with the words that its key puts before it.

    `inner` are the pieces of a value that is JSON itself.
    """

    start: int
    end: int
    prefix: str
    value: str
    inner: list[Piece] | None = None


def pieces(text: str) -> list[Piece] | None:
    """The strings and whole numbers of a JSON object or array in order, keys included; None if it is none."""
    try:
        if not isinstance(json.loads(text), dict | list):
            return None
    except (ValueError, RecursionError):
        return None
    found, prefix = [], ""
    for match in _TOKEN.finditer(text):
        value, colon, number = match.groups()
        if number is None:
            if "\\" in value:
                value = _unescaped(value)
        elif number.isdigit():
            value = number
        else:
            continue
        value = value.replace(_APART, " ")
        inner = pieces(value) if value[:1] in ("[", "{") else None
        end = match.end() if colon is None else match.start(2)
        found.append(Piece(match.start(), end, "" if colon else prefix, value, inner))
        if colon:
            prefix = _prefix(value)
    return found


def _unescaped(literal: str) -> str:
    """The string of a literal without its quotes; a lone surrogate is valid JSON, but no text."""
    value: str = json.loads(f'"{literal}"')
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _prefix(key: str) -> str:
    """The words of a key before its value; words only, so that the prefix itself never changes."""
    words = _WORD_BREAK.sub(" ", key)
    return f"{words}: " if words.replace(" ", "").isalpha() and len(words) < 32 else ""


def joined(found: list[Piece]) -> str:
    """One text of all pieces, so that equal values get equal placeholders throughout the JSON."""
    return _APART.join(_parts(found))


def _parts(found: list[Piece]) -> Iterator[str]:
    for piece in found:
        if piece.inner is None:
            yield piece.prefix + piece.value
        else:
            yield from _parts(piece.inner)


def rebuilt(text: str, found: list[Piece], redacted: str) -> str:
    """The JSON text with the pieces that differ in the redacted form of their joined text."""
    return _rebuilt(text, found, iter(redacted.split(_APART)))


def _rebuilt(text: str, found: list[Piece], parts: Iterator[str]) -> str:
    out, at = [], 0
    for piece in found:
        if piece.inner is None:
            value = next(parts).removeprefix(piece.prefix)
        else:
            value = _rebuilt(piece.value, piece.inner, parts)
        if value != piece.value:
            out += [text[at : piece.start], json.dumps(value, ensure_ascii=False)]
            at = piece.end
    return "".join([*out, text[at:]])
