"""Phrases that tell boilerplate of web pages, as C4 looks for them in a line in small letters.

Each is looked for around a letter that is rare in text, or rare after the one before it. The only character beyond A to Z that becomes one
of their letters is the Kelvin sign, whose small letter is k.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from curate.text.arrow import Bytes
from curate.text.blocks import ALL, ONE, Int, Mask, below, block, lowest, within
from curate.text.jit import inlined, kernel

LOREM, JAVASCRIPT, CURLY, POLICY, BRACKET = 1, 2, 4, 8, 16
LAST = ONE << Mask(63)

# Before the letter, the letter, after it (tensorflow/datasets, `text/c4_utils.py`).
_PHRASES = (
    ("", "j", "avascript", JAVASCRIPT),
    ("lorem i", "p", "sum", LOREM),
    ("pri", "v", "acy policy", POLICY),
    ("ter", "m", "s of use", POLICY),
    ("coo", "k", "ie policy", POLICY),
    ("uses coo", "k", "ies", POLICY),
    ("use of coo", "k", "ies", POLICY),
    ("use coo", "k", "ies", POLICY),
)
Phrases = tuple[Bytes, npt.NDArray[np.int64]]
BITS = 5  # of what `note_phrases` writes: the phrases; above them the place


@cache
def phrases() -> Phrases:
    """The phrases as kernels read them: letters, and for each (letter, bit, begin of before, of after, end)."""
    letters, rows = b"", []
    for before, letter, after, bit in _PHRASES:
        begin = len(letters)
        letters += (before + after).encode()
        rows.append((ord(letter), bit, begin, begin + len(before), len(letters)))
    return np.frombuffer(letters, np.uint8), np.array(rows, np.int64)


@kernel
def note_phrases(
    data: Bytes, at: Int, stop: Int, room: Bytes, known: Phrases, notes: npt.NDArray[np.int64]
) -> Int:
    """Write where in some bytes the phrases, `{` and `[` are, in order: place and bits; how many notes that makes."""
    count = 0
    for here in range(at, stop, 64):
        view = block(data, here, room)
        live = below(stop - here) if stop - here < 64 else ALL
        # The letter with one that stands beside it, which may be in the block before or behind.
        i, o, r = _letter(view, 0x69), _letter(view, 0x6F), _letter(view, 0x72)
        p, v, k, m = _letter(view, 0x70), _letter(view, 0x76), _letter(view, 0x6B), _letter(view, 0x6D)
        a, s = _letter(view, 0x61) >> ONE | LAST, _letter(view, 0x73) >> ONE | LAST
        before_i = i << ONE | ONE
        letters = _letter(view, 0x6A) & a | p & s & before_i | v & a & before_i
        letters |= k & (o << ONE | ONE) & (i >> ONE | LAST) | m & s & (r << ONE | ONE)
        letters |= within(view, 0xE2, 1) & (within(view, 0x84, 1) >> ONE | LAST)  # the Kelvin sign
        curly, bracket = within(view, 0x7B, 1), within(view, 0x5B, 1)
        places = (letters | curly | bracket) & live
        while places:
            one = places & (ALL - places + ONE)
            place = here + lowest(places)
            places &= places - ONE
            found: Int = BRACKET if one & bracket else CURLY
            if one & letters:
                found = _phrase_at(data, at, place, stop, known)
            if found:
                notes[count] = np.int64(place - at) << BITS | found
                count += 1
    return count


@inlined
def _letter(view: Int, small: Int) -> Mask:
    either: Mask = within(view, small, 1) | within(view, small - 32, 1)
    return either


@kernel
def _phrase_at(data: Bytes, at: Int, place: Int, stop: Int, known: Phrases) -> Int:
    letters, rows = known
    kelvin = place + 3 <= stop and data[place] == 0xE2 and data[place + 1] == 0x84 and data[place + 2] == 0xAA
    letter = 0x6B if kelvin else np.int64(data[place]) | 0x20
    width = 3 if kelvin else 1
    found = 0
    for row in range(len(rows)):
        middle, end = rows[row, 3], rows[row, 4]
        before, after = middle - rows[row, 2], end - middle
        if rows[row, 0] == letter and place - before >= at and place + width + after <= stop:
            same = True
            for i in range(before):
                same = same and _small(data[place - before + i]) == letters[middle - before + i]
            for i in range(after):
                same = same and _small(data[place + width + i]) == letters[middle + i]
            if same:
                found |= rows[row, 1]
    return found


@inlined
def _small(byte: Int) -> Int:
    return byte + 32 if 0x41 <= byte <= 0x5A else np.int64(byte)
