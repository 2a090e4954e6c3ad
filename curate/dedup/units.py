"""Texts and token ids as one kind of column to kernels, and ranges of them cut out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.dedup.shingles import I64, read_only, text_buffers
from curate.text.arrow import texts as text_array
from curate.text.jit import kernel
from schemas.errors import UsageError

Units = npt.NDArray[Any]
"""Bytes of UTF-8 (uint8) or token ids (uint32)."""


@dataclass(frozen=True)
class Ranges:
    """Parts of rows, sorted and apart: range i is the bytes (or tokens) `start[i]` to `stop[i]` of row `row[i]`."""

    row: I64
    start: I64
    stop: I64

    def __len__(self) -> int:
        return len(self.row)


def units(column: pa.Array) -> tuple[Units, I64]:
    """The units of a column of strings, or of lists of token ids, and the n + 1 places where rows begin and end.

    Read-only and without a copy where that can be; NULL is taken for an empty text.

    Raises:
        UsageError: a list is NULL, or token ids are not of 32 bits.
    """
    if not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type)):
        data, offsets, _ = text_buffers(column)
        return data, offsets
    if column.type.value_type != pa.uint32() or column.null_count or column.values.null_count:
        raise UsageError(
            f"Token ids are {column.type} with {column.null_count} NULL.",
            hint="Give lists of uint32 without NULL: column.cast(pa.large_list(pa.uint32())).",
        )
    return read_only(column.values.to_numpy(), np.uint32), read_only(column.offsets.to_numpy(), np.int64)


def cut(column: pa.Array, ranges: Ranges, *, first_row: int = 0) -> tuple[pa.Array, I64]:
    """The column without the ranges, and how many bytes (or tokens) each row lost (int64).

    `first_row` is the number that row 0 of the column has in `ranges`.

    Raises:
        UsageError: ranges are not sorted and apart, or lie outside of the rows.
    """
    data, offsets = units(column)
    rows = ranges.row - first_row
    _check(rows, ranges, np.diff(offsets))
    removed = np.zeros(len(column), np.int64)
    np.add.at(removed, rows, ranges.stop - ranges.start)
    places = np.concatenate(([0], np.cumsum(np.diff(offsets) - removed)))
    starts, stops = (read_only(offsets[rows] + ends, np.int64) for ends in (ranges.start, ranges.stop))
    left = _left(data, offsets, starts, stops, int(places[-1]))
    if data.dtype == np.uint8:
        return text_array(left, places), removed
    return pa.LargeListArray.from_arrays(pa.array(places), pa.array(left)), removed


def _check(rows: I64, ranges: Ranges, sizes: I64) -> None:
    if len(rows) == 0:
        return
    inside = rows.min() >= 0 and rows.max() < len(sizes)
    inside = inside and bool((ranges.start >= 0).all() and (ranges.stop <= sizes[rows]).all())
    apart = (np.diff(rows) > 0) | (np.diff(rows) == 0) & (ranges.start[1:] >= ranges.stop[:-1])
    if not inside or not apart.all() or not (ranges.start <= ranges.stop).all():
        raise UsageError(
            f"Ranges of rows {rows.min()} to {rows.max()} do not fit {len(sizes)} rows, or are not sorted and apart.",
            hint="Give the ranges found in this column, and as `first_row` the number of its first row.",
        )


@kernel
def _left(data: Units, offsets: I64, starts: I64, stops: I64, size: int) -> Units:
    """All units outside of the ranges, whose places are those of the data."""
    out = np.empty(size, data.dtype)
    fill, at = 0, offsets[0]
    for i in range(len(starts) + 1):
        stop = starts[i] if i < len(starts) else offsets[-1]
        out[fill : fill + stop - at] = data[at:stop]
        fill += stop - at
        at = stops[i] if i < len(stops) else at
    return out
