"""The splitter `segmenter`: words of every script, those without spaces between words too, as ICU cuts them.

ICU's word breaker follows Unicode Standard Annex 29, and finds words of Chinese, Japanese, Thai, Lao, Khmer and Burmese
by its dictionaries and models. Tibetan is cut at its syllables.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.text.arrow import Bytes, Offsets, buffers
from curate.text.stretches import find_stretches
from schemas.errors import missing_extra

Positions = npt.NDArray[np.int32]

_TWO_UNITS = 0xF0  # bytes from here begin a character that is two units of UTF-16, which ICU counts in


def version() -> str:
    """Of ICU: its dictionaries change from one to the next.

    Raises:
        MissingExtraError: the package that brings it is not installed.
    """
    return f"ICU {_icu().icu_version}"


def find_segments(text: pa.LargeStringArray) -> tuple[Offsets, Positions, Positions]:
    """Where the tokens of each text lie: those of text i are first[i] to first[i + 1], each start to end, in bytes of it.

    A token is what ICU finds between two borders of words, punctuation too; white space is left out, and ends one.

    Raises:
        MissingExtraError: the package that brings ICU is not installed.
    """
    _icu()
    data, offsets = buffers(text)
    stretch_first, stretch_start, stretch_end = find_stretches(data, offsets)
    first, starts, ends = np.zeros(len(text) + 1, np.int64), [], []
    for row in range(len(text)):
        stretches = slice(stretch_first[row], stretch_first[row + 1])
        borders = _borders(text[row].as_py(), data[offsets[row] : offsets[row + 1]])
        start, end = _cut(borders, stretch_start[stretches], stretch_end[stretches])
        starts.append(start)
        ends.append(end)
        first[row + 1] = first[row] + len(start)
    nothing = np.empty(0, np.int32)
    return first, np.concatenate([nothing, *starts]), np.concatenate([nothing, *ends])


def _borders(text: str, data: Bytes) -> Positions:
    """Bytes at which ICU begins a word, white space or a mark."""
    from icu4py.breakers import WordBreaker

    units = np.fromiter((start for start, _ in WordBreaker(text, "").segments()), np.int64)
    characters = np.flatnonzero((data & 0xC0) != 0x80).astype(np.int32)
    if len(units) and units[-1] < len(characters) == len(data):
        return units.astype(np.int32)  # ASCII
    return np.repeat(characters, 1 + (data[characters] >= _TWO_UNITS))[units]


def _cut(borders: Positions, stretch_start: Positions, stretch_end: Positions) -> tuple[Positions, Positions]:
    """Start and end of what lies between two borders or the ends of a stretch."""
    starts = np.union1d(borders[:0] if len(stretch_start) == 0 else borders, stretch_start)
    stretch = (
        np.searchsorted(stretch_start, starts, "right") - 1
    )  # -1 before the first: it has no start below 0
    inside = (stretch >= 0) & (starts < stretch_end[stretch])
    following = np.append(starts[1:], np.iinfo(np.int32).max)
    return starts[inside], np.minimum(following, stretch_end[stretch])[inside]


def _icu() -> Any:
    try:
        import icu4py
    except ImportError:
        raise missing_extra("segmenter", "The splitter segmenter", "icu4py") from None
    return icu4py
