"""The rows of a file as they are in it, all columns in their types: what records are made from.

For those who write documents back in the shape of their input: the reader's ordinals find them again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import pyarrow as pa

from curate.sources import delimited, jsonl, tabular
from curate.sources.record import Columns, Ordinals, Slice

KINDS = ("jsonl", "json", "parquet", "csv")  # those that have columns of their own
Rows: TypeAlias = list[dict[str, Any]] | pa.RecordBatch


def rows_at(piece: Slice, wanted: Ordinals, text: str) -> Iterator[tuple[Ordinals, Rows]]:
    """(ordinals, rows) of a whole file at the wanted ordinals (ascending), a bounded batch at a time.

    `text` is the column of the text, where a long one of JSON lines is a `LongText`.
    JSON gives dicts, Parquet and CSV record batches. A row that no reader can read is left out.
    """
    if piece.kind == "jsonl":
        yield from jsonl.rows(piece, wanted, text)
    elif piece.kind == "json":
        yield from jsonl.json_rows(piece, wanted)
    elif piece.kind == "parquet":
        yield from tabular.parquet_rows(piece, wanted)
    else:
        yield from delimited.csv_rows(piece, wanted)


def form_of(piece: Slice, columns: Columns) -> tuple[pa.Schema | None, str]:
    """Schema of a file (None for JSON, whose rows each have their own) and the column of the text."""
    if piece.kind in ("jsonl", "json"):
        roles = (jsonl.roles_of if piece.kind == "jsonl" else jsonl.json_roles)(piece, columns)
        return None, roles["text"]
    form = tabular.parquet_form if piece.kind == "parquet" else delimited.csv_form
    schema, roles = form(piece, columns)
    return schema, roles["text"]
