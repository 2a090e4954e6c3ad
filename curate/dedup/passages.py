"""Lines and paragraphs that stand in many documents (menus, footers, notices): counted, then marked to be cut.

    counts = PassageCounts(options)
    counts.add(texts, first_row)                        # every batch; shards apart, then counts.merge(other)
    ranges = counts.find(texts, first_row)              # every batch again
    texts, removed = cut(texts, ranges, first_row=first_row)

A passage is known by a 64-bit hash of its text without the white space around it: two different ones among
m meet with probability m^2 / 2^65 (10^9 passages: 3 %). It is counted once a document.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from curate.dedup.counting import COUNT, Pieces, count_pieces, mark_pieces, pour
from curate.dedup.normalize import Digits
from curate.dedup.shingles import read_only, text_buffers
from curate.dedup.units import Ranges
from curate.engine.stage import Options
from curate.text.arrow import normalised
from curate.text.lines import find_lines
from curate.text.repeats import split_pieces
from curate.text.unicode import classes
from schemas.errors import UsageError

_PLACE = 24  # bytes of an entry
_FULL = 5 / 8  # of the places
_FIRST = 1 << 12  # places of a new table
_ROWS = 2**32


class PassageOptions(Options):
    """Which passages count as boilerplate, and which copies of them go."""

    unit: Literal["line", "paragraph"] = Field(
        default="line", description="what is counted: lines, or what lies between empty lines"
    )
    least: int = Field(
        default=7,
        ge=2,
        description="documents that a passage stands in; Llama 3 removes lines met more than 6 times "
        "(arXiv 2407.21783, section 3.1.1)",
    )
    shortest: int = Field(
        default=20, ge=1, description="bytes of the shortest passage: `}` or `See also` may stand anywhere"
    )
    digits: Digits = Field(
        default="keep",
        description="`collapse` takes any run of the digits 0-9 for the same: `Page 7` is `Page 12`",
    )
    keep: Literal["first", "none"] = Field(
        default="first", description="which copies stay: those of the first document, or none"
    )
    memory_mb: int = Field(
        default=1024, ge=1, description="most megabytes of the table: 38 to 77 bytes a passage"
    )


class PassageCounts:
    """In how many documents each passage stands, and which document is the first.

    When the table is full, what was met least often is dropped. `missed` says by how much a count may be too
    low for that (lossy counting: Manku and Motwani 2002); none is ever too high.
    """

    def __init__(self, options: PassageOptions) -> None:
        self.options = options
        self.missed = 0
        self._most = 1 << ((options.memory_mb << 20) // _PLACE).bit_length() - 1
        self._table = np.zeros((min(_FIRST, self._most), 3), np.uint64)
        self._used = 0

    def add(self, texts: pa.Array, first_row: int) -> None:
        """Count the passages of a batch whose documents are number `first_row` and on: each document once.

        Raises:
            UsageError: a row above 2^32.
            CurateError: a text has 2 GiB or more.
        """
        _check(first_row, len(texts))
        pieces, space = self._pieces(texts)
        text = 0
        while text < len(texts):
            text, self._used = count_pieces(
                pieces, text, first_row + text, self._table, self._used, self._room, space
            )
            if text < len(texts):
                self._make_room()

    def merge(self, other: PassageCounts) -> None:
        """Add the counts of other documents, counted with the same options.

        Raises:
            UsageError: the options differ.
        """
        if other.options != self.options:
            raise UsageError(
                f"Counts were made with {other.options!r} and {self.options!r}.",
                hint="Count all shards with the same options.",
            )
        self.missed += other.missed
        size = 1 << 16  # entries are poured a piece at a time, so that the table never overflows
        for at in range(0, len(other._table), size):
            part = other._table[at : at + size]
            while self._used + np.count_nonzero(part[:, 0]) > self._room and self._used:
                self._make_room()
            self._used = pour(np.ascontiguousarray(part), 1, self._table, self._used)

    def find(self, texts: pa.Array, first_row: int) -> Ranges:
        """The passages of a batch that go, with the line ends behind them.

        If the last line goes, so do the line ends before it. The text is cut with `cut`.

        Raises:
            UsageError: a row above 2^32.
            CurateError: a text has 2 GiB or more.
        """
        _check(first_row, len(texts))
        pieces, space = self._pieces(texts)
        first_stays = self.options.keep == "first"
        rows, cuts = mark_pieces(pieces, first_row, self._table, self.options.least, first_stays, space)
        return Ranges(rows + first_row, cuts[:, 0].copy(), cuts[:, 1].copy())

    @property
    def _room(self) -> int:
        return int(len(self._table) * _FULL)

    def _make_room(self) -> None:
        """A table twice as large, or one without the half that was met least often."""
        least = 1
        size = 2 * len(self._table)
        if size > self._most:
            size = len(self._table)
            counts = self._table[self._table[:, 0] != 0, COUNT] >> np.uint64(32)
            least = int(np.partition(counts, len(counts) // 2)[len(counts) // 2]) + 1
            self.missed += least - 1
        table = np.zeros((size, 3), np.uint64)
        self._used = pour(self._table, least, table, 0)
        self._table = table

    def _pieces(self, texts: pa.Array) -> tuple[Pieces, np.ndarray[tuple[int], np.dtype[np.uint8]]]:
        column = normalised(texts.fill_null("") if texts.null_count else texts)
        found = find_lines(column) if self.options.unit == "line" else split_pieces(column, 2)
        data, offsets, longest = text_buffers(column)
        pieces = Pieces(
            data, offsets, read_only(found.first, np.int64), read_only(found.start, np.int32),
            read_only(found.end, np.int32), *classes(), self.options.shortest, self.options.digits == "collapse",
        )  # fmt: skip
        return pieces, np.empty(longest + 1 if pieces.collapse else 1, np.uint8)


def _check(first_row: int, count: int) -> None:
    if not 0 <= first_row <= _ROWS - count:
        raise UsageError(
            f"The batch has the rows {first_row:,} to {first_row + count:,}; a count knows rows up to {_ROWS:,}.",
            hint="Number the documents from 0, or count parts of the corpus apart.",
        )
