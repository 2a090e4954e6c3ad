"""Which texts could be broken: a cheap test, so that only they meet the slow repair in Python.

It has no false negatives: a text without a suspicion is one that `curate.stages.repair` would not change
(a test compares both on hostile text). What it looks for:

- control characters, line ends other than \\n, white space at the end of a line or of the text, more than
  two blank lines, a blank line at the beginning;
- HTML entities that end in a semicolon;
- mojibake: two neighbours that ftfy's heuristic (`ftfy.badness`) could object to. Its rules, all but the one
  on C1 controls, contain such a pair, and each pair below covers one or more of them;
- characters that may not be in NFC, and more than thirty combining marks in a row.
"""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.text.arrow import Bytes, Offsets, buffers
from curate.text.blocks import ALL, ONE, Int, Mask, below, block, lowest, ones, spare, within
from curate.text.jit import inlined, kernel
from curate.text.unicode import COMPOSES, SPACE, Index, Pages, class_of, classes, decode

BROKEN = 1  # may need repair
UNCOMPOSED = 2  # may not be in NFC
MOST_MARKS = 30  # in a row; no script needs more (UAX 15, Stream-Safe Text Format)

Pairs = npt.NDArray[np.uint32]

_ALONE = np.uint32(1 << 31)  # in `lead`: suspicious without a neighbour
_NOTHING: Int = np.uint32(0)

# Left and right neighbour, as ftfy's categories (MOJIBAKE_CATEGORIES) or as =characters.
_PAIRS = (
    ("bad lower_accented upper_accented box start_punctuation end_punctuation currency numeric law lower_common upper_common", "bad"),
    ("bad", "lower_accented upper_accented box start_punctuation end_punctuation currency numeric law"),
    ("lower_accented lower_common box end_punctuation currency numeric", "upper_accented"),
    ("box end_punctuation currency numeric", "lower_accented"),
    ("lower_accented upper_accented box end_punctuation", "currency"),
    ("upper_accented box", "numeric law"),
    ("lower_accented upper_accented box currency numeric", "start_punctuation"),
    ("start_punctuation", "numeric"),
    ("end_punctuation", "start_punctuation"),
    ("lower_accented upper_accented", "end_punctuation"),
    ("box", "kaomoji end_punctuation"),
    ("lower_accented upper_accented currency numeric start_punctuation end_punctuation law", "box"),
    ("upper_accented", "=°"),
    ("=ÂÃÎÐ", "=€œŠš¢£Ÿž\xa0\xad®©°·»–—´ start_punctuation end_punctuation"),
    ("=×", "=²³"),
    ("=ØÙ", "=ŸŠ®°µ» common currency bad numeric start_punctuation"),
    ("=à", "=²µ¹¼½¾"),
    ("=√", "=±∂†≠®™´≤≥¥µø"),
    ("=≈", "=°¢"),
    ("=‚", "=Äâó"),
    ("=в", "=Ђ"),
    ("=ВГРСΒΓΞΟ", "=°µ bad start_punctuation end_punctuation currency"),
    ("=Г", "=ў"),
    ("=Ã", "=\xa0¡"),
    ("=β", "=€"),
    ("=ā", "=€"),
)  # fmt: skip


@cache
def _tables() -> tuple[Pairs, Pairs]:
    """For each code point of the first plane: bits of the pairs whose left, and whose right, half it can be."""
    from ftfy.chardata import CONTROL_CHARS

    lead, trail = np.zeros(0x10000, np.uint32), np.zeros(0x10000, np.uint32)
    for number, (left, right) in enumerate(_PAIRS):
        lead[_members(left)] |= np.uint32(1 << number)
        trail[_members(right)] |= np.uint32(1 << number)
    # Two of ftfy's rules want neighbours in ASCII: Ã or Â before a space, œ before all but a Latin letter.
    space, other = np.uint32(1 << len(_PAIRS)), np.uint32(2 << len(_PAIRS))
    lead[[ord(character) for character in "ÃÂ"]] |= space
    lead[[ord(character) for character in "Œœ"]] |= other
    trail[ord(" ")] |= space
    trail |= other
    trail[[*range(ord("A"), ord("Z") + 1), *range(ord("a"), ord("z") + 1)]] &= ~other
    lead[[*CONTROL_CHARS, *range(0x80, 0xA0), 0x2028, 0x2029]] = _ALONE
    return lead, trail


def _members(names: str) -> list[int]:
    """Code points of some categories, which ftfy writes as the inside of a regex class, or of =characters."""
    from ftfy.badness import MOJIBAKE_CATEGORIES

    def spelled(name: str) -> str:
        category = name[1:] if name.startswith("=") else MOJIBAKE_CATEGORIES[name]
        return re.sub(
            "(.)-(.)", lambda ends: "".join(map(chr, range(ord(ends[1]), ord(ends[2]) + 1))), category
        )

    return sorted({ord(character) for name in names.split(" ") for character in spelled(name)})


