"""Content: rows addressed by what they were made from. Append-only, shared by all names, never rolled back.

A key stands at most once: before every commit, keys that others committed since the look-up are left out
(a compare-and-swap alone does not see them once the handle has moved on). So a shard that a killed run
left behind is found again by its keys, and that is all the resume there is.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.lake.delta import (
    ConflictError,
    commit,
    create_table,
    file_names,
    local_files,
    open_table,
    read_table,
)
from curate.lake.keyset import KeySet
from curate.lake.parquet import write_parquet

_BATCH_ROWS = 50_000
_LOOKED_AT = 200_000  # rows among which keys are looked up at once: some 20 MB
_SMALL, _MERGED = 16 * 2**20, 128 * 2**20  # bytes: files below are merged, up to this size
MANY = 8  # small files


class Content:
    """One content folder: a table and a fingerprint."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self.folder = folder
        self.schema = schema
        # Several rows share a key where one input gives several rows (records, chunks).
        self.grouped = "ordinal" in schema.names

    def files(self) -> list[str]:
        """Absolute paths of all files that stand."""
        table = read_table(self.folder)
        return [str(file) for file in local_files(table, self.folder)] if table else []

    def scan(self) -> pl.LazyFrame:
        """All rows, lazily."""
        files = self.files()
        if not files:
            return pl.DataFrame(schema=_polars_schema(self.schema)).lazy()
        return pl.scan_parquet(files, glob=False)

    def keys(self) -> pl.Series:
        """The keys that stand, each once."""
        return self.scan().select("key").unique().collect().get_column("key")

    def rows(self) -> int:
        """How many rows stand, as the log counts them: no file is read."""
        table = open_table(self.folder)
        return int(table.count()) if table else 0

    def places(self) -> pl.DataFrame:
        """Where each row lies: key, file, and its row number in the file."""
        files = self.files()
        if not files:
            return pl.DataFrame(schema={"key": pl.String, "file": pl.String, "row": pl.Int64})
        found = pl.scan_parquet(files, glob=False, include_file_paths="file").select("key", "file").collect()
        return found.with_columns(row=pl.int_range(pl.len(), dtype=pl.Int64).over("file"))

    def find(self, keys: pl.Series, columns: Sequence[str], *, places: bool = False) -> pl.DataFrame:
        """The rows of some keys, in the order of files; with `places` also where each lies (file, row).

        What is held is what is found and the keys of some files, however much stands.
        """
        if parts := list(self.find_parts(keys, columns, places=places)):
            return pl.concat(parts)
        return self.none(columns, places=places)

    def none(self, columns: Sequence[str], *, places: bool = False) -> pl.DataFrame:
        """What `find` finds for no keys."""
        shown = [*columns, "file", "row"] if places else list(columns)
        empty = pl.DataFrame(schema=_polars_schema(self.schema))
        return empty.with_columns(file=pl.lit(""), row=pl.lit(0, pl.Int64)).select(shown).clear()

    def find_parts(
        self, keys: pl.Series, columns: Sequence[str], *, places: bool = False
    ) -> Iterator[pl.DataFrame]:
        """What `find` finds, some files at a time."""
        wanted = pl.col("key").is_in(keys.unique().implode())
        # Of few files, for each pass makes a table of the keys; not of all, for what is read for them is held.
        for files in self.groups(_LOOKED_AT):
            if not places:
                yield pl.scan_parquet(files, glob=False).filter(wanted).select(columns).collect()
                continue
            scan = pl.scan_parquet(files, glob=False, include_file_paths="file", row_index_name="row")
            counts = [pq.read_metadata(file).num_rows for file in files]
            first = dict(zip(files, accumulate(counts, initial=0), strict=False))
            row = pl.col("row").cast(pl.Int64) - pl.col("file").replace_strict(first, return_dtype=pl.Int64)
            yield scan.filter(wanted).select(*columns, "file", row).collect()

    def batches(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Columns of all rows, some rows at a time."""
        for file in self.files():
            for batch in pq.ParquetFile(file).iter_batches(batch_size=_BATCH_ROWS, columns=list(columns)):
                yield pl.DataFrame(batch)

    def place_batches(self) -> Iterator[pl.DataFrame]:
        """Where each row lies: `places`, a file at a time; with the file's number in their order."""
        for number, file in enumerate(self.files()):
            keys = pl.read_parquet(file, columns=["key"], glob=False)
            row = pl.int_range(pl.len(), dtype=pl.Int64)
            yield keys.with_columns(file=pl.lit(file), row=row, number=pl.lit(number, pl.UInt32))

    def groups(self, rows: int) -> list[list[str]]:
        """The files that stand, so many together that they hold about `rows` rows."""
        groups: list[list[str]] = []
        held = rows
        for file in self.files():
            if held >= rows:
                groups.append([])
                held = 0
            groups[-1].append(file)
            held += pq.read_metadata(file).num_rows
        return groups

    def append(self) -> Appender:
        """Begin to append: looks up what stands now."""
        return Appender(self)

    def compact(self, least: int = MANY) -> None:
        """Merge small files, if there are so many; gives up without a word when another process commits meanwhile."""
        table = open_table(self.folder)
        if table is None:
            return
        small, total = [], 0
        for path in local_files(table, self.folder):
            size = path.stat().st_size
            if size > _SMALL:
                continue
            if total + size > _MERGED:
                break
            small.append(path.name)
            total += size
        if len(small) < least:
            return
        merged = new_file(self.folder)
        batches = (
            batch
            for name in small
            for batch in pq.ParquetFile(self.folder / name).iter_batches(batch_size=1000)
        )
        write_parquet(batches, self.schema, merged)
        try:
            commit(table, self.folder, {merged.name}, set(small), data_change=False)
        except ConflictError:
            merged.unlink()


class Appender:
    """Commits finished files of one run, each key once."""

    def __init__(self, content: Content) -> None:
        self.content = content
        self.table = create_table(content.folder, content.schema)
        self.seen = file_names(self.table)
        self.bytes = 0
        self._stand = KeySet()  # all keys that stand by now
        local_files(self.table, content.folder)
        for name in sorted(self.seen):
            self._stand.add(self._keys(content.folder / name).unique())

    def has(self, keys: pl.Series) -> pl.Series:
        """Whether each key stands."""
        return pl.Series(self._stand.has(keys), dtype=pl.Boolean)

    def add(self, file: Path) -> int:
        """Commit a file that lies in the content folder; returns the rows that were new."""
        while True:
            self._see_others()
            keys = self._leave_out_known(file)
            if keys.is_empty():
                file.unlink(missing_ok=True)
                return 0
            try:
                commit(self.table, self.content.folder, {file.name}, set())
            except ConflictError:
                self.table.update_incremental()
                time.sleep(0.005)
                continue
            self.seen.add(file.name)
            self._stand.add(keys.unique())
            self.bytes += file.stat().st_size
            return len(keys)

    def _see_others(self) -> None:
        """Keys in files that others committed since the look-up."""
        others = file_names(self.table) - self.seen
        if others:
            local_files(self.table, self.content.folder)
        for name in others:
            self.seen.add(name)
            self._stand.add(self._keys(self.content.folder / name).unique())

    def _keys(self, file: Path) -> pl.Series:
        return pl.read_parquet(file, columns=["key"], glob=False).get_column("key")

    def _leave_out_known(self, file: Path) -> pl.Series:
        """Write the file without rows whose key stands; returns the keys that are left."""
        keys = self._keys(file)
        fresh = pl.Series(~self._stand.has(keys))
        if not self.content.grouped:
            fresh &= keys.is_first_distinct()
        if fresh.any() and not fresh.all():
            _filter_file(file, fresh.to_arrow(), self.content.schema)
        return keys.filter(fresh)


def _filter_file(file: Path, mask: pa.Array, schema: pa.Schema) -> None:
    def kept() -> Iterator[pa.RecordBatch]:
        start = 0
        for batch in pq.ParquetFile(file).iter_batches(batch_size=1000):
            yield batch.filter(pc.fill_null(mask.slice(start, len(batch)), False))
            start += len(batch)

    write_parquet(kept(), schema, file)


def new_file(folder: Path) -> Path:
    """A name in the folder that nobody has; later ones come later in order, so what was read together lies together."""
    return folder / f"{time.time_ns():016x}{uuid.uuid4().hex[:16]}.parquet"


def _polars_schema(schema: pa.Schema) -> pl.Schema:
    # Not empty_table(), nor pa.array(): with pandas installed they import it, which takes half a second.
    arrays = [pa.nulls(0, field.type) for field in schema]
    return pl.DataFrame(pa.Table.from_arrays(arrays, schema=schema)).schema
