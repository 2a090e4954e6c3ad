"""What the English rules know: the class of each character, and special cases, units and phrases by their text.

All of it is one int32 array, and `rules` is its address:

    rules[point >> 8]        where the page of a code point is; bits = rules[page + (point & 255)]
    rules[LEXICON ...]       where the slots are, their mask, the longest entry in bytes, the longest unit
    rules[SHAPES ...]        65,536 bits: whether an entry may have these bytes at its ends, and so many
    rules[PAIRS ...]         256 x 256 bits: which symbol may stand before which in a phrase
    entries                  `COLUMNS` numbers (see below), then the bytes of the text, one a number

The data come from spaCy (MIT, see data/NOTICE) by scripts/make_english.py; it is not needed to run.
"""

from __future__ import annotations

from functools import cache, reduce
from pathlib import Path

import numpy as np
import numpy.typing as npt

from curate.text.arrow import Bytes
from curate.text.blocks import Int
from curate.text.jit import inlined, kernel
from curate.text.memory import get, load_byte

Rules = npt.NDArray[np.int32]

FILE = Path(__file__).parents[1] / "data" / "english.npz"

# Bits of a character; the names of spaCy's character classes where it has one.
PREFIX = 1  # is cut off at the front
SUFFIX = 2  # is cut off at the end
INFIX = 4  # is cut out of the middle, whatever stands beside it
LOWER = 8  # ALPHA_LOWER, which has all scripts without case
UPPER = 16  # ALPHA_UPPER, which has them too
ALPHA = 32
QUOTE = 64  # CONCAT_QUOTES
STOP = 128  # a full stop behind it is cut off
HOST = 256  # may stand in the name of a host
SCHEME = 512  # may stand before ://
DIGIT = 1024  # \d
WORDY = 2048  # not in datatrove's PUNCTUATION_SET
LETTER = 4096  # str.isalpha
PUNCT = 8192  # category P
END = 16384  # ends a sentence for spaCy's sentencizer
SPACE = 32768  # str.isspace

# Columns of an entry. A rule or pattern is the number of its tokens, then their sizes in bytes.
SIZE = 0  # bytes of the text
SYMBOL = 1  # its number among the tokens that phrases are made of; 0: it is none
UNIT = 2  # is cut off behind a digit
RULE = 3  # what a special case becomes
PATTERN = 7  # the tokens that a special case is made of when none is known: a phrase to look for
COLUMNS = 19

PAGES = 8192  # 2**21 code points in pages of 256, so that -1 has one too: no bits
LEXICON = PAGES
SHAPES = LEXICON + 8
PAIRS = SHAPES + 256 * 256 // 32
_HEAD = PAIRS + 256 * 256 // 32


@cache
def all_rules() -> Rules:
    """The array that kernels take."""
    with np.load(FILE, allow_pickle=False) as file:
        classes, entries, text = file["classes"], file["entries"], file["text"]
    bits = np.repeat(classes[:, 1], np.diff(classes[:, 0], append=0x110000))
    bits = np.pad(bits, (0, PAGES * 256 - len(bits)))
    found: dict[bytes, int] = {}
    page = np.array([found.setdefault(each.tobytes(), len(found)) for each in bits.reshape(-1, 256)])
    pages = np.frombuffer(b"".join(found), bits.dtype)
    slots = np.zeros(4096, np.int32)
    body, at = [], _HEAD + pages.size + slots.size
    known = {}
    for entry, letters in zip(entries, np.split(text, np.cumsum(entries[:, SIZE])[:-1]), strict=True):
        place = reduce(_next, letters.tolist(), len(letters)) & (len(slots) - 1)
        while slots[place]:
            place = (place + 1) & (len(slots) - 1)
        slots[place] = at
        body += [entry, letters]
        at += len(entry) + len(letters)
        known[letters.tobytes()] = int(entry[SYMBOL])
    head = np.zeros(_HEAD, np.int32)
    head[:PAGES] = _HEAD + page * 256
    longest_unit = max((entry[SIZE] for entry in entries if entry[UNIT]), default=0)
    head[LEXICON : LEXICON + 4] = _HEAD + pages.size, len(slots) - 1, entries[:, SIZE].max(), longest_unit
    shapes = np.zeros(256 * 256, np.uint8)
    shapes[[_shape(letters[0], letters[-1], len(letters)) for letters in known]] = 1
    head[SHAPES:PAIRS] = np.packbits(shapes, bitorder="little").view(np.int32)
    head[PAIRS:] = _pairs(entries, text, known)
    return np.concatenate([head, pages, slots, *body]).astype(np.int32)


