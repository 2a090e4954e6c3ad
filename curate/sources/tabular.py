"""Parquet and CSV: records from Arrow columns, a bounded batch at a time."""

from __future__ import annotations

import codecs
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from curate.sources.record import (
    MAX_ROWS,
    NO_RECORDS,
    NORMALISED,
    ROLES,
    Columns,
    Fault,
    Read,
    Slice,
    as_text,
    fault,
    resolve,
)
from curate.sources.values import iso_date, language_code
from schemas.errors import SourceError
from schemas.tables import RECORD_SCHEMA

Ordinals = npt.NDArray[np.int64]

# A Parquet file of 559 bytes can hold 1 GB (250 equal strings, dictionary-encoded), and its metadata does
# not say so: few rows are decoded at once, and put together while they are small.
_DECODED_ROWS = 100
_BATCH_ROWS = 1_000
_BATCH_BYTES = 32_000_000
_CSV_BLOCK = 16_000_000  # bytes; also the longest row
_SNIFFED = 1_000_000  # bytes that decide the encoding of a CSV file


def split_parquet(path: Path, target_bytes: int) -> list[Slice]:
    """Slices of whole row groups, about `target_bytes` each; a file that cannot be opened is one slice."""
    try:
        metadata = pq.read_metadata(path)
    except (OSError, pa.ArrowInvalid):
        return [Slice(str(path), "parquet")]
    slices: list[Slice] = []
    start = first = rows = size = 0
    for group in range(metadata.num_row_groups):
        rows += metadata.row_group(group).num_rows
        size += metadata.row_group(group).total_byte_size
        if size >= target_bytes:
            slices.append(Slice(str(path), "parquet", start, group + 1, first))
            start, first, size = group + 1, rows, 0
    if start < metadata.num_row_groups or not slices:
        slices.append(Slice(str(path), "parquet", start, -1, first))
    return slices


def read_parquet(piece: Slice, columns: Columns) -> Iterator[Read]:
    """The records of some row groups.

    Raises:
        SourceError: a column is missing, or that of the text holds no strings.
    """
    first = piece.first
    try:
        with pq.ParquetFile(piece.path) as file:
            roles = resolve(columns, file.schema_arrow.names, piece.path)
            _check_types(file.schema_arrow, roles, piece.path)
            stop = file.num_row_groups if piece.stop < 0 else piece.stop
            for group in range(piece.start, stop):
                for batch in _batches(file, group):
                    ordinals = np.arange(first, first + len(batch), dtype=np.int64)
                    first += len(batch)
                    yield Read(from_batch(batch, ordinals, roles))
    except (OSError, pa.ArrowException) as error:
        yield fault(first, "error:read", f"Row {first + 1}: {str(error).splitlines()[0]}")


def _batches(file: pq.ParquetFile, group: int) -> Iterator[pa.RecordBatch]:
    """A row group in batches of bounded size."""
    parts: list[pa.RecordBatch] = []
    for part in file.iter_batches(batch_size=_DECODED_ROWS, row_groups=[group], use_threads=False):
        parts.append(part)
        if sum(map(len, parts)) >= _BATCH_ROWS or sum(part.nbytes for part in parts) >= _BATCH_BYTES:
            yield pa.concat_batches(parts)
            parts = []
    if parts:
        yield pa.concat_batches(parts)


def _check_types(schema: pa.Schema, roles: Mapping[str, str], path: str) -> None:
    for role, column in roles.items():
        kind = _field_type(schema, column)
        if kind is None or (role == "text" and not _is_string(kind)):
            strings = ", ".join(field.name for field in schema if _is_string(field.type)) or "none"
            found = "is missing" if kind is None else f"is {kind}, not a string"
            raise SourceError(
                f'{path}: column "{column}" for {role} {found}.',
                hint=f'Columns of strings: {strings}. In the recipe\'s source: columns = {{ {role} = "…" }}',
            )


def _field_type(schema: pa.Schema, column: str) -> pa.DataType | None:
    if column in schema.names:
        return schema.field(column).type
    name, *path = column.split(".")
    kind = schema.field(name).type if name in schema.names else None
    for part in path:
        if kind is None or not pa.types.is_struct(kind) or kind.get_field_index(part) < 0:
            return None
        kind = kind.field(part).type
    return kind


def _is_string(kind: pa.DataType) -> bool:
    types = pa.types
    if types.is_dictionary(kind):
        return _is_string(kind.value_type)
    tests = (types.is_string, types.is_large_string, types.is_string_view, types.is_null)
    return any(test(kind) for test in tests)


def from_batch(batch: pa.RecordBatch, ordinals: Ordinals, roles: Mapping[str, str]) -> pa.RecordBatch:
    """Records of Arrow columns. Columns that no role takes go to `extra`, but for binary ones; date and
    language stay there too, as they were."""
    batch = _valid(batch)
    arrays = {ROLES[role]: _strings(_column(batch, column), role) for role, column in roles.items()}
    arrays["ordinal"] = pa.array(ordinals)
    taken = {column for role, column in roles.items() if role not in NORMALISED}
    arrays["extra"] = _extra(batch.select([name for name in batch.schema.names if name not in taken]))
    empty = pa.array([""] * len(batch), pa.large_string())
    columns = [arrays.get(field.name, empty).cast(field.type) for field in RECORD_SCHEMA]
    return pa.RecordBatch.from_arrays(columns, schema=RECORD_SCHEMA)


