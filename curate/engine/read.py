"""Reads pages that were never read: records and documents, committed as they come.

A page is read in slices; a slice's documents are committed before its records, so a slice with records
has all its documents.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.engine.fetch import file_state
from curate.engine.plan import PlannedTable
from curate.engine.session import Session
from curate.engine.workers import raise_if_stopped
from curate.lake.content import Content, new_file
from curate.lake.digest import digest, digest_column, digest_rows
from curate.lake.parquet import write_parquet
from curate.reports.numbers import plural
from curate.sources.readers import ExtractOptions, Fault, Read, Slice, kind_of, read_slice, split
from schemas.recipe import Source
from schemas.report import TableReport
from schemas.tables import RECORD_SCHEMA, TABLES

_DOCUMENTS, _RECORDS = TABLES["documents"].schema, TABLES["records"].schema
_NOTHING = pa.RecordBatch.from_pylist([], RECORD_SCHEMA)
_FLUSH_PAGES, _FLUSH_SECONDS = 500, 10.0
_CHANGED = "It changed while it was read; the next run reads it again."
_AGAIN = (
    "error:timeout",
    "error:memory",
    "error:extract",
)  # of a page: may go better next time, so it is not recorded


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
        self.documents.compact()
        self.records.compact()
        self.report.bytes_written += self.into_documents.bytes + self.into_records.bytes


def read_missing(reader: Reader, pages: pl.DataFrame) -> None:
    """Read every standing page that was not read yet; pages has source, url, page, etag."""
    session = reader.session
    unread = reader.missing(pages)
    missing = unread.unique("page", keep="first", maintain_order=True)
    reader.report.reused = len(pages) - len(unread)
    session.progress.start("documents", len(pages))
    session.progress.advance("documents", len(pages) - len(missing))
    for name, source in session.plan.recipe.sources.items():
        mine = missing.filter(pl.col("source") == name)
        if source.url and len(mine):
            _read_html(reader, _bodies(session, mine))
        elif len(mine):
            _read_files(reader, source, mine)


def _bodies(session: Session, pages: pl.DataFrame) -> Iterator[tuple[str, bytes, str, str]]:
    """Fetched bodies (page, body, media type, charset), one row group at a time."""
    content = session.lake.content("pages", "bodies")
    places = pages.join(content.places(), left_on="page", right_on="key").sort("file", "row")
    for (file,), group in places.group_by(["file"], maintain_order=True):
        wanted = set(group.get_column("page"))
        for batch in pq.ParquetFile(str(file)).iter_batches(batch_size=64):
            for row in batch.to_pylist():
                if row["key"] in wanted:
                    yield row["key"], row["body"], row["media_type"], row["charset"]


def _read_files(reader: Reader, source: Source, pages: pl.DataFrame) -> None:
    """Local files: web pages through the extractor, the others slice by slice in the workers."""
    base = reader.session.plan.recipe.folder.resolve()
    html: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for row in pages.iter_rows(named=True):
        (html if kind_of(base / row["url"]) == "html" else others).append(row)
    if html:
        _read_html(reader, _local_pages(reader, base, html))
    tasks = []
    for row in others:
        slices = split(base / row["url"])
        if reader.session.limit:
            slices = slices[:1]
        tasks += [
            _slice_task(reader, source, row["page"], part, number, len(slices))
            for number, part in enumerate(slices)
        ]
    done: dict[str, int] = {}
    states = {row["page"]: (base / row["url"], row["etag"]) for row in others}
    for result in reader.session.workers.map("curate.engine.read:read_slice_task", tasks):
        if _changed(*states[result["page"]]):
            reader.fault(result["page"], _CHANGED)
            continue
        reader.commit(Path(result["documents"]) if result["rows"] else None, Path(result["records"]))
        done[result["page"]] = done.get(result["page"], 0) + 1
        reader.session.progress.advance(
            "documents",
            int(done[result["page"]] == result["slices"]),
            note=plural(result["rows"], "document"),
        )


def _local_pages(
    reader: Reader, base: Path, rows: list[dict[str, Any]]
) -> Iterator[tuple[str, bytes, str, str]]:
    """Bodies of local HTML files; one that is gone since it was looked at is a fault of this run."""
    for row in rows:
        try:
            body = (base / row["url"]).read_bytes()
        except OSError as error:
            reader.fault(row["page"], error.strerror or str(error))
            continue
        if _changed(base / row["url"], row["etag"]):
            reader.fault(row["page"], _CHANGED)
        else:
            yield row["page"], body, "text/html", ""


def _changed(file: Path, etag: str) -> bool:
    """Whether a file is another than the one that was looked at: its page would be keyed wrongly."""
    try:
        return not etag.startswith(file_state(file) + "-")
    except OSError:
        return True


def _slice_task(
    reader: Reader, source: Source, page: str, part: Slice, number: int, slices: int
) -> dict[str, Any]:
    return {
        "slice": vars(part),
        "page": page,
        "number": number,
        "slices": slices,
        "columns": source.columns,
        "extract": reader.options.model_dump(),
        "limit": reader.session.limit,
        "documents": str(new_file(reader.documents.folder)),
        "records": str(new_file(reader.records.folder)),
    }


def read_slice_task(task: dict[str, Any]) -> dict[str, Any]:
    """Read one slice of a file into a file of documents and a file of records."""
    rows: list[pa.Table] = []
    count = 0

    def documents() -> Iterator[pa.RecordBatch]:
        nonlocal count
        for read in read_slice(
            Slice(**task["slice"]), task["columns"], ExtractOptions.model_validate(task["extract"])
        ):
            kept = read if not task["limit"] else _first(read, task["limit"] - count)
            made = document_rows(kept.records)
            count += len(made)
            rows.append(record_rows(task["page"], task["number"], task["slices"], made, kept))
            yield from made.select(_DOCUMENTS.names).cast(_DOCUMENTS).to_batches()
            if task["limit"] and count >= task["limit"]:
                return

    write_parquet(documents(), _DOCUMENTS, Path(task["documents"]))
    records = pa.concat_tables(rows) if rows else _RECORDS.empty_table()
    if not len(records):  # an empty slice is read, too
        records = record_rows(
            task["page"], task["number"], task["slices"], document_rows(_NOTHING), None, empty=True
        )
    write_parquet(records, _RECORDS, Path(task["records"]))
    return {
        "page": task["page"],
        "slices": task["slices"],
        "rows": count,
        "documents": task["documents"],
        "records": task["records"],
    }


def _first(read: Read, count: int) -> Read:
    return Read(read.records.slice(0, count), read.faults)


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
    """Rows of `records` of one slice: its documents, then its faults."""
    key = digest(f"{page}\0{number}")
    faults = read.faults if read else ()
    ordinals = [*documents.column("ordinal").to_pylist(), *[fault.ordinal for fault in faults]]
    keys = [*documents.column("key").to_pylist(), *[""] * len(faults)]
    reasons = [*[""] * len(documents), *[fault.reason for fault in faults]]
    messages = [*[""] * len(documents), *[fault.message for fault in faults]]
    if empty:
        ordinals, keys, reasons, messages = [-1], [""], ["empty"], [""]
    count = len(ordinals)
    columns = [[key] * count, [page] * count, [slices] * count, ordinals, keys, reasons, messages]
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, _RECORDS, strict=True)],
        schema=_RECORDS,
    )


def _read_html(reader: Reader, pages: Iterable[tuple[str, bytes, str, str]]) -> None:
    """Web pages through the killable extractor, flushed every 500 pages or ten seconds."""
    from curate.sources.readers import extract_pages

    waiting: list[tuple[str, Read]] = []
    last = time.monotonic()
    for page, read in extract_pages(pages, reader.options, reader.session.workers.count):
        raise_if_stopped()
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
        kept = _first(read, limit - sum(map(len, tables))) if limit else read
        made = document_rows(kept.records)
        reader.commit(_write(reader.documents, made.select(_DOCUMENTS.names).cast(_DOCUMENTS)), None)
        tables.append(made.select(["key", "ordinal"]))
        faults += kept.faults
        reader.session.progress.advance("documents", len(made))
        if limit and sum(map(len, tables)) >= limit:
            break
    made = pa.concat_tables(tables) if tables else document_rows(_NOTHING).select(["key", "ordinal"])
    page = digest("\0".join(made.column("key").to_pylist()))
    reader.commit(None, _write(reader.records, record_rows(page, 0, 1, made, Read(_NOTHING, tuple(faults)))))
    return page
