"""Parquet: records from Arrow columns, a bounded batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate.sources.record import (
    NORMALISED,
    ROLES,
    Columns,
    Fault,
    Ordinals,
    Read,
    Slice,
    as_text,
    fault,
    replaced,
    resolve,
)
from curate.sources.values import iso_date, language_code
from schemas.errors import SourceError
from schemas.tables import RECORD_SCHEMA

# A Parquet file of 559 bytes can hold 1 GB (250 equal strings, dictionary-encoded), and its metadata does
# not say so: few rows are decoded at once, and put together while they are small.
_DECODED_ROWS = 100
_BATCH_ROWS = 1_000
_BATCH_BYTES = 32_000_000


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
            roles = _parquet_roles(file, piece, columns)
            stop = file.num_row_groups if piece.stop < 0 else piece.stop
            for group in range(piece.start, stop):
                for batch in _batches(file, group):
                    ordinals = np.arange(first, first + len(batch), dtype=np.int64)
                    first += len(batch)
                    valid = _valid(batch)
                    raw = () if valid is batch else not_utf8(nested_column(batch, roles["text"]), ordinals)
                    yield Read(from_batch(valid, ordinals, roles), replaced=raw)
    except (OSError, pa.ArrowException) as error:
        yield fault(first, "error:read", f"Row {first + 1}: {str(error).splitlines()[0]}")


def _parquet_roles(file: pq.ParquetFile, piece: Slice, columns: Columns) -> dict[str, str]:
    roles = resolve(columns, file.schema_arrow.names, piece.shown)
    _check_types(file.schema_arrow, roles, piece.shown)
    return roles


def parquet_form(piece: Slice, columns: Columns) -> tuple[pa.Schema, dict[str, str]]:
    """Schema of a Parquet file, and role → column."""
    with pq.ParquetFile(piece.path) as file:
        return file.schema_arrow, _parquet_roles(file, piece, columns)


def parquet_rows(piece: Slice, wanted: Ordinals) -> Iterator[tuple[Ordinals, pa.RecordBatch]]:
    """Rows of a Parquet file at some ordinals (ascending), all columns in their types."""
    first = 0
    with pq.ParquetFile(piece.path) as file:
        for group in range(file.num_row_groups):
            last = first + file.metadata.row_group(group).num_rows
            if np.searchsorted(wanted, first) < np.searchsorted(wanted, last):
                for batch in _batches(file, group):
                    yield from taken(batch, np.arange(first, first + len(batch), dtype=np.int64), wanted)
                    first += len(batch)
            first = last


def taken(
    batch: pa.RecordBatch, ordinals: Ordinals, wanted: Ordinals
) -> Iterator[tuple[Ordinals, pa.RecordBatch]]:
    """The wanted rows of a batch, their strings repaired; nothing if there is none."""
    inside = np.isin(ordinals, wanted, assume_unique=True)
    if inside.all():
        yield ordinals, _valid(batch)
    elif inside.any():
        yield ordinals[inside], _valid(batch.filter(pa.array(inside)))


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
    language stay there too, as they were. Strings are valid UTF-8."""
    arrays = {ROLES[role]: _strings(nested_column(batch, column), role) for role, column in roles.items()}
    arrays["ordinal"] = pa.array(ordinals)
    rest = with_column(batch, roles["text"], None)
    taken = {column for role, column in roles.items() if role not in NORMALISED}
    arrays["extra"] = _extra(rest.select([name for name in rest.schema.names if name not in taken]))
    empty = pa.array([""] * len(batch), pa.large_string())
    columns = [arrays.get(field.name, empty).cast(field.type) for field in RECORD_SCHEMA]
    return pa.RecordBatch.from_arrays(columns, schema=RECORD_SCHEMA)


def nested_column(batch: pa.RecordBatch, column: str) -> pa.Array:
    """A top-level or nested column; null where one of its objects is."""
    if column in batch.schema.names:
        return batch.column(column)
    name, *path = column.split(".")
    return pa.compute.struct_field(batch.column(name), path)


def with_column(batch: pa.RecordBatch, column: str, value: pa.Array | None) -> pa.RecordBatch:
    """The batch with another array for a top-level or nested column, or (None) without the column."""
    if column in batch.schema.names:
        position = batch.schema.get_field_index(column)
        return batch.remove_column(position) if value is None else batch.set_column(position, column, value)
    name, *path = column.split(".")
    position = batch.schema.get_field_index(name)
    return batch.set_column(position, name, _with_field(batch.column(position), path, value))


def _with_field(array: pa.StructArray, path: list[str], value: pa.Array | None) -> pa.StructArray:
    """A struct whose field at the path is replaced, or left out; what is NULL stays so."""
    fields, arrays = [], []
    for index, field in enumerate(array.type):
        child = array.field(index)
        if field.name == path[0]:
            child = value if len(path) == 1 else _with_field(child, path[1:], value)
        if child is not None:
            fields.append(field.with_type(child.type))
            arrays.append(child)
    # A struct without fields has no length of its own, and no form in JSON here.
    if not fields:
        return pa.nulls(len(array), pa.null())
    return pa.StructArray.from_arrays(arrays, fields=fields, mask=array.is_null())


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
        return pa.RecordBatch.from_arrays(
            [_repaired(column) for column in batch.columns], schema=batch.schema
        )
    return batch


def _repaired(array: pa.Array) -> pa.Array:
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        if not pa.types.is_nested(array.type):
            return decoded(array.cast(pa.large_binary())).cast(array.type)
        raw = array.cast(_as_binary(array.type)).to_pylist()
        return pa.array([_decoded_value(value, array.type) for value in raw], array.type)
    return array


def _as_binary(kind: pa.DataType) -> pa.DataType:
    """The type with binary for its strings: the same bytes, unchecked."""
    types = pa.types
    if types.is_struct(kind):
        return pa.struct([field.with_type(_as_binary(field.type)) for field in kind])
    if types.is_list(kind):
        return pa.list_(_as_binary(kind.value_type))
    if types.is_large_list(kind):
        return pa.large_list(_as_binary(kind.value_type))
    return pa.large_binary() if _is_string(kind) else kind


def _decoded_value(value: Any, kind: pa.DataType) -> Any:
    if value is None:
        return None
    if pa.types.is_struct(kind):
        return {field.name: _decoded_value(value[field.name], field.type) for field in kind}
    if isinstance(value, list):
        return [_decoded_value(item, kind.value_type) for item in value]
    return value.decode("utf-8", "replace") if _is_string(kind) else value


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


def not_utf8(column: pa.Array, ordinals: Ordinals) -> tuple[Fault, ...]:
    """What is told of the values of a column, strings or bytes, that are not UTF-8."""
    values = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    raw = values.cast(pa.large_binary())
    try:
        raw.cast(pa.large_string())
    except pa.ArrowInvalid:
        pairs = zip(ordinals.tolist(), raw.to_pylist(), strict=True)
        return tuple(filter(None, (replaced(ordinal, "Row", value or b"") for ordinal, value in pairs)))
    return ()


def decoded(column: pa.Array) -> pa.Array:
    """Binary values as strings, with U+FFFD for what is not UTF-8."""
    try:
        return column.cast(pa.large_string())
    except pa.ArrowInvalid:
        texts = (None if value is None else value.decode("utf-8", "replace") for value in column.to_pylist())
        return pa.array(texts, pa.large_string())
