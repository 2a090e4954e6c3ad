"""Reads pages that were never read: records and documents, committed as they come.

A page is read in slices; a slice's documents are committed before its records, so a slice with records
has all its documents.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from curate.engine.ask import refuse
from curate.engine.plan import PlannedTable
from curate.engine.session import Session
from curate.engine.workers import raise_if_stopped
from curate.lake.content import Content, new_file
from curate.lake.digest import digest, digest_column, digest_rows
from curate.lake.parquet import write_parquet
from curate.sources.readers import ExtractOptions, Fault, Read
from curate.sources.record import NO_RECORDS, REPLACED
from schemas.report import TableReport
from schemas.source import Source
from schemas.tables import TABLES

_DOCUMENTS, _RECORDS = TABLES["documents"].schema, TABLES["records"].schema
_FLUSH_PAGES, _FLUSH_SECONDS = 500, 10.0
# Of a page: may go better next time, so it is not recorded.
EMPTY = "empty"  # the reason of a slice that holds nothing
_AGAIN = ("error:timeout", "error:memory", "error:extract")


def extract_options(table: PlannedTable) -> ExtractOptions:
    """Options of the step `extract`, or their defaults."""
    given = table.steps[0].options if table.steps else None
    return given if isinstance(given, ExtractOptions) else ExtractOptions.model_validate({})


class Reader:
    """Where one run's documents and records go."""

    def __init__(self, session: Session, table: PlannedTable, fingerprint: str, report: TableReport) -> None:
        self.session, self.report = session, report
        self.options = extract_options(table)
        self.documents = session.lake.content("documents", fingerprint)
        self.records = session.lake.content("records", fingerprint)
        self.into_documents, self.into_records = self.documents.append(), self.records.append()
        self.parts = 0  # to be read: pages, and the slices of large files
        self.faults: list[dict[str, Any]] = []  # of this run only: page, ordinal, reason, message

    def missing(self, pages: pl.DataFrame) -> pl.DataFrame:
        """Pages of which not every slice has been read."""
        done = (
            self.records.scan()
            .group_by("page")
            .agg(pl.col("key").n_unique().alias("have"), pl.col("slices").first())
        )
        complete = done.filter(pl.col("have") >= pl.col("slices")).select("page").collect()
        return pages.join(complete, on="page", how="anti")

    def refuse(self, place: str, faults: Iterable[Fault | dict[str, Any]]) -> None:
        """End a strict run at the first of the faults that is an error, or bytes that are not UTF-8.

        Raises:
            SourceError: the run is strict.
        """
        for fault in faults:
            told = fault if isinstance(fault, dict) else vars(fault)
            if told["reason"].startswith(("error:", REPLACED)):
                refuse(self.session, f"{place}: {told['reason']}: {told['message']}")

    def fault(self, page: str, message: str) -> None:
        """A page that could not be read; the next run tries it again."""
        if not any(fault["page"] == page for fault in self.faults):
            self.faults.append({"page": page, "ordinal": 0, "reason": "error:read", "message": message})

    def commit(self, documents: Path | None, records: Path | None) -> None:
        """Commit the two files of one shard, documents first."""
        for file, appender in ((documents, self.into_documents), (records, self.into_records)):
            if file is not None:
                rows = appender.add(file)
                if appender is self.into_documents:
                    self.report.measured += rows

    def finish(self) -> None:
        """Merge small files; count bytes."""
        self.documents.compact(self.session.many_files)
        self.records.compact(self.session.many_files)
        self.report.bytes_written += self.into_documents.bytes + self.into_records.bytes


def first(read: Read, count: int) -> Read:
    """The first records, and all faults."""
    return replace(read, records=read.records.slice(0, count))


def document_rows(records: pa.RecordBatch) -> pa.Table:
    """Rows of `documents`, and the ordinal: the key is the hash of all that the reader found."""
    table = pa.Table.from_batches([records])
    digests = digest_column(table.column("text"))
    frame = pl.DataFrame(table.drop(["text", "ordinal"]))
    key = digest_rows([pl.Series(digests), *frame.get_columns()])
    chars = pc.utf8_length(table.column("text")).cast(pa.int32())
    named = {name: table.column(name) for name in _DOCUMENTS.names if name in table.column_names}
    return pa.table(
        {
            **named,
            "key": key.to_arrow(),
            "digest": digests,
            "chars": chars,
            "ordinal": table.column("ordinal"),
        }
    )


