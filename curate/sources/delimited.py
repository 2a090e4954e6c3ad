"""CSV and TSV: records from Arrow columns, all of them strings, a bounded batch at a time."""

from __future__ import annotations

import codecs
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from curate.sources.record import (
    MAX_ROWS,
    NO_RECORDS,
    Columns,
    Fault,
    Ordinals,
    Read,
    Slice,
    fault,
    resolve,
)
from curate.sources.streams import WholeLines, open_stream
from curate.sources.tabular import decoded, from_batch, not_utf8, taken

_CSV_BLOCK = 16_000_000  # bytes; also the longest row
_SNIFFED = 1_000_000  # bytes that decide the encoding of a CSV file


def read_csv(piece: Slice, columns: Columns) -> Iterator[Read]:
    """The records of a CSV or TSV file: UTF-8, UTF-16 with a mark, or else Windows-1252; values stay strings.

    The delimiter is what the header has most of (comma, semicolon, tab). A row with too few or too many
    values is a fault.

    Raises:
        SourceError: a column is missing.
    """
    bad: list[Fault] = []
    done = 0
    try:
        form = _csv_form(piece.path)
        names = _csv_names(piece.path, form)
        roles = resolve(columns, names, piece.shown)
        for part, ordinals in _csv_parts(piece.path, form, names, bad):
            done = int(ordinals[-1]) + 1
            due = tuple(found for found in bad if found.ordinal < done)
            del bad[: len(due)]
            broken = not_utf8(part.column(roles["text"]), ordinals)
            yield Read(from_batch(_decoded(part), ordinals, roles), due, broken)
        if bad:
            yield Read(NO_RECORDS, tuple(bad))
    except (OSError, pa.ArrowInvalid, UnicodeError) as error:
        cause = str(error).splitlines()[0]
        if "Truncated" in cause:
            cause = "the compressed file ends too early (an unfinished download?)."
        if "straddling" in cause:
            cause = f"a row of over {_CSV_BLOCK:,} bytes, or a quote that never ends. The rest is lost."
        yield fault(done, "error:read", f"After row {done}: {cause}")


def csv_form(piece: Slice, columns: Columns) -> tuple[pa.Schema, dict[str, str]]:
    """Schema of a CSV file, all strings, and role → column."""
    names = _csv_names(piece.path, _csv_form(piece.path))
    schema = pa.schema([(name, pa.large_string()) for name in names])
    return schema, resolve(columns, names, piece.shown)


def csv_rows(piece: Slice, wanted: Ordinals) -> Iterator[tuple[Ordinals, pa.RecordBatch]]:
    """Rows of a CSV file at some ordinals (ascending); where the file breaks off they end."""
    form = _csv_form(piece.path)
    with suppress(pa.ArrowInvalid, OSError, UnicodeError):
        for part, ordinals in _csv_parts(piece.path, form, _csv_names(piece.path, form), []):
            yield from taken(_decoded(part), ordinals, wanted)


def _csv_names(path: str, form: tuple[str, str]) -> list[str]:
    with WholeLines(open_stream(path), _CSV_BLOCK) as stream:
        return _unique(_csv_reader(stream, form, {}, lambda _: "skip").schema.names)


def _csv_parts(
    path: str, form: tuple[str, str], names: list[str], bad: list[Fault]
) -> Iterator[tuple[pa.RecordBatch, Ordinals]]:
    """Batches of values as bytes with their ordinals; rows that do not fit go to `bad`, before the batch after them."""

    def refuse(row: Any) -> str:
        found = f"expected {row.expected_columns} values, found {row.actual_columns}"
        bad.append(Fault(row.number - 2, "error:read", f"Row {row.number - 1}: {found}."))
        refused.append(row.number - 2)
        return "skip"

    refused: list[int] = []
    done = 0
    with WholeLines(open_stream(path), _CSV_BLOCK) as stream:
        headers = _csv_reader(stream, form, {}, lambda _: "skip").schema.names
    with WholeLines(open_stream(path), _CSV_BLOCK) as stream:
        reader = _csv_reader(stream, form, dict.fromkeys(headers, pa.large_binary()), refuse)
        for raw in _until_it_breaks(reader, stream):
            named = raw.rename_columns(names)
            for start in range(0, len(named), MAX_ROWS):
                part = named.slice(start, MAX_ROWS)
                ordinals = _ordinals(done, len(part), refused)
                done = int(ordinals[-1]) + 1
                yield part, ordinals


def _decoded(batch: pa.RecordBatch) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([decoded(column) for column in batch.columns], batch.schema.names)


def _until_it_breaks(batches: Any, stream: WholeLines) -> Iterator[pa.RecordBatch]:
    """The batches, and then the error at which the stream ended, if it broke; not what the parser says of it."""
    try:
        yield from batches
    except pa.ArrowInvalid as error:
        raise stream.error or error from None
    if stream.error is not None:
        raise stream.error


def _csv_form(path: str) -> tuple[str, str]:
    """Encoding and delimiter, as the beginning of the file shows them."""
    with open_stream(path) as stream:
        head = stream.read(_SNIFFED)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    else:
        try:  # a character may be cut at the end of what was read
            codecs.getincrementaldecoder("utf-8")().decode(head)
            encoding = "utf-8"
        except UnicodeDecodeError:
            encoding = "cp1252"
    header = head.decode(encoding, "replace").split("\n", 1)[0]
    return encoding, max(",;\t", key=header.count)


def _csv_reader(
    stream: Any, form: tuple[str, str], types: Mapping[str, pa.DataType], refuse: Callable[[Any], str]
) -> Any:
    encoding, delimiter = form
    return pa_csv.open_csv(
        stream,
        pa_csv.ReadOptions(use_threads=False, block_size=_CSV_BLOCK, encoding=encoding),
        pa_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=refuse),
        pa_csv.ConvertOptions(column_types=types, strings_can_be_null=False, check_utf8=False),
    )


def _unique(names: list[str]) -> list[str]:
    """Column names with a number where one comes again."""
    seen: Counter[str] = Counter()
    unique = []
    for name in names:
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return unique


def _ordinals(done: int, count: int, refused: list[int]) -> Ordinals:
    """The places of the next `count` good rows: those that no refused row takes."""
    ordinals = np.arange(done, done + count + len(refused), dtype=np.int64)
    ordinals = np.setdiff1d(ordinals, refused, assume_unique=True)[:count]
    last = int(ordinals[-1])
    refused[:] = [place for place in refused if place > last]
    return ordinals
