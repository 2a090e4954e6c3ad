"""Rows to Parquet shards that appear whole or not at all."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.tables import TABLES

MAX_ROWS = 500
MAX_BYTES = 64 * 1024 * 1024
MAX_SECONDS = 10.0


class ShardWriter:
    """Collects rows of `pages` and `fetches` and writes both files of a shard when it is due.

    `finished` is told the paths and row counts of each shard. A body is written once per crawl, and not
    at all if `known_pages` holds its key.
    """

    def __init__(self, folder: str, known_pages: set[str], finished: Callable[..., None]) -> None:
        self.folder = Path(folder)
        self.finished = finished
        self._written = known_pages
        self._process = secrets.token_hex(4)  # shards of a resumed crawl must not meet those before
        self._number = 0
        self._clear()

    def _clear(self) -> None:
        self._pages: list[dict[str, Any]] = []
        self._fetches: list[dict[str, Any]] = []
        self._bytes = 0
        self._since = time.monotonic()

    def add(self, fetch: dict[str, Any], page: dict[str, Any] | None = None) -> None:
        """One answer, and the page it brought."""
        if not self._fetches:
            self._since = time.monotonic()
        self._fetches.append(fetch)
        if page is not None and page["key"] not in self._written:
            self._written.add(page["key"])
            self._pages.append(page)
            self._bytes += len(page["body"])
        if len(self._fetches) >= MAX_ROWS or self._bytes >= MAX_BYTES:
            self.flush()

    def flush_if_old(self) -> None:
        """Write the shard if its first row waits too long."""
        if self._fetches and time.monotonic() - self._since >= MAX_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what was collected, if anything."""
        if not self._fetches:
            return
        stem = f"{self._process}-{self._number:06d}"
        pages = self._write(f"{stem}-pages.parquet", "pages", self._pages) if self._pages else ""
        fetches = self._write(f"{stem}-fetches.parquet", "fetches", self._fetches)
        self.finished(
            pages=pages, fetches=fetches, pages_rows=len(self._pages), fetches_rows=len(self._fetches)
        )
        self._number += 1
        self._clear()

    def _write(self, name: str, table: str, rows: list[dict[str, Any]]) -> str:
        path, temporary = self.folder / name, self.folder / f".{name}.tmp"
        # No statistics: they would hold URLs. No dictionary of bodies: each stands once.
        pq.write_table(
            pa.Table.from_pylist(rows, schema=TABLES[table].schema),
            temporary,
            compression="zstd",
            compression_level=3,
            write_statistics=False,
            use_dictionary=[name for name in TABLES[table].schema.names if name not in ("key", "body")],
        )
        temporary.replace(path)
        return str(path)
