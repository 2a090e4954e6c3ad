"""One schema for rows of several forms: of files with different columns, and of JSON, which has no types."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from pydantic_core import to_json

from curate.sources.rows import Rows

_MIXED = None  # the type of a column whose values have no common one: they are written as JSON
_IS_MIXED = b"mixed"
# Parquet is written from these, and not every reader knows views.
_VIEWS = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}


class Types:
    """Columns and their types, in the order in which they were seen."""

    def __init__(self) -> None:
        self._types: dict[str, pa.DataType | None] = {}
        self._metadata: dict[bytes, bytes] = {}

    def see_schema(self, schema: pa.Schema) -> None:
        """Columns of a file that has types."""
        if not self._types:
            # What pandas wrote counts rows that are not all here any more.
            metadata = schema.metadata or {}
            self._metadata = {key: value for key, value in metadata.items() if key != b"pandas"}
        for field in schema:
            self._see(field.name, field.type)

    def see_rows(self, rows: list[dict[str, Any]]) -> None:
        """Columns of JSON rows."""
        for name in dict.fromkeys(name for row in rows for name in row):
            self._see(name, _type_of([row.get(name) for row in rows]))

    def see(self, other: Types) -> None:
        """Columns that others saw."""
        if not self._types:
            self._metadata = other._metadata
        for name, kind in other._types.items():
            self._see(name, kind)

    def to_bytes(self) -> bytes:
        """For another process."""
        fields = [
            pa.field(name, pa.null() if kind is _MIXED else kind, metadata={_IS_MIXED: str(kind is _MIXED)})
            for name, kind in self._types.items()
        ]
        return bytes(pa.schema(fields, self._metadata or None).serialize())

    @classmethod
    def of_bytes(cls, data: bytes) -> Types:
        """What `to_bytes` gave."""
        types, schema = cls(), pa.ipc.read_schema(pa.py_buffer(data))
        types._metadata = dict(schema.metadata or {})
        for field in schema:
            types._types[field.name] = _MIXED if field.metadata[_IS_MIXED] == b"True" else field.type
        return types

    def _see(self, name: str, kind: pa.DataType | None) -> None:
        known = self._types.get(name, kind)
        self._types[name] = known if known == kind else _common(known, kind)

    @property
    def schema(self) -> pa.Schema:
        """Types as they can be written: a column of NULLs, or of values without a common type, is of strings."""
        fields = []
        for name, kind in self._types.items():
            plain = kind is _MIXED or pa.types.is_null(kind) or not _writable(kind)
            fields.append(pa.field(name, pa.large_string() if plain else _VIEWS.get(kind, kind)))
        return pa.schema(fields, self._metadata or None)

    def batch(self, rows: Rows) -> pa.RecordBatch:
        """Rows with all columns of the schema."""
        schema = self.schema
        if isinstance(rows, pa.RecordBatch):
            if rows.schema.equals(schema):
                return rows.replace_schema_metadata(schema.metadata)
            arrays = [self._column(rows, field) for field in schema]
        else:
            arrays = [self._array([row.get(field.name) for row in rows], field) for field in schema]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    def _column(self, rows: pa.RecordBatch, field: pa.Field) -> pa.Array:
        if field.name not in rows.schema.names:
            return pa.nulls(len(rows), field.type)
        column = rows.column(field.name)
        if self._as_json(field.name):
            return self._array(column.to_pylist(), field)
        return column if column.type == field.type else column.cast(field.type)

    def _array(self, values: list[Any], field: pa.Field) -> pa.Array:
        if self._as_json(field.name):
            return pa.array([None if value is None else json_of(value) for value in values], field.type)
        return pa.array(values, field.type)

    def _as_json(self, name: str) -> bool:
        kind = self._types[name]
        return kind is _MIXED or not _writable(kind)


def json_of(value: Any) -> str:
    """A value as JSON: binary as base64, what is no number as null."""
    return to_json(value, inf_nan_mode="null", bytes_mode="base64").decode()


def _type_of(values: list[Any]) -> pa.DataType | None:
    try:
        return pa.array(values).type
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return _MIXED


def _common(one: pa.DataType | None, other: pa.DataType | None) -> pa.DataType | None:
    if one is _MIXED or other is _MIXED:
        return _MIXED
    schemas = [pa.schema([("x", kind)]) for kind in (one, other)]
    try:
        return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return _merged(one, other)


def _merged(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """The common type of two structs or lists, part by part."""
    types = pa.types
    if types.is_struct(one) and types.is_struct(other):
        fields = {field.name: field.type for field in one}
        for field in other:
            known = fields.get(field.name, field.type)
            fields[field.name] = _common(known, field.type)
        return _MIXED if None in fields.values() else pa.struct(list(fields.items()))
    if types.is_list(one) and types.is_list(other):
        kind = _common(one.value_type, other.value_type)
        return _MIXED if kind is None else pa.list_(kind)
    return _MIXED


def _writable(kind: pa.DataType) -> bool:
    """Whether Parquet can hold a type: it knows no struct without fields."""
    if pa.types.is_dictionary(kind):
        return True
    if pa.types.is_nested(kind):
        parts = [kind.field(index).type for index in range(kind.num_fields)]
        return bool(parts) and all(map(_writable, parts))
    return True


def plain_times(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with times to the microsecond, which is as fine as Python's."""
    kinds = [_without_nanoseconds(field.type) for field in batch.schema]
    arrays = [
        column if column.type == kind else column.cast(kind, safe=False)
        for column, kind in zip(batch.columns, kinds, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, batch.schema.names)


def _without_nanoseconds(kind: pa.DataType) -> pa.DataType:
    types = pa.types
    if types.is_struct(kind):
        return pa.struct([field.with_type(_without_nanoseconds(field.type)) for field in kind])
    if types.is_list(kind):
        return pa.list_(_without_nanoseconds(kind.value_type))
    if types.is_large_list(kind):
        return pa.large_list(_without_nanoseconds(kind.value_type))
    if types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz) if kind.unit == "ns" else kind
    if types.is_duration(kind):
        return pa.duration("us") if kind.unit == "ns" else kind
    return pa.time64("us") if types.is_time64(kind) else kind
