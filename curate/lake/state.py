"""State: what stands for one name. A version is a set of files; a commit is the difference to the head.

So nothing is ever restored: what a dead run added is removed, and what it removed is added again, in the
same commit that brings the new files.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa

from curate.lake.content import _polars_schema, new_file
from curate.lake.delta import ConflictError, commit, create_table, file_names, local_files, read_table, widen
from curate.lake.parquet import ROW_GROUP_ROWS, write_parquet

PART_ROWS = 50_000  # that are held at once where rows come in parts


class State:
    """One state table, such as NAME/verdicts/filtered."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self.folder = folder
        self.schema = schema

    def files(self, pin: int | None) -> set[str]:
        """Names of the files at a pinned version; none where nothing was published yet."""
        table = read_table(self.folder, pin) if pin is not None else None
        return {file.name for file in local_files(table, self.folder)} if table is not None else set()

    def scan(self, pin: int | None) -> pl.LazyFrame:
        """The rows at a pinned version, with the columns that the table had then."""
        table = read_table(self.folder, pin) if pin is not None else None
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
        order = rows.select(pl.arg_sort_by(key)).to_series()
        return self.replace_parts((rows[part] for part in _cut(order)), pin)

    def replace_parts(self, parts: Iterable[pl.DataFrame], pin: int | None) -> tuple[int, int]:
        """`replace_rows` with rows that come in parts, one after the other in order of their key."""
        changed = self._changed(parts, pin)
        first = next(changed, None)
        if pin is not None and first is None:
            return pin, 0
        name = self.write(self._batches(itertools.chain([] if first is None else [first], changed)))
        return self.replace({name}, pin), (self.folder / name).stat().st_size

    def _changed(self, parts: Iterable[pl.DataFrame], pin: int | None) -> Iterator[pl.DataFrame]:
        """All parts; none of them if they are what stands."""
        stood = self.scan(pin)
        count = stood.select(pl.len()).collect().item() if pin is not None else 0
        same, done = pin is not None, 0
        for part in parts:
            same_before = same
            same = same and part.equals(stood.slice(done, len(part)).select(part.columns).collect())
            if same_before and not same:
                yield from _slices(stood, done, part.columns)
            if not same:
                yield part
            done += len(part)
        if same and done < count:
            # Something is yielded if nothing is left, too.
            yield stood.head(0).select(self.schema.names).collect()
            yield from _slices(stood, done, self.schema.names)

    def _batches(self, parts: Iterable[pl.DataFrame]) -> Iterator[pa.RecordBatch]:
        for part in parts:
            for rows in part.iter_slices(ROW_GROUP_ROWS):
                yield from rows.to_arrow().select(self.schema.names).cast(self.schema).to_batches()


def _slices(rows: pl.LazyFrame, stop: int, columns: list[str]) -> Iterator[pl.DataFrame]:
    """The first rows, some at a time."""
    for start in range(0, stop, PART_ROWS):
        yield rows.slice(start, min(PART_ROWS, stop - start)).select(columns).collect()


def _cut(order: pl.Series) -> Iterator[pl.Series]:
    for start in range(0, len(order), PART_ROWS):
        yield order.slice(start, PART_ROWS)
