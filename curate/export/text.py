"""The kind `text`: a row is a document with its metadata, as Parquet and JSON lines."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from curate.engine.session import Session
from curate.export.rows import own_columns
from curate.export.written import Written, counts
from curate.lake.parquet import write_parquet
from curate.lake.runs import Head
from schemas.export import TextExport

COLUMNS = ("text", "title", "url", "date")
_ORDER = ("id", "text", "title", "url", "date", "language", "source", "license")
_TYPES = {
    pl.String: pa.large_string(),
    pl.Int32: pa.int32(),
    pl.Int64: pa.int64(),
    pl.Float64: pa.float64(),
    pl.Boolean: pa.bool_(),
}
_OF_DUPLICATES = {"stands_for": pl.Int32(), "weight": pl.Float64()}
_EMPTY = {pl.String: "", pl.Int32: 0, pl.Int64: 0, pl.Float64: 0.0, pl.Boolean: False}


def prepare(session: Session, head: Head, options: TextExport) -> dict[str, Any]:
    """What the corpus knows of duplicates, if it was made since it does, and the user's own columns, with their types."""
    stored = own_columns(session, head)
    known = {**_OF_DUPLICATES, **session.plan.keep}
    own = {name: type(kind).__name__ for name, kind in known.items() if name in stored}
    return {"columns": list(own), "types": list(own.values())}


def write(rows: pa.Table, options: TextExport, out: Path, context: dict[str, Any]) -> Written:
    """Write a shard in each format that is asked for."""
    table = _table(rows, context)
    if "parquet" in options.formats:
        write_parquet(table, table.schema, Path(f"{out}.parquet"))
    if "jsonl" in options.formats:
        write_jsonl(table, Path(f"{out}.jsonl"))
    return Written(
        rows=len(table),
        taken=len(table),
        tokens=int(rows.column("tokens").to_numpy().sum()),
        languages=counts(rows.column("language")),
        sources=counts(rows.column("source")),
    )


def _table(rows: pa.Table, context: dict[str, Any]) -> pa.Table:
    """The columns of an exported document; no value is missing."""
    columns = {name: rows.column(name).cast(pa.large_string()).fill_null("") for name in _ORDER}
    for name, kind in zip(context["columns"], context["types"], strict=True):
        dtype = getattr(pl, kind)
        columns[name] = rows.column(f"own.{name}").cast(_TYPES[dtype]).fill_null(_EMPTY[dtype])
    return pa.table(columns)


def write_jsonl(table: pa.Table, path: Path) -> None:
    """Write a table as JSON lines."""
    with path.open("wb") as file:
        for batch in table.to_batches(max_chunksize=5_000):
            lines = io.BytesIO()
            pl.DataFrame(batch).write_ndjson(lines)
            file.write(lines.getbuffer())  # not by Polars: its errors do not tell a full disk
