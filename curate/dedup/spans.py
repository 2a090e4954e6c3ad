"""Passages that stand in an earlier text, or earlier in the same one, word for word: found, marked or cut out.

A span is at least `least` bytes of UTF-8 (or tokens) that lie within one document and have an equal copy
within one document that comes before, or before in the same document without overlap of the first `least`
bytes. The first copy is no span, so it stays. Every span is compared byte for byte. What is missed: of
passages that share half of `least` with four others or more, a few bytes at an end (0.03 % of the bytes of
such passages in 20 MB of technical documents, at 100 bytes); more once the table is full, see `SpanIndex.share`.

The text seen must be there to be compared: `find_spans` copies it, `SpanIndex` maps a file of it.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from curate.dedup.borders import shrink
from curate.dedup.rolling import I64, Blocks, Shape, join, refill, scan
from curate.dedup.shingles import read_only
from curate.dedup.units import Ranges, Units, units
from curate.engine.stage import Options
from schemas.errors import CurateError, UsageError

_BORDER = {np.dtype(np.uint8): 0xFF, np.dtype(np.uint32): 0xFFFFFFFF}  # UTF-8 has no such byte
_FULL = 5 / 8  # of the places: linear probing is short up to there
_PLACE = 10  # bytes of a place, the filter's included
_FIRST = 1 << 12  # places of a new table
_BLOCKS = 2**32 - 2  # that a table can number
_HASH = 2**64 - 2**32  # the bits of an entry that are its hash


class SpanOptions(Options):
    """What counts as a repeated passage, and what of it is cut."""

    least: int = Field(
        default=200,
        ge=8,
        le=1 << 20,
        description="bytes (or tokens) that a passage has at least; 50 tokens of English are about 200 bytes, "
        "the length of Lee et al. 2022 (arXiv 2107.06499)",
    )
    ends: Literal["characters", "sentences", "lines"] = Field(
        default="characters", description="what is never cut in two: a passage shrinks to whole ones"
    )
    memory_mb: int = Field(
        default=1024,
        ge=1,
        description="most megabytes for the table of what was seen: 32 to 64 bytes for each `least` bytes of text",
    )


@dataclass(frozen=True)
class Spans(Ranges):
    """Repeated passages: those of one row are sorted and apart; each equals its source, of the same size.

    Where one passage runs into another, the spans touch, and the second one may be shorter than `least`: it
    is what the second passage adds. Rows number all documents seen, from 0.
    """

    source_row: I64
    source_start: I64


def find_spans(texts: pa.Array, options: SpanOptions) -> Spans:
    """Repeated passages of the texts (strings, or lists of uint32 token ids), in the order of rows.

    Memory: a copy of the text, and the table.

    Raises:
        UsageError: sentences or lines of token ids are asked for.
    """
    data, offsets = units(texts)
    search = _Search(options, data.dtype)
    store = read_only(join(data, offsets, search.shape.border), data.dtype)
    starts, stops = _places(offsets, 0)
    return search.spans(store, starts, stops, starts, 0)


class SpanIndex:
    """Repeated passages of a stream of batches: each batch against itself and all before it.

    What was seen is kept in a temporary file in `folder`, a byte for a byte of text (four for a token); it is
    mapped, so the system holds in memory what it has room for. In memory: the table, 8 bytes a document.
    Where a batch ends makes no difference to what is found.
    """

    def __init__(self, options: SpanOptions, folder: Path, *, tokens: bool = False) -> None:
        """Begin with nothing seen; `tokens` for lists of token ids.

        Raises:
            UsageError: sentences or lines of token ids are asked for.
        """
        self.rows = 0
        self._search = _Search(options, np.dtype(np.uint32 if tokens else np.uint8))
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (open as long as the index)
        weakref.finalize(self, self._file.close)
        self._size = 0
        self._starts = np.empty(1024, np.int64)

    @property
    def share(self) -> float:
        """Share of the blocks of text that the table keeps, 1 until it is full, then a half, a quarter ...

        At a share s a passage of n times `least` is found with probability 1 - (1 - s)^(2n - 1) or so.
        """
        return self._search.share

    def add(self, texts: pa.Array) -> Spans:
        """The repeated passages of a batch; `row` of its first document is what `rows` was before.

        Raises:
            CurateError: more text than the table can number, 2^31 times `least` bytes.
            UsageError: strings where tokens were announced, or the other way round.
        """
        data, offsets = units(texts)
        kind = np.dtype(np.uint32 if self._search.shape.border > 0xFF else np.uint8)
        if data.dtype != kind:
            raise UsageError(
                f"The batch is {texts.type}.",
                hint="Give SpanIndex(tokens=True) lists of uint32, else strings.",
            )
        starts, stops = _places(offsets, self._size)
        first, self.rows = self.rows, self.rows + len(texts)
        if self.rows > len(self._starts):
            self._starts = np.concatenate((self._starts[:first], np.empty(self.rows, np.int64)))
        self._starts[first : self.rows] = starts
        joined = join(data, offsets, self._search.shape.border)
        self._file.seek(0, os.SEEK_END)
        self._file.write(joined.tobytes())
        self._file.flush()
        self._size += len(joined)
        store: Units = np.memmap(self._file, kind, "r") if self._size else joined
        return self._search.spans(
            read_only(np.asarray(store), kind), starts, stops, self._starts[: self.rows], first
        )


def _places(offsets: I64, base: int) -> tuple[I64, I64]:
    """Where rows begin and end in a store in which each is followed by a border."""
    starts = offsets[:-1] - offsets[0] + base + np.arange(len(offsets) - 1)
    return read_only(starts, np.int64), read_only(starts + np.diff(offsets), np.int64)


class _Search:
    """The table of blocks, and how it grows and is thinned."""

    def __init__(self, options: SpanOptions, kind: np.dtype[Any]) -> None:
        if kind != np.uint8 and options.ends != "characters":
            raise UsageError(
                f"ends is {options.ends} and the column holds token ids.",
                hint="Leave `ends` out for tokens, or give strings.",
            )
        self.options = options
        # A span of `least` units holds a whole block wherever it begins: least = width + stride - 1.
        width = (options.least + 1) // 2
        self.shape = Shape(
            options.least, width, options.least - width + 1, _BORDER[kind], bool(kind == np.uint8)
        )
        self.most = 1 << ((options.memory_mb << 20) // _PLACE).bit_length() - 1
        self.blocks = _table(min(_FIRST, self.most), 0)
        self.used = 0

    @property
    def share(self) -> float:
        return 1 / (1 + (int(self.blocks.thinned) >> 32))

    def spans(self, store: Units, starts: I64, stops: I64, all_starts: I64, first: int) -> Spans:
        """Spans of the documents at `starts`, whose first has the row `first`."""
        if len(store) // self.shape.stride > _BLOCKS:
            raise CurateError(
                f"{len(store):,} units of text are more than a table of spans can number.",
                hint="Take a larger `least`, or search part of the corpus at a time.",
            )
        found, count, row = np.empty((1024, 3), np.int64), 0, 0
        while row < len(starts):
            room = int(len(self.blocks.places) * _FULL)
            found, count, row, self.used = scan(
                store, starts, stops, row, self.blocks, self.used, room, self.shape, found, count
            )
            if row < len(starts):
                self._make_room(int(stops[-1] - starts[row]) // self.shape.stride + 1)
        found = found[:count][np.argsort(found[:count, 0], kind="stable")]
        rows = np.searchsorted(starts, found[:, 0], "right") - 1
        if self.options.ends != "characters":
            kept = shrink(store, found, starts[rows], stops[rows], self.options.ends == "sentences")
            found, rows = found[kept], rows[kept]
        source = np.searchsorted(all_starts, found[:, 2], "right") - 1
        return Spans(
            rows + first, found[:, 0] - starts[rows], found[:, 1] - starts[rows],
            source, found[:, 2] - all_starts[source],
        )  # fmt: skip

    def _make_room(self, blocks: int) -> None:
        """A table for so many more blocks; half of all blocks in one that may not grow."""
        size, thinned = len(self.blocks.places), int(self.blocks.thinned)
        while (self.used + blocks) > size * _FULL and 2 * size <= self.most:
            size *= 2
        if size == len(self.blocks.places):
            thinned = thinned << 1 & _HASH | 1 << 32
        new = _table(size, thinned)
        self.used = refill(self.blocks, new)
        self.blocks = new


def _table(size: int, thinned: int) -> Blocks:
    bits = size.bit_length() - 1
    return Blocks(
        np.zeros(size, np.uint64),
        np.zeros(size // 4, np.uint64),
        np.uint64(64 - bits),
        np.uint64(66 - bits),
        np.uint64(thinned),
    )