def _column(batch: pa.RecordBatch, column: str) -> pa.Array:
    """A top-level or nested column; null where one of its objects is."""
    if column in batch.schema.names:
        return batch.column(column)
    name, *path = column.split(".")
    return pa.compute.struct_field(batch.column(name), path)


def _strings(array: pa.Array, role: str) -> pa.Array:
    if role == "date":
        return pa.array([iso_date(value) for value in array.to_pylist()], pa.large_string())
    if role == "language":
        return pa.array([language_code(value) for value in array.to_pylist()], pa.large_string())
    if _is_string(array.type):
        return array.cast(pa.large_string()).fill_null("")
    return pa.array([as_text(value) for value in array.to_pylist()], pa.large_string())


def _valid(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with U+FFFD for bytes that are not UTF-8, which Parquet writers do not check."""
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid:
        repaired = {name: _repaired(batch.column(name)) for name in batch.schema.names}
        return pa.RecordBatch.from_pydict(
            {name: array for name, array in repaired.items() if array is not None}
        )
    return batch


def _repaired(array: pa.Array) -> pa.Array | None:
    """The array with its strings repaired; None if what is broken lies deeper."""
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        if not _is_string(array.type):
            return None
        return _decoded(array.cast(pa.large_binary()))
    return array


def _extra(rest: pa.RecordBatch) -> pa.Array:
    """Each row's other columns as one JSON object."""
    rest = rest.select([field.name for field in rest.schema if _has_json(field.type)])
    if rest.num_columns == 0:
        return pa.array(["{}"] * len(rest), pa.large_string())
    frame = pl.DataFrame(pa.Table.from_batches([rest]))
    return frame.select(pl.struct(pl.all()).struct.json_encode()).to_series().to_arrow()


def _has_json(kind: pa.DataType) -> bool:
    """Whether Polars can write a type as JSON: numbers, strings, times, and what is nested of them."""
    types = pa.types
    if types.is_dictionary(kind):
        return _has_json(kind.value_type)
    if types.is_nested(kind) and not types.is_union(kind):
        return all(_has_json(kind.field(index).type) for index in range(kind.num_fields))
    numbers = (types.is_integer, types.is_floating, types.is_decimal, types.is_boolean)
    times = (types.is_date, types.is_time, types.is_timestamp, types.is_duration)
    return _is_string(kind) or any(test(kind) for test in numbers + times)


def read_csv(piece: Slice, columns: Columns) -> Iterator[Read]:
    """The records of a CSV or TSV file: UTF-8, UTF-16 with a mark, or else Windows-1252; values stay strings.

    The delimiter is what the header has most of (comma, semicolon, tab). A row with too few or too many
    values is a fault.

    Raises:
        SourceError: a column is missing.
    """
    bad: list[Fault] = []

    def refuse(row: Any) -> str:
        found = f"expected {row.expected_columns} values, found {row.actual_columns}"
        bad.append(Fault(row.number - 2, "error:read", f"Row {row.number - 1}: {found}."))
        return "skip"

    done = 0
    try:
        form = _csv_form(piece.path)
        with _open_csv(piece.path, form, {}, lambda _: "skip") as reader:
            headers = reader.schema.names
        names = _unique(headers)
        roles = resolve(columns, names, piece.path)
        with _open_csv(piece.path, form, dict.fromkeys(headers, pa.large_binary()), refuse) as reader:
            for raw in reader:
                batch = pa.RecordBatch.from_arrays([_decoded(column) for column in raw.columns], names)
                for start in range(0, len(batch), MAX_ROWS):
                    part = batch.slice(start, MAX_ROWS)
                    ordinals, done, due = _ordinals(done, len(part), bad)
                    yield Read(from_batch(part, ordinals, roles), due)
        if bad:
            yield Read(NO_RECORDS, tuple(bad))
    except (OSError, pa.ArrowInvalid, UnicodeError) as error:
        cause = str(error).splitlines()[0]
        if "straddling" in cause:
            cause = f"a row of over {_CSV_BLOCK:,} bytes, or a quote that never ends. The rest is lost."
        yield fault(done, "error:read", f"After row {done}: {cause}")


def _csv_form(path: str) -> tuple[str, str]:
    """Encoding and delimiter, as the beginning of the file shows them."""
    with pa.input_stream(path) as stream:
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


def _open_csv(
    path: str, form: tuple[str, str], types: Mapping[str, pa.DataType], refuse: Callable[[Any], str]
) -> Any:
    encoding, delimiter = form
    return pa_csv.open_csv(
        pa.input_stream(path),
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


def _decoded(column: pa.Array) -> pa.Array:
    """Binary values as strings, with U+FFFD for what is not UTF-8."""
    try:
        return column.cast(pa.large_string())
    except pa.ArrowInvalid:
        texts = (None if value is None else value.decode("utf-8", "replace") for value in column.to_pylist())
        return pa.array(texts, pa.large_string())


def _ordinals(done: int, count: int, bad: list[Fault]) -> tuple[Ordinals, int, tuple[Fault, ...]]:
    """The places of the next `count` good rows: those that no bad row takes, and the bad rows up to there."""
    ordinals = np.arange(done, done + count + len(bad), dtype=np.int64)
    ordinals = np.setdiff1d(ordinals, [found.ordinal for found in bad], assume_unique=True)[:count]
    done = int(ordinals[-1]) + 1
    due = tuple(found for found in bad if found.ordinal < done)
    del bad[: len(due)]
    return ordinals, done, due
