"""Reads the pages that stand and were never read: bodies that were fetched, and files.

A file is read in slices by the workers, small ones many at once; what may hang or eat memory goes through
workers that can be lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate.engine.inputs import CHANGED, Inputs, changed, groups
from curate.engine.read import Reader, document_rows, first, read_pages, record_rows
from curate.engine.session import Session
from curate.lake.content import new_file
from curate.lake.parquet import QUICK, SMALL, write_parquet
from curate.reports.numbers import plural
from curate.sources.files import ONE_DOCUMENT, SLICE_BYTES
from curate.sources.readers import (
    FILE_KINDS,
    ExtractOptions,
    Read,
    Slice,
    extract_files,
    kind_of,
    read_slice,
    split,
)
from curate.sources.record import NO_RECORDS
from curate.sources.remote import is_url
from schemas.source import Source
from schemas.tables import TABLES

_DOCUMENTS, _RECORDS = TABLES["documents"].schema, TABLES["records"].schema
_BESIDE = "It was read together with a file that changed meanwhile; the next run reads it again."
_TASK_FILES = 200  # small files that are read at once


def read_missing(reader: Reader, pages: pl.DataFrame) -> None:
    """Read every standing page that was not read yet; pages has source, url, page, etag."""
    session = reader.session
    unread = reader.missing(pages)
    missing = unread.unique("page", keep="first", maintain_order=True)
    reader.report.reused = len(pages) - len(unread)
    reader.parts = len(pages)
    session.progress.start("documents", reader.parts)
    session.progress.advance("documents", len(pages) - len(missing))
    for name, source in session.plan.recipe.sources.items():
        mine = missing.filter(pl.col("source") == name)
        if source.url and len(mine):
            read_pages(reader, _extracted(reader, _bodies(session, mine)), mine)
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
    """Files: those that need a worker that can be lost through it, the others slice by slice."""
    inputs = Inputs(reader.session)
    page_of = dict(pages.select("url", "page").iter_rows())
    for group in groups(pages.select("url", "etag").iter_rows()):
        inputs.fetch(group)
        html: list[_Found] = []
        packed: list[_Found] = []
        others: list[_Found] = []
        for place, etag in group:
            try:
                file = inputs.file(place, etag)
            except OSError as error:
                reader.refuse(place, [{"reason": "error:read", "message": error.strerror or str(error)}])
                reader.fault(page_of[place], error.strerror or str(error))
                continue
            kind = kind_of(file)
            kinds = html if kind == "html" else packed if kind in FILE_KINDS else others
            kinds.append(_Found(page_of[place], place, etag, file))
        if html:
            read_pages(reader, _extracted(reader, _local_pages(reader, html)), pages)
        if packed:
            read_pages(reader, _packed_files(reader, packed), pages)
        _read_slices(reader, source, others)


@dataclass(frozen=True)
class _Found:
    """A file that is here."""

    page: str
    place: str
    etag: str
    file: Path

    @property
    def changed(self) -> bool:
        return not is_url(self.place) and changed(self.file, self.etag)


def _packed_files(reader: Reader, files: list[_Found]) -> Iterator[tuple[str, Read]]:
    """Records of PDF, office files and books; one that changes meanwhile is a fault of this run."""
    questions = ((found, found.file, kind_of(found.file) or "") for found in files)
    for found, read in extract_files(questions, reader.options, reader.session.workers.count):
        if found.changed:
            reader.fault(found.page, CHANGED)
        else:
            yield found.page, read


def _local_pages(reader: Reader, files: list[_Found]) -> Iterator[tuple[str, bytes, str, str]]:
    """Bodies of HTML files; one that is gone since it was looked at is a fault of this run."""
    for found in files:
        try:
            body = found.file.read_bytes()
        except OSError as error:
            reader.fault(found.page, error.strerror or str(error))
            continue
        if found.changed:
            reader.fault(found.page, CHANGED)
        else:
            yield found.page, body, "text/html", ""


def _read_slices(reader: Reader, source: Source, files: list[_Found]) -> None:
    """Files that the workers read in slices; small ones many at once."""
    places = {found.page: found.place for found in files}
    tasks = list(_slice_tasks(reader, source, files))
    reader.parts += sum(len(task["parts"]) for task in tasks) - len(files)
    for result in reader.session.workers.map("curate.engine.read_files:read_slices_task", tasks):
        for part in result["parts"]:
            if part["fault"]:
                reader.refuse(_place(places[part["page"]], part["fault"]), [part["fault"]])
        if not _refused(reader, result["parts"]):
            reader.commit(Path(result["documents"]) if result["rows"] else None, Path(result["records"]))
        so_far = plural(reader.report.measured, "document")
        reader.session.progress.advance("documents", len(result["parts"]), reader.parts, so_far)


def _place(file: str, fault: dict[str, Any]) -> str:
    return file if kind_of(Path(file)) in ONE_DOCUMENT else f"{file}#{fault['ordinal'] + 1}"


def _refused(reader: Reader, parts: list[dict[str, Any]]) -> bool:
    """Whether a file changed while it was read: what was read with it is not committed, and read again."""
    if not any(part["changed"] for part in parts):
        return False
    for part in parts:
        reader.fault(part["page"], CHANGED if part["changed"] else _BESIDE)
    return True


def _slice_tasks(reader: Reader, source: Source, files: list[_Found]) -> Iterator[dict[str, Any]]:
    """Tasks of one large slice, or of many small files."""
    parts: list[dict[str, Any]] = []
    total = 0
    for found in files:
        slices = split(found.file)
        if reader.session.limit:
            slices = slices[:1]
        size = found.file.stat().st_size // len(slices)
        for number, piece in enumerate(slices):
            if parts and (total + size > SLICE_BYTES or len(parts) >= _TASK_FILES):
                yield _task(reader, source, parts)
                parts, total = [], 0
            parts.append(_part(found, piece, number, len(slices)))
            total += size
    if parts:
        yield _task(reader, source, parts)


def _part(found: _Found, piece: Slice, number: int, slices: int) -> dict[str, Any]:
    remote = is_url(found.place)
    return {
        "slice": vars(replace(piece, url=found.place if remote else "")),
        "page": found.page,
        "number": number,
        "slices": slices,
        "etag": "" if remote else found.etag,
    }


def _task(reader: Reader, source: Source, parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "parts": parts,
        "columns": source.columns,
        "extract": reader.options.model_dump(),
        "limit": reader.session.limit,
        "level": QUICK if reader.session.one_off else SMALL,
        "documents": str(new_file(reader.documents.folder)),
        "records": str(new_file(reader.records.folder)),
    }


def read_slices_task(task: dict[str, Any]) -> dict[str, Any]:
    """Read slices of files into a file of documents and a file of records.

    Returns the parts, each with its first error and whether its file changed while it was read.
    """
    options = ExtractOptions.model_validate(task["extract"])
    made: list[dict[str, Any]] = []
    rows: list[pa.Table] = []

    def documents() -> Iterator[pa.RecordBatch]:
        for part in task["parts"]:
            told = {
                "page": part["page"],
                "slices": part["slices"],
                "rows": 0,
                "fault": None,
                "changed": False,
            }
            made.append(told)
            reads = read_slice(Slice(**part["slice"]), task["columns"], options)
            for table in _part_tables(part, reads, task["limit"], told, rows):
                yield from table.to_batches()
            told["changed"] = bool(part["etag"]) and changed(Path(part["slice"]["path"]), part["etag"])

    count = write_parquet(documents(), _DOCUMENTS, Path(task["documents"]), task["level"])
    write_parquet(pa.concat_tables(rows), _RECORDS, Path(task["records"]))
    pa.default_memory_pool().release_unused()  # a large document must not be held to the end of the run
    return {"parts": made, "rows": count, "documents": task["documents"], "records": task["records"]}


def _part_tables(
    part: dict[str, Any], reads: Iterator[Read], limit: int, told: dict[str, Any], rows: list[pa.Table]
) -> Iterator[pa.Table]:
    """Documents of a slice; its records go to `rows`, how many and the first error to `told`."""
    empty = True
    for read in reads:
        kept = read if not limit else first(read, limit - told["rows"])
        errors = [*(fault for fault in kept.faults if fault.reason.startswith("error:")), *kept.replaced]
        for fault in sorted(errors, key=lambda fault: fault.ordinal)[:1]:
            told["fault"] = told["fault"] or vars(fault)
        made = document_rows(kept.records)
        told["rows"] += len(made)
        rows.append(record_rows(part["page"], part["number"], part["slices"], made, kept))
        empty = empty and not len(rows[-1])
        yield made.select(_DOCUMENTS.names).cast(_DOCUMENTS)
        if limit and told["rows"] >= limit:
            break
    if empty:  # an empty slice is read, too
        rows.append(
            record_rows(
                part["page"], part["number"], part["slices"], document_rows(NO_RECORDS), None, empty=True
            )
        )


def _extracted(reader: Reader, pages: Iterable[tuple[str, bytes, str, str]]) -> Iterator[tuple[str, Read]]:
    """Records of web pages, through the killable extractor."""
    from curate.sources.readers import extract_pages

    return extract_pages(pages, reader.options, reader.session.workers.count)
