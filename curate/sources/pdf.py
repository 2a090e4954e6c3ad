"""The text layer of a PDF, page by page, through PDFium."""

from __future__ import annotations

import re

from curate.sources.fields import Fields, UnreadableError

_MAX_CHARS = 64_000_000
_DATE = re.compile(r"D:(\d{4})(\d{2})?(\d{2})?(?:(\d{2})(\d{2})(\d{2})?)?(?:(Z)|([+-]\d{2})'?(\d{2})'?)?")
# PDFium writes U+FFFE (or U+0002) for a hyphen at the end of a line that parts a word.
_HYPHEN = re.compile("[\ufffe\x02]\r?\n?")


def read_pdf(path: str) -> Fields:
    """Title, author and date as the file states them, and its text; a blank line between pages.

    Lines are those of the page: columns and tables come as PDFium orders them.

    Raises:
        UnreadableError: damaged or encrypted, or no page has text.
    """
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        cause = str(error).partition("PDFium: ")[2].rstrip(").") or str(error)
        if "assword" in cause:
            raise UnreadableError("It is encrypted, and cannot be opened without its password.") from None
        raise UnreadableError(f"It is no PDF that can be opened ({cause}).") from None
    pages, chars = [], 0
    for number in range(len(document)):
        text = _page_text(document, number)
        pages.append(text)
        chars += len(text)
        if chars > _MAX_CHARS:
            raise UnreadableError(
                f"More than {_MAX_CHARS:,} characters in one document.", "skipped:too_large"
            )
    text = "\n\n".join(filter(None, pages))
    if not text:
        raise UnreadableError(
            f"None of its {len(pages):,} pages has text: scanned images?", "skipped:no_text"
        )
    stated = document.get_metadata_dict()
    return {
        "title": stated.get("Title", ""), "author": stated.get("Author", ""), "date": _date(stated.get("CreationDate", "")),
        "text": text,
    }  # fmt: skip


def _page_text(document: object, number: int) -> str:
    import pypdfium2

    try:
        page = document[number]  # type: ignore[index]
        text = page.get_textpage().get_text_bounded()
        page.close()
    except pypdfium2.PdfiumError as error:
        raise UnreadableError(f"Page {number + 1}: {error}") from None
    lines = _HYPHEN.sub("", text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(line.rstrip() for line in lines).strip()


def _date(stated: str) -> str:
    """`D:20240105100000+01'00'` as ISO 8601, as precise as it is; "" if it is none."""
    match = _DATE.match(stated)
    if not match:
        return ""
    year, month, day, hour, minute, second, utc, zone, zone_minutes = match.groups()
    date = "-".join(filter(None, (year, month, day)))
    if not (day and hour):
        return date
    offset = "Z" if utc else f"{zone}:{zone_minutes or '00'}" if zone else ""
    return f"{date}T{hour}:{minute}:{second or '00'}{offset}"
