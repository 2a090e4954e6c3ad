"""The lines of C4: which of them are kept, as the text that remains, and why the others are not.

A line is written to the new text without its citations, tested there, and taken back if it fails.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.text.arrow import Bytes, Offsets, buffers, texts
from curate.text.blocks import ALL, ONE, Int, below, block, lowest, spare, within
from curate.text.hashing import continued
from curate.text.jit import inlined, kernel
from curate.text.lines import Lines
from curate.text.memory import copy_bytes, get
from curate.text.phrases import (
    BITS,
    BRACKET,
    CURLY,
    JAVASCRIPT,
    LOREM,
    POLICY,
    Phrases,
    note_phrases,
    phrases,
)
from curate.text.punctuation import is_in, marked
from curate.text.repeats import stripped
from curate.text.sentences import sentences_of
from curate.text.tokens import Tokens
from curate.text.unicode import SPACE, Index, Pages, class_of, classes, decode

Counts = npt.NDArray[np.int64]
Positions = npt.NDArray[np.int32]
Marks = npt.NDArray[np.uint32]

MAX_WORD = 1000  # characters: a line with a longer word is no text

# Columns of the counts of a text: lines by their fate, then all lines, sentences and tokens in the kept ones,
# and which of the two that drop a whole page came first.
FATES = ("kept", "long_word", "no_punctuation", "few_words", "javascript", "policy")
KEPT, LONG_WORD, NO_PUNCTUATION, FEW_WORDS, WITH_JAVASCRIPT, WITH_POLICY = range(6)
LINES, SENTENCES, TOKENS, FLAG = range(6, 10)
COLUMNS = 10
LOREM_IPSUM, CURLY_BRACKET = 1, 2  # what FLAG can be


_CITATIONS = (b"[edit]", b"[citation needed]")  # beside numbers


@dataclass(frozen=True)
class CleanLines:
    """New texts; their counts (int64, n x 10); and the kept lines that had citations, with the text of each.

    SENTENCES and TOKENS do not count those lines: their tokens are others than those of the old text.
    """

    text: pa.LargeStringArray
    counts: Counts
    cited: pa.LargeStringArray
    cited_in: Counts


def clean_lines(
    text: pa.LargeStringArray, lines: Lines, tokens: Tokens, *, min_words: int, bare: bool, end_marks: str
) -> CleanLines:
    """Keep the lines of at least `min_words` words (1 or more) that end in one of `end_marks` ("": in any way).

    `bare` counts the words when citations are gone, else before. A text with a flag stays as it is.
    """
    data, offsets = buffers(text)
    named = np.frombuffer(b"".join(bytes([len(name)]) + name for name in _CITATIONS), np.uint8)
    size = int(offsets[-1] - offsets[0])
    out, new, counts = (
        np.empty(size, np.uint8),
        np.zeros(len(text) + 1, np.int64),
        np.zeros((len(text), 10), np.int64),
    )
    cited, cited_ends, cited_in = (
        np.empty(size, np.uint8),
        np.zeros(size // 2 + 2, np.int64),
        np.empty(size // 2 + 1, np.int64),
    )
    notes = np.empty(2 * int(np.diff(offsets).max(initial=0)), np.int64)  # of a text, and of a line of it
    found = _clean(
        data, offsets, spare(), *classes(), _digits(), named, phrases(), marked(end_marks), bool(end_marks), min_words, bare,
        lines.first, lines.start, lines.end,
        tokens.stretch_first, tokens.stretch_start, tokens.stretch_end, tokens.stretch_token, tokens.marks,
        notes, out, new, counts, cited, cited_ends, cited_in,
    )  # fmt: skip
    return CleanLines(
        texts(out[: new[-1]], new),
        counts,
        texts(cited[: cited_ends[found]], cited_ends[: found + 1]),
        cited_in[:found],
    )


@cache
def _digits() -> Bytes:
    """Decimal digits of every script, by code point (`\\d` of a regular expression)."""
    points = (point for point in range(0x20000) if unicodedata.category(chr(point)) == "Nd")
    return marked("".join(map(chr, points)))


@kernel
def _clean(
    data: Bytes, offsets: Offsets, room: Bytes, index: Index, pages: Pages, digits: Bytes, named: Bytes, known: Phrases,
    end_marks: Bytes, ended: bool, min_words: Int, bare: bool,
    line_first: Offsets, line_start: Positions, line_end: Positions,
    stretch_first: Offsets, stretch_start: Positions, stretch_end: Positions, stretch_token: Offsets, marks: Marks,
    notes: Offsets, out: Bytes, new: Offsets, counts: Counts, cited: Bytes, cited_ends: Offsets, cited_in: Counts,
) -> Int:  # fmt: skip
    fill = found = 0
    target, cited_target = np.int64(out.ctypes.data), np.int64(cited.ctypes.data)
    starts, ends = np.int64(stretch_start.ctypes.data), np.int64(stretch_end.ctypes.data)
    marked_at = np.int64(marks.ctypes.data)
    for text in range(len(offsets) - 1):
        base, origin, sums = offsets[text], fill, counts[text]
        source, last = np.int64(data.ctypes.data) + base, stretch_first[text + 1]
        noted = note_phrases(data, base, offsets[text + 1], room, known, notes)  # none goes over a line end
        high, note = stretch_first[text], 0
        for line in range(line_first[text], line_first[text + 1]):
            low, line_stop = high, np.int64(line_end[line])
            sentences, high = sentences_of(source, line_stop, starts, ends, marked_at, low, last, False)
            has, note = _join(notes, note, noted, line_stop)
            long_word = False
            if line_stop - line_start[line] > MAX_WORD:
                long_word = _has_long_word(source, starts, ends, low, high)
            sums[LINES] += 1
            if low == high or long_word:
                fate = LONG_WORD if long_word else NO_PUNCTUATION if ended else FEW_WORDS
                sums[fate] += 1
                continue
            at, stop = get(starts, low), get(ends, high - 1)
            begin = fill
            if sums[KEPT] > 0:
                out[begin] = 0x0A
                begin += 1
            if has & BRACKET:
                end = _copy(data, base + at, base + stop, room, digits, named, out, begin)
            else:
                copy_bytes(target + begin, source + at, stop - at)
                end = begin + stop - at
            cut, words = end - begin < stop - at, high - low
            if cut:
                if bare:
                    words = _count_words(out, begin, end, index, pages)
                behind = notes[noted:]
                has, _ = _join(behind, 0, note_phrases(out, begin, end, room, known, behind), end)
            fate, flag = _judge(out, begin, end, has, end_marks, ended, words >= min_words)
            sums[FLAG] = sums[FLAG] or flag
            sums[fate] += 1
            if fate != KEPT:
                continue
            fill = end
            if cut:
                cited_ends[found + 1] = cited_ends[found] + end - begin
                copy_bytes(cited_target + cited_ends[found], target + begin, end - begin)
                cited_in[found] = text
                found += 1
            else:
                sums[SENTENCES] += sentences
                sums[TOKENS] += stretch_token[high] - stretch_token[low]
        fill = _finish(data, base, offsets[text + 1], out, origin, fill, sums[FLAG] != 0, index, pages)
        new[text + 1] = fill
    return found


@inlined
def _join(notes: Offsets, note: Int, noted: Int, stop: Int) -> tuple[Int, Int]:
    """The bits of the notes up to some place, and the first note behind it."""
    bits: Int = 0
    while note < noted and notes[note] >> BITS < stop:
        bits |= notes[note]
        note += 1
    return bits, note


@kernel
def _has_long_word(source: Int, starts: Int, ends: Int, low: Int, high: Int) -> bool:
    long_word = False
    for stretch in range(low, high):
        at = get(starts, stretch)
        size = get(ends, stretch) - at
        if size > MAX_WORD:
            long_word = long_word or size - continued(source + at, size) > MAX_WORD
    return long_word


@inlined
def _judge(
    out: Bytes, begin: Int, end: Int, has: Int, end_marks: Bytes, ended: bool, enough: bool
) -> tuple[Int, Int]:
    """The fate of a line, and the flag that it sets: the tests in their order."""
    flag, fate = 0, KEPT
    if ended and not _ends_well(out, begin, end, end_marks):
        fate = NO_PUNCTUATION
    elif not enough:
        fate = FEW_WORDS
    else:
        if has & JAVASCRIPT:
            fate = WITH_JAVASCRIPT
        elif has & POLICY:
            fate = WITH_POLICY
        flag = LOREM_IPSUM if has & LOREM else CURLY_BRACKET if has & CURLY and not has & JAVASCRIPT else 0
    return fate, flag


@inlined
def _ends_well(out: Bytes, begin: Int, end: Int, end_marks: Bytes) -> bool:
    """Whether a line ends in an end mark (of one byte), and not in three dots."""
    well = end > begin and is_in(end_marks, np.int64(out[end - 1]))
    dots = end - begin >= 3 and out[end - 1] == 0x2E and out[end - 2] == 0x2E and out[end - 3] == 0x2E
    return bool(well and not dots)


@inlined
def _copy(
    data: Bytes, at: Int, stop: Int, room: Bytes, digits: Bytes, named: Bytes, out: Bytes, fill: Int
) -> Int:
    """Copy a line without its citations: `[1]`, `[]`, `[edit]`, `[citation needed]`; where the copy ends."""
    source, target = np.int64(data.ctypes.data), np.int64(out.ctypes.data)
    behind = at  # of what is copied or left out
    for here in range(at, stop, 64):
        brackets = within(block(data, here, room), 0x5B, 1) & (
            below(stop - here) if stop - here < 64 else ALL
        )
        while brackets:
            bracket = here + lowest(brackets)
            brackets &= brackets - ONE
            size = _citation(data, bracket, stop, digits, named)
            if size > 0:
                copy_bytes(target + fill, source + behind, bracket - behind)
                fill += bracket - behind
                behind = bracket + size
    copy_bytes(target + fill, source + behind, stop - behind)
    return fill + stop - behind


@kernel
def _citation(data: Bytes, at: Int, stop: Int, digits: Bytes, named: Bytes) -> Int:
    """Bytes of the citation at an opening bracket; 0 if it is none."""
    end = at + 1
    looking = True
    while looking and end < stop:
        point, width = decode(data, end, stop)
        looking = is_in(digits, point)
        end += width if looking else 0
    size = end + 1 - at if end < stop and data[end] == 0x5D else 0
    begin = 0
    while size == 0 and begin < len(named):
        length = named[begin]
        same = at + length <= stop
        for i in range(length):
            same = same and data[at + i] == named[begin + 1 + i]
        size = length if same else 0
        begin += length + 1
    return size


@kernel
def _count_words(data: Bytes, at: Int, stop: Int, index: Index, pages: Pages) -> Int:
    words, inside = 0, False
    while at < stop:
        point, width = decode(data, at, stop)
        white = class_of(index, pages, point) & SPACE != 0
        words += not white and not inside
        inside = not white
        at += width
    return words


@kernel
def _finish(
    data: Bytes,
    base: Int,
    stop: Int,
    out: Bytes,
    origin: Int,
    fill: Int,
    whole: bool,
    index: Index,
    pages: Pages,
) -> Int:
    """Take white space off both ends of a new text, or put the old one in its place; where it ends then."""
    target = np.int64(out.ctypes.data) + origin
    if whole:
        copy_bytes(target, np.int64(data.ctypes.data) + base, stop - base)
        return origin + stop - base
    at, end = stripped(out, origin, fill, index, pages)
    if at > origin:
        copy_bytes(target, target + at - origin, end - at)
    return origin + end - at