def find_suspects(text: pa.LargeStringArray, *, entities: bool) -> npt.NDArray[np.uint8]:
    """For each text: 0 (clean), or bits BROKEN and UNCOMPOSED; `entities`: whether HTML entities count.

    Bytes that are not UTF-8 are BROKEN too, so that decoding them raises.

    Raises:
        CurateError: a text has 2 GiB or more.
    """
    suspects = np.zeros(len(text), np.uint8)
    _scan(*buffers(text), spare(), *classes(), *_tables(), entities, suspects)
    return suspects


@kernel
def _scan(
    data: Bytes,
    offsets: Offsets,
    room: Bytes,
    index: Index,
    pages: Pages,
    lead: Pairs,
    trail: Pairs,
    entities: bool,
    suspects: npt.NDArray[np.uint8],
) -> None:
    for text in range(len(offsets) - 1):
        base, stop = offsets[text], offsets[text + 1]
        found, loose = 0, 0  # loose: continuation bytes that no character has claimed
        if base < stop and (data[base] == 0x0A or data[stop - 1] in (0x0A, 0x20, 0x09)):
            found = BROKEN
        newlines, blanks = Mask(0), Mask(0)  # of the block before
        behind, mark, marks, ended = _NOTHING, 0, 0, base  # the last character beyond ASCII: where it ended
        for at in range(base, stop, 64):
            if found & BROKEN:
                break
            here = block(data, at, room)
            live = below(stop - at) if stop - at < 64 else ALL
            trouble, newlines, blanks = _ascii_trouble(here, live, newlines, blanks)
            found |= BROKEN * trouble
            ands = within(here, 0x26, 1) & live if entities else Mask(0)
            while ands:
                found |= BROKEN * _is_entity(data, at + lowest(ands), stop)
                ands &= ands - ONE
            follow = within(here, 0x80, 0x40) & live
            loose += ones(follow)
            leads = within(here, 0xC0, 0x40) & live
            while leads:
                place = at + lowest(leads)
                leads &= leads - ONE
                point, width = decode(data, place, stop)
                bits = class_of(index, pages, point)
                left, right = _entry(lead, point), _entry(trail, point)
                if place != ended:
                    behind, mark, marks = _NOTHING, 0, 0
                ended = place + width
                loose -= width - 1
                if point < 0 or behind & right or left & _ALONE:
                    found |= BROKEN
                if _bad_before(bits, left, data, ended, stop, trail):
                    found |= BROKEN
                if bits & COMPOSES or mark > bits >> 8 > 0:
                    found |= UNCOMPOSED
                behind, mark = left, bits >> 8
                marks = marks + 1 if mark else 0
                if marks > MOST_MARKS:
                    found |= BROKEN
        suspects[text] = found if loose == 0 else found | BROKEN


@inlined
def _ascii_trouble(here: Int, live: Mask, newlines: Mask, blanks: Mask) -> tuple[bool, Mask, Mask]:
    """Control characters, white space before a line end, three blank lines; and the masks for the next block."""
    lines, white = within(here, 0x0A, 1) & live, within(here, 0x20, 1) | within(here, 0x09, 1)
    controls = (within(here, 0, 9) | within(here, 11, 21) | within(here, 0x7F, 1)) & live
    trailing = lines & (white << ONE | blanks >> Mask(63))
    run = lines
    for back in range(1, 4):
        run &= lines << Mask(back) | newlines >> Mask(64 - back)
    return (controls | trailing | run) != 0, lines, white


@inlined
def _is_entity(data: Bytes, at: Int, stop: Int) -> bool:
    """Whether `&` begins what ftfy takes for an entity: &#?[0-9A-Za-z]{1,24};"""
    begin = at + 2 if at + 1 < stop and data[at + 1] == 0x23 else at + 1
    end = begin
    while end < min(stop, begin + 25):
        byte = data[end]
        if not (0x30 <= byte < 0x3A or 0x41 <= byte < 0x5B or 0x61 <= byte < 0x7B):
            break
        end += 1
    return bool(begin < end < stop and end - begin < 25 and data[end] == 0x3B)


@inlined
def _bad_before(bits: Int, left: Int, data: Bytes, after: Int, stop: Int, trail: Pairs) -> bool:
    """Whether white space stands before the end of a line or text, or a letter before ASCII that ftfy minds."""
    byte = data[after] if after < stop else np.uint8(0x0A)
    ends_line = bits & SPACE != 0 and byte == 0x0A
    return bool(ends_line or (after < stop and byte < 0x80 and left & trail[byte] != 0))


@inlined
def _entry(table: Pairs, point: Int) -> Int:
    """What a table of the first plane says of a code point; the planes above are as its last one."""
    return table[min(max(point, 0), 0xFFFF)]
