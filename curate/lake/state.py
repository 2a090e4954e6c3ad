"""State: what stands for one name. A version is a set of files; a commit is the difference to the head.

So nothing is ever restored: what a dead run added is removed, and what it removed is added again, in the
same commit that brings the new files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa

from curate.lake.content import _polars_schema, new_file
from curate.lake.delta import ConflictError, commit, create_table, file_names, local_files, open_table, widen
from curate.lake.parquet import ROW_GROUP_ROWS, write_parquet


class State:
    """One state table, such as NAME/verdicts/filtered."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self.folder = folder
        self.schema = schema

    def files(self, pin: int | None) -> set[str]:
        """Names of the files at a pinned version; none where nothing was published yet."""
        table = open_table(self.folder, pin) if pin is not None else None
        return {file.name for file in local_files(table, self.folder)} if table is not None else set()

    def scan(self, pin: int | None) -> pl.LazyFrame:
        """The rows at a pinned version, with the columns that the table had then."""
        table = open_table(self.folder, pin) if pin is not None else None
        files = local_files(table, self.folder) if table is not None else []
        if table is None or not files:
            return pl.DataFrame(schema=_polars_schema(self.schema)).lazy()
        schema = _polars_schema(pa.schema(table.schema().to_arrow()))
        return pl.scan_parquet(files, glob=False, missing_columns="insert", schema=schema)

    def write(self, rows: pa.Table | Iterable[pa.RecordBatch]) -> str:
        """Write rows to a new file, not yet part of any version; returns its name."""
        file = new_file(self.folder)
        write_parquet(rows, self.schema, file)
        return file.name

    def replace(self, files: set[str], pin: int | None) -> int:
        """Make the table hold exactly these files; returns the version that does.

        An unchanged set keeps its pin and commits nothing.
        """
        if pin is not None and files == self.files(pin):
            return pin
        table = create_table(self.folder, self.schema)
        widen(table, self.schema)
        while True:
            head = file_names(table)
            if head == files:
                return int(table.version())
            try:
                return commit(table, self.folder, files - head, head - files)
            except ConflictError:
                table.update_incremental()

    def replace_rows(self, rows: pl.DataFrame, pin: int | None, key: str) -> tuple[int, int]:
        """Make the table hold exactly these rows; returns the version and the bytes written."""
        rows = rows.sort(key)
        if pin is not None and rows.equals(self.scan(pin).collect().select(rows.columns).sort(key)):
            return pin, 0
        name = self.write(self._batches(rows))
        return self.replace({name}, pin), (self.folder / name).stat().st_size

    def _batches(self, rows: pl.DataFrame) -> Iterator[pa.RecordBatch]:
        for part in rows.iter_slices(ROW_GROUP_ROWS):
            yield from part.to_arrow().select(self.schema.names).cast(self.schema).to_batches()
