"""PDF, DOCX, PPTX and EPUB to the fields of a record: what runs inside the killable worker.

Imports neither pydantic nor Arrow, and each library only when a file needs it. What is not covered: text
in images, headers and footers, footnotes, comments, speaker notes, formulas.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

FIELDS_VERSION = 1  # goes up when the same file gives another record
Fields = dict[str, str]  # title, author, date, declared_language, text; or reason, message

# Before a file is unpacked: what its own list of contents says it needs. Text packs to a tenth, repeated
# text to a hundredth; that the list may lie is what the worker's memory limit is for.
_MAX_TEXT = 200_000_000  # bytes of markup in one file
_MAX_RATIO = 200
_MARKUP = (".xml", ".rels", ".xhtml", ".html", ".htm", ".opf", ".ncx")
_OLD_OFFICE = b"\xd0\xcf\x11\xe0"


class UnreadableError(Exception):
    """Why a file gives no document."""

    def __init__(self, message: str, reason: str = "error:read") -> None:
        super().__init__(message)
        self.reason = reason


def read_fields(body: bytes, *, path: str, kind: str) -> Fields:
    """The fields of the record of a file on disk; `body` is not used.

    Reasons: error:read (damaged, encrypted, a bomb), skipped:no_text.
    """
    try:
        with Path(path).open("rb"):
            pass
        found = _reader(kind)(path)
    except UnreadableError as error:
        return {"reason": error.reason, "message": str(error)}
    except OSError as error:
        return {"reason": "error:read", "message": f"{error.strerror or error}."}
    found["title"] = " ".join(found.get("title", "").split()) or Path(path).stem
    return found


def _reader(kind: str) -> Callable[[str], Fields]:
    if kind == "pdf":
        from curate.sources.pdf import read_pdf as read
    elif kind == "docx":
        from curate.sources.office import read_docx as read
    elif kind == "pptx":
        from curate.sources.office import read_pptx as read
    else:
        from curate.sources.epub import read_epub as read
    return read


def open_zip(path: str, kind: str) -> zipfile.ZipFile:
    """The parts of a file that is a zip.

    Raises:
        UnreadableError: it is none, or a bomb.
    """
    try:
        packed = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        with Path(path).open("rb") as file:
            old = file.read(4) == _OLD_OFFICE
        what = "an old Office file, or one with a password" if old else "damaged, cut off, or something else"
        raise UnreadableError(f"It is no {kind.upper()} file (no zip): {what}.") from None
    parts = packed.infolist()
    text = sum(part.file_size for part in parts if part.filename.lower().endswith(_MARKUP))
    bombs = [
        part
        for part in parts
        if part.file_size > 1_000_000 and part.file_size > _MAX_RATIO * part.compress_size
    ]
    if text > _MAX_TEXT or bombs:
        size = max(text, *(part.file_size for part in bombs)) if bombs else text
        raise UnreadableError(f"It unpacks to {size:,} bytes of markup: a decompression bomb?")
    return packed


def table_rows(rows: Iterable[list[str]]) -> str:
    """Rows of cells as lines with " | " between the cells; empty rows are left out."""
    lines = [" | ".join(" ".join(cell.split()) for cell in row) for row in rows if any(map(str.strip, row))]
    return "\n".join(lines)


def joined(blocks: Iterable[str]) -> str:
    """Blocks with a blank line between them; list items that follow each other have none."""
    text = ""
    for block in (block.strip() for block in blocks):
        if block:
            close = block.startswith("- ") and text.rpartition("\n")[2].startswith(("- ", "  "))
            text += ("\n" if close else "\n\n") * bool(text) + block
    return text
