"""What detectors return, and how found values are merged and replaced.

A placeholder is `<EMAIL_1>`: the kind, and a number by first appearance of the value in its text, so that
the same value has the same placeholder within a text and none across texts. No detector reads it as a
value again, CommonMark prints it as it stands (a tag name holds no underscore), and tokenizers split it
into the same few pieces each time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

_PLACEHOLDER = re.compile(r"<(EMAIL|IBAN|CARD|IP|PHONE)_([0-9]{1,9})>")


class Found(NamedTuple):
    """A value at text[start:end]; `value` is its normalised form, by which equals are known."""

    start: int
    end: int
    value: str


class Span(NamedTuple):
    """A value with its kind."""

    start: int
    end: int
    kind: str
    value: str


def merge(spans: Iterable[Span], length: int) -> list[Span]:
    """Spans without overlap, in order of the text. Of two that overlap, the one that comes first in
    `spans` stands, so callers pass the kinds by precedence."""
    taken = bytearray(length)
    kept = []
    for span in spans:
        if taken.find(1, span.start, span.end) < 0:
            taken[span.start : span.end] = b"\1" * (span.end - span.start)
            kept.append(span)
    return sorted(kept)


def masked(text: str, spans: list[Span]) -> str:
    """The text with spans as detectors will meet them, one placeholder each, but of the same length."""
    pieces, at = [], 0
    for span in spans:
        pieces += [text[at : span.start], "<", "_" * (span.end - span.start - 2), ">"]
        at = span.end
    return "".join([*pieces, text[at:]])


def replace(text: str, spans: list[Span]) -> str:
    """The text with a placeholder for each span. Numbers go on after placeholders that stand already."""
    last: dict[str, int] = {}
    for kind, number in _PLACEHOLDER.findall(text):
        last[kind] = max(last.get(kind, 0), int(number))
    names: dict[tuple[str, str], str] = {}
    pieces, at = [], 0
    for span in spans:
        key = (span.kind, span.value)
        if key not in names:
            kind = span.kind.upper()
            last[kind] = last.get(kind, 0) + 1
            names[key] = f"<{kind}_{last[kind]}>"
        pieces += [text[at : span.start], names[key]]
        at = span.end
    return "".join([*pieces, text[at:]])
