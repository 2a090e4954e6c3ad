"""`runs`: one row per table made. A row is committed last, by compare-and-swap, and pins everything.

Each row is a file named by its number, so the newest row is one small read. Readers open all tables
through it, and so nobody sees half of a run.
"""

from __future__ import annotations

import json
import platform
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate.lake.delta import ConflictError, commit, create_table, file_names, local_files, read_table
from curate.lake.disk import disk_errors
from curate.lake.mirror import mirror_of
from curate.lake.parquet import write_parquet
from schemas.errors import LakeError, MovedError, UsageError
from schemas.tables import FORMAT, TABLES

_LIBRARIES = (
    "polars",
    "pyarrow",
    "deltalake",
    "numpy",
    "numba",
    "trafilatura",
    "scrapy",
    "faiss-cpu",
    "faiss-gpu",
    "torch",
    "sentence-transformers",
)


@dataclass(frozen=True)
class Head:
    """What stands: the newest row of `runs`, or nothing yet (seq 0)."""

    seq: int = 0
    run: str = ""
    at: datetime | None = None
    name: str = ""
    kind: str = ""
    table: str = ""
    pins: dict[str, int] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    live: dict[str, str] = field(default_factory=dict)
    recipe: str = ""
    environment: str = ""
    report: str = ""
    message: str = ""
    format: int = FORMAT

    def corpus_version(self, name: str) -> str:
        """What an index calls the corpus that it was made of: the digest of its rows; "" if there is none."""
        return self.digests.get(f"{name}/corpus_rows", "")


class Runs:
    """The log of a lake."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.schema = TABLES["runs"].schema

    def head(self) -> Head:
        """The newest row."""
        table = read_table(self.folder)
        names = file_names(table) if table else set()
        return self._read(max(names)) if names else Head()

    def at(self, seq: int) -> Head:
        """One row by its number.

        Raises:
            UsageError: there is no such row.
        """
        table = read_table(self.folder)
        for name in file_names(table) if table else set():
            if int(name.split("-")[0]) == seq:
                return self._read(name)
        raise UsageError(f"The lake has no version {seq}.", hint="curate log shows the versions.")

    def standing(self, head: Head, name: str, tables: Iterable[str]) -> dict[str, Head]:
        """Table → the row that made it as it stands in `head`; nothing for tables that do not stand there."""
        wanted = {table for table in tables if f"{name}/{table}" in head.digests}
        found: dict[str, Head] = {}
        log = read_table(self.folder) if wanted else None
        for file in sorted(file_names(log) if log else (), reverse=True):
            row = self._read(file)
            if row.name == name and row.table in wanted - found.keys() and _made(row, head):
                found[row.table] = row
            if len(found) == len(wanted):
                break
        return found

    def log(self) -> pl.DataFrame:
        """All rows, oldest first; maps as JSON strings."""
        table = read_table(self.folder)
        names = [file.name for file in local_files(table, self.folder)] if table else []
        rows = [vars(self._read(name)) for name in names]
        flat = [
            {key: json.dumps(value) if isinstance(value, dict) else value for key, value in row.items()}
            for row in rows
        ]
        return pl.DataFrame(flat, infer_schema_length=None)

    def publish(self, base: Head, row: Head, made: Iterable[str], reads: Iterable[str]) -> Head:
        """Append a row on top of the head, with the pins and fingerprints of `made` taken from `row`.

        `made` and `reads` are keys of `pins` and `fingerprints` (NAME/TABLE). What others published about
        other tables since `base` is carried over.

        Raises:
            MovedError: somebody else published something that this row made or read.
        """
        made = list(made)
        watched = {*made, *reads}
        folder_table = create_table(self.folder, self.schema)
        while True:
            head = self.head()
            for key in watched:
                if head.pins.get(key) != base.pins.get(key) or head.fingerprints.get(
                    key
                ) != base.fingerprints.get(key):
                    raise MovedError(
                        f"Another run changed {key} meanwhile.",
                        hint="Run the same command again: finished work is kept.",
                    )
            merged = replace(
                row,
                seq=head.seq + 1,
                at=datetime.now(UTC),
                pins=_over(head.pins, row.pins, made),
                fingerprints=_over(head.fingerprints, row.fingerprints, made),
                digests=_over(head.digests, row.digests, made),
                live={**head.live, **row.live},
                environment=environment(),
                format=FORMAT,
            )
            file = self._write(merged)
            folder_table.update_incremental()
            # The head was read before: only a table that still ends there may be written to.
            newest = max(file_names(folder_table), default="0")
            if int(newest.split("-")[0]) != head.seq:
                file.unlink()
                continue
            try:
                commit(folder_table, self.folder, {file.name}, set())
            except ConflictError:
                file.unlink()
                time.sleep(0.005)
                continue
            return merged

    def _read(self, name: str) -> Head:
        mirror = mirror_of(self.folder)
        if mirror is not None:
            mirror.fetch([self.folder / name])
        with disk_errors(self.folder.parent):
            # Not by Arrow's to_pylist(), which imports pandas where it is installed: half a second.
            row = pl.DataFrame(pq.ParquetFile(self.folder / name).read()).row(0, named=True)
        if row["format"] > FORMAT:
            raise LakeError(
                f"The lake has format {row['format']}; this curate reads up to {FORMAT}.",
                hint="pip install --upgrade curate",
            )
        maps = {key: dict(row[key] or {}) for key in ("pins", "fingerprints", "digests", "live")}
        return Head(**{**row, **maps})

    def _write(self, row: Head) -> Path:
        values = {
            **vars(row),
            **{key: list(getattr(row, key).items()) for key in ("pins", "fingerprints", "digests", "live")},
        }
        file = self.folder / f"{row.seq:09d}-{uuid.uuid4().hex[:8]}.parquet"
        write_parquet(pa.Table.from_pylist([values], schema=self.schema), self.schema, file)
        return file


def _made(row: Head, head: Head) -> bool:
    """Whether the table of a row stands in `head` as that row made it."""
    own = (f"{row.name}/{row.table}", f"{row.name}/verdicts/{row.table}")
    return all(
        then.get(key) == now.get(key)
        for then, now in (
            (row.pins, head.pins),
            (row.fingerprints, head.fingerprints),
            (row.digests, head.digests),
        )
        for key in own
    )


def _over(head: dict[str, Any], row: dict[str, Any], made: Iterable[str]) -> dict[str, Any]:
    return {**head, **{key: row[key] for key in made if key in row}}


@cache
def environment() -> str:
    """Versions of Python and of the libraries that results may depend on, as JSON."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return json.dumps(found, sort_keys=True)
