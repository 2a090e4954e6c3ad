"""What two texts must share to be alike: the folding of characters, as one table that kernels look up.

A text is seen as words: runs of letters and digits, case-folded and without diacritics; all else
separates. Scripts that write without spaces (Han, kana, Thai, Lao, Myanmar, Khmer) give one word per
character. Marks (Mn, Me) and invisible characters (Cf: soft hyphen, zero-width joiners) vanish; vowel
signs with a width (Mc) are letters. The order is datatrove's `simplify_text`, except that digits are kept
and that every symbol separates. Two other normalizations are those of projects whose figures are to be met:
`lower` (RedPajama, SlimPajama: lower case, ASCII punctuation deleted) and `none` (NeMo).

Folding is one character to one: ß, æ and ligatures whose parts are several letters stay letters of their
own, and Hangul written as jamo differs from Hangul written as syllables (NFC, which `ftfy` gives).
"""

from __future__ import annotations

import functools
import string
import unicodedata
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Literal
from zlib import crc32

import numpy as np
import numpy.typing as npt

from curate.text.jit import CACHE

Digits = Literal["keep", "collapse"]
Unit = Literal["words", "characters"]
Normalization = Literal["fold", "lower", "none"]
VERSION = 1  # of this file: sketches are comparable when it, Unicode and all options are equal

# A symbol is a folded code point, or one of these. No letter has a code point below 0x30.
SEPARATOR = 0
DROPPED = 1
DIGIT = 2  # any digit when digits are collapsed: a run of them counts as one
ALONE = 1 << 31  # flag: the character is a word by itself
_CONTROL = 1 << 24  # for U+0000 to U+0002 where they are characters: beyond all code points

TABLE_SIZE = 0x20000  # the planes where scripts live; above it stand only ideographs, marks and tags
IDEOGRAPHS_END = 0x40000

ALONE_RANGES = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x1950, 0x19DF),  # Tai Le, New Tai Lue
    (0x1A20, 0x1AAF),  # Tai Tham
    (0x2E80, 0x2FDF),  # radicals
    (0x3005, 0x3007),  # ideographic marks
    (0x3021, 0x312F),  # Hangzhou numerals, kana, bopomofo
    (0x31A0, 0x31FF),  # bopomofo, kana extensions
    (0x3400, 0x4DBF),  # ideographs, extension A
    (0x4E00, 0x9FFF),  # ideographs
    (0xA9E0, 0xA9FF),  # Myanmar extension B
    (0xAA60, 0xAADF),  # Myanmar extension A, Tai Viet
    (0xF900, 0xFAFF),  # compatibility ideographs
    (0x16FE0, 0x18DFF),  # Tangut, Khitan
    (0x1AFF0, 0x1B2FF),  # kana supplement, Nushu
)


def fold(char: str) -> str:
    """One character without case and diacritics, digits as 0-9; the character itself where it has parts.

    >>> fold("É"), fold("Ａ"), fold("٣"), fold("ß")
    ('e', 'a', '3', 'ß')
    """
    folded = char
    for form in (unicodedata.normalize("NFKD", char.casefold()), char.casefold(), char.lower()):
        base = "".join(part for part in form if unicodedata.category(part) != "Mn")
        if len(base) == 1:
            folded = base
            break
    digit = unicodedata.decimal(folded, None)
    return folded if digit is None else str(digit)


def _symbol(code: int, digits: Digits, normalization: Normalization, unit: Unit) -> int:
    if normalization != "fold":
        return _plain_symbol(chr(code), digits, normalization, unit)
    folded = fold(chr(code))
    category = unicodedata.category(folded)
    if category in ("Mn", "Me", "Cf"):
        return DROPPED
    if category[0] not in "LN" and category != "Mc":
        return SEPARATOR
    if digits == "collapse" and category == "Nd":
        return DIGIT
    alone = any(first <= ord(folded) <= last for first, last in ALONE_RANGES)
    return ord(folded) | (ALONE if alone else 0)


def _plain_symbol(char: str, digits: Digits, normalization: Normalization, unit: Unit) -> int:
    """Symbol of a character where only white space separates, and in raw characters nothing does."""
    lower = char.lower() if normalization == "lower" and len(char.lower()) == 1 else char
    if char.isspace() and not (normalization == "none" and unit == "characters"):
        return SEPARATOR
    if normalization == "lower" and char in string.punctuation:
        return DROPPED
    if digits == "collapse" and unicodedata.category(char) == "Nd":
        return DIGIT
    return ord(lower) if ord(lower) > DIGIT else _CONTROL | ord(lower)


@functools.cache
def fold_table(
    digits: Digits, normalization: Normalization = "fold", unit: Unit = "words"
) -> npt.NDArray[np.uint32]:
    """Symbol of each code point below TABLE_SIZE: 512 KiB, read-only.

    The table, and so every sketch, is that of the Unicode version of this Python (`unicodedata`). Making it takes
    0.4 s, so it is kept beside the kernels, in a folder that another version of Python or of this file does not use.
    """
    file = CACHE / f"fold-{digits}-{normalization}-{unit}.npy"
    table = _kept_table(file)
    if table is None:
        codes = (_symbol(code, digits, normalization, unit) for code in range(TABLE_SIZE))
        table = np.fromiter(codes, np.uint32, TABLE_SIZE)
        _keep_table(file, table)
    table.flags.writeable = False
    return table


def _kept_table(file: Path) -> npt.NDArray[np.uint32] | None:
    """The table in a file; None if it is not there or not whole."""
    try:
        table: npt.NDArray[np.uint32] = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    whole = table.shape == (TABLE_SIZE + 1,) and table.dtype == np.uint32
    return table[:-1] if whole and int(table[-1]) == crc32(table[:-1].tobytes()) else None


def _keep_table(file: Path, table: npt.NDArray[np.uint32]) -> None:
    """Leave the table and its checksum to later processes; a folder that cannot be written is no error."""
    whole = file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}")
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole.open("wb") as target:
            np.save(target, np.append(table, np.uint32(crc32(table.tobytes()))))
        whole.replace(file)