def record_rows(
    page: str, number: int, slices: int, documents: pa.Table, read: Read | None, *, empty: bool = False
) -> pa.Table:
    """Rows of `records` of one slice: its documents, then its faults, then what was replaced in documents."""
    key = digest(f"{page}\0{number}")
    told = (*read.faults, *read.replaced) if read else ()
    ordinals = [*documents.column("ordinal").to_pylist(), *[fault.ordinal for fault in told]]
    keys = [*documents.column("key").to_pylist(), *[""] * len(told)]
    digests = [*documents.column("digest").to_pylist(), *[""] * len(told)]
    reasons = [*[""] * len(documents), *[fault.reason for fault in told]]
    messages = [*[""] * len(documents), *[fault.message for fault in told]]
    if empty:
        ordinals, keys, digests, reasons, messages = [-1], [""], [""], [EMPTY], [""]
    count = len(ordinals)
    columns = [[key] * count, [page] * count, [slices] * count, ordinals, keys, digests, reasons, messages]
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, _RECORDS, strict=True)],
        schema=_RECORDS,
    )


def read_pages(reader: Reader, reads: Iterable[tuple[str, Read]], pages: pl.DataFrame) -> None:
    """Pages of one document each, flushed every 500 pages or ten seconds; `pages` has their places."""
    places = dict(pages.select("page", "url").iter_rows())
    waiting: list[tuple[str, Read]] = []
    last = time.monotonic()
    for page, read in reads:
        raise_if_stopped()
        reader.refuse(places[page], read.faults)
        waiting.append((page, read))
        reader.session.progress.advance("documents", 1)
        if len(waiting) >= _FLUSH_PAGES or time.monotonic() - last > _FLUSH_SECONDS:
            _flush(reader, waiting)
            waiting, last = [], time.monotonic()
    _flush(reader, waiting)


def _flush(reader: Reader, pages: list[tuple[str, Read]]) -> None:
    documents, records = [], []
    for page, read in pages:
        again = [fault for fault in read.faults if fault.reason in _AGAIN]
        reader.faults += [
            {"page": page, "ordinal": fault.ordinal, "reason": fault.reason, "message": fault.message}
            for fault in again
        ]
        if again:
            continue  # not recorded: the next run reads it again
        made = document_rows(read.records)
        documents.append(made.select(_DOCUMENTS.names).cast(_DOCUMENTS))
        records.append(record_rows(page, 0, 1, made, read))
    if records:
        reader.commit(
            _write(reader.documents, pa.concat_tables(documents)),
            _write(reader.records, pa.concat_tables(records)),
        )


def _write(content: Content, rows: pa.Table) -> Path | None:
    if not len(rows):
        return None
    file = new_file(content.folder)
    write_parquet(rows, content.schema, file)
    return file


def read_loader(reader: Reader, source: Source) -> str:
    """Run a user's function and store texts that were never seen; returns the page they make."""
    from curate.sources.loader import load

    tables: list[pa.Table] = []
    faults: list[Fault] = []
    limit = reader.session.limit
    for read in load(source.loader, source.columns, reader.session.plan.recipe.folder):
        raise_if_stopped()
        kept = first(read, limit - sum(map(len, tables))) if limit else read
        made = document_rows(kept.records)
        reader.commit(_write(reader.documents, made.select(_DOCUMENTS.names).cast(_DOCUMENTS)), None)
        tables.append(made.select(["key", "digest", "ordinal"]))
        faults += kept.faults
        reader.session.progress.advance("documents", len(made))
        if limit and sum(map(len, tables)) >= limit:
            break
    made = pa.concat_tables(tables) if tables else document_rows(NO_RECORDS)
    page = digest("\0".join(made.column("key").to_pylist()))
    reader.commit(
        None, _write(reader.records, record_rows(page, 0, 1, made, Read(NO_RECORDS, tuple(faults))))
    )
    return page
