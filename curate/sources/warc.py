"""WARC files: the HTML pages among their responses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curate.sources.extract import ExtractOptions
from curate.sources.pages import HTML_TYPES, extract_fields
from curate.sources.record import MAX_ROWS, Fault, Read, Slice, records_of
from schemas.errors import missing_extra

_BATCH_CHARS = 16_000_000


def read(piece: Slice, options: ExtractOptions, workers: int) -> Iterator[Read]:
    """A record for every HTML page; a fault for every other response.

    Ordinals count all records of the file. The date of the fetch is not taken for the document's.

    Raises:
        MissingExtraError: FastWARC or trafilatura is not installed.
    """
    faults: list[Fault] = []
    rows: list[dict[str, Any]] = []
    chars = 0
    pages = _html_pages(piece, options.max_bytes, faults)
    for (ordinal, url), fields in extract_fields(pages, options, workers):
        if isinstance(fields, Fault):
            faults.append(Fault(ordinal, fields.reason, f"{url}: {fields.message}"))
        else:
            rows.append({"ordinal": ordinal, "url": url, **fields})
            chars += len(fields["text"])
        if len(rows) + len(faults) >= MAX_ROWS or chars >= _BATCH_CHARS:
            yield Read(records_of(rows), _in_order(faults))
            rows, chars = [], 0
            faults.clear()
    if rows or faults:
        yield Read(records_of(rows), _in_order(faults))


def _in_order(faults: list[Fault]) -> tuple[Fault, ...]:
    return tuple(sorted(faults, key=lambda found: found.ordinal))


def _html_pages(
    piece: Slice, max_bytes: int, faults: list[Fault]
) -> Iterator[tuple[tuple[int, str], bytes, str]]:
    """((ordinal, URL), body, charset) of the HTML responses; what else there is goes to `faults`."""
    try:
        from fastwarc.warc import ArchiveIterator, WarcRecordType
    except ImportError:
        raise missing_extra("crawl", "Reading WARC files", "fastwarc") from None
    ordinal = -1
    try:
        with Path(piece.path).open("rb") as file:
            for ordinal, record in enumerate(ArchiveIterator(file, parse_http=False)):
                if record.record_type != WarcRecordType.response:
                    continue
                url = (record.headers.get("WARC-Target-URI") or "").strip("<>")
                try:
                    record.parse_http(auto_decode="all")
                    refusal = _refusal(record)
                    # Always with a limit: lengths lie, and a body may be a bomb.
                    body = b"" if refusal else record.reader.read(max_bytes + 1)
                except (OSError, ValueError) as error:
                    refusal = ("error:read", f"{error}.")
                if refusal:
                    faults.append(Fault(ordinal, refusal[0], f"{url}: {refusal[1]}"))
                else:
                    yield (ordinal, url), body, record.http_charset or ""
    except (OSError, ValueError) as error:
        faults.append(Fault(ordinal + 1, "error:read", f"Record {ordinal + 2}: {error}. The rest is lost."))


def _refusal(record: Any) -> tuple[str, str] | None:
    status = record.http_headers.status_code if record.http_headers else None
    if status != 200:
        return "skipped:status", f"the server answered {status or 'without a status'}."
    media_type = (record.http_content_type or "").strip().lower()
    return None if media_type in HTML_TYPES else ("skipped:not_html", f"the page is {media_type}.")
