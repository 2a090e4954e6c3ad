"""Character classes: what every code point is to the kernels, as one table of 16 bits each.

The table is frozen at Unicode 14 and shipped as `classes.npy`, so that a text is measured alike under
every Python, and because asking `unicodedata` for 1.1 million code points takes a second. `classify` is
its definition; `python -m curate.text.unicode` writes the file anew (under a Python whose `unicodedata`
has the wanted version), and every stage that uses it must then raise its version.
"""

from __future__ import annotations

import itertools
import unicodedata
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from curate.text.arrow import Bytes
from curate.text.blocks import Int, Mask, below
from curate.text.jit import inlined

Index = npt.NDArray[np.uint8]
Pages = npt.NDArray[np.uint16]

UNICODE = "14.0.0"
_FILE = Path(__file__).with_name("classes.npy")

SPACE = 1  # str.isspace
BREAK = 2  # ends a line for str.splitlines
WORD = 4  # letter, mark or number of a script that writes words with spaces
LETTER = 8  # str.isalpha
HALF = 16  # letter of Chinese or Japanese: no spaces, about two characters a word
QUARTER = 32  # letter or mark of a South-East Asian script: no spaces, about four characters a word
COMPOSES = 64  # not the same after NFC, or may join with what stands before it, or not yet assigned
# The high byte is the canonical combining class.

# Scripts that are written without spaces between words (Unicode blocks; Line_Break ID and SA).
_HALF = (
    (0x2E80, 0x2FDF), (0x3005, 0x3007), (0x3021, 0x3029), (0x3031, 0x303C), (0x3041, 0x312F),
    (0x31A0, 0x31BF), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F), (0x16FE0, 0x18CFF), (0x1AFF0, 0x1B2FF), (0x20000, 0x323AF),
)  # fmt: skip
_QUARTER = (
    (0x0E00, 0x0FFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x1950, 0x19DF), (0x1A20, 0x1AAF),
    (0x1B00, 0x1B7F), (0xA980, 0xA9FF), (0xAA60, 0xAADF),
)  # fmt: skip

# Marks that only say how the symbol before them is drawn: an emoji is no word because of them.
_VARIATION_SELECTORS = (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))


def _within(point: int, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= point <= last for first, last in ranges)


def classify(point: int) -> int:
    """The class bits and combining class of one code point, from this Python's `unicodedata`."""
    character = chr(point)
    category = unicodedata.category(character)
    if category == "Cs":
        return 0
    bits = unicodedata.combining(character) << 8
    bits |= SPACE * character.isspace() | LETTER * character.isalpha()
    bits |= BREAK * (len(f"a{character}a".splitlines()) > 1)
    if category[0] in "LMN" and category != "Me" and point not in _VARIATION_SELECTORS:
        unspaced = category[0] in "LM" or category == "Nl"
        if unspaced and _within(point, _HALF):
            bits |= HALF
        elif unspaced and _within(point, _QUARTER):
            bits |= QUARTER
        else:
            bits |= WORD
    changes = unicodedata.normalize("NFC", character) != character
    if changes or point in _second_halves() or category == "Cn":
        bits |= COMPOSES
    return bits


@cache
def _second_halves() -> frozenset[int]:
    """Code points that NFC may join to the one before them."""
    pairs = (unicodedata.decomposition(chr(point)).split() for point in range(0x110000))
    joined = {int(pair[1], 16) for pair in pairs if len(pair) == 2 and not pair[0].startswith("<")}
    return frozenset(joined | set(range(0x1161, 0x1176)) | set(range(0x11A8, 0x11C3)))


def _rebuild() -> None:
    """Write `classes.npy`: int32 rows (first code point, bits), one a run of equal code points."""
    if unicodedata.unidata_version != UNICODE:
        raise SystemExit(f"This Python has Unicode {unicodedata.unidata_version}, not {UNICODE}.")
    rows, point = [], 0
    for bits, run in itertools.groupby(map(classify, range(0x110000))):
        rows.append((point, bits))
        point += sum(1 for _ in run)
    np.save(_FILE, np.array(rows, np.int32))


@cache
def classes() -> tuple[Index, Pages]:
    """The table in two stages: the page of each block of 256 code points, and the pages, 256 bits each.

    Page 0 holds the first block, so ASCII can be looked up in the pages directly.
    """
    rows = np.load(_FILE)
    bits = np.repeat(rows[:, 1], np.diff(rows[:, 0], append=0x110000)).astype(np.uint16)
    pages: dict[bytes, int] = {}
    index = [pages.setdefault(block.tobytes(), len(pages)) for block in bits.reshape(-1, 256)]
    return np.array(index, np.uint8), np.frombuffer(b"".join(pages), np.uint16)


def combining_marks() -> str:
    """All characters with a combining class, as one string."""
    index, pages = classes()
    bits = pages.reshape(-1, 256)[index].ravel()
    return "".join(map(chr, np.flatnonzero(bits >> 8)))


@inlined
def class_of(index: Index, pages: Pages, point: Int) -> Int:
    """Bits of a code point; 0 for -1, which stands for bytes that are not UTF-8."""
    known = np.uint32(max(point, 0))
    bits = np.int64(pages[np.uint32(index[known >> 8]) << 8 | known & 255])
    return bits if point >= 0 else 0


@inlined
def decode(data: Bytes, at: Int, end: Int) -> tuple[Int, Int]:
    """The code point that starts at `at`, and its bytes; (-1, 1) where the bytes are not UTF-8."""
    place = np.uint64(at)
    lead = np.int64(data[place])
    width = 1 + (lead >= 0xC2) + (lead >= 0xE0) + (lead >= 0xF0)
    point, valid = lead, lead < 0x80
    if width > 1 and at + width <= end:
        second = np.int64(data[place + np.uint64(1)]) ^ 0x80
        point, valid = (lead & (0x7F >> width)) << 6 | second, second < 0x40
        if width > 2:
            third = np.int64(data[place + np.uint64(2)]) ^ 0x80
            point, valid = point << 6 | third, valid and third < 0x40
            if width > 3:
                fourth = np.int64(data[place + np.uint64(3)]) ^ 0x80
                point, valid = point << 6 | fourth, valid and fourth < 0x40
            valid = (
                valid and point >= 1 << (5 * width - 4) and point < 0x110000 and point >> 11 != 0xD800 >> 11
            )
    return (point, width) if valid else (-1, 1)


@inlined
def character_over(data: Bytes, at: Int, bit: Int, base: Int, stop: Int) -> tuple[Int, Mask]:
    """A character that is not ASCII, seen from the block at `at`: code point, and its bits there.

    Bit 0 may be the middle of a character that begins in the block before, not before `base`.
    """
    place = at + bit
    while bit == 0 and place > max(base, at - 3) and data[place] & 0xC0 == 0x80:
        place -= 1
    point, width = decode(data, place, stop)
    own = below(width) << np.uint64(bit) if place >= at else below(width) >> np.uint64(at - place)
    return point, own


if __name__ == "__main__":
    _rebuild()
