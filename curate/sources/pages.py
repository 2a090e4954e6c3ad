"""Fetched pages, and PDF, office files and books, to records, through the killable worker."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

from curate.sources import textfiles
from curate.sources.extract import EXTRACT_VERSION, ExtractOptions
from curate.sources.fields import FIELDS_VERSION
from curate.sources.killable import map_killable
from curate.sources.record import Fault, Read, fault, one_record
from curate.sources.values import iso_date, language_code
from schemas.errors import missing_extra

K = TypeVar("K")

FILE_KINDS = {"pdf": "pypdfium2", "docx": "docx", "pptx": "pptx", "epub": "lxml"}  # with what reads each
_FILE_SECONDS = 60.0  # of the processor, for a file: a thousand pages of PDF take 2 to 5 seconds
_FILE_PACKAGES = ("pypdfium2", "python-docx", "python-pptx", "lxml")
HTML_TYPES = ("text/html", "application/xhtml+xml", "")
_TEXT_TYPES = {"text/plain": "text", "text/markdown": "markdown", "text/x-markdown": "markdown"}
_MODULES = ("curate.sources.webpage",)
_PACKAGES = ("trafilatura", "lxml_html_clean")  # without the second, the first fails on its first page


def extract_pages(
    pages: Iterable[tuple[K, bytes, str, str]], options: ExtractOptions, workers: int
) -> Iterator[tuple[K, Read]]:
    """A record or a fault for every (key, body, media type, charset), in their order.

    HTML and pages without a media type are extracted; plain text and Markdown are taken as they are; all
    else is skipped:not_html, which PDF is too for now.

    Raises:
        MissingExtraError: trafilatura is not installed.
    """

    def html() -> Iterator[tuple[tuple[K, Read | None], bytes, str]]:
        for key, body, media_type, charset in pages:
            ready = _without_worker(body, media_type.split(";")[0].strip().lower())
            yield (key, ready), b"" if ready else body, charset

    for (key, ready), fields in extract_fields(html(), options, workers):
        if isinstance(fields, Fault):
            yield key, ready or fault(0, fields.reason, fields.message)
        else:
            yield key, ready or one_record(0, fields)


def _without_worker(body: bytes, media_type: str) -> Read | None:
    if media_type in HTML_TYPES:
        return None
    if media_type in _TEXT_TYPES:
        return textfiles.document(body, _TEXT_TYPES[media_type])
    return fault(0, "skipped:not_html", f"The page is {media_type}, which is not read.")


def extract_fields(
    pages: Iterable[tuple[K, bytes, str]], options: ExtractOptions, workers: int
) -> Iterator[tuple[K, dict[str, str] | Fault]]:
    """The fields of a record, or a fault, for every (key, body, charset) of HTML, in their order.

    Raises:
        MissingExtraError: trafilatura is not installed.
    """
    for package in _PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise missing_extra("crawl", "Reading HTML", package)
    values = options.of_page()
    # Of a page that is too large only as much travels as shows that it is.
    questions = (
        (key, body[: options.max_bytes + 1], {"charset": charset, **values}) for key, body, charset in pages
    )
    answers = map_killable(
        "curate.sources.webpage:read_page", questions, workers=workers, seconds=options.seconds,
        memory_bytes=options.memory_mb * 1_000_000, preload=_MODULES,
    )  # fmt: skip
    for key, answer in answers:
        if not isinstance(answer, Fault) and "reason" in answer:
            yield key, Fault(0, answer["reason"], answer["message"])
        else:
            yield key, answer


def extract_files(
    files: Iterable[tuple[K, Path, str]], options: ExtractOptions, workers: int
) -> Iterator[tuple[K, Read]]:
    """A record or a fault for every (key, path, kind) of PDF, DOCX, PPTX and EPUB, in their order.

    A file that is not there is `error:read`, one without text `skipped:no_text`.

    Raises:
        MissingExtraError: the package for a kind is not installed.
    """

    def questions() -> Iterator[tuple[K, bytes, dict[str, str]]]:
        for key, path, kind in files:
            if importlib.util.find_spec(FILE_KINDS[kind]) is None:
                raise missing_extra("office", f"Reading {kind.upper()} files", FILE_KINDS[kind])
            yield key, b"", {"path": str(path), "kind": kind}

    answers = map_killable(
        "curate.sources.fields:read_fields", questions(), workers=workers, seconds=_FILE_SECONDS,
        memory_bytes=options.memory_mb * 1_000_000, preload=("curate.sources.fields",),
    )  # fmt: skip
    for key, answer in answers:
        if isinstance(answer, Fault):
            yield key, fault(0, answer.reason, answer.message)
        elif "reason" in answer:
            yield key, fault(0, answer["reason"], answer["message"])
        else:
            yield key, one_record(0, {**answer, "date": iso_date(answer.get("date")), "declared_language": language_code(answer.get("declared_language"))})  # fmt: skip


def file_fingerprint() -> dict[str, str]:
    """All that the text of a PDF, an office file or a book depends on."""
    return {"fields": str(FIELDS_VERSION), **{name: _installed(name) for name in _FILE_PACKAGES}}


def fingerprint(options: ExtractOptions) -> dict[str, str]:
    """All that the text of an HTML page depends on: our version, the options, trafilatura, lxml."""
    versions = {
        "extract": str(EXTRACT_VERSION),
        **{name: _installed(name) for name in ("trafilatura", "lxml")},
    }
    return versions | {name: str(value) for name, value in options.of_page().items()}


@cache
def _installed(package: str) -> str:
    """Its version; "" where it is missing, and only files that need no extraction are read."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
