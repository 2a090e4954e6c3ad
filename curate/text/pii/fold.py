"""Detection reads a folded copy of a text: other forms of ASCII characters become ASCII, invisible ones go.

Full-width "＠", "２", Arabic-Indic digits, no-break spaces and typographic hyphens would hide a value from
the detectors, and a zero-width character or soft hyphen inside it would cut it in two. A fold never
reaches the corpus: spans found in it are carried back to the original text.

Kernels here use no helper from another file: numba would not notice a change in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate.text.arrow import Bytes, Offsets, buffers, texts
from curate.text.jit import inlined, kernel

_SAME, _DROPPED = -1, -2


# First bytes of the characters that may fold.
_LEADS = np.zeros(256, np.bool_)
_LEADS[[0xC2, 0xD9, 0xDB, 0xE2, 0xE3, 0xEF]] = True


@inlined
def _folded(data: Bytes, i: int) -> int:
    """ASCII code that stands for the character of two or three bytes at i, or _SAME, or _DROPPED."""
    if data[i] < 0xE0:
        code = (data[i] & 0x1F) << 6 | (data[i + 1] & 0x3F)
    else:
        code = (data[i] & 0x0F) << 12 | (data[i + 1] & 0x3F) << 6 | (data[i + 2] & 0x3F)
    folded = _SAME
    if 0xFF01 <= code <= 0xFF5E:  # full-width forms
        folded = code - 0xFEE0
    elif code == 0xFE6B:  # small commercial at
        folded = 0x40
    elif code in (0xA0, 0x2007, 0x2009, 0x202F, 0x3000):  # spaces that do not break a number
        folded = 0x20
    elif 0x2010 <= code <= 0x2013 or code == 0x2212:  # hyphens, en dash, minus
        folded = 0x2D
    elif 0x660 <= code <= 0x669 or 0x6F0 <= code <= 0x6F9:  # Arabic-Indic digits
        folded = 0x30 + (code & 0x0F)
    elif (
        code in (0xAD, 0xFEFF)
        or 0x200B <= code <= 0x200F
        or 0x202A <= code <= 0x202E
        or 0x2060 <= code <= 0x2069
    ):
        folded = _DROPPED  # soft hyphen, zero-width characters, bidi controls
    return folded


@kernel
def _foldable(data: Bytes) -> tuple[int, int, int]:
    """How many characters change, how many are dropped, and how many bytes that saves."""
    changed, dropped, saved = 0, 0, 0
    for i in range(len(data)):
        # The comparison lets ASCII pass at 6 GB/s, the look-up alone at .3.
        if data[i] >= 0xC2 and _LEADS[data[i]]:
            size = 2 if data[i] < 0xE0 else 3
            folded = _folded(data, i)
            if folded == _DROPPED:
                dropped += 1
                saved += size
            elif folded != _SAME:
                changed += 1
                saved += size - 1
    return changed, dropped, saved


@kernel
def _fold(
    offsets: Offsets, data: Bytes, out: Bytes, out_offsets: Offsets, gap_rows: Offsets, gap_places: Offsets
) -> None:
    """Write the fold of every row. A gap is a dropped character: its row and its position in the fold."""
    dropped, at = 0, 0
    for row in range(len(offsets) - 1):
        place, counted = 0, at  # characters of the fold, counted up to this byte of `out`
        copied = offsets[row]
        for i in range(offsets[row], offsets[row + 1]):
            if data[i] < 0xC2 or not _LEADS[data[i]]:
                continue
            folded = _folded(data, i)
            if folded == _SAME:
                continue
            for k in range(copied, i):
                out[at + k - copied] = data[k]
            at += i - copied
            copied = i + (2 if data[i] < 0xE0 else 3)
            if folded == _DROPPED:
                for k in range(counted, at):
                    place += (out[k] & 0xC0) != 0x80
                counted = at
                gap_rows[dropped] = row
                gap_places[dropped] = place
                dropped += 1
            else:
                out[at] = folded
                at += 1
        for k in range(copied, offsets[row + 1]):
            out[at + k - copied] = data[k]
        at += offsets[row + 1] - copied
        out_offsets[row + 1] = at


@dataclass(frozen=True)
class Folded:
    """A folded column, and where characters were dropped from it, sorted by row and position."""

    text: pa.LargeStringArray
    gap_rows: Offsets
    gap_places: Offsets

    def original(self, row: int, places: Offsets) -> Offsets:
        """Positions in the original text of the folded characters at `places` of a row."""
        first, last = np.searchsorted(self.gap_rows, [row, row + 1])
        return places + np.searchsorted(self.gap_places[first:last], places, side="right")


def fold(text: pa.LargeStringArray) -> Folded:
    """Fold a column without NULL. Texts in which nothing is to fold are shared, not copied."""
    data, offsets = buffers(text)
    used = data[offsets[0] : offsets[-1]]
    changed, dropped, saved = _foldable(used)
    gap_rows, gap_places = np.empty(dropped, np.int64), np.empty(dropped, np.int64)
    if changed == 0 and dropped == 0:
        return Folded(text, gap_rows, gap_places)
    out, out_offsets = np.empty(len(used) - saved, np.uint8), np.zeros(len(offsets), np.int64)
    _fold(offsets, data, out, out_offsets, gap_rows, gap_places)
    return Folded(texts(out, out_offsets), gap_rows, gap_places)