def _pairs(entries: npt.NDArray[np.int16], text: Bytes, known: dict[bytes, int]) -> Rules:
    follows = np.zeros((256, 256), np.uint8)
    for entry, end in zip(entries, np.cumsum(entries[:, SIZE]), strict=True):
        sizes = entry[PATTERN + 1 : PATTERN + 1 + entry[PATTERN]]
        tokens = np.split(text[end - entry[SIZE] : end], np.cumsum(sizes)[:-1])
        symbols = [known[token.tobytes()] for token in tokens]
        follows[symbols[:-1], symbols[1:]] = 1
    return np.packbits(follows.ravel(), bitorder="little").view(np.int32)


@inlined
def class_of(rules: Int, point: Int) -> Int:
    """Bits of a code point; 0 for -1, which stands for bytes that are not UTF-8, and for no character at all."""
    return get(rules, get(rules, (point >> 8) & (PAGES - 1)) + (point & 255))


@inlined
def read(rules: Int, at: Int, end: Int) -> tuple[Int, Int, Int]:
    """The character at an address: code point, bytes, class; (-1, 1, 0) where there is none."""
    point, width = -1, 1
    if at < end:
        point = load_byte(at)
        if point >= 0x80:
            point, width = _wide(at, end)
    return point, width, class_of(rules, point)


@inlined
def read_back(rules: Int, start: Int, at: Int) -> tuple[Int, Int, Int]:
    """The character that ends at an address, not before `start`: code point, where it begins, class."""
    point, place = -1, at - 1
    if at > start:
        point = load_byte(place)
        if point >= 0x80:
            point, place = _wide_back(start, at)
    return point, place, class_of(rules, point)


@kernel
def _wide(at: Int, end: Int) -> tuple[Int, Int]:
    """The code point that is not ASCII at an address, and its bytes; (-1, 1) where it is not UTF-8."""
    lead = load_byte(at)
    width = 2 + (lead >= 0xE0) + (lead >= 0xF0)
    point = lead & (0x7F >> width)
    valid = lead >= 0xC2 and lead <= 0xF4 and at + width <= end
    for i in range(1, width if valid else 1):
        byte = load_byte(at + i)
        valid = valid and byte & 0xC0 == 0x80
        point = point << 6 | byte & 0x3F
    valid = valid and point >= 1 << (5 * width - 4 if width > 2 else 7)
    valid = valid and point < 0x110000 and point >> 11 != 0xD800 >> 11
    return (point, width) if valid else (-1, 1)


@kernel
def _wide_back(start: Int, at: Int) -> tuple[Int, Int]:
    """The code point that is not ASCII before an address, and where it begins; (-1, at - 1) where it is not UTF-8."""
    place = at - 1
    while place > start and place > at - 4 and load_byte(place) & 0xC0 == 0x80:
        place -= 1
    point, width = _wide(place, at)
    return (point, place) if point >= 0x80 and width == at - place else (-1, at - 1)


def _next(value: Int, byte: Int) -> Int:
    """A hash with one byte more; small enough a number that kernels compute the same."""
    return (value * 33 + byte) & 0xFFFFFFF


def _shape(first: Int, last: Int, size: Int) -> Int:
    """Which bit of the shapes is that of a text."""
    return (first + (last << 5) + (size << 11)) & 0xFFFF


_step, _shape_of = inlined(_next), inlined(_shape)


@kernel
def find(rules: Int, at: Int, end: Int) -> Int:
    """Where the entry of a text is; 0 if there is none."""
    size = end - at
    if size > get(rules, LEXICON + 2) or size <= 0:
        return 0
    shape = _shape_of(load_byte(at), load_byte(end - 1), size)
    if not get(rules, SHAPES + (shape >> 5)) >> (shape & 31) & 1:
        return 0
    value = size
    for place in range(at, end):
        value = _step(value, load_byte(place))
    slots, mask = get(rules, LEXICON), get(rules, LEXICON + 1)
    while True:
        entry = get(rules, slots + (value & mask))
        if entry == 0:
            return 0
        if get(rules, entry + SIZE) == size:
            same = 0
            while same < size and get(rules, entry + COLUMNS + same) == load_byte(at + same):
                same += 1
            if same == size:
                return entry
        value += 1


@inlined
def special(rules: Int, at: Int, end: Int) -> Int:
    """Where the entry of a special case is; 0 if the text is none."""
    entry = find(rules, at, end)
    return entry if entry and get(rules, entry + RULE) else 0


@inlined
def may_follow(rules: Int, left: Int, right: Int) -> Int:
    """Whether two symbols stand side by side in some phrase."""
    return get(rules, PAIRS + (left << 3) + (right >> 5)) >> (right & 31) & 1
