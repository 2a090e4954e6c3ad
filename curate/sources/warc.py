"""WARC files: the HTML pages among their responses; and WET files, the texts that Common Crawl took from pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curate.sources.extract import ExtractOptions
from curate.sources.pages import HTML_TYPES, extract_fields
from curate.sources.record import MAX_ROWS, Fault, Read, Slice, records_of
from schemas.errors import missing_extra

_BATCH_CHARS = 16_000_000
_MOST_HEAD, _PART = 2**16, 2**20  # bytes: what stands before a record's body, and what is read of it at once


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


def read_texts(piece: Slice, max_bytes: int) -> Iterator[Read]:
    """A record for every text of a WET file, as it was taken from its page; a fault for one that is too large.

    Ordinals count all records of the file, the first of which says how it was made.

    Raises:
        MissingExtraError: FastWARC is not installed.
    """
    faults: list[Fault] = []
    rows: list[dict[str, Any]] = []
    chars = 0
    for ordinal, record in _records(piece, "conversion", faults):
        url, body = _url(record), record.reader.read(max_bytes + 1)
        if len(body) > max_bytes:
            what = f"{url}: The text has more than {max_bytes:,} bytes (max_bytes)."
            faults.append(Fault(ordinal, "skipped:too_large", what))
            continue
        rows.append({"ordinal": ordinal, "url": url, "text": body.decode("utf-8", "replace")})
        chars += len(body)
        if len(rows) >= MAX_ROWS or chars >= _BATCH_CHARS:
            yield Read(records_of(rows), tuple(faults))
            rows, chars = [], 0
            faults.clear()
    if rows or faults:
        yield Read(records_of(rows), tuple(faults))


def _in_order(faults: list[Fault]) -> tuple[Fault, ...]:
    return tuple(sorted(faults, key=lambda found: found.ordinal))


def _html_pages(
    piece: Slice, max_bytes: int, faults: list[Fault]
) -> Iterator[tuple[tuple[int, str], bytes, str]]:
    """((ordinal, URL), body, charset) of the HTML responses; what else there is goes to `faults`."""
    for ordinal, record in _records(piece, "response", faults):
        try:
            record.parse_http(auto_decode="all")
            refusal = _refusal(record)
            # Always with a limit: lengths lie, and a body may be a bomb.
            body = b"" if refusal else record.reader.read(max_bytes + 1)
        except (OSError, ValueError) as error:
            refusal = ("error:read", f"{error}.")
        if refusal:
            faults.append(Fault(ordinal, refusal[0], f"{_url(record)}: {refusal[1]}"))
        else:
            yield (ordinal, _url(record)), body, record.http_charset or ""


def _records(piece: Slice, kind: str, faults: list[Fault]) -> Iterator[tuple[int, Any]]:
    """Records of a type with their ordinals among all; one with which the file breaks off goes to `faults`."""
    try:
        from fastwarc.warc import ArchiveIterator, WarcRecordType
    except ImportError:
        raise missing_extra("crawl", "Reading WARC files", "fastwarc") from None
    path, ordinal = Path(piece.path), -1
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            for ordinal, record in enumerate(ArchiveIterator(file, parse_http=False)):
                if record.record_type != getattr(WarcRecordType, kind):
                    continue
                # FastWARC ends a record that is cut off without a word. Packed it is not longer than its head and body.
                last = record.stream_pos + record.content_length + _MOST_HEAD >= size
                if last and not _is_whole(path, record.stream_pos):
                    what = f"{_url(record)}: the file breaks off here (an unfinished download?)."
                    faults.append(Fault(ordinal, "error:read", what))
                else:
                    yield ordinal, record
    except (OSError, ValueError) as error:
        faults.append(Fault(ordinal + 1, "error:read", f"Record {ordinal + 2}: {error}. The rest is lost."))


def _is_whole(path: Path, start: int) -> bool:
    """Whether the record at a place of the file is as long as it says."""
    from fastwarc.warc import ArchiveIterator

    with path.open("rb") as file:
        file.seek(start)
        for record in ArchiveIterator(file, parse_http=False):
            left: int = record.content_length
            while left > 0 and (part := record.reader.read(_PART)):
                left -= len(part)
            return left <= 0
    return False


def _url(record: Any) -> str:
    return (record.headers.get("WARC-Target-URI") or "").strip("<>")


def _refusal(record: Any) -> tuple[str, str] | None:
    status = record.http_headers.status_code if record.http_headers else None
    if status != 200:
        return "skipped:status", f"the server answered {status or 'without a status'}."
    media_type = (record.http_content_type or "").strip().lower()
    return None if media_type in HTML_TYPES else ("skipped:not_html", f"the page is {media_type}.")
