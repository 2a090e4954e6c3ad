"""Similarity by plain Python: the definition again, sharing no code with the kernels that it checks.

Slow (about 3 MB/s), so it is for samples: documents that were removed are compared with their keeper once more.
"""

from __future__ import annotations

import functools
import string
import unicodedata
from itertools import groupby
from typing import Literal

from curate.dedup.normalize import ALONE_RANGES, Normalization
from curate.dedup.shingles import ShingleOptions

Shingle = tuple[str, ...]
_SEPARATOR = "\ud800"  # half of a pair, which no text has


def plain_words(text: str, options: ShingleOptions) -> list[str]:
    """The words of a text (with `unit = "characters"`: its characters) after normalization."""
    raw = options.normalization == "none" and options.unit == "characters"
    pieces = text if raw else "".join(_cell(char, options.normalization) for char in text)
    if options.digits == "collapse":
        pieces = "".join("0" if kind else "".join(run) for kind, run in groupby(pieces, _is_digit))
    if raw:
        return list(pieces)
    words = [word for word in pieces.split(_SEPARATOR) if word]
    if options.unit == "characters":
        return list(" ".join(words))
    return [part for word in words for part in _parts(word, options)]


def plain_shingles(text: str, options: ShingleOptions) -> set[Shingle]:
    """The set of n-grams; of a text with fewer words one shingle, all of them."""
    words = plain_words(text, options)
    if len(words) < options.ngram:
        return {tuple(words)} if words else set()
    return {tuple(words[at : at + options.ngram]) for at in range(len(words) - options.ngram + 1)}


def plain_similarity(
    one: str, two: str, options: ShingleOptions, measure: Literal["jaccard", "containment"] = "jaccard"
) -> float:
    """Jaccard similarity of two texts, or how much of the smaller set is in the other; 0 where one has no word."""
    a, b = plain_shingles(one, options), plain_shingles(two, options)
    whole = min(len(a), len(b)) if measure == "containment" else len(a | b)
    return len(a & b) / whole if a and b else 0.0


def _is_digit(char: str) -> bool:
    return unicodedata.category(char) == "Nd"


@functools.cache
def _cell(char: str, normalization: Normalization) -> str:
    """What a character becomes: another one, nothing, or a mark where it separates."""
    if 0x20000 <= ord(char) < 0x40000:
        return char
    if normalization != "fold":
        if char.isspace():
            return _SEPARATOR
        if normalization == "none":
            return char
        lower = char.lower() if len(char.lower()) == 1 else char
        return "" if char in string.punctuation else lower
    folded = _folded(char)
    category = unicodedata.category(folded)
    if category in ("Mn", "Me", "Cf"):
        return ""
    return folded if category[0] in "LN" or category == "Mc" else _SEPARATOR


def _folded(char: str) -> str:
    for form in (unicodedata.normalize("NFKD", char.casefold()), char.casefold(), char.lower()):
        base = [part for part in form if unicodedata.category(part) != "Mn"]
        if len(base) == 1:
            digit = unicodedata.decimal(base[0], None)
            return base[0] if digit is None else str(digit)
    return char


def _parts(word: str, options: ShingleOptions) -> list[str]:
    """A word, or its characters where a script has no spaces."""
    if word.isascii():
        return [word]
    ranges = ((0x20000, 0x3FFFF), *(ALONE_RANGES if options.normalization == "fold" else ()))
    parts = [""]
    for char in word:
        if any(first <= ord(char) <= last for first, last in ranges):
            parts += [char, ""]
        else:
            parts[-1] += char
    return [part for part in parts if part]
