"""Writes rows to a file in the format that its name tells; the file appears whole or not at all."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import UsageError

SUFFIXES = (".parquet", ".jsonl", ".jsonl.gz", ".jsonl.zst", ".csv")


def check_output(out: Path) -> Path:
    """The path, if its name tells a known format and its folder can be made.

    Raises:
        UsageError: unknown suffix.
    """
    out = out.expanduser().absolute()
    if not any(out.name.endswith(suffix) for suffix in SUFFIXES):
        raise UsageError(f"{out.name} tells no format.", hint="-o NAME ending in " + ", ".join(SUFFIXES))
    out.parent.mkdir(parents=True, exist_ok=True)
    return out


def write_rows(out: Path, batches: Iterator[pl.DataFrame]) -> int:
    """Write batches of equal schema; returns the number of rows. No batch makes an empty file."""
    temporary = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        rows = (
            _write_parquet(temporary, batches)
            if out.suffix == ".parquet"
            else _write_text(temporary, out.name, batches)
        )
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)
    return rows


def _write_parquet(path: Path, batches: Iterator[pl.DataFrame]) -> int:
    first = next(batches, pl.DataFrame({"id": [], "text": []}, schema={"id": pl.String, "text": pl.String}))
    table = first.to_arrow()
    rows = 0
    with pq.ParquetWriter(path, _readable(table.schema), compression="zstd", compression_level=3) as writer:
        while True:
            writer.write_table(table.cast(_readable(table.schema)))
            rows += len(table)
            batch = next(batches, None)
            if batch is None:
                return rows
            table = batch.to_arrow()


def _readable(schema: pa.Schema) -> pa.Schema:
    """String views as large strings, which every reader knows."""
    plain = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}
    return pa.schema([field.with_type(plain.get(field.type, field.type)) for field in schema])


def _write_text(path: Path, name: str, batches: Iterator[pl.DataFrame]) -> int:
    compression = {"gz": "gzip", "zst": "zstd"}.get(name.rsplit(".", 1)[-1])
    rows = 0
    with pa.output_stream(str(path), compression=compression) as file:
        for number, batch in enumerate(batches):
            if name.endswith(".csv"):
                file.write(_flat(batch).write_csv(include_header=number == 0).encode())
            else:
                file.write(batch.write_ndjson().encode())
            rows += len(batch)
    return rows


def _flat(batch: pl.DataFrame) -> pl.DataFrame:
    """CSV knows no lists or structs: they become JSON."""
    nested = [name for name, kind in batch.schema.items() if kind.is_nested()]
    as_json = [pl.col(name).map_elements(_json, return_dtype=pl.String) for name in nested]
    return batch.with_columns(as_json)


def _json(value: object) -> str:
    return pl.DataFrame({"x": [value]}).write_ndjson().strip().removeprefix('{"x":').removesuffix("}")
