"""How every Parquet file of ours is written: zstd, small row groups, statistics on keys only."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

# Levels of zstd: on 30 MB of web texts 1 takes half the time of 3, for files a sixth larger.
SMALL, QUICK = 3, 1
ROW_GROUP_ROWS = 5_000
ROW_GROUP_BYTES = 64 * 2**20
_KEYS = ("key", "id", "page", "seq")  # hashes and numbers; no statistics hold a text or a URL


def write_parquet(
    rows: pa.Table | Iterable[pa.RecordBatch], schema: pa.Schema, path: Path, level: int = SMALL
) -> int:
    """Write rows to `path`, which appears whole or not at all; returns the number of rows.

    Row groups end at 5,000 rows or 64 MB, so that one can be read again within bounded memory.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with pq.ParquetWriter(
            temporary,
            schema,
            compression="zstd",
            compression_level=level,
            store_schema=False,
            write_page_checksum=True,  # so that `verify` sees a flipped bit
            write_statistics=[name for name in schema.names if name in _KEYS],
        ) as writer:
            groups = _row_groups(rows.to_batches() if isinstance(rows, pa.Table) else rows, schema)
            count = _write_groups(writer, groups)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return count


def _write_groups(writer: pq.ParquetWriter, groups: Iterable[pa.Table]) -> int:
    """Write each row group while the next is made; returns the number of rows."""
    count, written = 0, None
    with ThreadPoolExecutor(1) as thread:
        for group in groups:
            if written is not None:
                written.result()
            written = thread.submit(writer.write_table, group)
            count += len(group)
        if written is not None:
            written.result()
    return count


def _row_groups(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterable[pa.Table]:
    waiting: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        for start in range(0, len(batch), ROW_GROUP_ROWS):
            part = batch.slice(start, ROW_GROUP_ROWS)
            if waiting and (rows + len(part) > ROW_GROUP_ROWS or size + part.nbytes > ROW_GROUP_BYTES):
                yield pa.Table.from_batches(waiting).cast(schema)
                waiting, rows, size = [], 0, 0
            waiting.append(part)
            rows += len(part)
            size += part.nbytes
    if waiting:
        yield pa.Table.from_batches(waiting).cast(schema)
