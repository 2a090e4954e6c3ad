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

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*')
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
        token = match.group()
        if token[0] == '"':
            # A lone surrogate is valid JSON, but no text.
            value = json.loads(token).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        elif token.isdigit():
            value = token
        else:
            continue
        is_key = text[match.end() : match.end() + 8].lstrip().startswith(":")
        value = value.replace(_APART, " ")
        inner = pieces(value) if value[:1] in ("[", "{") else None
        found.append(Piece(match.start(), match.end(), "" if is_key else prefix, value, inner))
        if is_key:
            words = _WORD_BREAK.sub(" ", value)
            # Words only, so that the prefix itself never changes.
            prefix = f"{words}: " if words.replace(" ", "").isalpha() and len(words) < 32 else ""
    return found


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
