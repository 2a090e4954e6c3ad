"""Redaction of the strings in rows that keep their other values and types.

A row is redacted as one JSON object, as `extra` is: names of columns count as words before a value. Only
rows in which something was replaced are touched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic_core import from_json, to_json

from curate.engine.typed import plain_times

Redact = Callable[[pa.LargeStringArray], pa.LargeStringArray]


def redact_dicts(rows: list[dict[str, Any]], redact: Redact) -> list[dict[str, Any]]:
    """Rows of JSON with their strings redacted, names too."""
    for index, new in _changed(rows, redact):
        rows[index] = _merged(rows[index], new, names=True)
    return rows


def redact_batch(batch: pa.RecordBatch, redact: Redact) -> pa.RecordBatch:
    """Columns with their strings redacted, nested ones too; types stay."""
    names = [field.name for field in batch.schema if _has_strings(field.type)]
    if not names:
        return batch
    rows = plain_times(batch.select(names)).to_pylist()
    changed = _changed([{name: _strings_of(row[name]) for name in names} for row in rows], redact)
    if not changed:
        return batch
    places = [index for index, _ in changed]
    for name in names:
        position = batch.schema.get_field_index(name)
        column = batch.column(position)
        values = [_merged(rows[index][name], new[name]) for index, new in changed]
        batch = batch.set_column(position, batch.schema.field(position), _replaced(column, places, values))
    return batch


def _changed(rows: list[dict[str, Any]], redact: Redact) -> list[tuple[int, Any]]:
    """(index, redacted row) of the rows in which something was replaced."""
    before = pa.array([to_json(row, inf_nan_mode="null") for row in rows], pa.large_binary())
    before = before.cast(pa.large_string())
    after = redact(before)
    found = np.flatnonzero(pc.not_equal(before, after).to_numpy(zero_copy_only=False))
    return [(index, from_json(after[index].as_py())) for index in found.tolist()]


def _strings_of(value: Any) -> Any:
    """The value with what is neither string, number nor nest as NULL: its form in JSON is not wanted."""
    if isinstance(value, dict):
        return {name: _strings_of(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strings_of(item) for item in value]
    return value if isinstance(value, str | int | float) else None


def _merged(old: Any, new: Any, *, names: bool = False) -> Any:
    """The old value with the strings of the new one, which has the same form."""
    if isinstance(old, str):
        return new
    if isinstance(old, dict):
        items = zip(old.items(), new.items(), strict=True)
        return {
            (there if names else name): _merged(value, other, names=names)
            for (name, value), (there, other) in items
        }
    if isinstance(old, list | tuple):
        return type(old)(_merged(item, other, names=names) for item, other in zip(old, new, strict=True))
    return old


def _has_strings(kind: pa.DataType) -> bool:
    types = pa.types
    if types.is_dictionary(kind):
        return _has_strings(kind.value_type)
    if types.is_nested(kind):
        return any(_has_strings(kind.field(index).type) for index in range(kind.num_fields))
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _replaced(column: pa.Array, places: list[int], values: list[Any]) -> pa.Array:
    """The column with other values at some places."""
    kind = column.type
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    both = pa.concat_arrays([column.cast(plain), pa.array(values, plain)])
    order = np.arange(len(column))
    order[places] = len(column) + np.arange(len(places))
    taken = both.take(pa.array(order))
    return taken.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else taken
