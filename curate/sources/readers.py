"""Readers: files and pages in, batches of records out.

    for piece in split(path):
        for read in read_slice(piece, {}, ExtractOptions()):
            read.records, read.faults

What cannot be read is a fault: a row with a reason and a message, never an exception. Exceptions are
kept for what the user has to change: a column that is not there, a package that is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from curate.sources import delimited, jsonl, pages, tabular, textfiles, warc
from curate.sources.extract import ExtractOptions
from curate.sources.files import digest, find_files, kind_of, split
from curate.sources.pages import FILE_KINDS, extract_files, extract_pages
from curate.sources.record import Columns, Fault, Read, Slice, fault

__all__ = [
    "FILE_KINDS", "Columns", "ExtractOptions", "Fault", "Read", "Slice", "digest", "extract_files", "extract_pages", "find_files", "kind_of", "read_slice",
    "reader_fingerprint", "split",
]  # fmt: skip

# By kind: goes up when its reader gives other records for the same bytes.
_VERSION, _VERSIONS = 3, {"warc": 4}


def read_slice(piece: Slice, columns: Columns, options: ExtractOptions, workers: int = 1) -> Iterator[Read]:
    """The records of a slice.

    Args:
        piece: as `split` gives it.
        columns: role (text, title, url, date, author, language) → column, for files that have columns.
        options: for HTML.
        workers: processes that extract the pages of a WARC file.

    Raises:
        SourceError: a column is missing.
        MissingExtraError: HTML or WARC without the packages of the extra "crawl"; PDF, office files and
            books without those of "office".
    """
    if piece.kind == "jsonl":
        yield from jsonl.read(piece, columns)
    elif piece.kind == "json":
        yield from jsonl.read_json(piece, columns)
    elif piece.kind == "parquet":
        yield from tabular.read_parquet(piece, columns)
    elif piece.kind == "csv":
        yield from delimited.read_csv(piece, columns)
    elif piece.kind == "warc":
        yield from warc.read(piece, options, workers)
    elif piece.kind == "wet":
        yield from warc.read_texts(piece, options.max_bytes)
    elif piece.kind == "html":
        yield from _read_html(piece, options)
    elif piece.kind in FILE_KINDS:
        yield from (
            read for _, read in extract_files([("", Path(piece.path), piece.kind)], options, workers=1)
        )
    else:
        yield from textfiles.read(piece)


def _read_html(piece: Slice, options: ExtractOptions) -> Iterator[Read]:
    try:
        with Path(piece.path).open("rb") as file:
            body = file.read(options.max_bytes + 1)
    except OSError as error:
        yield fault(0, "error:read", f"{error.strerror or error}.")
        return
    yield from (read for _, read in extract_pages([("", body, "text/html", "")], options, workers=1))


def reader_fingerprint(kind: str, options: ExtractOptions | None = None) -> dict[str, str]:
    """All, beside the bytes and the columns, that the records of a kind of file depend on."""
    base = {"reader": kind, "version": str(_VERSIONS.get(kind, _VERSION))}
    if kind in FILE_KINDS:
        return base | pages.file_fingerprint()
    return base | (
        pages.fingerprint(options or ExtractOptions.model_validate({})) if kind in ("html", "warc") else {}
    )
